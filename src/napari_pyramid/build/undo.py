"""Undo the publishing of builds that ended while they moved their levels into place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from napari_pyramid.build.publishing import publishing_in
from napari_pyramid.build.targets import publishing_of
from napari_pyramid.build.workspace_base import WorkspaceBase
from napari_pyramid.errors import BuildInProgressError
from napari_pyramid.storage.address import disk_path
from napari_pyramid.storage.moves import finish_killed_moves

__all__ = ["recover", "undo_publishing"]


def recover(source: Any) -> bool:
    """Restore the groups of a store in which a build in place was killed while publishing.

    The chunks of a killed update of edits are moved into place: see `storage.moves`. Call this
    before the store is opened: a layout would take levels that no metadata name yet for images, and
    levels that are being replaced may be missing. The work itself is kept in the workspace, so the
    same build can still finish. A build that is running now is left alone.

    Parameters
    ----------
    source
        Path of the store, or of a group or array in it. Anything else is ignored: in a bucket no
        level is ever moved.

    Returns
    -------
    bool
        Whether something was restored or moved.
    """
    path = disk_path(source) if isinstance(source, str | os.PathLike) else None
    if path is None:
        return False
    restored = finish_killed_moves(path)
    for workspace in publishing_in(Path(os.path.abspath(path))):
        try:
            workspace.acquire()
        except BuildInProgressError:
            continue
        try:
            restored |= undo_publishing(workspace)
        finally:
            workspace.release()
    return restored


def undo_publishing(workspace: WorkspaceBase[Any]) -> bool:
    """Undo the publishing of a build in place; return whether something was restored."""
    return publishing_of(workspace).undo()
