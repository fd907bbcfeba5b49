"""Define the target of a build, and what new stores and groups in place have in common.

Knows workspaces and OME-Zarr metadata; knows nothing of tiles. The workspace and the publishing
have two implementations, for directories and for stores of objects.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol

import zarr
from zarr.storage import LocalStore

from napari_pyramid.build.object_publishing import ObjectPublishing
from napari_pyramid.build.object_workspace import ObjectWorkspace
from napari_pyramid.build.publishing import Publishing
from napari_pyramid.build.workspace import Workspace
from napari_pyramid.build.workspace_base import PublishingBase, WorkspaceBase
from napari_pyramid.errors import DestinationError
from napari_pyramid.metadata.array import ArrayTemplate
from napari_pyramid.metadata.group import Attributes, find_multiscale
from napari_pyramid.metadata.image_attributes import Description
from napari_pyramid.plan.level import Level
from napari_pyramid.plan.spec import PyramidSpec
from napari_pyramid.storage.folder import Folder, Place, path_below

__all__ = [
    "Target",
    "create_levels",
    "group_around",
    "open_level",
    "publishing_of",
    "refuse_unwritable",
    "workspace_of",
]


def workspace_of(destination: Place, *, in_place: bool) -> WorkspaceBase[Any]:
    """Return the workspace of a destination: a directory, or objects of its store."""
    if isinstance(destination, Folder):
        return ObjectWorkspace(destination, in_place=in_place)
    return Workspace(destination, in_place=in_place)


def publishing_of(workspace: WorkspaceBase[Any]) -> PublishingBase[Any]:
    """Return the publishing of a workspace: by renames, or by objects that are written last."""
    if isinstance(workspace, ObjectWorkspace):
        return ObjectPublishing(workspace)
    assert isinstance(workspace, Workspace)
    return Publishing(workspace)


class Target(Protocol):
    """A place for levels: creates them where no reader looks, then publishes them."""

    @property
    def spec(self) -> PyramidSpec:
        """The levels that are built."""

    @property
    def directory(self) -> Place:
        """The group that holds the levels once they are published."""

    @property
    def template(self) -> ArrayTemplate:
        """Metadata from which the metadata of each new level are made."""

    @property
    def workspace(self) -> WorkspaceBase[Any]:
        """The levels until they are published, and how far the build is."""

    @property
    def first(self) -> int:
        """Number of the first level that is written."""

    @property
    def overwrite(self) -> bool:
        """Whether levels that readers may have opened are replaced or changed."""

    @property
    def updates(self) -> bool:
        """Whether existing levels are changed in their place, and no new ones are made."""

    def refuse_existing(self) -> None:
        """Raise if the destination is taken.

        Raises
        ------
        DestinationError
            If publishing would lose something, or replace what may not be overwritten.
        """

    def open_level(self, level: Level, *, writable: bool) -> zarr.Array[Any]:
        """Return the array of a level, or of a residual, while it is built."""

    def create(self) -> None:
        """Create the arrays of all levels in the workspace."""

    def surplus(self) -> list[str]:
        """Return the paths of existing levels that no metadata will name after publishing."""

    def undo(self) -> None:
        """Undo a publishing that did not end, so that nothing that was replaced is lost."""

    def publish(self, description: Description, surplus: Sequence[str] = ()) -> None:
        """Make the levels visible and remove those in `surplus`; can be repeated after a crash."""

    def identity(self) -> dict[str, Any]:
        """Return the values that distinguish this target from others, for the fingerprint."""


def open_level(place: Place, *, writable: bool) -> zarr.Array[Any]:
    """Return the zarr array at a place."""
    mode: Literal["r", "r+"] = "r+" if writable else "r"
    if isinstance(place, Folder):
        return zarr.open_array(place.objects.store, path=place.path, mode=mode)
    return zarr.open_array(LocalStore(place, read_only=not writable), mode=mode)


def create_levels(
    root: Place, levels: Iterable[Level], template: ArrayTemplate, spec: PyramidSpec
) -> None:
    """Create the arrays of `levels` of a spec, and the group of the residuals among them."""
    residual = spec.reduction.residual
    if spec.residuals and residual is not None:
        Attributes.create(root / residual.group, template.zarr_format).save()
    for level in levels:
        made = template
        if level.residual_of is not None:  # of another dtype than the levels
            made = ArrayTemplate.new(
                level.dtype, zarr_format=template.zarr_format, codec=spec.codec
            )
        made.create(root / level.path, level, tuple(a.name for a in spec.axes))


def group_around(array: Place) -> Place | None:
    """Return the group that an array is a level of; None for the root of a store.

    It is the group whose metadata name the array, else the nearest. Level paths have one or two
    parts, so that two parents are searched.
    """
    groups = [
        parent
        for parent in array.parents[:2]
        if (parent / "zarr.json").is_file() or (parent / ".zgroup").is_file()
    ]
    named = (
        g for g in groups if find_multiscale(Attributes(g), path_below(g, array), None) is not None
    )
    return next(named, groups[0] if groups else None)


def refuse_unwritable(directory: Place) -> None:
    """Raise if the nearest existing parent of `directory` is not a writable directory.

    Whether a store of objects can be written shows when a build begins.

    Raises
    ------
    DestinationError
        If it is a file, or may not be written.
    """
    if isinstance(directory, Folder):
        return
    existing = directory
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise DestinationError(f"{existing} is not a directory: choose a destination in one")
    if not os.access(existing, os.W_OK):
        raise DestinationError(
            f"{existing}: no permission to write: "
            "choose another destination, or change its permissions"
        )
