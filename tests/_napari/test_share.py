"""The dock widget "Open in web viewer": links of URLs, a server for local stores, and its end."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QApplication
from servers import web_server

from napari_pyramid._napari._share import OpenInViewer
from napari_pyramid.build import build_pyramid
from napari_pyramid.storage.address import parse_address

PATIENCE = 60_000


@pytest.fixture
def store(tmp_path: Path) -> Path:
    build_pyramid(np.ones((40, 50), np.uint16), tmp_path / "a b.ome.zarr", axes="yx")
    return tmp_path / "a b.ome.zarr"


@pytest.fixture
def dock(viewer: Any, qtbot: Any) -> Iterator[Any]:
    def open_dock() -> OpenInViewer:
        _, widget = viewer.window.add_plugin_dock_widget("napari-pyramid", "Open in web viewer")
        return widget

    yield open_dock
    notification_manager.records.clear()
    qtbot.waitUntil(lambda: not serves(), timeout=PATIENCE)


def serves() -> bool:
    """Whether a server runs."""
    return any(t.name == "napari-pyramid-serve" for t in threading.enumerate())


def opened(viewer: Any, path: object) -> None:
    viewer.open(str(path), plugin="napari-pyramid")


def links(widget: OpenInViewer) -> dict[str, str]:
    return {row.viewer: row.url for row in widget.rows if row.url}


def serve(widget: OpenInViewer, qtbot: Any) -> str:
    """Serve the chosen layer's store, and return its address as the links have it."""
    widget.serve.native.click()
    qtbot.waitUntil(lambda: bool(links(widget)), timeout=PATIENCE)
    [address] = {parse_address(url).requested for url in links(widget).values()}
    return address


def test_local_store_is_served_until_stop(
    viewer: Any, dock: Any, qtbot: Any, store: Path, capfd: Any
) -> None:
    opened(viewer, store)
    widget = dock()
    assert links(widget) == {}
    assert "is on this machine" in widget.state.value
    address = serve(widget, qtbot)
    assert list(links(widget)) == ["vizarr", "Neuroglancer", "OME-Zarr validator"]
    assert "Serving" in widget.state.value
    with urllib.request.urlopen(f"{address}/zarr.json") as answer:
        assert answer.read() == (store / "zarr.json").read_bytes()
    widget.stop.native.click()
    assert links(widget) == {}
    qtbot.waitUntil(lambda: not serves(), timeout=PATIENCE)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{address}/zarr.json")
    assert widget.serve.enabled
    assert capfd.readouterr().out == ""


def test_server_ends_with_the_viewer(viewer: Any, dock: Any, qtbot: Any, store: Path) -> None:
    opened(viewer, store)
    widget = dock()
    serve(widget, qtbot)
    life = widget._life
    viewer.close()
    qtbot.waitUntil(lambda: not life.alive, timeout=PATIENCE)
    assert not life.servers


def test_link_of_a_store_behind_a_url_is_copied(
    viewer: Any, dock: Any, qtbot: Any, store: Path
) -> None:
    with web_server(store.parent) as web:
        opened(viewer, f"{web.url}/a%20b.ome.zarr")
        widget = dock()
        assert not widget.serving.visible
        for row in widget.rows:
            row.copy.native.click()
            copied = QApplication.clipboard().text()
            assert parse_address(copied).requested == f"{web.url}/a%20b.ome.zarr"
        viewer.layers.clear()


def test_signed_url_is_refused(viewer: Any, dock: Any, qtbot: Any, store: Path) -> None:
    with web_server(store.parent) as web:
        opened(viewer, f"{web.url}/a%20b.ome.zarr?sig=secret")
        widget = dock()
        assert links(widget) == {}
        assert "would give away" in widget.state.value
        assert "secret" not in widget.state.value
        viewer.layers.clear()


def test_layer_that_is_not_from_a_store(viewer: Any, dock: Any, qtbot: Any) -> None:
    widget = dock()
    assert widget.state.value == "Open an image first."
    viewer.add_image(np.zeros((4, 4)))
    assert "save it or build its pyramid first" in widget.state.value
    assert not widget.serving.visible
