"""Complete the layer tuples of a reader plugin as napari's viewer does.

napari fills in what a reader leaves out: names, types, levels, channels, contrast. The command line
has no viewer and must store the same, so napari's rules are repeated here. If a rule needs a table
of napari (colour maps and colours by name), napari is imported if it is installed.

One rule cannot be repeated: for pixels that are not in memory (dask, zarr) and have no contrast
limits, napari computes limits from the plane on the screen. The limits are left out here, so that
the engine chooses them from the whole image.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import cycle, islice, pairwise
from typing import Any

import numpy as np

from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.errors import SpecError
from napari_pyramid.layer_image.look import HEX_OF, colormaps_of
from napari_pyramid.layer_image.tuples import LayerTuple

__all__ = ["layers_in_viewer"]

_MANY = 10_000_000
"""Number of samples above which napari takes the contrast from three planes."""
_SIDE = 64
"""Side above which napari takes the contrast from the middle of large planes only."""
_PER_CHANNEL = ("axis_labels", "scale", "translate", "contrast_limits", "metadata", "units")
"""Keys whose value is a sequence for one channel; a sequence of sequences has one per channel."""
_ONE_FOR_ALL = ("rotate", "shear", "affine", "multiscale", "channel_axis", "rgb")
"""Keys whose value is always for all channels."""


def layers_in_viewer(given: Iterable[Sequence[Any]], path: str) -> list[LayerTuple]:
    """Return the layers that napari makes of a reader's layer data for `path`.

    Parameters
    ----------
    given
        npe2's layer data: ``(data,)``, ``(data, metadata)`` or ``(data, metadata, type)``.
    path
        Path of the file; layers without a name are named after it.
    """
    layers: list[LayerTuple] = []
    taken: set[str] = set()
    for layer in given:
        if layer[0] is None:  # (None,) is npe2's sign for a file without layers
            continue
        for data, meta, kind in _split(*_full(layer, path)):
            meta["name"] = _free_name(str(meta["name"]), taken)
            taken.add(meta["name"])
            layers.append((data, meta, kind))
    return layers


def _full(layer: Sequence[Any], path: str) -> LayerTuple:
    data, given, kind = (*layer, None, None)[:3]
    meta = dict(given) if isinstance(given, Mapping) else {}
    meta["name"] = meta.get("name") or os.path.splitext(os.path.basename(path))[0]
    if not kind:
        whole = str(getattr(data, "dtype", "")) in ("int32", "uint32", "int64", "uint64")
        kind = "labels" if whole else "image"
    return data, meta, str(kind).lower()


def _free_name(name: str, taken: set[str]) -> str:
    """Return the name as napari numbers it: ``cells``, ``cells [1]``, ``cells [2]``."""
    while name in taken:
        numbered = re.fullmatch(r"(|.*\s)\[(\d+)\]", name, re.DOTALL)
        name = f"{numbered[1]}[{int(numbered[2]) + 1}]" if numbered else f"{name} [1]"
    return name


def _split(data: Any, meta: dict[str, Any], kind: str) -> Iterator[LayerTuple]:
    """Yield the layers of one layer tuple: several for an image with a channel axis."""
    if kind not in ("image", "labels"):
        yield data, meta, kind
        return
    data, multiscale = _levels(data, meta.get("multiscale"))
    meta = {**meta, "multiscale": multiscale}
    axis = meta.pop("channel_axis", None)
    if kind == "labels":
        yield _labels(data, meta)
    elif axis is None:
        yield _image(data, {"colormap": "gray", **_given(meta, "colormap")})
    else:
        yield from _channels(data, meta, axis)


def _given(meta: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Return the metadata without the keys in `keys` whose value is None, which means left out."""
    return {k: v for k, v in meta.items() if k not in keys or v is not None}


def _levels(data: Any, multiscale: bool | None) -> tuple[Any, bool]:
    """Return the data, and whether they are levels; a list of shrinking arrays is levels."""
    if multiscale:
        return list(data), True
    if not isinstance(data, list | tuple) or multiscale is False:
        return data, False
    if len(data) == 1:
        return data[0], False
    sizes = [int(np.prod(np.shape(v) if isinstance(v, list) else v.shape)) for v in data]
    shrinks = len(sizes) > 1 and all(a > b for a, b in pairwise(sizes))
    return (list(data), True) if shrinks else (data[0], False)


def _channels(data: Any, meta: dict[str, Any], axis: int) -> Iterator[LayerTuple]:
    levels = data if meta["multiscale"] else [data]
    n = levels[0].shape[axis]
    colormaps = cycle(colormaps_of(n))
    values = {k: _for_each(k, v, n) for k, v in meta.items()}
    if meta.get("colormap") is None:
        values["colormap"] = list(islice(colormaps, n))
    if meta.get("blending") is None:
        values["blending"] = ["translucent_no_depth", *["additive"] * (n - 1)]
    for i in range(n):
        views = [_channel(level, axis, i) for level in levels]
        own = {k: v[i] for k, v in values.items()}
        yield _image(views if meta["multiscale"] else views[0], own)


