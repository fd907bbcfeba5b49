"""Painting on the labels of a pyramid with the mouse, in a real window.

What is expected are plain NumPy arrays in plain napari layers, painted with the same strokes.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from helpers import digest
from napari.settings import get_plugin_settings, get_settings
from napari.utils.notifications import NotificationSeverity, notification_manager
from napari.utils.progress import progress
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QCloseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QMessageBox
from servers import s3_client, s3_server, web_server

from napari_pyramid import build_pyramid, open_pyramid
from napari_pyramid._napari import _editing, _new_labels, _paintable, _unsaved
from napari_pyramid._napari._opening import open_in_background
from napari_pyramid._napari.reader import read
from napari_pyramid.arrays import chunked_source
from napari_pyramid.arrays.chunked_source import ChunkedSource
from napari_pyramid.storage import private_names
from napari_pyramid.storage.remote_store import RemoteStore
from napari_pyramid.storage.run_together import run_together

SHAPE = (9, 700, 900)


def discs() -> np.ndarray:
    """Labels 1 to 12: discs, the same in all planes but the first, which is empty."""
    return _discs().copy()


@cache
def _discs() -> np.ndarray:
    found = np.zeros(SHAPE, "uint16")
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    for i in range(12):
        cy, cx = 120 + 220 * (i // 4), 110 + 220 * (i % 4)
        found[1:, (y - cy) ** 2 + (x - cx) ** 2 < 70**2] = i + 1
    return found


@pytest.fixture(scope="module")
def stored(tmp_path_factory: Any) -> Path:
    path = tmp_path_factory.mktemp("painting") / "cells.ome.zarr"
    build_pyramid(discs(), path, labels=True, axes="zyx", n_levels=3, factors=2, chunks=(4, 64, 64))
    return path


@pytest.fixture
def store(stored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stored, tmp_path / "cells.ome.zarr"))


@pytest.fixture
def window(make_napari_viewer: Callable[..., Any]) -> Any:
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1280, 800)
    return viewer


@pytest.fixture
def painting(window: Any, store: Path, qtbot: Any) -> Any:
    """A layer of the store, with the brush in hand, and level 0 on the screen."""
    layer = opened(window, store)
    return begin(window, layer, qtbot)


def opened(window: Any, store: Path | str) -> Any:
    ((data, state, kind),) = read(str(store))
    assert kind == "labels"
    return window.add_labels(data, **state)


def choose_in_menu(window: Any, *names: str) -> None:
    """Choose an entry of the menu "Layers", by the beginnings of its names."""
    menu = window.window.layers_menu
    for name in names:
        entry = next(a for a in menu.actions() if a.text().replace("&", "").startswith(name))
        menu = entry.menu()
    assert entry.isEnabled()
    entry.trigger()


def begin(window: Any, layer: Any, qtbot: Any, *, near: bool = True) -> Any:
    window.layers.selection.active = layer
    _editing.edit_labels(window)
    qtbot.waitUntil(lambda: _editing.editing_of(layer) is not None, timeout=60_000)
    if near:
        window.scene.camera.center, window.scene.camera.zoom = (0, 350, 450), 2.0
        qtbot.waitUntil(lambda: layer.data_level == 0 and layer.loaded, timeout=60_000)
    return layer


def canvas(window: Any) -> Any:
    return window.window._qt_viewer.canvas.native


def drag(window: Any, *points: tuple[int, int]) -> None:
    """Press the left button at the first point of the canvas, move to the others, release."""
    native = canvas(window)
    QTest.mousePress(native, Qt.MouseButton.LeftButton, pos=QPoint(*points[0]))
    for point in points[1:]:
        QTest.mouseMove(native, QPoint(*point))
        QApplication.processEvents()
    QTest.mouseRelease(native, Qt.MouseButton.LeftButton, pos=QPoint(*points[-1]))
    QApplication.processEvents()


def same_in_plain_napari(window: Any, layer: Any, act: Callable[[Any], None]) -> np.ndarray:
    """What the same mouse does to a plain array, in the same view."""
    plain = window.add_labels(discs(), name="plain", visible=False)
    plain.visible = True
    for name in ("brush_size", "selected_label", "n_edit_dimensions", "contiguous"):
        setattr(plain, name, getattr(layer, name))
    window.layers.selection.active = plain
    plain.mode = layer.mode
    act(plain)
    result = plain.data
    window.layers.remove(plain)
    window.layers.selection.active = layer
    return result


def strokes(window: Any, layer: Any) -> None:
    """Paint, erase, fill, undo and paint again, with the mouse."""
    layer.brush_size, layer.selected_label = 15, 20
    layer.mode = "paint"
    drag(window, (100, 200), (300, 260), (520, 210))
    layer.mode = "erase"
    drag(window, (200, 100), (210, 400))
    layer.mode = "fill"
    layer.selected_label = 30
    drag(window, (625, 404), (625, 404))
    layer.mode = "paint"
    drag(window, (50, 300), (600, 300))
    layer.undo()
    layer.selected_label = 21
    drag(window, (300, 420), (350, 380))


def shown(layer: Any) -> np.ndarray:
    return np.asarray(layer._slice.image.raw)


def test_strokes_change_what_they_change_in_a_plain_array(
    window: Any, painting: Any, store: Path, qtbot: Any
) -> None:
    window.dims.set_point(0, 4)
    expected = same_in_plain_napari(window, painting, lambda v: strokes(window, v))
    assert (expected != discs()).sum() > 10_000
    strokes(window, painting)
    np.testing.assert_array_equal(np.asarray(painting.data[0]), expected)
    # what is on the screen is what has been painted, without slicing again
    tile = shown(painting)
    expected_tile = expected[4][
        painting._painted.ranges[1].start :, painting._painted.ranges[2].start :
    ]
    np.testing.assert_array_equal(tile, expected_tile[: tile.shape[0], : tile.shape[1]])
    painting.refresh()
    np.testing.assert_array_equal(shown(painting), tile)
    # nothing is in the store before the update
    np.testing.assert_array_equal(open_pyramid(store)[0][...], discs())
    _editing.update_pyramid(window)
    editing = _editing.editing_of(painting)
    assert editing is not None
    qtbot.waitUntil(lambda: not editing.is_saving, timeout=60_000)
    assert not editing.has_unsaved
    np.testing.assert_array_equal(open_pyramid(store)[0][...], expected)
    qtbot.waitUntil(lambda: painting.loaded, timeout=60_000)
    np.testing.assert_array_equal(shown(painting), tile)


def test_painting_in_three_dimensions_and_along_another_axis(
    window: Any, painting: Any, qtbot: Any
) -> None:
    def act(layer: Any) -> None:
        layer.mode, layer.brush_size, layer.selected_label = "paint", 9, 40
        layer.n_edit_dimensions = 3
        drag(window, (100, 200), (300, 260))

    expected = same_in_plain_napari(window, painting, act)
    assert len(np.unique(np.nonzero(expected == 40)[0])) == 9
    act(painting)
    np.testing.assert_array_equal(np.asarray(painting.data[0]), expected)
    painting.n_edit_dimensions = 2
    window.dims.order = (2, 0, 1)
    window.scene.camera.center, window.scene.camera.zoom = (0, 4, 350), 1.5
    window.dims.set_point(2, 450)
    qtbot.waitUntil(lambda: painting.loaded, timeout=60_000)
    painting.paint((4, 300, 450), 41)
    across = np.asarray(painting.data[0][:, :, 450])
    assert set(np.unique(np.nonzero(np.asarray(painting.data[0]) == 41)[2])) == {450}
    painting.refresh()
    ranges = painting._painted.ranges
    if painting.data_level == 0:
        np.testing.assert_array_equal(
            shown(painting),
            across[ranges[0].start : ranges[0].stop, ranges[1].start : ranges[1].stop],
        )


def test_what_is_painted_is_seen_when_zoomed_out(window: Any, store: Path, qtbot: Any) -> None:
    layer = begin(window, opened(window, store), qtbot, near=False)
    window.dims.set_point(0, 3)
    layer.locked_data_level = 2
    qtbot.waitUntil(lambda: layer.data_level == 2 and layer.loaded, timeout=60_000)
    layer.brush_size, layer.selected_label = 8, 50
    drag(window, (250, 350), (400, 380))
    painted = np.asarray(layer.data[0][3]) == 50
    assert painted.sum() > 500
    rows, columns = (n + (-n % 4) for n in painted.shape)
    wide = np.zeros((rows, columns), bool)
    wide[: painted.shape[0], : painted.shape[1]] = painted
    covered = wide.reshape(rows // 4, 4, columns // 4, 4).any((1, 3))
    seen = np.zeros_like(covered)
    r = layer._painted.ranges
    seen[r[1].start : r[1].stop, r[2].start : r[2].stop] = shown(layer) == 50
    np.testing.assert_array_equal(seen, covered)
    window.dims.set_point(0, 4)  # the plane beside it is as it was
    qtbot.waitUntil(lambda: layer.loaded, timeout=60_000)
    assert not (shown(layer) == 50).any()
    layer.undo()
    window.dims.set_point(0, 3)
    qtbot.waitUntil(lambda: layer.loaded, timeout=60_000)
    assert not (shown(layer) == 50).any()


def test_a_large_fill_goes_on_while_the_window_answers(
    window: Any, painting: Any, qtbot: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(_paintable, "QUICK_FILL", 2**10)
    window.dims.set_point(0, 2)
    expected = same_in_plain_napari(window, painting, lambda v: v.fill((2, 10, 10), 60))
    painting.fill((2, 10, 10), 60)
    painting.paint((2, 690, 300), 61)  # meanwhile
    qtbot.waitUntil(lambda: int(painting.data[2, 690, 890]) == 60, timeout=60_000)
    found = np.asarray(painting.data[0])
    assert (found != expected).sum() == (found == 61).sum() > 50
    painting.undo()
    painting.undo()
    np.testing.assert_array_equal(np.asarray(painting.data[0]), discs())


def test_a_fill_without_end_changes_nothing_and_says_so(
    window: Any, painting: Any, qtbot: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(_paintable, "QUICK_FILL", 2**10)
    monkeypatch.setattr(_paintable, "LARGEST_FILL", 2**14)
    notification_manager.records.clear()
    painting.fill((2, 10, 10), 60)
    qtbot.waitUntil(
        lambda: "nothing was filled" in str(notification_manager.records), timeout=60_000
    )
    assert not _editing.editing_of(painting).has_unsaved


def test_the_window_never_waits_nothing_is_printed_and_no_thread_is_left(
    window: Any, painting: Any, qtbot: Any, capfd: Any
) -> None:
    """The time of the window's own thread counts, which other work does not change."""
    get_settings().application.console_notification_level = NotificationSeverity.ERROR
    painting.brush_size, painting.selected_label = 20, 5
    drag(window, (90, 90), (100, 100))
    took = []
    native = canvas(window)
    QTest.mousePress(native, Qt.MouseButton.LeftButton, pos=QPoint(100, 100))
    for i in range(30):
        start = time.thread_time()
        QTest.mouseMove(native, QPoint(100 + 12 * i, 100 + 9 * i))
        took.append(time.thread_time() - start)
        QApplication.processEvents()
    QTest.mouseRelease(native, Qt.MouseButton.LeftButton, pos=QPoint(460, 370))
    assert max(took) < 0.05
    editing = _editing.editing_of(painting)
    before = {t.name for t in threading.enumerate()}
    editing.save()
    qtbot.waitUntil(lambda: not editing.is_saving, timeout=60_000)
    left = {t.name for t in threading.enumerate() if t.name.startswith("napari-pyramid")} - before
    assert left <= {"napari-pyramid-compile"}
    assert capfd.readouterr().out == ""


