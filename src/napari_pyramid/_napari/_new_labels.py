"""Create empty labels for an image: the command "New labels for this pyramid"."""

from __future__ import annotations

from typing import Any

import zarr
from napari.layers import Image
from napari.utils.notifications import show_error, show_warning
from napari.viewer import Viewer

from napari_pyramid._napari._background import Outcome
from napari_pyramid._napari._editing import edit_labels
from napari_pyramid._napari._from_image import layers_of
from napari_pyramid._napari._opening import add_unread
from napari_pyramid._napari._preferences import options_for
from napari_pyramid._napari._private import main_window, unwrapped
from napari_pyramid._napari._remedies import worded
from napari_pyramid._napari._worker_thread import answer_in_background
from napari_pyramid.build.new_labels import create_labels
from napari_pyramid.errors import DestinationError
from napari_pyramid.layer_image import METADATA_KEY, LayerTuple
from napari_pyramid.storage.address import is_remote, parse_address
from napari_pyramid.storage.remote_store import RemoteStore

__all__ = ["new_labels"]


def new_labels(viewer: Viewer) -> None:
    """Create empty labels for the active image, in its store or beside it, and paint on them."""
    viewer = unwrapped(viewer)
    image = viewer.layers.selection.active
    origin = (image.metadata.get(METADATA_KEY) if isinstance(image, Image) else None) or {}
    if not origin.get("source") or not origin.get("levels"):
        show_warning("Select an image that was opened from a pyramid.")
        return
    _NewLabels(viewer, image, origin).begin()


class _NewLabels:
    """The new labels of one image, until they are painted on.

    Parameters
    ----------
    image
        Layer of the image.
    origin
        Where the image was opened from, as `origin_of` gives it.
    """

    def __init__(self, viewer: Viewer, image: Image, origin: dict[str, Any]) -> None:
        self._viewer, self._name = viewer, image.name
        self._source: str = origin["source"]
        self._path: str | None = origin.get("path") or None
        self._is_far = is_remote(self._source)
        self._options = _options_of(image, self._source) if self._is_far else None

    def begin(self) -> None:
        """Create the labels in the store of the image; ask for another place where that fails."""
        if self._is_far and parse_address(self._source).is_http:  # nothing can be written there
            self._ask_for_place()
        else:
            self._create(None)

    def _ask_for_place(self) -> None:
        destination = _asked_for_destination(self._viewer)
        if destination is not None:
            self._create(destination)

    def _create(self, destination: str | None) -> None:
        may_ask = self._is_far and destination is None

        def end(outcome: Outcome) -> None:  # a function, because Qt does not keep methods alive
            if may_ask and isinstance(outcome.error, DestinationError):
                show_warning(f"{self._name}: {worded(outcome.error)}")
                self._ask_for_place()
            else:
                self._show(outcome)

        answer_in_background(
            lambda: self._created(destination), end, title=f"New labels for {self._name}"
        )

    def _created(self, destination: str | None) -> tuple[str, list[LayerTuple]]:
        """Return the place of the labels that are created, and their layers."""
        made = create_labels(
            self._source, destination, image=self._path, storage_options=self._options
        )
        store: Any = made.levels[0].store  # type: ignore[attr-defined]  # a zarr array
        place = store.address.public if isinstance(store, RemoteStore) else str(store.root)
        return place, layers_of([made.image], place)

    def _show(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            show_error(f"{self._name}: {worded(outcome.error)}")
            return
        place, layers = outcome.result
        for data, state, kind in layers:
            named = {**state, "name": f"{self._name}: {state['name']}"}
            layer = add_unread(self._viewer, (data, named, kind), place)
            self._viewer.layers.selection.active = layer
            edit_labels(self._viewer)


def _options_of(layer: Any, source: str) -> dict[str, Any] | None:
    """Return the storage options of a layer's store; from the preferences if it keeps none."""
    array = layer.data[0] if layer.multiscale else layer.data
    while not isinstance(array, zarr.Array) and hasattr(array, "source"):
        array = array.source
    store = getattr(array, "store", None)
    return dict(store.connection.given) if isinstance(store, RemoteStore) else options_for(source)


def _asked_for_destination(viewer: Any) -> str | None:
    """Ask where labels that cannot be stored beside their image are put; None if cancelled."""
    from qtpy.QtWidgets import QFileDialog

    from napari_pyramid._napari._saving import completed

    path, _ = QFileDialog.getSaveFileName(
        main_window(viewer), "Store the new labels as", "labels.ome.zarr"
    )
    return str(completed(path)) if path else None
