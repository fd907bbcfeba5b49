"""The browser: opened instead of too many layers, listed in the background, opened by choice."""

from __future__ import annotations

import gc
import importlib
import json
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers import write_n5
from napari import Viewer
from napari.settings import get_settings
from qtpy.QtCore import (
    QCoreApplication,
    QEvent,
    QItemSelectionModel,
    QMimeData,
    QPointF,
    Qt,
    QTimer,
    QUrl,
)
from qtpy.QtGui import QDropEvent, QImage, QPainter, QStandardItemModel
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QStyleOptionViewItem
from servers import Rules, web_server

from napari_pyramid._napari import _browser, _opening, _previews
from napari_pyramid._napari._background import NAME
from napari_pyramid._napari._browser import BrowseImages
from napari_pyramid._napari._browser_form import FIELDS, STITCHED, WELLS
from napari_pyramid._napari._catalog_delegates import Colors, WellDelegate
from napari_pyramid._napari._catalog_models import ENTRY, SHOWN
from napari_pyramid._napari._opening import browser_of
from napari_pyramid.catalog import open_catalog
from napari_pyramid.storage import host_names

PLUGIN = "napari-pyramid"
PATIENCE = 60_000


@pytest.fixture
def viewer(viewer_of_widget: Any) -> Any:
    return viewer_of_widget


def browser_in(viewer: Any, qtbot: Any) -> BrowseImages:
    """Return the browser of the viewer's window, or a new one in a window of its own."""
    if isinstance(viewer, Viewer):
        return browser_of(viewer)
    browser = BrowseImages(viewer)
    qtbot.addWidget(browser)
    browser.resize(400, 700)
    browser.show()
    qtbot.waitExposed(browser)
    return browser


def write_image(path: Path, value: int, shape: tuple[int, int] = (24, 36), name: str = "") -> None:
    """An OME-Zarr image of one value with two levels, written file by file: it is quick."""
    datasets = []
    for k in range(2):
        reduced = [-(-n // 2**k) for n in shape]
        (path / str(k) / "c" / "0").mkdir(parents=True)
        array = {
            "zarr_format": 3,
            "node_type": "array",
            "shape": reduced,
            "data_type": "uint16",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": reduced}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": 0,
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        }
        (path / str(k) / "zarr.json").write_text(json.dumps(array))
        (path / str(k) / "c" / "0" / "0").write_bytes(np.full(reduced, value, "<u2").tobytes())
        scale = {"type": "scale", "scale": [2.0**k] * 2}
        datasets.append({"path": str(k), "coordinateTransformations": [scale]})
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"]
    multiscale = {"axes": axes, "datasets": datasets, **({"name": name} if name else {})}
    group(path, multiscales=[multiscale])


def group(path: Path, **ome: Any) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    attributes = {"ome": {"version": "0.5", **ome}} if ome else {}
    (path / "zarr.json").write_text(
        json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes})
    )
    return path


def write_folder(path: Path, n: int) -> Path:
    write_image(path / "image_0.zarr", 0)
    for i in range(1, n):
        shutil.copytree(path / "image_0.zarr", path / f"image_{i}.zarr")
    return path


def write_plate(path: Path, n_rows: int = 3, n_columns: int = 4, n_fields: int = 2) -> Path:
    """A plate without the well A2; the pixels of a field are 100 row + 10 column + field."""
    rows, columns = "ABCDEFGHIJKLMNOP"[:n_rows], range(n_columns)
    wells = []
    for r, row in enumerate(rows):
        group(path / row)
        for c in columns:
            if (r, c) == (0, 1):
                continue
            well = group(
                path / row / str(c + 1),
                well={"images": [{"path": str(i)} for i in range(n_fields)]},
            )
            for i in range(n_fields):
                write_image(well / str(i), 100 * r + 10 * c + i)
            wells.append({"path": f"{row}/{c + 1}", "rowIndex": r, "columnIndex": c})
    names = [[{"name": str(n)} for n in s] for s in (rows, [c + 1 for c in columns])]
    return group(
        path, plate={"name": "Screen", "rows": names[0], "columns": names[1], "wells": wells}
    )


