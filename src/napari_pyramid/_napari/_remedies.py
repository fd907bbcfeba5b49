"""Word the remedies of errors for the window, and offer some as buttons. Imports no Qt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from napari_pyramid._napari._plan import Choice
from napari_pyramid.errors import PyramidError, Remedy, one_line

__all__ = ["ACTIONS", "Action", "action_for", "worded"]

IN_WINDOW: Mapping[Remedy, str] = {
    Remedy.OVERWRITE: "replace it",
    Remedy.START_OVER: "start over",
    Remedy.FINISH: "choose again what was chosen before, to finish it",
    Remedy.IN_PLACE: "store the levels beside the data",
    Remedy.NEW_STORE: "store the pyramid as a new store",
    Remedy.NEW_NAME: "choose another name",
    Remedy.MOVE_AWAY: "move it away",
}
"""The remedies in the words of the window; other remedies have no field in it."""


@dataclass(frozen=True, slots=True)
class Action:
    """A button that applies a remedy."""

    label: str
    tooltip: str
    resume: bool = True
    overwrite: bool = False

    def applied(self, choice: Choice) -> Choice:
        """Return `choice` with the remedy added to the remedies that it has."""
        resume, overwrite = choice.resume and self.resume, choice.overwrite or self.overwrite
        return replace(choice, resume=resume, overwrite=overwrite)


ACTIONS: Mapping[Remedy, Action] = {
    Remedy.START_OVER: Action(
        "Start over", "Removes the unfinished work, and builds what is chosen now", resume=False
    ),
    Remedy.OVERWRITE: Action(
        "Replace", "Replaces what is there as soon as the new pyramid is complete", overwrite=True
    ),
}


def action_for(error: Exception | None) -> Action | None:
    """Return the button for the first remedy of an error that has one."""
    remedies = error.remedies if isinstance(error, PyramidError) else ()
    return next((ACTIONS[remedy] for remedy in remedies if remedy in ACTIONS), None)


def worded(error: Exception) -> str:
    """Return an error as one line in the words of the window."""
    return error.in_words(IN_WINDOW) if isinstance(error, PyramidError) else one_line(error)
