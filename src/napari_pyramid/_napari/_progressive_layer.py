"""Show one layer at once, and sharpen it while chunks arrive: `ProgressiveLayer`.

napari slices the layer from the pictures of `ProgressiveLevels`, and draws again when a picture has
changed; ``layer.data`` is not changed.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Qt, QTimer, Signal  # type: ignore[attr-defined]  # found at run time

from napari_pyramid._napari._busy_sign import BusySign
from napari_pyramid._napari._preferences import read_ahead
from napari_pyramid._napari._private import keep_thumbnail_lazy, set_loaded, slice_from
from napari_pyramid._napari._shown_array import Overlay, ShownArray
from napari_pyramid._napari._volume import VolumeLevels, hidden_index
from napari_pyramid.arrays.chunk_loader import ChunkLoader
from napari_pyramid.arrays.edited import EditedArray
from napari_pyramid.arrays.grid import Grid, grids_of
from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.arrays.progressive import ProgressiveLevels, Role
from napari_pyramid.layer_image import METADATA_KEY

if TYPE_CHECKING:
    from napari.layers import Layer

__all__ = ["ProgressiveLayer", "grids_of_layer", "views_of_layer"]

LONGEST_REST = 0.5
"""Longest rest after a drawing, in seconds, while chunks arrive.

