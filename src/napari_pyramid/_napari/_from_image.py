"""Make layer data tuples for napari from the images of a layout. Imports no napari."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import cycle
from typing import Any

import numpy as np

from napari_pyramid._napari._giants import (
    VISIBLE_KEY,
    WHOLE_KEY,
    has_virtual_levels,
    shows_whole,
    with_levels_to_view,
)
from napari_pyramid._napari._units import fill_units, napari_unit
from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.arrays.virtual import Cast, Mosaic, Transpose
from napari_pyramid.arrays.virtual_level import stored_levels
from napari_pyramid.axes import Axis
from napari_pyramid.contrast import Place, contrast_limits
from napari_pyramid.errors import LayoutError
from napari_pyramid.image import Affine, Channel, Image
from napari_pyramid.layer_image import METADATA_KEY, NAME_OF, RGBA, LayerTuple, colormaps_of
from napari_pyramid.storage.address import is_remote

__all__ = ["layers_of", "origin_of"]

MANY_CHANNELS = 32
"""With more channels (spectra) their axis keeps its slider: layers would flood the list."""

_UNLISTED_LABEL = (0.6, 0.6, 0.6, 1.0)
"""Colour of labels without a colour in the store, which napari would hide."""


def layers_of(
    images: Sequence[Image], source: str, *, virtual_levels: bool = False
) -> list[LayerTuple]:
    """Return one layer tuple per image, or per channel of an image.

    Images that napari cannot show (complex pixels, fewer than two axes) are left out with a
    warning.

    Parameters
    ----------
    source
        Path that the images were opened from.
    virtual_levels
        Whether images that are too large, or far away, get virtual levels. Their layers are hidden;
        they must be made visible where they are shown progressively.

    Raises
    ------
    LayoutError
        If no image can be shown; the message gives the reasons.
    """
    problems = {id(image): _why_not(image) for image in images}
    shown = [image for image in images if not problems[id(image)]]
    if not shown:
        raise LayoutError(
            "; ".join(f"{source}: {image.name!r} {problems[id(image)]}" for image in images)
        )
    for image in images:
        if problems[id(image)]:
            warnings.warn(f"{source}: {image.name!r} {problems[id(image)]}; left out", stacklevel=2)
    filled = iter(fill_units([image.axes for image in shown if image.axes is not None]))
    return [
        layer
        for image in shown
        for layer in _layers(
            image if image.axes is None else replace(image, axes=next(filled)),
            source,
            virtual_levels=virtual_levels,
        )
    ]


def _why_not(image: Image) -> str:
    array = image.levels[0].array
    kind = np.dtype(array.dtype).kind
    if kind not in "buif":
        remedy = ": save its real and imaginary parts as two images" if kind == "c" else ""
        return f"has pixels of type {array.dtype}, which napari cannot show{remedy}"
    if len(array.shape) - image.rgb < 2:
        return f"has shape {tuple(array.shape)}: napari shows images of at least two axes"
    return ""


def _layers(image: Image, source: str, *, virtual_levels: bool) -> Iterator[LayerTuple]:
    origin = origin_of(image, source)
    if _is_rgb_in_channels(image):
        image = _with_colour_last(image)
    levels = _levels(image, virtual_levels=virtual_levels, is_far=is_remote(source))
    if has_virtual_levels(levels) and shows_whole(stored_levels(levels)[-1], *_displayed(image)):
        origin |= {WHOLE_KEY: True}
    axis = _split_axis(image, levels[0].shape)
    shared = {"multiscale": len(levels) > 1, **_placement(image, axis, source)}
    if axis is None:
        channel = image.channels[0] if len(image.channels) == 1 else Channel()
        metadata = {**image.metadata, METADATA_KEY: origin}
        yield _layer(image, levels, channel, "gray", {**shared, "metadata": metadata})
        return
    n = levels[0].shape[axis]
    channels = (*image.channels[:n], *[Channel()] * (n - len(image.channels)))
    colormaps = cycle(colormaps_of(n))
    for i, (channel, colormap) in enumerate(zip(channels, colormaps, strict=False)):
        named = channel if channel.name or n == 1 else replace(channel, name=str(i))
        view = [v[(slice(None),) * axis + (i,)] for v in levels]
        metadata = {**image.metadata, METADATA_KEY: {**origin, "channel": i, "channel_axis": axis}}
        # napari blends the layers of a split channel axis like this.
        blending = "additive" if i else "translucent_no_depth"
        yield _layer(
            image, view, named, colormap, {**shared, "metadata": metadata, "blending": blending}
        )


def _levels(image: Image, *, virtual_levels: bool, is_far: bool) -> list[LazyArray]:
    """Return the arrays to show: the stored ones, and virtual levels if they are wanted."""
    levels = [LazyArray(level.array) for level in image.levels]
    if _is_labels(image) and levels[0].dtype == bool:
        levels = [LazyArray(Cast(v, np.uint8)) for v in levels]  # napari expects integers
    if not virtual_levels:
        return levels
    plane, depth = _displayed(image)
    nearest = _is_labels(image)
    return with_levels_to_view(levels, plane, depth=depth, nearest=nearest, is_far=is_far)


def _displayed(image: Image) -> tuple[tuple[int, int], int | None]:
    """Return the axes of the plane that napari displays at first, and the one it adds in 3-D."""
    shape = image.levels[0].array.shape
    split = _split_axis(image, shape)
    *others, y, x = (i for i in range(len(shape) - image.rgb) if i != split)
    in_space = bool(others) and (image.axes is None or image.axes[others[-1]].is_spatial)
    return (y, x), others[-1] if in_space else None


def _is_labels(image: Image) -> bool:
    """Return whether napari can show an image as labels."""
    return image.kind == "labels" and np.dtype(image.levels[0].array.dtype).kind in "iub"


def _is_rgb_in_channels(image: Image) -> bool:
    """Return whether the channels of an image form a colour picture.

    They are named red, green and blue, have these colours, and have no contrast limits but the full
    range.
    """
    axis = image.channel_axis
    if (
        axis is None
        or image.kind == "labels"
        or image.levels[0].array.shape[axis] != len(image.channels)
    ):
        return False
    array = image.levels[0].array
    full = _full_range(np.dtype(array.dtype))
    default = (
        full if array.dtype == np.uint8 else None
    )  # the brightness of deeper pixels is unknown
    found = tuple((str(c.name).lower(), str(c.color).upper()) for c in image.channels)
    unstretched = all(
        (c.window or default) == full and c.visible == (c.name != "alpha") for c in image.channels
    )
    return len(array.shape) > 2 and found in (RGBA[:3], RGBA) and unstretched


def _with_colour_last(image: Image) -> Image:
    """Return the image with its channel axis last, where napari expects colours."""
    axis, ndim = image.channel_axis, len(image.levels[0].array.shape)
    order = (*(i for i in range(ndim) if i != axis), *(i for i in range(ndim) if i == axis))

    def moved(values: Any) -> Any:
        return None if values is None else tuple(values[i] for i in order)

    levels = tuple(
        replace(
            v,
            array=Transpose(v.array, order),
            scale=moved(v.scale),
            translation=moved(v.translation),
        )
        for v in image.levels
    )
    return replace(image, levels=levels, axes=moved(image.axes), channels=(), rgb=True)


def _full_range(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return the contrast limits that leave a colour picture unchanged."""
    return (0.0, float(np.iinfo(dtype).max)) if dtype.kind in "iu" else (0.0, 1.0)


