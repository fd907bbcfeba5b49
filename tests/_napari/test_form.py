"""The form: sources, axes and voxel size, what is said where, the table, totals, and its speed."""

from __future__ import annotations

import importlib
import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from build_dock import PATIENCE, click, random_cells, set_fields, settle, wait_for_states
from helpers import plain_mean
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from servers import web_server

from napari_pyramid import build_pyramid
from napari_pyramid._napari import _estimate, _planning
from napari_pyramid._napari._form import BuildForm
from napari_pyramid._napari._level_table import LevelTable
from napari_pyramid._napari.widget import BuildPyramid

pytestmark = pytest.mark.usefixtures("nothing_is_measured")
SHAPE = (20, 40, 30)


@pytest.fixture
def viewer(viewer_of_widget: Any) -> Any:
    return viewer_of_widget


def build(widget: BuildPyramid, qtbot: Any, n: int = 1) -> None:
    click(widget.build)
    wait_for_states(widget, qtbot, *["done"] * n)
    settle(widget, qtbot)


def multiscale(store: Path) -> Any:
    document = json.loads((store / "zarr.json").read_text())
    return document["attributes"]["ome"]["multiscales"][0]


def selected_row_stands_out(rows: Any) -> bool:
    """Return whether the first row has another ground than the empty part below the rows."""
    drawn, row = rows.grab().toImage(), rows.visualItemRect(rows.item(0))
    below = rows.visualItemRect(rows.item(rows.count() - 1)).bottom() + 8
    x = row.right() - 8
    ground = [drawn.pixelColor(x, y).getRgb()[:3] for y in (row.center().y(), below)]
    return bool(np.abs(np.subtract(*ground)).max() > 80)


# ---- sources -------------------------------------------------------------------------------------


def test_empty_or_wrong_path_clears_what_the_last_image_offered(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=random_cells(SHAPE), chunks=(8, 8, 8))
    widget = dock()

    def type_path(text: str) -> list[str]:
        line = widget.path.line_edit.native
        line.selectAll()
        QTest.keyClicks(line, text) if text else QTest.keyClick(line, Qt.Key.Key_Delete)
        QTest.keyClick(line, Qt.Key.Key_Return)
        settle(widget, qtbot)
        return [widget.axes.value, widget.voxel_size.value, widget.destination.text]

    shown = ["zyx", "1, 1, 1", str(tmp_path / "a.ome.zarr")]
    assert type_path(str(tmp_path / "a.zarr")) == shown
    assert type_path("") == ["", "", ""]
    assert type_path(str(tmp_path / "a.zarr")) == shown
    assert type_path(str(tmp_path / "none.zarr")) == ["", "", ""]
    assert "none.zarr" in widget.form.problems()["path"]


