"""Find and remove the work that a build left unfinished, from its destination alone.

No source is opened: it may have moved since, while its work still takes room.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_pyramid.build.targets import workspace_of
from napari_pyramid.build.undo import undo_publishing
from napari_pyramid.build.workspace_base import WorkspaceBase
from napari_pyramid.storage.destination import open_destination

__all__ = ["discard_unfinished", "discard_work", "has_unfinished"]


def has_unfinished(
    destination: str | os.PathLike[str],
    *,
    in_place: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> bool:
    """Return whether a build left unfinished work at a destination.

    Parameters
    ----------
    destination
        Path or URL of the group that holds the levels once they are built.
    in_place
        Whether the levels are added to an existing group.
    storage_options
        Credentials and the like for a URL.

    Raises
    ------
    DestinationError
        If a bucket does not answer.
    """
    return _workspace_at(destination, in_place, storage_options).has_work


def discard_unfinished(
    destination: str | os.PathLike[str],
    *,
    in_place: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> bool:
    """Remove the work that a build left unfinished at a destination.

    What was there before the build stays, and is put back if the build ended while it was being
    replaced.

    Parameters
    ----------
    destination, in_place, storage_options
        As for `has_unfinished`.

    Returns
    -------
    bool
        Whether anything was removed.

    Raises
    ------
    BuildInProgressError
        If a build is running there.
    DestinationError
        If the work cannot be removed, or was complete: it is finished then.
    """
    return discard_work(_workspace_at(destination, in_place, storage_options))


def discard_work(workspace: WorkspaceBase[Any]) -> bool:
    """Remove a workspace with the unfinished work in it; return whether it existed.

    Raises
    ------
    BuildInProgressError, DestinationError
        As for `discard_unfinished`.
    """
    if not workspace.directory.exists():
        return False
    workspace.acquire()
    try:
        undo_publishing(workspace)
        workspace.discard()
    except BaseException:
        workspace.release()
        raise
    return True


def _workspace_at(
    destination: str | os.PathLike[str], in_place: bool, options: Mapping[str, Any] | None
) -> WorkspaceBase[Any]:
    place = open_destination(destination, options)
    if isinstance(place, Path):
        place = Path(os.path.abspath(place))
    return workspace_of(place, in_place=in_place)
