"""Write an image and its labels into one OME-Zarr; labels are reduced by mode, without new ids."""

import numpy as np
from scipy import ndimage

from napari_pyramid import build_pyramid, open_pyramids

image = ndimage.gaussian_filter(np.random.default_rng(0).random((600, 700)), 8).astype(np.float32)
nuclei, n_nuclei = ndimage.label(image > image.mean())

build_pyramid(
    image,
    "cells.ome.zarr",
    axes="yx",
    scale=(0.3, 0.3),
    unit="micrometer",
    overwrite=True,
    n_levels=3,
)
build_pyramid(
    nuclei.astype(np.uint16),
    "cells.ome.zarr/labels/nuclei",
    axes="yx",
    scale=(0.3, 0.3),
    unit="micrometer",
    labels=True,
    n_levels=3,
    overwrite=True,
)

for pyramid in open_pyramids("cells.ome.zarr"):
    print(pyramid.kind, pyramid)
