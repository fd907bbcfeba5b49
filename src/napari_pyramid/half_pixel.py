"""Compute the half-pixel shift of a downsampled level."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["centre_shift"]


def centre_shift(fine: Sequence[float], coarse: Sequence[float]) -> tuple[float, ...]:
    """Return how far the first sample of a coarse level is behind the first of a fine one.

    The result of a window is at the centre of the window, so it is half a coarse sample less half a
    fine one (OME-Zarr 0.6, "multiscales", note on pixel centres).

    Parameters
    ----------
    fine, coarse
        Distance between the samples of each level, one entry per axis, in units of the axes.
    """
    return tuple(0.5 * (b - a) for a, b in zip(fine, coarse, strict=True))
