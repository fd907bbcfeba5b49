"""Add levels to the group of level 0, and refuse a build that would lose something."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr

from napari_pyramid.arrays.virtual import Transpose
from napari_pyramid.build.source import BuildSource
from napari_pyramid.build.targets import (
    create_levels,
    group_around,
    open_level,
    publishing_of,
    refuse_unwritable,
    workspace_of,
)
from napari_pyramid.build.undo import undo_publishing
from napari_pyramid.build.workspace_base import WorkspaceBase
from napari_pyramid.errors import DestinationError, Remedy, SpecError
from napari_pyramid.metadata import ome_zarr
from napari_pyramid.metadata.array import ArrayTemplate
from napari_pyramid.metadata.consolidated import refresh_consolidated
from napari_pyramid.metadata.group import Attributes, find_multiscale
from napari_pyramid.metadata.image_attributes import Description
from napari_pyramid.plan.level import Level
from napari_pyramid.plan.spec import PyramidSpec
from napari_pyramid.storage.destination import place_of_array
from napari_pyramid.storage.file_names import ZARR_FILES
from napari_pyramid.storage.folder import Place, is_below, path_below
from napari_pyramid.storage.hierarchy import is_array
from napari_pyramid.storage.paths import UNSAFE_PATH

__all__ = ["Base", "InPlace", "level_paths"]


@dataclass(frozen=True, slots=True)
class Base:
    """Level 0 of a pyramid in place: the group that levels are added to, and the path in it."""

    group: Place
    path: str
    """Path of level 0 in the group."""
    series: str | None = None
    """Name of a further series of levels that shares level 0."""

    @classmethod
    def of(cls, source: BuildSource, series: str | None) -> Base:
        """Return the base of the levels that are added beside a source.

        Raises
        ------
        SpecError
            If a group cannot have the name of the series.
        DestinationError
            If level 0 is not an array in a directory or a writable store, has its axes in another
            order than OME-Zarr's, is the root of its store, or is of a layout that is read but not
            written; or if its group cannot be written.
        """
        if series is not None:
            _check_series(series)
        group, path = _group_and_path(source)
        if series is not None and is_array(group / series):
            raise SpecError(
                f"{series!r} cannot be the name of a series: {group / series} is an array; "
                "choose another name"
            )
        _refuse_foreign_layout(source, group)
        refuse_unwritable(group)
        return cls(group, path, series)


@dataclass(frozen=True, slots=True)
class InPlace:
    """The group of level 0: levels are added beside it, level 0 itself is never touched."""

    base: Base
    spec: PyramidSpec
    template: ArrayTemplate
    workspace: WorkspaceBase[Any]
    overwrite: bool = False
    updates: bool = False

    first = 1

    @classmethod
    def at(
        cls,
        base: Base,
        spec: PyramidSpec,
        template: ArrayTemplate,
        *,
        overwrite: bool,
        updates: bool,
    ) -> InPlace:
        """Return the target beside `base`, with the workspace of its group."""
        workspace = workspace_of(base.group, in_place=True)
        if not updates:
            spec = workspace.placed(spec, 1, overwrite=overwrite)
        return cls(base, spec, template, workspace, overwrite or updates, updates)

    @property
    def directory(self) -> Place:
        """Group that holds level 0."""
        return self.base.group

    def refuse_existing(self) -> None:
        """Raise if the levels cannot be put beside level 0.

        Raises
        ------
        DestinationError
            If the image has larger levels than this one, or further levels that may not be
            overwritten; or if a new level would replace something that is not a level of this
            image.
        """
        attributes = Attributes(self.directory)
        entry = find_multiscale(attributes, self.base.path, self.base.series)
        ours = [] if entry is None else ome_zarr.paths_of(attributes, entry)
        self._refuse_larger(ours)
        if entry is not None and len(entry["datasets"]) > 1 and not self.overwrite:
            n = len(entry["datasets"])
            what = f"the series {self.base.series!r}" if self.base.series else "the image"
            raise DestinationError(
                f"{self.directory}: {what} has {n} levels already",
                remedies=[Remedy.OVERWRITE, Remedy.NEW_SERIES],
            )
        self._refuse_taken(
            [level.path for level in self.spec.all_levels[1:]],
            ours if self.overwrite else [],
        )

    def _refuse_larger(self, ours: Sequence[str]) -> None:
        """Raise if the image has a larger level than the base: its level 0 would be replaced."""
        size = math.prod(open_level(self.directory / self.base.path, writable=False).shape)
        for path in ours:
            if (
                self._is_own_array(path)
                and math.prod(open_level(self.directory / path, writable=False).shape) > size
            ):
                raise DestinationError(
                    f"{self.directory}: {self.base.path!r} is a coarser level of an image whose "
                    f"level 0 is {path!r}: build from that one"
                )

    def _refuse_taken(self, paths: Sequence[str], ours: Sequence[str]) -> None:
        for path in paths:
            if (
                path not in ours
                and not self.workspace.owns(path)
                and (self.directory / path).exists()
            ):
                raise DestinationError(
                    f"{self.directory / path} exists already and is not a level of this image",
                    remedies=[Remedy.NEW_SERIES, Remedy.MOVE_AWAY],
                )

    def open_level(self, level: Level, *, writable: bool) -> zarr.Array[Any]:
        """Return the array of a level while it is built: in the workspace if it is new."""
        is_new = level.path != self.base.path and not self.updates
        return self.workspace.open_level(level.path, is_new=is_new, writable=writable)

    def create(self) -> None:
        """Create the arrays of the levels after level 0 in the workspace."""
        create_levels(self.workspace.new, self.spec.all_levels[1:], self.template, self.spec)

    def surplus(self) -> list[str]:
        """Return the levels of an earlier build that fewer new levels leave over.

        Only arrays inside the group, never level 0.
        """
        return [
            path
            for path in ome_zarr.surplus_paths(self.directory, self.spec, self.base.series)
            if self._is_own_array(path)
        ]

    def _is_own_array(self, path: str) -> bool:
        place = (self.directory / path).resolve()
        inside = not set(path.split("/")) & {"", ".", ".."} and is_below(
            self.directory.resolve(), place
        )
        return inside and place != (self.directory / self.base.path).resolve() and is_array(place)

    def undo(self) -> None:
        """Restore the group as it was before a publishing that did not end."""
        undo_publishing(self.workspace)

    def publish(self, description: Description, surplus: Sequence[str] = ()) -> None:
        """Put whole levels in their places, write the group's metadata, then set `surplus` aside.

        Can be repeated after a crash.
        """
        paths = [level.path for level in self.spec.all_levels[1:]]
        staging = self.workspace.directory
        publishing = publishing_of(self.workspace)
        group = publishing.metadata_place(self.directory)
        publishing.begin(paths)
        for parent in {p.rpartition("/")[0] for p in paths} - {""}:
            Attributes.create(group / parent, self.template.zarr_format, staging=staging).save()
        publishing.put_levels(paths)
        ome_zarr.add_levels(group, self.spec, description, series=self.base.series, staging=staging)
        publishing.set_aside(surplus)
        refresh_consolidated(group, staging=staging)
        publishing.end()

    def identity(self) -> dict[str, Any]:
        """Return the metadata template and the series, for the fingerprint."""
        return {"template": self.template.metadata, "series": self.base.series}


def level_paths(base: str, n_levels: int, series: str | None) -> list[str]:
    """Return the paths of the levels beside the array `base`, which comes first.

    ``s0`` is followed by ``s1``, and ``raw`` by ``raw_1``. A second series of levels gets a group
    of its own name.
    """
    if series is not None:
        return [base, *(f"{series}/{k}" for k in range(1, n_levels))]
    m = re.fullmatch(r"(.*?)(\d+)", base)
    if m and int(m[2]) == 0:
        width = len(m[2]) if m[2] != "0" else 1
        return [base, *(f"{m[1]}{k:0{width}d}" for k in range(1, n_levels))]
    return [base, *(f"{base}_{k}" for k in range(1, n_levels))]


def _check_series(series: str) -> None:
    """Raise if a series cannot have this name.

    Raises
    ------
    SpecError
        If no group can have the name, or zarr, OME-Zarr or we use it beside levels.
    """
    if UNSAFE_PATH.search(series) or "/" in series or series in _RESERVED:
        raise SpecError(
            f"{series!r} cannot be the name of a series: its levels go into a group of that name; "
            "use letters, digits, - and _"
        )


def _group_and_path(source: BuildSource) -> tuple[Place, str]:
    """Return the group that levels can be added to, and the path of level 0 in it.

    Raises
    ------
    DestinationError
        If the source is not one zarr array, in a directory or a writable store, with its axes in
        OME-Zarr's order and in a group.
    """
    if isinstance(source.arrays[0], Transpose):
        raise DestinationError(
            "level 0 has its channels behind its planes, which OME-Zarr does not allow, and is "
            "never changed",
            remedies=[Remedy.NEW_STORE],
        )
    array = place_of_array(source.arrays[0])
    if array is None or len(source.arrays) != 1:
        raise DestinationError(
            "levels can be added in place only beside a zarr array in a local directory, a bucket "
            "or a writable store, whose chunks are of one size",
            remedies=[Remedy.NEW_STORE],
        )
    if isinstance(array, Path):
        array = Path(os.path.abspath(array))
    group = group_around(array)
    if group is None:
        raise DestinationError(
            f"{array} is the root of its store, with no group to add levels to",
            remedies=[Remedy.NEW_STORE],
        )
    return group, path_below(group, array)


def _refuse_foreign_layout(source: BuildSource, group: Place) -> None:
    image = source.image
    if image is not None and not image.is_writable:
        raise DestinationError(
            f"{group} is {image.layout}, which is read but not written",
            remedies=[Remedy.NEW_STORE],
        )


_RESERVED = frozenset((*ZARR_FILES, "c", "labels", "OME"))
"""Names that zarr, OME-Zarr and this package use beside levels."""
