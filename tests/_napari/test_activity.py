"""Progress of jobs in napari's activity dock, as a person sees it there."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

from napari._qt.widgets.qt_progress_bar import QtLabeledProgressBar
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_pyramid._napari._background import Outcome
from napari_pyramid._napari._saving import Step
from napari_pyramid._napari._worker_thread import Job


def test_cancel_is_whole_beside_a_long_title_and_the_time_left(viewer: Any, qtbot: Any) -> None:
    go, outcomes = threading.Event(), list[Outcome]()

    def steps() -> Generator[Step, None, None]:
        yield Step(0.119, remaining=143.0)
        assert go.wait(60)
        yield Step(0.5)

    viewer.window._status_bar._toggle_activity_dock(True)
    job = Job(steps(), "Update a labels layer with a name that is rather long", outcomes.append)
    job.start()
    [row] = viewer.window._qt_window.findChildren(QtLabeledProgressBar)
    qtbot.waitUntil(lambda: row.eta_label.text() == "2 min 23 s left", timeout=60_000)
    cancel = row.cancel_button

    def is_whole() -> bool:
        return cancel.visibleRegion().boundingRect() == cancel.rect()

    qtbot.waitUntil(is_whole)
    QTest.mouseClick(cancel, Qt.MouseButton.LeftButton)
    go.set()
    qtbot.waitUntil(lambda: bool(outcomes), timeout=60_000)
    assert not outcomes[0].complete
