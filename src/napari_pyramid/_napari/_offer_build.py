"""Offer to build the pyramid of layers that have virtual levels: `OfferBuild`."""

from __future__ import annotations

import weakref
from typing import Any

from napari.utils.notifications import Notification, notification_manager
from qtpy.QtCore import QObject, QTimer

from napari_pyramid._napari._docks import show_dock

__all__ = ["OfferBuild"]


class OfferBuild(QObject):
    """Notifications of one window, with a button that opens "Build pyramid" for the layer."""

    def __init__(self, viewer: Any, window: QObject) -> None:
        super().__init__(window)
        self._viewer = weakref.ref(viewer)
        self._layers: list[weakref.ref[Any]] = []

    def offer(self, layer: Any) -> None:
        """Offer to build `layer`; layers that are inserted together get one notification."""
        if not self._layers:
            QTimer.singleShot(0, self._notify)
        self._layers.append(weakref.ref(layer))

    def _notify(self) -> None:
        references, self._layers = self._layers, []
        layers = [layer for ref in references if (layer := ref()) is not None]
        if not layers:
            return
        first, others = references[0], len(layers) - 1
        more = f" and {others} more layer{'s' * (others > 1)}" if others else ""
        message = (
            f"{layers[0].name}{more}: no stored resolution can be shown whole. Coarser ones are "
            "computed while you look, and kept in memory only."
        )
        # The notifications of napari are kept: they must not keep the viewer.
        action = ("Build pyramid", _Opener(self._viewer, first))
        notification_manager.dispatch(Notification(message, "info", actions=(action,)))


class _Opener:
    """Opens the dock widget with a layer chosen."""

    def __init__(self, viewer: weakref.ref[Any], layer: weakref.ref[Any]) -> None:
        self._viewer, self._layer = viewer, layer

    def __call__(self, notification: object = None) -> None:
        viewer, layer = self._viewer(), self._layer()
        if viewer is None or layer is None or layer not in viewer.layers:
            return
        widget = show_dock(viewer, "Build pyramid")
        widget.choose(layer)
