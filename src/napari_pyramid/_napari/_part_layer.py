"""Make a layer that shows a part of another layer at its place, with the same look."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Layer
from napari.utils.transforms import Affine

from napari_pyramid.layer_image import METADATA_KEY

__all__ = ["part_layer"]


def part_layer(
    layer: Any, samples: Any, *, start: npt.ArrayLike, factors: npt.ArrayLike, name: str
) -> Any:
    """Return a layer of one resolution that shows `samples` where `layer` shows them.

    It has the state of `layer`, but does not claim to be stored where `layer` is.

    Parameters
    ----------
    start
        Position of the first sample, in samples of level 0: one number per axis of `layer`.
    factors
        Distance between samples, in samples of level 0: one number per axis of `layer`.
    """
    _, state, kind = layer.as_layer_data_tuple()
    state.pop("locked_data_level", None)
    placement = Affine(scale=layer.scale, rotate=layer.rotate, shear=layer.shear, ndim=layer.ndim)
    state |= {
        "multiscale": False,
        "name": name,
        "metadata": {k: v for k, v in state["metadata"].items() if k != METADATA_KEY},
        "scale": np.asarray(layer.scale) * factors,
        "translate": np.asarray(layer.translate) + placement.linear_matrix @ np.asarray(start),
    }
    return Layer.create(samples, state, kind)
