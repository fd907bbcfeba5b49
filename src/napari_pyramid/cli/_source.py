"""What the user names as SOURCE becomes an array with axes: by our layouts, NumPy, or any reader that npe2 finds. Knows no destination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_pyramid.axes import Axis, clean_unit, default_axes
from napari_pyramid.errors import LayoutError, SourceError
from napari_pyramid.image import Channel
from napari_pyramid.layouts import open_images
from napari_pyramid.storage.address import public_url
from napari_pyramid.storage.node import warn

__all__ = ["Source", "open_source"]

_RGB = (
    Channel("red", "#FF0000", (0, 255)),
    Channel("green", "#00FF00", (0, 255)),
    Channel("blue", "#0000FF", (0, 255)),
)


@dataclass(frozen=True, slots=True)
class Source:
    """What the engine is given."""

    data: Any
    """The path of a store that our layouts read, so that the engine knows what lies beside level 0; else an array."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keywords of `iter_build` that whoever read the array knows."""


def open_source(
    path: str, image: str | None = None, storage_options: Mapping[str, Any] | None = None
) -> Source:
    """Opens a store of any of our layouts, a .npy file (memory-mapped), or a file that an installed napari plugin reads.

    Parameters
    ----------
    path
        What the user named.
    image
        Name of one of several images there; None takes the first, and says so when there are more.
    storage_options
        Credentials and the like for a URL.

    Raises
    ------
    LayoutError
        If it is a directory or zip that no layout knows, and no plugin either; or no image there is called `image`.
    SourceError
        If nothing is there, or nothing installed reads it.
    """
    if path.lower().endswith(".npy"):
        return _from_npy(Path(path))
    try:
        images = open_images(path, storage_options=storage_options)
    except LayoutError as error:
        if "://" in path:
            raise
        if not Path(path).exists():
            raise SourceError(f"{path} does not exist") from None
        return _from_plugin(path, image, error)
    options = {} if storage_options is None else {"storage_options": storage_options}
    if image is not None:
        return Source(path, {**options, "image": image})
    _say_which(public_url(path), [i.name or i.path for i in images])
    return Source(path, options)


def _say_which(path: str, names: Sequence[str]) -> None:
    if len(names) > 1:
        rest = ", ".join(repr(name) for name in names[1:])
        warn(
            f"{path} holds {len(names)} images: {names[0]!r} is taken, not {rest} (choose with --image NAME)"
        )


def _from_npy(path: Path) -> Source:
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    return Source(array, {"name": path.stem})


def _from_plugin(path: str, image: str | None, refusal: LayoutError) -> Source:
    from npe2 import PluginManager, io_utils

    PluginManager.instance().discover()
    try:
        layers = io_utils.read([path], stack=False)
    # Not narrower: the reader is someone else's plugin, and may fail with whatever its own code or data raise.
    except Exception as error:
        if "No readers returned data" in str(error):
            raise SourceError(f"{refusal}; no installed napari plugin reads it either") from None
        raise SourceError(
            f"{path} cannot be read by the installed napari plugins: {error}"
        ) from error
    given = [
        _full(layer) for layer in layers if layer[0] is not None
    ]  # (None,) is npe2's word for no layer
    images = [layer for layer in given if layer[2] in ("image", "labels")]
    if not images:
        raise SourceError(
            f"{path} holds no image: the plugin that reads it gave {', '.join(kind for _, _, kind in given) or 'no layer'}"
        )
    names = [str(meta.get("name", "?")) for _, meta, _ in images]
    if image is None:
        _say_which(path, names)
    elif image not in names:
        raise LayoutError(f"{path} has no image {image!r}: it has {', '.join(map(repr, names))}")
    return _from_layer(
        *images[0 if image is None else names.index(image)], name=Path(path).name.split(".")[0]
    )


def _full(layer: Sequence[Any]) -> tuple[Any, dict[str, Any], str]:
    """Layer data tuples may be shortened: (data,), (data, meta), (data, meta, type)."""
    meta = layer[1] if len(layer) > 1 else {}
    kind = layer[2] if len(layer) > 2 else "image"
    return layer[0], meta if isinstance(meta, dict) else {}, str(kind).lower()


def _from_layer(data: Any, meta: Mapping[str, Any], kind: str, *, name: str) -> Source:
    array = data[0] if isinstance(data, list | tuple) else data
    if "affine" in meta and meta["affine"] is not None:
        warn(f"{name}: the reader gave an affine transform; it is not kept")
    rgb = kind == "image" and _is_rgb(array, meta)
    channel_axis = array.ndim - 1 if rgb else meta.get("channel_axis")
    n_spatial = array.ndim - (channel_axis is not None)
    axes = _axes(meta.get("axis_labels"), meta.get("units"), n_spatial)
    scale, translation = (
        _per_axis(meta.get("scale"), n_spatial, 1.0),
        _per_axis(meta.get("translate"), n_spatial, 0.0),
    )
    if channel_axis is not None:  # napari leaves it out of all per-axis values
        at = channel_axis % array.ndim
        axes = (*axes[:at], Axis.named("c"), *axes[at:])
        scale = scale and (*scale[:at], 1.0, *scale[at:])
        translation = translation and (*translation[:at], 0.0, *translation[at:])
    channels = _RGB if rgb and array.shape[-1] == len(_RGB) and array.dtype == np.uint8 else ()
    known = {
        "axes": axes,
        "scale": scale,
        "translation": translation,
        "labels": kind == "labels",
        "name": str(meta.get("name") or name),
        "channels": channels,
    }
    return Source(array, {key: value for key, value in known.items() if value})


def _is_rgb(array: Any, meta: Mapping[str, Any]) -> bool:
    """Napari's own rule: unless the reader says, a last axis of 3 or 4 after two of over 30 is colour (its `guess_rgb`)."""
    if "channel_axis" in meta or array.ndim < 3:
        return False
    looks_like = array.shape[-1] in (3, 4) and all(n > 30 for n in array.shape[-3:-1])
    return looks_like if meta.get("rgb") is None else bool(meta["rgb"])


def _axes(names: Sequence[str] | None, units: Any, ndim: int) -> tuple[Axis, ...]:
    """Napari's own names for axes without one are "-2", "-1"; they say nothing."""
    told = (
        names is not None
        and len(names) == ndim
        and not any(str(n).lstrip("-").isdecimal() for n in names)
    )
    axes = (
        tuple(Axis.named(str(n)) for n in names)
        if told and names is not None
        else default_axes(ndim)
    )
    per_axis = (
        [units] * ndim if isinstance(units, str) or units is None else [str(u) for u in units]
    )
    return (
        tuple(Axis(a.name, a.type, clean_unit(u)) for a, u in zip(axes, per_axis, strict=True))
        if len(per_axis) == ndim
        else axes
    )


def _per_axis(values: Any, ndim: int, fill: float) -> tuple[float, ...] | None:
    """One value per axis; napari lets leading ones be left out."""
    if values is None:
        return None
    given = tuple(float(v) for v in values)[-ndim:]
    return (fill,) * (ndim - len(given)) + given
