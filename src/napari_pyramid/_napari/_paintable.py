"""Let napari paint on a multiscale Labels layer: `make_paintable`.

napari paints on single-scale layers only. A paintable layer gives napari's tools level 0 of the
pyramid, with edits that are kept in memory, and draws what is painted over whichever level is
shown. This module uses private names of napari 0.9; with other names a layer is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Labels
from napari.utils.notifications import show_warning

from napari_pyramid._napari._background import Outcome
from napari_pyramid._napari._flood import QUICK_FILL, Flooded, flood, if_in_memory, same_label
from napari_pyramid._napari._painted import Painted
from napari_pyramid._napari._progressive_layer import ProgressiveLayer
from napari_pyramid._napari._worker_thread import answer_in_background
from napari_pyramid.build.editor import PyramidEditor
from napari_pyramid.regions import Region

__all__ = ["make_paintable"]

_Array = npt.NDArray[Any]

LARGEST_FILL = 2**26
"""Most samples that a fill visits, so that filling the background of a large image ends."""

_NEEDED = (
    *("_accumulate_updated_slice", "_append_to_undo_history", "_build_slice_key"),
    *(
        "_commit_staged_history",
        "_compute_mask_bbox",
        "_get_flood_mask_and_bbox",
        "_get_preserve_labels_source_label",
    ),
    *("_get_shape_and_dims_to_paint", "_history_atom_for_mask_paint", "_paint_region_with_mask"),
    *("_partial_labels_refresh", "_refresh_caches_from_region", "_replay_masked_atom"),
    *("_reset_editable", "_save_history", "_type_string", "_validate_label_in_range"),
    *("_validate_non_painted_coord",),
)
"""Private names of napari's Labels that are overridden or called."""


def make_paintable(layer: Labels, editor: PyramidEditor, shown: ProgressiveLayer) -> bool:
    """Have napari's tools paint on level 0 of a multiscale layer; return whether this worked.

    Parameters
    ----------
    editor
        Editor of the levels.
    shown
        What shows the layer.
    """
    level_0 = editor.array
    if not all(hasattr(Labels, name) for name in _NEEDED) or type(layer) is not Labels:
        return False
    levels = _painted_levels(type(layer.data), [level_0, *list(layer.data)[1:]])
    painted = Painted(level_0, editor.old_values, shown)
    layer.__class__ = _PaintableLabels  # keeps the layer's place, links, events and appearance
    layer._data = levels
    layer._painted, layer._delayed = painted, []
    layer.overlay_of_edits = shown.overlay = painted.overlay
    layer.editable = True
    layer.refresh()
    return True


@dataclass(frozen=True, slots=True)
class _Stamp:
    """One print of a brush, or a polygon or a fill."""

    key: Region
    """Box of level 0, one slice for each axis of the layer."""
    mask: npt.NDArray[np.bool_]
    """Samples to paint in the box, with one axis for each of the layer."""
    label: int
    only_over: int | None
    """The label to paint over, if others are to be preserved."""
    stroke: int
    """Number of the stroke that it is a part of."""


def _painted_levels(known: type[Any], levels: Sequence[Any]) -> Any:
    """Return a list of levels that can also be indexed by a tuple, which reads level 0.

    napari's tools index the data as one array, the rest of napari as a list.

    Parameters
    ----------
    known
        napari's class of multiscale data.
    """

    class PaintedLevels(known):  # type: ignore[misc]  # the base class is found at run time
        def __getitem__(self, key: Any) -> Any:
            return levels[0][key] if isinstance(key, tuple) else levels[key]

        def __setitem__(self, key: Any, values: npt.ArrayLike) -> None:
            levels[0][key] = values

    return PaintedLevels(levels)