# ---- slow stores -------------------------------------------------------------------------------


@pytest.fixture
def arrive(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let no chunk arrive until this event is set, and let the window's own thread read nothing."""
    event, fetch = threading.Event(), ChunkedSource.fetch

    def slow(source: ChunkedSource, indexes: Any) -> Any:
        assert threading.current_thread() is not threading.main_thread(), "the window reads"
        assert event.wait(60)
        return fetch(source, indexes)

    def hold() -> threading.Event:
        monkeypatch.setattr(ChunkedSource, "fetch", slow)
        for source in ChunkedSource.alive():
            source.forget()
        return event

    yield hold
    event.set()


def test_strokes_on_chunks_that_are_not_there_yet_are_seen_undone_and_saved(
    window: Any, painting: Any, store: Path, qtbot: Any, arrive: Callable[[], threading.Event]
) -> None:
    window.dims.set_point(0, 4)
    qtbot.waitUntil(lambda: painting.loaded, timeout=60_000)

    def act(layer: Any) -> None:
        layer.brush_size, layer.selected_label = 15, 20
        layer.mode = "paint"
        drag(window, (100, 200), (300, 260), (520, 210))
        layer.undo()
        assert layer is not painting or not editing.has_unsaved
        layer.redo()
        layer.selected_label = 21
        drag(window, (200, 100), (210, 400))
        layer.mode = "erase"
        drag(window, (250, 220), (400, 300))

    editing = _editing.editing_of(painting)
    expected = same_in_plain_napari(window, painting, act)
    came = arrive()
    act(painting)
    assert {20, 21} <= set(np.unique(shown(painting)))
    came.set()
    _editing.update_pyramid(window)
    qtbot.waitUntil(lambda: not editing.is_saving, timeout=60_000)
    np.testing.assert_array_equal(open_pyramid(store)[0][...], expected)
    for _ in range(3):  # the store has the new labels: the old ones were read before
        painting.undo()
    np.testing.assert_array_equal(np.asarray(painting.data[0]), discs())


def test_tools_that_must_see_what_is_below_wait_for_it_in_the_background(
    window: Any, painting: Any, qtbot: Any, arrive: Callable[[], threading.Event]
) -> None:
    window.dims.set_point(0, 4)
    qtbot.waitUntil(lambda: painting.loaded, timeout=60_000)

    def paint(layer: Any) -> None:
        layer.preserve_labels, layer.mode = True, "paint"
        layer.brush_size, layer.selected_label = 15, 20
        drag(window, (100, 200), (300, 260), (520, 210))
        layer.preserve_labels = False

    def fill(layer: Any) -> None:
        layer.mode, layer.selected_label = "fill", 30
        drag(window, (625, 404), (625, 404))

    for act in (paint, fill):
        expected = same_in_plain_napari(window, painting, act)
        came = arrive()
        act(painting)
        assert not _editing.editing_of(painting).has_unsaved
        came.set()
        qtbot.waitUntil(
            lambda expected=expected: np.array_equal(np.asarray(painting.data[0]), expected),
            timeout=60_000,
        )
        painting.undo()
        np.testing.assert_array_equal(np.asarray(painting.data[0]), discs())
        _editing.editing_of(painting).editor.discard()
        came.clear()


# ---- unsaved -----------------------------------------------------------------------------------


def question() -> QMessageBox | None:
    found = [w for w in QApplication.topLevelWidgets() if isinstance(w, QMessageBox)]
    found = [w for w in found if w.isVisible()]
    return found[0] if found else None


def answer(qtbot: Any, text: str) -> None:
    qtbot.waitUntil(lambda: question() is not None, timeout=60_000)
    box = question()
    assert box is not None
    button = next(b for b in box.buttons() if b.text().replace("&", "") == text)
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def close_by_hand(window: Any) -> bool:
    """Close as a click on the window's corner does; return whether napari would see it."""

    class ByHand(QCloseEvent):
        def spontaneous(self) -> bool:
            return True

    (guard,) = window.window._qt_window.findChildren(_unsaved._Guard)
    return not guard.eventFilter(window.window._qt_window, ByHand())


@contextmanager
def held_update(editing: Any) -> Iterator[threading.Event]:
    """Start an update, and hold it after its first step until the event is set."""
    save, begun, go_on = editing.editor.iter_save, threading.Event(), threading.Event()

    def iter_save() -> Iterator[Any]:
        for step in save():
            begun.set()
            assert go_on.wait(60)
            yield step

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(editing.editor, "iter_save", iter_save)
        editing.save()
        assert begun.wait(60)
    yield go_on


def test_closing_asks_about_what_is_not_saved(
    window: Any, painting: Any, store: Path, qtbot: Any, monkeypatch: Any
) -> None:
    assert close_by_hand(window)  # nothing has been painted
    closed: list[bool] = []
    monkeypatch.setattr(_unsaved._Guard, "_close", lambda guard: closed.append(True))
    painting.paint((4, 10, 10), 70)
    editing = _editing.editing_of(painting)
    assert not close_by_hand(window)
    answer(qtbot, "Cancel")
    assert not closed
    assert not close_by_hand(window)
    answer(qtbot, "Update pyramid")
    qtbot.waitUntil(lambda: bool(closed), timeout=60_000)
    assert not editing.has_unsaved
    assert int(open_pyramid(store)[0][4, 10, 10]) == 70
    painting.paint((4, 40, 40), 71)
    (guard,) = window.window._qt_window.findChildren(_unsaved._Guard)
    guard._may_close = False  # the window was not really closed
    assert not close_by_hand(window)
    answer(qtbot, "Close without updating")
    qtbot.waitUntil(lambda: len(closed) == 2, timeout=60_000)
    assert int(open_pyramid(store)[0][4, 40, 40]) == 0
    guard._may_close = False
    with held_update(editing) as go_on:
        painting.paint((4, 60, 60), 72)
        assert not close_by_hand(window)
        answer(qtbot, "Update pyramid")
        go_on.set()
        qtbot.waitUntil(lambda: len(closed) == 3, timeout=60_000)
    assert [int(open_pyramid(store)[0][4, n, n]) for n in (40, 60)] == [71, 72]


def test_every_command_works_from_the_menu(window: Any, tmp_path: Path, qtbot: Any) -> None:
    """Commands get a proxy of the viewer, and so proxies of its layers."""
    pixels = np.random.default_rng(0).integers(0, 900, (300, 400), dtype="uint16")
    build_pyramid(pixels, tmp_path / "image.ome.zarr", axes="yx", n_levels=2)
    ((data, state, _),) = read(str(tmp_path / "image.ome.zarr"))
    image = window.add_image(data, **state)
    choose_in_menu(window, "Data", "New labels")
    qtbot.waitUntil(lambda: len(window.layers) == 2, timeout=60_000)
    labels = window.layers[1]
    qtbot.waitUntil(lambda: labels.mode == "paint", timeout=60_000)
    labels.mode = "pan_zoom"
    choose_in_menu(window, "Data", "Edit labels")
    assert labels.mode == "paint"
    labels.paint((150, 200), 7)
    choose_in_menu(window, "Data", "Update pyramid")
    qtbot.waitUntil(lambda: not _editing.editing_of(labels).has_unsaved, timeout=60_000)
    assert open_pyramid(tmp_path / "image.ome.zarr/labels/labels")[0][150, 200] == 7
    window.layers.selection.active = image
    choose_in_menu(window, "Visualize", "Full resolution here")
    np.testing.assert_array_equal(np.asarray(window.layers[-1].data), pixels)
    large = window.add_image(np.zeros((8, 1100), "uint8"), name="large")
    choose_in_menu(window, "Visualize", "View as pyramid")
    assert window.layers[-1].multiscale
    assert not large.visible


def test_closing_from_the_menu_asks_too(window: Any, painting: Any, qtbot: Any) -> None:
    painting.paint((4, 10, 10), 70)
    native = window.window._qt_window
    native.close(quit_app=False, confirm_need=True)
    answer(qtbot, "Cancel")
    assert native.isVisible()


def test_removing_a_layer_asks_about_what_is_not_saved(
    window: Any, painting: Any, store: Path, qtbot: Any
) -> None:
    painting.paint((4, 350, 450), 70)
    editing = _editing.editing_of(painting)
    window.layers.remove(painting)
    answer(qtbot, "Put back")
    qtbot.waitUntil(lambda: painting in window.layers, timeout=60_000)
    qtbot.waitUntil(lambda: painting.loaded and (shown(painting) == 70).any(), timeout=60_000)
    window.layers.selection.active = painting
    painting.selected_label = 71
    drag(window, (100, 100), (200, 200))  # it can be painted on as before
    assert (shown(painting) == 71).any()
    window.layers.remove(painting)
    answer(qtbot, "Update pyramid")
    qtbot.waitUntil(lambda: not (editing.is_saving or editing.has_unsaved), timeout=60_000)
    assert int(open_pyramid(store)[0][4, 350, 450]) == 70


def test_painted_labels_of_a_removed_layer_can_be_discarded(
    window: Any, painting: Any, store: Path, qtbot: Any
) -> None:
    painting.paint((4, 350, 450), 70)
    editing = _editing.editing_of(painting)
    with held_update(editing) as go_on:
        painting.paint((4, 40, 40), 71)
        window.layers.remove(painting)
        assert question() is None  # what was painted before may still fail to be saved
        go_on.set()
        answer(qtbot, "Discard")
    qtbot.waitUntil(lambda: not editing.has_unsaved, timeout=60_000)
    stored = open_pyramid(store)[0]
    assert (int(stored[4, 350, 450]), int(stored[4, 40, 40])) == (70, 0)


def test_a_cancelled_update_leaves_the_store_and_the_paint_and_says_so(
    painting: Any, store: Path, qtbot: Any
) -> None:
    painting.paint((4, 350, 450), 70)
    before, editing = digest(store), _editing.editing_of(painting)
    with held_update(editing) as go_on:
        (bar,) = [b for b in progress._all_instances if b.desc == "Update cells"]
        bar.cancel()  # what the button in the activity dock calls
        go_on.set()
        qtbot.waitUntil(lambda: not editing.is_saving, timeout=60_000)
    assert digest(store) == before
    last = notification_manager.records[-1].message
    assert "the pyramid is unchanged" in last
    assert "What you painted stays" in last
    painting.paint((4, 40, 40), 71)
    editing.save()
    qtbot.waitUntil(lambda: not editing.is_saving, timeout=60_000)
    found = open_pyramid(store)[0]
    assert (int(found[4, 350, 450]), int(found[4, 40, 40])) == (70, 71)


# ---- beginning -----------------------------------------------------------------------------------


def test_new_labels_are_created_opened_and_painted_on(
    window: Any, tmp_path: Path, qtbot: Any
) -> None:
    path = tmp_path / "image.ome.zarr"
    values = np.random.default_rng(0).integers(0, 900, (2, 5, 600, 700)).astype("uint16")
    build_pyramid(
        values, path, axes="czyx", n_levels=2, factors=2, scale=(1, 2, 0.5, 0.5), unit="um"
    )
    for data, state, _ in read(str(path)):
        window.add_image(data, **state)
    window.layers.selection.active = window.layers[1]
    _new_labels.new_labels(window)
    qtbot.waitUntil(
        lambda: len(window.layers) == 3 and _editing.editing_of(window.layers[2]) is not None,
        timeout=60_000,
    )
    layer = window.layers[2]
    np.testing.assert_array_equal(layer.extent.world, window.layers[0].extent.world)
    assert layer.units == window.layers[0].units
    window.scene.camera.zoom *= 3
    qtbot.waitUntil(lambda: layer.loaded, timeout=60_000)
    layer.brush_size = 30
    drag(window, (200, 200), (400, 300))
    assert (shown(layer) == 1).any()
    _editing.update_pyramid(window)
    qtbot.waitUntil(lambda: not _editing.editing_of(layer).has_unsaved, timeout=60_000)
    assert (zarr.open_array(path / "labels/labels/0", mode="r")[...] == 1).sum() > 1000


def refusal(window: Any, qtbot: Any) -> str:
    """Ask to paint on the active layer; return the message."""
    notification_manager.records.clear()
    _editing.edit_labels(window)
    qtbot.waitUntil(lambda: bool(notification_manager.records), timeout=60_000)
    (record,) = notification_manager.records
    assert _editing.editing_of(window.layers.selection.active) is None
    return str(record.message)


def test_labels_that_cannot_be_painted_on_say_why(
    window: Any, stored: Path, qtbot: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    window.add_labels(discs(), name="plain")
    assert refusal(window, qtbot) == "plain can be painted on as it is."
    window.add_labels([discs(), discs()[:, ::2, ::2]], multiscale=True, name="others")
    assert refusal(window, qtbot).startswith("others was not opened by this plugin: build a")
    shutil.make_archive(str(tmp_path / "cells"), "zip", stored)
    way_out = "cannot be edited: build a pyramid in a local folder or a bucket first, "
    way_out += "and edit that"
    assert opened(window, tmp_path / "cells.zip").name == "cells"
    assert refusal(window, qtbot) == f"cells: a store in a zip file {way_out}"
    window.layers.clear()
    with web_server(stored.parent) as web:
        opened(window, f"{web.url}/{stored.name}")
        assert refusal(window, qtbot) == f"cells: a store on a web server {way_out}"
        window.layers.clear()
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: path != stored / "1" and access(path, mode)
    )
    opened(window, stored)
    assert "no permission to write: change its permissions, or" in refusal(window, qtbot)


@pytest.mark.slow
def test_labels_of_one_level_are_painted_on_by_napari_itself(
    window: Any, tmp_path: Path, qtbot: Any
) -> None:
    build_pyramid(
        discs(), tmp_path / "one.ome.zarr", labels=True, axes="zyx", n_levels=1, chunks=(4, 64, 64)
    )
    layer = begin(window, opened(window, tmp_path / "one.ome.zarr"), qtbot, near=False)
    window.dims.set_point(0, 4)
    strokes(window, layer)
    painted = np.asarray(layer.data)
    assert {20, 21, 30} <= set(np.unique(painted))
    _editing.update_pyramid(window)
    qtbot.waitUntil(lambda: not _editing.editing_of(layer).has_unsaved, timeout=60_000)
    np.testing.assert_array_equal(open_pyramid(tmp_path / "one.ome.zarr")[0][...], painted)


def test_saving_the_layer_elsewhere_takes_what_is_painted_along(
    window: Any, painting: Any, tmp_path: Path
) -> None:
    painting.paint((4, 350, 450), 70)
    window.layers.selection = {painting}
    from napari_pyramid._napari.writer import write_layers

    write_layers(str(tmp_path / "copy.ome.zarr"), [painting.as_layer_data_tuple()])
    np.testing.assert_array_equal(
        open_pyramid(tmp_path / "copy.ome.zarr")[0][...], np.asarray(painting.data[0])
    )


# ---- in a bucket -------------------------------------------------------------------------------


@pytest.fixture
def lab(settings: Any) -> Iterator[Any]:
    """A client of a server with the empty bucket "lab", to which the preferences have the keys."""
    with s3_server() as endpoint:
        client = s3_client(endpoint)
        client.create_bucket(Bucket="lab")
        client.options = {"endpoint": endpoint, "access_key_id": "x", "secret_access_key": "y"}
        settings.remote.storage_options = ", ".join(f"{k}={v}" for k, v in client.options.items())
        yield client
        for found in client.list_objects_v2(Bucket="lab").get("Contents", ()):
            client.delete_object(Bucket="lab", Key=found["Key"])  # servers share their buckets


@pytest.fixture
def window_asks_nothing() -> Iterator[Callable[[], None]]:
    """From its call on, the window's own thread must not ask a server for anything, or wait."""

    def elsewhere(function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            waits = function is not run_together or bool(args[1])
            is_main = threading.current_thread() is threading.main_thread()
            assert not (is_main and waits), "the window waits"
            return function(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:

        def begin() -> None:
            patch.setattr(chunked_source, "run_together", elsewhere(run_together))
            patch.setattr(RemoteStore, "fetch_now", elsewhere(RemoteStore.fetch_now))
            if private_names.sync is not None:
                patch.setattr(private_names, "sync", elsewhere(private_names.sync))

        begin.end = patch.undo  # type: ignore[attr-defined]
        yield begin


def test_labels_in_a_bucket_are_painted_on_asked_about_and_updated(
    window: Any, qtbot: Any, lab: Any, window_asks_nothing: Any, monkeypatch: Any
) -> None:
    url, options = "s3://lab/cells.ome.zarr", {"storage_options": lab.options}
    large = {"n_levels": 3, "factors": 2, "chunks": (9, 256, 256), "shards": None}
    build_pyramid(discs(), url, labels=True, axes="zyx", **large, **options)
    closed: list[bool] = []
    monkeypatch.setattr(_unsaved._Guard, "_close", lambda guard: closed.append(True))
    window_asks_nothing()
    open_in_background(window, url, lab.options)
    qtbot.waitUntil(lambda: len(window.layers) == 1, timeout=60_000)
    layer = begin(window, window.layers[0], qtbot)
    layer.brush_size, layer.selected_label = 15, 20

    def act(_: Any) -> None:
        drag(window, (100, 200), (300, 260), (520, 210))

    expected = same_in_plain_napari(window, layer, act)
    act(layer)
    assert (shown(layer) == 20).any()
    assert not close_by_hand(window)
    answer(qtbot, "Update pyramid")
    qtbot.waitUntil(lambda: bool(closed), timeout=60_000)
    assert not _editing.editing_of(layer).has_unsaved
    qtbot.waitUntil(lambda: layer.loaded and (shown(layer) == 20).any(), timeout=60_000)
    layer.brush_size = 1
    layer.paint((4, 10, 10), 70)
    expected[4, 10, 10] = 70
    editing = _editing.editing_of(layer)
    window.layers.remove(layer)
    answer(qtbot, "Update pyramid")
    qtbot.waitUntil(lambda: not (editing.is_saving or editing.has_unsaved), timeout=60_000)
    window_asks_nothing.end()
    found = open_pyramid(url, **options)
    np.testing.assert_array_equal(found[0][...], expected)
    keys = [key["Key"] for key in lab.list_objects_v2(Bucket="lab")["Contents"]]
    assert not [key for key in keys if ".building" in key]


@pytest.mark.slow
@pytest.mark.parametrize("may_write", [True, False])
def test_new_labels_of_an_image_in_a_bucket(
    window: Any,
    qtbot: Any,
    lab: Any,
    window_asks_nothing: Any,
    tmp_path: Path,
    monkeypatch: Any,
    may_write: bool,
) -> None:
    """They are stored there; without credentials, where the user says."""
    values = np.random.default_rng(0).integers(0, 900, (5, 100, 120)).astype("uint16")
    url, wanted = "s3://lab/image.ome.zarr", "s3://lab/image.ome.zarr/labels/labels"
    build_pyramid(values, url, n_levels=2, factors=2, storage_options=lab.options)
    if not may_write:
        anyone = {"Effect": "Allow", "Principal": "*", "Resource": "arn:aws:s3:::lab/*"}
        policy = {"Version": "2012-10-17", "Statement": [{**anyone, "Action": "s3:GetObject"}]}
        lab.put_bucket_policy(Bucket="lab", Policy=json.dumps(policy))
        get_plugin_settings(
            "napari-pyramid"
        ).remote.storage_options = f"endpoint={lab.options['endpoint']}, anonymous=true"
        wanted = str(tmp_path / "mine.ome.zarr")
        monkeypatch.setattr(_new_labels, "_asked_for_destination", lambda viewer: wanted)
    for data, state, _ in read(url):
        window.add_image(data, **state)
    window.layers.selection.active = window.layers[0]
    window_asks_nothing()
    _new_labels.new_labels(window)
    qtbot.waitUntil(
        lambda: len(window.layers) == 2 and _editing.editing_of(window.layers[1]) is not None,
        timeout=60_000,
    )
    window.layers[1].paint((2, 50, 60), 7)
    _editing.update_pyramid(window)
    qtbot.waitUntil(lambda: not _editing.editing_of(window.layers[1]).has_unsaved, timeout=60_000)
    window_asks_nothing.end()
    options = lab.options if may_write else None
    assert int(open_pyramid(wanted, storage_options=options)[0][2, 50, 60]) == 7
