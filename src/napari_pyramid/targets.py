"""Where a build writes: a new store, or the group that level 0 sits in. Refuses what would lose something.

Knows workspaces and OME-Zarr metadata; knows nothing of tiles.
"""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import LocalStore

from napari_pyramid.errors import DestinationError
from napari_pyramid.layouts import ome_zarr_write as ome_zarr
from napari_pyramid.layouts._array_metadata import ArrayTemplate
from napari_pyramid.layouts.consolidated import refresh_consolidated
from napari_pyramid.sources import BuildSource, Reordered, directory_of
from napari_pyramid.spec import PyramidSpec
from napari_pyramid.workspace import Workspace, is_array, is_zarr, store_root

__all__ = ["InPlace", "NewStore", "Target", "level_paths"]


@dataclass(frozen=True, slots=True)
class NewStore:
    """A store, or a label image in an existing one, that is published by one rename."""

    directory: Path
    template: ArrayTemplate
    version: ome_zarr.Version
    workspace: Workspace
    overwrite: bool = False

    first = 0
    """The first level that is written."""

    @classmethod
    def at(cls, directory: Path, spec: PyramidSpec, version: ome_zarr.Version, source: BuildSource, *, overwrite: bool) -> NewStore:
        """
        Raises
        ------
        DestinationError
            If the directory is the source, in it or around it; exists and is not to be overwritten, or is no zarr store;
            or cannot be written.
        """
        directory = Path(os.path.abspath(directory))
        _refuse_overlap(directory, source)
        fill_value = getattr(source.arrays[0], "fill_value", None)
        template = ArrayTemplate.new(spec.dtype, zarr_format=ome_zarr.ZARR_FORMAT[version], codec=spec.codec, fill_value=fill_value)
        target = cls(directory, template, version, Workspace(directory, in_place=False), overwrite)
        _refuse_unwritable(store_root(directory).parent)
        return target

    def refuse_existing(self) -> None:
        """
        Raises
        ------
        DestinationError
            If something is there that is not to be overwritten, or that is no zarr store.
        """
        if not os.path.lexists(self.directory):
            return
        if not self.overwrite:
            raise DestinationError(f"{self.directory} exists already: choose another name, or overwrite it (--overwrite, overwrite=True)")
        if not is_zarr(self.directory) and (not self.directory.is_dir() or any(self.directory.iterdir())):
            raise DestinationError(f"{self.directory} is not a zarr store and will not be overwritten: choose another name")

    @property
    def is_label(self) -> bool:
        """The directory is ``labels/NAME`` of an image."""
        labels = self.directory.parent
        return labels.name == "labels" and is_zarr(labels.parent)

    def level_directory(self, spec: PyramidSpec, k: int) -> Path:
        return self.workspace.new / spec.levels[k].path

    def residual_directory(self, spec: PyramidSpec, k: int) -> Path:
        return self.workspace.new / spec.residuals[k - 1].path

    def create(self, spec: PyramidSpec) -> None:
        """Makes the arrays of all levels in the workspace."""
        names = tuple(a.name for a in spec.axes)
        for level in spec.levels:
            self.template.create(self.workspace.new / level.path, level, names)
        create_residuals(self.workspace.new, self.template, spec)

    def surplus(self, spec: PyramidSpec) -> list[str]:
        """Levels that nothing will name any more: a new store has none."""
        return []

    def publish(self, spec: PyramidSpec, description: ome_zarr.Description, surplus: Sequence[str] = ()) -> None:
        """Metadata last, then the rename; can be repeated after a crash."""
        if self.workspace.new.exists():
            self.refuse_existing()  # somebody else may have made it meanwhile
            ome_zarr.write_image(self.workspace.new, spec, description, self.version)
        self.workspace.publish_new()
        if self.is_label:
            ome_zarr.register_label(self.directory.parent, self.directory.name, self.version)
            refresh_consolidated(self.directory.parent)

    def identity(self) -> dict[str, Any]:
        return {"version": self.version, "template": self.template.metadata}


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
    def beside(cls, source: BuildSource, *, codec: str | None, series: str | None, overwrite: bool) -> InPlace:
        """
        Raises
        ------
        DestinationError
            If level 0 is not an array in a local directory, has its axes in another order than OME-Zarr's, is the root
            of its store, is of a layout that we do not write, or its group cannot be written.
        """
        if isinstance(source.arrays[0], Reordered):
            raise DestinationError(
                "level 0 has its channels behind its planes, which OME-Zarr does not allow, and is never changed: give a destination instead"
            )
        array = directory_of(source.arrays[0])
        if array is None or len(source.arrays) != 1:
            raise DestinationError("levels can be added in place only beside a zarr array in a local directory: give a destination instead")
        array = Path(os.path.abspath(array))
        group = _group_around(array)
        if group is None:
            raise DestinationError(
                f"{array} is the root of its store, with no group to add levels to: build a new store instead "
                f"(napari-pyramid build {array.name} {array.stem}.ome.zarr)"
            )
        _refuse_foreign_layout(source, group)
        _refuse_unwritable(group)
        workspace = Workspace(group, in_place=True)
        return cls(group, ArrayTemplate.like(array, codec=codec), workspace, array.relative_to(group).as_posix(), series, overwrite)

    def refuse_existing(self) -> None:
        """
        Raises
        ------
        DestinationError
            If the image has larger levels than this one, or further levels that are not to be overwritten.
        """
        attributes = ome_zarr.Attributes(self.directory)
        entry = ome_zarr.find_multiscale(attributes, self.base, self.series)
        self._refuse_larger(entry["datasets"] if entry is not None else [])
        if entry is not None and len(entry["datasets"]) > 1 and not self.overwrite:
            n = len(entry["datasets"])
            what = f"the series {self.series!r}" if self.series else "the image"
            raise DestinationError(f"{self.directory}: {what} has {n} levels already: overwrite them (--overwrite), or name a second series (--name)")

    def _refuse_larger(self, datasets: Sequence[Any]) -> None:
        """Replacing the levels of an image by those of one of its coarser ones would lose its level 0."""
        size = math.prod(open_level(self.directory / self.base, writable=False).shape)
        for path in (d.get("path") for d in datasets if isinstance(d, dict)):
            if isinstance(path, str) and self._is_own_array(path) and math.prod(open_level(self.directory / path, writable=False).shape) > size:
                raise DestinationError(f"{self.directory}: {self.base!r} is a coarser level of an image whose level 0 is {path!r}: build from that one")

    def refuse_taken(self, paths: Sequence[str]) -> None:
        """
        Raises
        ------
        DestinationError
            If a new level would take the place of something that is not a level of this image.
        """
        attributes = ome_zarr.Attributes(self.directory)
        entry = ome_zarr.find_multiscale(attributes, self.base, self.series) or {"datasets": []}
        ours = {d.get("path") for d in entry["datasets"]} if self.overwrite else set()
        for path in paths:
            if (self.directory / path).exists() and path not in ours:
                raise DestinationError(f"{self.directory / path} exists already and is no level of this image: name a series (--name), or move it away")

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
        return [path for path in ome_zarr.surplus_paths(self.directory, spec, self.series) if self._is_own_array(path)]

    def _is_own_array(self, path: str) -> bool:
        place = self.directory / path
        inside = not set(path.split("/")) & {"", ".", ".."} and place.resolve().is_relative_to(self.directory.resolve())
        return inside and place.resolve() != (self.directory / self.base).resolve() and is_array(place)

    def publish(self, spec: PyramidSpec, description: ome_zarr.Description, surplus: Sequence[str] = ()) -> None:
        """Renames of whole levels, the group's metadata, and what they name no more set aside; can be repeated after a crash."""
        paths = [level.path for level in (*spec.levels[1:], *spec.residuals)]
        for parent in {p.rpartition("/")[0] for p in paths} - {""}:
            ome_zarr.Attributes.create(self.directory / parent, self.template.zarr_format).save()
        self.workspace.publish_levels(paths)
        ome_zarr.add_levels(self.directory, spec, description, series=self.series, staging=self.workspace.directory)
        self.workspace.set_aside(surplus)
        refresh_consolidated(self.directory)

    def identity(self) -> dict[str, Any]:
        return {"template": self.template.metadata, "series": self.series}


