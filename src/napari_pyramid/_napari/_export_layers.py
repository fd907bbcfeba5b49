"""Show exported samples as layers, and describe an export in words."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Layer
from napari.utils.transforms import Affine

from napari_pyramid._napari._view_region import LayerSource
from napari_pyramid.export import Export
from napari_pyramid.export.ome_tiff import UNIT_SYMBOLS
from napari_pyramid.export.region import Cut
from napari_pyramid.layer_image import METADATA_KEY
from napari_pyramid.plan.level import format_bytes
from napari_pyramid.words import by, counted

__all__ = ["new_layers", "words_for"]


def new_layers(source: LayerSource, cut: Cut, samples: Any) -> list[Any]:
    """Return layers that show samples at their place, each with the look of its original."""
    grid = source.source.grids[cut.level]
    own = [k for k, axis in enumerate(source.axis_of) if axis is not None]
    factors = np.array([grid.factors[k] for k in own])
    first = np.array([cut.region[k].start * grid.factors[k] + grid.offsets[k] for k in own])
    axis = source.channel_axis
    made = []
    for i, original in enumerate(source.layers):
        _, state, kind = original.as_layer_data_tuple()
        linear = Affine(
            scale=original.scale, rotate=original.rotate, shear=original.shear, ndim=original.ndim
        ).linear_matrix
        state.pop("locked_data_level", None)
        state |= {
            "multiscale": False,
            "name": f"{original.name} (region)",
            "metadata": {k: v for k, v in state["metadata"].items() if k != METADATA_KEY},
            "scale": np.asarray(original.scale) * factors,
            "translate": np.asarray(original.translate) + linear @ first,
        }
        data = samples if axis is None else np.moveaxis(samples, axis, 0)[i]
        made.append(Layer.create(data, state, kind))
    return made


def words_for(cut: Cut, export: Export) -> str:
    """Return shape, voxel size, bytes and memory of an export."""
    axes = cut.image.axes
    spatial = [s for s, axis in zip(cut.image.scale, axes, strict=True) if axis.is_spatial]
    units = dict.fromkeys(
        UNIT_SYMBOLS.get(axis.unit, axis.unit) for axis in axes if axis.is_spatial and axis.unit
    )
    names = ", ".join(axis.name for axis in axes)
    kinds = {
        "pyramid": counted(export.n_levels, "level"),
        "tiff": "BigTIFF" if export.is_big_tiff else "TIFF",
        "array": "One array",
    }
    packed = " before compression" if export.is_compressed else ""
    return (
        f"{by(cut.array.shape, ' × ')} ({names}), {cut.array.dtype}\n"
        f"Voxels {by((f'{s:.4g}' for s in spatial), ' × ')} {', '.join(units) or 'pixel'}\n"
        f"{kinds[export.kind]}, {format_bytes(export.nbytes)}{packed}; "
        f"{format_bytes(export.peak_memory)} of memory"
    )
