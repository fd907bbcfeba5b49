"""Replace chunk files of a store; a process that is killed meanwhile leaves a list to finish from.

The new files are complete before the first one is moved. The list of moves is in ``moves.json`` in
the workspace, beside the store; it exists exactly while files are moved. Whoever finds it without
its process makes the moves that are left: the store then has all of the new chunks. Without a list
it has all of the old ones.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from napari_pyramid.storage.address import is_url
from napari_pyramid.storage.hierarchy import is_array, store_root
from napari_pyramid.storage.json_files import write_json

__all__ = ["ArrayMoves", "finish_killed_moves", "finish_moves", "make_moves"]

_LIST = "moves.json"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class ArrayMoves:
    """The chunk files of one array that are replaced."""

    place: str
    """Directory of the array, relative to the directory that holds the workspace."""
    fresh: str
    """Directory of the new files, relative to the workspace."""
    put: tuple[str, ...]
    """Files that are moved, relative to either directory."""
    removed: tuple[str, ...]
    """Files that are removed, since their samples are all fill value now."""


def make_moves(workspace: Path, moves: Sequence[ArrayMoves]) -> None:
    """Replace the files of all arrays; the caller holds the lock of the workspace."""
    document = {"version": _VERSION, "arrays": [asdict(m) for m in moves]}
    write_json(workspace / _LIST, document)
    finish_moves(workspace)


def finish_moves(workspace: Path) -> bool:
    """Make the moves that a killed process has left; the caller holds the lock of the workspace.

    Returns
    -------
    bool
        Whether there was a list of moves.
    """
    try:
        document = json.loads((workspace / _LIST).read_text())
    except FileNotFoundError:
        return False
    for entry in document["arrays"]:
        place, fresh = workspace.parent / entry["place"], workspace / entry["fresh"]
        if not is_array(place):  # removed since by somebody else
            continue
        for key in entry["put"]:
            if (fresh / key).exists():  # else it has been moved
                (place / key).parent.mkdir(parents=True, exist_ok=True)
                (fresh / key).replace(place / key)
        for key in entry["removed"]:
            (place / key).unlink(missing_ok=True)
    (workspace / _LIST).unlink()
    return True


def finish_killed_moves(path: object) -> bool:
    """Make the moves that killed processes have left in the store that contains `path`.

    Moves that a running process makes are left to it, and moves in a store that cannot be written
    are left as they are. Anything but a path on this machine is ignored.

    Returns
    -------
    bool
        Whether files were moved.
    """
    if not isinstance(path, str | os.PathLike) or is_url(os.fspath(path)):
        return False
    root = store_root(Path(os.path.abspath(path)))
    ours = re.compile(rf"\.{re.escape(root.name)}(\.[0-9a-f]{{8}})?\.building")
    finished = False
    with suppress(OSError):
        for directory in root.parent.iterdir():
            if ours.fullmatch(directory.name) and (directory / _LIST).exists():
                with suppress(Timeout, OSError), FileLock(directory / "lock", blocking=False):
                    finished |= finish_moves(directory)
    return finished
