"""Watch viewers, and show the layers that this plugin opens in them progressively.

Each layer is checked before it is inserted into a viewer. A layer with virtual levels is hidden
until then, since napari would read all of it to slice it by itself.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer

from napari_pyramid._napari._busy_sign import BusySign
from napari_pyramid._napari._giants import VISIBLE_KEY, WHOLE_KEY, has_virtual_levels
from napari_pyramid._napari._offer_build import OfferBuild
from napari_pyramid._napari._preferences import shows_progressively, use_cache_size
from napari_pyramid._napari._private import (
    around_insert,
    can_slice,
    duplicate_with,
    main_window,
    open_viewers,
    unwrapped,
)
from napari_pyramid._napari._progressive_layer import ProgressiveLayer, views_of_layer
from napari_pyramid.arrays.progressive import ProgressiveLevels
from napari_pyramid.layer_image import METADATA_KEY

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer

__all__ = ["is_progressive", "shown_progressively", "watch", "watch_viewers"]

_watchers: weakref.WeakKeyDictionary[Any, _Watcher] = weakref.WeakKeyDictionary()


def watch_viewers() -> bool:
    """Watch all viewers that have a window; return whether layers will be shown progressively."""
    viewers = open_viewers()
    for viewer in viewers:
        watch(viewer)
    return bool(viewers) and shows_progressively() and can_slice()


def watch(viewer: Viewer) -> None:
    """Show the layers that this plugin opens in `viewer` progressively from now on."""
    viewer = unwrapped(viewer)
    if viewer not in _watchers:
        _watchers[viewer] = _Watcher(viewer)


def is_progressive(viewer: Viewer, layer: Layer) -> bool:
    """Return whether a layer is shown progressively."""
    watcher = _watchers.get(unwrapped(viewer))
    return watcher is not None and layer in watcher.shown


def shown_progressively(viewer: Viewer, layer: Layer) -> ProgressiveLayer | None:
    """Return the `ProgressiveLayer` of a layer of `viewer`, which is created if need be.

    None if the layer cannot be shown so.
    """
    watch(viewer)
    return _watchers[unwrapped(viewer)].show(layer)


class _Watcher:
    """The layers of one viewer that are shown progressively."""

    def __init__(self, viewer: Viewer) -> None:
        window = main_window(viewer)
        self._window: weakref.ref[QObject] | None = None
        if isinstance(window, QObject):
            self._window = weakref.ref(window)
            window.destroyed.connect(self._on_closed)
            self._sign = BusySign(window)
            self._offer = OfferBuild(viewer, window)
        self._dims = viewer.dims
        self.shown: dict[Any, ProgressiveLayer] = {}
        around_insert(viewer.layers, self._before_insert, self._after_insert)
        viewer.dims.events.ndisplay.connect(self._on_turn)
        viewer.dims.events.order.connect(self._on_turn)
        viewer.dims.events.current_step.connect(self._on_step)
        viewer.layers.events.removed.connect(self._on_removed)

    def _before_insert(self, layer: Any) -> None:
        if _is_ours(layer):
            use_cache_size()
            if shows_progressively():
                self.show(layer)

    def show(self, layer: Any) -> ProgressiveLayer | None:
        """Show a layer progressively; return None if that is not possible."""
        window = self._window() if self._window is not None else None
        if layer not in self.shown and window is not None and _is_ours(layer):
            shown = ProgressiveLayer(layer, window, self._sign)
            if shown.installed:
                self.shown[layer] = shown
        return self.shown.get(layer)

    def _after_insert(self, layer: Any) -> None:
        if layer not in self.shown:
            return
        if self._dims.ndisplay == 3:
            QTimer.singleShot(0, self.shown[layer].follow_into_3d)
        if has_virtual_levels(layer.data):
            origin = dict(layer.metadata[METADATA_KEY])
            layer.visible = origin.pop(VISIBLE_KEY, layer.visible)
            layer.metadata[METADATA_KEY] = origin
            duplicate_with(layer, _hidden_until_shown)
            if WHOLE_KEY not in origin:
                self._offer.offer(layer)

    def _on_turn(self) -> None:
        for shown in self.shown.values():
            shown.show_in(self._dims.ndisplay)

    def _on_step(self) -> None:
        if self._dims.ndisplay == 3:
            for shown in self.shown.values():
                shown.leave_position()

    def _on_removed(self, event: Any) -> None:
        if (shown := self.shown.pop(event.value, None)) is not None:
            shown.close()

    def _on_closed(self) -> None:
        for shown in self.shown.values():
            shown.stop()
        self.shown.clear()


def _hidden_until_shown(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a layer that is hidden until it is shown progressively."""
    metadata = state["metadata"]
    origin = {**metadata[METADATA_KEY], VISIBLE_KEY: state["visible"]}
    return {**state, "visible": False, "metadata": {**metadata, METADATA_KEY: origin}}


def _is_ours(layer: Any) -> bool:
    return (
        METADATA_KEY in layer.metadata
        and bool(getattr(layer, "multiscale", False))
        and ProgressiveLevels.fits(views_of_layer(layer))
    )
