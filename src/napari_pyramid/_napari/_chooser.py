"""Follow the form: open what it names, offer what is possible, and plan what is chosen.

All that touches files, servers or large tables runs in worker threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from napari_pyramid._napari._background import Outcome
from napari_pyramid._napari._candidates import Candidate
from napari_pyramid._napari._form import BuildForm
from napari_pyramid._napari._plan import Choice
from napari_pyramid._napari._planning import LatestQuestion, Planned, Selected, plans_for, selected
from napari_pyramid._napari._preferences import options_for
from napari_pyramid._napari._remedies import Action, worded
from napari_pyramid._napari._selecting import chosen_layers, finder, source_key, title_of
from napari_pyramid.errors import PyramidError
from napari_pyramid.image import Image
from napari_pyramid.layouts import open_images
from napari_pyramid.storage.host_names import refuse_unknown_host

__all__ = ["Chooser", "Prepared"]

PAUSE = 150
"""Milliseconds without a change of the form, after which it is planned."""
PAUSE_IN_PATH = 700
"""The same after a change of a path, which is still being typed."""
_NOTHING = {
    "layer": "Open an image, or build from a file.",
    "channels": "Choose two or more layers.",
    "path": "Choose a file or folder, or write a URL.",
    "folder": "Choose a folder of images.",
}

Prepared = Callable[[Choice, Planned], None]


class Chooser:
    """Plans for the choice in the form, always the newest one.

    Parameters
    ----------
    parent
        Widget with which the timers end.
    on_plans
        Called with plans, or the reason for having no plans, and a sentence to show in their place.
    """

    def __init__(
        self, form: BuildForm, parent: QWidget, on_plans: Callable[[Planned, str], None]
    ) -> None:
        self.form, self._on_plans = form, on_plans
        self.selected: Selected | None = None
        """What is to be built; None while it is not known."""
        self.planned = Planned()
        self.tried: list[Action] = []
        """Remedies that were chosen for the present choice; another may be needed beside them."""
        self._images: tuple[Image, ...] = ()
        self._key: tuple[Any, ...] | None = None
        self._sources, self._plans = (
            LatestQuestion(one_at_a_time=False),
            LatestQuestion(one_at_a_time=True),
        )
        # Not in `_plans`: a newer plan for the table would replace it, and Build would do nothing.
        self._starts = LatestQuestion(one_at_a_time=True)
        self._pause = _timer(parent, PAUSE, self.plan)
        self._pause_in_path = _timer(parent, PAUSE_IN_PATH, self.check_source)
        form.changed.connect(self._form_changed)
        for field in (form.source, form.layer, form.layers):
            field.changed.connect(self.check_source)
        form.image.changed.connect(self._select)
        for place in (form.path, form.folder):
            place.changed.connect(lambda: self._pause_in_path.start())
            place.line_edit.native.editingFinished.connect(self.check_source)

    @property
    def is_settled(self) -> bool:
        """Whether the plans are for the present choice, and nothing is being opened."""
        pauses = self._pause.isActive() or self._pause_in_path.isActive()
        asked = (self._sources, self._plans, self._starts)
        return not (pauses or any(questions.is_waiting for questions in asked))

    def end(self) -> None:
        """Drop the answers that are still to come."""
        for questions in (self._sources, self._plans, self._starts):
            questions.forget()

    # ---- what is to be built -------------------------------------------------------------------

    def check_source(self, *_: object) -> None:
        """Find the images of the form again, if another source was chosen."""
        self._pause_in_path.stop()
        key = source_key(self.form)
        if key != self._key:
            self._key = key
            self.reopen_source()

    def reopen_source(self) -> None:
        """Open the source again: it may be another image, or have more levels by now."""
        self._images = ()
        self.tried = []
        self.form.list_images(())
        if self.form.source.value == "path" and self.form.path.text:
            path = self.form.path.text
            self.selected = None
            self._show(Planned(), f"Opening {path}…")
            self._sources.ask(lambda: _images_at(path), self._opened)
        else:
            self._select()

    def _opened(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            self._refuse(outcome.error)
            return
        self._images = outcome.result
        self.form.list_images([title_of(image) for image in self._images])
        self._select()

    def _select(self, *_: object) -> None:
        """Find what the form names, and offer what is possible for it."""
        kind = self.form.source.value
        self.selected = None
        self._plans.forget()
        find = finder(self.form, self._images)
        if find is None:
            self._sources.forget()
            self.form.withdraw_offer()
            self._show(Planned(), _NOTHING[kind])
            return
        self._show(Planned(), "Looking into the folder…" if kind == "folder" else "Planning…")
        self.form.await_offer()
        self._sources.ask(lambda: selected(find), self._offer)

    def _offer(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            self._refuse(outcome.error)
            return
        self.selected = outcome.result
        self.form.offer(outcome.result.offer)
        self.plan()

    def _refuse(self, error: Exception) -> None:
        """Show beside the source why it cannot be built."""
        name = {"channels": "layers"}.get(self.form.source.value, self.form.source.value)
        known = error if isinstance(error, PyramidError) else None
        if self.selected is None:
            self.form.withdraw_offer()
        self._show(Planned((), {name: worded(error)}, known))

    # ---- the plan ------------------------------------------------------------------------------

    def _form_changed(self, *_: object) -> None:
        self.tried = []
        self._pause.start()

    def plan(self) -> None:
        """Plan what is chosen, in a thread since destinations may be slow."""
        self._pause.stop()
        if self.selected is None:
            return
        choice, problems = self.form.choice()
        if problems:
            self._plans.forget()
            self._show(Planned((), problems))
            return
        candidates = self.selected.candidates
        self._plans.ask(lambda: plans_for(candidates, choice), self._answered)

    def _answered(self, outcome: Outcome) -> None:
        if outcome.error is not None:  # not one of ours, which are in the result
            self._show(Planned((), {"": worded(outcome.error)}))
        else:
            self._show(outcome.result)

    def _show(self, planned: Planned, message: str = "") -> None:
        self.planned = planned
        self._on_plans(planned, message)

    def prepare(self, action: Action | None, on_prepared: Prepared) -> bool:
        """Look at the layers as they are now, and plan the present choice with remedies.

        Parameters
        ----------
        action
            A further remedy. If it is only to be filled into the form, nothing is planned.
        on_prepared
            Called with the choice and its plans; not called if the source has gone meanwhile.

        Returns
        -------
        bool
            Whether an answer will come.
        """
        if self.selected is None:
            return False
        choice, problems = self.form.choice()
        if problems:
            self._show(Planned((), problems))
            return False
        if action is not None:
            self.tried.append(action)
        known, tried, shown = self.selected.candidates, tuple(self.tried), self.planned.plans
        find = finder(self.form, self._images) if chosen_layers(self.form) else None
        fills_in = action is not None and action.effect == "fills in"

        def look_and_plan() -> tuple[Choice, Planned]:
            candidates: tuple[Candidate, ...] = known if find is None else tuple(find()[0])
            wanted = choice
            for remedy in tried:
                wanted = remedy.applied(wanted, candidates[0])
            return wanted, Planned() if fills_in else plans_for(candidates, wanted, shown)

        def answered(outcome: Outcome) -> None:
            if outcome.error is not None:
                self._refuse(outcome.error)
                return
            wanted, planned = outcome.result
            if not fills_in:
                self._show(planned)
            on_prepared(wanted, planned)

        self._pause.stop()
        self._starts.ask(look_and_plan, answered)
        return True


def _images_at(path: str) -> tuple[Image, ...]:
    options = options_for(path)
    refuse_unknown_host(path, options)
    return open_images(path, storage_options=options)


def _timer(parent: QWidget, pause: int, then: Callable[[], None]) -> QTimer:
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(pause)
    timer.timeout.connect(then)
    return timer
