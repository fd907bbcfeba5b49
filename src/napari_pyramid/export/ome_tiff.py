"""Describe an image for OME-TIFF: order of the axes, data type, and OME-XML metadata.

Source: OME-XML 2016-06. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_pyramid.axes import Axis
from napari_pyramid.errors import SpecError
from napari_pyramid.image import Channel
from napari_pyramid.layer_image import RGBA, LayerImage

__all__ = ["UNIT_SYMBOLS", "OmeTiff", "describe_tiff"]

_ORDER = "TCZYX"
_SMALLER = {"int64": "int32", "uint64": "uint32", "bool": "uint8", "float16": "float32"}
"""Data types that OME lacks, and what they are stored as."""
UNIT_SYMBOLS = {
    "angstrom": "Å",
    "picometer": "pm",
    "nanometer": "nm",
    "micrometer": "µm",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
    "kilometer": "km",
    "inch": "in",
    "foot": "ft",
    "nanosecond": "ns",
    "microsecond": "µs",
    "millisecond": "ms",
    "second": "s",
    "minute": "min",
    "hour": "h",
    "day": "d",
}
"""OME's symbols, by the names of OME-Zarr."""
_MANY_PLANES = 2**16
"""More planes get no positions of their own in the OME-XML, which would be huge."""


@dataclass(frozen=True, slots=True)
class OmeTiff:
    """Shape, axes and metadata of a file; `shape` and `axes` are in the order of the file."""

    order: tuple[int, ...]
    """Axis of the image for each axis of the file."""
    dropped: tuple[int, ...]
    """Axes of the image, of length 1, that the file does not have."""
    axes: str
    """tifffile's letters: T, C, Z, Y, X, and S for the samples of a colour picture."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    metadata: dict[str, Any]
    """OME attributes, as `tifffile.TiffWriter.write` takes them."""

    @property
    def is_rgb(self) -> bool:
        """Whether the last axis is red, green, blue (and alpha)."""
        return self.axes.endswith("S")


def describe_tiff(image: LayerImage) -> OmeTiff:
    """Return how an image is written as OME-TIFF.

    Integers of 64 bits are written with 32 bits, bool as 0 and 1, half floats as floats.

    Raises
    ------
    SpecError
        If an axis has no place in an OME-TIFF, or the pixels are not numbers that OME has.
    """
    shape = tuple(int(n) for n in image.levels[0].shape)
    letters = _letters(image, shape)
    dropped = tuple(i for i, letter in enumerate(letters) if letter is None)
    kept = [i for i, letter in enumerate(letters) if letter is not None]
    order = tuple(sorted(kept, key=lambda i: f"{_ORDER}S".index(str(letters[i]))))
    axes = "".join(str(letters[i]) for i in order)
    dtype = np.dtype(image.levels[0].dtype)
    if dtype.kind not in "biuf":
        raise SpecError(f"pixels of type {dtype} cannot be stored as OME-TIFF")
    stored = np.dtype(_SMALLER.get(dtype.name, dtype.name))
    return OmeTiff(
        order,
        dropped,
        axes,
        tuple(shape[i] for i in order),
        stored.newbyteorder("<"),
        _metadata(image, letters, shape),
    )


def _letters(image: LayerImage, shape: Sequence[int]) -> list[str | None]:
    """Return the letter of each axis, None for an axis that is left out because its length is 1."""
    rgb = _is_rgb(image, shape)
    letters: list[str | None] = []
    for i, (axis, length) in enumerate(zip(image.axes, shape, strict=True)):
        letter: str | None = "S" if rgb and i == len(shape) - 1 else _letter(axis)
        if letter is None or letter in letters:
            if length > 1:
                raise SpecError(
                    f"axis {axis.name!r} has {length} samples, but an OME-TIFF has the axes t, c, "
                    "z, y and x: choose one sample of it, or export a pyramid"
                )
            letter = None
        letters.append(letter)
    if not {"Y", "X"} <= set(letters):
        names = ", ".join(axis.name for axis in image.axes)
        raise SpecError(f"an OME-TIFF needs the axes y and x, but the image has {names}")
    return letters


def _letter(axis: Axis) -> str | None:
    if axis.type == "time":
        return "T"
    if axis.type == "channel":
        return "C"
    return axis.name.upper() if axis.is_spatial and axis.name.upper() in "ZYX" else None


def _is_rgb(image: LayerImage, shape: Sequence[int]) -> bool:
    """Return whether the last axis holds the colours of a picture."""
    colors = tuple((channel.name, channel.color) for channel in image.channels)
    return (
        image.axes[-1].type == "channel" and len(colors) == shape[-1] and colors in (RGBA[:3], RGBA)
    )


def _metadata(
    image: LayerImage, letters: Sequence[str | None], shape: Sequence[int]
) -> dict[str, Any]:
    found: dict[str, Any] = {"Name": image.name}
    places: dict[str, tuple[float, float, str]] = {}
    described = zip(image.axes, letters, image.scale, image.translation, strict=True)
    for axis, letter, scale, start in described:
        if letter in ("Z", "Y", "X"):
            unit = UNIT_SYMBOLS.get(axis.unit or "", "reference frame" if axis.unit else "pixel")
            found[f"PhysicalSize{letter}"] = abs(scale)
            found[f"PhysicalSize{letter}Unit"] = unit
            places[letter] = (start, scale, unit)
        elif letter == "T" and axis.unit in UNIT_SYMBOLS:
            found["TimeIncrement"], found["TimeIncrementUnit"] = abs(scale), UNIT_SYMBOLS[axis.unit]
    count = {letter: n for letter, n in zip(letters, shape, strict=True) if letter is not None}
    if "S" not in count and len(image.channels) == count.get("C", 1):
        found["Channel"] = _channels(image.channels)
    if (planes := _positions(places, count)) is not None:
        found["Plane"] = planes
    return found


def _channels(channels: Sequence[Channel]) -> dict[str, list[Any]]:
    """Return names and colours; a colour is red, green, blue and alpha as a signed integer."""
    colors = [int(f"{(c.color or '#FFFFFF')[1:7]}FF", 16) for c in channels]
    return {
        "Name": [c.name or str(i) for i, c in enumerate(channels)],
        "Color": [c - 2**32 if c >= 2**31 else c for c in colors],
    }


def _positions(
    places: dict[str, tuple[float, float, str]], count: dict[str, int]
) -> dict[str, list[Any]] | None:
    """Return the position of each plane, in the order of the planes; None if all are at 0."""
    n_z = count.get("Z", 1)
    outer = count.get("T", 1) * count.get("C", 1)
    if not any(start for start, _, _ in places.values()) or outer * n_z > _MANY_PLANES:
        return None
    found: dict[str, list[Any]] = {}
    for letter, (start, scale, unit) in places.items():
        one = [start + scale * z for z in range(n_z)] if letter == "Z" else [start] * n_z
        found[f"Position{letter}"] = one * outer
        found[f"Position{letter}Unit"] = [unit] * (n_z * outer)
    return found
