"""Word the remedies of errors for the window, and apply them to a choice. Imports no Qt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from napari_pyramid._napari._candidates import Candidate
from napari_pyramid._napari._offer import free_destination, suggested_place
from napari_pyramid._napari._plan import Choice
from napari_pyramid.errors import PyramidError, Remedy, one_line
from napari_pyramid.plan.memory import available_memory
from napari_pyramid.storage.file_names import ARRAY_FILES

__all__ = ["IN_WINDOW", "Action", "actions_for", "worded"]

IN_WINDOW: Mapping[Remedy, str] = {
    Remedy.OVERWRITE: "replace it",
    Remedy.START_OVER: "start over",
    Remedy.FINISH: "choose again what was chosen before, to finish it",
    Remedy.IN_PLACE: "store the levels beside the data",
    Remedy.NEW_STORE: "store the pyramid as a new store",
    Remedy.NEW_NAME: "choose another name",
    Remedy.NEW_SERIES: "add a second series of levels",
    Remedy.MOVE_AWAY: "move it away",
    Remedy.MORE_MEMORY: "allow more memory",
    Remedy.NO_VERIFY: "build without Verify",
    Remedy.LABELS: "build it as labels",
    Remedy.CREDENTIALS: "put them into Preferences > Image pyramids, and open it again",
}
"""The remedies in the words of the window."""


@dataclass(frozen=True, slots=True)
class Action:
    """A button that applies a remedy."""

    remedy: Remedy
    label: str
    tooltip: str
    effect: Literal["starts", "fills in", "finishes", "opens"] = "starts"
    """A press starts the build with the remedy, fills it into the form for another look, resumes
    the earlier build, or opens the folder."""

    def applied(self, choice: Choice, candidate: Candidate) -> Choice:
        """Return `choice` with the remedy added to the remedies that it has.

        Looks at the disk for a free name, and so runs in a worker thread.
        """
        match self.remedy:
            case Remedy.START_OVER:
                return replace(choice, resume=False)
            case Remedy.OVERWRITE:
                return replace(choice, overwrite=True)
            case Remedy.IN_PLACE:
                return replace(choice, destination=None)
            case Remedy.NEW_STORE:
                name = suggested_place(candidate.title, candidate.path)
                return replace(choice, destination=name)
            case Remedy.NEW_NAME:
                return replace(choice, destination=_other_name(choice, candidate))
            case Remedy.NEW_SERIES:
                return replace(choice, series=f"pyramid_{choice.method or 'levels'}")
            case Remedy.MORE_MEMORY:
                return replace(choice, memory=available_memory())
            case Remedy.NO_VERIFY:
                return replace(choice, verify=False)
            case Remedy.LABELS:
                return replace(choice, labels=True)
        return choice


def _other_name(choice: Choice, candidate: Candidate) -> str:
    if not choice.destination or "://" in choice.destination:
        return suggested_place(candidate.title, candidate.path)
    taken = Path(choice.destination)
    name = taken.name.removesuffix(".zarr").removesuffix(".ome")
    folder = taken.parent
    while any((p / n).exists() for p in (folder, *folder.parents) for n in ARRAY_FILES):
        folder = folder.parent  # no store can be in an array
    return free_destination(name, folder)


_ACTIONS: Mapping[Remedy, Action] = {
    action.remedy: action
    for action in (
        Action(
            Remedy.FINISH, "Finish it", "Goes on with the build that was started there", "finishes"
        ),
        Action(
            Remedy.START_OVER,
            "Start over",
            "Removes the unfinished work, and builds what is chosen now",
        ),
        Action(
            Remedy.OVERWRITE,
            "Replace",
            "Replaces what is there as soon as the new pyramid is complete",
        ),
        Action(
            Remedy.NEW_NAME, "Other name", "Stores the pyramid beside it, with a number", "fills in"
        ),
        Action(
            Remedy.IN_PLACE, "In place", "Adds the levels to the store of the image", "fills in"
        ),
        Action(
            Remedy.NEW_STORE, "New store", "Stores all levels in a store of their own", "fills in"
        ),
        Action(
            Remedy.NEW_SERIES, "Add beside", "Keeps the levels that are there, and adds a series"
        ),
        Action(Remedy.MOVE_AWAY, "Open folder", "Shows what is in the way", "opens"),
        Action(
            Remedy.MORE_MEMORY, "Allow more", "Allows as much memory as is free now", "fills in"
        ),
        Action(Remedy.NO_VERIFY, "Do not verify", "Builds without comparing levels", "fills in"),
        Action(Remedy.LABELS, "As labels", "Takes the pixels for ids of objects"),
    )
}


def actions_for(error: BaseException | None) -> list[Action]:
    """Return a button for each remedy of an error, best first."""
    remedies = error.remedies if isinstance(error, PyramidError) else ()
    return [_ACTIONS[remedy] for remedy in remedies if remedy in _ACTIONS]


def worded(error: BaseException) -> str:
    """Return an error as one line in the words of the window."""
    return error.in_words(IN_WINDOW) if isinstance(error, PyramidError) else one_line(error)
