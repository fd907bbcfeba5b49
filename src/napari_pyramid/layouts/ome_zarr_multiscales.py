"""Read the "multiscales" of a group, from OME-Zarr 0.1 to 0.6: axes, levels and transforms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_pyramid.axes import Axis, clean_unit, default_axes
from napari_pyramid.downsample import RESIDUAL_GROUPS
from napari_pyramid.errors import LayoutError
from napari_pyramid.image import Affine, Channel, Image, StoredLevel
from napari_pyramid.layouts._levels import LevelEntry, looks_rgb, open_levels
from napari_pyramid.layouts.ome_zarr_document import Document, layout_name
from napari_pyramid.layouts.ome_zarr_omero import parse_channels
from napari_pyramid.layouts.transforms import compose, diagonal, is_axis_aligned
from napari_pyramid.storage.layout_warnings import brief, warn
from napari_pyramid.storage.node import Node

__all__ = [
    "intrinsic_system",
    "multiscale_names",
    "multiscales_of",
    "read_multiscale",
    "read_multiscales",
    "without_channel",
]

_KEPT = ("type", "metadata", "coordinateSystems", "coordinateTransformations")
"""Keys of a multiscale that are kept as metadata of the image, since they are not shown."""
_MOST = 64
"""Limit of multiscales, and of levels of each: an array halved 64 times has no sample left."""


def multiscales_of(node: Node, document: Document) -> list[Mapping[str, Any]]:
    """Return the multiscales that name levels; other entries are left out with a warning."""
    found = document.content.get("multiscales")
    where = f"{node.location}/{document.where}"
    if isinstance(found, Mapping) and "datasets" in found:
        warn(f"{where}: multiscales is an object, expected a list of them; read as the only one")
        found = [found]
    if isinstance(found, Mapping) or found is None:
        return []  # an object is of zarr-conventions or GeoZarr, whose layouts read it
    if not isinstance(found, list):
        warn(f"{where}: multiscales is {brief(found)}, expected a list; ignored")
        return []
    good = [
        m
        for m in found
        if isinstance(m, Mapping) and isinstance(m.get("datasets"), list) and m["datasets"]
    ]
    if len(good) < len(found) or not found:
        warn(
            f"{where}: multiscales names no datasets in {len(found) - len(good)} "
            f"of {len(found)} entries; ignored"
        )
    if len(good) > _MOST or any(len(m["datasets"]) > _MOST for m in good):
        warn(
            f"{where}: multiscales lists more than any image has; only the first {_MOST} "
            "multiscales, and levels of each, are read"
        )
        good = [{**m, "datasets": m["datasets"][:_MOST]} for m in good[:_MOST]]
    return good


def read_multiscales(node: Node, document: Document, ome_version: str | None) -> list[Image]:
    """Return one image per multiscale with a readable level.

    All but the first are alternatives, and hidden.
    """
    images: list[Image] = []
    for reader in _readers(node, document):
        image = reader.image(ome_version)
        if image is not None:
            images.append(_hidden(image) if images else image)
    return images


def read_multiscale(
    node: Node, document: Document, number: int, ome_version: str | None
) -> Image | None:
    """Return the image of one multiscale, visible; None if no level of it can be read."""
    return _readers(node, document)[number].image(ome_version)


def multiscale_names(node: Node, document: Document) -> list[str]:
    """Return the names of the images of `read_multiscale`, without opening them."""
    return [reader.name for reader in _readers(node, document)]


def _readers(node: Node, document: Document) -> list[_Reader]:
    return [
        _Reader(node, document, multiscale, f"{document.where}: multiscales[{i}]")
        for i, multiscale in enumerate(multiscales_of(node, document))
    ]


def intrinsic_system(multiscale: Mapping[str, Any]) -> str | None:
    """Return the name of the coordinate system that the levels' transforms lead to (0.6), or None.

    It is the system in which the image is shown.
    """
    for dataset in multiscale.get("datasets", ()):
        for transform in _as_list(
            dataset.get("coordinateTransformations") if isinstance(dataset, Mapping) else None
        ):
            if (name := system_name(transform, "output")) is not None:
                return name
    return None


def system_name(transform: object, side: str) -> str | None:
    """Return the name of the system on one side of a transform.

    The side is an object since 0.6.dev4, and was a string before.
    """
    end = transform.get(side) if isinstance(transform, Mapping) else None
    end = end.get("name") if isinstance(end, Mapping) else end
    return end if isinstance(end, str) and end else None


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reader of one multiscale."""

    node: Node
    document: Document
    multiscale: Mapping[str, Any]
    where: str
    """File and key of the multiscale."""

    def image(self, ome_version: str | None) -> Image | None:
        """Return the image, or None if no level can be read."""
        paths = [self._path(dataset) for dataset in self.multiscale["datasets"]]
        first = next((n for n in map(self._peek, paths) if n is not None), None)
        if first is None:
            # Only for the warnings: one for each level that cannot be read.
            open_levels(self.node, map(LevelEntry, paths), self.where)
            return None
        axes = self._axes(first)
        entries = [
            self._entry(dataset, path, first.ndim, axes)
            for dataset, path in zip(self.multiscale["datasets"], paths, strict=True)
        ]
        levels = open_levels(
            self.node, entries, self.where, any_dtype=self.multiscale.get("type") in RESIDUAL_GROUPS
        )
        if not levels:
            return None
        levels, affine = self._placed(levels, axes)
        return self._described(
            Image(
                self.name,
                levels,
                layout_name(ome_version),
                self.node.path,
                axes=axes,
                affine=affine,
                ome_version=ome_version,
                is_writable=True,
            )
        )

    def _path(self, dataset: object) -> object:
        """Return the path of a level.

        fibsem-tools wrote plain strings as datasets; other programs write numbers as paths.
        """
        path = dataset.get("path") if isinstance(dataset, Mapping) else dataset
        if isinstance(path, int) and not isinstance(path, bool):
            warn(
                f"{self.node.location} ({self.where}): the path of a dataset is the number {path}, "
                "not a string"
            )
            return str(path)
        return path

    def _peek(self, path: object) -> Node | None:
        """Return the array at a path, or None if it cannot be opened; `open_levels` warns of it."""
        try:
            node = self.node.child(path)
            return node if node is not None and node.ndim and node.array().ndim else None
        except LayoutError:
            return None

    def _entry(
        self, dataset: object, path: object, ndim: int, axes: tuple[Axis, ...] | None
    ) -> LevelEntry:
        transforms = (
            dataset.get("coordinateTransformations") if isinstance(dataset, Mapping) else None
        )
        if transforms is None:
            return LevelEntry(path)
        if isinstance(transforms, Mapping):  # one transform without a list
            transforms = [transforms]
        try:
            matrix = compose(transforms, ndim, self.node, [a.name for a in axes or ()])
            if not is_axis_aligned(matrix):
                raise LayoutError(
                    "coordinateTransformations of a level may only scale and translate"
                )
        except LayoutError as error:
            warn(
                f"{self.node.location} ({self.where}): scale of level {brief(path)} is ignored: "
                f"{error}"
            )
            return LevelEntry(path)
        return LevelEntry(path, *diagonal(matrix))

    def _axes(self, first: Node) -> tuple[Axis, ...] | None:
        """Return the listed axes; without a list, t, c, z, y, x for 5-D arrays (0.1 and 0.2).

        For other arrays, the axes follow from the dimension names of the array, if it has any.
        """
        listed = self.multiscale.get("axes")
        if listed is None and (systems := self.multiscale.get("coordinateSystems")) is not None:
            listed = _axes_of_system(systems, intrinsic_system(self.multiscale))
        if listed is not None:
            try:
                return _parse_axes(listed, first.ndim)
            except LayoutError as error:
                warn(f"{self.node.location} ({self.where}): axes are ignored: {error}")
        elif first.ndim == 5:
            return default_axes(5)
        names = first.dimension_names
        return (
            tuple(Axis.named(n) for n in names) if names and len(set(names)) == len(names) else None
        )

    @property
    def name(self) -> str:
        """Name of the image."""
        name = self.multiscale.get("name")
        # Some writers give a path as name: ome-zarr-py "/", spatialdata "/images/he".
        name = name.rpartition("/")[2] if isinstance(name, str) and name.startswith("/") else name
        return name if isinstance(name, str) and name else self.node.title

    def _placed(
        self, levels: tuple[StoredLevel, ...], axes: tuple[Axis, ...] | None
    ) -> tuple[tuple[StoredLevel, ...], Affine | None]:
        """Return the levels with the multiscale's transforms applied after their own (0.4, 0.5).

        Also the affine, if the transforms do more than scale and translate. In 0.6 the transforms
        of the multiscale lead to other coordinate systems, and are not applied.
        """
        transforms = _as_list(self.multiscale.get("coordinateTransformations"))
        if not transforms or "coordinateSystems" in self.multiscale:
            return levels, None
        ndim = levels[0].array.ndim
        try:
            matrix = compose(
                _to_one_system(transforms), ndim, self.node, [a.name for a in axes or ()]
            )
        except LayoutError as error:
            warn(
                f"{self.node.location} ({self.where}): coordinateTransformations are ignored: "
                f"{error}"
            )
            return levels, None
        if not is_axis_aligned(matrix):
            return levels, without_channel(matrix, axes)
        outer_scale, outer_translation = diagonal(matrix)
        return tuple(_moved(level, outer_scale, outer_translation) for level in levels), None

    def _described(self, image: Image) -> Image:
        """Return the image with channels, colours and the metadata that are kept but not shown."""
        first = image.levels[0].array
        axis = image.channel_axis
        omero = self.document.content.get("omero")
        channels = parse_channels(
            omero,
            1 if axis is None else first.shape[axis],
            first.dtype,
            f"{self.node.location}/{self.document.where}",
        )
        rgb = not channels and _is_rgb(image)
        kept: dict[str, Any] = {
            key: self.multiscale[key] for key in _KEPT if key in self.multiscale
        }
        if self.document.version is not None:
            kept["version"] = self.document.version
        return replace(image, channels=channels, rgb=rgb, metadata=kept)


