"""A napari layer, or what a reader plugin gives for one, becomes an image to build.

Both faces use this package, so that a file gives the same store from the viewer and from the
command line. It imports neither napari nor pandas, but where a plugin's words need them.
"""

from __future__ import annotations

from napari_pyramid.layer_image.convert import (
    LayerImage,
    image_of_layer,
    images_of_layers,
    losses,
    lost_transforms,
)
from napari_pyramid.layer_image.look import NAME_OF, RGBA
from napari_pyramid.layer_image.tuples import METADATA_KEY, LayerTuple
from napari_pyramid.layer_image.viewer import layers_in_viewer

__all__ = [
    "METADATA_KEY",
    "NAME_OF",
    "RGBA",
    "LayerImage",
    "LayerTuple",
    "image_of_layer",
    "images_of_layers",
    "layers_in_viewer",
    "losses",
    "lost_transforms",
]
