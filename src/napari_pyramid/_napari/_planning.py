"""Plan in worker threads what is chosen in the form, and hand over the newest answer only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from napari_pyramid._napari._background import Outcome
from napari_pyramid._napari._candidates import Candidate
from napari_pyramid._napari._offer import Offer, free_destination
from napari_pyramid._napari._plan import Choice, Plan, culprit
from napari_pyramid._napari._remedies import worded
from napari_pyramid._napari._worker_thread import answer_in_background
from napari_pyramid.errors import PyramidError

__all__ = ["Answer", "LatestQuestion", "Planned", "Selected", "plans_for", "selected"]

Answer = Callable[[Outcome], None]


@dataclass(frozen=True, slots=True)
class Selected:
    """The images that are chosen, and what a form can offer for them."""

    candidates: tuple[Candidate, ...]
    offer: Offer
    remarks: tuple[str, ...] = ()
    """Sentences on what was left out."""


@dataclass(frozen=True, slots=True)
class Planned:
    """Plans for a choice, or why nothing can be planned."""

    plans: tuple[Plan, ...] = ()
    problems: dict[str, str] = field(default_factory=dict)
    """Sentences by the name of the control that they are about; ``""`` for none."""
    error: PyramidError | None = None
    """Error with remedies."""


def selected(find: Callable[[], tuple[Sequence[Candidate], Sequence[str]]]) -> Selected:
    """Return the images that `find` finds, with the offer for them.

    Raises
    ------
    PyramidError
        If `find` raises it.
    """
    candidates, remarks = find()
    return Selected(tuple(candidates), Offer.of(candidates), tuple(remarks))


def plans_for(
    candidates: Sequence[Candidate], choice: Choice, shown: Sequence[Plan] = ()
) -> Planned:
    """Return a plan for each image, or the first problem.

    Parameters
    ----------
    shown
        Earlier plans, which are returned if they are for the same images and choices.
    """
    plans: list[Plan] = []
    choices = _for_each(candidates, choice)
    if len(shown) == len(candidates) and all(
        plan.is_of(c, own) for plan, c, own in zip(shown, candidates, choices, strict=True)
    ):
        return Planned(tuple(shown))
    for candidate, own in zip(candidates, choices, strict=True):
        try:
            plans.append(Plan.of(candidate, own))
        except PyramidError as error:
            name = culprit(candidate, own, error) or ""
            text = worded(error)
            if len(candidates) > 1 and candidate.title not in text:
                text = f"{candidate.title}: {text}"
            return Planned((), {name: text}, error)
    return Planned(tuple(plans))


def _for_each(candidates: Sequence[Candidate], choice: Choice) -> list[Choice]:
    """Return the choice of each image: of several, each gets a store of its own in the folder."""
    if len(candidates) == 1 or not choice.destination:
        return [choice] * len(candidates)
    folder, taken = choice.destination, set()
    choices = []
    for candidate in candidates:
        name, n = candidate.title, 2
        while name in taken:
            name, n = f"{candidate.title}_{n}", n + 1
        taken.add(name)
        if "://" in folder:
            place = f"{folder.rstrip('/')}/{Path(free_destination(name, Path())).name}"
        else:
            place = free_destination(name, Path(folder))
        choices.append(replace(choice, destination=place))
    return choices


class LatestQuestion:
    """Asks questions in worker threads, and passes on the answer to the last one only.

    Parameters
    ----------
    one_at_a_time
        Whether a question waits for the answer to the one before, and is skipped if a later one
        comes meanwhile. Otherwise a question that hangs, at a server, holds up no other.
    """

    def __init__(self, *, one_at_a_time: bool) -> None:
        self._one_at_a_time = one_at_a_time
        self._last: object | None = None
        self._next: tuple[Callable[[], Any], Answer, object] | None = None
        self._busy = False

    @property
    def is_waiting(self) -> bool:
        """Whether the answer to the last question is still to come."""
        return self._last is not None

    def ask(self, question: Callable[[], Any], on_answer: Answer) -> None:
        """Ask a question; the answers to earlier ones are dropped."""
        self._last = token = object()
        self._next = (question, on_answer, token)
        if not (self._busy and self._one_at_a_time):
            self._ask_next()

    def forget(self) -> None:
        """Drop the answer to the last question."""
        self._last = self._next = None

    def _ask_next(self) -> None:
        if self._next is None:
            return
        (question, on_answer, token), self._next = self._next, None
        self._busy = True

        def answered(outcome: Outcome) -> None:
            self._busy = False
            if token is self._last:
                self._last = None
                on_answer(outcome)
            self._ask_next()

        answer_in_background(question, answered)
