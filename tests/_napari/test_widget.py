"""The dock widget in a real window: plans as one chooses, builds, cancels, and leaves cleanly."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from build_dock import (
    PATIENCE,
    click,
    random_cells,
    set_fields,
    settle,
    start_slow_build,
    wait_for_first_tile,
)
from helpers import plain_mean
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QPushButton
from skimage.transform import pyramid_gaussian

from napari_pyramid import build_pyramid
from napari_pyramid._napari._candidates import Candidate
from napari_pyramid._napari._form import BuildForm
from napari_pyramid._napari._offer import Offer
from napari_pyramid._napari.widget import BuildPyramid
from napari_pyramid.build import Build
from napari_pyramid.build.fill import TileFiller
from napari_pyramid.errors import LayoutError
from napari_pyramid.layer_image import image_of_layer
from napari_pyramid.layouts import open_images
from napari_pyramid.storage.layout_warnings import warn

pytestmark = pytest.mark.usefixtures("nothing_is_measured")
SHAPE = (21, 35, 33)


@pytest.fixture
def viewer(viewer_of_widget: Any) -> Any:
    return viewer_of_widget


class Broken:
    """An array whose planes a viewer can show, but whose further blocks cannot be read."""

    shape, dtype, ndim, size = (64, 64, 64), np.dtype("u2"), 3, 64**3
    chunks = (16, 16, 16)

    def __getitem__(self, key: Any) -> np.ndarray:
        if (
            all(isinstance(k, slice) and k.stop and k.stop - k.start > 1 for k in key)
            and key[0].start
        ):
            raise OSError("the disk is gone")
        return np.zeros(self.shape, self.dtype)[key]


def choose(
    widget: BuildPyramid,
    qtbot: Any,
    *,
    destination: Path | None = None,
    levels: int | None = None,
    **fields: str,
) -> None:
    given = {"destination": None if destination is None else str(destination), "n_levels": levels}
    chosen = {name: value for name, value in given.items() if value is not None}
    set_fields(widget, qtbot, **chosen, **fields)


def choose_path(widget: BuildPyramid, qtbot: Any, path: Path) -> None:
    """As if it was typed, and the Enter key pressed."""
    line = widget.path.line_edit.native
    line.setText(str(path))
    QTest.keyClick(line, Qt.Key.Key_Return)
    settle(widget, qtbot)


def said(widget: BuildPyramid) -> str:
    """What the widget says beside its controls, above its buttons, and in its newest row."""
    row = [widget.queue_view.rows[-1].text.text()] if widget.queue_view.rows else []
    return " ".join([*widget.form.problems().values(), widget.message.text(), *row])


def button(widget: BuildPyramid, label: str) -> QPushButton:
    """The remedy of the form with this label, else the button of the newest row."""
    offered = {b.text(): b for b in widget.remedies}
    rows = widget.queue_view.rows
    return offered[label] if label in offered else rows[-1].buttons[label]


def build(widget: BuildPyramid, qtbot: Any) -> None:
    click(widget.build)
    wait_for_end(widget, qtbot)


def wait_for_end(widget: BuildPyramid, qtbot: Any) -> None:
    """Wait until the widget has planned what was asked for, and nothing is in the queue."""
    settle(widget, qtbot)
    qtbot.waitUntil(lambda: widget.queue.job is None, timeout=PATIENCE)
    settle(widget, qtbot)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("place", "in place"),
        ("destination", "b.ome.zarr"),
        ("method", "median"),
        ("n_levels", 3),
        ("chunks", "8, 8, 8"),
        ("axes", "tyx"),
        ("voxel_size", "2, 0.5, 0.5"),
        ("unit", "nanometer"),
        ("format", "0.4"),
        ("codec", "zstd-15"),
        ("factors", "1, 2, 2"),
        ("shards", "none"),
        ("workers", 1),
        ("memory", "2 GB"),
        ("scheduler", "tcp://localhost:8786"),
        ("verify", True),
    ],
)
def test_every_field_is_listened_to(qapp: Any, name: str, value: object) -> None:
    """A form without a window, as a script makes it."""
    form = BuildForm()
    image = image_of_layer((np.zeros((4, 30, 40), "u2"), {"name": "cells"}, "image"))
    heard: list[object] = []
    form.changed.connect(heard.append)
    form.offer(Offer.of([Candidate(image)]))
    assert not heard  # the offer is not a change by the user
    before = form.choice()
    getattr(form, name).value = value
    assert heard
    assert form.choice() != before


def test_table_follows_the_choice(viewer: Any, dock: Any, qtbot: Any, tmp_path: Path) -> None:
    viewer.add_image(random_cells((40, 600, 700)), name="cells", scale=(2, 0.5, 0.5), units="um")
    widget = dock()
    choose(widget, qtbot, destination=tmp_path / "a.ome.zarr", levels=3)
    shown = [
        [widget.table.item(i, j).text() for j in (0, 1, 5)] for i in range(widget.table.rowCount())
    ]
    # near-isotropic: z is not halved while it is the coarsest
    assert shown == [
        ["0", "40×600×700", "2×0.5×0.5"],
        ["1", "40×300×350", "2×1×1"],
        ["2", "40×150×175", "2×2×2"],
    ]
    assert widget.totals.values["memory"].text().endswith("MiB")
    assert widget.build.isEnabled()
    choose(widget, qtbot, destination=None, levels=2)
    assert widget.table.rowCount() == 2


def test_choosing_reads_no_pixel(
    viewer: Any, dock: Any, qtbot: Any, slow: Any, tmp_path: Path
) -> None:
    viewer.add_image(slow, contrast_limits=(0, 9))
    reads = slow.reads
    widget = dock()
    choose(widget, qtbot, destination=tmp_path / "a.ome.zarr", levels=2, method="median")
    assert widget.table.rowCount() == 2
    assert slow.reads == reads


def test_wrong_chunks_are_said_and_not_built(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    viewer.add_image(random_cells(SHAPE))
    widget = dock()
    choose(widget, qtbot, destination=tmp_path / "a.ome.zarr", levels=2, chunks="64, many")
    assert "64, many" in said(widget)
    assert not widget.build.isEnabled()
    assert widget.table.rowCount() == 0


@pytest.mark.in_window
def test_layer_becomes_multiscale_and_keeps_its_look(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    values = random_cells(SHAPE)
    viewer.add_image(np.zeros((21, 35, 33), "u1"), name="below", contrast_limits=(0, 1))
    viewer.add_image(
        values,
        name="cells",
        scale=(2, 2, 2),
        translate=(1, 2, 3),
        units="um",
        colormap="magma",
        contrast_limits=(100, 900),
        gamma=0.8,
        blending="additive",
        opacity=0.7,
    )
    viewer.add_image(
        np.zeros((21, 35, 33), "u1"), name="above", visible=False, contrast_limits=(0, 1)
    )
    viewer.layers["cells"].contrast_limits_range = (50, 2000)
    viewer.layers["cells"].visible = False
    viewer.dims.current_step = (17, 0, 0)
    step = viewer.dims.current_step
    viewer.layers.selection.active = viewer.layers["cells"]
    widget = dock()
    choose(widget, qtbot, destination=tmp_path / "cells.ome.zarr", levels=2)
    build(widget, qtbot)

    assert [layer.name for layer in viewer.layers] == ["below", "cells", "above"]
    new = viewer.layers["cells"]
    assert new.multiscale
    assert viewer.dims.current_step == step
    assert (new.colormap.name, new.gamma, new.blending, new.opacity, new.visible) == (
        "magma",
        0.8,
        "additive",
        0.7,
        False,
    )
    assert (list(new.contrast_limits), list(new.contrast_limits_range)) == ([100, 900], [50, 2000])
    assert (list(new.scale), list(new.translate), str(new.units[0])) == (
        [2, 2, 2],
        [1, 2, 3],
        "micrometer",
    )
    np.testing.assert_array_equal(np.asarray(new.data[0]), values)
    np.testing.assert_array_equal(np.asarray(new.data[1]), plain_mean(values, (2, 2, 2)))
    assert "Built" in said(widget)


def test_layer_is_built_as_it_is_when_build_is_pressed(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    """Not as it was when it was chosen, and with what was typed last."""
    layer = viewer.add_image(np.zeros((21, 35, 33), "u2"), name="before", contrast_limits=(0, 9))
    widget = dock()
    choose(widget, qtbot, destination=tmp_path / "a.ome.zarr", levels=3)
    values = random_cells((20, 30, 31))
    layer.data = values
    layer.name, layer.scale, layer.translate, layer.units = "after", (2, 2, 2), (1, 2, 3), "um"
    layer.contrast_limits = (100, 900)
    widget.n_levels.value = 2
    widget.destination.value = str(tmp_path / "b.ome.zarr")
    build(widget, qtbot)

    assert [p.name for p in tmp_path.iterdir()] == ["b.ome.zarr"]
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "b.ome.zarr/0", mode="r")[:], values)
    ome = json.loads((tmp_path / "b.ome.zarr/zarr.json").read_text())["attributes"]["ome"]
    [described] = ome["multiscales"]
    assert described["name"] == "after"
    assert [a["unit"] for a in described["axes"]] == ["micrometer"] * 3
    assert [d["path"] for d in described["datasets"]] == ["0", "1"]
    assert described["datasets"][0]["coordinateTransformations"] == [
        {"type": "scale", "scale": [2.0, 2.0, 2.0]},
        {"type": "translation", "translation": [1.0, 2.0, 3.0]},
    ]
    window = ome["omero"]["channels"][0]["window"]
    assert (window["start"], window["end"]) == (100, 900)
    np.testing.assert_array_equal(
        np.asarray(viewer.layers["after"].data[1]), plain_mean(values, (2, 2, 2))
    )


def test_the_build_that_the_table_shows_is_the_one_that_runs(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is planned once, when it is chosen; pressing Build plans nothing."""
    viewer.add_image(random_cells(SHAPE), name="cells")
    widget = dock()
    choose(widget, qtbot, destination=tmp_path / "a.ome.zarr", levels=2)

    def refuse(request: Any) -> None:
        pytest.fail("planned again")

    ran = []
    plain = Build.steps

    def steps(self: Build, **options: Any) -> Any:
        ran.append(self)
        return plain(self, **options)

    shown = widget.chooser.planned.plans[0].build
    monkeypatch.setattr(Build, "steps", steps)
    with monkeypatch.context() as patch:
        patch.setattr("napari_pyramid.build.plan", refuse)
        click(widget.build)
        qtbot.waitUntil(lambda: bool(ran), timeout=PATIENCE)
    wait_for_end(widget, qtbot)
    assert ran == [shown]
    assert "Built" in said(widget)


