"""Let napari paint on a multiscale Labels layer: `make_paintable`.

napari paints on single-scale layers only. A paintable layer gives napari's tools level 0 of the
pyramid, with edits that are kept in memory, and draws what is painted over whichever level is
shown. This module uses private names of napari 0.9; with other names a layer is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Labels
from napari.utils.notifications import show_warning

from napari_pyramid._napari._progressive_layer import ProgressiveLayer
from napari_pyramid._napari._worker_thread import Outcome, answer_in_background
from napari_pyramid.arrays.edited import EditedArray
from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.arrays.progressive import Role

__all__ = ["is_paintable", "make_paintable"]

_Array = npt.NDArray[Any]
_Region = tuple[slice, ...]

QUICK_FILL = 2**16
"""Samples that a fill looks at while the window waits; a larger one goes on in the background."""
LARGEST_FILL = 2**26
"""Samples that a fill looks at at most: the background of a large image has no end."""

_NEEDED = (
    *("_accumulate_updated_slice", "_append_to_undo_history", "_build_slice_key"),
    *("_compute_mask_bbox", "_get_flood_mask_and_bbox", "_get_shape_and_dims_to_paint"),
    *("_paint_region_with_mask", "_partial_labels_refresh", "_refresh_caches_from_region"),
    *("_reset_editable", "_save_history", "_type_string", "_validate_label_in_range"),
    *("_validate_non_painted_coord",),
)
"""Private names of napari's Labels that are overridden or called."""


def make_paintable(layer: Labels, level_0: EditedArray, shown: ProgressiveLayer) -> bool:
    """Have napari's tools paint on `level_0` of a multiscale layer; return whether this worked.

    Parameters
    ----------
    shown
        What shows the layer.
    """
    if not all(hasattr(Labels, name) for name in _NEEDED) or type(layer) is not Labels:
        return False
    levels = _painted_levels(type(layer.data), [level_0, *list(layer.data)[1:]])
    painted = _Painted(level_0, shown)
    layer.__class__ = _PaintableLabels  # keeps the layer's place, links, events and appearance
    layer._data = levels
    layer._painted = painted
    layer.overlay_of_edits = shown.overlay = painted.overlay
    layer.editable = True
    layer.refresh()
    return True


def is_paintable(layer: Any) -> bool:
    """Return whether `make_paintable` has been called for a layer."""
    return isinstance(layer, _PaintableLabels)


