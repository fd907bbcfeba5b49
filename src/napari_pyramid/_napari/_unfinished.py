"""Remember builds that were begun, so that a later session can offer to finish them. No Qt.

One JSON file of the user lists them. An entry is added when a build begins to write, and removed
when its work is finished or gone; what is done is read from the work itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import zarr

from napari_pyramid._napari._candidates import Candidate, candidate_at
from napari_pyramid._napari._plan import Choice, Plan
from napari_pyramid.axes import Axis
from napari_pyramid.build.undo import undo_publishing
from napari_pyramid.build.workspace import Workspace
from napari_pyramid.errors import PyramidError
from napari_pyramid.image import Channel, pick_image
from napari_pyramid.layer_image import LayerImage
from napari_pyramid.layouts import open_images
from napari_pyramid.storage.json_files import write_json

__all__ = ["Begun", "Found", "discard", "forget", "remember", "unfinished_builds"]

_MOST = 100
"""Entries that are kept; the oldest are dropped."""
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Begun:
    """A build that an earlier session began and did not finish."""

    destination: str
    """Group that will hold the levels."""
    workspace: str
    """Directory of the unfinished work."""
    place: Mapping[str, Any]
    """Where the image is, see `Candidate.place`."""
    image: Mapping[str, Any]
    """The image without its pixels."""
    choice: Mapping[str, Any]

    @classmethod
    def of(cls, plan: Plan) -> Begun | None:
        """Return the entry of a build, or None if no later session could resume it."""
        place, build = plan.candidate.place, plan.build
        if place is None or not build.can_resume or not isinstance(build.destination, Path):
            return None
        image = asdict(replace(plan.candidate.image, levels=()))
        image["label_colors"] = [[k, *v] for k, v in plan.candidate.image.label_colors.items()]
        return cls(str(build.destination), str(build.workspace), place, image, asdict(plan.choice))

    @property
    def chosen(self) -> Choice:
        """The choice, with unfinished work to be resumed."""
        known = {f.name for f in fields(Choice)}
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in self.choice.items() if k in known
        }
        return Choice(**{**values, "resume": True})

    def candidate(self) -> Candidate:
        """Return the image, opened again.

        Raises
        ------
        PyramidError
            If it is not there any more.
        """
        if "array" in self.place:
            try:
                array = zarr.open_array(str(self.place["array"]), mode="r")
            except (OSError, ValueError, KeyError) as error:
                raise PyramidError(f"{self.place['array']} cannot be opened: {error}") from error
            return Candidate(_image(self.image, array), str(self.place["array"]))
        path = str(self.place["path"])
        return candidate_at(pick_image(open_images(path), str(self.place["image"]), path), path)

    @property
    def exists(self) -> bool:
        """Whether the unfinished work is still there."""
        return Path(self.workspace).is_dir()


def _image(document: Mapping[str, Any], array: Any) -> LayerImage:
    return LayerImage(
        document["name"],
        (array,),
        document["kind"],
        tuple(Axis(**axis) for axis in document["axes"]),
        tuple(document["scale"]),
        tuple(document["translation"]),
        tuple(
            Channel(**{**c, "window": None if c["window"] is None else tuple(c["window"])})
            for c in document["channels"]
        ),
        {int(label): tuple(rgba) for label, *rgba in document["label_colors"]},
        tuple(document["label_properties"]),
    )


def records_file() -> Path:
    """Return the JSON file of the user that lists the builds."""
    if given := os.environ.get("XDG_STATE_HOME"):
        base = Path(given)
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library/Application Support"
    else:
        base = Path.home() / ".local/state"
    return base / "napari-pyramid" / "builds.json"


@dataclass(frozen=True, slots=True)
class Found:
    """Unfinished work that is still there, as of now."""

    begun: Begun
    fraction: float
    """Part of the work that is done, 0 to 1."""
    candidate: Candidate | None = None
    error: PyramidError | None = None
    """Why it cannot be resumed, if so."""


def unfinished_builds() -> list[Found]:
    """Return the builds whose unfinished work is still there, oldest first.

    Opens their images, to tell whether the work can be resumed.
    """
    found = []
    for begun in _entries():
        if not begun.exists:
            continue
        try:
            candidate = begun.candidate()
            left = Plan.of(candidate, begun.chosen).build.unfinished
        except PyramidError as error:
            found.append(Found(begun, 0.0, error=error))
            continue
        if left is not None:
            found.append(Found(begun, left.done / max(1, left.total), candidate))
    return found


def remember(begun: Begun) -> None:
    """Add a build to the list, in place of an earlier one with the same destination."""
    with _lock:
        others = [b for b in _entries() if b.destination != begun.destination and b.exists]
        _write([*others, begun])


def forget(destination: str) -> None:
    """Remove a build from the list."""
    with _lock:
        entries = _entries()
        others = [b for b in entries if b.destination != destination]
        if len(others) != len(entries):
            _write(others)


def discard(begun: Begun) -> None:
    """Remove the unfinished work of a build, and its entry.

    Raises
    ------
    DestinationError
        If a build is running there, or the work cannot be removed.
    """
    in_place = begun.choice.get("destination") is None
    workspace = Workspace(Path(begun.destination), in_place=in_place)
    if begun.exists:
        workspace.acquire()
        undo_publishing(workspace)
        workspace.discard()
    forget(begun.destination)


def _entries() -> list[Begun]:
    """Return the entries; none if the file is missing, damaged, or of a later version."""
    try:
        document = json.loads(records_file().read_text())
        return [Begun(**entry) for entry in document["builds"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _write(entries: list[Begun]) -> None:
    """Write the list; without a writable home nothing is remembered."""
    with contextlib.suppress(OSError):
        write_json(records_file(), {"builds": [asdict(b) for b in entries[-_MOST:]]})
