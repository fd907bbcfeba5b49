"""Publish the levels of a workspace in a bucket by writing their metadata last, in one order.

    arrays of the levels      complete, but named by no group
    the group                 one object: from here on readers see the new levels
    groups above it           the list of label images, consolidated metadata
    deletions                 what the new metadata no longer name

Everything before the group leaves the old pyramid as it was, and everything after it can be
finished by any later build.
"""

from __future__ import annotations

from collections.abc import Sequence

from napari_pyramid.build.object_workspace import ObjectWorkspace
from napari_pyramid.build.state import BuildState
from napari_pyramid.build.workspace_base import PublishingBase
from napari_pyramid.errors import DestinationError
from napari_pyramid.metadata.consolidated import refresh_consolidated
from napari_pyramid.metadata.group import Attributes, listed_multiscales, named_paths
from napari_pyramid.metadata.image_attributes import Version
from napari_pyramid.metadata.ome_zarr import register_label
from napari_pyramid.storage.folder import Folder
from napari_pyramid.storage.hierarchy import is_label_place
from napari_pyramid.storage.pending_objects import Pending

__all__ = ["ObjectPublishing"]


class ObjectPublishing(PublishingBase[Folder]):
    """The writes at the end of a build, which are collected first and then made in order.

    A crash may come after any of them: all are made again the next time.
    """

    def __init__(self, workspace: ObjectWorkspace) -> None:
        self._workspace = workspace
        self._pending = Pending(workspace.destination.objects)

    def metadata_place(self, place: Folder) -> Folder:
        """Return the place at which metadata are changed: changes wait for `end`."""
        return place.with_objects(self._pending)

    def put_store(self) -> None:
        """Put all metadata of ``new`` at the destination."""
        self._put("")

    def begin(self, paths: Sequence[str]) -> None:
        """Return at once: what there is stays until all is complete."""

    def put_levels(self, paths: Sequence[str]) -> None:
        """Put the metadata of each new level beside level 0."""
        for path in paths:
            self._put(path)

    def _put(self, path: str) -> None:
        new, place = (
            self._workspace.new / path,
            self.metadata_place(self._workspace.destination / path),
        )
        for key in new.objects.keys(new.path):
            content = new.objects.get(key)
            if content is not None:
                (place / key[len(new.path) + 1 :]).write_bytes(content)

    def set_aside(self, paths: Sequence[str]) -> None:
        """Write what was put so far, then keep for `end` what is deleted after all else.

        Until then, consolidated metadata name old and new levels: zarr reads the attributes of a
        group in zarr v2 from another object than the list of its arrays.
        """
        refresh_consolidated(self.metadata_place(self._workspace.destination))
        self.end()
        for path in paths:
            self._pending.delete_below((self._workspace.destination / path).path)

    def end(self) -> None:
        """Make all changes that were kept.

        Raises
        ------
        DestinationError
            If another build has taken the lock over.
        """
        self._workspace.confirm()
        self._pending.flush()

    def undo(self) -> bool:
        """Leave the destination as it was, or finish a publishing that readers see already.

        Returns
        -------
        bool
            False: the destination has not been changed by a publishing that did not end.

        Raises
        ------
        DestinationError
            If the earlier build was complete: it is finished now.
        """
        workspace = self._workspace
        state = workspace.state
        if state is None or state.phase != "publish" or not self._is_visible(state):
            return False
        self.set_aside(state.surplus)
        if is_label_place(workspace.destination):
            labels = self.metadata_place(workspace.destination.parent)
            is_v2 = Attributes(workspace.destination).zarr_format == 2
            version: Version = "0.4" if is_v2 else "0.5"
            register_label(labels, workspace.destination.name, version)
        refresh_consolidated(self.metadata_place(workspace.destination))
        self.end()
        workspace.save_state(state.finished())
        raise DestinationError(
            f"{workspace.destination}: an earlier build was complete but for its last objects, and "
            "is finished now: run the command again if it is to be replaced"
        )

    def _is_visible(self, state: BuildState) -> bool:
        """Return whether the metadata of the group name the new levels."""
        first = 1 if self._workspace.in_place else 0
        new = set(state.levels[first:])
        named = map(named_paths, listed_multiscales(Attributes(self._workspace.destination)))
        return any(not new.isdisjoint(paths) for paths in named)