Drawing takes a quarter of the time.
"""
LOOK_EVERY = 0.03
"""Seconds between two checks for new chunks."""
PAINT_STARTS = 0.01
"""Seconds after a refresh of a layer by which Qt starts to paint it."""
SETTLED = 0.2
"""Seconds after a move along a hidden axis until finer volumes are loaded."""
RETRY_EVERY, RETRIES = 5.0, 6
"""Seconds until chunks that cannot be read are tried again, and how often in each view."""
NAMED = 3
"""Number of unreadable chunks of a layer that are reported by name; the rest get one message."""

_loaders: weakref.WeakValueDictionary[str, ChunkLoader] = weakref.WeakValueDictionary()
"""One loader for each opened store, so that a slow server does not delay the others."""


class _Bridge(QObject):
    """Signals from the threads of the loader to the main thread."""

    changed = Signal()
    failed = Signal(str)
    turned = Signal()


class ProgressiveLayer:
    """One layer that shows what is in memory, and draws again while the rest arrives.

    Parameters
    ----------
    layer
        A multiscale layer of chunked `LazyArray`s.
    window
        Parent of the timers, which end with it.
    sign
        Sign of the window that chunks are being read.
    """

    def __init__(self, layer: Layer, window: QObject, sign: BusySign) -> None:
        self._layer = weakref.ref(layer)
        self._sign = sign
        self._views = views_of_layer(layer)
        self._axes = [i for i, r in enumerate(self._views[0].ranges) if isinstance(r, range)]
        """Axes of the arrays that are axes of the layer."""
        self._grids = grids_of_layer(layer)
        self._scheduled = self._changed = False
        self._drawn_at = self._rest_until = 0.0
        self._named: list[str] = []
        self._retries_left, self._tried_view = RETRIES, 0
        self._bridge = _Bridge(window)
        self._bridge.changed.connect(self._on_change, Qt.ConnectionType.QueuedConnection)
        self._bridge.failed.connect(self._on_failure, Qt.ConnectionType.QueuedConnection)
        self._bridge.turned.connect(self._on_turned, Qt.ConnectionType.QueuedConnection)
        self._draw_timer = _timer(self._bridge, self._draw)
        self._painted_timer = _timer(self._bridge, self._rest)
        self._retry_timer = _timer(self._bridge, self._retry)
        self._settled_timer = _timer(self._bridge, self.follow_into_3d)
        self._levels = ProgressiveLevels(
            self._views,
            _loader_of(layer),
            grids=self._grids,
            ahead_share=read_ahead(),
            on_change=self._schedule,
            on_failure=self._report,
        )
        layer.events.visible.connect(self._on_visible)
        self._point: Sequence[float] = ()
        """Position of the last slice along hidden axes; NaN for displayed axes."""
        self.overlay: Overlay | None = getattr(layer, "overlay_of_edits", None)
        """Changes the samples that are shown."""
        self._volume = VolumeLevels(self._layer, self._views, self._levels, self._view_of)
        self.installed = slice_from(layer, self)
        if self.installed:
            keep_thumbnail_lazy(layer)

    @property
    def is_waiting(self) -> bool:
        """Whether chunks in view are still to come."""
        return self._levels.is_waiting

    def close(self) -> None:
        """Stop reading and drawing."""
        self.stop()
        for timer in self._bridge.findChildren(QTimer):
            timer.stop()
        self._bridge.deleteLater()

    def stop(self) -> None:
        """Stop reading."""
        self._levels.close()
        self._sign.show(self, None)

    def show_in(self, ndisplay: int) -> None:
        """Load the finest level that fits if the view is in 3-D, else return to napari's levels."""
        if self._volume.is_loading:
            self._volume.leave()
        if ndisplay == 3 and self.n_displayed == 3:
            self._volume.enter([a for a, p in enumerate(self._point) if np.isnan(p)])

    def follow_into_3d(self) -> None:
        """Load the finest level that fits, as the view was in 3-D before."""
        self.show_in(3)

    def _on_turned(self) -> None:
        """Follow a view that napari has sliced only after it was turned, on a thread of its own."""
        if self._has_window and (self.n_displayed == 3) != self._volume.is_loading:
            self.show_in(self.n_displayed)

    def leave_position(self) -> None:
        """Show the coarsest volume while the view moves along a hidden axis, then finer ones."""
        if self.n_displayed == 3 and len(self._point) > 3 and self._volume.is_loading:
            self._volume.leave()
            self._settled_timer.start(int(SETTLED * 1000))
        elif self._settled_timer.isActive():
            self._settled_timer.start(int(SETTLED * 1000))

    @property
    def n_displayed(self) -> int:
        """Number of axes of the layer that were displayed when it was sliced last."""
        return int(np.isnan(self._point).sum())

    def level_to_show(self, level: int, point: Sequence[float]) -> int:
        """Return the coarsest level where a fine volume is to be shown at another position.

        napari slices before it says that the position has changed.
        """
        moved = not np.array_equal(point, self._point, equal_nan=True)
        is_fine_volume = self._volume.is_loading and int(np.isnan(point).sum()) == 3
        return len(self._views) - 1 if is_fine_volume and moved else level

    def level(self, level: int, point: Sequence[float], *, thumbnail: bool) -> ShownArray:
        """Return the array that napari slices in place of ``layer.data[level]``.

        May be called on any thread, also after the view was turned.
        """
        n_before, self._point = self.n_displayed, point
        if self.n_displayed != n_before:
            _emit(self._bridge, "turned")
        role: Role = "thumbnail" if thumbnail else "view"
        array = ShownArray(
            self._views[level], level, self._levels, role, self._planes(level, point)
        )
        array.overlay = self.overlay
        array.hidden = {
            self._axes[axis]: round(position)
            for axis, position in enumerate(point)
            if not np.isnan(position)
        }
        return array

    @property
    def grids(self) -> list[Grid]:
        """Positions of the samples of each level."""
        return self._grids

    @property
    def axes(self) -> list[int]:
        """Axes of the arrays that are axes of the layer."""
        return self._axes

    def _planes(self, level: int, point: Sequence[float]) -> dict[int, int]:
        """Return the index of a level along each hidden axis along which it is coarser."""
        grid, shape = self._grids[level], self._views[level].shape
        return {
            axis: int(grid.nearest(position, self._axes[axis], length))
            for axis, (position, length) in enumerate(zip(point, shape, strict=False))
            if not np.isnan(position) and grid.factors[self._axes[axis]] != 1
        }

    def _view_of(self, level: int) -> LazyArray | None:
        """Return the part of a level that the 3-D view shows, or None in 2-D."""
        if self.n_displayed != 3:
            return None
        planes = self._planes(level, self._point)
        key = tuple(hidden_index(p, planes.get(axis)) for axis, p in enumerate(self._point))
        view: LazyArray = self._views[level][key]
        return view

    def offsets(self, level: int) -> list[float]:
        """Return the position of a level's first sample, in samples of level 0.

        One number per axis of the layer.
        """
        return [self._grids[level].offsets[axis] for axis in self._axes]

    def _schedule(self) -> None:
        """Have the layer drawn again soon. May be called on any thread."""
        self._changed = True
        if not self._scheduled:
            self._scheduled = True
            _emit(self._bridge, "changed")

    def _report(self, message: str) -> None:
        """Report a chunk that cannot be read. May be called on any thread."""
        _emit(self._bridge, "failed", message)

    @property
    def _has_window(self) -> bool:
        """Whether the window is open: a call may have been queued before it was closed."""
        try:
            self._draw_timer.isActive()
        except RuntimeError:  # Qt deleted the timers with the window
            return False
        return True

    def _on_change(self) -> None:
        if self._has_window and not self._draw_timer.isActive():
            self._draw_timer.start(int(LOOK_EVERY * 1000))

    def _draw(self) -> None:
        """Draw the chunks that have arrived, and look again soon if more will come.

        The last ones are drawn at once; before them, the window rests after each drawing.
        """
        self._scheduled = False
        layer = self._layer()
        if layer is None:
            return
        self._try_again_later()
        waiting = self._levels.is_waiting
        set_loaded(layer, not waiting)
        self._sign.show(self, layer.name if waiting else None, self._levels.n_views)
        if waiting:
            self._draw_timer.start(int(LOOK_EVERY * 1000))
            if time.perf_counter() < self._rest_until:
                return
        # A volume is drawn once it is complete: its upload to the graphics card takes long.
        if self.n_displayed == 3 and (self._volume.advance() or waiting):
            return
        if self._changed or not waiting:
            self._changed = False
            self._drawn_at = time.perf_counter()
            layer.refresh(extent=False, highlight=False, thumbnail=not waiting)
            self._painted_timer.start(int(PAINT_STARTS * 1000))

    def _rest(self) -> None:
        """Draw no more until three times the time of the last drawing has passed.

        Called by a timer that starts with a refresh. Qt paints before the timer can fire, so the
        time of the painting is counted.
        """
        now = time.perf_counter()
        self._rest_until = now + min(3 * (now - self._drawn_at), LONGEST_REST)

    def _try_again_later(self) -> None:
        """Have chunks in view that could not be read tried again, some times for each view."""
        if self._tried_view != self._levels.n_views:
            self._tried_view, self._retries_left = self._levels.n_views, RETRIES
        if self._levels.has_failed and self._retries_left and not self._retry_timer.isActive():
            self._retry_timer.start(int(RETRY_EVERY * 1000))

    def _on_failure(self, message: str) -> None:
        from napari.utils.notifications import show_warning

        if not self._has_window:
            return
        self._named.append(message)
        if len(self._named) <= NAMED:
            show_warning(message)
        elif len(self._named) == NAMED + 1:
            layer = self._layer()
            show_warning(f"More chunks of {layer.name if layer else 'the image'} cannot be read.")

    def _retry(self) -> None:
        self._retries_left -= 1
        self._levels.retry()
        self._try_again_later()

    def _on_visible(self) -> None:
        layer = self._layer()
        if layer is not None and not layer.visible:
            self.stop()


