"""Smooth against aliasing and sample: reductions that read beyond their windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["gaussian_halo", "gaussian_radius", "gaussian_reduce", "gaussian_residual"]

Array = npt.NDArray[Any]
Margins = Sequence[tuple[int, int]]


def gaussian_radius(factor: int) -> int:
    """Return the samples that the gaussian reads beyond a window on each side; 0 for factor 1."""
    return 0 if factor == 1 else _smoothing_radius(factor) + 1


def gaussian_halo(factors: Sequence[int]) -> tuple[int, ...]:
    """Return `gaussian_radius` for each axis."""
    return tuple(map(gaussian_radius, factors))


def _smoothing_radius(factor: int) -> int:
    return int(4.0 * factor / 3.0 + 0.5)


def gaussian_reduce(block: Array, factors: Sequence[int], margins: Margins | None = None) -> Array:
    """Return the block smoothed against aliasing and sampled at the centre of each window.

    Equal to ``scipy.ndimage.gaussian_filter(image, f / 3, mode="reflect", truncate=4)`` at the
    window's centre: at the middle sample of an odd window, as the mean of the two middle samples of
    an even window (skimage's ``pyramid_reduce`` for shapes that `factors` divide). The sample of a
    partial last window is taken at the same place in the reflected image. Computed in float64;
    integers are rounded once, half to even. A NaN spreads as far as the kernel reaches.

    Parameters
    ----------
    block : ndarray
        The region, with `margins` samples of its surroundings.
    factors
        Window size along each axis.
    margins
        Samples before and after the region along each axis that belong to its surroundings. Where
        there are fewer than `gaussian_radius`, the image ends and is reflected. The region without
        its margins must begin at a multiple of the factor.

    Returns
    -------
    ndarray, shape ``ceil(n / f)`` of the region without margins, dtype of the block
    """
    native = block.dtype.newbyteorder("=")
    margins = ((0, 0),) * block.ndim if margins is None else margins
    if all(f == 1 for f in factors):  # float64 does not hold every 64-bit integer
        for axis, margin in enumerate(margins):
            block = _cropped(block, axis, margin)
        return np.array(block, dtype=native, order="C")
    out = block.astype(np.float64)
    for axis, (f, margin) in enumerate(zip(factors, margins, strict=True)):
        out = (
            _correlated(
                out, axis, _window_weights(f), (f - 1) // 2 - _smoothing_radius(f), f, margin
            )
            if f > 1
            else _cropped(out, axis, margin)
        )
    if block.dtype.kind in "iub":
        out = np.rint(out)
        if block.dtype.kind != "b":
            info = np.iinfo(block.dtype)
            highest = float(info.max)  # 2**63 or 2**64 for 64 bits: float64 rounds up
            out = np.clip(
                out, info.min, highest if int(highest) <= info.max else np.nextafter(highest, 0)
            )
    return np.ascontiguousarray(out, dtype=native)


def gaussian_residual(
    block: Array, factors: Sequence[int], margins: Margins | None = None
) -> Array:
    """Return the block minus itself smoothed with sigma ``f / 3`` along each axis of factor > 1.

    The result has the shape of the region, in float64: one level of a Laplacian pyramid as
    skimage's ``pyramid_laplacian`` defines it. `margins` are as in `gaussian_reduce`; up to
    `gaussian_radius` samples of them count.
    """
    margins = ((0, 0),) * block.ndim if margins is None else margins
    smooth = block.astype(np.float64)
    kept = smooth
    for axis, (f, margin) in enumerate(zip(factors, margins, strict=True)):
        kept = _cropped(kept, axis, margin)
        smooth = (
            _correlated(smooth, axis, _smoothing_weights(f), -_smoothing_radius(f), 1, margin)
            if f > 1
            else _cropped(smooth, axis, margin)
        )
    return np.ascontiguousarray(kept - smooth)


def _cropped(a: Array, axis: int, margin: tuple[int, int]) -> Array:
    return a[
        tuple(
            slice(margin[0], n - margin[1]) if i == axis else slice(None)
            for i, n in enumerate(a.shape)
        )
    ]


def _correlated(
    a: Array, axis: int, weights: Array, first: int, step: int, margin: tuple[int, int]
) -> Array:
    """Return weighted sums along an axis, one for every `step` samples.

    The first sum begins at sample `first`, counted from the end of the margin.
    """
    before, after = margin
    n = a.shape[axis] - before - after
    n_out = -(-n // step)
    reach = first + (n_out - 1) * step + len(weights)
    pad = (max(0, -first - before), max(0, reach - n - after))
    padded = (
        np.pad(a, [pad if i == axis else (0, 0) for i in range(a.ndim)], mode="symmetric")
        if any(pad)
        else a
    )
    moved = np.moveaxis(padded, axis, -1)
    start = pad[0] + before + first
    total = np.zeros((*moved.shape[:-1], n_out))
    for i, w in enumerate(weights, start):
        total += w * moved[..., i : i + (n_out - 1) * step + 1 : step]
    return np.moveaxis(total, -1, axis)


def _smoothing_weights(f: int) -> Array:
    """Return the kernel of scipy's ``gaussian_filter1d`` with sigma ``f / 3``."""
    x = np.arange(-_smoothing_radius(f), _smoothing_radius(f) + 1)
    kernel: Array = np.exp(-0.5 / (f / 3.0) ** 2 * x**2)
    kernel /= kernel.sum()
    return kernel


def _window_weights(f: int) -> Array:
    """Return the same kernel, averaged over the two middle samples of an even window."""
    return _smoothing_weights(f) if f % 2 else np.convolve(_smoothing_weights(f), [0.5, 0.5])
