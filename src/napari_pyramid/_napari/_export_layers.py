"""Show exported samples as layers, and describe an export in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_pyramid._napari._part_layer import part_layer
from napari_pyramid._napari._view_region import LayerSource
from napari_pyramid.export import Export
from napari_pyramid.export.ome_tiff import UNIT_SYMBOLS
from napari_pyramid.export.region import Cut
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
        data = samples if axis is None else np.moveaxis(samples, axis, 0)[i]
        name = f"{original.name} (region)"
        made.append(part_layer(original, data, start=first, factors=factors, name=name))
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