def views_of_layer(layer: Any) -> list[LazyArray]:
    """Return the levels of a layer as they are stored, without edits."""
    return [level.stored if isinstance(level, EditedArray) else level for level in layer.data]


def grids_of_layer(layer: Layer) -> list[Grid]:
    """Return the grid of each level, from the store's transforms or else from the shapes."""
    shapes = [view.chunked_source.shape for view in layer.data]
    stored = (layer.metadata.get(METADATA_KEY) or {}).get("levels") or []
    n_virtual = max(0, len(shapes) - len(stored))
    scales, translations = (
        [*(level.get(key) for level in stored), *[None] * n_virtual]
        for key in ("scale", "translation")
    )
    return grids_of(shapes, scales, translations)


def _loader_of(layer: Layer) -> ChunkLoader:
    """Return the loader of the store that a layer was opened from."""
    source = str(layer.metadata[METADATA_KEY].get("source"))
    loader = _loaders.get(source)
    if loader is None:
        loader = _loaders[source] = ChunkLoader()
    return loader


def _timer(parent: QObject, slot: Callable[[], None]) -> QTimer:
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.timeout.connect(slot)
    return timer


def _emit(bridge: _Bridge, signal: str, *values: Any) -> None:
    with suppress(RuntimeError):  # the window was closed, and Qt deleted the bridge with it
        getattr(bridge, signal).emit(*values)
