"""Check which arrays can be reduced: dtype, factors, and the shape of the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_pyramid.errors import SpecError

__all__ = ["MAX_NDIM", "check_dtype", "check_factors", "downsampled_shape"]

MAX_NDIM = 6


def downsampled_shape(shape: Sequence[int], factors: Sequence[int]) -> tuple[int, ...]:
    """Return ``ceil(n / f)`` for each axis: the last window may be partial."""
    return tuple(-(-n // f) for n, f in zip(shape, factors, strict=True))


def check_factors(factors: Sequence[int], ndim: int) -> None:
    """Check that `factors` has one integer of at least 1 for each of `ndim` axes.

    Raises
    ------
    SpecError
        If it has not.
    """
    if len(factors) != ndim:
        raise SpecError(
            f"factors {tuple(factors)} has {len(factors)} entries, but the array has {ndim} axes: "
            "give one per axis"
        )
    if not all(
        isinstance(f, int | np.integer) and not isinstance(f, bool) and f >= 1 for f in factors
    ):
        raise SpecError(
            f"factors {tuple(factors)} must be integers of at least 1 (1 keeps an axis as it is)"
        )


def check_dtype(dtype: np.dtype[Any]) -> None:
    """Check that pixels of this dtype can be reduced.

    Raises
    ------
    SpecError
        If they are not bool, integers or floats of up to 64 bits.
    """
    if dtype.kind in "biu" or (dtype.kind == "f" and dtype.itemsize <= 8):
        return
    hint = (
        "; save its real and imaginary part or its magnitude instead" if dtype.kind == "c" else ""
    )
    raise SpecError(
        f"dtype {dtype} cannot be downsampled: expected bool, an integer or a float of up to "
        f"64 bits{hint}"
    )
