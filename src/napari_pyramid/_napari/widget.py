"""Show the dock widget "Build pyramid": choose, see what will be built, build, watch the queue.

The widget only joins its parts: `_form` is what can be chosen, `_chooser` plans it, `_queue`
builds it, and `_outcome` shows the pyramid in the viewer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QUrl, Signal  # type: ignore[attr-defined]  # qtpy's own name for pyqtSignal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QPushButton, QWidget

from napari_pyramid._napari._background import Outcome
from napari_pyramid._napari._build_panel import Panel
from napari_pyramid._napari._candidates import Candidate
from napari_pyramid._napari._chooser import Chooser
from napari_pyramid._napari._estimating import Estimating
from napari_pyramid._napari._form import BuildForm
from napari_pyramid._napari._outcome import show_built
from napari_pyramid._napari._plan import Choice
from napari_pyramid._napari._planning import Planned
from napari_pyramid._napari._preferences import build_defaults, follow_build_defaults
from napari_pyramid._napari._queue import Queue, State, Task
from napari_pyramid._napari._queue_view import QueueView
from napari_pyramid._napari._remedies import Action, actions_for, worded
from napari_pyramid._napari._selecting import chosen_layers
from napari_pyramid._napari._style import styled_by
from napari_pyramid._napari._unfinished import Found, discard, unfinished_builds
from napari_pyramid._napari._worker_thread import answer_in_background
from napari_pyramid.errors import DestinationError
from napari_pyramid.layer_image import lost_transforms
from napari_pyramid.pyramid import Pyramid
from napari_pyramid.storage.address import is_remote

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

__all__ = ["BuildPyramid"]

_ACTIVE: tuple[State, ...] = ("waiting", "running", "paused", "stopping")
_STOPPED: tuple[State, ...] = ("stopped", "failed")
_BUILT_NOW = "This is being built."


class BuildPyramid(QWidget):
    """Dock widget that builds the pyramids of layers and files.

    A layer is replaced by the multiscale layer when its build is done. The controls of the form
    are attributes: ``widget.method.value = "median"``.
    """

    planned = Signal()
    """Emitted when the widget shows a plan, or why nothing can be planned."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self.form = BuildForm(napari_viewer)
        self.queue = Queue(self._task_changed, self._built)
        self.queue_view = QueueView(self.queue, self._act_on_task, self._discard)
        self.chooser = Chooser(self.form, self, self._show)
        self._panel = Panel(self, self.form, self.queue_view, self._act, self._measure)
        self.table, self.totals = self._panel.table, self._panel.totals
        self.message, self.build = self._panel.message, self._panel.build
        self._estimates = Estimating(self, self.totals.show_totals)
        self._life = _Life(self.queue, self.chooser, self._estimates)
        self._life.unfollow = follow_build_defaults(
            lambda: self.form.follow_defaults(build_defaults())
        )
        # Not a method of the widget: Qt would disconnect it when the widget is deleted.
        self.destroyed.connect(self._life.end)
        self.build.clicked.connect(self.start)
        styled_by(self, napari_viewer)
        self.chooser.check_source()
        self._look_for_unfinished()

    def __getattr__(self, name: str) -> Any:
        """Return a control of the form."""
        form = self.__dict__.get("form")
        if form is None or (form.get_widget(name) is None and name not in vars(form)):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(form, name)

    @property
    def is_settled(self) -> bool:
        """Whether the widget shows the plan of what is chosen, and nothing is being opened."""
        return self.chooser.is_settled

    @property
    def remedies(self) -> list[QPushButton]:
        """The buttons of the remedies for the present choice."""
        return self._panel.remedies

    def reset_choices(self, event: object = None) -> None:
        """Update the lists of the viewer's layers; napari calls this when they change."""
        if self._life.alive:
            self.form.reset_choices()
            self.chooser.check_source()

    def choose(self, layer: Layer) -> None:
        """Choose a layer of the viewer as the image to build."""
        self.reset_choices()
        if layer in self.form.layer.choices:
            self.form.source.value = "layer"
            self.form.layer.value = layer

    # ---- what is planned -----------------------------------------------------------------------

    def _show(self, planned: Planned, message: str) -> None:
        """Show plans, or what is wrong beside the control that it is about."""
        if isinstance(planned.error, DestinationError) and self._task_there(*_ACTIVE):
            planned, message = Planned(), _BUILT_NOW
        plans = planned.plans
        self.form.say({k: v for k, v in planned.problems.items() if k})
        self._panel.offer([a for a in actions_for(planned.error) if self._is_possible(a)])
        if len(plans) > 1:
            self.table.show_rows([plan.row() for plan in plans], "image")
        else:
            self.table.show_rows([row for plan in plans for row in plan.rows()])
        self.table.setVisible(bool(plans))
        if self.chooser.selected is None:
            self._estimates.clear()
        self._estimates.show(plans, busy=self.queue.current is not None)
        if "" in planned.problems:
            self._panel.say(planned.problems[""], "problem")
        else:
            self._panel.say(self._remarks(planned) if plans else message, "hint")
        self._enable()
        self.planned.emit()

    def _remarks(self, planned: Planned) -> str:
        if not self._new_places(planned):
            return _BUILT_NOW
        selected = self.chooser.selected
        notes = "" if selected is None else " ".join(f"{note}." for note in selected.remarks)
        if len(planned.plans) == 1:
            return f"{planned.plans[0].remarks()} {notes}".strip()
        return f"{len(planned.plans)} images to build, one after the other. {notes}".strip()

    def _is_possible(self, action: Action) -> bool:
        if action.effect == "opens":
            return not is_remote(self.form.destination.text)
        return action.effect != "finishes" or self._task_there(*_STOPPED) is not None

    def _task_there(self, *states: State) -> Task | None:
        """Return the task in one of some states that stores its levels where the form says."""
        choice, _ = self.form.choice()
        place = choice.destination
        for task in self.queue.tasks:
            is_there = task.choice.destination == place
            is_there = is_there and (place is not None or self._is_chosen(task.candidate))
            if is_there and task.state in states:
                return task
        return None

    def _is_chosen(self, candidate: Candidate | None) -> bool:
        chosen = () if self.chooser.selected is None else self.chooser.selected.candidates
        return candidate is not None and any(
            (c.path, c.title) == (candidate.path, candidate.title) for c in chosen
        )

    def _enable(self) -> None:
        """Enable the button for plans that are not in the queue already."""
        self.build.setEnabled(bool(self._new_places(self.chooser.planned)))
        self.build.setText("Add to queue" if self.queue.current is not None else "Build")

    def _new_places(self, planned: Planned) -> set[str]:
        """Return the places to build in, without those in the queue already."""
        active = {task.place for task in self.queue.tasks if task.state in _ACTIVE}
        return {str(plan.build.destination) for plan in planned.plans} - active

    def _measure(self) -> None:
        self._estimates.measure()

    # ---- building ------------------------------------------------------------------------------

    def start(self) -> None:
        """Put the present choice into the queue, with the plan that is shown if it still fits."""
        if self.chooser.planned.plans:
            self._prepare(None)

    def _act(self, action: Action) -> None:
        """Apply a remedy to the present choice."""
        if action.effect == "opens":
            _open_folder(self.form.destination.text)
        elif action.effect == "finishes":
            started = self._task_there(*_STOPPED)
            if started is not None:
                self.queue.resume(started)
        else:
            self._prepare(action)

    def _prepare(self, action: Action | None) -> None:
        layers = chosen_layers(self.form)

        def prepared(choice: Choice, planned: Planned) -> None:
            if action is not None and action.effect == "fills in":
                self.form.fill_in(choice)
            else:
                self._add(planned, layers)

        if self.chooser.prepare(action, prepared):
            self._estimates.end()
            self.build.setEnabled(False)

    def _add(self, planned: Planned, layers: tuple[Any, ...]) -> None:
        for layer in layers if planned.plans else ():
            if lost := lost_transforms(layer.as_layer_data_tuple()[1]):
                show_warning(
                    f"{layer.name}: {' and '.join(lost)} cannot be stored in OME-Zarr; "
                    "only the layer keeps it"
                )
        if planned.plans:
            self.chooser.tried.clear()  # another build of this needs them to be chosen again
        for plan in planned.plans:
            self.queue.add(Task(plan.candidate, plan.choice, layers, plan=plan))

    def _act_on_task(self, task: Task, action: Action) -> None:
        if action.effect == "opens":
            _open_folder(task.place or "")
        else:
            self.queue.repeat(task, action)

    def _task_changed(self, task: Task) -> None:
        if not self._life.alive:
            return
        self.queue_view.update_task(task)
        if task.state == "running" and task.step is not None:
            return  # just a step further
        self._enable()
        if task in self.queue.tasks and task.state in ("running", "done", *_STOPPED):
            self._panel.scroll_to(self.queue_view.row_of(task))
        if task.state == "failed" and task.error is not None:
            show_error(worded(task.error))
        if task.state not in _ACTIVE:
            self.chooser.plan()  # there may be unfinished work to go on with, or a store by now
        elif self.chooser.planned.error is not None:
            self._show(self.chooser.planned, "")  # its remedies are not possible any more

    def _built(self, task: Task, pyramid: Pyramid) -> str:
        """Show the pyramid of a task, and return a sentence about it."""
        assert task.plan is not None
        was_chosen = bool(task.layers) and chosen_layers(self.form) == task.layers
        new, sentence = show_built(self._viewer, task.plan, task.layers, pyramid)
        if was_chosen and len(new) == 1:
            self.form.layer.value = new[0]
        elif not task.layers:
            self.chooser.reopen_source()  # the source may have new levels, or need another name
        return sentence

    # ---- unfinished builds -----------------------------------------------------------------------

    def _look_for_unfinished(self) -> None:
        """Offer the builds that an earlier session did not finish; buckets may answer later."""

        def found(outcome: Outcome) -> None:
            if self._life.alive and outcome.complete:
                for build in outcome.result:
                    self._offer_unfinished(build)

        for remote in (False, True):
            answer_in_background(partial(unfinished_builds, remote=remote), found)

    def _offer_unfinished(self, found: Found) -> None:
        if any(task.place == found.started.destination for task in self.queue.tasks):
            return
        task = Task(found.candidate, found.started.chosen, started=found.started)
        task.offered(found.fraction, found.error)
        self.queue.tasks.append(task)
        self.queue_view.update_task(task)

    def _discard(self, task: Task) -> None:
        """Remove the unfinished work of a task, in a thread: there may be many files."""
        started, plan = task.started, task.plan
        if started is None and plan is None:
            self.queue.remove(task)
            return

        def remove() -> None:
            if started is not None:
                discard(started)
            elif plan is not None:
                plan.build.discard()

        def discarded(outcome: Outcome) -> None:
            if not self._life.alive:
                return
            if outcome.error is not None:
                show_error(worded(outcome.error))
            else:
                self.queue.remove(task)
                self.chooser.plan()

        answer_in_background(remove, discarded)


class _Life:
    """State that outlives the widget: whether the widget exists, and what it has started."""

    def __init__(self, queue: Queue, chooser: Chooser, estimates: Estimating) -> None:
        self.alive = True
        self._parts = queue, chooser, estimates
        self.unfollow: Callable[[], None] = lambda: None
        """Function that ends the following of preferences."""

    def end(self) -> None:
        """Stop the build that runs, and drop the answers that are still to come."""
        self.alive = False
        self.unfollow()
        for part in self._parts:
            part.end()


def _open_folder(place: str) -> None:
    """Show a folder, or the folder that will hold it, in the system's file manager."""
    path = Path(place)
    while not path.exists() and path != path.parent:
        path = path.parent
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(path)))
