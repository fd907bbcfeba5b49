"""Use the dock widget "Build pyramid" as a user does: set fields, press buttons, wait."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_pyramid._napari.widget import BuildPyramid

__all__ = [
    "PATIENCE",
    "click",
    "open_build_dock",
    "random_cells",
    "set_fields",
    "settle",
    "show_build_widget",
    "start_slow_build",
    "wait_for_first_tile",
    "wait_for_states",
]

PATIENCE = 60_000
"""Milliseconds after which a result counts as missing. Other work may keep a test waiting."""


def open_build_dock(viewer: Any) -> BuildPyramid:
    """Open the widget by the command of the plugin menu."""
    _, widget = viewer.window.add_plugin_dock_widget("napari-pyramid", "Build pyramid")
    return widget


def show_build_widget(viewer: Any, qtbot: Any) -> BuildPyramid:
    """Show the widget in a window of its own, for a viewer that has none."""
    widget = BuildPyramid(viewer)
    qtbot.addWidget(widget)
    for name in ("inserted", "removed", "reordered", "renamed"):  # as napari does for its docks
        viewer.layers.events[name].connect(widget.reset_choices)
    widget.resize(320, 700)
    widget.show()
    qtbot.waitExposed(widget)
    return widget


def settle(widget: BuildPyramid, qtbot: Any) -> None:
    """Wait until the widget has planned the choice in its fields."""
    qtbot.waitUntil(lambda: widget.is_settled, timeout=PATIENCE)


def set_fields(widget: BuildPyramid, qtbot: Any, **fields: Any) -> None:
    """Set controls by name, and wait for the plan before and after."""
    settle(widget, qtbot)
    for name, value in fields.items():
        getattr(widget, name).value = value
    settle(widget, qtbot)


def click(button: Any) -> None:
    """Click on a button with the left mouse button."""
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def wait_for_states(widget: BuildPyramid, qtbot: Any, *states: str) -> None:
    """Wait until the builds in the queue have these states."""
    qtbot.waitUntil(
        lambda: [task.state for task in widget.queue.tasks] == list(states), timeout=PATIENCE
    )


def wait_for_first_tile(widget: BuildPyramid, qtbot: Any) -> None:
    """Wait until the running build has filled a tile."""

    def has_filled_one() -> bool:
        task = widget.queue.current
        return task is not None and task.step is not None and task.step.fraction > 0

    qtbot.waitUntil(has_filled_one, timeout=PATIENCE)


def start_slow_build(
    viewer: Any, dock: Any, qtbot: Any, slow: Any, destination: Path
) -> tuple[BuildPyramid, Event]:
    """Build a layer of `slow` until its first tile is filled; the event lets the build go on."""
    viewer.add_image(slow, name="slow", contrast_limits=(0, 9))
    widget = dock()
    set_fields(widget, qtbot, destination=destination, n_levels=2)
    go = slow.hold()
    click(widget.build)
    wait_for_first_tile(widget, qtbot)
    return widget, go


def random_cells(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Return an image of random samples below 1000."""
    return np.random.default_rng(seed).integers(0, 1000, shape, dtype=np.uint16)
