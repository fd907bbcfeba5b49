"""A target that exists: the group that level 0 sits in, to which levels are added. Refuses what would lose something."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_pyramid.build.publishing import Publishing, publishing_in
from napari_pyramid.build.source import BuildSource, Reordered, directory_of
from napari_pyramid.build.targets import (
    create_residuals,
    group_around,
    open_level,
    refuse_unwritable,
)
from napari_pyramid.build.workspace import Workspace
from napari_pyramid.errors import BuildInProgressError, DestinationError, SpecError
from napari_pyramid.metadata import ome_zarr
from napari_pyramid.metadata.array import ArrayTemplate
from napari_pyramid.metadata.consolidated import refresh_consolidated
from napari_pyramid.metadata.group import Attributes, find_multiscale
from napari_pyramid.plan.spec import PyramidSpec
from napari_pyramid.storage.hierarchy import is_array
from napari_pyramid.storage.node import UNSAFE_PATH

__all__ = ["InPlace", "level_paths", "undo_unfinished"]


@dataclass(frozen=True, slots=True)
class InPlace:
    """The group that level 0 sits in: levels are added beside it, level 0 itself is never touched."""

    directory: Path
    template: ArrayTemplate
    workspace: Workspace
    base: str
    """Path of level 0 in the group."""
    series: str | None = None
    overwrite: bool = False

    first = 1

    @classmethod
    def beside(
        cls, source: BuildSource, *, codec: str | None, series: str | None, overwrite: bool
    ) -> InPlace:
        """
        Raises
        ------
        SpecError
            If the name of the series is no name of a group.
        DestinationError
            If level 0 is not an array in a local directory, has its axes in another order than OME-Zarr's, is the root
            of its store, is of a layout that we do not write, or its group cannot be written.
        """
        if series is not None and (
            UNSAFE_PATH.search(series) or "/" in series or series in _RESERVED
        ):
            raise SpecError(
                f"{series!r} cannot be the name of a series: its levels go into a group of that name; use letters, digits, - and _"
            )
        if isinstance(source.arrays[0], Reordered):
            raise DestinationError(
                "level 0 has its channels behind its planes, which OME-Zarr does not allow, and is never changed: give a destination instead"
            )
        array = directory_of(source.arrays[0])
        if array is None or len(source.arrays) != 1:
            raise DestinationError(
                "levels can be added in place only beside a zarr array in a local directory whose chunks are of one size: give a destination instead"
            )
        array = Path(os.path.abspath(array))
        group = group_around(array)
        if group is None:
            raise DestinationError(
                f"{array} is the root of its store, with no group to add levels to: build a new store instead "
                f"(napari-pyramid build {array.name} {array.stem}.ome.zarr)"
            )
        if series is not None and is_array(group / series):
            raise SpecError(
                f"{series!r} cannot be the name of a series: {group / series} is an array; choose another name"
            )
        _refuse_foreign_layout(source, group)
        refuse_unwritable(group)
        workspace = Workspace(group, in_place=True)
        return cls(
            group,
            ArrayTemplate.like(array, codec=codec),
            workspace,
            array.relative_to(group).as_posix(),
            series,
            overwrite,
        )

    def refuse_existing(self, spec: PyramidSpec) -> None:
        """
        Raises
        ------
        DestinationError
            If the image has larger levels than this one, or further levels that are not to be overwritten; or if a new level
            would take the place of something that is not a level of this image.
        """
        attributes = Attributes(self.directory)
        entry = find_multiscale(attributes, self.base, self.series)
        ours = [] if entry is None else ome_zarr.paths_of(attributes, entry)
        self._refuse_larger(ours)
        if entry is not None and len(entry["datasets"]) > 1 and not self.overwrite:
            n = len(entry["datasets"])
            what = f"the series {self.series!r}" if self.series else "the image"
            raise DestinationError(
                f"{self.directory}: {what} has {n} levels already: overwrite them (--overwrite), or name a second series (--name)"
            )
        self._refuse_taken(
            [level.path for level in (*spec.levels[1:], *spec.residuals)],
            ours if self.overwrite else [],
        )

    def _refuse_larger(self, ours: Sequence[str]) -> None:
        """Replacing the levels of an image by those of one of its coarser ones would lose its level 0."""
        size = math.prod(open_level(self.directory / self.base, writable=False).shape)
        for path in ours:
            if (
                self._is_own_array(path)
                and math.prod(open_level(self.directory / path, writable=False).shape) > size
            ):
                raise DestinationError(
                    f"{self.directory}: {self.base!r} is a coarser level of an image whose level 0 is {path!r}: build from that one"
                )

    def _refuse_taken(self, paths: Sequence[str], ours: Sequence[str]) -> None:
        for path in paths:
            if (self.directory / path).exists() and path not in ours:
                raise DestinationError(
                    f"{self.directory / path} exists already and is no level of this image: name a series (--name), or move it away"
                )

    def level_directory(self, spec: PyramidSpec, k: int) -> Path:
        return (self.workspace.new if k else self.directory) / spec.levels[k].path

    def residual_directory(self, spec: PyramidSpec, k: int) -> Path:
        return self.workspace.new / spec.residuals[k - 1].path

    def create(self, spec: PyramidSpec) -> None:
        names = tuple(a.name for a in spec.axes)
        for level in spec.levels[1:]:
            self.template.create(self.workspace.new / level.path, level, names)
        create_residuals(self.workspace.new, self.template, spec)

    def surplus(self, spec: PyramidSpec) -> list[str]:
        """Levels of an earlier build that are overwritten by fewer ones; only arrays inside the group, never level 0."""
        return [
            path
            for path in ome_zarr.surplus_paths(self.directory, spec, self.series)
            if self._is_own_array(path)
        ]

    def _is_own_array(self, path: str) -> bool:
        place = self.directory / path
        inside = not set(path.split("/")) & {"", ".", ".."} and place.resolve().is_relative_to(
            self.directory.resolve()
        )
        return (
            inside and place.resolve() != (self.directory / self.base).resolve() and is_array(place)
        )

    def undo(self) -> None:
        _undo(self.workspace)

    def publish(
        self, spec: PyramidSpec, description: ome_zarr.Description, surplus: Sequence[str] = ()
    ) -> None:
        """Renames of whole levels, the group's metadata, and what they name no more set aside; can be repeated after a crash."""
        paths = [level.path for level in (*spec.levels[1:], *spec.residuals)]
        staging = self.workspace.directory
        publishing = Publishing(self.workspace)
        publishing.begin(paths)
        for parent in {p.rpartition("/")[0] for p in paths} - {""}:
            Attributes.create(
                self.directory / parent, self.template.zarr_format, staging=staging
            ).save()
        publishing.put_levels(paths)
        ome_zarr.add_levels(self.directory, spec, description, series=self.series, staging=staging)
        publishing.set_aside(surplus)
        refresh_consolidated(self.directory, staging=staging)

    def identity(self) -> dict[str, Any]:
        return {"template": self.template.metadata, "series": self.series}


