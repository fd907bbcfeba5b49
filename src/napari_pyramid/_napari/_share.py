"""Show the dock widget "Open in web viewer": links for viewers on the web, and a local server.

The server of a folder runs until Stop is pressed, the widget is closed, or napari ends.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox, Container, Label, PushButton
from napari.layers import Image, Labels
from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QApplication, QSizePolicy

from napari_pyramid._napari._background import Outcome
from napari_pyramid._napari._export_controls import NO_LABEL
from napari_pyramid._napari._remedies import worded
from napari_pyramid._napari._worker_thread import answer_in_background
from napari_pyramid.errors import PyramidError
from napari_pyramid.layer_image import origin_of_layer
from napari_pyramid.share.links import Link, format_for_others, viewer_links
from napari_pyramid.share.server import FolderServer
from napari_pyramid.storage.address import is_remote, public_url

if TYPE_CHECKING:
    import napari

__all__ = ["OpenInViewer"]

VIEWERS = {"vizarr": "vizarr", "Neuroglancer": "Neuroglancer", "OME-Zarr validator": "Validator"}
"""Labels of the viewers."""
_WIDTH = 320
"""Least width in pixels, so that text is not wrapped after each word."""


class LinkRow(Container[Any]):
    """A viewer, with buttons that copy its link and open it."""

    def __init__(self, viewer: str) -> None:
        self.viewer = viewer
        self.url = ""
        self.copy = PushButton(text="Copy", tooltip="Copy the link")
        self.open = PushButton(text="Open", tooltip="Open the link in the browser")
        super().__init__(
            widgets=[self.copy, self.open], layout="horizontal", labels=False, label=VIEWERS[viewer]
        )
        self.margins = (0, 0, 0, 0)
        self.copy.changed.connect(self._copy)
        self.open.changed.connect(self._open)

    def show_link(self, link: Link | None) -> None:
        self.url = link.url if link is not None else ""
        self.copy.text = "Copy"
        self.enabled = link is not None
        for button in (self.copy, self.open):
            button.tooltip = self.url

    def _copy(self, *_: Any) -> None:
        clipboard = QApplication.clipboard()
        if self.url and clipboard is not None:
            clipboard.setText(self.url)
            self.copy.text = "Copied"

    def _open(self, *_: Any) -> None:
        if self.url:
            QDesktopServices.openUrl(QUrl.fromEncoded(self.url.encode()))


class OpenInViewer(Container[Any]):
    """Dock widget that shares the store of a layer, or serves it to this machine's browsers."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        self._viewer = napari_viewer
        self._life = _Life()
        self.layer = ComboBox(
            label="Image", choices=self._choices, nullable=False, tooltip="The layer to show"
        )
        self.state = Label(label=NO_LABEL, value="")
        self.serve = PushButton(
            text="Serve", tooltip="Let the browsers of this machine read this folder"
        )
        self.stop = PushButton(text="Stop", tooltip="Stop serving this folder", enabled=False)
        self.rows = [LinkRow(name) for name in VIEWERS]
        self.serving: Container[Any] = Container(
            widgets=[self.serve, self.stop], layout="horizontal", labels=False, label=NO_LABEL
        )
        self.serving.margins = (0, 0, 0, 0)
        super().__init__(widgets=[self.layer, self.state, self.serving, *self.rows], labels=True)
        self.state.native.setWordWrap(True)
        self.state.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.state.native.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.native.setMinimumWidth(_WIDTH)
        self.native.layout().addStretch()
        self.layer.label = self.layer.label  # a change of a label makes magicgui align them all
        self.layer.changed.connect(self.refresh)
        self.serve.changed.connect(self.start)
        self.stop.changed.connect(self.end)
        # Not methods of the widget: Qt would disconnect them when the widget is deleted.
        self.native.destroyed.connect(self._life.end)
        app = QApplication.instance()
        if app is not None:
            app.aboutToQuit.connect(self._life.end)
        self.refresh()

    def _choices(self, _: Any) -> list[tuple[str, Any]]:
        layers = [v for v in self._viewer.layers if isinstance(v, Image | Labels)]
        return [(layer.name, layer) for layer in layers]

    def reset_choices(self, *_: Any) -> None:
        """Update the list of layers; napari calls this when they change."""
        if self._life.alive:
            super().reset_choices()
            self.refresh()

    def refresh(self, *_: Any) -> None:
        """Show the links of the chosen layer, or why it cannot be shared."""
        if not self._life.alive:
            return
        place = self._place()
        server = self._life.servers.get(place or "")
        is_local = place is not None and not is_remote(place)
        self.serving.visible = is_local
        self.serve.enabled = is_local and server is None and place not in self._life.starting
        self.stop.enabled = server is not None
        links: tuple[Link, ...] = ()
        if self.layer.value is None:
            words = "Open an image first."
        elif place is None:
            words = "This layer is not from a store: save it or build its pyramid first."
        elif is_local and server is None:
            words = (
                f"{place}\nis on this machine. Serve lets the browsers of this machine read it, "
                "until Stop."
            )
        else:
            words, links = self._links(place, server)
        self.state.value = words
        by_viewer = {link.viewer: link for link in links}
        for row in self.rows:
            row.show_link(by_viewer.get(row.viewer))

    def _links(self, place: str, server: FolderServer | None) -> tuple[str, tuple[Link, ...]]:
        """Return a sentence on a store, and its links."""
        layer = self.layer.value
        origin = origin_of_layer({"metadata": layer.metadata})
        layout, levels = str(origin.get("layout", "")), origin.get("levels") or [{}]
        is_ome = layout.startswith("OME-Zarr")
        path = str(origin.get("path", ""))
        known, path = format_for_others(layout, path, str(levels[0].get("path", "")), is_ome)
        kind: Any = "labels" if isinstance(layer, Labels) else "image"
        try:
            links = viewer_links(server.url if server else place, path, format=known, kind=kind)
        except PyramidError as error:
            return worded(error), ()
        words = f"Serving {place} to this machine, until Stop." if server else public_url(place)
        if not links:
            return f"{words}\nNo viewer on the web opens this format.", ()
        return "\n".join(dict.fromkeys([words, *(k.note for k in links if k.note)])), links

    def _place(self) -> str | None:
        """Return the path or URL that the chosen layer was opened from, or None."""
        layer = self.layer.value
        if layer is None:
            return None
        known = origin_of_layer({"metadata": layer.metadata}).get("source")
        given = layer.source.path
        if known and given and public_url(str(given)) == str(known):
            return str(given)  # with the signature, if there is one, so that it is noticed
        is_place = known and ("://" in str(known) or str(known) == str(given))
        return str(known) if is_place else None

    def start(self, *_: Any) -> None:
        """Serve the folder of the chosen layer."""
        place = self._place()
        if place is None or is_remote(place) or place in self._life.servers:
            return
        self._life.starting.add(place)
        self.refresh()

        def serve() -> FolderServer:
            server = FolderServer(place)
            server.start()
            return server

        answer_in_background(serve, partial(self._started, place))

    def _started(self, place: str, outcome: Outcome) -> None:
        self._life.starting.discard(place)
        if outcome.error is not None:
            if self._life.alive:
                self.refresh()
                self.state.value = worded(outcome.error)
            return
        if not self._life.alive:
            outcome.result.stop()
            return
        self._life.servers[place] = outcome.result
        self.refresh()

    def end(self, *_: Any) -> None:
        """Stop serving the folder of the chosen layer."""
        server = self._life.servers.pop(self._place() or "", None)
        self.refresh()
        if server is not None:
            answer_in_background(server.stop, lambda _: None)


class _Life:
    """State that outlives the widget: whether it exists, and its servers by folder."""

    def __init__(self) -> None:
        self.alive = True
        self.servers: dict[str, FolderServer] = {}
        self.starting: set[str] = set()

    def end(self) -> None:
        self.alive = False
        while self.servers:
            # In the background, since a server waits for its threads; the program waits for it.
            threading.Thread(target=self.servers.popitem()[1].stop).start()
