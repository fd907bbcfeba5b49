"""Replace chunks of a store; a process that is killed meanwhile leaves a list to finish from.

The new chunks are complete, in the workspace, before the first one is moved. The list of moves is
in ``moves.json`` there; it exists exactly while chunks are moved. Whoever finds it without its
process makes the moves that are left: the store then has all of the new chunks. Without a list it
has all of the old ones.

In a directory, chunk files are renamed. In a bucket, where nothing is renamed, objects are copied
over the old ones and deleted after the list, so that the same moves can be made again.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from napari_pyramid.errors import DestinationError
from napari_pyramid.storage.address import disk_path
from napari_pyramid.storage.copied_objects import copy_objects, delete_objects
from napari_pyramid.storage.file_names import ARRAY_FILES
from napari_pyramid.storage.folder import Folder, Place
from napari_pyramid.storage.hierarchy import is_array, store_root
from napari_pyramid.storage.json_files import write_json

__all__ = [
    "ArrayMoves",
    "finish_killed_moves",
    "finish_moves",
    "has_moves",
    "list_moves",
    "move_steps",
    "names_below",
]

T = TypeVar("T")

_LIST = "moves.json"
_VERSION = 1
_BATCH = 256
"""Objects that are copied between two looks at the lock."""


@dataclass(frozen=True, slots=True)
class ArrayMoves:
    """The chunks of one array that are replaced."""

    place: str
    """Path of the array, relative to the folder that holds the workspace."""
    fresh: str
    """Path of the new chunks, relative to the workspace; all arrays have one folder for them."""
    put: tuple[str, ...]
    """Chunks that are moved, relative to either path."""
    removed: tuple[str, ...]
    """Chunks that are removed, since their samples are all fill value now."""


def list_moves(workspace: Place, moves: Sequence[ArrayMoves]) -> None:
    """Write the list of moves, which are made from then on whatever happens.

    The caller holds the lock of the workspace, and calls `finish_moves`.

    Raises
    ------
    DestinationError
        If there is a list already: another process has written it since.
    """
    document = {"version": _VERSION, "arrays": [asdict(m) for m in moves]}
    if not isinstance(workspace, Folder):
        write_json(workspace / _LIST, document)
        return
    content = json.dumps({**document, "token": uuid.uuid4().hex})  # as `create` needs it
    if not (workspace / _LIST).create(content.encode()):
        raise DestinationError(f"{workspace}: another update has taken over; nothing was changed")


def has_moves(workspace: Place) -> bool:
    """Return whether a list of moves is in a workspace."""
    return (workspace / _LIST).is_file()


def finish_moves(workspace: Place, confirm: Callable[[], None] = lambda: None) -> bool:
    """Make the moves that are listed; return whether chunks of the store have been replaced.

    Parameters and errors are described in `move_steps`.
    """
    steps = move_steps(workspace, confirm)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return bool(end.value)


def move_steps(
    workspace: Place, confirm: Callable[[], None] = lambda: None
) -> Generator[tuple[int, int], None, bool]:
    """Make the moves that are listed; the caller holds the lock of the workspace.

    A list that is damaged, or whose new chunks are gone, is removed.

    Close the generator to stop at the next object of a bucket. The list is kept then, and whoever
    finds it makes the moves. There is no step in a directory, where renaming takes no time.

    Parameters
    ----------
    confirm
        Called before chunks are moved in a bucket; raises if the lock has been lost.

    Yields
    ------
    tuple of int
        Number of objects that have been copied or deleted, and number of all, at least every 0.1
        seconds.

    Returns
    -------
    bool
        Whether chunks of the store have been replaced.

    Raises
    ------
    DestinationError
        If a later version of this program has written the list, or an object cannot be moved.
    """
    try:
        arrays = _listed(workspace)
    except FileNotFoundError:
        return False
    if isinstance(workspace, Folder):
        yield from _copy_all(workspace, arrays, confirm)
    else:
        for moves in arrays:
            _rename(workspace, moves)
    (workspace / _LIST).unlink()
    if isinstance(workspace, Folder):
        for folder in {(workspace / moves.fresh).parent for moves in arrays}:
            folder.objects.delete_below(folder.path)
    return bool(arrays)


def _listed(workspace: Place) -> list[ArrayMoves]:
    """Return the moves that are listed; none if the list is damaged.

    Raises
    ------
    FileNotFoundError
        If there is no list.
    """
    try:
        document = json.loads(_content(workspace / _LIST))
        if document["version"] != _VERSION:
            raise DestinationError(
                f"{workspace / _LIST} is of another version of napari-pyramid: open the store with "
                "that version first, which finishes its update"
            )
        found = [_parsed(entry) for entry in document["arrays"]]
    except (ValueError, KeyError, TypeError):
        return []
    if isinstance(workspace, Folder) and not all(_is_whole(workspace, m) for m in found):
        return []
    return [m for m in found if _is_there(workspace.parent / m.place)]  # else removed since


def _content(file: Place) -> bytes:
    """Return a file or object; FileNotFoundError if it is missing."""
    if not isinstance(file, Folder):
        return file.read_bytes()
    # `get` takes what may not be read for missing; the moves would be forgotten.
    (content,) = file.objects.get_all([file.path])
    if content is None:
        raise FileNotFoundError(f"{file}: not found")
    return content


def _is_there(array: Place) -> bool:
    """Return whether an array exists; a request that fails is an error."""
    if not isinstance(array, Folder):
        return is_array(array)
    keys = [(array / name).path for name in ARRAY_FILES]
    return any(content is not None for content in array.objects.get_all(keys))


def _parsed(entry: dict[str, Any]) -> ArrayMoves:
    put, removed = tuple(entry["put"]), tuple(entry["removed"])
    moves = ArrayMoves(entry["place"], entry["fresh"], put, removed)
    for text in (moves.place, moves.fresh, *put, *removed):
        if not isinstance(text, str):
            raise TypeError(f"{text!r} is not a path")
    return moves


def _is_whole(workspace: Folder, moves: ArrayMoves) -> bool:
    return not moves.put or set(moves.put) <= names_below(workspace / moves.fresh)


def names_below(folder: Place) -> set[str]:
    """Return the paths of all files or objects in a folder, relative to it."""
    if isinstance(folder, Folder):
        start = len(folder.path) + 1
        return {key[start:] for key in folder.objects.keys(folder.path)}
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def _rename(workspace: Path, moves: ArrayMoves) -> None:
    place, fresh = workspace.parent / moves.place, workspace / moves.fresh
    for key in moves.put:
        if (fresh / key).exists():  # else it has been moved
            (place / key).parent.mkdir(parents=True, exist_ok=True)
            (fresh / key).replace(place / key)
    for key in moves.removed:
        (place / key).unlink(missing_ok=True)


def _copy_all(
    workspace: Folder, arrays: Sequence[ArrayMoves], confirm: Callable[[], None]
) -> Generator[tuple[int, int], None, None]:
    objects = workspace.objects
    done, total = 0, sum(len(m.put) + len(m.removed) for m in arrays)
    pairs = (
        ((workspace / m.fresh / key).path, (workspace.parent / m.place / key).path)
        for m in arrays
        for key in m.put
    )
    removed = ((workspace.parent / m.place / key).path for m in arrays for key in m.removed)
    batches = chain(
        (copy_objects(objects, batch) for batch in _in_batches(pairs)),
        (delete_objects(objects, batch) for batch in _in_batches(removed)),
    )
    for batch in batches:
        confirm()
        with closing(batch):
            for n in batch:
                done += n
                yield done, total


def _in_batches(items: Iterator[T]) -> Iterator[list[T]]:
    while batch := list(islice(items, _BATCH)):
        yield batch


def finish_killed_moves(path: object) -> bool:
    """Make the moves that killed processes have left in the store that contains `path`.

    Moves that a running process makes are left to it, and moves in a store that cannot be written
    are left as they are. Anything but a path on this machine is ignored.

    Returns
    -------
    bool
        Whether files were moved.
    """
    place = disk_path(path) if isinstance(path, str | os.PathLike) else None
    if place is None:
        return False
    root = store_root(Path(os.path.abspath(place)))
    ours = re.compile(rf"\.{re.escape(root.name)}(\.[0-9a-f]{{8}})?\.building")
    finished = False
    with suppress(OSError):
        for directory in root.parent.iterdir():
            if ours.fullmatch(directory.name) and (directory / _LIST).exists():
                with (
                    suppress(Timeout, OSError, DestinationError),
                    FileLock(directory / "lock", blocking=False),
                ):
                    finished |= finish_moves(directory)
    return finished