def _for_each(key: str, value: Any, n: int) -> list[Any]:
    """Return the value of a key for each of `n` channels: one for all, or a sequence of values."""
    if key in _ONE_FOR_ALL or not isinstance(value, list | tuple | np.ndarray) or not len(value):
        return [value] * n
    if key in _PER_CHANNEL and any(isinstance(v, str) or np.isscalar(v) for v in value):
        return [value] * n
    return list(value)


def _channel(level: Any, axis: int, i: int) -> Any:
    """Return one channel of an array without reading it; zarr arrays through dask, as napari."""
    if type(level).__module__.startswith("zarr"):
        dask = _installed("dask.array")
        level = LazyArray(level) if dask is None else dask.from_zarr(level)
    at = axis % len(level.shape)
    return level[(slice(None),) * at + (i,)]


def _image(data: Any, meta: dict[str, Any]) -> LayerTuple:
    coarsest = data[-1] if meta["multiscale"] else data
    shape = (data[0] if meta["multiscale"] else data).shape
    if meta.get("rgb") is None:
        meta["rgb"] = len(shape) > 2 and shape[-1] in (3, 4) and all(n > 30 for n in shape[-3:-1])
    if meta.get("contrast_limits") is None:
        meta["contrast_limits"] = _limits(coarsest, bool(meta["rgb"]))
    meta["colormap"] = _colormap(meta.get("colormap"))
    return data, _with_units(meta, len(shape) - bool(meta["rgb"])), "image"


def _labels(data: Any, meta: dict[str, Any]) -> LayerTuple:
    def integers(level: Any) -> Any:
        is_mask = isinstance(level, np.ndarray) and level.dtype == bool
        return level.view(np.uint8) if is_mask else level

    properties = meta.get("properties")  # napari's older word, which wins
    meta["features"] = _table(meta.get("features") if properties is None else properties)
    meta["colormap"] = _label_colormap(meta.get("colormap"))
    shape = (data[0] if meta["multiscale"] else data).shape
    data = [integers(level) for level in data] if meta["multiscale"] else integers(data)
    return data, _with_units(meta, len(shape)), "labels"


def _with_units(meta: dict[str, Any], ndim: int) -> dict[str, Any]:
    """Return the metadata with one unit per axis; napari accepts one unit for all axes."""
    units = meta.get("units")
    if units is None or isinstance(units, list | tuple):
        return meta
    return {**meta, "units": [str(units)] * ndim}


def _limits(array: Any, rgb: bool) -> tuple[float, float] | None:
    """Return napari's contrast limits; None if they depend on the plane on the screen."""
    if array.dtype == np.uint8:
        return 0.0, 255.0
    if not isinstance(array, np.ndarray):
        return None
    low, high = _range(_contrast_samples(array, rgb))
    return (min(low, 0.0), max(high, 1.0)) if low == high else (low, high)


def _contrast_samples(array: np.ndarray[Any, Any], rgb: bool) -> np.ndarray[Any, Any]:
    """Return the samples for the contrast: all, or first, middle and last plane of large arrays."""
    ndim = 2 + rgb
    if array.size <= _MANY or array.ndim <= 2:
        return array
    lead, plane = array.shape[:-ndim], array.shape[-ndim:]
    planes = [(0,) * len(lead), tuple(n // 2 for n in lead), tuple(n - 1 for n in lead)]
    patch: tuple[slice, ...] = ()
    if np.prod(plane) > _MANY and min(plane[:2]) > _SIDE:
        patch = tuple(slice(n // 2 - 31, n // 2 + 31) for n in plane[:2])
    return np.stack([array[(*index, *patch)] for index in planes])


def _range(values: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Return the lowest and highest finite value; 0 and 1 without finite values."""
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)


def _colormap(given: Any) -> Any:
    """Return a colour map as an object with colours; a name or code of one colour as it is."""
    if given is None or (isinstance(given, str) and (given in HEX_OF or given.startswith("#"))):
        return given
    colormaps = _installed("napari.utils.colormaps")
    return given if colormaps is None else colormaps.ensure_colormap(given)


def _label_colormap(given: Any) -> Any:
    """Return a dict of label colours under the key ``color_dict``; other values as they are."""
    if not isinstance(given, Mapping) or "color_dict" in given:
        return given
    return {"color_dict": {label: _rgba(color) for label, color in given.items()}}


def _rgba(color: Any) -> Sequence[float]:
    if not isinstance(color, str):
        return [float(v) for v in color]
    if re.fullmatch(r"#[0-9A-Fa-f]{6}([0-9A-Fa-f]{2})?", color):
        return [int(color[i : i + 2], 16) / 255 for i in range(1, len(color), 2)]
    colors = _installed("napari.utils.colormaps.standardize_color")
    if colors is None:
        raise SpecError(f"label colour {color!r} is a name that only napari knows: install napari")
    return [float(v) for v in colors.transform_color(color)[0]]


def _table(features: Any) -> Any:
    """Return features as napari keeps them: columns of a dict become arrays of one type."""
    if not isinstance(features, dict):
        return features
    return {key: np.asarray(column) for key, column in features.items()}


def _installed(module: str) -> Any:
    """Return a module of napari or its dependencies; None if it is not installed."""
    try:
        return import_module(module)
    except ImportError:
        return None