def _split_axis(image: Image, shape: Sequence[int]) -> int | None:
    """Return the channel axis if it is split into layers, else None."""
    axis = image.channel_axis
    if axis is None or len(shape) < 3 or shape[axis] > MANY_CHANNELS:
        return None
    return axis


def _placement(image: Image, axis: int | None, source: str) -> dict[str, Any]:
    """Return scale, translate, units, labels and affine of level 0 for a layer.

    The channel axis that is split and the colour axis are left out.
    """
    first = image.levels[0]
    shown = [i for i in range(len(first.array.shape) - image.rgb) if i != axis]
    found: dict[str, Any] = {}
    if first.scale is not None:
        found["scale"] = [first.scale[i] for i in shown]
    if first.translation is not None:
        found["translate"] = [first.translation[i] for i in shown]
    if image.axes is not None:
        axes: list[Axis] = [image.axes[i] for i in shown]
        found["axis_labels"] = [a.name for a in axes]
        found["units"] = [napari_unit(a, f"{source}: {image.name!r}") for a in axes]
    affine = image.affine
    if affine is not None and axis is None and image.channel_axis is not None:
        affine = _with_axis(
            affine, image.channel_axis
        )  # the channels stay an axis, which the matrix lacks
    if affine is not None and affine.shape == (len(shown) + 1,) * 2:
        found["affine"] = affine
    return found


