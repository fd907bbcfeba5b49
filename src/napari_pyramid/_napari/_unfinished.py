"""Remember builds that were started, so that a later session can offer to finish them. No Qt.

One JSON file of the user lists them. An entry is added when a build begins to write, and removed
when its work is finished or gone; what is done is read from the work itself. Addresses are kept
without secrets: credentials come from the preferences and the machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import zarr
from filelock import FileLock

from napari_pyramid._napari._candidates import Candidate, candidate_at
from napari_pyramid._napari._plan import Choice, Plan
from napari_pyramid._napari._preferences import options_for
from napari_pyramid.axes import Axis
from napari_pyramid.build import discard_unfinished, has_unfinished
from napari_pyramid.errors import PyramidError
from napari_pyramid.image import Channel, pick_image
from napari_pyramid.layer_image import LayerImage
from napari_pyramid.layouts import open_images
from napari_pyramid.storage.address import is_remote, parse_address
from napari_pyramid.storage.folder import Folder
from napari_pyramid.storage.json_files import write_json
from napari_pyramid.storage.open_url import open_remote

__all__ = ["Found", "StartedBuild", "discard", "forget", "remember", "unfinished_builds"]

_MOST = 100
"""Entries that are kept; the oldest are dropped."""
_PATIENCE = 0.04
"""Seconds to wait at most for another process that changes the list, in the GUI thread."""
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class StartedBuild:
    """A build that an earlier session began and did not finish."""

    destination: str
    """Path or URL of the group that will hold the levels."""
    workspace: str
    """Directory of the unfinished work, or its URL."""
    place: Mapping[str, Any]
    """Where the image is, see `Candidate.place`."""
    image: Mapping[str, Any]
    """The image without its pixels."""
    choice: Mapping[str, Any]

    @classmethod
    def of(cls, plan: Plan) -> StartedBuild | None:
        """Return the entry of a build, or None if no later session could resume it."""
        place, build, choice = plan.candidate.place, plan.build, plan.choice
        target = build.destination
        if place is None or not build.can_resume:
            return None
        if isinstance(target, Folder):
            if target.objects.options is None:  # a store that was given opened
                return None
            if choice.destination is not None:
                choice = replace(choice, destination=str(target))
        image = asdict(replace(plan.candidate.image, levels=()))
        image["label_colors"] = [[k, *v] for k, v in plan.candidate.image.label_colors.items()]
        return cls(str(target), str(build.workspace), place, image, asdict(choice))

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> StartedBuild | None:
        """Return an entry of the list; None if it is damaged, or of another version."""
        try:
            started = cls(**entry)
            _ = started.chosen, _image(started.image, None)
            known = {"array"} <= started.place.keys() or {"path", "image"} <= started.place.keys()
        except (AttributeError, KeyError, TypeError, ValueError):
            return None
        return started if known else None

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
            path = str(self.place["array"])
            try:
                array = zarr.open_array(_store(path), mode="r")
            except (OSError, ValueError, KeyError) as error:
                raise PyramidError(f"{path} cannot be opened: {error}") from error
            return Candidate(_image(self.image, array), path)
        path = str(self.place["path"])
        images = open_images(path, storage_options=options_for(path))
        return candidate_at(pick_image(images, str(self.place["image"]), path), path)

    @property
    def in_place(self) -> bool:
        """Whether the levels are added to an existing group."""
        return self.choice.get("destination") is None

    @property
    def is_remote(self) -> bool:
        """Whether the work is in a bucket."""
        return is_remote(self.destination)

    @property
    def exists(self) -> bool:
        """Whether the unfinished work is still there.

        Raises
        ------
        PyramidError
            If a bucket does not answer.
        """
        options = options_for(self.destination)
        return has_unfinished(self.destination, in_place=self.in_place, storage_options=options)


def _store(path: str) -> Any:
    return open_remote(parse_address(path), options_for(path)) if is_remote(path) else path


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

    started: StartedBuild
    fraction: float
    """Part of the work that is done, 0 to 1."""
    candidate: Candidate | None = None
    error: PyramidError | None = None
    """Why it cannot be resumed, if so."""


def unfinished_builds(*, remote: bool = False) -> list[Found]:
    """Return the builds whose unfinished work is still there, oldest first.

    Opens their images, to tell whether the work can be resumed.

    Parameters
    ----------
    remote
        Whether to look into buckets, which may answer slowly, instead of disks.
    """
    found = []
    for started in _entries():
        if started.is_remote != remote:
            continue
        try:
            if not started.exists:
                continue
            candidate = started.candidate()
            left = Plan.of(candidate, started.chosen).build.unfinished
        except PyramidError as error:
            found.append(Found(started, 0.0, error=error))
            continue
        if left is not None:
            found.append(Found(started, left.done / max(1, left.total), candidate))
    return found


def remember(started: StartedBuild) -> None:
    """Add a build to the list, in place of an earlier one with the same destination.

    Entries whose work is gone from a disk are dropped; no bucket is asked.
    """
    with _locked():
        others = [b for b in _entries() if b.destination != started.destination]
        _write([*(b for b in others if b.is_remote or Path(b.workspace).is_dir()), started])


def forget(destination: str) -> None:
    """Remove a build from the list."""
    with _locked():
        entries = _entries()
        others = [b for b in entries if b.destination != destination]
        if len(others) != len(entries):
            _write(others)


def discard(started: StartedBuild) -> None:
    """Remove the unfinished work of a build, and its entry.

    Raises
    ------
    DestinationError
        If a build is running there, or the work cannot be removed.
    """
    options = options_for(started.destination)
    discard_unfinished(started.destination, in_place=started.in_place, storage_options=options)
    forget(started.destination)


def _entries() -> list[StartedBuild]:
    """Return the entries, without damaged ones; [] if the file is missing or damaged."""
    try:
        document = json.loads(records_file().read_bytes())
        found = [StartedBuild.read(entry) for entry in document["builds"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [started for started in found if started is not None]


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """Keep threads and other processes of the user from changing the list meanwhile."""
    file = records_file()
    with _lock, contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # without a writable home nothing is remembered
            file.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(file.with_suffix(".lock"), timeout=_PATIENCE))
        yield


def _write(entries: list[StartedBuild]) -> None:
    """Write the list; without a writable home nothing is remembered."""
    with contextlib.suppress(OSError):
        write_json(records_file(), {"builds": [asdict(b) for b in entries[-_MOST:]]})
