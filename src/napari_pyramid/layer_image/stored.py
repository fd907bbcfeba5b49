"""Convert an image that a layout opened into an image to build or to export."""

from __future__ import annotations

from napari_pyramid.axes import Axis, default_axes
from napari_pyramid.image import Image
from napari_pyramid.layer_image.convert import LayerImage
from napari_pyramid.layer_image.look import rgb_channels

__all__ = ["image_of_stored"]


def image_of_stored(image: Image) -> LayerImage:
    """Return an image of a store as the `LayerImage` of a layer that shows it."""
    first = image.levels[0]
    ndim = len(first.array.shape)
    axes, channels = image.axes, image.channels
    if axes is None and image.rgb:
        axes = (*default_axes(ndim - 1), Axis.named("c"))
    if image.rgb and not channels:
        channels = rgb_channels(first.array.shape[-1], first.array.dtype)
    return LayerImage(
        image.name,
        tuple(level.array for level in image.levels),
        image.kind,
        axes or default_axes(ndim),
        first.scale or (1.0,) * ndim,
        first.translation or (0.0,) * ndim,
        channels,
        image.label_colors,
        image.label_properties,
    )
