"""Choose the factors from each level to the next, and the level at which a pyramid ends."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from napari_pyramid.axes import Axis
from napari_pyramid.downsample import check_factors, downsampled_shape
from napari_pyramid.errors import SpecError

__all__ = ["Factors", "continued_steps", "kept_steps", "near_isotropic_step", "steps_of"]

Factors = int | Sequence[int] | Sequence[Sequence[int]]

LARGEST_2D_SIDE = 512
"""A flat image gets no further level once no side is longer, since it fits any screen."""
LARGEST_3D_VOXELS = 256**3
"""A volume gets no further level once it has no more voxels than this.

napari's 3-D view shows the whole of the last level.
"""


def steps_of(
    shape: tuple[int, ...],
    axes: Sequence[Axis],
    spacing: Sequence[float],
    factors: Factors | None,
    n_levels: int | None,
) -> list[tuple[int, ...]]:
    """Return the factors of every step, from each level to the next.

    The arguments are described in `PyramidSpec.from_array`.

    Raises
    ------
    SpecError
        If factors or number of levels do not fit each other or the shape.
    """
    if n_levels is not None and n_levels < 1:
        raise SpecError(f"levels {n_levels} must be at least 1; it counts level 0")
    given = _parse_factors(factors, axes)
    if isinstance(given, list):
        if n_levels is not None and n_levels != len(given) + 1:
            raise SpecError(
                f"factors of {len(given)} steps make {len(given) + 1} levels, "
                f"but {n_levels} levels were requested"
            )
        return given
    steps: list[tuple[int, ...]] = []
    spacing = tuple(abs(s) for s in spacing)
    while not _is_small(shape, axes) if n_levels is None else len(steps) + 1 < n_levels:
        step = given or near_isotropic_step(shape, spacing, axes)
        coarser = downsampled_shape(shape, step)
        if coarser == shape:
            if n_levels is None:
                break
            k = len(steps)
            raise SpecError(
                f"{n_levels} levels requested, but level {k} of shape {shape} "
                f"is not reduced by {step}: request at most {k + 1}"
            )
        steps.append(step)
        shape, spacing = coarser, tuple(s * f for s, f in zip(spacing, step, strict=True))
    return steps


def kept_steps(shapes: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return the factors between existing levels: ``round(n / m)`` along each axis."""
    return [
        tuple(max(1, round(n / m)) for n, m in zip(a, b, strict=True))
        for a, b in itertools.pairwise(shapes)
    ]


def continued_steps(
    shapes: Sequence[tuple[int, ...]], axes: Sequence[Axis], spacing: Sequence[float]
) -> list[tuple[int, ...]]:
    """Return the factors between existing levels, and of the steps that are missing after them.

    Parameters
    ----------
    shapes
        Shapes of the levels, largest first.
    spacing
        Scale of level 0.
    """
    steps = kept_steps(shapes)
    for step in steps:
        spacing = [s * f for s, f in zip(spacing, step, strict=True)]
    return [*steps, *steps_of(shapes[-1], axes, spacing, None, None)]


def _parse_factors(
    factors: Factors | None, axes: Sequence[Axis]
) -> tuple[int, ...] | list[tuple[int, ...]] | None:
    """Return one tuple for every step, a list with one tuple per step, or None to choose."""
    if factors is None:
        return None
    if isinstance(factors, int):
        factors = [factors if a.is_spatial else 1 for a in axes]
    per_step = [f for f in factors if not isinstance(f, int | np.integer)]
    if len(per_step) == len(factors):
        for step in per_step:
            check_factors(step, len(axes))
        return [tuple(int(f) for f in step) for step in per_step]
    flat = tuple(f for f in factors if isinstance(f, int | np.integer))
    check_factors(flat, len(axes))
    return tuple(int(f) for f in flat)


def _is_small(shape: Sequence[int], axes: Sequence[Axis]) -> bool:
    sides = [n for n, a in zip(shape, axes, strict=True) if a.is_spatial and n > 1]
    return (
        max(sides, default=1) <= LARGEST_2D_SIDE
        if len(sides) < 3
        else math.prod(sides) <= LARGEST_3D_VOXELS
    )


def near_isotropic_step(
    shape: Sequence[int], spacing: Sequence[float], axes: Sequence[Axis]
) -> tuple[int, ...]:
    """Return the factors that bring the spacings of the spatial axes closer together.

    An axis is halved (factor 2) unless its spacing is already coarser than the coarsest of the
    other spatial axes. Axes of size 1 do not count. Halving z of a stack whose planes are far apart
    would only lose planes, and napari would show a wrong one, since it rounds the slider position
    to the nearest coarse plane.
    """
    spatial = [i for i, a in enumerate(axes) if a.is_spatial and shape[i] > 1]
    coarsest = {i: max((spacing[j] for j in spatial if j != i), default=math.inf) for i in spatial}
    return tuple(
        2 if i in coarsest and spacing[i] <= coarsest[i] * (1 + 1e-6) else 1
        for i in range(len(shape))
    )
