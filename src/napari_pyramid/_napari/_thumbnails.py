"""Make a small picture of an image from its coarsest level, and words for its size. No Qt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.image import Channel, Image
from napari_pyramid.layer_image import HEX_OF, colormaps_of
from napari_pyramid.words import counted

__all__ = ["SIDE", "Pixels", "Preview", "preview_of"]

SIDE = 128
"""Longest side of a thumbnail in pixels: twice a large well, for screens of high resolution."""
_LARGEST = 2048
"""Longest side of the part of the coarsest level that is read."""
_MOST_CHANNELS = 6
"""Channels of a thumbnail at most."""
_COUNTED = {"z": "plane", "t": "timepoint", "c": "channel"}

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Preview:
    """Picture and size of an image, as the browser shows them."""

    pixels: Pixels | None
    """(height, width, 4) RGBA, or None if the pixels cannot be shown."""
    details: str
    """Size and levels in words."""


def preview_of(images: Sequence[Image]) -> Preview:
    """Return the preview of the first of some images; reads a plane of its coarsest level.

    The plane is the middle one along z and the first one along other axes. Large planes are read
    only around their centre.
    """
    image = images[0]
    n_labels = sum(v.kind == "labels" for v in images[1:])
    details = _details(image)
    if n_labels:
        details += f" · {counted(n_labels, 'label image')}"
    elif len(images) > 1:
        details += f" · and {len(images) - 1} more"
    return Preview(_pixels(image), details)


def _details(image: Image) -> str:
    """Return the size of an image: "1024 × 768 px · 32 planes · 3 channels · 4 levels · uint16"."""
    array = image.levels[0].array
    shape = array.shape[:-1] if image.rgb else array.shape
    names = [axis.name.lower() for axis in image.axes or ()][: len(shape)]
    size = " × ".join(f"{n:,}" for n in shape[:-3:-1]) + " px"
    parts = [size]
    for i, n in enumerate(shape[:-2]):
        word = _COUNTED.get(names[i] if i < len(names) else "")
        if word is not None and n > 1:
            parts.append(f"{n:,} {word}s")
        elif word is None and n > 1:
            parts.append(f"{names[i] if i < len(names) else 'axis'} {n:,}")
    parts.append(counted(len(image.levels), "level"))
    parts.append("RGB" if image.rgb else np.dtype(array.dtype).name)
    return " · ".join(parts)


def _pixels(image: Image) -> Pixels | None:
    view = LazyArray(image.levels[-1].array)
    if view.dtype.kind not in "buif" or view.ndim - image.rgb < 2:
        return None
    plane_axes = (view.ndim - 3, view.ndim - 2) if image.rgb else (view.ndim - 2, view.ndim - 1)
    channel_axis = image.channel_axis
    if channel_axis in plane_axes:
        channel_axis = None
    index: list[Any] = [_middle(image, i, n) for i, n in enumerate(view.shape)]
    for axis in plane_axes:
        index[axis] = _centre(view.shape[axis])
    if image.rgb:
        index[-1] = slice(None)
        return _opaque(_shrunk(np.asarray(view[tuple(index)])))
    if image.kind == "labels":
        return _label_colors(_shrunk(np.asarray(view[tuple(index)])))
    if channel_axis is None:
        channel = image.channels[0] if len(image.channels) == 1 else Channel()
        return _blended([_shrunk(np.asarray(view[tuple(index)]))], [channel], ["#FFFFFF"])
    planes, channels = [], []
    for i in _shown_channels(image.channels, view.shape[channel_axis]):
        index[channel_axis] = i
        planes.append(_shrunk(np.asarray(view[tuple(index)])))
        channels.append(image.channels[i] if i < len(image.channels) else Channel())
    colors = [HEX_OF[name] for name in colormaps_of(view.shape[channel_axis])]
    return _blended(planes, channels, [colors[i % len(colors)] for i in range(len(planes))])


def _middle(image: Image, axis: int, n: int) -> int:
    is_spatial = image.axes is None or image.axes[axis].is_spatial
    return n // 2 if is_spatial else 0


def _centre(n: int) -> slice:
    start = max(0, (n - _LARGEST) // 2)
    return slice(start, min(n, start + _LARGEST))


def _shown_channels(channels: Sequence[Channel], n: int) -> list[int]:
    visible = [i for i in range(n) if i >= len(channels) or channels[i].visible]
    return (visible or list(range(n)))[:_MOST_CHANNELS]


def _shrunk(plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return every n-th sample of a plane, so that it has at most twice the size of a thumbnail."""
    step = max(1, math.ceil(max(plane.shape[:2]) / (2 * SIDE)))
    return plane[::step, ::step]


def _opaque(rgb: npt.NDArray[Any]) -> Pixels:
    values = rgb[..., :3]
    if values.dtype != np.uint8:
        top = float(np.iinfo(values.dtype).max) if values.dtype.kind in "iu" else 1.0
        values = np.clip(values.astype(np.float64) / top * 255, 0, 255).astype(np.uint8)
    alpha = np.full((*values.shape[:2], 1), 255, np.uint8)
    return np.concatenate([values, alpha], axis=2)


def _label_colors(labels: npt.NDArray[Any]) -> Pixels:
    """Return labels in colours that differ between neighbouring values; 0 is transparent."""
    values = labels.astype(np.int64)
    hue = (values * 0.618033988749895) % 1.0
    turns = (hue[..., None] + np.array([0.0, 2 / 3, 1 / 3])) % 1.0
    rgb = np.clip(np.abs(turns * 6 - 3) - 1, 0, 1) * 0.75 + 0.2
    found = np.empty((*values.shape, 4), np.uint8)
    found[..., :3] = rgb * 255
    found[..., 3] = np.where(values != 0, 255, 0)
    return found


def _blended(
    planes: Sequence[npt.NDArray[Any]], channels: Sequence[Channel], colors: Sequence[str]
) -> Pixels:
    total = np.zeros((*planes[0].shape, 3))
    for plane, channel, color in zip(planes, channels, colors, strict=True):
        low, high = _limits(plane, channel)
        brightness = np.clip((plane.astype(np.float64) - low) / (high - low), 0, 1)
        total += np.nan_to_num(brightness)[..., None] * _rgb(channel.color or color)
    found = np.full((*planes[0].shape, 4), 255, np.uint8)
    found[..., :3] = np.clip(total, 0, 1) * 255
    return found


def _limits(plane: npt.NDArray[Any], channel: Channel) -> tuple[float, float]:
    """Return the brightness of black and white: of the channel unless it would show nothing."""
    finite = plane[np.isfinite(plane)] if plane.dtype.kind == "f" else plane
    low, high = (
        (float(v) for v in np.percentile(finite, (0.5, 99.8))) if finite.size else (0.0, 1.0)
    )
    if channel.window is not None and channel.window[0] < high and low < channel.window[1]:
        return channel.window
    return low, high if high > low else low + 1


def _rgb(color: str) -> npt.NDArray[np.float64]:
    digits = color.lstrip("#")
    try:
        return np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    except ValueError:
        return np.ones(3)
