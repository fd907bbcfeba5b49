"""Compute the positions of a level's samples, in samples of level 0: `Grid`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Grid", "grids_of"]

Values = Sequence[float] | None


@dataclass(frozen=True, slots=True)
class Grid:
    """The positions of a level's samples.

    Sample i of an axis has its centre at ``i * factor + offset`` in samples of level 0.
    """

    factors: tuple[float, ...]
    offsets: tuple[float, ...]

    def nearest(self, centres: Any, axis: int, length: int) -> npt.NDArray[np.intp]:
        """Return the samples of this level that are nearest to some positions.

        Positions beyond the level get its first or last sample.

        Parameters
        ----------
        centres
            Positions along `axis`, in samples of level 0.
        length
            Length of this level along `axis`.
        """
        found = np.floor((np.asarray(centres) - self.offsets[axis]) / self.factors[axis] + 0.5)
        return np.clip(found, 0, length - 1).astype(np.intp)

    def centres(self, indexes: range, axis: int) -> npt.NDArray[np.float64]:
        """Return the positions of samples `indexes` along `axis`, in samples of level 0."""
        samples = np.arange(indexes.start, indexes.stop, indexes.step, dtype=np.float64)
        return samples * self.factors[axis] + self.offsets[axis]


def grids_of(
    shapes: Sequence[Sequence[int]],
    scales: Sequence[Values] | None = None,
    translations: Sequence[Values] | None = None,
) -> list[Grid]:
    """Return the grid of each level.

    Parameters
    ----------
    shapes
        Shapes of the levels, level 0 first.
    scales, translations
        Scale and translation of each level in the store, in any unit, or None. Scales that
        contradict the shapes are ignored. Without translations, a sample is assumed to be in the
        middle of the samples that it was made from.
    """
    scales, translations = (
        values if values is not None and len(values) == len(shapes) else [None] * len(shapes)
        for values in (scales, translations)
    )
    steps = [np.ones(len(shapes[0]))]
    last: list[float] = [1.0] * len(shapes[0])
    for fine, coarse in pairwise(shapes):
        last = [_step(n, m, before) for n, m, before in zip(fine, coarse, last, strict=True)]
        steps.append(steps[-1] * last)
    grids = []
    for shape, step, scale, translation in zip(shapes, steps, scales, translations, strict=True):
        factors = step.copy()
        believed = np.zeros(len(shape), bool)
        if scale is not None and scales[0] is not None and len(scale) == len(shape):
            stored = np.divide(scale, scales[0])
            believed = np.abs(np.divide(shapes[0], stored) - shape) < 1
            factors[believed] = stored[believed]
        offsets = (factors - 1) / 2
        if (
            translation is not None
            and translations[0] is not None
            and scales[0] is not None
            and believed.any()
        ):
            moved = np.subtract(translation, translations[0]) / np.asarray(scales[0])
            inside = believed & (moved >= 0) & (moved < factors)
            offsets[inside] = moved[inside]
        grids.append(Grid(tuple(factors.tolist()), tuple(offsets.tolist())))
    return grids


def _step(fine: int, coarse: int, before: float) -> float:
    """Return the factor between the lengths of two levels.

    The factor `before` of the step before if it fits, else an integer that fits, else the ratio.
    """
    ratio = fine / max(coarse, 1)
    for factor in (before, round(ratio), int(ratio), int(ratio) + 1):
        if factor >= 1 and coarse in (-(-fine // factor), fine // factor):
            return factor
    return ratio
