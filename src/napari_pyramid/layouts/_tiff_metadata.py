"""What a TIFF says beside its pixels: axes, voxel size, units, channels, from OME-XML, ImageJ, GeoTIFF or SVS.

Sources: OME-XML 2016-06; ImageJ, TiffDecoder; GeoTIFF 1.1, section 7; Aperio, "MPP" in the image description.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from napari_pyramid.axes import Axis, clean_unit
from napari_pyramid.image import Channel
from napari_pyramid.storage.json_values import is_number

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

__all__ = ["TiffMetadata", "hostile_ome", "tiff_metadata"]

_AXES = {
    "T": ("t", "time"),
    "C": ("c", "channel"),
    "S": ("s", "channel"),
    "Z": ("z", "space"),
    "Y": ("y", "space"),
    "X": ("x", "space"),
}
_NAMELESS = {"Q", "I"}
"""What tifffile calls an axis that the file does not name."""
_RGB_PHOTOMETRICS = {"RGB", "YCBCR"}
_PIXEL_IS_POINT = 2
_MAX_PLANES = 2**22
"""tifffile makes a list of all planes that the XML promises before it looks whether they are there."""
_OTHER_FOLDER = re.compile(r"[/\\:\0]|^\.\.?$")


@dataclass(frozen=True, slots=True)
class TiffMetadata:
    """One series; scale and translation are those of level 0, one entry per axis."""

    axes: tuple[Axis, ...] | None
    """None where the file leaves an axis without a name."""
    flavour: str = ""
    """``"OME"``, ``"ImageJ"``, ...; empty for a TIFF of no family."""
    name: str | None = None
    scale: tuple[float, ...] | None = None
    translation: tuple[float, ...] = ()
    channels: tuple[Channel, ...] = ()
    rgb: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Found:
    """What one family of metadata says, by letter of the axis."""

    flavour: str = ""
    name: str | None = None
    size: dict[str, float] = field(default_factory=dict)
    origin: dict[str, float] = field(default_factory=dict)
    unit: dict[str, str] = field(default_factory=dict)
    channels: tuple[Channel, ...] = ()


def hostile_ome(xml: str) -> str | None:
    """Why OME-XML must not be followed: it names files outside the TIFF's folder, or more planes than any file has. None if it may."""
    try:
        elements = list(ElementTree.fromstring(xml).iter())
    except (ElementTree.ParseError, ValueError):
        return None  # tifffile ignores it, too
    for element in elements:
        tag = element.tag.rpartition("}")[2]
        name = element.get("FileName", "") if tag == "UUID" else ""
        if _OTHER_FOLDER.search(name):
            return f"TiffData names the file {name[:80]!r}, outside the folder of the TIFF"
        keys = {
            "Pixels": ("SizeZ", "SizeC", "SizeT"),
            "TiffData": ("IFD", "NumPlanes", "PlaneCount"),
        }.get(tag, ())
        counts = [
            int(value)
            for key in keys
            if (value := element.get(key, "")).isascii() and value.isdecimal()
        ]
        if (math.prod(counts) if tag == "Pixels" else max(counts, default=0)) > _MAX_PLANES:
            return f"{tag} promises more than {_MAX_PLANES} planes"
    return None


def tiff_metadata(file: TiffFile, series: TiffPageSeries, number: int) -> TiffMetadata:
    """What the first family of metadata that the file has says of the series at a position."""
    if file.is_ome and file.ome_metadata:
        found = _ome(file.ome_metadata, number)
    elif file.is_imagej and file.imagej_metadata:
        found = _imagej(file)
    elif file.is_geotiff:
        found = _geotiff(file)
    elif file.is_svs:
        found = _svs(file)
    else:
        found = _Found()
    letters = series.axes
    rgb = (
        letters.endswith("S")
        and series.shape[-1] in (3, 4)
        and getattr(series.keyframe.photometric, "name", "") in _RGB_PHOTOMETRICS
    )
    axes = _axes(letters, found.unit)
    scale = tuple(found.size.get(letter, 1.0) for letter in letters) if found.size else None
    n_channels = series.shape[letters.index("C")] if "C" in letters else 1
    channels = found.channels if not rgb and len(found.channels) == n_channels else ()
    translation = tuple(found.origin.get(letter, 0.0) for letter in letters)
    return TiffMetadata(axes, found.flavour, found.name, scale, translation, channels, rgb)


def _axes(letters: str, units: Mapping[str, str]) -> tuple[Axis, ...] | None:
    """Axes of tifffile's letters; a letter that is no dimension of an image names an axis without a type."""
    if _NAMELESS & set(letters):
        return None
    axes = []
    for i, letter in enumerate(letters):
        name, kind = _AXES.get(letter, (letter.lower(), None))
        if letter == "S" and "C" in letters and i < len(letters) - 1:
            kind = None
        unique = name if letters.count(letter) == 1 else f"{name}{i}"
        axes.append(Axis(unique, kind, clean_unit(units.get(letter))))
    return tuple(axes)


