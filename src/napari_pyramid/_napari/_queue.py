"""Build one pyramid after the other; pause, resume, cancel and repeat each. Shows nothing."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from typing import Any, Literal

from napari_pyramid._napari._background import Outcome
from napari_pyramid._napari._candidates import Candidate
from napari_pyramid._napari._plan import Choice, Plan
from napari_pyramid._napari._remedies import Action
from napari_pyramid._napari._saving import Step, build_steps
from napari_pyramid._napari._unfinished import StartedBuild, forget, remember
from napari_pyramid._napari._worker_thread import Job
from napari_pyramid.build.dask_executor import as_executor
from napari_pyramid.build.progress import Steps
from napari_pyramid.pyramid import Pyramid

__all__ = ["Queue", "State", "Task"]

State = Literal["waiting", "running", "paused", "stopping", "stopped", "failed", "done"]


class Task:
    """A build in the queue, and how far it is.

    Parameters
    ----------
    layers
        Layers that the finished pyramid replaces; if empty, it is added as new layers.
    """

    def __init__(
        self,
        candidate: Candidate | None,
        choice: Choice,
        layers: tuple[Any, ...] = (),
        *,
        plan: Plan | None = None,
        started: StartedBuild | None = None,
    ) -> None:
        self.candidate, self.choice, self.layers = candidate, choice, layers
        self.plan = plan
        """The plan to run; None makes it when the task starts."""
        self.started = started
        """Entry of the build in the user's list, if a later session could resume it."""
        self.action: Action | None = None
        """Remedy to add to the choice when the task starts."""
        self.state: State = "waiting"
        self.step: Step | None = None
        self.error: Exception | None = None
        self.message = ""

    @property
    def title(self) -> str:
        """Name of the pyramid for users: the last part of its destination."""
        place = self.choice.destination
        if place is None and self.started is not None:
            place = self.started.destination
        if place is not None:
            return place.rstrip("/").replace("\\", "/").rpartition("/")[2]
        return self.candidate.image.name if self.candidate is not None else "pyramid"

    @property
    def place(self) -> str | None:
        """Group that will hold the levels, as far as it is known."""
        if self.plan is not None:
            return str(self.plan.build.destination)
        if self.started is not None:
            return self.started.destination
        return self.choice.destination

    @property
    def can_resume(self) -> bool:
        """Whether a stopped task goes on from where it stopped."""
        return self.choice.resume and (
            self.plan.build.can_resume if self.plan is not None else self.started is not None
        )

    def offered(self, fraction: float, error: Exception | None) -> None:
        """Mark the task as left by an earlier session, with a part of it done."""
        self.state, self.error = ("stopped" if error is None else "failed"), error
        self.step = Step(fraction)

    def steps(self) -> Generator[Step, None, Pyramid]:
        """Plan the build if it is not planned yet, and run it; called in a worker thread."""
        if self.candidate is None:
            assert self.started is not None
            self.candidate = self.started.candidate()
        if self.action is not None:
            self.choice, self.plan = self.action.applied(self.choice, self.candidate), None
            self.action = None
        executor = as_executor(self.choice.scheduler)
        plan = self.plan
        if plan is None or executor is not None:
            plan = Plan.of(self.candidate, self.choice, executor)
        if not self.choice.resume:
            # Removed here, once: a build that never resumes would keep nothing when it is stopped.
            plan.build.discard()
            self.choice = replace(self.choice, resume=True)
            plan = Plan.of(self.candidate, self.choice, executor)
        self.plan, self.started = plan, StartedBuild.of(plan)
        if self.started is not None:
            remember(self.started)
        with closing(Steps(build_steps(plan.build))) as steps:
            yield from steps
            pyramid = steps.result
        forget(str(plan.build.destination))
        return pyramid


class Queue:
    """Tasks in the order in which they are built, one at a time.

    Used in the GUI thread only; each build runs in a worker thread.

    Parameters
    ----------
    on_change
        Called with a task whose state or step has changed.
    on_built
        Called with a task and its pyramid once it is built; returns a sentence about it.
    """

    def __init__(
        self, on_change: Callable[[Task], None], on_built: Callable[[Task, Pyramid], str]
    ) -> None:
        self.tasks: list[Task] = []
        self.job: Job | None = None
        """Job of the task that is running or paused."""
        self._on_change, self._on_built = on_change, on_built
        self._open = True

    @property
    def current(self) -> Task | None:
        """The task that is running or paused."""
        active = ("running", "paused", "stopping")
        return next((task for task in self.tasks if task.state in active), None)

    def add(self, task: Task) -> None:
        """Add a task at the end, in place of one that stopped at the same destination."""
        for other in list(self.tasks):
            if other.state in ("stopped", "failed") and other.place == task.place:
                self.remove(other)
        self.tasks.append(task)
        self._on_change(task)
        self._start_next()

    def pause(self, task: Task) -> None:
        """Hold a task that runs; the blocks under way are finished."""
        if task.state == "running" and self.job is not None:
            self.job.pause()
            self._set(task, "paused")

    def resume(self, task: Task) -> None:
        """Let a paused task go on, or put a stopped one at the end of the queue."""
        if task.state == "paused" and self.job is not None:
            self.job.resume()
            self._set(task, "running")
        elif task.state in ("stopped", "failed"):
            task.choice = replace(task.choice, resume=True)
            self._again(task)

    def repeat(self, task: Task, action: Action) -> None:
        """Put a stopped task at the end of the queue, with a remedy."""
        if task.state in ("stopped", "failed"):
            task.action = action
            self._again(task)

    def cancel(self, task: Task) -> None:
        """Stop a task at its next step, or drop one that waits."""
        if task.state == "waiting":
            self.remove(task)
        elif task.state in ("running", "paused") and self.job is not None:
            self._set(task, "stopping")
            self.job.cancel()

    def remove(self, task: Task) -> None:
        """Take a task that is not running out of the list."""
        if task in self.tasks and task is not self.current:
            self.tasks.remove(task)
            self._on_change(task)

    def end(self) -> None:
        """Stop the task that runs, and start no other."""
        self._open = False
        if self.job is not None:
            self.job.cancel()

    def _again(self, task: Task) -> None:
        self.tasks.remove(task)
        self.tasks.append(task)
        task.plan, task.step, task.error = None, None, None
        self._set(task, "waiting")
        self._start_next()

    def _start_next(self) -> None:
        task = next((task for task in self.tasks if task.state == "waiting"), None)
        if task is None or self.job is not None or not self._open:
            return
        self.job = Job(
            task.steps(),
            f"Building {task.title}",
            lambda end: self._ended(task, end),
            lambda step: self._stepped(task, step),
            if_closed="closing stops it; a build from a file or URL can be resumed later",
        )
        self._set(task, "running")
        self.job.start()

    def _stepped(self, task: Task, step: Step) -> None:
        if self._open:
            task.step = step
            self._on_change(task)

    def _ended(self, task: Task, outcome: Outcome) -> None:
        self.job = None
        if not self._open:
            return
        task.error = outcome.error
        if outcome.error is not None:
            self._set(task, "failed")
        elif not outcome.complete:
            self._set(task, "stopped")
        else:
            try:
                task.message = self._on_built(task, outcome.result)
            finally:
                self._set(task, "done")
        self._start_next()

    def _set(self, task: Task, state: State) -> None:
        task.state = state
        self._on_change(task)