Target = NewStore | InPlace


def take_back_unannounced(group: Path) -> None:
    """Makes a group whole again if a build was killed while it put its levels there: as if it had not begun to.

    New levels that the metadata do not name yet would be taken for arrays of the source's own, and the build could not
    be recognised and finished; levels that they name and that are to be replaced must not be missing.

    Raises
    ------
    BuildInProgressError
        If that build is alive.
    """
    workspace = Workspace(Path(os.path.abspath(group)), in_place=True)
    if workspace.state.get("phase") != "publish":
        return
    workspace.acquire()
    try:
        entries = ome_zarr.listed_multiscales(ome_zarr.Attributes(workspace.destination))
        named = {d.get("path") for entry in entries for d in entry["datasets"] if isinstance(d, dict)}
        paths = workspace.state.get("levels", [])[1:]
        workspace.take_back([path for path in paths if path not in named])
        workspace.put_back(paths)
    finally:
        workspace.release()


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


def open_level(directory: Path, *, writable: bool) -> zarr.Array[Any]:
    return zarr.open_array(LocalStore(directory, read_only=not writable), mode="r+" if writable else "r")


def create_residuals(root: Path, template: ArrayTemplate, spec: PyramidSpec) -> None:
    """Makes the group and the arrays of the residuals, if the method has any."""
    if spec.residuals:
        ome_zarr.Attributes.create(root / "laplacian", template.zarr_format).save()
    for level in spec.residuals:
        of_floats = ArrayTemplate.new(level.dtype, zarr_format=template.zarr_format, codec=spec.codec)
        of_floats.create(root / level.path, level, tuple(a.name for a in spec.axes))