def undo_unfinished(path: Path) -> None:
    """Makes the groups of a store whole again in which a build was killed while it put its levels there.

    New levels that the metadata do not name yet would be taken for arrays of the source's own, and the build could not
    be recognised and finished; levels that they name and that are to be replaced must not be missing. A build that is
    alive is left alone.
    """
    for workspace in publishing_in(Path(os.path.abspath(path))):
        try:
            workspace.acquire()
        except BuildInProgressError:
            continue
        try:
            _undo(workspace)
        finally:
            workspace.release()


def _undo(workspace: Workspace) -> None:
    if workspace.state.get("phase") == "publish":
        Publishing(workspace).undo()
        refresh_consolidated(workspace.destination.parent, staging=workspace.directory)


def level_paths(base: str, n_levels: int, series: str | None) -> list[str]:
    """Paths of the levels beside the array `base`: ``s0`` is followed by ``s1``, ``raw`` by ``raw_1``.

    A second series of levels gets a group of its own name.
    """
    if series is not None:
        return [base, *(f"{series}/{k}" for k in range(1, n_levels))]
    m = re.fullmatch(r"(.*?)(\d+)", base)
    if m and int(m[2]) == 0:
        width = len(m[2]) if m[2] != "0" else 1
        return [base, *(f"{m[1]}{k:0{width}d}" for k in range(1, n_levels))]
    return [base, *(f"{base}_{k}" for k in range(1, n_levels))]


def _refuse_foreign_layout(source: BuildSource, group: Path) -> None:
    layout = source.image.layout if source.image is not None else ""
    if source.image is not None and not _WRITABLE.match(layout):
        raise DestinationError(
            f"{group} is {layout}, which is read but not written: build a new store instead"
        )


_RESERVED = frozenset(
    ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata", "c", "labels", "OME")
)
"""What zarr, OME-Zarr and we ourselves keep beside levels."""
_WRITABLE = re.compile(
    r"OME-Zarr|multiscales|bare|numbered|array|plain|single|group|collection", re.IGNORECASE
)
"""Layouts in whose groups levels may be added: OME-Zarr itself, and those without metadata of their own."""
