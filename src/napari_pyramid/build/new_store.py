"""Build a new store, or a new label image in an existing one; publish it in one step."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import zarr

from napari_pyramid.build.source import BuildSource
from napari_pyramid.build.source_places import place_compared
from napari_pyramid.build.targets import (
    create_levels,
    group_around,
    publishing_of,
    refuse_unwritable,
    workspace_of,
)
from napari_pyramid.build.workspace_base import WorkspaceBase
from napari_pyramid.errors import DestinationError, Remedy
from napari_pyramid.metadata import ome_zarr
from napari_pyramid.metadata.array import ArrayTemplate
from napari_pyramid.metadata.consolidated import refresh_consolidated
from napari_pyramid.metadata.image_attributes import ZARR_FORMAT, Description, Version
from napari_pyramid.plan.level import Level
from napari_pyramid.plan.spec import PyramidSpec
from napari_pyramid.storage.folder import Folder, Place
from napari_pyramid.storage.hierarchy import is_array, is_label_place, is_zarr, store_root

__all__ = ["NewStore"]

P = TypeVar("P", Path, Folder)


@dataclass(frozen=True, slots=True)
class NewStore:
    """A store, or a label image in an existing one, that is published in one step.

    On a disk the step is a rename, and in a bucket the writing of the group's metadata.
    """

    directory: Place
    spec: PyramidSpec
    template: ArrayTemplate
    version: Version
    workspace: WorkspaceBase[Any]
    overwrite: bool = False

    first = 0
    updates = False

    @classmethod
    def at(
        cls,
        directory: Place,
        spec: PyramidSpec,
        version: Version,
        source: BuildSource,
        *,
        overwrite: bool,
    ) -> NewStore:
        """Return the target at `directory`; its parent may have to be created.

        Raises
        ------
        DestinationError
            If the directory is the source, in it or around it, is not local, is inside an array,
            or cannot be written.
        """
        if isinstance(directory, Path):
            _refuse_url(directory)
            directory = Path(os.path.abspath(directory))
        _refuse_overlap(directory, source)
        for parent in directory.parents:
            if is_array(parent):
                raise DestinationError(
                    f"{directory} is inside the array {parent}, which holds chunks only",
                    remedies=[Remedy.NEW_NAME],
                )
        if isinstance(directory, Folder) and directory.objects.is_transaction and version != "0.5":
            raise DestinationError(
                f"{directory}: this store takes zarr v3 (OME-Zarr 0.5) only: leave the format out"
            )
        workspace = workspace_of(directory, in_place=False)
        refuse_unwritable(workspace.directory.parent)
        return cls(
            directory,
            workspace.placed(spec, 0, overwrite=overwrite),
            _template(spec, version, source),
            version,
            workspace,
            overwrite,
        )

    @classmethod
    def planned(cls, spec: PyramidSpec, version: Version, source: BuildSource) -> NewStore:
        """Return a target to plan with. Its directory is a name only, and is never looked at."""
        directory = Path(os.path.abspath("plan.ome.zarr"))
        return cls(
            directory,
            spec,
            _template(spec, version, source),
            version,
            workspace_of(directory, in_place=False),
        )

    def refuse_existing(self) -> None:
        """Raise if the directory is taken.

        Raises
        ------
        DestinationError
            If something is there that must not be overwritten, or that is not a zarr store.
        """
        if not self.workspace.is_taken():
            return
        if not is_zarr(self.directory) and (
            not self.directory.is_dir() or any(self.directory.iterdir())
        ):
            raise DestinationError(
                f"{self.directory} exists already, is not a zarr store and will not be overwritten",
                remedies=[Remedy.NEW_NAME],
            )
        if not self.overwrite:
            raise DestinationError(
                f"{self.directory} exists already", remedies=[Remedy.OVERWRITE, Remedy.NEW_NAME]
            )

    @property
    def is_label(self) -> bool:
        """Whether the store is a label image of an existing image."""
        return is_label_place(self.directory)

    def open_level(self, level: Level, *, writable: bool) -> zarr.Array[Any]:
        """Return the array of a level in the workspace."""
        return self.workspace.open_level(level.path, is_new=True, writable=writable)

    def create(self) -> None:
        """Create the arrays of all levels in the workspace."""
        create_levels(self.workspace.new, self.spec.all_levels, self.template, self.spec)

    def surplus(self) -> list[str]:
        """Return what the store leaves over of the store that it replaces."""
        files = ["zarr.json"] if self.version == "0.5" else [".zgroup", ".zattrs"]
        return self.workspace.replaced([*files, *(level.path for level in self.spec.all_levels)])

    def undo(self) -> None:
        """Put back the store that an unfinished publishing has replaced."""
        publishing_of(self.workspace).undo()

    def publish(self, description: Description, surplus: Sequence[str] = ()) -> None:
        """Write the metadata, then put the store in its place; can be repeated after a crash."""
        staging = self.workspace.directory
        if self.workspace.new.exists():
            self.refuse_existing()  # another program may have created it meanwhile
            ome_zarr.write_image(self.workspace.new, self.spec, description, self.version)
        publishing = publishing_of(self.workspace)
        publishing.put_store()
        publishing.set_aside(surplus)
        above = publishing.metadata_place(self.directory.parent)
        if self.is_label:
            ome_zarr.register_label(above, self.directory.name, self.version, staging=staging)
        refresh_consolidated(above, staging=staging)
        publishing.end()

    def identity(self) -> dict[str, Any]:
        """Return the version and the metadata template, for the fingerprint."""
        return {"version": self.version, "template": self.template.metadata}


def _template(spec: PyramidSpec, version: Version, source: BuildSource) -> ArrayTemplate:
    fill_value = getattr(source.arrays[0], "fill_value", None)
    return ArrayTemplate.new(
        spec.dtype,
        zarr_format=ZARR_FORMAT[version],
        codec=spec.codec,
        fill_value=fill_value,
    )


def _refuse_url(directory: Path) -> None:
    """Raise if a path was made from a URL: ``s3://bucket`` becomes ``s3:/bucket``."""
    if re.search(r"(?:^|/)\w{2,}:/", directory.as_posix()):
        raise DestinationError(f"{directory} is a URL that was made a path: give it as text")


def _refuse_overlap(directory: Place, source: BuildSource) -> None:
    for array in source.arrays:
        found = place_compared(array)
        if isinstance(found, Path) and isinstance(directory, Path):
            real = Path(os.path.realpath(found))
            _refuse_around(directory, Path(os.path.realpath(directory)), real)
        elif isinstance(found, Folder) and isinstance(directory, Folder):
            _refuse_around(directory, directory, found)


def _refuse_around(directory: Place, there: P, real: P) -> None:
    """Raise if a destination is the source, in it or around it.

    Parameters
    ----------
    there, real
        The destination and the array of the source, without links.

    Raises
    ------
    DestinationError
        If building there would change what is read.
    """
    root = store_root(real)
    elsewhere = [Remedy.NEW_NAME, Remedy.IN_PLACE]
    if there == real or real in there.parents:
        raise DestinationError(
            f"{directory} is the source, or inside the source", remedies=elsewhere
        )
    group = group_around(real)
    if group is not None and group in there.parents and there.parent != group / "labels":
        raise DestinationError(f"{directory} is inside the source {group}", remedies=elsewhere)
    if there == root or there in real.parents:
        raise DestinationError(f"{directory} holds the source {real}", remedies=elsewhere)