def test_layer_that_cannot_be_built_any_more_is_not(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    layer = viewer.add_labels(np.ones((12, 20, 20), "u1"), name="nuclei")
    widget = dock()
    choose(widget, qtbot, destination=tmp_path / "a.ome.zarr", levels=2)
    layer.features = {"index": [1], "where": [slice(3)]}
    build(widget, qtbot)
    assert widget.queue.job is None
    assert "'where'" in said(widget)
    assert not widget.build.isEnabled()
    assert list(tmp_path.iterdir()) == []


def test_layer_that_cannot_be_planned_leaves_no_plan_of_another(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    viewer.add_image(random_cells(SHAPE), name="A")
    viewer.add_labels(
        np.ones((12, 20, 20), "u1"), name="B", features={"index": ["one"], "class": ["big"]}
    )
    widget = dock()
    widget.layer.value = viewer.layers["A"]
    choose(widget, qtbot, destination=tmp_path / "a.ome.zarr", levels=2)
    assert widget.build.isEnabled()
    widget.layer.value = viewer.layers["B"]
    settle(widget, qtbot)
    assert "'index'" in said(widget)
    assert widget.table.rowCount() == 0
    assert not widget.build.isEnabled()
    widget.start()
    assert widget.queue.job is None


def test_laplacian_layer_is_replaced_by_its_levels_not_the_residuals(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    values = random_cells((20, 64, 48))
    viewer.add_image(values, name="cells")
    widget = dock()
    choose(widget, qtbot, destination=tmp_path / "cells.ome.zarr", levels=2, method="laplacian")
    assert "residuals" in said(widget)
    build(widget, qtbot)
    new = viewer.layers["cells"]
    assert [v.shape for v in new.data] == [(20, 64, 48), (10, 32, 24)]
    [_, smooth] = pyramid_gaussian(values.astype(float), max_layer=1, preserve_range=True)
    np.testing.assert_allclose(
        np.asarray(new.data[1]), smooth, atol=0.51
    )  # rounded to whole numbers
    assert zarr.open_array(tmp_path / "cells.ome.zarr/laplacian/1", mode="r").dtype.kind == "f"


def test_labels_are_built_by_mode_and_stay_labels(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    values = np.zeros((20, 20, 20), np.uint16)
    values[:10] = 3
    values[10:, :10] = 1000
    viewer.add_labels(values, name="nuclei")
    widget = dock()
    choose(widget, qtbot, destination=tmp_path / "nuclei.ome.zarr", levels=2)
    build(widget, qtbot)
    new = viewer.layers["nuclei"]
    assert type(new).__name__ == "Labels"
    np.testing.assert_array_equal(
        np.asarray(new.data[1]), values[::2, ::2, ::2]
    )  # the windows are uniform


def test_rgb_layer_stays_rgb(viewer: Any, dock: Any, qtbot: Any, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (64, 48, 3), dtype=np.uint8)
    viewer.add_image(values, name="tissue", rgb=True)
    widget = dock()
    choose(widget, qtbot, destination=tmp_path / "tissue.ome.zarr", levels=2)
    build(widget, qtbot)
    new = viewer.layers["tissue"]
    assert new.rgb
    assert [v.shape for v in new.data] == [(64, 48, 3), (32, 24, 3)]
    np.testing.assert_array_equal(np.asarray(new.data[0]), values)
    assert zarr.open_group(tmp_path / "tissue.ome.zarr")["0"].shape == (
        3,
        64,
        48,
    )  # as OME-Zarr orders axes


def test_in_place_adds_levels_beside_the_data(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    values = random_cells(SHAPE)
    group = zarr.create_group(tmp_path / "plain.zarr")
    group.create_array("raw", data=values, chunks=(8, 8, 8))
    viewer.open(str(tmp_path / "plain.zarr"), plugin="napari-pyramid")
    assert not viewer.layers[0].multiscale
    widget = dock()
    widget.place.value = "in place"
    choose(widget, qtbot, destination=None, levels=2)
    build(widget, qtbot)
    assert viewer.layers[0].multiscale
    np.testing.assert_array_equal(
        np.asarray(viewer.layers[0].data[1]), plain_mean(values, (2, 2, 2))
    )
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "plain.zarr/raw", mode="r")[:], values)


def test_path_is_built_in_place_and_opened(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    values = random_cells(SHAPE)
    zarr.create_group(tmp_path / "plain.zarr").create_array("raw", data=values, chunks=(8, 8, 8))
    widget = dock()
    choose_path(widget, qtbot, tmp_path / "plain.zarr")
    widget.place.value = "in place"
    choose(widget, qtbot, destination=None, levels=2)
    build(widget, qtbot)
    assert str(tmp_path / "plain.zarr:") in said(widget)
    np.testing.assert_array_equal(
        np.asarray(viewer.layers[0].data[1]), plain_mean(values, (2, 2, 2))
    )


def test_in_place_is_not_offered_for_arrays_in_memory(viewer: Any, dock: Any, qtbot: Any) -> None:
    viewer.add_image(random_cells(SHAPE))
    widget = dock()
    settle(widget, qtbot)
    assert not widget.place.enabled
    assert "needs pixels in a zarr store" in widget.form.problems()["place"]


def test_path_is_built_and_opened(viewer: Any, dock: Any, qtbot: Any, tmp_path: Path) -> None:
    values = random_cells(SHAPE)
    zarr.create_array(tmp_path / "bare.zarr", data=values, chunks=(8, 8, 8))
    widget = dock()
    assert not widget.path.native.isHidden()  # there is no layer to choose
    choose_path(widget, qtbot, tmp_path / "bare.zarr")
    assert widget.destination.text == str(tmp_path / "bare.ome.zarr")
    choose(widget, qtbot, destination=None, levels=2)
    build(widget, qtbot)
    assert [layer.name for layer in viewer.layers] == ["bare"]
    np.testing.assert_array_equal(
        np.asarray(viewer.layers[0].data[1]), plain_mean(values, (2, 2, 2))
    )


@pytest.mark.parametrize("in_place", [False, True])
def test_only_what_was_built_from_a_path_is_opened(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path, in_place: bool
) -> None:
    """Neither the residuals beside it nor the other images of its store."""
    group = zarr.create_group(tmp_path / "series.zarr")
    for name, shape in (("a", (12, 20, 20)), ("b", (9, 15, 17))):
        group.create_array(name, data=np.ones(shape, "u2"), chunks=(8, 8, 8))
    widget = dock()
    choose_path(widget, qtbot, tmp_path / "series.zarr")
    widget.image.value = 1
    settle(widget, qtbot)
    widget.place.value = "in place" if in_place else "new"
    choose(widget, qtbot, destination=None, levels=2, method="laplacian")
    build(widget, qtbot)
    assert [layer.name for layer in viewer.layers] == ["b"]
    assert viewer.layers[0].level_shapes.tolist() == [[9, 15, 17], [5, 8, 9]]
    assert viewer.layers[0].dtype == np.uint16


def test_after_a_build_the_path_is_planned_again(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    zarr.create_array(tmp_path / "bare.zarr", data=random_cells(SHAPE), chunks=(8, 8, 8))
    widget = dock()
    choose_path(widget, qtbot, tmp_path / "bare.zarr")
    choose(widget, qtbot, destination=None, levels=2)
    build(widget, qtbot)
    qtbot.waitUntil(widget.build.isEnabled, timeout=PATIENCE)
    assert widget.destination.text == str(tmp_path / "bare_2.ome.zarr")
    assert widget.queue_view.rows[-1].text.text().startswith("Built")


def test_levels_that_came_in_place_are_known(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    zarr.create_group(tmp_path / "plain.zarr").create_array(
        "raw", data=random_cells(SHAPE), chunks=(8, 8, 8)
    )
    widget = dock()
    choose_path(widget, qtbot, tmp_path / "plain.zarr")
    widget.place.value = "in place"
    choose(widget, qtbot, destination=None, levels=2)
    build(widget, qtbot)
    qtbot.waitUntil(widget.build.isEnabled, timeout=PATIENCE)
    assert widget.place.value == "new"
    assert "It has 2 levels already: in place" in widget.form.problems()["place"]
    choose(widget, qtbot, destination=None, levels=3)
    assert "It has 2 levels already" in said(widget)


@pytest.mark.parametrize("remedy", ["Replace", "Add beside"])
def test_levels_in_place_of_an_image_that_has_some(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path, remedy: str
) -> None:
    values = random_cells(SHAPE)
    build_pyramid(values, tmp_path / "a.ome.zarr", n_levels=2, factors=2, method="max")
    viewer.open(str(tmp_path / "a.ome.zarr"), plugin="napari-pyramid")
    widget = dock()
    widget.place.value = "in place"  # perhaps before the image has been looked at
    settle(widget, qtbot)
    assert widget.place.enabled
    choose(widget, qtbot, destination=None, levels=3, method="mean")
    assert "has 2 levels already" in widget.form.problems()["place"]
    assert not widget.build.isEnabled()
    click(button(widget, remedy))
    wait_for_end(widget, qtbot)
    shapes = viewer.layers[0].level_shapes.tolist()
    assert len(shapes) == 3
    coarser = np.asarray(viewer.layers[0].data[1])
    np.testing.assert_array_equal(coarser, plain_mean(values, (2, 2, 2)))
    group = zarr.open_group(tmp_path / "a.ome.zarr", mode="r")
    np.testing.assert_array_equal(group["0"][:], values)
    kept = remedy == "Add beside"
    assert np.array_equal(group["1"][:], coarser) is not kept


def test_window_answers_while_a_path_is_opened(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that does not answer.

    Another path is chosen meanwhile, and the late answer is nobody's any more.
    """
    zarr.create_array(tmp_path / "near.zarr", data=np.zeros((9, 15, 17), "u2"), chunks=(8, 8, 8))
    zarr.create_array(tmp_path / "far.zarr", data=np.zeros((12, 20, 20), "u2"), chunks=(8, 8, 8))
    server, answered = threading.Event(), threading.Event()

    def open_far(path: str, **_: Any) -> Any:
        if "far" in path:
            assert server.wait(60)
            answered.set()
        return open_images(path)

    monkeypatch.setattr("napari_pyramid._napari._chooser.open_images", open_far)
    widget = dock()
    widget.path.line_edit.native.setText(str(tmp_path / "far.zarr"))
    QTest.keyClick(widget.path.line_edit.native, Qt.Key.Key_Return)
    assert "Opening" in said(widget)
    assert not widget.build.isEnabled()
    choose_path(widget, qtbot, tmp_path / "near.zarr")
    assert widget.table.item(0, 1).text() == "9×15×17"
    server.set()
    qtbot.waitUntil(answered.is_set, timeout=PATIENCE)
    qtbot.wait(100)  # for its answer to come
    assert widget.table.item(0, 1).text() == "9×15×17"
    assert widget.destination.text == str(tmp_path / "near.ome.zarr")


def test_what_is_odd_about_a_path_is_notified(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_oddly(path: str, **_: Any) -> Any:
        warn("one level is odd")
        return open_images(path)

    zarr.create_array(tmp_path / "odd.zarr", data=np.zeros((9, 15, 17), "u2"), chunks=(8, 8, 8))
    monkeypatch.setattr("napari_pyramid._napari._chooser.open_images", open_oddly)
    choose_path(dock(), qtbot, tmp_path / "odd.zarr")
    assert [n.message for n in notification_manager.records if n.severity.value == "warning"] == [
        "one level is odd"
    ]


@pytest.mark.in_window
def test_widget_may_go_while_a_path_is_opened(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, answered = threading.Event(), threading.Event()

    def open_late(path: str, **_: Any) -> Any:
        assert server.wait(60)
        answered.set()
        raise LayoutError(path)

    monkeypatch.setattr("napari_pyramid._napari._chooser.open_images", open_late)
    widget = dock()
    widget.path.line_edit.native.setText(str(tmp_path / "far.zarr"))
    QTest.keyClick(widget.path.line_edit.native, Qt.Key.Key_Return)
    life = widget._life
    viewer.window.remove_dock_widget(widget)
    widget.deleteLater()
    qtbot.waitUntil(lambda: not life.alive, timeout=PATIENCE)
    server.set()
    qtbot.waitUntil(answered.is_set, timeout=PATIENCE)
    qtbot.wait(100)  # an exception in a slot fails the test


def test_one_of_several_images_at_a_path_is_chosen(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    series = zarr.create_group(tmp_path / "series.zarr")
    for name, shape in (("a", (12, 20, 20)), ("b", (9, 15, 17))):
        series.create_array(name, data=np.ones(shape, "u2"), chunks=(8, 8, 8))
    widget = dock()
    assert widget.image.native.isHidden()
    choose_path(widget, qtbot, tmp_path / "series.zarr")
    assert not widget.image.native.isHidden()
    titles = [widget.image.native.itemText(i) for i in range(len(widget.image))]
    assert titles == ["a (image, 12×20×20)", "b (image, 9×15×17)"]
    assert widget.table.item(0, 1).text() == "12×20×20"
    widget.image.value = 1
    settle(widget, qtbot)
    assert widget.table.item(0, 1).text() == "9×15×17"
    choose(widget, qtbot, destination=tmp_path / "b.ome.zarr", levels=2)
    build(widget, qtbot)
    assert viewer.layers[0].level_shapes.tolist() == [[9, 15, 17], [5, 8, 9]]


def test_suffix_is_appended_to_a_new_store(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    """A file dialog hands over just what was typed.

    napari opens only folders that end in .zarr without asking.
    """
    viewer.add_image(np.ones((12, 20, 20), "u2"), name="cells")
    widget = dock()
    choose(widget, qtbot, destination=tmp_path / "cells", levels=2)
    build(widget, qtbot)
    assert str(tmp_path / "cells.ome.zarr:") in said(widget)


def test_home_folder_may_be_abbreviated(viewer: Any, dock: Any, qtbot: Any) -> None:
    viewer.add_image(np.ones((12, 20, 20), "u2"), name="cells")
    widget = dock()
    choose(widget, qtbot, destination=Path("~/cells.ome.zarr"))
    assert widget.chooser.planned.plans[0].choice.destination == str(Path.home() / "cells.ome.zarr")


def test_path_that_is_nothing_is_said(viewer: Any, dock: Any, qtbot: Any, tmp_path: Path) -> None:
    widget = dock()
    choose_path(widget, qtbot, tmp_path / "nowhere.zarr")
    assert "nowhere.zarr" in said(widget)
    assert not widget.build.isEnabled()


def test_cancel_reads_little_more_and_leaves_no_store(
    viewer: Any, dock: Any, qtbot: Any, slow: Any, tmp_path: Path
) -> None:
    widget, go = start_slow_build(viewer, dock, qtbot, slow, tmp_path / "slow.ome.zarr")
    reads = slow.reads
    click(button(widget, "Cancel"))
    qtbot.wait(500)  # for what has to hear of it
    go.set()
    wait_for_end(widget, qtbot)
    assert slow.reads - reads <= 10  # two threads read as many in a second
    assert "Cancelled" in said(widget)
    assert (
        list(tmp_path.iterdir()) == []
    )  # an array in memory cannot be recognised again: nothing to go on from
    assert not viewer.layers["slow"].multiscale
    assert widget.build.isEnabled()


@pytest.mark.in_window
def test_window_answers_while_it_builds(
    viewer: Any, dock: Any, qtbot: Any, slow: Any, watch_answers: Any, tmp_path: Path
) -> None:
    viewer.add_image(slow, name="slow", contrast_limits=(0, 9))
    widget = dock()
    choose(widget, qtbot, destination=tmp_path / "slow.ome.zarr", levels=2)
    answers = watch_answers(slow)
    # What follows is napari's: adding a layer and removing one takes it half a second here.
    viewer.layers.events.inserting.connect(answers.stop)
    build(widget, qtbot)
    answers.check()
    assert viewer.layers["slow"].multiscale


def test_cancel_in_the_activity_dock(
    viewer: Any, dock: Any, qtbot: Any, slow: Any, tmp_path: Path
) -> None:
    widget, go = start_slow_build(viewer, dock, qtbot, slow, tmp_path / "slow.ome.zarr")
    widget.queue.job._bar._bar.cancel()  # what the button there calls
    go.set()
    wait_for_end(widget, qtbot)
    assert "Cancelled" in said(widget)
    assert list(tmp_path.iterdir()) == []


def test_error_is_a_notification_and_changes_nothing(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    viewer.add_image(Broken(), name="broken", contrast_limits=(0, 9))
    widget = dock()
    choose(widget, qtbot, destination=tmp_path / "broken.ome.zarr", levels=2, chunks="16, 16, 16")
    build(widget, qtbot)
    notified = [n.message for n in notification_manager.records if n.severity.value == "error"]
    assert len(notified) == 1
    assert "the disk is gone" in notified[0]
    assert "the disk is gone" in said(widget)
    assert list(tmp_path.iterdir()) == []
    assert not viewer.layers["broken"].multiscale


@pytest.mark.in_window
def test_existing_store_is_refused_until_it_is_to_be_replaced(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    zarr.create_group(tmp_path / "there.ome.zarr", attributes={"mine": 1})
    values = random_cells(SHAPE)
    viewer.add_image(values)
    widget = dock()
    choose(widget, qtbot, destination=tmp_path / "there.ome.zarr", levels=2)
    assert "exists" in said(widget)
    assert "overwrite" not in said(widget)
    assert not widget.build.isEnabled()
    assert dict(zarr.open_group(tmp_path / "there.ome.zarr").attrs) == {"mine": 1}
    click(button(widget, "Replace"))
    wait_for_end(widget, qtbot)
    assert "Built" in said(widget)
    assert not widget.remedies
    assert "mine" not in zarr.open_group(tmp_path / "there.ome.zarr").attrs
    built = zarr.open_array(tmp_path / "there.ome.zarr/1", mode="r")
    np.testing.assert_array_equal(built[:], plain_mean(values, (2, 2, 2)))


def test_what_is_no_store_is_not_replaced(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    (tmp_path / "notes.zarr").write_text("mine")
    viewer.add_image(random_cells(SHAPE))
    widget = dock()
    choose(widget, qtbot, destination=tmp_path / "notes.zarr", levels=2)
    assert "choose another name" in said(widget)
    assert [b.text() for b in widget.remedies] == ["Other name"]
    assert not widget.build.isEnabled()


@pytest.fixture
def cancelled(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> BuildPyramid:
    """The widget after a build from a store on disk that was cancelled half-way."""
    values = random_cells((40, 41, 43))
    zarr.create_group(tmp_path / "s.zarr").create_array("0", data=values, chunks=(8, 8, 8))
    fill, go_on = TileFiller.fill, threading.Event()

    def held_up(self: TileFiller, number: int) -> Any:
        """The first tile is filled, the others when Cancel has been pressed."""
        assert number == 0 or go_on.wait(60)
        return fill(self, number)

    widget = dock()
    choose_path(widget, qtbot, tmp_path / "s.zarr")
    choose(
        widget, qtbot, destination=tmp_path / "x.ome.zarr", levels=2, chunks="8, 8, 8", method="max"
    )
    with monkeypatch.context() as patch:
        patch.setattr(TileFiller, "fill", held_up)
        click(widget.build)
        wait_for_first_tile(widget, qtbot)
        click(button(widget, "Cancel"))
        go_on.set()
        wait_for_end(widget, qtbot)
    assert "goes on from here" in said(widget)
    assert list(tmp_path.glob(".x.ome.zarr.building"))
    return widget


def test_unfinished_work_of_another_recipe_can_be_started_over(
    cancelled: BuildPyramid, qtbot: Any, tmp_path: Path, read_level: Any
) -> None:
    """Build, Cancel, another method, Build again: there must be a way on."""
    widget = cancelled
    choose(widget, qtbot, destination=None, method="min")
    assert "unfinished work" in said(widget)
    assert "resume=" not in said(widget)
    assert not widget.build.isEnabled()
    click(button(widget, "Start over"))
    wait_for_end(widget, qtbot)
    assert "Built" in said(widget)
    assert {p.name for p in tmp_path.iterdir()} == {"s.zarr", "x.ome.zarr"}
    values = zarr.open_array(tmp_path / "s.zarr/0", mode="r")[:]
    built = read_level(tmp_path / "x.ome.zarr" / "1")
    assert built[0, 0, 0] == values[:2, :2, :2].min()
    assert built[-1, -1, -1] == values[38:, 40:, 42:].min()


def test_remedies_add_up(cancelled: BuildPyramid, qtbot: Any, tmp_path: Path) -> None:
    """Unfinished work of other choices, and a store that another program made meanwhile."""
    widget = cancelled
    zarr.create_group(tmp_path / "x.ome.zarr", attributes={"theirs": 1})
    choose(widget, qtbot, destination=None, method="min")
    for label in ("Start over", "Replace"):
        assert zarr.open_group(tmp_path / "x.ome.zarr").attrs["theirs"] == 1
        click(button(widget, label))
        wait_for_end(widget, qtbot)
    assert "Built" in said(widget)
    assert {p.name for p in tmp_path.iterdir()} == {"s.zarr", "x.ome.zarr"}


def test_the_same_recipe_goes_on_from_unfinished_work(
    cancelled: BuildPyramid, qtbot: Any, tmp_path: Path
) -> None:
    widget = cancelled
    choose(widget, qtbot, destination=None, method="min")
    assert not widget.build.isEnabled()
    choose(widget, qtbot, destination=None, method="max")
    assert "Goes on where an earlier build stopped" in said(widget)
    assert not widget.remedies
    build(widget, qtbot)
    assert "Built" in said(widget)
    assert {p.name for p in tmp_path.iterdir()} == {"s.zarr", "x.ome.zarr"}


@pytest.mark.in_window
def test_closing_the_dock_stops_the_build(
    viewer: Any, dock: Any, qtbot: Any, slow: Any, tmp_path: Path
) -> None:
    widget, go = start_slow_build(viewer, dock, qtbot, slow, tmp_path / "slow.ome.zarr")
    life, job = widget._life, widget.queue.job
    viewer.window.remove_dock_widget(widget)
    widget.deleteLater()
    go.set()
    qtbot.waitUntil(lambda: not life.alive, timeout=PATIENCE)
    qtbot.waitUntil(lambda: not job.is_running, timeout=PATIENCE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.in_window
def test_closing_the_viewer_stops_the_build(
    viewer: Any, dock: Any, qtbot: Any, slow: Any, tmp_path: Path
) -> None:
    widget, go = start_slow_build(viewer, dock, qtbot, slow, tmp_path / "slow.ome.zarr")
    job = widget.queue.job
    viewer.close()
    go.set()
    qtbot.waitUntil(lambda: not job.is_running, timeout=PATIENCE)
    assert list(tmp_path.iterdir()) == []
