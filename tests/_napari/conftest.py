"""What tests of the window share.

They are run or fail: one that skips itself would pass on a machine where nothing works.
"""

from __future__ import annotations

import functools
import gc
import importlib
import inspect
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Any:
    return _run_or_failed((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Any:
    return _run_or_failed((yield))


def _run_or_failed(report: Any) -> Any:
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} skipped itself; tests of the window must run"
    return report


PATIENCE = 60.0
"""Seconds after which what has not come counts as missing; other work may keep a test waiting."""


class Slow:
    """An array that a build by two threads reads in 32 pieces, two per tile, at any pace.

    `pace` is called at each read by a thread, with the number of pieces that it has read before.
    The window itself reads at once.
    """

    shape, dtype, ndim, size = (64, 512, 512), np.dtype("u2"), 3, 64 * 512 * 512
    chunks = (64, 64, 64)

    def __init__(self) -> None:
        self.reads = 0
        self.pace: Callable[[int], Any] = lambda read: None
        self._read_by: Counter[int] = Counter()

    def __getitem__(self, key: Any) -> np.ndarray:
        self.reads += 1
        thread = threading.current_thread()
        if thread is not threading.main_thread():
            self._read_by[thread.native_id] += 1
            self.pace(self._read_by[thread.native_id] - 1)
        return np.broadcast_to(np.uint16(7), self.shape)[key]

    def hold(self) -> threading.Event:
        """Hold every thread at the end of its first tile until the returned event is set.

        Then a piece takes 0.2 s.
        """
        go = threading.Event()

        def pace(read: int) -> None:
            if read >= 2:
                assert go.wait(PATIENCE)
                time.sleep(0.2)

        self.pace = pace
        return go


class Answers:
    """Ticks of the window while it builds or saves.

    Each piece is read only after the window has answered some.

    A window that waits for a read never ticks; one that computes meanwhile is seen in the processor
    time of its thread, which other work on the machine does not change.
    """

    def __init__(self, slow: Slow) -> None:
        from qtpy.QtCore import QTimer

        self._times: list[float] = []
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        slow.pace = self._wait
        self._tick()
        self._timer.start(10)

    def _tick(self) -> None:
        self._times.append(time.thread_time())

    def _wait(self, read: int) -> None:
        enough, end = len(self._times) + 4, time.monotonic() + PATIENCE
        while len(self._times) < enough:
            assert time.monotonic() < end, "the window does not answer"
            time.sleep(0.005)

    def stop(self, *_: Any) -> None:
        if self._timer.isActive():
            self._timer.stop()
            self._tick()

    def check(self) -> None:
        self.stop()
        assert len(self._times) > 50
        assert max(np.diff(self._times)) < 0.5


@pytest.fixture(scope="session", autouse=True)
def own_settings() -> None:
    """Keep napari's settings in memory.

    The settings of whoever runs the tests are neither used nor changed.
    """
    from napari.settings import get_settings

    get_settings().config_path = None


@pytest.fixture(scope="session")
def keep_garbage_small() -> Callable[[], None]:
    """Return a function that takes what is in use out of the collections of garbage.

    napari collects garbage whenever layers or a viewer are removed. Going through the objects of
    all libraries each time took a quarter of the time of these tests.
    """
    for name in ("napari._qt.qt_main_window", "napari_builtins.io", "numba"):
        importlib.import_module(name)

    def freeze() -> None:
        gc.collect()  # what is garbage now would otherwise be kept
        gc.freeze()

    freeze()
    return freeze


@pytest.fixture(scope="session")
def cheap_callbacks(keep_garbage_small: Callable[[], None]) -> Iterator[None]:
    """Make two things cheap that napari does very often, and that no test looks at.

    napari parses the signature of a method for every connection of the method to an event, about
    1,500 times for a viewer; here once for each function. The window filters every event of Qt in
    Python, for a menu bar that the user has hidden, which no test does; here there is no filter.
    """
    from napari._qt.qt_main_window import _QtMainWindow
    from napari.utils.events import EventEmitter

    takes_event = EventEmitter._check_signature
    of_method: dict[Any, bool] = {}

    def check_signature(callback: Callable[..., Any]) -> bool:
        if not inspect.ismethod(callback) or not inspect.isfunction(callback.__func__):
            return takes_event(callback)
        if callback.__func__ not in of_method:
            of_method[callback.__func__] = takes_event(callback)
        return of_method[callback.__func__]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EventEmitter, "_check_signature", staticmethod(check_signature))
        patch.delattr(_QtMainWindow, "eventFilter", raising=False)
        yield