@pytest.mark.in_window
def test_several_layers_become_the_channels_of_one_image(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    values = [random_cells(SHAPE, seed=i) for i in range(2)]
    looks = (("DAPI", "blue"), ("GFP", "green"))
    for pixels, (name, color) in zip(values, looks, strict=True):
        viewer.add_image(pixels, name=name, colormap=color, scale=(2, 1, 1), units="um")
    widget = dock()
    set_fields(widget, qtbot, source="channels")
    assert not widget.build.isEnabled()
    set_fields(widget, qtbot, layers=list(viewer.layers))
    set_fields(widget, qtbot, destination=tmp_path / "both.ome.zarr", n_levels=2, factors="1,2,2,2")
    build(widget, qtbot)
    ome = json.loads((tmp_path / "both.ome.zarr/zarr.json").read_text())["attributes"]["ome"]
    assert [c["label"] for c in ome["omero"]["channels"]] == ["DAPI", "GFP"]
    stored = zarr.open_array(tmp_path / "both.ome.zarr/0", mode="r")[:]
    np.testing.assert_array_equal(stored, np.stack(values))
    assert [layer.name for layer in viewer.layers] == ["DAPI", "GFP"]
    assert [layer.colormap.name for layer in viewer.layers] == ["blue", "green"]
    for layer, pixels in zip(viewer.layers, values, strict=True):
        np.testing.assert_array_equal(np.asarray(layer.data[1]), plain_mean(pixels, (2, 2, 2)))


@pytest.mark.in_window
def test_layers_that_are_no_channels_of_one_image_are_refused(
    viewer: Any, dock: Any, qtbot: Any
) -> None:
    viewer.add_image(random_cells(SHAPE), name="DAPI")
    viewer.add_image(random_cells((20, 40, 31)), name="GFP")
    widget = dock()
    set_fields(widget, qtbot, source="channels")
    set_fields(widget, qtbot, layers=list(viewer.layers))
    assert "'GFP' has another size than 'DAPI'" in widget.form.problems()["layers"]
    assert not widget.build.isEnabled()
    for theme in ("dark", "light"):
        viewer.theme = theme
        assert selected_row_stands_out(widget.layers.native)


def test_images_of_a_folder_without_voxel_size_are_counted_beside_the_control(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    micrometres = {"spacing": 2.0, "unit": "um"}
    for i, known in enumerate(({}, {}, micrometres)):
        options = {"imagej": True, "metadata": {"axes": "ZYX", **known}}
        resolution = {"resolution": (4.0, 4.0)} if known else {}
        tifffile.imwrite(tmp_path / f"{i}.tif", random_cells(SHAPE), **options, **resolution)
    widget = dock()
    set_fields(widget, qtbot, source="folder", folder=tmp_path)
    said = widget.form.problems()["voxel_size"]
    assert said.startswith("2 of 3 images do not say how large a voxel is")
    (tmp_path / "2.tif").unlink()
    set_fields(widget, qtbot, source="path")
    set_fields(widget, qtbot, source="folder")
    assert widget.form.problems()["voxel_size"].startswith("None of the images says")
    set_fields(widget, qtbot, voxel_size="2, 1, 1")
    assert "Choose the unit" in widget.form.problems()["voxel_size"]


@pytest.mark.slow
def test_all_images_in_a_folder_are_built_in_turn(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    for i, name in enumerate(("alpha", "beta")):
        group = zarr.create_group(tmp_path / f"{name}.zarr")
        group.create_array("0", data=random_cells(SHAPE, seed=i), chunks=(8, 8, 8))
    tifffile.imwrite(tmp_path / "scan.tif", random_cells(SHAPE, seed=2))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "torn.tif").write_bytes(b"II*\0torn")
    widget = dock()
    set_fields(widget, qtbot, source="folder", folder=tmp_path)
    set_fields(widget, qtbot, n_levels=2)
    names = [widget.table.item(i, 0).text() for i in range(widget.table.rowCount())]
    assert names == ["alpha", "beta", "scan"]
    assert "1 left out: not readable (torn.tif)" in widget.message.text()
    build(widget, qtbot, n=3)
    for i, name in enumerate(names):
        built = zarr.open_array(tmp_path / f"{name}.ome.zarr/1", mode="r")
        np.testing.assert_array_equal(built[:], plain_mean(random_cells(SHAPE, seed=i), (2, 2, 2)))


def test_what_was_built_in_a_folder_is_no_further_image(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    """Also if it is a pyramid of one level, because the image is small."""
    tifffile.imwrite(tmp_path / "scan.tif", random_cells(SHAPE))
    build_pyramid(random_cells(SHAPE), tmp_path / "scan.ome.zarr", axes="zyx", n_levels=1)
    widget = dock()
    set_fields(widget, qtbot, source="folder", folder=tmp_path)
    assert "1 left out: built already" in widget.form.problems()["folder"]


def test_voxel_size_without_a_unit_asks_for_one(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "scan.tif", random_cells(SHAPE))
    widget = dock()
    set_fields(widget, qtbot, source="path", path=tmp_path / "scan.tif")
    set_fields(widget, qtbot, voxel_size="2, 0.5, 0.5")
    assert "unit" in widget.form.problems()["voxel_size"]
    set_fields(widget, qtbot, unit="micrometer")
    assert "voxel_size" not in widget.form.problems()


def test_folder_without_images_is_said(viewer: Any, dock: Any, qtbot: Any, tmp_path: Path) -> None:
    widget = dock()
    set_fields(widget, qtbot, source="folder", folder=tmp_path)
    assert "holds no image" in widget.form.problems()["folder"]


def test_url_is_kept_as_it_is_written(qapp: Any) -> None:
    form = BuildForm()
    for field in (form.path, form.destination):
        field.value = "s3://bucket/a.ome.zarr"
        assert field.value == field.text == "s3://bucket/a.ome.zarr"
    assert form.choice()[0].destination == "s3://bucket/a.ome.zarr"


def test_url_of_a_store_is_built_from(viewer: Any, dock: Any, qtbot: Any, tmp_path: Path) -> None:
    """A store behind a web server, which is not open in the viewer."""
    values = random_cells(SHAPE)
    folder = tmp_path / "served"
    zarr.create_array(folder / "far.zarr", data=values, chunks=(8, 8, 8))
    widget = dock()
    with web_server(folder) as server:
        set_fields(widget, qtbot, source="path", path=f"{server.url}/far.zarr")
        assert "not possible on a web server" in widget.form.problems()["place"]
        set_fields(widget, qtbot, destination=tmp_path / "near.ome.zarr", n_levels=2)
        build(widget, qtbot)
    built = zarr.open_array(tmp_path / "near.ome.zarr/1", mode="r")
    np.testing.assert_array_equal(built[:], plain_mean(values, (2, 2, 2)))


# ---- axes, voxel size, unit ----------------------------------------------------------------------


def test_tiff_without_a_voxel_size_asks_for_it(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "scan.tif", random_cells(SHAPE))
    widget = dock()
    set_fields(widget, qtbot, source="path", path=tmp_path / "scan.tif")
    asked = widget.form.problems()["voxel_size"]
    assert "distance between slices (z)" in asked
    assert "pixel size (y, x)" in asked
    assert widget.build.isEnabled()  # pixels may be all that is known
    set_fields(widget, qtbot, destination=tmp_path / "scan.ome.zarr", n_levels=2)
    line = widget.voxel_size.native
    line.selectAll()
    QTest.keyClicks(line, "2, 0.5, 0.5")
    set_fields(widget, qtbot, unit="micrometer")
    assert "voxel_size" not in widget.form.problems()
    build(widget, qtbot)
    described = multiscale(tmp_path / "scan.ome.zarr")
    assert [a["unit"] for a in described["axes"]] == ["micrometer"] * 3
    scales = [d["coordinateTransformations"][0]["scale"] for d in described["datasets"]]
    assert scales == [[2.0, 0.5, 0.5], [2.0, 1.0, 1.0]]
    assert viewer.layers[0].scale.tolist() == [2.0, 0.5, 0.5]


def test_axes_of_a_layer_are_corrected_before_building(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    """napari takes every third axis for z; here it is time, which is never reduced."""
    layer = viewer.add_image(random_cells(SHAPE), name="film")
    widget = dock()
    set_fields(widget, qtbot, layer=layer, destination=tmp_path / "film.ome.zarr", n_levels=2)
    set_fields(widget, qtbot, axes="tyx", voxel_size="30, 0.2, 0.2", unit="micrometer")
    build(widget, qtbot)
    described = multiscale(tmp_path / "film.ome.zarr")
    assert [(a["name"], a["type"]) for a in described["axes"]] == [
        ("t", "time"),
        ("y", "space"),
        ("x", "space"),
    ]
    assert zarr.open_array(tmp_path / "film.ome.zarr/1", mode="r").shape == (20, 20, 15)
    new = viewer.layers["film"]
    assert new.scale.tolist() == [30, 0.2, 0.2]
    assert tuple(new.axis_labels) == ("t", "y", "x")
    assert [str(u) for u in new.units[1:]] == ["micrometer"] * 2


@pytest.mark.parametrize(
    ("field", "text", "why"),
    [
        ("voxel_size", "2, 0.5", "write 3, for z, y, x"),
        ("voxel_size", "2, 0, 0.5", "above 0"),
        ("voxel_size", "two", "numbers"),
        ("axes", "zy", "2 axes"),
        ("chunks", "64, many", "64, many"),
        ("chunks", "64, 64", "chunks"),
        ("factors", "2, 2", "factors"),
        ("shards", "5, 5, 5", "shards"),
        ("memory", "much", "500 MB"),
    ],
)
def test_what_is_wrong_is_said_under_its_control(
    viewer: Any, dock: Any, qtbot: Any, field: str, text: str, why: str
) -> None:
    viewer.add_image(random_cells(SHAPE), name="cells")
    widget = dock()
    set_fields(widget, qtbot, n_levels=2, **{field: text})
    note = widget.form.notes[field]
    assert why in note.text
    assert not note.native.isHidden()
    assert not getattr(widget, field).native.isHidden()  # unfolded
    assert not widget.build.isEnabled()
    set_fields(widget, qtbot, **{field: "" if field != "axes" else "zyx"})
    assert field not in widget.form.problems() or widget.build.isEnabled()


def test_what_a_script_sets_at_once_is_kept(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    """Before the widget has found out what it can offer for the layer."""
    viewer.add_image(random_cells(SHAPE), name="cells")
    widget = dock()
    widget.destination.value = tmp_path / "mine.ome.zarr"
    widget.voxel_size.value = "3, 1, 1"
    settle(widget, qtbot)
    [plan] = widget.chooser.planned.plans
    assert plan.choice.destination == str(tmp_path / "mine.ome.zarr")
    assert plan.image.scale == (3.0, 1.0, 1.0)


def test_rare_options_are_folded_away(viewer: Any, dock: Any, qtbot: Any) -> None:
    viewer.add_image(random_cells(SHAPE), name="cells")
    widget = dock()
    settle(widget, qtbot)
    assert widget.codec.native.isHidden()
    QTest.mouseClick(widget.more.native, Qt.MouseButton.LeftButton)
    assert not widget.codec.native.isHidden()


def test_every_control_has_a_tooltip(qapp: Any) -> None:
    form = BuildForm()
    controls = [w for w in form if w.name and not w.name.endswith("_note")]
    missing = [w.name for w in controls if not w.tooltip and w.name not in ("size", "more")]
    assert not missing


@pytest.mark.in_window
def test_notes_begin_where_their_controls_do(viewer: Any, dock: Any, qtbot: Any) -> None:
    viewer.add_image(np.zeros((9, 64, 64), "u2"), contrast_limits=(0, 1))
    widget = dock()
    settle(widget, qtbot)
    notes = [widget.form.notes[name] for name in ("place", "voxel_size")]
    notes[0].say("Short, on two lines.")
    notes[1].say("A sentence that goes on and on, so that it needs all of the width and more.")
    widget.resize(345, 700)

    def left(control: Any) -> int:
        return int(control.mapTo(widget, control.rect().topLeft()).x())

    axes = widget.axes.native
    qtbot.waitUntil(lambda: {left(note.native) for note in notes} == {left(axes)}, timeout=PATIENCE)


# ---- table and totals ----------------------------------------------------------------------------


@pytest.mark.parametrize("width", [300, 420, 900])
def test_table_fits_its_width(qtbot: Any, width: int) -> None:
    table = LevelTable()
    qtbot.addWidget(table)
    table.show_rows(
        [
            ("0", "96×1024×1024", "192.0 MiB", "512", "64×64×64", "2×0.5×0.5"),
            ("1", "96×512×512", "48.0 MiB", "128", "64×64×64", "2×1×1"),
        ]
    )
    table.resize(width, table.height())
    table.show()
    shown = [j for j in range(table.columnCount()) if not table.isColumnHidden(j)]
    assert sum(table.columnWidth(j) for j in shown) == table.viewport().width()
    metrics = table.fontMetrics()
    for j in shown:
        assert metrics.horizontalAdvance(table.item(0, j).text()) < table.columnWidth(j)
    assert table.is_narrow == (width < 420 + 1)


def test_long_shapes_leave_numbers_whole_in_a_narrow_table(qtbot: Any) -> None:
    table = LevelTable()
    qtbot.addWidget(table)
    table.show_rows(
        [("0", "20×2×480×5120×6000", "1126.2 MiB", "16000", "1×1×48×64×64", "1×1×1×1×1")]
    )
    table.resize(300, table.height())
    table.show()
    whole = [
        table.fontMetrics().horizontalAdvance(table.item(0, j).text()) < table.columnWidth(j)
        for j in range(table.columnCount())
        if not table.isColumnHidden(j)
    ]
    assert whole == [True, False, True, False]  # level, shape, size, chunks


@pytest.mark.measures
def test_time_and_disk_are_measured_outside_of_the_gui_thread(
    viewer: Any, dock: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    measured = _estimate.measured

    def recorded(plan: Any) -> Any:
        threads.append(threading.current_thread())
        return measured(plan)

    monkeypatch.setattr("napari_pyramid._napari._estimating.measured", recorded)
    viewer.add_image(np.zeros((64, 256, 256), "u2"), contrast_limits=(0, 1))
    widget = dock()
    set_fields(widget, qtbot, n_levels=2)
    time_left = widget.totals.values["time"]
    qtbot.waitUntil(lambda: time_left.text().startswith("≈"), timeout=PATIENCE)
    assert threads
    assert threading.main_thread() not in threads
    disk = widget.totals.values["disk"].text()
    assert disk.startswith("≈")
    assert disk.endswith("KiB")  # zeros are not stored: of 9 MiB only metadata are left


@pytest.mark.measures
def test_pixels_that_may_be_slow_are_measured_when_asked(
    viewer: Any, dock: Any, qtbot: Any, slow: Any
) -> None:
    viewer.add_image(slow, name="slow", contrast_limits=(0, 9))
    widget = dock()
    settle(widget, qtbot)
    reads = slow.reads
    qtbot.wait(700)
    assert slow.reads == reads
    QTest.mouseClick(widget.totals.measure, Qt.MouseButton.LeftButton)
    time_left = widget.totals.values["time"]
    qtbot.waitUntil(lambda: time_left.text().startswith("≈"), timeout=PATIENCE)
    assert slow.reads > reads


# ---- the GUI thread ------------------------------------------------------------------------------


class Watchdog:
    """Longest processor time that the GUI thread took between two answers to a timer.

    Processor time, since other work on the machine does not change it; what waits for a disk is
    seen by the threads that the functions below run in.
    """

    def __init__(self) -> None:
        self._last = time.thread_time()
        self.longest = 0.0
        self._timer = QTimer()
        self._timer.setInterval(1)
        self._timer.timeout.connect(self._tick)
        self._timer.start()

    def _tick(self) -> None:
        now = time.thread_time()
        self.longest, self._last = max(self.longest, now - self._last), now

    def stop(self) -> float:
        self._timer.stop()
        self._tick()
        return self.longest


@pytest.mark.in_window
def test_choosing_takes_the_gui_thread_under_50_ms(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    viewer.add_image(random_cells((64, 256, 256)), name="cells")
    widget = dock()
    set_fields(widget, qtbot, n_levels=2)  # once, for what Python and Qt do at first use
    set_fields(widget, qtbot, chunks="8, 8, 8")
    watchdog = Watchdog()
    for name, value in (
        ("n_levels", 3),
        ("method", "median"),
        ("chunks", "16, 16, 16"),
        ("voxel_size", "2, 1, 1"),
        ("codec", "zstd-15"),
        ("destination", tmp_path / "b.ome.zarr"),
        ("chunks", "many"),
    ):
        getattr(widget, name).value = value
        settle(widget, qtbot)
    assert watchdog.stop() < 0.05


def test_disk_and_plans_are_left_to_other_threads(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: dict[str, set[threading.Thread]] = {}

    def watched(module: str, name: str) -> None:
        plain = getattr(importlib.import_module(f"napari_pyramid._napari.{module}"), name)

        def recorded(*args: Any, **kwargs: Any) -> Any:
            threads.setdefault(name, set()).add(threading.current_thread())
            return plain(*args, **kwargs)

        monkeypatch.setattr(f"napari_pyramid._napari.{module}.{name}", recorded)

    watched("_plan", "plan_build")
    watched("_chooser", "open_images")
    watched("_offer", "suggested_place")
    watched("_selecting", "candidate_of_layer")
    watched("widget", "unfinished_builds")
    viewer.add_labels(np.ones((12, 20, 20), "u1"), name="nuclei")
    zarr.create_array(tmp_path / "bare.zarr", data=random_cells(SHAPE), chunks=(8, 8, 8))
    widget = dock()
    set_fields(widget, qtbot, n_levels=2)
    set_fields(widget, qtbot, source="path", path=tmp_path / "bare.zarr")
    build(widget, qtbot)
    names = {"plan_build", "open_images", "suggested_place", "candidate_of_layer"}
    assert set(threads) == {*names, "unfinished_builds"}
    assert not [name for name, by in threads.items() if threading.main_thread() in by]


@pytest.mark.in_window
def test_nothing_is_printed(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    viewer.add_image(random_cells(SHAPE), name="cells")
    capfd.readouterr()
    widget = dock()
    set_fields(widget, qtbot, destination=tmp_path / "a.ome.zarr", n_levels=2)
    build(widget, qtbot)
    assert capfd.readouterr().out == ""


@pytest.mark.in_window
def test_no_widget_is_left_when_the_dock_is_closed(viewer: Any, dock: Any, qtbot: Any) -> None:
    viewer.add_image(random_cells(SHAPE), name="cells")
    before = set(QApplication.topLevelWidgets())
    widget = dock()
    settle(widget, qtbot)
    viewer.window.remove_dock_widget(widget)
    widget.deleteLater()
    qtbot.waitUntil(lambda: not widget._life.alive, timeout=PATIENCE)
    left = set(QApplication.topLevelWidgets()) - before
    assert not [w for w in left if "Build" in type(w).__name__ or "Row" in type(w).__name__]


def test_late_answers_of_a_slow_disk_are_dropped(qtbot: Any) -> None:
    gate, heard = threading.Event(), []
    newest = _planning.LatestQuestion(one_at_a_time=True)
    newest.ask(lambda: gate.wait(60), lambda outcome: heard.append("first"))
    newest.ask(lambda: "second", lambda outcome: heard.append("second"))
    newest.ask(lambda: "third", lambda outcome: heard.append(outcome.result))
    gate.set()
    qtbot.waitUntil(lambda: bool(heard), timeout=PATIENCE)
    qtbot.wait(100)
    assert heard == ["third"]
