"""Runs steps and questions in worker threads and reports to the GUI thread. Knows Qt and napari's activity dock, not pyramids."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from napari.qt.threading import GeneratorWorker, create_worker
from napari.utils import cancelable_progress
from napari.utils.notifications import notification_manager
from napari.viewer import current_viewer
from qtpy.QtCore import QEventLoop, QThread
from qtpy.QtWidgets import QApplication

from napari_pyramid._napari._saving import Step
from napari_pyramid.build.progress import Steps

__all__ = ["Job", "Outcome", "answer_in_background", "in_gui_thread", "run_in_background"]

_PARTS = 1000
"""Of the progress bar: it counts in whole numbers."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: with a result, with an error, or with neither because it was stopped."""

    result: Any = None
    error: Exception | None = None
    complete: bool = False


class Job:
    """One generator of steps, run to its end in a worker thread, with a bar and Cancel in the activity dock.

    Parameters
    ----------
    steps
        Is closed in the worker thread however the job ends, so that it cleans up after itself.
    title
        For the activity dock.
    on_step, on_end
        Called in the GUI thread; `on_end` just once, after `steps` is closed.
    """

    def __init__(
        self,
        steps: Generator[Step, None, Any],
        title: str,
        on_end: Callable[[Outcome], None],
        on_step: Callable[[Step], None] | None = None,
    ) -> None:
        self._steps, self._on_end, self._on_step = Steps(steps), on_end, on_step
        self._stop = threading.Event()
        self._outcome = Outcome()
        self._bar = _Bar(title, self.cancel)
        self._worker = create_worker(
            self._run, _worker_class=_ClosingWorker, _start_thread=False, _ignore_errors=True
        )
        self._worker.yielded.connect(self._report)
        self._worker.returned.connect(self._keep)
        self._worker.finished.connect(self._end)

    def start(self) -> None:
        self._worker.start()

    def cancel(self) -> None:
        """Stops at the next step; `on_end` follows."""
        self._stop.set()
        self._worker.quit()

    def _run(self) -> Generator[Step, None, Outcome]:
        with closing(self._steps):
            try:
                for step in self._steps:
                    yield step
                    if self._stop.is_set():
                        return Outcome()
            except Exception as error:
                # Whatever it is, the GUI thread shows it: superqt takes a RuntimeError for a
                # deleted Qt object, and drops it.
                return Outcome(error=error)
        return Outcome(result=self._steps.result, complete=True)

    def _report(self, step: Step) -> None:
        if self._stop.is_set():
            return
        if self._on_step is not None:
            self._on_step(step)
        self._bar.show(
            step
        )  # last: napari's bar handles events in it, the end of this very job among them

    def _keep(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def _end(self) -> None:
        self._bar.close()
        self._on_end(self._outcome)


class _ClosingWorker(GeneratorWorker):  # type: ignore[misc]  # superqt is untyped: a base of type Any
    """superqt leaves the generator of an aborted worker open: its ``finally`` would run at some garbage collection."""

    def work(self) -> Any:
        try:
            return super().work()
        finally:
            self._gen.close()


class _Bar:
    """A bar in the activity dock; it lives in the GUI thread."""

    def __init__(self, title: str, on_cancel: Callable[[], None]) -> None:
        class Cancelable(cancelable_progress):  # type: ignore[misc]  # so is this one of napari
            def cancel(self) -> None:
                # napari only notes the click: nobody reads it when the bar is updated by hand.
                super().cancel()
                on_cancel()

        self._bar = Cancelable(desc=title, total=_PARTS)
        self._open = True

    def show(self, step: Step) -> None:
        if self._open:
            self._bar.update(round(_PARTS * step.fraction) - self._bar.n)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._bar.close()


def in_gui_thread() -> bool:
    """Whether there is a viewer's window to keep alive, and this is the thread that does."""
    app = QApplication.instance()
    return (
        app is not None and app.thread() is QThread.currentThread() and current_viewer() is not None
    )


def run_in_background(steps: Generator[Step, None, Any], title: str) -> Outcome:
    """Runs `steps` in a thread and handles the window's events until they end."""
    loop = QEventLoop()
    outcomes: list[Outcome] = []

    def end(outcome: Outcome) -> None:
        outcomes.append(outcome)
        loop.quit()

    job = Job(steps, title, end)
    job.start()
    loop.exec()
    return outcomes[0] if outcomes else Outcome()


def answer_in_background(question: Callable[[], Any], on_answer: Callable[[Outcome], None]) -> None:
    """Calls `question` in a worker thread, and `on_answer` with its outcome in the GUI thread.

    What `question` warns of becomes notifications. It cannot be stopped: who does not want the answer any more ignores it.
    """

    def ask() -> Outcome:
        try:
            return Outcome(result=question(), complete=True)
        except Exception as error:  # as in `Job`
            return Outcome(error=error)

    worker = create_worker(ask, _start_thread=False)
    # napari 0.9 means to show the warnings of a worker, but does not.
    worker.warned.connect(lambda warning: notification_manager.receive_warning(*warning))
    worker.returned.connect(on_answer)
    worker.start()
