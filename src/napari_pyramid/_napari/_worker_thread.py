"""Run steps and functions in threads of the application, and report to the GUI thread."""

from __future__ import annotations

import atexit
import math
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from napari.utils import cancelable_progress, progress
from napari.utils.notifications import show_warning
from napari.viewer import current_viewer
from qtpy.QtCore import QEventLoop, QThread
from qtpy.QtWidgets import QApplication

from napari_pyramid._napari._background import Background, Outcome
from napari_pyramid._napari._private import announce_task
from napari_pyramid._napari._saving import Step
from napari_pyramid.build.progress import Steps
from napari_pyramid.errors import LayoutWarning
from napari_pyramid.words import duration, shortened

__all__ = ["Job", "answer_in_background", "in_gui_thread", "is_busy", "run_in_background"]

_PARTS = 1000
"""Steps of the progress bar, which counts in integers."""
_LONGEST_TITLE = 36
"""Most letters of a title: with more, the Cancel button is pushed out of the activity dock."""
_PACE = 0.2
"""Shortest time between two reports in seconds: napari handles all events for each of them."""
_LAST_STEP = 30.0
"""Longest time in seconds that a program which ends waits for the last step of a job."""
_THREADS = 32
"""Most jobs and questions at a time; a question to a server that does not answer keeps one busy."""


class Job:
    """A generator of steps that runs in a thread, with a progress bar in the activity dock.

    The bar has a Cancel button. A user who closes the window while a job runs is asked first, and a
    program that ends waits until its jobs have stopped at their next step.

    Parameters
    ----------
    steps
        The generator; it is always closed in its thread, so that it can clean up.
    title
        Title of the progress bar.
    on_step, on_end
        Called in the GUI thread; `on_end` once, after `steps` is closed.
    if_closed
        What closing the window does to the job, for the question at closing.
    """

    def __init__(
        self,
        steps: Generator[Step, None, Any],
        title: str,
        on_end: Callable[[Outcome], None],
        on_step: Callable[[Step], None] | None = None,
        *,
        if_closed: str = "closing stops it",
    ) -> None:
        self._steps, self._on_end, self._on_step = Steps(steps), on_end, on_step
        self._stop, self._go_on, self._closed = (threading.Event() for _ in range(3))
        self._go_on.set()
        self._paused_for = 0.0
        self._bar = _Bar(title, self.cancel)
        self._announced = f"{title}: {if_closed}"
        self._withdraw: Callable[[], None] = lambda: None

    @property
    def is_running(self) -> bool:
        """Whether the job was started, and `steps` is not closed yet."""
        return self in _running and not self._closed.is_set()

    def start(self) -> None:
        _running.add(self)
        self._withdraw = announce_task(self._announced, self.cancel)
        _threads().stream(self._run(), self._report, self._end)

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

    def wait(self, seconds: float) -> None:
        """Wait until `steps` is closed."""
        self._closed.wait(seconds)

    def _run(self) -> Generator[Step, None, Outcome]:
        try:
            with closing(self._steps):
                reported = -math.inf
                for step in self._steps:
                    if time.monotonic() - reported >= _PACE or step.fraction == 1:
                        reported = time.monotonic()
                        yield self._without_pauses(step)
                    if self._is_stopped_while_held():
                        return Outcome()
                return Outcome(result=self._steps.result, complete=True)
        finally:
            self._closed.set()

    def _is_stopped_while_held(self) -> bool:
        """Wait while the job is held; return whether it must end."""
        began = time.monotonic()
        self._go_on.wait()
        self._paused_for += time.monotonic() - began
        return self._stop.is_set()

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

    def _end(self, outcome: Outcome) -> None:
        # `outcome` is of the thread: its result is the outcome of `_run`, unless that has failed.
        _running.discard(self)
        self._withdraw()
        self._bar.close()
        self._on_end(outcome if outcome.result is None else outcome.result)


_running: set[Job] = set()


@atexit.register
def _stop_jobs() -> None:
    """Let jobs clean up before the program ends; their threads would just be gone."""
    jobs = list(_running)
    for job in jobs:
        job.cancel()
    for job in jobs:
        job.wait(_LAST_STEP)


def _threads() -> Background:
    """Return the threads of this application for jobs and questions.

    They are not Qt's or superqt's: those emit Qt signals, and a program that ended meanwhile was
    aborted, because the objects that emit them had been deleted.
    """
    global _shared
    app = QApplication.instance()
    assert app is not None  # a job has a window, or a widget
    if _shared is None or _shared[0] is not app:
        threads = Background(
            app, threads=_THREADS, on_warnings=_notify, name="pyramid worker", nested=True
        )
        _shared = app, threads
    return _shared[1]


_shared: tuple[Any, Background] | None = None


def _notify(warnings: Sequence[LayoutWarning]) -> None:
    for warning in warnings:
        show_warning(str(warning))


class _Bar:
    """A progress bar in the activity dock, used in the GUI thread only."""

    def __init__(self, title: str, on_cancel: Callable[[], None]) -> None:
        class Cancelable(cancelable_progress):  # type: ignore[misc]  # so is this one of napari
            def cancel(self) -> None:
                # napari only sets a flag, which a bar that is updated by hand never reads.
                super().cancel()
                on_cancel()

            def display(self, *args: Any, **kwargs: Any) -> None:
                # napari's counts and rates beside the bar push Cancel out of the dock.
                if not self.gui:
                    super().display(*args, **kwargs)

        self._bar = Cancelable(desc=shortened(title, _LONGEST_TITLE), total=_PARTS)
        self._open = True

    def show(self, step: Step) -> None:
        grown = round(_PARTS * step.fraction) - self._bar.n
        if self._open and grown:
            left = "" if step.remaining is None else f"{duration(step.remaining)} left"
            self._bar.events.eta(value=left)
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

    def answered(outcome: Outcome) -> None:
        if bar is not None:
            bar.close()
        on_answer(outcome)

    _threads().run(question, answered)


def is_busy() -> bool:
    """Return whether a job or a question is running, or its end is still to be delivered."""
    return _shared is not None and _shared[1].is_busy