def _with_axis(affine: Affine, axis: int) -> Affine:
    """Return the matrix with another axis, which it maps to itself."""
    larger = np.insert(np.insert(affine, axis, 0, axis=0), axis, 0, axis=1)
    larger[axis, axis] = 1
    return larger


def _places(image: Image) -> list[Place]:
    """Return the places of the fields of a mosaic, a little inside of their first corners.

    Inside, because the lengths of coarser levels are rounded up.
    """
    fields = image.metadata.get("fields")
    if not isinstance(image.levels[-1].array, Mosaic) or not isinstance(fields, Mapping):
        return []
    (height, width), (h, w) = image.levels[0].array.shape[-2:], image.levels[-1].array.shape[-2:]
    return [(y / height + 1 / h, x / width + 1 / w) for y, x in fields.values()]


def _layer(
    image: Image, levels: list[LazyArray], channel: Channel, colormap: str, given: dict[str, Any]
) -> LayerTuple:
    """Return one layer tuple; `colormap` is for channels that have no colour in the store."""
    given = {"name": _name(image.name, channel.name), "visible": channel.visible, **given}
    if has_virtual_levels(levels):
        given["metadata"][METADATA_KEY][VISIBLE_KEY] = given["visible"]
        given["visible"] = False
    is_labels = _is_labels(image)
    if is_labels:
        given |= _label_look(image)
    elif image.rgb:
        given |= {"rgb": True, "contrast_limits": _full_range(levels[0].dtype)}
    else:
        color = (
            NAME_OF.get(channel.color.upper(), channel.color.lower()) if channel.color else colormap
        )
        given |= {
            "rgb": False,
            "contrast_limits": channel.window
            or contrast_limits(stored_levels(levels)[-1], _places(image)),
            "colormap": color,
        }
    return levels if given["multiscale"] else levels[0], given, "labels" if is_labels else "image"


def _name(image: str, channel: str | None) -> str:
    if not channel or channel == image:
        return image
    return f"{image}: {channel}" if image else channel


def origin_of(image: Image, source: str) -> dict[str, Any]:
    """Return the location of an image and the transforms of its levels, for ``layer.metadata``.

    napari has no other place for the transforms of coarser levels.
    """
    levels = [
        {"path": v.path, "scale": v.scale, "translation": v.translation} for v in image.levels
    ]
    return {
        "source": source,
        "path": image.path,
        "image": image.name,
        "layout": image.layout,
        "levels": levels,
    }


def _label_look(image: Image) -> dict[str, Any]:
    look: dict[str, Any] = {}
    if image.label_colors:
        colors = {label: tuple(v / 255 for v in rgba) for label, rgba in image.label_colors.items()}
        look["colormap"] = {0: (0.0, 0.0, 0.0, 0.0), None: _UNLISTED_LABEL, **colors}
    if image.label_properties:
        rows = [dict(row) for row in image.label_properties]
        columns = dict.fromkeys(key for row in rows for key in row if key != "label-value")
        # napari finds the row of a label by the column "index".
        look["features"] = {"index": [row.get("label-value") for row in rows]}
        look["features"] |= {
            key: [_cell(row.get(key)) for row in rows] for key in columns if key != "index"
        }
    return look


def _cell(value: object) -> object:
    """Return a value for a table.

    Lists and objects become text, since lists of unequal lengths do not form an array.
    """
    return value if value is None or isinstance(value, str | int | float) else str(value)