class _Painted:
    """The edits of a layer, and the samples on the screen."""

    def __init__(self, level_0: EditedArray, shown: ProgressiveLayer) -> None:
        self.level_0 = level_0
        self.grids, self.axes = shown.grids, shown.axes
        self.level = 0
        self.ranges: tuple[range, ...] = ()
        """Samples of `level` that are shown, along each axis of the array."""
        self.hidden: Mapping[int, int] = {}
        """Index in level 0 of the slice, along each hidden axis of the array."""

    def overlay(
        self,
        level: int,
        view: LazyArray,
        role: Role,
        hidden: Mapping[int, int],
        pixels: _Array,
    ) -> _Array:
        """Return `pixels` with the edits over them, as an array that can be painted on."""
        ranges = tuple(r if isinstance(r, range) else range(r, r + 1) for r in view.ranges)
        fixed = {a: r for a, r in enumerate(view.ranges) if isinstance(r, int)}
        planes = {a: hidden.get(a, r.start) for a, r in enumerate(ranges) if len(r) == 1}
        planes = {a: p for a, p in planes.items() if a in hidden or a in fixed}
        if role == "view":
            self.level, self.ranges, self.hidden = level, ranges, planes
        painted = pixels.reshape([len(r) for r in ranges]).copy()
        self.lay_over(level, ranges, planes, painted)
        return painted.reshape(view.shape)

    def lay_over(
        self,
        level: int,
        ranges: Sequence[range],
        planes: Mapping[int, int],
        out: _Array,
    ) -> None:
        edits = self.level_0.edits
        if level == 0:
            edits.lay_over(ranges, out)
        else:
            edits.lay_over_coarser(ranges, self.grids[level].factors, planes, out)

    def in_tile(self, region: _Region, displayed: Sequence[int]) -> _Region | None:
        """Return the samples on the screen that `region` of level 0 covers.

        None if it is not on the screen. There is one slice for each axis of the layer; along hidden
        axes it has no meaning.
        """
        factors = self.grids[self.level].factors
        found = []
        for axis, part in enumerate(region):
            of_array = self.axes[axis]
            shown, factor = self.ranges[of_array], factors[of_array]
            if axis not in displayed:
                if not part.start <= self.hidden.get(of_array, part.start) < part.stop:
                    return None
                found.append(slice(0, 1))
                continue
            start = max(shown.start, int(part.start // factor))
            stop = min(shown.stop, int(-(-part.stop // factor)))
            if start >= stop:
                return None
            found.append(slice(start - shown.start, stop - shown.start))
        return tuple(found)

    def lay_over_tile(self, tile: _Region, samples: _Array) -> None:
        """Draw the edits over `samples`, a part of the samples on the screen."""
        ranges = list(self.ranges)
        for axis, part in enumerate(tile):
            of_array = self.axes[axis]
            if len(ranges[of_array]) > 1:
                ranges[of_array] = ranges[of_array][part]
        out = samples.reshape([len(r) for r in ranges])
        self.lay_over(self.level, ranges, self.hidden, out)


def _painted_levels(known: type[Any], levels: Sequence[Any]) -> Any:
    """Return levels that are level 0 if they are indexed by a tuple, and else a list of levels.

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

    _painted: _Painted
    _is_searching = False
    """Whether a fill goes on in the background."""

    @property
    def _type_string(self) -> str:
        return "labels"

    def _reset_editable(self) -> None:
        self.editable = True

    # ---- drawing ---------------------------------------------------------------------------------

    def _refresh_caches_from_region(self, *args: Any) -> None:
        """Do nothing: the samples on the screen are changed once for all stamps of the brush."""

    def _accumulate_updated_slice(self, updated_slice: _Region) -> None:
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

    # ---- filling ---------------------------------------------------------------------------------

    def fill(self, coord: Sequence[float], new_label: int, refresh: bool = True) -> None:
        """Fill as napari does, but read only around what is filled.

        A fill that does not end near `coord` goes on in the background.
        """
        self._validate_label_in_range(new_label)
        _, axes = self._get_shape_and_dims_to_paint()
        at = [int(np.round(c)) for c in coord]
        self._validate_non_painted_coord(at, axes)
        if any(not 0 <= c < n for c, n in zip(at, self.data.shape, strict=True)):
            return
        old = int(self.data[tuple(at)])
        allowed = (
            old if not self.preserve_labels else self._get_preserve_labels_source_label(new_label)
        )
        if old in (new_label,) or old != allowed:
            return
        level_0 = self._painted.level_0
        if self.contiguous:
            found = _flood(level_0, old, at, axes, QUICK_FILL)
            if found is not None:
                self._fill(found, old, at, axes, new_label, refresh)
                return

        if self._is_searching:
            return

        def search() -> _Flooded | None:
            if self.contiguous:
                return _flood(level_0, old, at, axes, LARGEST_FILL)
            return _same_label(level_0, old, at, axes, LARGEST_FILL)

        def paint(outcome: Outcome) -> None:
            self._is_searching = False
            if outcome.error is not None:
                show_warning(f"{self.name}: {outcome.error}")
            elif outcome.result is None:
                show_warning(
                    f"{self.name}: a fill of more than {LARGEST_FILL // 10**6} million samples: "
                    "nothing was filled"
                )
            else:
                self._fill(outcome.result, old, at, axes, new_label, True)

        self._is_searching = True
        answer_in_background(search, paint)

    def _fill(
        self,
        found: _Flooded,
        old: int,
        at: list[int],
        axes: list[int],
        new_label: int,
        refresh: bool,
    ) -> None:
        mask, start, samples = found
        end = np.add(start, mask.shape)
        key = self._build_slice_key(at, axes, start, end)
        # What was painted meanwhile is kept.
        ranges = [range(s.start, s.stop) for s in key]
        whole = samples.reshape([len(r) for r in ranges])
        view = self._painted.level_0[key]
        of_array = [r if isinstance(r, range) else range(r, r + 1) for r in view.ranges]
        self._painted.level_0.edits.lay_over(of_array, whole.reshape([len(r) for r in of_array]))
        mask &= samples == old
        self._paint_region_with_mask(key, mask, new_label, axes, refresh, region_data=samples)


_Flooded = tuple[_Array, list[int], _Array]
"""Mask of the samples to fill, the index of its first sample along the painted axes, and the
samples."""


def _flood(
    array: EditedArray, label: int, at: Sequence[int], axes: Sequence[int], most: int
) -> _Flooded | None:
    """Return the connected samples of one label around `at`; None if they leave `most` samples.

    Only a box around them is read, which grows where they reach its sides.
    """
    import skimage.segmentation as segmentation

    flood: Any = segmentation.flood
    shape = [array.shape[a] for a in axes]
    side = max(2, int(QUICK_FILL ** (1 / len(axes))) // 2)
    box = [[max(0, at[a] - side), min(n, at[a] + side)] for a, n in zip(axes, shape, strict=True)]
    while True:
        key: list[Any] = list(at)
        for axis, (start, stop) in zip(axes, box, strict=True):
            key[axis] = slice(start, stop)
        samples = np.asarray(array[tuple(key)])
        seed = tuple(at[a] - start for a, (start, _) in zip(axes, box, strict=True))
        same = samples == label
        same[seed] = True  # it may have been painted on since
        mask = flood(same, seed, connectivity=1)
        grown = False
        for i, (span, n) in enumerate(zip(box, shape, strict=True)):
            length = span[1] - span[0]
            if span[0] > 0 and mask.take(0, i).any():
                span[0], grown = max(0, span[0] - length), True
            if span[1] < n and mask.take(-1, i).any():
                span[1], grown = min(n, span[1] + length), True
        if not grown:
            return _cropped(mask, [start for start, _ in box], samples)
        if np.prod([float(stop - start) for start, stop in box]) > most:
            return None


def _same_label(
    array: EditedArray, label: int, at: Sequence[int], axes: Sequence[int], most: int
) -> _Flooded | None:
    """Return all samples of the label at `at` along `axes`; None if they are too many."""
    if np.prod([float(array.shape[a]) for a in axes]) > most:
        return None
    key: list[Any] = list(at)
    for axis in axes:
        key[axis] = slice(None)
    samples = np.asarray(array[tuple(key)])
    same = samples == label
    same[tuple(at[a] for a in axes)] = True
    return _cropped(same, [0] * len(axes), samples)


def _cropped(mask: _Array, start: Sequence[int], samples: _Array) -> _Flooded:
    box = []
    for axis in range(mask.ndim):
        used = np.flatnonzero(mask.any(tuple(a for a in range(mask.ndim) if a != axis)))
        box.append(slice(int(used[0]), int(used[-1]) + 1))
    inside = tuple(box)
    first = [s.start + int(o) for s, o in zip(box, start, strict=True)]
    return mask[inside].copy(), first, samples[inside].copy()
