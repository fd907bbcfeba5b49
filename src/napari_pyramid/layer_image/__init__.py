"""Convert napari layers, and the layer tuples of reader plugins, into images to build.

The viewer and the command line both use this package, so that a file gives the same store from
both. It does not import pandas, and imports napari only for colour maps and colours by name.
"""

from __future__ import annotations

from napari_pyramid.layer_image.convert import (
    LayerImage,
    image_of_channels,
    image_of_layer,
    images_of_layers,
    losses,
    lost_transforms,
)
from napari_pyramid.layer_image.look import HEX_OF, NAME_OF, RGBA, colormaps_of
from napari_pyramid.layer_image.stored import image_of_stored
from napari_pyramid.layer_image.tuples import METADATA_KEY, LayerTuple, origin_of_layer
from napari_pyramid.layer_image.viewer import layers_in_viewer

__all__ = [
    "HEX_OF",
    "METADATA_KEY",
    "NAME_OF",
    "RGBA",
    "LayerImage",
    "LayerTuple",
    "colormaps_of",
    "image_of_channels",
    "image_of_layer",
    "image_of_stored",
    "images_of_layers",
    "layers_in_viewer",
    "losses",
    "lost_transforms",
    "origin_of_layer",
]
