"""Describe what a store holds, for people and for programs.

Reads metadata and the sizes of files; reads no pixels and writes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import zarr

from napari_pyramid.axes import Axis
from napari_pyramid.image import Channel, Image, StoredLevel
from napari_pyramid.layouts import open_images
from napari_pyramid.metadata.codecs import codec_name
from napari_pyramid.plan.level import Level, format_bytes
from napari_pyramid.plan.spec import PyramidSpec
from napari_pyramid.storage.store_objects import place_of
from napari_pyramid.storage.stored_bytes import stored_bytes
from napari_pyramid.words import by, counted

__all__ = ["ImageInfo", "LevelInfo", "StoreInfo", "describe", "describe_spec"]

_LISTED = 20
"""At most so many unreadable regions are printed."""


@dataclass(frozen=True, slots=True)
class LevelInfo:
    """One stored level. A field is None where the store does not say."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    codec: str | None
    """Name such as ``"blosc-zstd-5"``; None for a level made of several arrays."""
    scale: tuple[float, ...] | None
    translation: tuple[float, ...] | None
    nbytes: int
    """Bytes of all pixels before compression."""
    stored_bytes: int | None
    """Bytes on disk; None for remote stores, which are not counted."""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """One image or label image, with its largest level first."""

    name: str
    path: str
    layout: str
    kind: str
    axes: tuple[Axis, ...] | None
    rgb: bool
    channels: tuple[Channel, ...]
    n_label_colors: int
    levels: tuple[LevelInfo, ...]
    unreadable: tuple[str, ...] = ()
    """Regions that our build could not read from its source, and filled with the fill value.

    Each is a text such as ``"level 0 [0:64, 64:128]"``.
    """

    def __str__(self) -> str:
        where = f" at {self.path}" if self.path else ""
        lines = [f"{self.kind} {self.name!r}{where}: {self.layout}, {self.levels[0].dtype}"]
        if self.axes is not None:
            lines.append(
                "  axes "
                + ", ".join(f"{a.name} ({a.unit})" if a.unit else a.name for a in self.axes)
            )
        lines += [f"  channel {_channel_text(channel)}" for channel in self.channels]
        if self.n_label_colors:
            lines.append(f"  {self.n_label_colors} labels with a colour of their own")
        lines += _unreadable_lines(self.unreadable)
        header = (
            "level",
            "shape",
            "chunks",
            "shards",
            "codec",
            "voxel size",
            "translation",
            "on disk",
        )
        return "\n".join(
            [
                *lines,
                *text_table([header, *(_level_row(level, self.path) for level in self.levels)]),
            ]
        )


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """All images of the store at a path."""

    path: str
    images: tuple[ImageInfo, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the same as dictionaries, lists, strings and numbers."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n\n".join(
            [
                *map(str, self.images),
                f"{self.path}: {_count(self.images)}, {_stored_text(self.stored_bytes)}",
            ]
        )

    @property
    def stored_bytes(self) -> int | None:
        """Bytes on disk, or None where a level is not counted.

        A level that several images share counts once.
        """
        sizes = {level.path: level.stored_bytes for image in self.images for level in image.levels}
        return None if None in sizes.values() else sum(size or 0 for size in sizes.values())


def describe(
    path: str | os.PathLike[str] | object,
    images: Sequence[Image] | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> StoreInfo:
    """Describe the store at a path or URL.

    Parameters
    ----------
    images
        The images of the store, if they are open already; None opens them.
    storage_options
        Credentials and the like for a URL: see `napari_pyramid.storage.url_options.OPTIONS`.

    Raises
    ------
    LayoutError
        If nothing is there, or no layout recognises it.
    """
    found = open_images(path, storage_options=storage_options) if images is None else images
    return StoreInfo(place_of(path), tuple(map(_image_info, found)))


def describe_spec(spec: PyramidSpec) -> dict[str, Any]:
    """Return a pyramid that does not exist yet as dictionaries, lists, strings and numbers."""
    return {
        "name": spec.name,
        "kind": spec.kind,
        "method": spec.reduction.name,
        "axes": [asdict(axis) for axis in spec.axes],
        "codec": spec.codec,
        "n_files": spec.n_files,
        "nbytes": spec.nbytes,
        "levels": [_planned_level(level) for level in spec.levels],
    }


def text_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as indented lines with aligned columns, without the columns that are empty."""
    columns = [
        column
        for column in zip(*rows, strict=True)
        if any(cell not in ("", "-") for cell in column[1:])
    ]
    widths = [max(map(len, column)) for column in columns]
    return [
        "  " + "  ".join(v.ljust(w) for v, w in zip(row, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]


def _image_info(image: Image) -> ImageInfo:
    return ImageInfo(
        image.name,
        image.path,
        image.layout,
        image.kind,
        image.axes,
        image.rgb,
        image.channels,
        len(image.label_colors),
        tuple(_level_info(level) for level in image.levels),
        tuple(_unreadable(image)),
    )


def _unreadable(image: Image) -> Iterator[str]:
    """Yield the regions that a build with ``skip_unreadable`` listed in the metadata.

    Other programs may have written anything under the same keys, so that each type is checked.
    """
    found: Any = image.metadata
    for key in ("metadata", "kwargs", "unreadable"):
        found = found.get(key) if isinstance(found, Mapping) else None
    for entry in found if isinstance(found, list) else ():
        region = entry.get("region") if isinstance(entry, Mapping) else None
        if isinstance(region, list) and all(
            isinstance(span, list) and len(span) == 2 for span in region
        ):
            box = ", ".join(f"{start}:{stop}" for start, stop in region)
            yield f"level {entry.get('level')} [{box}]"


def _unreadable_lines(regions: Sequence[str]) -> list[str]:
    if not regions:
        return []
    count = (
        "1 region of the source" if len(regions) == 1 else f"{len(regions):,} regions of the source"
    )
    rest = (
        [f"    and {len(regions) - _LISTED:,} more (info --json lists all)"]
        if len(regions) > _LISTED
        else []
    )
    return [
        f"  {count} could not be read, and are fill value:",
        *(f"    {region}" for region in regions[:_LISTED]),
        *rest,
    ]


def _level_info(level: StoredLevel) -> LevelInfo:
    array = level.array
    stored = array if isinstance(array, zarr.Array) else None
    shards = stored.shards if stored is not None else None
    return LevelInfo(
        level.path,
        array.shape,
        str(array.dtype),
        tuple(array.chunks),
        shards,
        codec_name(stored) if stored is not None else None,
        level.scale,
        level.translation,
        int(np.prod(array.shape, dtype=object)) * array.dtype.itemsize,
        stored_bytes(stored) if stored is not None else None,
    )


def _planned_level(level: Level) -> dict[str, Any]:
    values = {
        **asdict(level),
        "dtype": str(level.dtype),
        "nbytes": level.nbytes,
        "n_files": level.n_files,
    }
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in values.items()
    }


def _level_row(level: LevelInfo, parent: str) -> tuple[str, ...]:
    return (
        level.path.removeprefix(f"{parent}/") or "/",
        _by(level.shape),
        _by(level.chunks),
        _by(level.shards),
        level.codec or "-",
        _by(level.scale),
        _by(level.translation),
        "-" if level.stored_bytes is None else format_bytes(level.stored_bytes),
    )


def _by(values: Iterable[float] | None) -> str:
    return "-" if values is None else by(values, " x ")


def _channel_text(channel: Channel) -> str:
    window = f"{channel.window[0]:g} to {channel.window[1]:g}" if channel.window else None
    return ", ".join(
        part
        for part in (
            channel.name or "unnamed",
            channel.color,
            window,
            None if channel.visible else "hidden",
        )
        if part
    )


def _stored_text(n: int | None) -> str:
    return "size on disk not counted" if n is None else f"{format_bytes(n)} on disk"


def _count(images: Sequence[ImageInfo]) -> str:
    n_labels = sum(image.kind == "labels" for image in images)
    n_images = len(images) - n_labels
    parts = ((n_images, "image"), (n_labels, "label image"))
    return ", ".join(counted(n, noun) for n, noun in parts if n)