@pytest.fixture(scope="session")
def manifests_are_parsed_once() -> Iterator[None]:
    """Keep the parsed manifests of the installed plugins, which napari reads for every viewer."""
    from npe2 import PluginManifest

    parsed = functools.cache(PluginManifest.from_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PluginManifest, "from_file", lambda path: parsed(path).model_copy())
        yield


@pytest.fixture
def mock_app_model(
    keep_garbage_small: Callable[[], None],
    cheap_callbacks: None,
    manifests_are_parsed_once: None,
    mock_app_model: Any,
) -> Iterator[Any]:
    """napari's commands for one test, without what they leave behind.

    The QApplication and npe2 keep 5,000 objects of every test that opens a viewer: the entries of
    its menus, and the functions that take the commands of plugins back. Every later collection of
    garbage would go through them.
    """
    yield mock_app_model
    from npe2 import PluginManager
    from qtpy.QtCore import Qt
    from qtpy.QtGui import QAction
    from qtpy.QtWidgets import QApplication

    plugins = PluginManager.instance()
    for name in [manifest.name for manifest in plugins.iter_manifests()]:
        plugins.deactivate(name)
    children = Qt.FindChildOption.FindDirectChildrenOnly
    for entry in QApplication.instance().findChildren(QAction, options=children):
        entry.setParent(None)
        entry.deleteLater()
    keep_garbage_small()  # the viewer of this test is closed, and was collected as everywhere else


@pytest.fixture(autouse=True)
def workers_end() -> Iterator[None]:
    """Wait for what outlives a window: it would read files and print warnings in the next test."""
    yield
    module = sys.modules.get("napari_pyramid._napari._worker_thread")
    if module is not None:
        from qtpy.QtWidgets import QApplication

        end = time.monotonic() + PATIENCE
        while module.is_busy():
            assert time.monotonic() < end, "a job or a question does not end"
            QApplication.processEvents()
            time.sleep(0.005)


@pytest.fixture
def watch_answers() -> Callable[[Slow], Answers]:
    return Answers


@pytest.fixture
def dock(viewer: Any, qtbot: Any) -> Iterator[Callable[[], Any]]:
    """Open the dock widget "Build pyramid" when it is called."""
    from build_dock import open_build_dock, show_build_widget
    from napari import Viewer
    from napari.utils.notifications import notification_manager

    if isinstance(viewer, Viewer):
        yield lambda: open_build_dock(viewer)
    else:
        yield lambda: show_build_widget(viewer, qtbot)
    notification_manager.records.clear()


@pytest.fixture
def nothing_is_measured(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Build no part to measure: it would be counted among the builds and reads of a test."""
    if "measures" not in request.keywords:
        patched = "napari_pyramid._napari._estimating.is_cheap_to_read"
        monkeypatch.setattr(patched, lambda plan: False)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)  # as many threads fill tiles on any machine
    return Slow()


@pytest.fixture(autouse=True)
def own_records(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the list of builds that were started out of the home of whoever runs the tests."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture
def settings(plugin_settings: Any, npe2pm: Any) -> Any:
    """napari's settings of this plugin, which Preferences > Image pyramids changes."""
    from napari.settings import get_plugin_settings
    from npe2 import PluginManifest

    npe2pm.register(PluginManifest.from_distribution("napari-pyramid"))
    return get_plugin_settings("napari-pyramid")


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Any]) -> Any:
    return make_napari_viewer(show=True)


@pytest.fixture
def viewer_of_widget(request: pytest.FixtureRequest) -> Any:
    """A viewer for tests of a widget that has a window of its own: napari's layers and dims.

    napari's whole window takes four times as long as the widget. A test marked `in_window` gets it,
    with the widget docked in it.
    """
    if "in_window" in request.keywords:
        return request.getfixturevalue("make_napari_viewer")(show=True)
    from napari.components import ViewerModel

    return ViewerModel()