def _is_rgb(image: Image) -> bool:
    """Return whether the last axis is the channel axis and holds colours (tifffile's samples)."""
    if image.axes is None:
        return looks_rgb(image.levels)
    array = image.levels[0].array
    return (
        image.channel_axis == array.ndim - 1 >= 2
        and array.shape[-1] in (3, 4)
        and array.dtype == np.uint8
    )


def _hidden(image: Image) -> Image:
    axis = image.channel_axis
    n_channels = 1 if axis is None else image.levels[0].array.shape[axis]
    channels = image.channels or (Channel(),) * n_channels
    return replace(image, channels=tuple(replace(c, visible=False) for c in channels))


def _parse_axes(listed: object, ndim: int) -> tuple[Axis, ...]:
    """Return the axes of a list of names (0.3) or objects (0.4 and later).

    Raises
    ------
    LayoutError
        If the list does not have `ndim` different names.
    """
    if not isinstance(listed, list) or len(listed) != ndim:
        count = f"{len(listed)} axes are" if isinstance(listed, list) else f"{brief(listed)} is"
        raise LayoutError(f"{count} listed for arrays of {ndim} axes")
    axes = tuple(_parse_axis(entry) for entry in listed)
    if len({a.name for a in axes}) < ndim:
        raise LayoutError(f"names {', '.join(a.name for a in axes)} are not all different")
    return axes


