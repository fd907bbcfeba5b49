"""Convert colours and contrast of a layer to OME-Zarr's: one colour per channel or label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_pyramid.image import Channel

__all__ = [
    "HEX_OF",
    "NAME_OF",
    "RGBA",
    "Rgba",
    "channel_of",
    "colormaps_of",
    "label_colors",
    "rgb_channels",
]

Rgba = tuple[int, int, int, int]
"""Red, green, blue and opacity, 0 to 255."""
NAME_OF = {
    "#FF0000": "red",
    "#00FF00": "green",
    "#0000FF": "blue",
    "#00FFFF": "cyan",
    "#FF00FF": "magenta",
    "#FFFF00": "yellow",
    "#FFFFFF": "gray",
    "#000000": "gray",  # black on black shows nothing; some writers leave it as "not set"
}
"""Names of napari's colour maps of one colour, by colour."""
HEX_OF = {name: color for color, name in NAME_OF.items() if color != "#000000"}
"""Colours by the name of napari's colour map."""
_COLORMAPS = {1: ("gray",), 2: ("magenta", "green")}
_MORE_COLORMAPS = ("cyan", "magenta", "yellow", "blue", "green", "red")
RGBA = (("red", "#FF0000"), ("green", "#00FF00"), ("blue", "#0000FF"), ("alpha", "#FFFFFF"))
"""Names and colours of the channels of a stored RGB layer: OME-Zarr has no RGB images."""


def colormaps_of(n: int) -> tuple[str, ...]:
    """Return the colour maps that napari gives the layers of `n` channels, one after the other."""
    return _COLORMAPS.get(n, _MORE_COLORMAPS)


def channel_of(meta: Mapping[str, Any], name: str | None) -> Channel:
    """Return the channel that an Image layer shows."""
    limits = meta.get("contrast_limits")
    window = None if limits is None else (float(limits[0]), float(limits[1]))
    return Channel(name, _hex(meta.get("colormap")), window, bool(meta.get("visible", True)))


def rgb_channels(n: int, dtype: np.dtype[Any]) -> tuple[Channel, ...]:
    """Return the 3 or 4 channels of an RGB layer, which shows the full range of its data type."""
    top = float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0
    return tuple(Channel(name, color, (0.0, top), name != "alpha") for name, color in RGBA[:n])


def label_colors(meta: Mapping[str, Any]) -> dict[int, Rgba]:
    """Return the colours that were chosen for single labels; napari's own cycle is not stored."""
    colormap = meta.get("colormap")
    chosen = (
        colormap.get("color_dict")
        if isinstance(colormap, Mapping)
        else getattr(colormap, "color_dict", None)
    )
    colors: dict[int, Rgba] = {}
    for label, color in (chosen or {}).items():
        if label:  # neither None (all others) nor the background
            red, green, blue, *alpha = (round(255 * float(v)) for v in color)
            colors[int(label)] = (red, green, blue, alpha[0] if alpha else 255)
    return colors


def _hex(colormap: Any) -> str | None:
    """Return the colour at the brighter end of a colour map.

    OME-Zarr keeps one colour, for a map that starts at black.
    """
    if isinstance(colormap, str):
        return colormap.upper() if colormap.startswith("#") else HEX_OF.get(colormap)
    colors: Sequence[Any] | None = (
        colormap.get("colors")
        if isinstance(colormap, Mapping)
        else getattr(colormap, "colors", None)
    )
    if colors is None or not len(colors):
        return None
    ends = np.asarray([colors[0], colors[-1]], dtype=float)[:, :3]
    red, green, blue = (round(255 * v) for v in ends[ends.sum(axis=1).argmax()])
    return f"#{red:02X}{green:02X}{blue:02X}"