class _PaintableLabels(Labels):  # type: ignore[misc]  # napari is untyped: a base of type Any
    """A multiscale Labels layer that is painted on at level 0."""

    _painted: Painted
    _staged_history: list[Any]
    _block_history: bool
    _delayed: list[_Stamp]
    """Stamps that must see what they paint on, while that is read."""
    _stroke = 0
    """Number of strokes that have ended."""
    _delayed_step: tuple[int, list[Any]] = (-1, [])
    """The last stroke with delayed stamps, and its edits in the undo history."""
    _is_searching = False
    """Whether a fill goes on in the background."""
    _is_reading = False
    """Whether samples below stamps are read in the background."""

    @property
    def _type_string(self) -> str:
        return "labels"

    def _reset_editable(self) -> None:
        self.editable = True

    # ---- drawing ---------------------------------------------------------------------------------

    def _refresh_caches_from_region(self, *args: Any) -> None:
        """Do nothing: the samples on the screen are changed once for all stamps of the brush."""

    def _accumulate_updated_slice(self, updated_slice: Region) -> None:
        """Note the samples on the screen that have to be drawn again."""
        if not self._slicing_state.loaded or self._slice.empty or not self._painted.ranges:
            return
        tile = self._painted.in_tile(updated_slice, self._slice_input.displayed)
        if tile is not None:
            super()._accumulate_updated_slice(tile)

    def _partial_labels_refresh(self) -> None:
        """Draw what has been painted over the samples on the screen."""
        if self._updated_slice is None or not self._slicing_state.loaded:
            return
        displayed = list(self._slice_input.displayed)
        tile = tuple(self._updated_slice[axis] for axis in displayed)
        raw = self._slice.image.raw
        order = np.argsort(displayed)  # raw has its axes in the order of the screen
        samples = np.ascontiguousarray(raw[tile].transpose(order))
        self._painted.lay_over_tile(self._updated_slice, samples)
        raw[tile] = samples.transpose(np.argsort(order))
        if self.contour == 0:
            self._slice.image.view[tile] = self.colormap._data_to_texture(raw[tile])
        super()._partial_labels_refresh()

    def data_setitem(self, indices: Any, value: Any, refresh: bool = True) -> None:
        """Set single samples of level 0, as napari's method does, and remember how to undo it."""
        where = tuple(np.asarray(i) for i in indices)
        before = self.data[where]
        self._save_history((where, before, value))
        self.data[where] = value
        if refresh:
            self.refresh()

    # ---- painting --------------------------------------------------------------------------------

    def _paint_region_with_mask(
        self,
        slice_key: Region,
        mask: npt.NDArray[np.bool_],
        new_label: int,
        dims_to_paint: list[int],
        refresh: bool = True,
        region_data: _Array | None = None,
    ) -> None:
        """Paint on a box of level 0 as napari does, but read nothing.

        The samples before the edit, for an undo, are read in the background if they are not in
        memory. If labels are to be preserved, the stamp waits for them.
        """
        hidden = tuple(a for a in range(self.ndim) if a not in dims_to_paint)
        mask = np.expand_dims(mask, hidden)
        only_over = (
            self._get_preserve_labels_source_label(new_label) if self.preserve_labels else None
        )
        stamp = _Stamp(slice_key, mask, new_label, only_over, self._stroke)
        if region_data is not None:
            values = np.expand_dims(region_data, hidden)
            self._stamp(stamp, values, np.ones(mask.shape, bool))
        else:
            values, known = self._painted.level_0[slice_key].in_memory()
            if only_over is not None and (self._delayed or not known[mask].all()):
                self._delayed.append(stamp)
                self._read_below()
                return
            self._stamp(stamp, values, known)
        if refresh:
            self._partial_labels_refresh()

    def _stamp(self, stamp: _Stamp, values: _Array, known: npt.NDArray[np.bool_]) -> None:
        """Paint on a box whose samples are `values` where they are known."""
        mask = stamp.mask & ~(known & (values == stamp.label))
        if stamp.only_over is not None:
            mask &= values == stamp.only_over
        if not mask.any():
            return
        atom = self._history_atom_for_mask_paint(stamp.key, values, mask, stamp.label)
        box = self._painted.level_0[stamp.key]
        if not known[mask].all():
            unread = ~known if atom.mask is None else ~known[mask]
            self._painted.old_values.add(box.stored, mask, atom.old_values, unread)
            self._read_below()
        self._save_history(atom)
        box.set_where(mask, stamp.label)
        self._accumulate_updated_slice(stamp.key)

    def _read_below(self) -> None:
        """Read in the background what was painted on without having been read."""
        if self._is_reading:
            return
        painted, delayed = self._painted, tuple(self._delayed)

        def read() -> list[_Array]:
            below = [np.asarray(painted.level_0[stamp.key].stored) for stamp in delayed]
            painted.old_values.read()
            return below

        def end(outcome: Outcome) -> None:
            self._is_reading = False
            del self._delayed[: len(delayed)]
            if outcome.error is not None:
                if delayed:
                    show_warning(f"{self.name}: {outcome.error}")
                return
            self._paint_delayed(delayed, outcome.result)
            if self._delayed or painted.old_values:
                self._read_below()

        self._is_reading = True
        answer_in_background(read, end)

    def _paint_delayed(self, stamps: Sequence[_Stamp], stored: Sequence[_Array]) -> None:
        """Paint stamps on samples that have been read; each stroke is one step for an undo."""
        for stamp, values in zip(stamps, stored, strict=True):
            self._painted.level_0[stamp.key].lay_over(values)
            with self._history_of(stamp.stroke):
                self._stamp(stamp, values, np.ones(values.shape, bool))
        self._partial_labels_refresh()

    @contextmanager
    def _history_of(self, stroke: int) -> Iterator[None]:
        """Put edits into the step of an earlier stroke, beside the stroke that goes on now."""
        staged, blocked = self._staged_history, self._block_history
        self._staged_history, self._block_history = [], True
        try:
            yield
        finally:
            edits, self._staged_history = self._staged_history, staged
            self._block_history = blocked
        last, step = self._delayed_step
        if edits and last == stroke and self._undo_history and self._undo_history[-1] is step:
            step.extend(edits)
        elif edits:
            self._delayed_step = stroke, edits
            self._append_to_undo_history(edits)

    def _commit_staged_history(self) -> None:
        """Note that a stroke has ended."""
        self._stroke += 1
        super()._commit_staged_history()

    def _replay_masked_atom(self, atom: Any, undoing: bool) -> None:
        """Undo or redo an edit without reading.

        Samples whose old value has not been read yet go back to the stored value.
        """
        box = self._painted.level_0[atom.slice_key]
        where = np.ones(box.shape, bool) if atom.mask is None else atom.mask
        if not undoing:
            box.set_where(where, atom.new_value)
            return
        unread = self._painted.old_values.unread(atom.old_values)
        before = np.zeros(box.shape, box.dtype)
        before[where] = atom.old_values.reshape(-1)
        if unread is not None:
            unknown = np.zeros(box.shape, bool)
            unknown[where] = unread.reshape(-1)
            box.forget_where(unknown)
            where = where & ~unknown
        box.set_where(where, before)

    # ---- filling ---------------------------------------------------------------------------------

    def fill(self, coord: Sequence[float], new_label: int, refresh: bool = True) -> None:
        """Fill as napari does, but read only around what is filled.

        A fill that does not end near `coord`, or on samples that are not in memory, goes on in the
        background.
        """
        self._validate_label_in_range(new_label)
        _, axes = self._get_shape_and_dims_to_paint()
        at = [int(np.round(c)) for c in coord]
        self._validate_non_painted_coord(at, axes)
        if any(not 0 <= c < n for c, n in zip(at, self.data.shape, strict=True)):
            return
        only_over = (
            self._get_preserve_labels_source_label(new_label) if self.preserve_labels else None
        )

        def may_fill(old: int) -> bool:
            return old != new_label and only_over in (None, old)

        level_0 = self._painted.level_0
        here = if_in_memory(level_0[_sample(at)])
        if here is not None:
            old = int(here.item())
            if not may_fill(old):
                return
            if self.contiguous:
                found = flood(level_0, old, at, axes, QUICK_FILL, if_in_memory)
                if found is not None:
                    self._fill(found, old, at, axes, new_label, refresh)
                    return
        if not self._is_searching:
            self._fill_in_background(at, axes, new_label, may_fill)

    def _fill_in_background(
        self, at: list[int], axes: list[int], new_label: int, may_fill: Callable[[int], bool]
    ) -> None:
        """Search what a fill at `at` changes on a thread, then fill it."""
        level_0 = self._painted.level_0
        search_in = flood if self.contiguous else same_label

        def search() -> tuple[int, Flooded | None]:
            old = int(np.asarray(level_0[_sample(at)]).item())
            return old, search_in(level_0, old, at, axes, LARGEST_FILL) if may_fill(old) else None

        def paint(outcome: Outcome) -> None:
            self._is_searching = False
            if outcome.error is not None:
                show_warning(f"{self.name}: {outcome.error}")
                return
            old, found = outcome.result
            if found is not None:
                self._fill(found, old, at, axes, new_label, True)
            elif may_fill(old):
                show_warning(
                    f"{self.name}: a fill of more than {LARGEST_FILL // 10**6} million samples: "
                    "nothing was filled"
                )

        self._is_searching = True
        answer_in_background(search, paint)

    def _fill(
        self,
        found: Flooded,
        old: int,
        at: list[int],
        axes: list[int],
        new_label: int,
        refresh: bool,
    ) -> None:
        mask, start, samples = found
        end = np.add(start, mask.shape)
        key = self._build_slice_key(at, axes, start, end)
        whole = samples.reshape([s.stop - s.start for s in key])
        self._painted.level_0[key].lay_over(whole)  # what was painted meanwhile is kept
        mask &= samples == old
        self._paint_region_with_mask(key, mask, new_label, axes, refresh, region_data=samples)


def _sample(at: Sequence[int]) -> Region:
    """Return the region of one sample."""
    return tuple(slice(c, c + 1) for c in at)
