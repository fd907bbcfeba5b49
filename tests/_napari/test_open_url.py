"""Open URL: a dialog that never keeps the window waiting, with a history without secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from npe2 import PluginManifest
from qtpy.QtCore import QSettings, Qt
from servers import Rules, web_server

from napari_pyramid._napari import _history
from napari_pyramid._napari._open_url import OpenUrl, open_url
from napari_pyramid._napari._public_images import PUBLIC_IMAGES
from napari_pyramid.storage.address import parse_address

PATIENCE = 60_000


@pytest.fixture(autouse=True)
def history(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path_factory.mktemp("settings") / "history.ini")
    monkeypatch.setattr(_history, "_settings", lambda: QSettings(path, QSettings.Format.IniFormat))


@pytest.fixture
def viewer(viewer_of_widget: Any) -> Any:
    return viewer_of_widget


@pytest.fixture
def dialog(viewer: Any, qtbot: Any) -> Iterator[Any]:
    found = OpenUrl(viewer, None)
    found.show()
    yield found
    found.close()
    found.deleteLater()
    qtbot.wait(10)


@pytest.mark.in_window
def test_url_is_opened_and_remembered(
    viewer: Any, dialog: Any, qtbot: Any, ome_zarr: Callable[..., Path]
) -> None:
    path = ome_zarr(np.ones((9, 11), "u1"), "yx", name="far.zarr")
    assert not dialog.opens.isEnabled()
    with web_server(path.parent, Rules(latency=0.05, query="sig=secret")) as server:
        qtbot.keyClicks(dialog.url.lineEdit(), f"{server.url}/far.zarr?sig=secret")
        qtbot.mouseClick(dialog.opens, Qt.MouseButton.LeftButton)
        assert dialog.busy.isVisible()
        assert len(viewer.layers) == 0
        qtbot.waitUntil(lambda: not dialog.isVisible(), timeout=PATIENCE)
        qtbot.waitUntil(lambda: len(viewer.layers) == 1, timeout=PATIENCE)
        assert _history.remembered_urls() == [f"{server.url}/far.zarr"]
        qtbot.wait(300)  # until the chunks in view have come


def test_options_are_used_for_this_url(
    viewer: Any, dialog: Any, qtbot: Any, ome_zarr: Callable[..., Path]
) -> None:
    path = ome_zarr(np.ones((9, 11), "u1"), "yx", name="far.zarr")
    with web_server(path.parent, Rules(basic="Bearer 7")) as server:
        dialog.url.setCurrentText(f"{server.url}/far.zarr")
        dialog.opens.click()
        qtbot.waitUntil(dialog.problem.isVisible, timeout=PATIENCE)
        assert "401" in dialog.problem.text()
        assert "\n" not in dialog.problem.text()
        assert _history.remembered_urls() == []
        dialog.more.click()
        qtbot.keyClicks(dialog.options, "headers.Authorization=Bearer 7")
        dialog.opens.click()
        qtbot.waitUntil(lambda: len(viewer.layers) == 1, timeout=PATIENCE)
        qtbot.wait(300)


@pytest.mark.parametrize(
    ("url", "options", "problem"),
    [
        ("nothing", "", "not a URL"),
        ("https://host/a.zarr", "anonymous", "not of the form name=value"),
    ],
)
def test_what_is_wrong_is_said_in_the_dialog(
    dialog: Any, url: str, options: str, problem: str
) -> None:
    dialog.url.setCurrentText(url)
    dialog.options.setText(options)
    dialog.opens.click()
    assert problem in dialog.problem.text()
    assert dialog.opens.isEnabled()


def test_dialog_can_be_closed_while_it_opens(
    viewer: Any, dialog: Any, qtbot: Any, ome_zarr: Callable[..., Path]
) -> None:
    path = ome_zarr(np.ones((9, 11), "u1"), "yx", name="far.zarr")
    with web_server(path.parent, Rules(latency=0.1)) as server:
        dialog.url.setCurrentText(f"{server.url}/far.zarr")
        dialog.opens.click()
        dialog.close()
        qtbot.waitUntil(lambda: len(viewer.layers) == 1, timeout=PATIENCE)
        qtbot.wait(300)


def test_earlier_urls_are_offered_and_can_be_forgotten(viewer: Any, qtbot: Any) -> None:
    for name in "abca":
        _history.remember_url(f"https://host/{name}.zarr")
    found = OpenUrl(viewer, None)
    found.show()
    offered = [found.url.itemText(i) for i in range(found.url.count())]
    assert offered == [f"https://host/{name}.zarr" for name in "acb"]
    found.forget.click()
    assert (found.url.count(), _history.remembered_urls()) == (0, [])
    found.close()
    found.deleteLater()
    qtbot.wait(10)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://host/a.zarr?X-Amz-Signature=5&X-Amz-Credential=k", "https://host/a.zarr"),
        ("https://me:secret@host/a.zarr/", "https://host/a.zarr"),
        ("https://viewer/?source=https://host/a.zarr?sig=5", "https://host/a.zarr"),
        ("s3://bucket/a.zarr", "s3://bucket/a.zarr"),
        ("precomputed://gs://bucket/em", "precomputed://gs://bucket/em"),
        ("no url", None),
    ],
)
def test_history_keeps_no_secrets(url: str, kept: str | None) -> None:
    _history.remember_url(url)
    assert _history.remembered_urls() == ([kept] if kept else [])


def test_history_has_an_end() -> None:
    for i in range(_history.MOST + 5):
        _history.remember_url(f"https://host/{i}.zarr")
    found = _history.remembered_urls()
    assert len(found) == _history.MOST
    assert found[0] == f"https://host/{_history.MOST + 4}.zarr"


def test_public_image_fills_in_its_url(dialog: Any) -> None:
    dialog.public.setCurrentItem(dialog.public.topLevelItem(2))
    assert dialog.url.currentText() == PUBLIC_IMAGES[2].url
    assert dialog.opens.isEnabled()


def test_public_images_are_samples_in_the_manifest() -> None:
    manifest = PluginManifest.from_distribution("napari-pyramid")
    samples = {
        s.key: (s.uri, s.reader_plugin)
        for s in manifest.contributions.sample_data or []
        if hasattr(s, "uri")
    }
    assert samples == {image.key: (image.url, "napari-pyramid") for image in PUBLIC_IMAGES}
    assert all(parse_address(image.url).path for image in PUBLIC_IMAGES)


@pytest.mark.in_window
def test_command_is_in_the_file_menu_and_shows_the_dialog(viewer: Any, qtbot: Any) -> None:
    manifest = PluginManifest.from_distribution("napari-pyramid")
    menus = manifest.contributions.menus or {}
    commands = [item.command for item in menus["napari/file/io_utilities"]]
    assert commands[:2] == ["napari-pyramid.open_url", "napari-pyramid.browse"]
    open_url(viewer)
    window = viewer.window._qt_window
    (shown,) = window.findChildren(OpenUrl)
    assert shown.isVisible()
    shown.close()
    qtbot.waitUntil(lambda: not window.findChildren(OpenUrl), timeout=PATIENCE)