@pytest.fixture(autouse=True)
def no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_previews, "_kept", type(_previews._kept)())
    yield
    # an event loop deletes what was closed; none runs here
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    gc.collect()
    for thread in threading.enumerate():
        if thread.name == NAME:
            thread.join(10)
            assert not thread.is_alive()


@pytest.fixture
def prefers(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda most: monkeypatch.setattr(_opening, "browse_above", lambda: most)


def open_by_hand(viewer: Any, qtbot: Any, path: str | Path) -> list[Any]:
    """Open a path as a dropped one is: while the window handles its events."""
    results: list[Any] = []

    def open_it() -> None:
        results.append(viewer.open(str(path), plugin=PLUGIN))

    QTimer.singleShot(0, open_it)
    qtbot.waitUntil(lambda: bool(results), timeout=PATIENCE)
    return results[0]


def settle(qtbot: Any, browser: Any) -> None:
    qtbot.waitUntil(lambda: not browser.is_busy, timeout=PATIENCE)


def choose(browser: Any, *cells: tuple[int, int]) -> None:
    view = browser.grid if browser.catalog.plate is not None else browser.list
    view.clearSelection()
    for cell in cells:
        index = view.model().index(*cell)
        view.selectionModel().select(index, QItemSelectionModel.SelectionFlag.Select)


def docks(viewer: Any) -> list[str]:
    return [name for name in viewer.window.dock_widgets if "Browse" in name]


# ---- when it opens ----


@pytest.mark.in_window
def test_many_images_open_the_browser_instead_of_layers(
    viewer: Any, qtbot: Any, tmp_path: Path
) -> None:
    assert open_by_hand(viewer, qtbot, write_folder(tmp_path / "many", 9)) == []
    browser = browser_in(viewer, qtbot)
    settle(qtbot, browser)
    assert (len(viewer.layers), browser.list.model().rowCount()) == (0, 9)
    assert browser.count.text() == "9 images"
    assert browser.name.text() == "many"


@pytest.mark.in_window
def test_browser_is_a_tab_of_the_dock_that_is_open(viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    from qtpy.QtWidgets import QDockWidget

    window = viewer.window._qt_window
    _, form = viewer.window.add_plugin_dock_widget(PLUGIN, "Build pyramid")
    open_by_hand(viewer, qtbot, write_folder(tmp_path / "many", 9))
    browser = browser_in(viewer, qtbot)
    docks = window.findChildren(QDockWidget)
    of_browser, of_form = (
        next(dock for dock in docks if dock.isAncestorOf(widget)) for widget in (browser, form)
    )
    assert of_form in window.tabifiedDockWidgets(of_browser)
    qtbot.waitUntil(browser.isVisible, timeout=PATIENCE)


@pytest.mark.in_window
def test_few_images_open_as_layers(viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    layers = open_by_hand(viewer, qtbot, write_folder(tmp_path / "few", 8))
    assert [layer.name for layer in layers] == [f"image_{i}.zarr" for i in range(8)]
    assert docks(viewer) == []


@pytest.mark.in_window
def test_preference_says_how_many_are_many(
    viewer: Any, qtbot: Any, tmp_path: Path, prefers: Any
) -> None:
    prefers(2)
    assert open_by_hand(viewer, qtbot, write_folder(tmp_path / "three", 3)) == []
    assert browser_in(viewer, qtbot).name.text() == "three"


@pytest.mark.in_window
def test_script_gets_its_layers_however_many(viewer: Any, tmp_path: Path) -> None:
    """No event is handled while a script runs."""
    layers = viewer.open(str(write_folder(tmp_path / "many", 9)), plugin=PLUGIN)
    assert len(layers) == 9
    assert docks(viewer) == []


@pytest.mark.parametrize("plugin", [[], ["--plugin", PLUGIN]], ids=["any reader", "this reader"])
def test_command_of_napari_opens_many_images_in_the_browser(
    make_napari_viewer: Callable[..., Any],
    monkeypatch: Any,
    qtbot: Any,
    tmp_path: Path,
    plugin: list[str],
) -> None:
    """``napari PATH`` opens the path while its window is still hidden."""
    name = "napari.__main__"
    monkeypatch.setitem(sys.modules, name, sys)  # so that the module is taken out again afterwards
    del sys.modules[name]
    command = importlib.import_module(name)
    folder = write_folder(tmp_path / "many.zarr", 9)
    monkeypatch.setattr(get_settings().plugins, "extension2reader", {"*.zarr*": PLUGIN})
    monkeypatch.setattr(sys, "argv", ["napari", str(folder), *plugin])
    monkeypatch.setattr(command, "Viewer", make_napari_viewer)
    viewer = command._build_viewer()
    qtbot.waitUntil(lambda: bool(docks(viewer)), timeout=PATIENCE)
    browser = browser_in(viewer, qtbot)
    settle(qtbot, browser)
    assert browser.list.model().rowCount() == 9
    assert list(viewer.layers) == []


def test_hidden_window_gets_its_layers(
    make_napari_viewer: Callable[..., Any], qtbot: Any, tmp_path: Path
) -> None:
    viewer = make_napari_viewer(show=False)
    assert len(open_by_hand(viewer, qtbot, write_folder(tmp_path / "many", 9))) == 9


@pytest.mark.in_window
def test_warnings_of_few_images_are_given_once(viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "few", 2)
    (folder / "image_1.zarr" / "zarr.json").write_text("{")
    with pytest.warns(UserWarning, match="image_1") as caught:
        open_by_hand(viewer, qtbot, folder)
    found = [str(w.message) for w in caught if "image_1" in str(w.message)]
    assert len(found) == len(set(found)) >= 1


@pytest.mark.in_window
def test_nothing_is_printed(viewer: Any, qtbot: Any, tmp_path: Path, capfd: Any) -> None:
    open_by_hand(viewer, qtbot, write_folder(tmp_path / "many", 9))
    settle(qtbot, browser_in(viewer, qtbot))
    assert capfd.readouterr().out == ""


@pytest.mark.slow
@pytest.mark.in_window
def test_browser_of_2000_images_is_there_at_once(viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    """Before the last image is listed, with rows that are no widgets."""
    folder = write_folder(tmp_path / "many", 2000)
    assert open_by_hand(viewer, qtbot, folder) == []
    browser = browser_in(viewer, qtbot)
    assert browser.isVisible()
    assert browser.count.text().endswith("…")
    n_widgets = len(QApplication.allWidgets())
    settle(qtbot, browser)
    assert browser.list.model().rowCount() == 2000
    assert len(QApplication.allWidgets()) - n_widgets < 20
    assert 0 < len(_previews._kept) < 100


# ---- the list ----


@pytest.mark.in_window
def test_rows_show_name_size_and_thumbnail(viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    for i in range(9):
        write_image(folder / f"cell {i}.zarr", 7 * i, (24 + i, 36))
    open_by_hand(viewer, qtbot, folder)
    browser = browser_in(viewer, qtbot)
    settle(qtbot, browser)
    index = browser.list.model().index(3, 0)
    assert index.data() == "cell 3.zarr"
    qtbot.waitUntil(lambda: index.data(SHOWN).is_read, timeout=PATIENCE)
    shown = index.data(SHOWN)
    assert shown.details == "36 × 27 px · 2 levels · uint16"
    assert (shown.pixmap.width(), shown.pixmap.height()) == (18, 14)


def test_thumbnails_are_kept(viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "many", 9)
    browser = browser_in(viewer, qtbot)
    browser.show_catalog(open_catalog(folder))
    settle(qtbot, browser)
    for row in range(3):
        index = browser.list.model().index(row, 0)
        qtbot.waitUntil(lambda index=index: index.data(SHOWN).is_read, timeout=PATIENCE)
    shutil.rmtree(folder / "image_1.zarr" / "1")
    browser.show_catalog(open_catalog(folder))
    settle(qtbot, browser)
    assert browser.list.model().index(1, 0).data(SHOWN).pixmap is not None


def test_image_that_cannot_be_read_says_why_and_leaves_the_others(
    viewer: Any, qtbot: Any, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "many", 9)
    shutil.rmtree(folder / "image_1.zarr" / "0")
    shutil.rmtree(folder / "image_1.zarr" / "1")
    browser = browser_in(viewer, qtbot)
    browser.show_catalog(open_catalog(folder))
    settle(qtbot, browser)
    index = browser.list.model().index(1, 0)
    qtbot.waitUntil(lambda: index.data(SHOWN).is_read, timeout=PATIENCE)
    assert "no level" in index.data(SHOWN).details
    notes: list[Any] = []
    from napari.utils.notifications import notification_manager

    notification_manager.notification_ready.connect(notes.append)
    choose(browser, (0, 0), (1, 0), (2, 0))
    QTest.mouseClick(browser.open_chosen, Qt.MouseButton.LeftButton)
    settle(qtbot, browser)
    assert [layer.name for layer in viewer.layers] == ["image_0.zarr", "image_2.zarr"]
    assert sum("no level" in str(note.message) for note in notes) == 1
    assert browser.problem.isVisible()
    assert "image_1.zarr" in browser.problem.text()
    choose(browser, (3, 0))
    QTest.mouseClick(browser.open_chosen, Qt.MouseButton.LeftButton)
    assert not browser.problem.isVisible()
    settle(qtbot, browser)


@pytest.mark.in_window
def test_folder_that_cannot_be_browsed_says_why_in_the_browser(
    viewer: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the dock that the menu has opened: no second one opens for what is browsed."""
    menus = {entry.text(): entry.menu() for entry in viewer.window.plugins_menu.actions()}
    [entry] = [e for e in menus["Image pyramids"].actions() if e.text().startswith("Browse images")]
    entry.trigger()
    browser = browser_in(viewer, qtbot)
    (tmp_path / "empty").mkdir()
    chosen = staticmethod(lambda *_: str(tmp_path / "empty"))
    monkeypatch.setattr(_browser.QFileDialog, "getExistingDirectory", chosen)
    QTest.mouseClick(browser.folder, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(browser.problem.isVisible, timeout=PATIENCE)
    assert browser.problem.text() == f"⚠ {tmp_path / 'empty'} has no images"
    assert docks(viewer) == ["Browse images (Image pyramids)"]


def test_search_leaves_what_it_finds(viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    browser = browser_in(viewer, qtbot)
    browser.show_catalog(open_catalog(write_folder(tmp_path / "many", 12)))
    settle(qtbot, browser)
    qtbot.keyClicks(browser.search, "IMAGE_1")
    assert [e.name for e in browser.shown()] == ["image_1.zarr", "image_10.zarr", "image_11.zarr"]
    browser.open_all.click()
    settle(qtbot, browser)
    assert len(viewer.layers) == 3
    found = browser.list.model().rowCount()
    assert browser.count.text().startswith(f"{found} of ")
    qtbot.keyClicks(browser.search, "?")
    assert not browser.open_all.isEnabled()


def test_double_click_opens_one(viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    browser = browser_in(viewer, qtbot)
    browser.show_catalog(open_catalog(write_folder(tmp_path / "many", 9)))
    settle(qtbot, browser)
    place = browser.list.visualRect(browser.list.model().index(2, 0)).center()
    qtbot.mouseClick(browser.list.viewport(), Qt.MouseButton.LeftButton, pos=place)
    qtbot.mouseDClick(browser.list.viewport(), Qt.MouseButton.LeftButton, pos=place)
    settle(qtbot, browser)
    assert [layer.name for layer in viewer.layers] == ["image_2.zarr"]
    assert viewer.layers[0].source.reader_plugin == PLUGIN


def test_return_opens_the_selection(viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    browser = browser_in(viewer, qtbot)
    browser.show_catalog(open_catalog(write_folder(tmp_path / "many", 9)))
    settle(qtbot, browser)
    choose(browser, (1, 0), (4, 0))
    qtbot.keyClick(browser.list, Qt.Key.Key_Return)
    settle(qtbot, browser)
    assert [layer.name for layer in viewer.layers] == ["image_1.zarr", "image_4.zarr"]


def test_many_layers_are_added_only_after_a_question(
    viewer: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_browser, "_CONFIRM_ABOVE", 3)
    browser = browser_in(viewer, qtbot)
    browser.show_catalog(open_catalog(write_folder(tmp_path / "many", 5)))
    settle(qtbot, browser)
    browser.open_all.click()
    assert browser.confirm.isVisible()
    assert browser.note.text().startswith("5 images become")
    browser.stop.click()
    assert not browser.confirm.isVisible()
    assert not browser.is_busy
    browser.open_all.click()
    browser.confirm.click()
    settle(qtbot, browser)
    assert len(viewer.layers) == 5


def test_opening_can_be_stopped(viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    browser = browser_in(viewer, qtbot)
    browser.show_catalog(open_catalog(write_folder(tmp_path / "many", 20)))
    settle(qtbot, browser)
    browser.open_all.click()
    assert browser.stop.isVisible()
    qtbot.waitUntil(lambda: len(viewer.layers) > 0, timeout=PATIENCE)
    browser.stop.click()
    n = len(viewer.layers)
    assert n < 20
    assert not browser.stop.isVisible()
    qtbot.wait(200)
    assert len(viewer.layers) == n


# ---- plates ----


@pytest.mark.in_window
def test_plate_shows_the_grid_of_its_wells(viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    assert open_by_hand(viewer, qtbot, write_plate(tmp_path / "plate.zarr")) == []
    browser = browser_in(viewer, qtbot)
    model = browser.grid.model()
    assert (model.rowCount(), model.columnCount()) == (3, 4)
    headers = [model.headerData(i, Qt.Orientation.Horizontal) for i in range(4)]
    assert headers == ["1", "2", "3", "4"]
    assert model.headerData(2, Qt.Orientation.Vertical) == "C"
    assert model.index(1, 2).data() == "B3"
    assert model.index(0, 1).data() is None
    assert not model.flags(model.index(0, 1)) & Qt.ItemFlag.ItemIsSelectable
    assert browser.count.text() == "11 wells · 3 × 4"
    qtbot.waitUntil(lambda: browser.grid.horizontalScrollBar().maximum() == 0, timeout=PATIENCE)
    qtbot.waitUntil(lambda: model.index(2, 3).data(SHOWN).is_read, timeout=PATIENCE)
    assert model.index(2, 3).data(SHOWN).details.startswith("72 × 24 px")
    assert "B3\nB/3" in model.index(1, 2).data(Qt.ItemDataRole.ToolTipRole)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (WELLS, {"B2": (24, 72), "B3": (24, 72)}),
        (
            FIELDS,
            dict.fromkeys(["B2 field 0", "B2 field 1", "B3 field 0", "B3 field 1"], (24, 36)),
        ),
        (STITCHED, {"Screen": (24, 144)}),
    ],
)
def test_wells_open_one_by_one_by_field_or_stitched(
    viewer: Any, qtbot: Any, tmp_path: Path, how: str, expected: dict[str, Any]
) -> None:
    browser = browser_in(viewer, qtbot)
    browser.show_catalog(open_catalog(write_plate(tmp_path / "plate.zarr")))
    browser.how.setCurrentIndex(browser.how.findData(how))
    choose(browser, (1, 2), (1, 1))
    browser.open_chosen.click()
    settle(qtbot, browser)
    assert {v.name: tuple(v.data[0].shape) for v in viewer.layers} == expected
    last = np.asarray(viewer.layers[-1].data[0])
    assert set(np.unique(last)) <= {110, 111, 120, 121}


def test_whole_plate_opens_stitched_without_a_question(
    viewer: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_browser, "_CONFIRM_ABOVE", 3)
    browser = browser_in(viewer, qtbot)
    browser.show_catalog(open_catalog(write_plate(tmp_path / "plate.zarr", n_fields=1)))
    browser.how.setCurrentIndex(browser.how.findData(STITCHED))
    browser.open_all.click()
    settle(qtbot, browser)
    (layer,) = viewer.layers
    pixels = np.asarray(layer.data[0])[::24, ::36]
    np.testing.assert_array_equal(
        pixels, [[0, 0, 20, 30], [100, 110, 120, 130], [200, 210, 220, 230]]
    )


def test_header_selects_a_row_of_wells(viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    browser = browser_in(viewer, qtbot)
    browser.show_catalog(open_catalog(write_plate(tmp_path / "plate.zarr")))
    qtbot.wait(100)
    header = browser.grid.verticalHeader()
    y = header.sectionViewportPosition(0) + 3
    qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=QPointF(4, y).toPoint())
    assert [e.name for e in browser.chosen()] == ["A1", "A3", "A4"]
    assert browser.open_chosen.text() == "Open selected (3)"
    settle(qtbot, browser)


@pytest.mark.in_window
def test_slider_changes_the_size_of_wells(viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    browser = browser_in(viewer, qtbot)
    browser.show_catalog(open_catalog(write_plate(tmp_path / "plate.zarr")))
    browser.well_size.setValue(70)
    assert browser.grid.columnWidth(2) == browser.grid.rowHeight(1) == 70
    settle(qtbot, browser)


# ---- coordinate systems, timepoints ----


def test_coordinate_system_is_chosen_for_what_is_opened(
    viewer: Any, qtbot: Any, tmp_path: Path
) -> None:
    root = tmp_path / "scene.zarr"
    systems = [{"name": n, "axes": [{"name": a, "type": "space"} for a in "yx"]} for n in "pq"]
    steps = []
    for i in range(2):
        path = root / f"tile{i}"
        write_image(path, i)
        document = json.loads((path / "zarr.json").read_text())
        multiscale = document["attributes"]["ome"]["multiscales"][0]
        del multiscale["axes"]
        multiscale["coordinateSystems"] = [{**systems[0], "name": "own"}]
        for dataset in multiscale["datasets"]:
            ends = {"input": {"path": dataset["path"]}, "output": {"name": "own"}}
            dataset["coordinateTransformations"][0] |= ends
        document["attributes"]["ome"]["version"] = "0.6"
        (path / "zarr.json").write_text(json.dumps(document))
        for name, factor in (("p", 1.0), ("q", 3.0)):
            ends = {"input": {"path": f"tile{i}", "name": "own"}, "output": {"name": name}}
            steps.append({"type": "scale", "scale": [factor] * 2, **ends})
    group(
        root,
        version="0.6",
        scene={"coordinateSystems": systems, "coordinateTransformations": steps},
    )
    browser = browser_in(viewer, qtbot)
    browser.show_catalog(open_catalog(root))
    settle(qtbot, browser)
    assert browser.system.isVisible()
    assert [browser.system.itemData(i) for i in range(browser.system.count())] == ["p", "q"]
    browser.system.setCurrentIndex(1)
    choose(browser, (1, 0))
    browser.open_chosen.click()
    settle(qtbot, browser)
    (layer,) = viewer.layers
    assert layer.name == "tile1"
    np.testing.assert_allclose(np.diag(layer.affine.affine_matrix), [3, 3, 1])


def test_single_timepoint_of_bigdataviewer_is_opened(
    viewer: Any, qtbot: Any, tmp_path: Path
) -> None:
    root = tmp_path / "data.n5"
    for t in range(3):
        folder = root / "setup0" / f"timepoint{t}"
        write_n5(folder / "s0", np.full((6, 5, 4), t, "u2"), {"type": "gzip"}, block=(5, 5, 5))
        (folder / "attributes.json").write_text('{"multiScale": true}')
    attributes = {"downsamplingFactors": [[1, 1, 1]], "dataType": "uint16"}
    (root / "setup0" / "attributes.json").write_text(json.dumps(attributes))
    (root / "attributes.json").write_text('{"n5": "2.0.0"}')
    browser = browser_in(viewer, qtbot)
    browser.show_catalog(open_catalog(root))
    settle(qtbot, browser)
    names = [browser.list.model().index(i, 0).data() for i in range(4)]
    assert names == ["setup0", *(f"setup0, timepoint {t}" for t in range(3))]
    assert [e.name for e in browser.shown()] == ["setup0"]
    choose(browser, (3, 0))
    browser.open_chosen.click()
    settle(qtbot, browser)
    (layer,) = viewer.layers
    assert (layer.ndim, int(np.asarray(layer.data).max())) == (3, 2)


# ---- dropping, servers ----


@pytest.mark.in_window
def test_dropped_store_is_shown_even_if_it_has_one_image(
    viewer: Any, qtbot: Any, tmp_path: Path
) -> None:
    write_image(tmp_path / "one.zarr", 3, name="the one")
    browser = browser_in(viewer, qtbot)
    assert browser.pages.currentWidget() is browser.start
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path / "one.zarr"))])
    event = QDropEvent(
        QPointF(9, 9),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    assert browser.acceptDrops()
    browser.dropEvent(event)
    qtbot.waitUntil(lambda: browser.catalog is not None, timeout=PATIENCE)
    settle(qtbot, browser)
    assert browser.list.model().index(0, 0).data() == "the one"


class Ticks:
    """The longest time in which the window answered nothing, by a clock of the processor.

    Other work on the machine does not change the processor time of the thread.
    """

    def __init__(self) -> None:
        self._times = [time.thread_time()]
        self._timer = QTimer()
        self._timer.timeout.connect(lambda: self._times.append(time.thread_time()))
        self._timer.start(5)

    def longest(self) -> float:
        self._timer.stop()
        return float(max(np.diff([*self._times, time.thread_time()])))


def test_listing_and_thumbnails_leave_the_window_free(
    viewer: Any, qtbot: Any, tmp_path: Path
) -> None:
    """50 ms of the GUI thread at most; what napari needs to show a new dock comes before."""
    folder = write_folder(tmp_path / "many", 400)
    browser = browser_in(viewer, qtbot)
    browser.show_catalog(open_catalog(folder))
    qtbot.wait(500)
    ticks = Ticks()
    browser.show_catalog(open_catalog(folder))
    settle(qtbot, browser)
    for place in range(0, 400, 20):
        browser.list.scrollTo(browser.list.model().index(place, 0))
        qtbot.wait(10)
    settle(qtbot, browser)
    assert ticks.longest() < 0.05


@pytest.mark.in_window
def test_url_opens_while_the_window_answers(viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    write_image(tmp_path / "far.zarr", 5)
    with web_server(tmp_path, Rules(latency=0.15)) as server:
        assert open_by_hand(viewer, qtbot, f"{server.url}/far.zarr") == []
        assert len(viewer.layers) == 0
        qtbot.waitUntil(lambda: len(viewer.layers) == 1, timeout=PATIENCE)
        assert viewer.layers[0].name == "far"
        qtbot.waitUntil(
            lambda: not any(t.name == "chunk loader" for t in threading.enumerate()),
            timeout=PATIENCE,
        )


@pytest.mark.in_window
def test_url_with_many_images_opens_the_browser(viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    write_plate(tmp_path / "far.zarr")
    with web_server(tmp_path) as server:
        open_by_hand(viewer, qtbot, f"{server.url}/far.zarr")
        qtbot.waitUntil(lambda: bool(docks(viewer)), timeout=PATIENCE)
        browser = browser_in(viewer, qtbot)
        qtbot.waitUntil(lambda: browser.catalog is not None, timeout=PATIENCE)
        assert browser.name.text() == "Screen"
        settle(qtbot, browser)


@pytest.mark.in_window
def test_server_that_is_not_there_gives_one_clear_notification(
    viewer: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari.utils.notifications import notification_manager

    monkeypatch.setattr(_opening, "options_for", lambda path: {"retries": "0"})
    notes: list[Any] = []
    notification_manager.notification_ready.connect(notes.append)
    open_by_hand(viewer, qtbot, "http://127.0.0.1:9/x.zarr")
    qtbot.waitUntil(lambda: bool(notes), timeout=PATIENCE)
    (note,) = notes
    assert "127.0.0.1:9/x.zarr" in note.message
    assert "\n" not in note.message
    assert not hasattr(note, "exception")


@pytest.mark.in_window
def test_host_without_a_name_is_notified_at_once_with_the_reason_first(
    viewer: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """napari shows the start of a long line only. Nothing is asked of the host itself."""
    from napari.utils.notifications import notification_manager

    asked: list[str] = []

    def unknown(host: str, port: object) -> None:
        asked.append(host)
        raise socket.gaierror

    monkeypatch.setattr(host_names.urllib.request, "getproxies", dict)
    monkeypatch.setattr(host_names.socket, "getaddrinfo", unknown)
    monkeypatch.setattr(_opening, "open_catalog", None)
    notes: list[Any] = []
    notification_manager.notification_ready.connect(notes.append)
    open_by_hand(viewer, qtbot, "https://nowhere.invalid/x.zarr")
    qtbot.waitUntil(lambda: bool(notes), timeout=PATIENCE)
    assert asked == ["nowhere.invalid"]
    assert notes[0].message == (
        "The host's name is unknown (is there a network connection?): "
        "https://nowhere.invalid/x.zarr"
    )


# ---- themes, ends ----


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.in_window
def test_colours_follow_the_theme(viewer: Any, qtbot: Any, tmp_path: Path, theme: str) -> None:
    browser = browser_in(viewer, qtbot)
    viewer.theme = theme
    browser.show_catalog(open_catalog(write_folder(tmp_path / "many", 3)))
    settle(qtbot, browser)
    assert (browser.rows.colors.text.lightness() > 128) == (theme == "dark")
    picture = browser.list.grab().toImage()
    corner = picture.pixelColor(picture.width() // 2, picture.height() - 5)
    assert (corner.lightness() < 128) == (theme == "dark")


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_names_of_wells_can_be_read_before_their_pictures_come(qapp: Any, theme: str) -> None:
    colors = Colors.of(theme)
    model = QStandardItemModel(1, 1)
    model.setData(model.index(0, 0), SimpleNamespace(name="A1"), ENTRY)
    model.setData(model.index(0, 0), SimpleNamespace(pixmap=None), SHOWN)
    drawn = QImage(60, 60, QImage.Format.Format_RGB32)
    drawn.fill(colors.empty)
    option = QStyleOptionViewItem()
    option.rect = drawn.rect()
    painter = QPainter(drawn)
    WellDelegate(colors, None).paint(painter, option, model.index(0, 0))
    painter.end()
    ground = colors.empty.lightness()
    lights = [drawn.pixelColor(x, y).lightness() for x in range(5, 55) for y in range(4, 55)]
    brighter, darker = max(lights) - ground, ground - min(lights)
    assert (brighter > 60, brighter > 20) == (theme == "dark",) * 2
    assert (darker > 60) == (theme == "light")


def test_closed_window_leaves_no_work(
    make_napari_viewer: Callable[..., Any], qtbot: Any, tmp_path: Path
) -> None:
    viewer = make_napari_viewer(show=True)
    browser = browser_in(viewer, qtbot)
    browser.show_catalog(open_catalog(write_folder(tmp_path / "many", 300)))
    del browser
    viewer.close()
    qtbot.wait(50)


@pytest.mark.in_window
def test_closed_dock_ends_its_threads(viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    browser = browser_in(viewer, qtbot)
    browser.show_catalog(open_catalog(write_folder(tmp_path / "many", 9)))
    settle(qtbot, browser)
    assert any(t.name == NAME for t in threading.enumerate())
    viewer.window.remove_dock_widget(browser)
    browser.deleteLater()
    del browser
    qtbot.waitUntil(
        lambda: not any(t.name == NAME for t in threading.enumerate()), timeout=PATIENCE
    )