def _ome(xml: str, number: int) -> _Found:
    found = _Found("OME")
    try:
        images = [
            e for e in ElementTree.fromstring(xml).iter() if e.tag.rpartition("}")[2] == "Image"
        ]
    except ElementTree.ParseError:
        return found
    if number >= len(images):
        return found
    found.name = images[number].get("Name") or None
    pixels = next((e for e in images[number] if e.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None:
        return found
    for letter, key, default in (
        *((a, f"PhysicalSize{a}", "µm") for a in "XYZ"),
        ("T", "TimeIncrement", "s"),
    ):
        size = _positive(pixels.get(key))
        if size is not None:
            found.size[letter] = size
            found.unit[letter] = pixels.get(f"{key}Unit", default)
    described = [e for e in pixels if e.tag.rpartition("}")[2] == "Channel"]
    found.channels = tuple(
        Channel(e.get("Name") or None, _ome_color(e.get("Color"))) for e in described
    )
    return found


def _ome_color(value: str | None) -> str | None:
    """OME writes red, green, blue, alpha into one signed 32-bit integer; -1 is white, the default."""
    if value is None or not re.fullmatch(r"-?\d{1,10}", value):
        return None
    rgba = int(value) & 0xFFFFFFFF
    return f"#{rgba >> 8:06X}"


def _imagej(file: TiffFile) -> _Found:
    found = _Found("ImageJ")
    metadata = file.imagej_metadata or {}
    tags = file.pages.first.tags
    unit = str(metadata.get("unit", "")).replace("\\u00B5", "µ")
    if unit and unit.lower() not in ("pixel", "pixels", "inch"):
        for letter, tag in (("X", "XResolution"), ("Y", "YResolution")):
            per_unit = _ratio(tags[tag].value) if tag in tags else None
            if per_unit:
                found.size[letter], found.unit[letter] = 1 / per_unit, unit
        if depth := _positive(metadata.get("spacing")):
            found.size["Z"], found.unit["Z"] = depth, unit
    if interval := _positive(metadata.get("finterval")):
        found.size["T"], found.unit["T"] = interval, str(metadata.get("tunit", "s"))
    found.channels = _imagej_channels(metadata)
    return found


def _imagej_channels(metadata: Mapping[str, Any]) -> tuple[Channel, ...]:
    """Colour from each lookup table's brightest entry, contrast from the display ranges."""
    n = metadata.get("channels", 1)
    ranges, tables = list(metadata.get("Ranges") or ()), list(metadata.get("LUTs") or ())
    if not isinstance(n, int) or not 0 < n <= 4096 or not (ranges or tables):
        return ()
    channels = []
    for i in range(n):
        window = tuple(float(v) for v in ranges[2 * i : 2 * i + 2])
        usable = len(window) == 2 and window[0] < window[1]
        color = (
            "#" + "".join(f"{int(band[-1]):02X}" for band in tables[i]) if i < len(tables) else None
        )
        channels.append(Channel(None, color, (window[0], window[1]) if usable else None))
    return tuple(channels)


def _geotiff(file: TiffFile) -> _Found:
    """North-up grids only: a pixel scale and one tie point. Rows go south, so the step along y is negative."""
    found = _Found("GeoTIFF")
    metadata = file.geotiff_metadata or {}
    scale: Any = metadata.get("ModelPixelScale")
    tie: Any = metadata.get("ModelTiepoint")
    if not _are_finite(scale, 2) or not _are_finite(tie, 6) or not scale[0] or not scale[1]:
        return found
    point = (
        getattr(metadata.get("GTRasterTypeGeoKey"), "value", metadata.get("GTRasterTypeGeoKey"))
        == _PIXEL_IS_POINT
    )
    half = 0.0 if point else 0.5
    found.size.update(X=float(scale[0]), Y=-float(scale[1]))
    found.origin.update(
        X=tie[3] + (half - tie[0]) * scale[0], Y=tie[4] - (half - tie[1]) * scale[1]
    )
    return found


def _svs(file: TiffFile) -> _Found:
    found = _Found("SVS")
    match = re.search(r"\bMPP\s*=\s*([0-9.]+)", file.pages.first.description)
    size = _positive(match[1]) if match else None
    if size:
        found.size.update(X=size, Y=size)
        found.unit.update(X="µm", Y="µm")
    return found


def _positive(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]  # what is no number is refused here
    except (TypeError, ValueError):
        return None
    return number if 0 < number < math.inf else None


def _ratio(value: Any) -> float | None:
    return (
        _positive(value[0] / value[1])
        if isinstance(value, tuple) and len(value) == 2 and value[1]
        else _positive(value)
    )


def _are_finite(values: Any, least: int) -> bool:
    return isinstance(values, Sequence) and len(values) >= least and all(map(is_number, values))