def _parse_axis(entry: object) -> Axis:
    name = entry.get("name") if isinstance(entry, Mapping) else entry
    if not isinstance(name, str) or not name:
        raise LayoutError(f"{brief(entry)} has no name")
    implied = Axis.named(name)
    if not isinstance(entry, Mapping):
        return implied
    kind, unit = entry.get("type"), entry.get("unit")
    return Axis(
        name,
        kind if isinstance(kind, str) else implied.type,
        clean_unit(unit) if isinstance(unit, str) else None,
    )


def _axes_of_system(systems: object, name: str | None) -> object:
    """Return the axes of the named coordinate system, or of the first one without that name."""
    known = [s for s in _as_list(systems) if isinstance(s, Mapping)]
    system = next((s for s in known if s.get("name") == name), known[0] if known else {})
    return system.get("axes", [])


def _to_one_system(transforms: Sequence[object]) -> list[object]:
    """Return the transforms that are applied one after the other.

    spatialdata writes alternatives instead, one for each of its coordinate systems; its default is
    the system "global".
    """
    outputs = [system_name(t, "output") for t in transforms]
    if None in outputs or len(transforms) == 1:
        return list(transforms)
    return [transforms[outputs.index("global") if "global" in outputs else 0]]


def _moved(level: StoredLevel, scale: Sequence[float], translation: Sequence[float]) -> StoredLevel:
    inner_scale = level.scale or (1.0,) * len(scale)
    inner_translation = level.translation or (0.0,) * len(scale)
    return replace(
        level,
        scale=tuple(outer * inner for outer, inner in zip(scale, inner_scale, strict=True)),
        translation=tuple(
            s * t + o for s, t, o in zip(scale, inner_translation, translation, strict=True)
        ),
    )


def without_channel(matrix: Affine, axes: tuple[Axis, ...] | None) -> Affine:
    """Return the matrix without the row and column of the channel axis."""
    drop = [i for i, axis in enumerate(axes or ()) if axis.type == "channel"][:1]
    return np.delete(np.delete(matrix, drop, axis=0), drop, axis=1)


def _as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
