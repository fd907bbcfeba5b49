"""Builds wait in a queue, are paused, resumed and repeated, and found again by a later session."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
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
    wait_for_states,
)
from helpers import plain_mean
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_pyramid._napari.widget import BuildPyramid
from napari_pyramid.build.fill import TileFiller

pytestmark = pytest.mark.usefixtures("nothing_is_measured")
SHAPE = (40, 41, 43)


@pytest.fixture
def viewer(viewer_of_widget: Any) -> Any:
    return viewer_of_widget


def press(widget: BuildPyramid, qtbot: Any, label: str, row: int = -1) -> None:
    buttons = widget.queue_view.rows[row].buttons
    click(buttons[label])
    settle(widget, qtbot)


def start(widget: BuildPyramid, qtbot: Any) -> None:
    before = len(widget.queue.tasks)
    click(widget.build)
    qtbot.waitUntil(lambda: len(widget.queue.tasks) > before, timeout=PATIENCE)


def test_second_build_waits_for_the_first(
    viewer: Any, dock: Any, qtbot: Any, slow: Any, tmp_path: Path
) -> None:
    viewer.add_image(slow, name="slow", contrast_limits=(0, 9))
    values = random_cells(SHAPE)
    viewer.add_image(values, name="quick")
    widget = dock()
    go = slow.hold()
    first = viewer.layers["slow"]
    set_fields(widget, qtbot, layer=first, destination=tmp_path / "a.ome.zarr", n_levels=2)
    start(widget, qtbot)
    wait_for_first_tile(widget, qtbot)
    assert not widget.build.isEnabled()  # it is being built
    second = viewer.layers["quick"]
    set_fields(widget, qtbot, layer=second, destination=tmp_path / "b.ome.zarr", n_levels=2)
    assert widget.build.text() == "Add to queue"
    start(widget, qtbot)
    assert [task.state for task in widget.queue.tasks] == ["running", "waiting"]
    assert widget.queue_view.rows[1].text.text() == "Waiting"
    assert not (tmp_path / ".b.ome.zarr.building").exists()
    go.set()
    wait_for_states(widget, qtbot, "done", "done")
    np.testing.assert_array_equal(
        np.asarray(viewer.layers["quick"].data[1]), plain_mean(values, (2, 2, 2))
    )
    assert viewer.layers["slow"].multiscale


def test_paused_build_reads_nothing_until_it_is_resumed(
    viewer: Any, dock: Any, qtbot: Any, slow: Any, tmp_path: Path
) -> None:
    widget, go = start_slow_build(viewer, dock, qtbot, slow, tmp_path / "a.ome.zarr")
    press(widget, qtbot, "Pause")
    assert "Paused at" in widget.queue_view.rows[0].text.text()
    go.set()
    qtbot.wait(1500)  # for the tiles under way, of 0.4 s
    reads = slow.reads
    qtbot.wait(1000)
    assert slow.reads == reads
    assert widget.queue.job is not None
    press(widget, qtbot, "Resume")
    wait_for_states(widget, qtbot, "done")
    assert viewer.layers["slow"].multiscale


def test_paused_build_can_be_cancelled(
    viewer: Any, dock: Any, qtbot: Any, slow: Any, tmp_path: Path
) -> None:
    widget, go = start_slow_build(viewer, dock, qtbot, slow, tmp_path / "a.ome.zarr")
    press(widget, qtbot, "Pause")
    press(widget, qtbot, "Cancel")
    go.set()
    wait_for_states(widget, qtbot, "stopped")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.in_window
def test_closing_the_viewer_ends_a_paused_build(
    viewer: Any, dock: Any, qtbot: Any, slow: Any, tmp_path: Path
) -> None:
    widget, go = start_slow_build(viewer, dock, qtbot, slow, tmp_path / "a.ome.zarr")
    press(widget, qtbot, "Pause")
    job = widget.queue.job
    viewer.close()
    go.set()
    qtbot.waitUntil(lambda: not job.is_running, timeout=PATIENCE)
    assert list(tmp_path.iterdir()) == []


def cancel_held_up(widget: BuildPyramid, qtbot: Any, press_start: Callable[[], None]) -> None:
    """Start a build by `press_start`, and cancel it once a tile is filled."""
    fill, go_on = TileFiller.fill, threading.Event()

    def held_up(self: TileFiller, number: int) -> Any:
        assert number == 0 or go_on.wait(60)
        return fill(self, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TileFiller, "fill", held_up)
        press_start()
        wait_for_first_tile(widget, qtbot)
        press(widget, qtbot, "Cancel")
        go_on.set()
        wait_for_states(widget, qtbot, "stopped")
    settle(widget, qtbot)


@pytest.fixture
def stopped(viewer: Any, dock: Any, qtbot: Any, tmp_path: Path) -> BuildPyramid:
    """The widget after a build from a store on disk was cancelled once a tile was filled."""
    zarr.create_group(tmp_path / "s.zarr").create_array(
        "0", data=random_cells(SHAPE), chunks=(8, 8, 8)
    )
    widget = dock()
    set_fields(widget, qtbot, source="path", path=tmp_path / "s.zarr")
    set_fields(widget, qtbot, destination=tmp_path / "x.ome.zarr", n_levels=2, chunks="8, 8, 8")
    cancel_held_up(widget, qtbot, lambda: start(widget, qtbot))
    return widget


def test_stopped_build_is_resumed_by_its_button(
    stopped: BuildPyramid, qtbot: Any, tmp_path: Path
) -> None:
    press(stopped, qtbot, "Resume")
    wait_for_states(stopped, qtbot, "done")
    built = zarr.open_array(tmp_path / "x.ome.zarr/1", mode="r")
    np.testing.assert_array_equal(built[:], plain_mean(random_cells(SHAPE), (2, 2, 2)))


def test_discarding_removes_the_unfinished_work(
    stopped: BuildPyramid, qtbot: Any, tmp_path: Path
) -> None:
    press(stopped, qtbot, "Discard")
    wait_for_states(stopped, qtbot)
    assert [p.name for p in tmp_path.iterdir()] == ["s.zarr"]


def test_refused_choice_offers_to_finish_the_earlier_build(
    stopped: BuildPyramid, qtbot: Any, tmp_path: Path
) -> None:
    set_fields(stopped, qtbot, method="max")
    assert [b.text() for b in stopped.remedies] == ["Start over", "Finish it"]
    QTest.mouseClick(stopped.remedies[1], Qt.MouseButton.LeftButton)
    wait_for_states(stopped, qtbot, "done")
    built = zarr.open_array(tmp_path / "x.ome.zarr/1", mode="r")
    np.testing.assert_array_equal(built[:], plain_mean(random_cells(SHAPE), (2, 2, 2)))


def test_build_that_started_over_keeps_its_work_when_cancelled(
    stopped: BuildPyramid, qtbot: Any, tmp_path: Path
) -> None:
    set_fields(stopped, qtbot, method="max")
    cancel_held_up(stopped, qtbot, lambda: click(stopped.remedies[0]))
    assert list(stopped.queue_view.rows[0].buttons) == ["Resume", "Discard"]
    assert "Goes on where an earlier build stopped" in stopped.message.text()
    click(stopped.build)
    qtbot.waitUntil(lambda: stopped.queue.tasks[0].state != "stopped", timeout=PATIENCE)
    wait_for_states(stopped, qtbot, "done")
    built = zarr.open_array(tmp_path / "x.ome.zarr/1", mode="r")
    assert built[0, 0, 0] == random_cells(SHAPE)[:2, :2, :2].max()


def test_nothing_offers_to_start_over_what_is_being_built(
    stopped: BuildPyramid, qtbot: Any
) -> None:
    shown: list[tuple[bool, list[Any]]] = []

    def look() -> None:
        click(stopped.remedies[0])
        qtbot.waitUntil(lambda: stopped.queue.current is not None, timeout=PATIENCE)
        settle(stopped, qtbot)
        shown.append((stopped.build.isEnabled(), list(stopped.remedies)))
        assert stopped.message.text() == "This is being built."
        assert "method" not in stopped.form.problems()

    set_fields(stopped, qtbot, method="max")
    cancel_held_up(stopped, qtbot, look)
    assert shown == [(False, [])]


def test_buttons_of_a_cancelled_build_are_in_view(stopped: BuildPyramid, qtbot: Any) -> None:
    buttons = stopped.queue_view.rows[0].buttons
    qtbot.waitUntil(
        lambda: all(b.visibleRegion().boundingRect() == b.rect() for b in buttons.values()),
        timeout=PATIENCE,
    )


@pytest.mark.in_window
def test_closing_the_window_names_the_build_and_what_closing_does(
    viewer: Any, dock: Any, qtbot: Any, slow: Any, tmp_path: Path
) -> None:
    widget, go = start_slow_build(viewer, dock, qtbot, slow, tmp_path / "a.ome.zarr")
    announced = viewer.window._task_status_manager  # napari asks with these words
    [line] = announced.get_status()
    assert line.startswith("Image pyramids: Building a.ome.zarr: closing stops it; ")
    press(widget, qtbot, "Cancel")
    go.set()
    wait_for_states(widget, qtbot, "stopped")
    assert announced.get_status() == []


@pytest.mark.in_window
def test_later_session_finds_and_finishes_the_build(
    stopped: BuildPyramid, viewer: Any, qtbot: Any, tmp_path: Path
) -> None:
    viewer.window.remove_dock_widget(stopped)
    _, widget = viewer.window.add_plugin_dock_widget("napari-pyramid", "Build pyramid")
    wait_for_states(widget, qtbot, "stopped")
    assert widget.queue_view.rows[0].title.text() == "x.ome.zarr"
    assert widget.queue_view.rows[0].text.text().startswith("Unfinished")
    press(widget, qtbot, "Resume")
    wait_for_states(widget, qtbot, "done")
    built = zarr.open_array(tmp_path / "x.ome.zarr/1", mode="r")
    np.testing.assert_array_equal(built[:], plain_mean(random_cells(SHAPE), (2, 2, 2)))


def test_layer_in_a_store_is_found_by_a_later_session_too(
    viewer: Any, dock: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_pyramid._napari._candidates import candidate_of_layer
    from napari_pyramid._napari._plan import Choice, Plan
    from napari_pyramid._napari._unfinished import (
        StartedBuild,
        records_file,
        remember,
        unfinished_builds,
    )

    group = zarr.create_group(tmp_path / "s.zarr")
    array = group.create_array("0", data=random_cells(SHAPE), chunks=(8, 8, 8))
    meta = {"name": "cells", "scale": (2, 1, 1), "colormap": "green", "contrast_limits": (5, 9)}
    candidate = candidate_of_layer((array, meta, "image"), None)
    choice = Choice(str(tmp_path / "x.ome.zarr"), n_levels=2, chunks=(8, 8, 8), workers=1)
    plan = Plan.of(candidate, choice)
    steps = plan.build.steps()
    while next(steps).done < 1:
        pass
    steps.close()
    started = StartedBuild.of(plan)
    assert started is not None
    remember(started)
    document = json.loads(records_file().read_bytes())
    [entry] = document["builds"]
    damaged = [{}, 7, {**entry, "image": {}}, {**entry, "place": {}}, {**entry, "later": 1}]
    records_file().write_text(json.dumps({"builds": [*damaged, entry]}))
    [found] = unfinished_builds()
    assert found.error is None
    assert 0 < found.fraction < 1
    assert found.started.chosen == choice
    again = found.candidate.image
    assert (again.name, again.scale, again.channels) == (
        "cells",
        (2.0, 1.0, 1.0),
        candidate.image.channels,
    )


@pytest.mark.in_window
def test_source_that_changed_since_is_said_in_the_row(
    stopped: BuildPyramid, viewer: Any, qtbot: Any, tmp_path: Path
) -> None:
    viewer.window.remove_dock_widget(stopped)
    group = zarr.open_group(tmp_path / "s.zarr", mode="w")
    group.create_array("0", data=random_cells(SHAPE, seed=1)[:39], chunks=(8, 8, 8))
    _, widget = viewer.window.add_plugin_dock_widget("napari-pyramid", "Build pyramid")
    wait_for_states(widget, qtbot, "failed")
    assert "changed" in widget.queue_view.rows[0].text.text()
    press(widget, qtbot, "Start over")
    wait_for_states(widget, qtbot, "done")
    built = zarr.open_array(tmp_path / "x.ome.zarr/0", mode="r")
    np.testing.assert_array_equal(built[:], random_cells(SHAPE, seed=1)[:39])
