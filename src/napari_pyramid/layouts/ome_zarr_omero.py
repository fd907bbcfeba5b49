"""Read "omero", the rendering settings of OME-Zarr: names, colours and contrast of channels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from napari_pyramid.image import Channel
from napari_pyramid.storage.json_values import is_number
from napari_pyramid.storage.layout_warnings import brief, warn

__all__ = ["parse_channels"]

_COLOR = re.compile(r"#?([0-9A-Fa-f]{6})([0-9A-Fa-f]{2})?$")
_WHITE = "#FFFFFF"


def parse_channels(
    omero: object, n_channels: int, dtype: np.dtype[Any], where: str
) -> tuple[Channel, ...]:
    """Return one entry per channel, () without channels; leave out unusable values with a warning.

    Parameters
    ----------
    omero
        The stored object, or None.
    n_channels
        Length of the channel axis; 1 for an image without one.
    dtype
        Data type of the pixels: windows that are defaults for another data type are ignored.
    where
        File and group, for messages.
    """
    if omero is None:
        return ()
    listed = omero.get("channels") if isinstance(omero, Mapping) else None
    if not isinstance(omero, Mapping) or not isinstance(listed, list | None):
        warn(
            f"{where}: omero is ignored: {brief(omero if listed is None else listed)} "
            "is not what was expected"
        )
        return ()
    if not listed:
        return ()
    if len(listed) != n_channels:
        warn(f"{where}: omero.channels has {len(listed)} entries for {n_channels} channels")
    rendering = omero.get("rdefs")
    grey = isinstance(rendering, Mapping) and rendering.get("model") == "greyscale"
    channels = [
        _channel(entry, dtype, grey, f"{where}: omero.channels[{i}]")
        for i, entry in enumerate(listed[:n_channels])
    ]
    return (*channels, *[Channel()] * (n_channels - len(channels)))


def _channel(entry: object, dtype: np.dtype[Any], grey: bool, where: str) -> Channel:
    if not isinstance(entry, Mapping):
        warn(f"{where} is {brief(entry)}, expected an object; ignored")
        return Channel()
    label = entry.get("label")
    return Channel(
        name=str(label) if isinstance(label, (str, int)) and str(label) else None,
        color=_WHITE if grey else _color(entry.get("color"), where),
        window=_window(entry.get("window"), dtype, where),
        visible=entry.get("active") is not False,
    )


def _color(color: object, where: str) -> str | None:
    if color is None:
        return None
    match = _COLOR.match(color) if isinstance(color, str) else None
    if match is None:
        warn(f"{where}.color {brief(color)} is not six hexadecimal digits; ignored")
        return None
    return f"#{match[1].upper()}"


def _window(window: object, dtype: np.dtype[Any], where: str) -> tuple[float, float] | None:
    """Return the contrast limits: start and end; min and max are the range of a slider."""
    if window is None:
        return None
    ends = (
        [window.get(key) for key in ("start", "end")] if isinstance(window, Mapping) else [window]
    )
    if ends == [None, None]:
        return None
    numbers = [float(e) for e in ends if is_number(e)]
    if len(numbers) != 2 or not numbers[0] < numbers[1]:
        warn(
            f"{where}.window from {' to '.join(map(brief, ends))} is not a contrast range; ignored"
        )
        return None
    low, high = numbers
    slider = window.get("max") if isinstance(window, Mapping) else None
    if _is_placeholder(low, high, slider, dtype):
        warn(
            f"{where}.window {low:g} to {high:g} is a default that does not fit {dtype} pixels; "
            "ignored"
        )
        return None
    return low, high


def _is_placeholder(low: float, high: float, slider: object, dtype: np.dtype[Any]) -> bool:
    """Return whether a window is a writer's default that makes integers of this type all white.

    aicsimageio writes 0 to 1 for any image, bioio 0 to 255. If the slider goes beyond the window,
    somebody chose the window, and it is kept.
    """
    if dtype.kind not in "iu" or low != 0 or (isinstance(slider, int | float) and slider > high):
        return False
    return high == 1 or (high == 255 and dtype.itemsize > 1)
