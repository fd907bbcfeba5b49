"""Rename the levels of a workspace on a disk into their places, and undo it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from napari_pyramid.build.state import BuildState
from napari_pyramid.build.workspace import Workspace
from napari_pyramid.build.workspace_base import PublishingBase
from napari_pyramid.metadata.consolidated import refresh_consolidated
from napari_pyramid.storage.file_names import GROUP_FILES
from napari_pyramid.storage.hierarchy import store_root
from napari_pyramid.storage.json_files import write_json

__all__ = ["Publishing", "publishing_in"]


def publishing_in(path: Path) -> Iterator[Workspace]:
    """Yield the workspaces of builds in place that ended during publishing.

    They may belong to any group of the store that contains `path`.
    """
    root = store_root(path)
    ours = re.compile(rf"\.{re.escape(root.name)}(\.[0-9a-f]{{8}})?\.building")
    for directory in (
        sorted(d for d in root.parent.iterdir() if ours.fullmatch(d.name))
        if root.parent.is_dir()
        else ()
    ):
        try:
            state = BuildState.from_json(json.loads((directory / "state.json").read_bytes()))
        except (OSError, ValueError, AttributeError):
            continue
        if state.phase != "publish" or state.group is None:
            continue
        workspace = Workspace(root.parent / state.group, in_place=True)
        if workspace.directory == directory:
            yield workspace


class Publishing(PublishingBase[Path]):
    """The renames at the end of a build.

    A crash may come after any of them: a rename that has been done is skipped the next time.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def metadata_place(self, place: Path) -> Path:
        """Return the place at which metadata are changed: changes are seen at once."""
        return place

    def end(self) -> None:
        """Return at once: every step has taken effect."""

    def put_store(self) -> None:
        """Rename ``new`` to the destination, after moving what was there to ``old``."""
        if not self._workspace.new.exists():
            return
        if self._workspace.destination.exists():
            self._set_aside(self._workspace.destination, "")
        self._workspace.destination.parent.mkdir(parents=True, exist_ok=True)
        self._workspace.new.rename(self._workspace.destination)

    def begin(self, paths: Sequence[str]) -> None:
        """Save the metadata of the destination, and the groups that do not exist yet, for `undo`.

        The groups are the parents of the levels at `paths`.
        """
        if self._before.exists():
            return
        part = self._workspace.directory / "before.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        for name in GROUP_FILES:
            if (self._workspace.destination / name).exists():
                shutil.copy2(self._workspace.destination / name, part / name)
        parents = sorted({path.rpartition("/")[0] for path in paths} - {""})
        write_json(
            part / "made.json",
            {
                "groups": [
                    path for path in parents if not (self._workspace.destination / path).exists()
                ]
            },
        )
        part.rename(self._before)

    def put_levels(self, paths: Sequence[str]) -> None:
        """Rename each new level to its place beside level 0."""
        for path in paths:
            fresh = self._workspace.new / path
            if not fresh.exists():
                continue
            place = self._workspace.destination / path
            if place.exists():
                self._set_aside(place, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            fresh.rename(place)

    def set_aside(self, paths: Sequence[str]) -> None:
        """Move levels from the destination to ``old``, which the end of the build removes."""
        for path in paths:
            if (self._workspace.destination / path).exists():
                self._set_aside(self._workspace.destination / path, path)

    def undo(self) -> bool:
        """Restore the destination as it was before a publishing that did not end.

        Returns
        -------
        bool
            Whether levels or metadata of a group in place were restored.
        """
        state = self._workspace.state
        if state is None or state.phase != "publish":
            return False
        if not self._workspace.in_place:
            self._exchange_back("", self._workspace.new)
            return False
        restored = self._restore(state)
        refresh_consolidated(self._workspace.destination.parent, staging=self._workspace.directory)
        return restored

    def _restore(self, state: BuildState) -> bool:
        if not self._before.exists():
            return False
        for path in state.levels[1:]:
            self._exchange_back(path, self._workspace.new / path)
        for path in state.surplus:
            self._put_back(path)
        self._restore_metadata()
        return True

    def _exchange_back(self, path: str, fresh: Path) -> None:
        place = self._workspace.destination / path
        if place.exists() and not fresh.exists():
            fresh.parent.mkdir(parents=True, exist_ok=True)
            place.rename(fresh)
        self._put_back(path)

    def _put_back(self, path: str) -> None:
        if self._aside(path).exists() and not (self._workspace.destination / path).exists():
            self._aside(path).rename(self._workspace.destination / path)

    def _restore_metadata(self) -> None:
        for name in GROUP_FILES:
            kept, place = self._before / name, self._workspace.destination / name
            if kept.exists():
                part = self._workspace.directory / f"{name}.part"
                shutil.copy2(kept, part)
                part.replace(place)
            else:
                place.unlink(missing_ok=True)
        for path in json.loads((self._before / "made.json").read_bytes())["groups"]:
            group = self._workspace.destination / path
            # Created by the build, and its levels have been moved back.
            if group.is_dir() and not any(found.is_dir() for found in group.iterdir()):
                shutil.rmtree(group)
        shutil.rmtree(self._before)

    def _set_aside(self, place: Path, path: str) -> None:
        aside = self._aside(path)
        aside.parent.mkdir(parents=True, exist_ok=True)
        place.rename(aside)

    def _aside(self, path: str) -> Path:
        return self._workspace.directory / "old" / (path or "store")

    @property
    def _before(self) -> Path:
        return self._workspace.directory / "before"
