"""Run steps and functions in worker threads, and report to the GUI thread."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

from napari.qt.threading import GeneratorWorker, create_worker
from napari.utils import cancelable_progress, progress
from napari.utils.notifications import notification_manager
from napari.viewer import current_viewer
from qtpy.QtCore import QEventLoop, QThread, QThreadPool
from qtpy.QtWidgets import QApplication

from napari_pyramid._napari._background import Outcome
from napari_pyramid._napari._saving import Step
from napari_pyramid.build.progress import Steps

__all__ = ["Job", "answer_in_background", "in_gui_thread", "run_in_background"]

_PARTS = 1000
"""Steps of the progress bar, which counts in integers."""
_PACE = 0.2
"""Shortest time between two reports in seconds: napari handles all events for each of them."""
_HELD = 0.1
"""Seconds after which a held job looks whether napari is closing."""


class Job:
    """A generator of steps that runs in a worker thread, with a progress bar in the activity dock.

    The bar has a Cancel button.

    Parameters
    ----------
    steps
        The generator; it is always closed in the worker thread, so that it can clean up.
    title
        Title of the progress bar.
    on_step, on_end
        Called in the GUI thread; `on_end` once, after `steps` is closed.
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
        self._go_on = threading.Event()
        self._go_on.set()
        self._paused_for = 0.0
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

    def pause(self) -> None:
        """Hold the job at its next step; what is under way is finished."""
        self._go_on.clear()

    def resume(self) -> None:
        """Let a job that is held go on."""
        self._go_on.set()

    def cancel(self) -> None:
        """Stop the job at its next step; `on_end` is called then."""
        self._stop.set()
        self._go_on.set()
        self._worker.quit()

    def _run(self) -> Generator[Step, None, Outcome]:
        with closing(self._steps), _thread_to_spare():
            try:
                reported = -math.inf
                for step in self._steps:
                    if time.monotonic() - reported >= _PACE or step.fraction == 1:
                        reported = time.monotonic()
                        yield self._without_pauses(step)
                    if self._is_stopped_while_held():
                        return Outcome()
            except Exception as error:
                # Every exception is passed to the GUI thread here, because superqt drops a
                # RuntimeError: it takes it for a deleted Qt object.
                return Outcome(error=error)
        return Outcome(result=self._steps.result, complete=True)

    def _is_stopped_while_held(self) -> bool:
        """Wait while the job is held; return whether it must end."""
        began = time.monotonic()
        while not self._go_on.wait(_HELD) and not self._worker.abort_requested:
            pass
        self._paused_for += time.monotonic() - began
        return self._stop.is_set() or bool(self._worker.abort_requested)

    def _without_pauses(self, step: Step) -> Step:
        """Return the step with its times as if the job had never been held."""
        active = max(0.0, step.elapsed - self._paused_for)
        if step.remaining is None or step.elapsed <= 0:
            return replace(step, elapsed=active)
        return replace(step, elapsed=active, remaining=step.remaining * active / step.elapsed)

    def _report(self, step: Step) -> None:
        if self._stop.is_set():
            return
        if self._on_step is not None:
            self._on_step(step)
        self._bar.show(step)  # last: napari's bar handles events here, perhaps the end of this job

    def _keep(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def _end(self) -> None:
        self._bar.close()
        self._on_end(self._outcome)


@contextmanager
def _thread_to_spare() -> Iterator[None]:
    """Let Qt's pool start a further thread, since this one mostly waits for other threads.

    On a machine of one or two processors a long build would keep short questions waiting.
    """
    pool = QThreadPool.globalInstance()
    if pool is not None:
        pool.releaseThread()
    try:
        yield
    finally:
        if pool is not None:
            pool.reserveThread()


class _ClosingWorker(GeneratorWorker):  # type: ignore[misc]  # superqt is untyped: a base of type Any
    """A worker that closes its generator when it is aborted.

    superqt leaves it open, so its ``finally`` would run at some garbage collection.
    """

    def work(self) -> Any:
        try:
            return super().work()
        finally:
            self._gen.close()


class _Bar:
    """A progress bar in the activity dock, used in the GUI thread only."""

    def __init__(self, title: str, on_cancel: Callable[[], None]) -> None:
        class Cancelable(cancelable_progress):  # type: ignore[misc]  # so is this one of napari
            def cancel(self) -> None:
                # napari only sets a flag, which a bar that is updated by hand never reads.
                super().cancel()
                on_cancel()

        self._bar = Cancelable(desc=title, total=_PARTS)
        self._open = True

    def show(self, step: Step) -> None:
        grown = round(_PARTS * step.fraction) - self._bar.n
        if self._open and grown:
            self._bar.update(grown)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._bar.close()


def in_gui_thread() -> bool:
    """Return whether a window is open and this is the thread that runs it."""
    app = QApplication.instance()
    return (
        app is not None and app.thread() is QThread.currentThread() and current_viewer() is not None
    )


def run_in_background(steps: Generator[Step, None, Any], title: str) -> Outcome:
    """Run `steps` in a worker thread, and handle the window's events until they end."""
    loop = QEventLoop()
    outcomes: list[Outcome] = []

    def end(outcome: Outcome) -> None:
        outcomes.append(outcome)
        loop.quit()

    job = Job(steps, title, end)
    job.start()
    loop.exec()
    return outcomes[0] if outcomes else Outcome()


def answer_in_background(
    question: Callable[[], Any], on_answer: Callable[[Outcome], None], *, title: str = ""
) -> None:
    """Call `question` in a worker thread, then `on_answer` with its outcome in the GUI thread.

    Warnings of `question` become notifications. `question` cannot be cancelled; a caller that does
    not need the answer any more ignores it.

    Parameters
    ----------
    title
        Title of a bar in the activity dock until the answer, for questions that ask a server.
    """
    bar = progress(total=0, desc=title) if title else None

    def ask() -> Outcome:
        try:
            return Outcome(result=question(), complete=True)
        except Exception as error:  # as in `Job`
            return Outcome(error=error)

    worker = create_worker(ask, _start_thread=False)
    # napari 0.9 does not show the warnings of a worker, though it has code for it.
    worker.warned.connect(lambda warning: notification_manager.receive_warning(*warning))
    if bar is not None:
        worker.finished.connect(bar.close)
    worker.returned.connect(on_answer)
    worker.start()
