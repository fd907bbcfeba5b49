"""Add the missing resolutions to a zarr array without copying it: the group becomes OME-Zarr."""

import numpy as np
import zarr

from napari_pyramid import build_pyramid

group = zarr.create_group("plate.zarr", overwrite=True)
group.create_array(
    "raw",
    data=np.random.default_rng(0).integers(0, 255, (3, 1200, 1500), np.uint8),
    chunks=(1, 256, 256),
)

pyramid = build_pyramid(
    "plate.zarr", in_place=True, axes="cyx", scale=(1, 0.65, 0.65), unit="micrometer"
)
print(pyramid)