def remove_old(target: Target) -> None:
    """Removes what the build replaced, and the workspace with it."""
    shutil.rmtree(target.workspace.directory / "old", ignore_errors=True)
    target.workspace.discard()


def _group_around(array: Path) -> Path | None:
    for parent in array.parents:
        if (parent / "zarr.json").is_file() or (parent / ".zgroup").is_file():
            return parent
        if parent != array.parent and parent != array.parent.parent:  # level paths have one or two parts
            return None
    return None


def _refuse_overlap(directory: Path, source: BuildSource) -> None:
    for array in source.arrays:
        found = directory_of(getattr(array, "array", array))
        if found is None:
            continue
        real, there = Path(os.path.realpath(found)), Path(os.path.realpath(directory))
        root = store_root(real)
        if there == real or real in there.parents:
            raise DestinationError(f"{directory} is the source or lies inside it: choose a destination elsewhere, or build in place (--in-place)")
        group = _group_around(real)
        if group is not None and group in there.parents and there.parent != group / "labels":
            raise DestinationError(f"{directory} lies inside the source {group}: choose a destination elsewhere, or build in place (--in-place)")
        if there == root or there in real.parents:
            raise DestinationError(f"{directory} holds the source {found}: choose a destination elsewhere, or build in place (--in-place)")


def _refuse_foreign_layout(source: BuildSource, group: Path) -> None:
    layout = source.image.layout if source.image is not None else ""
    if source.image is not None and not _WRITABLE.match(layout):
        raise DestinationError(f"{group} is {layout}, which is read but not written: build a new store instead")


_WRITABLE = re.compile(r"OME-Zarr|multiscales|bare|numbered|array|plain|single|group|collection", re.IGNORECASE)
"""Layouts in whose groups levels may be added: OME-Zarr itself, and those without metadata of their own."""


def _refuse_unwritable(directory: Path) -> None:
    existing = directory
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise DestinationError(f"{existing} is not a directory: choose a destination in one")
    if not os.access(existing, os.W_OK):
        raise DestinationError(f"{existing}: no permission to write: choose another destination, or change its permissions")
