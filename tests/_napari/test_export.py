"""The dock widget "Export region" in a real window: what is in view, drawn or typed, exported."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from napari.utils.notifications import notification_manager

from napari_pyramid import Channel, build_pyramid, export, open_pyramid
from napari_pyramid._napari._export import ExportRegion
from napari_pyramid._napari._export_controls import DRAWN, LAYER, PYRAMID, RANGES, TIFF, VIEW

PATIENCE = 60_000
CELLS = np.random.default_rng(0).integers(1, 60_000, (2, 9, 141, 203), np.uint16)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    build_pyramid(
        CELLS,
        tmp_path / "cells.ome.zarr",
        axes="czyx",
        scale=(1, 2, 0.5, 0.5),
        translation=(0, 10, 20, 30),
        unit="micrometer",
        factors=(1, 1, 2, 2),
        n_levels=2,
        channels=[Channel("DAPI", "#0000FF", (0, 100)), Channel("GFP", "#00FF00", (5, 500))],
    )
    return tmp_path / "cells.ome.zarr"


@pytest.fixture
def dock(viewer: Any, qtbot: Any) -> Any:
    def open_dock() -> ExportRegion:
        _, widget = viewer.window.add_plugin_dock_widget("napari-pyramid", "Export region")
        rested(widget, qtbot)
        return widget

    yield open_dock
    notification_manager.records.clear()


def rested(widget: ExportRegion, qtbot: Any) -> None:
    """Wait until the widget has computed what was changed."""
    qtbot.waitUntil(lambda: widget.is_settled, timeout=PATIENCE)


def run(widget: ExportRegion, qtbot: Any) -> None:
    rested(widget, qtbot)
    assert widget.export.enabled, widget.message.value
    widget.export.native.click()
    rested(widget, qtbot)


def opened(viewer: Any, store: Path) -> list[Any]:
    return viewer.open(str(store), plugin="napari-pyramid")


def shown(widget: ExportRegion) -> list[tuple[int, int]]:
    return [(row.first.value, row.last.value) for row in widget.ranges]


def rows_of(widget: ExportRegion) -> list[str]:
    """Return the axes that have a row."""
    return [row.label for row in widget.ranges if not row.native.isHidden()]


def test_what_is_in_view_follows_the_size_of_the_window(
    viewer: Any, dock: Any, qtbot: Any, store: Path
) -> None:
    """Docks and the window take parts of the canvas while the camera stays where it is."""
    opened(viewer, store)
    widget = dock()
    viewer.window.resize(1400, 700)
    camera(viewer).zoom *= 3
    qtbot.wait(200)
    rested(widget, qtbot)
    before = shown(widget)
    viewer.window.resize(1000, 500)
    qtbot.waitUntil(lambda: shown(widget) != before, timeout=PATIENCE)
    widths = [[last - first for first, last in rows[-2:]] for rows in (before, shown(widget))]
    assert widths[1] < widths[0]


def type_ranges(widget: ExportRegion, qtbot: Any, **ranges: tuple[int, int]) -> None:
    """Type ranges; all of the other axes."""
    widget.region.value = RANGES
    for row in widget.ranges:
        row.first.value, row.last.value = ranges.get(row.label, (0, row.last.max))
    rested(widget, qtbot)


def camera(viewer: Any) -> Any:
    return viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera


def test_what_is_in_view_follows_the_view(viewer: Any, dock: Any, qtbot: Any) -> None:
    layer = viewer.add_image(CELLS[0], scale=(2, 0.5, 0.5), translate=(10, 20, 30))
    widget = dock()
    assert shown(widget)[0] == (4, 4)
    camera(viewer).center = (0, 50, 80)
    camera(viewer).zoom *= 5
    viewer.dims.set_current_step(0, 7)
    qtbot.waitUntil(lambda: shown(widget)[0] == (7, 7), timeout=PATIENCE)
    qtbot.waitUntil(lambda: shown(widget)[1] != (0, 140), timeout=PATIENCE)
    rested(widget, qtbot)
    viewer.screenshot(flash=False)  # napari computes the corners of what is in view as it draws
    corners = layer.corner_pixels[:, 1:]
    np.testing.assert_allclose(np.array(shown(widget)[1:]).T, corners, atol=1)
    assert shown(widget)[1][0] > 0
    widget.all_planes.value = True
    qtbot.waitUntil(lambda: shown(widget)[0] == (0, 8), timeout=PATIENCE)
    camera(viewer).center = (0, 9000, 9000)
    qtbot.waitUntil(lambda: "move the view" in widget.message.value, timeout=PATIENCE)
    assert not widget.export.enabled
    viewer.dims.ndisplay = 3  # the whole volume counts as in view
    qtbot.waitUntil(lambda: widget.export.enabled, timeout=PATIENCE)
    assert shown(widget) == [(0, 8), (0, 140), (0, 202)]


@pytest.mark.slow  # napari compiles what draws shapes
def test_drawn_rectangle_of_all_channels_as_a_tiff(
    viewer: Any, dock: Any, qtbot: Any, store: Path, tmp_path: Path, capfd: Any
) -> None:
    opened(viewer, store)
    widget = dock()
    widget.region.value = DRAWN
    qtbot.waitUntil(lambda: "Draw a rectangle" in widget.message.value, timeout=PATIENCE)
    # from y 30 to 50 and x 40 to 100 in micrometers: samples 20 to 60 and 20 to 140
    corners = [[30, 40], [30, 100], [50, 100], [50, 40]]
    viewer.add_shapes([corners], shape_type="rectangle", units="micrometer")
    widget.all_planes.value = True
    widget.format.value = TIFF
    widget.destination.line_edit.value = str(tmp_path / "part")
    rested(widget, qtbot)
    assert shown(widget) == [(0, 1), (0, 8), (20, 60), (20, 140)]
    assert "2 × 9 × 41 × 121" in widget.size.value
    run(widget, qtbot)
    with tifffile.TiffFile(tmp_path / "part.ome.tif") as file:
        np.testing.assert_array_equal(file.asarray(), CELLS[:, :, 20:61, 20:141])
        assert file.series[0].axes == "CZYX"
    found = open_pyramid(tmp_path / "part.ome.tif")
    assert [c.name for c in found.channels] == ["DAPI", "GFP"]
    assert "part.ome.tif" in widget.message.value
    printed = capfd.readouterr().out.splitlines()  # napari prints its notifications
    assert [line for line in printed if not line.startswith(("INFO:", "WARNING:"))] == []


def test_ranges_as_a_new_pyramid(
    viewer: Any, dock: Any, qtbot: Any, store: Path, tmp_path: Path
) -> None:
    opened(viewer, store)
    widget = dock()
    widget.format.value = PYRAMID
    widget.destination.line_edit.value = str(tmp_path / "part")
    widget.level.value = 1
    type_ranges(widget, qtbot, z=(2, 4), y=(10, 59), x=(21, 202))
    assert "Voxels 2 × 1 × 1 µm" in widget.size.value
    run(widget, qtbot)
    expected = zarr.open_array(store / "1", mode="r")[:, 2:5, 5:30, 10:102]
    found = open_pyramid(tmp_path / "part.ome.zarr")
    np.testing.assert_array_equal(found[0][...], expected)
    # level 1 begins a quarter of a micrometer later than level 0
    assert found.translation == (0, 14, 20.25 + 5, 30.25 + 10)
    assert [(c.name, c.color, c.window) for c in found.channels] == [
        ("DAPI", "#0000FF", (0, 100)),
        ("GFP", "#00FF00", (5, 500)),
    ]
    assert [a.unit for a in found.axes][1:] == ["micrometer"] * 3


def test_ranges_as_a_compressed_tiff(
    viewer: Any, dock: Any, qtbot: Any, store: Path, tmp_path: Path
) -> None:
    opened(viewer, store)
    widget = dock()
    assert not widget.compression.visible
    widget.region.value = RANGES
    widget.format.value = TIFF
    qtbot.waitUntil(lambda: widget.compression.visible, timeout=PATIENCE)
    assert widget.compression.value == "deflate"
    type_ranges(widget, qtbot, z=(0, 8))
    widget.destination.line_edit.value = str(tmp_path / "part")
    rested(widget, qtbot)
    assert "before compression" in widget.size.value
    widget.compression.value = "zstd"
    run(widget, qtbot)
    with tifffile.TiffFile(tmp_path / "part.ome.tif") as file:
        assert file.pages.first.compression.name == "ZSTD"
        np.testing.assert_array_equal(file.asarray(), CELLS)
    widget.compression.value = "none"
    rested(widget, qtbot)
    assert "before compression" not in widget.size.value


def test_after_an_export_the_folder_stays_and_the_outcome_until_something_is_chosen(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path
) -> None:
    viewer.add_image(CELLS[0], name="cells")
    widget = dock()
    widget.destination.line_edit.value = str(tmp_path / "part")
    type_ranges(widget, qtbot)
    run(widget, qtbot)
    assert widget.destination.line_edit.value == str(tmp_path / "cells_region.ome.zarr")
    assert "part.ome.zarr" in widget.message.value
    widget.format.value = TIFF
    rested(widget, qtbot)
    assert widget.message.value == ""
    assert widget.destination.line_edit.value == str(tmp_path / "cells_region.ome.tif")
    widget.format.value = PYRAMID
    run(widget, qtbot)
    assert "cells_region.ome.zarr" in widget.message.value
    widget.ranges[0].last.value -= 1
    rested(widget, qtbot)
    assert widget.message.value == ""


def test_new_layers_are_where_the_originals_are(
    viewer: Any, dock: Any, qtbot: Any, store: Path
) -> None:
    layers = opened(viewer, store)
    for layer in layers:
        layer.rotate = 30
    widget = dock()
    widget.format.value = LAYER
    widget.level.value = 1
    type_ranges(widget, qtbot, z=(2, 4), y=(10, 59), x=(21, 202))
    run(widget, qtbot)
    assert widget.level.value == 1  # although the list of layers has changed
    added = list(viewer.layers)[2:]
    stored = zarr.open_array(store / "1", mode="r")[:, 2:5, 5:30, 10:102]
    for layer, new, samples in zip(layers, added, stored, strict=True):
        np.testing.assert_array_equal(new.data, samples)
        assert (new.colormap.name, str(new.units)) == (layer.colormap.name, str(layer.units))
        np.testing.assert_allclose(new.scale, (2, 1, 1))
        # sample (2, 5, 10) of level 1 is the mean of rows 10 and 11, columns 20 and 21 of level 0
        np.testing.assert_allclose(
            new.data_to_world((0, 0, 0)), layer.data_to_world((2, 10.5, 20.5))
        )


def test_one_channel_alone(viewer: Any, dock: Any, qtbot: Any, store: Path, tmp_path: Path) -> None:
    opened(viewer, store)
    widget = dock()
    qtbot.waitUntil(lambda: widget.all_channels.visible, timeout=PATIENCE)
    widget.all_channels.value = False
    widget.layer.value = viewer.layers[1]
    widget.format.value = TIFF
    widget.destination.line_edit.value = str(tmp_path / "gfp.tif")
    type_ranges(widget, qtbot)
    run(widget, qtbot)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "gfp.tif"), CELLS[1])


def test_red_green_and_blue_stay_together_and_nothing_of_a_removed_layer_is_offered(
    viewer: Any, dock: Any, qtbot: Any
) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (60, 70, 3), np.uint8)
    viewer.add_image(picture, rgb=True)
    widget = dock()
    assert rows_of(widget) == ["y", "x"]
    widget.format.value = LAYER
    type_ranges(widget, qtbot, y=(1, 9))
    run(widget, qtbot)
    np.testing.assert_array_equal(viewer.layers[1].data, picture[1:10])
    viewer.layers.clear()
    assert (widget.level.choices, rows_of(widget)) == ((), [])
    viewer.add_image(CELLS[0])
    assert rows_of(widget) == ["z", "y", "x"]
    assert widget.level.value == 0


def test_what_cannot_be_exported_is_refused_in_one_line(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer.add_image(CELLS[0])
    widget = dock()
    widget.format.value = TIFF
    (tmp_path / "mine.tif").write_text("mine")
    widget.destination.line_edit.value = str(tmp_path / "mine.tif")
    rested(widget, qtbot)
    assert "mine.tif exists" in widget.message.value
    assert not widget.export.enabled
    widget.format.value = PYRAMID
    assert widget.destination.line_edit.value == str(tmp_path / "mine.ome.zarr")
    rested(widget, qtbot)
    assert widget.export.enabled
    widget.destination.line_edit.value = "s3://bucket/mine"
    rested(widget, qtbot)
    assert "⚠ s3://bucket/mine: exports are stored on disks only" in widget.message.value
    assert not widget.export.enabled
    monkeypatch.setattr(export, "available_memory", lambda: 1000)
    widget.format.value = LAYER
    rested(widget, qtbot)
    assert "at most 500 B may be used" in widget.message.value
    assert "\n" not in widget.message.value
    assert not widget.export.enabled


def test_slow_disk_holds_up_no_window(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, goes_on = threading.Event(), threading.Event()

    def exists(path: Path) -> bool:
        if path.is_relative_to(tmp_path):
            looks.set()
            assert goes_on.wait(60)
        return os.path.lexists(path)

    viewer.add_image(CELLS[0])
    widget = dock()
    type_ranges(widget, qtbot)
    monkeypatch.setattr(Path, "exists", exists)
    widget.destination.line_edit.value = str(tmp_path / "part")
    widget.export.native.click()  # it begins once the disk has answered
    qtbot.waitUntil(looks.is_set, timeout=PATIENCE)
    goes_on.set()
    rested(widget, qtbot)
    np.testing.assert_array_equal(open_pyramid(tmp_path / "part.ome.zarr")[0][...], CELLS[0])


def test_window_answers_during_an_export(
    viewer: Any,
    dock: Any,
    qtbot: Any,
    slow: Any,
    watch_answers: Callable[[Any], Any],
    tmp_path: Path,
) -> None:
    viewer.add_image(slow, contrast_limits=(0, 10))
    widget = dock()
    widget.destination.line_edit.value = str(tmp_path / "a")
    type_ranges(widget, qtbot)
    answers = watch_answers(slow)
    run(widget, qtbot)
    answers.check()
    assert (tmp_path / "a.ome.zarr").exists()


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_stopped_export_leaves_nothing(
    viewer: Any, dock: Any, qtbot: Any, slow: Any, tmp_path: Path, how: str
) -> None:
    viewer.add_image(slow, contrast_limits=(0, 10))
    widget = dock()
    widget.destination.line_edit.value = str(tmp_path / "a")
    type_ranges(widget, qtbot)
    go, job_of = slow.hold(), widget._life
    widget.export.native.click()
    qtbot.waitUntil(lambda: widget.progress.value > 0, timeout=PATIENCE)
    if how == "cancel":
        widget.cancel.native.click()
        go.set()
        qtbot.waitUntil(lambda: job_of.job is None, timeout=PATIENCE)
        rested(widget, qtbot)
        assert widget.message.value == "Cancelled; nothing was kept."
        assert widget.export.enabled
    else:
        viewer.close()
        go.set()
        qtbot.waitUntil(lambda: job_of.job is None, timeout=PATIENCE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.in_window
def test_size_and_message_begin_where_the_controls_do(
    viewer: Any, dock: Any, qtbot: Any, store: Path
) -> None:
    opened(viewer, store)
    form = dock()

    def left(control: Any) -> int:
        return int(control.native.mapTo(form.native, control.native.rect().topLeft()).x())

    parts = [form.level, form.size, form.message]
    qtbot.waitUntil(lambda: len({left(part) for part in parts}) == 1, timeout=60_000)


def test_closed_widget_does_not_follow_the_view(viewer: Any, dock: Any, qtbot: Any) -> None:
    widget = dock()
    assert widget.message.value == "Open an image first."
    viewer.add_labels(CELLS[0].astype(np.int32))
    rested(widget, qtbot)
    assert widget.export.enabled
    assert widget.region.value == VIEW
    life = widget._life
    viewer.window.remove_dock_widget(widget.native)
    widget.native.deleteLater()
    qtbot.waitUntil(lambda: not life.alive, timeout=PATIENCE)
    camera(viewer).zoom *= 2  # would fail on a deleted widget
    viewer.add_image(CELLS[1])
