"""Smooth against aliasing and sample: the reductions that look beyond their windows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_pyramid.regions import Region

__all__ = ["gaussian_radius", "gaussian_reduce", "gaussian_residual", "with_halo"]

Array = npt.NDArray[Any]


def gaussian_radius(factor: int) -> int:
    """How many samples beyond its window a gaussian reduction by `factor` looks at, on each side; 0 for factor 1."""
    return 0 if factor == 1 else _smoothing_radius(factor) + 1


def _smoothing_radius(factor: int) -> int:
    return int(4.0 * factor / 3.0 + 0.5)


def with_halo(
    region: Region, factors: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[Region, tuple[tuple[int, int], ...]]:
    """A region with the samples around it that a gaussian looks at, and how many there are on each side."""
    out, margins = [], []
    for s, f, n in zip(region, factors, shape, strict=True):
        halo = gaussian_radius(f)
        out.append(slice(max(0, s.start - halo), min(n, s.stop + halo)))
        margins.append((s.start - out[-1].start, out[-1].stop - s.stop))
    return tuple(out), tuple(margins)


def gaussian_reduce(
    block: Array, factors: Sequence[int], *, margins: Sequence[tuple[int, int]] | None = None
) -> Array:
    """Block smoothed against aliasing and sampled at the centre of each window.

    Equal to ``scipy.ndimage.gaussian_filter(image, f / 3, mode="reflect", truncate=4)`` taken at the window's centre: the
    middle sample of an odd window, the mean of the two middle ones of an even window (skimage's ``pyramid_reduce`` for
    shapes that `factors` divide). The sample of a partial last window is taken at the same place in the reflected image.
    Computed in float64; integers are rounded once, half to even. A NaN spreads as far as the kernel reaches.

    Parameters
    ----------
    block : ndarray
        The region, with `margins` samples of its surroundings.
    factors
        Window size along each axis.
    margins
        Samples before and after the region along each axis that belong to its surroundings; where there are fewer than
        `gaussian_radius`, the image ends there and is reflected. The region before must begin at a multiple of the factor.

    Returns
    -------
    ndarray, shape ``ceil(n / f)`` of the region without margins, dtype of the block
    """
    out = block.astype(np.float64)
    for axis, f in enumerate(factors):
        margin = margins[axis] if margins is not None else (0, 0)
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
            highest = float(info.max)  # of 64 bits: one too many, rounded up
            out = np.clip(
                out, info.min, highest if int(highest) <= info.max else np.nextafter(highest, 0)
            )
    return np.ascontiguousarray(out, dtype=block.dtype.newbyteorder("="))


def gaussian_residual(
    block: Array, factors: Sequence[int], *, margins: Sequence[tuple[int, int]] | None = None
) -> Array:
    """What smoothing takes away: the block minus itself smoothed with sigma ``f / 3`` along each axis of factor `f` > 1.

    One level of a Laplacian pyramid as skimage's ``pyramid_laplacian`` defines it, in float64. `margins` as in
    `gaussian_reduce`, of which up to `gaussian_radius` count.
    """
    smooth = block.astype(np.float64)
    kept = smooth
    for axis, f in enumerate(factors):
        margin = margins[axis] if margins is not None else (0, 0)
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
    """Weighted sums along an axis, every `step` samples; the first begins at sample `first`, relative to the end of the margin."""
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
    """Kernel of scipy's ``gaussian_filter1d`` with sigma ``f / 3``."""
    x = np.arange(-_smoothing_radius(f), _smoothing_radius(f) + 1)
    kernel: Array = np.exp(-0.5 / (f / 3.0) ** 2 * x**2)
    kernel /= kernel.sum()
    return kernel


def _window_weights(f: int) -> Array:
    """The same, averaged over the two middle samples of an even window."""
    return _smoothing_weights(f) if f % 2 else np.convolve(_smoothing_weights(f), [0.5, 0.5])
