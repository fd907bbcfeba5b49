"""Compute the shape, scale and translation of each level from the factors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from napari_pyramid.downsample import downsampled_shape
from napari_pyramid.errors import SpecError
from napari_pyramid.half_pixel import centre_shift
from napari_pyramid.plan.chunks import ChunkGrid
from napari_pyramid.plan.level import Level

__all__ = ["floats_per_axis", "levels_of"]


def levels_of(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    steps: Sequence[tuple[int, ...]],
    paths: Sequence[str],
    spacing: tuple[float, ...],
    origin: tuple[float, ...],
    grid: ChunkGrid,
    *,
    centred: bool,
) -> tuple[Level, ...]:
    """Return the levels, with exact transforms.

    The scale is the product of the factors, never a ratio of shapes. The result of a window is at
    the centre of the window (OME-Zarr 0.4, "multiscales": half-pixel offsets); a strided sample
    stays where it was (`centred` False).
    """
    levels: list[Level] = []
    total = (1,) * len(shape)
    for path, step in zip(paths, [total, *steps], strict=True):
        shape = downsampled_shape(shape, step)
        total = tuple(a * b for a, b in zip(total, step, strict=True))
        scale = tuple(s * f for s, f in zip(spacing, total, strict=True))
        shift = centre_shift(spacing, scale) if centred else (0.0,) * len(shape)
        translation = tuple(t + d for t, d in zip(origin, shift, strict=True))
        levels.append(
            Level(
                path,
                shape,
                step,
                total,
                scale,
                translation,
                grid.chunks_of(shape),
                grid.shards_of(shape),
                dtype,
            )
        )
    return tuple(levels)


def floats_per_axis(
    what: str, values: Iterable[float] | None, ndim: int, default: float
) -> tuple[float, ...]:
    """Return one finite number per axis; `default` for all if there are no `values`.

    Raises
    ------
    SpecError
        If the values are not finite, or not one per axis; the message begins with `what`.
    """
    if values is None:
        return (default,) * ndim
    out = tuple(float(v) for v in values)
    if len(out) != ndim:
        raise SpecError(
            f"{what} {out} has {len(out)} entries, but the array has {ndim} axes: give one per axis"
        )
    if not all(math.isfinite(v) for v in out):
        raise SpecError(f"{what} {out} must be finite numbers")
    return out
