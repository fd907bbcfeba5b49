"""Read the "multiscales" of a group, from OME-Zarr 0.1 to 0.6: axes, levels and transforms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_pyramid.axes import Axis
from napari_pyramid.downsample import RESIDUAL_GROUPS
from napari_pyramid.errors import LayoutError
from napari_pyramid.image import Affine, Channel, Image, StoredLevel
from napari_pyramid.layouts._levels import LevelEntry, looks_rgb, open_levels
from napari_pyramid.layouts.coordinate_systems import as_list, to_one_system
from napari_pyramid.layouts.ome_zarr_axes import read_axes
from napari_pyramid.layouts.ome_zarr_document import Document, layout_name
from napari_pyramid.layouts.ome_zarr_omero import parse_channels
from napari_pyramid.layouts.transforms import compose, diagonal, is_axis_aligned
from napari_pyramid.storage.layout_warnings import brief, warn
from napari_pyramid.storage.node import Node

__all__ = [
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
        axes = read_axes(self.multiscale, first, f"{self.node.location} ({self.where})")
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
        transforms = as_list(self.multiscale.get("coordinateTransformations"))
        if not transforms or "coordinateSystems" in self.multiscale:
            return levels, None
        ndim = levels[0].array.ndim
        try:
            matrix = compose(
                to_one_system(transforms), ndim, self.node, [a.name for a in axes or ()]
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
