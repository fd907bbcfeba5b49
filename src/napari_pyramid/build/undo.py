"""Undo the publishing of builds that ended while they moved their levels into place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from napari_pyramid.build.publishing import Publishing, publishing_in
from napari_pyramid.build.workspace import Workspace
from napari_pyramid.errors import BuildInProgressError
from napari_pyramid.metadata.consolidated import refresh_consolidated

__all__ = ["recover", "undo_publishing"]


def recover(source: Any) -> bool:
    """Restore the groups of a store in which a build in place was killed while publishing.

    Call this before the store is opened: a layout would take levels that no metadata name yet for
    images, and levels that are being replaced may be missing. The work itself is kept in the
    workspace, so the same build can still finish. A build that is running now is left alone.

    Parameters
    ----------
    source
        Path of the store, or of a group or array in it. Anything else is ignored.

    Returns
    -------
    bool
        Whether something was restored.
    """
    if not isinstance(source, str | os.PathLike):
        return False
    restored = False
    for workspace in publishing_in(Path(os.path.abspath(source))):
        try:
            workspace.acquire()
        except BuildInProgressError:
            continue
        try:
            restored |= undo_publishing(workspace)
        finally:
            workspace.release()
    return restored


def undo_publishing(workspace: Workspace) -> bool:
    """Undo the publishing of a build in place; return whether something was restored."""
    restored = Publishing(workspace).undo()
    state = workspace.state
    if state is not None and state.phase == "publish":
        refresh_consolidated(workspace.destination.parent, staging=workspace.directory)
    return restored
