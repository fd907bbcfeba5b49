"""Read WEBKNOSSOS datasets: "datasource-properties.json" lists layers and their magnifications.

Arrays are padded to whole shards, so that a coarser array may be larger than a finer one: each
level is cut to the bounding box of its layer.

Source: scalableminds/webknossos-libs, dataset/properties.py.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from napari_pyramid.arrays.virtual import Crop
from napari_pyramid.axes import Axis, clean_unit
from napari_pyramid.half_pixel import centre_shift
from napari_pyramid.image import Image, StoredLevel
from napari_pyramid.layouts._candidates import find, numbers
from napari_pyramid.layouts._levels import LevelEntry, open_levels, shrinking
from napari_pyramid.storage.layout_warnings import warn
from napari_pyramid.storage.node import Node

__all__ = ["FILES", "NAME", "read"]

NAME = "WEBKNOSSOS"
_FILE = "datasource-properties.json"
FILES = (_FILE,)
_MAG_KEYS = ("mags", "wkwResolutions", "resolutions")
"""Keys of the list of magnifications in the versions of the format."""
_MAG_NAME = re.compile(r"\d{1,6}(-\d{1,6}-\d{1,6})?", re.ASCII)
_SPACE = ("x", "y", "z")
_MOST = 256
"""Limit of the layers, and of the magnifications of each, that are read."""
_Box = tuple[Mapping[str, int], Mapping[str, int]]
"""First voxel and extent of a layer by axis, in voxels of magnification 1."""


def read(node: Node) -> Sequence[Image] | None:
    """Return one image per layer with zarr arrays, of a group with "datasource-properties.json"."""
    content = node.read_bytes(_FILE) if node.kind == "group" else None
    if content is None:
        return None
    where = f"{node.location}/{_FILE}"
    try:
        described = json.loads(content)
    except (ValueError, RecursionError) as error:
        warn(f"{where}: not JSON ({error}); ignored")
        return None
    layers = described.get("dataLayers") if isinstance(described, dict) else None
    if not isinstance(layers, list):
        warn(f"{where}: has no list of dataLayers; ignored")
        return None
    voxel, unit = _voxel(described.get("scale"), where)
    images = [
        _layer(node, layer, voxel, unit) for layer in layers[:_MOST] if isinstance(layer, dict)
    ]
    return [image for image in images if image is not None] or None


def _voxel(scale: Any, where: str) -> tuple[Mapping[str, float], str | None]:
    """Return voxel size by axis, and its unit; before version 1 it was a list, in nanometres."""
    factor, unit = (
        (scale.get("factor"), scale.get("unit"))
        if isinstance(scale, dict)
        else (scale, "nanometer")
    )
    found = numbers(factor, 3, f"{where}: scale", default=1)
    if found is None:
        return {}, None
    return dict(zip(_SPACE, found, strict=True)), clean_unit(unit) if isinstance(
        unit, str
    ) else None


def _layer(
    node: Node, layer: Mapping[str, Any], voxel: Mapping[str, float], unit: str | None
) -> Image | None:
    name = str(layer.get("name") or "")
    where = f"{node.location}/{_FILE}: layer {name!r}"
    mags = next((layer[key] for key in _MAG_KEYS if layer.get(key)), None)
    box = _box(layer.get("boundingBox"))
    levels, axes = [], None
    for mag in mags[:_MOST] if isinstance(mags, list) else []:
        factors = _factors(mag)
        array = (
            find(node, _path(name, mag, factors), f"{_FILE}: {name!r}")
            if factors is not None
            else None
        )
        if array is None or factors is None:
            continue
        names = _axis_names(mag, array.ndim)
        opened = open_levels(node, [LevelEntry(array)], where) if names is not None else ()
        if opened and names is not None:
            levels.append(_placed(opened[0], names, factors, voxel, box))
            axes = axes or tuple(Axis.named(n, unit if n in _SPACE else None) for n in names)
    if not levels or axes is None:
        warn(
            f"{where}: none of its magnifications is a readable zarr array "
            f"(dataFormat {layer.get('dataFormat')!r}); left out"
        )
        return None
    dtype, ndim = levels[0].array.dtype, levels[0].array.ndim
    kept = [level for level in levels if (level.array.dtype, level.array.ndim) == (dtype, ndim)]
    kept.sort(key=lambda level: -math.prod(level.array.shape))
    is_labels = layer.get("category") == "segmentation" and dtype.kind in "ui"
    return Image(
        name or node.title,
        tuple(shrinking(kept, where)),
        NAME,
        name,
        "labels" if is_labels else "image",
        axes=axes,
    )


def _factors(mag: Any) -> Mapping[str, int] | None:
    """Return the magnification by axis, from ``[2, 2, 1]``, "2-2-1" or one number for all axes."""
    given = mag.get("mag", mag.get("resolution")) if isinstance(mag, dict) else mag
    if isinstance(given, str) and _MAG_NAME.fullmatch(given):
        parts = [int(part) for part in given.split("-")]
        given = parts[0] if len(parts) == 1 else parts
    given = [given] * 3 if isinstance(given, int) else given
    if (
        not isinstance(given, list)
        or len(given) != 3
        or not all(isinstance(m, int) and m > 0 for m in given)
    ):
        return None
    return dict(zip(_SPACE, given, strict=True))


def _path(layer: str, mag: Any, factors: Mapping[str, int]) -> Any:
    """Return the path of an array: by default "layer/2-2-1", or "layer/2" for equal factors."""
    given = mag.get("path") if isinstance(mag, dict) else None
    if given is None:
        unique = sorted(set(factors.values()))
        all_factors = "-".join(str(factors[n]) for n in _SPACE)
        return f"{layer}/{unique[0] if len(unique) == 1 else all_factors}"
    return given.removeprefix("./") if isinstance(given, str) else given


def _axis_names(mag: Any, ndim: int) -> tuple[str, ...] | None:
    order = mag.get("axisOrder") if isinstance(mag, dict) else None
    if isinstance(order, dict) and sorted(map(str, order.values())) == [
        str(i) for i in range(ndim)
    ]:
        return tuple(sorted(map(str, order), key=lambda name: int(order[name])))
    return {3: _SPACE, 4: ("c", *_SPACE)}.get(ndim)


def _box(given: Any) -> _Box | None:
    if not isinstance(given, dict):
        return None
    corner: Any = given.get("topLeft")
    sizes: Any = [given.get(key) for key in ("width", "height", "depth")]
    if (
        not isinstance(corner, list)
        or len(corner) != 3
        or not all(isinstance(v, int) and v >= 0 for v in (*corner, *sizes))
        or 0 in sizes
    ):
        return None
    return dict(zip(_SPACE, corner, strict=True)), dict(zip(_SPACE, sizes, strict=True))


def _inside(
    box: _Box | None, shape: Sequence[int], names: Sequence[str], factors: Mapping[str, int]
) -> tuple[list[int], list[int]]:
    """Return start and stop of the bounding box in a level, by axis.

    Start and stop of the whole level if the box does not meet it.
    """
    start, stop = [0] * len(shape), list(shape)
    for i, name in enumerate(names):
        if box is not None and name in _SPACE:
            start[i] = box[0][name] // factors[name]
            stop[i] = min(shape[i], math.ceil((box[0][name] + box[1][name]) / factors[name]))
    meets = all(a < b for a, b in zip(start, stop, strict=True))
    return (start, stop) if meets else ([0] * len(shape), list(shape))


def _placed(
    level: StoredLevel,
    names: Sequence[str],
    factors: Mapping[str, int],
    voxel: Mapping[str, float],
    box: _Box | None,
) -> StoredLevel:
    """Return the level cut to the bounding box, with scale and translation."""
    array = level.array
    start, stop = _inside(box, array.shape, names, factors)
    shape = [b - a for a, b in zip(start, stop, strict=True)]
    full = [voxel.get(name, 1.0) for name in names]
    scale = tuple(v * factors.get(name, 1) for v, name in zip(full, names, strict=True))
    shift = centre_shift(full, scale)
    translation = tuple(s * first + d for s, first, d in zip(scale, start, shift, strict=True))
    cropped = array if shape == list(array.shape) else Crop(array, shape, start)
    return StoredLevel(level.path, cropped, scale, translation)
