"""Show the tasks of the queue, each with its progress, its buttons and its outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_pyramid._napari._queue import Queue, Task
from napari_pyramid._napari._remedies import Action, actions_for, worded
from napari_pyramid.plan.level import format_bytes
from napari_pyramid.storage.address import is_remote
from napari_pyramid.words import duration

__all__ = ["QueueView", "TaskRow"]

_PARTS = 1000


class QueueView(QWidget):
    """The rows of a queue, newest last.

    Parameters
    ----------
    on_action
        Called with a task and the remedy of a pressed button that does not just start it again.
    on_discard
        Called with a task whose unfinished work is to be removed.
    """

    def __init__(
        self,
        queue: Queue,
        on_action: Callable[[Task, Action], None],
        on_discard: Callable[[Task], None],
    ) -> None:
        super().__init__()
        self._queue, self._on_action, self._on_discard = queue, on_action, on_discard
        self._rows: dict[int, TaskRow] = {}
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(8)
        self.hide()

    @property
    def rows(self) -> list[TaskRow]:
        """The rows, in the order of the queue's tasks."""
        return [self._rows[id(task)] for task in self._queue.tasks if id(task) in self._rows]

    def row_of(self, task: Task) -> TaskRow:
        """Return the row of a task in the queue."""
        return self._rows[id(task)]

    def update_task(self, task: Task) -> None:
        """Show the present state of a task, in a new row or its own; or remove its row."""
        row = self._rows.get(id(task))
        if task not in self._queue.tasks:
            if row is not None:
                del self._rows[id(task)]
                self._column.removeWidget(row)
                row.hide()
                row.deleteLater()
        elif row is None:
            row = TaskRow(task, self._press)
            self._rows[id(task)] = row
            self._column.addWidget(row)
        else:
            was_done = row.progress.isHidden()
            row.refresh()
            if task.state == "done" and not was_done:  # below the ones that are still to be built
                self._column.removeWidget(row)
                self._column.addWidget(row)
        self.setVisible(bool(self._rows))

    def _press(self, task: Task, what: str | Action) -> None:
        if isinstance(what, Action):
            self._on_action(task, what)
        elif what == "discard":
            self._on_discard(task)
        else:
            {
                "pause": self._queue.pause,
                "resume": self._queue.resume,
                "cancel": self._queue.cancel,
                "remove": self._queue.remove,
            }[what](task)


class TaskRow(QWidget):
    """One task: its name, a bar, a sentence, and the buttons that its state allows."""

    def __init__(self, task: Task, on_press: Callable[[Task, str | Action], None]) -> None:
        super().__init__()
        self.task, self._on_press = task, on_press
        self._shown: object = None
        self.title = QLabel()
        self.title.setTextFormat(Qt.TextFormat.PlainText)
        font = self.title.font()
        font.setBold(True)
        self.title.setFont(font)
        self.title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.progress = QProgressBar()
        self.progress.setMaximum(_PARTS)
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(6)
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setTextFormat(Qt.TextFormat.PlainText)
        self.buttons: dict[str, QPushButton] = {}
        self._head, self._foot = QHBoxLayout(), QHBoxLayout()
        self._head.addWidget(self.title, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 4, 0, 0)
        column.setSpacing(3)
        column.addLayout(self._head)
        column.addWidget(self.progress)
        column.addWidget(self.text)
        column.addLayout(self._foot)
        self.refresh()

    def refresh(self) -> None:
        """Show the present state of the task."""
        task = self.task
        self.title.setText(task.title)
        self.title.setToolTip(task.place or task.title)
        at = 0.0 if task.step is None else task.step.fraction
        self.progress.setValue(_PARTS if task.state == "done" else round(_PARTS * at))
        self.progress.setVisible(task.state not in ("done", "failed"))
        self.text.setText(sentence(task))
        buttons = buttons_for(task)
        if buttons != self._shown:
            self._shown = buttons
            self._show_buttons(buttons)

    def _show_buttons(self, buttons: Sequence[tuple[str, str, str | Action]]) -> None:
        for button in self.buttons.values():
            button.hide()
            button.deleteLater()
        self.buttons = {}
        in_head = self.task.state in ("waiting", "running", "paused", "stopping", "done")
        for label, tip, what in buttons:
            button = QPushButton(label)
            button.setToolTip(tip)
            button.clicked.connect(lambda *_, what=what: self._on_press(self.task, what))
            button.setEnabled(self.task.state != "stopping")
            (self._head if in_head else self._foot).addWidget(button)
            self.buttons[label] = button


def buttons_for(task: Task) -> list[tuple[str, str, str | Action]]:
    """Return label, tooltip and effect of each button that a task has in its state."""
    cancel = ("Cancel", "Stop this build", "cancel")
    match task.state:
        case "running" | "stopping":
            return [("Pause", "Hold this build; nothing that is done is lost", "pause"), cancel]
        case "paused":
            return [("Resume", "Go on from where it is", "resume"), cancel]
        case "waiting":
            return [cancel]
        case "done":
            return [("Clear", "Remove this line", "remove")]
    clear = ("Clear", "Remove this line", "remove")
    resume = ("Resume", "Goes on from where it stopped", "resume")
    discard = ("Discard", "Removes the unfinished work", "discard")
    again = ("Build again", "Starts from the beginning", "resume")
    if task.state == "failed":
        actions = [(a.label, a.tooltip, a) for a in actions_for(task.error)]
        left_out = {"finishes"}  # the task has tried that already
        if task.place is not None and is_remote(task.place):
            left_out.add("opens")  # there is no folder to open
        actions = [found for found in actions if found[2].effect not in left_out]
        retry = ("Try again", "Continues the build; correct the problem first", "resume")
        end = clear if task.started is None else discard
        return [*actions, *([] if actions else [retry]), end]
    return [resume, discard] if task.can_resume else [again, clear]


def sentence(task: Task) -> str:
    """Return the progress or the outcome of a task in words."""
    at = 0.0 if task.step is None else task.step.fraction
    match task.state:
        case "waiting":
            return "Waiting"
        case "running":
            return running(task)
        case "paused":
            return f"Paused at {at:.0%}"
        case "stopping":
            return "Stopping…"
        case "done":
            return task.message
        case "failed":
            return "" if task.error is None else worded(task.error)
    if not task.can_resume:
        return "Cancelled."
    if task.step is not None and task.step.elapsed == 0.0:
        return f"Unfinished, {at:.0%} done. Resume goes on from here."
    return f"Cancelled at {at:.0%}. Resume goes on from here."


def running(task: Task) -> str:
    """Return progress, throughput and time left of a task that runs."""
    step = task.step
    if step is None:
        return "Preparing…"
    parts = [f"{step.fraction:.0%}"]
    if step.elapsed > 0 and step.bytes_written:
        parts.append(f"{format_bytes(step.bytes_written / step.elapsed)}/s")
    if step.remaining is not None:
        parts.append(f"{duration(step.remaining)} left")
    return "  ·  ".join(parts)
