"""Build a pyramid with your own function: the spread of each window, to see texture from afar."""

import numpy as np

from napari_pyramid import build_pyramid
from napari_pyramid.downsample import downsample


def spread(block: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """Largest minus smallest sample of each window."""
    return downsample(block, factors, "max") - downsample(block, factors, "min")


texture = np.random.default_rng(0).integers(0, 200, (512, 512), np.uint8)
pyramid = build_pyramid(
    texture, "spread.ome.zarr", axes="yx", method=spread, n_levels=3, overwrite=True
)
print(pyramid)
