"""Reduce a block window by window, in compiled loops where that is faster.

numba is imported when the first loop is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_pyramid.downsample.limits import MAX_NDIM, downsampled_shape
from napari_pyramid.downsample.reduction import Downsampler, Factors, Margins
from napari_pyramid.errors import SpecError

__all__ = ["OwnFunction", "WindowLoop", "mean_pairs", "mode_pairs", "stride", "wider_bytes"]

Array = npt.NDArray[Any]
WindowFunction = Callable[[Any, int, bool], Any]
"""See `window_functions`."""
PairsKernel = Callable[[Array, int, bool, Array], None]
"""From (outer, depth * z, 2 * y, 2 * x) to (outer, z, y, x); depth is 1 or 2."""


def stride(block: Array, factors: Factors, margins: Margins | None = None) -> Array:
    """Return the first sample of each window."""
    native = block.dtype.newbyteorder("=")
    return np.array(block[tuple(slice(None, None, f) for f in factors)], dtype=native, order="C")


def wider_bytes(dtype: np.dtype[Any]) -> int:
    """Return the bytes that a `WindowLoop` allocates for a sample: float16 becomes float32."""
    return 4 if dtype == np.float16 else 0


@dataclass(frozen=True, slots=True)
class OwnFunction:
    """A user's function as a `Reduce`, with a check of its result."""

    function: Downsampler
    name: str

    def __call__(self, block: Array, factors: Factors, margins: Margins | None = None) -> Array:
        """Return the reduced block.

        Raises
        ------
        SpecError
            If the function returns another shape than ``ceil(n / f)``.
        """
        result = np.asarray(self.function(block, factors))
        shape = downsampled_shape(block.shape, factors)
        if result.shape != shape:
            raise SpecError(
                f"method {self.name!r} returned shape {result.shape}, expected {shape}: "
                "ceil(n / factor) along each axis"
            )
        return np.ascontiguousarray(result, dtype=block.dtype.newbyteorder("="))


@dataclass(frozen=True, slots=True)
class WindowLoop:
    """A `Reduce` that calls a compiled function for each window.

    Bool travels as uint8 and float16 as float32, which numba knows.
    """

    of: Callable[[np.dtype[Any]], WindowFunction]
    """Function from a dtype to the function of a window."""
    pairs: Callable[[np.dtype[Any]], PairsKernel | None] | None = None
    """Function from a dtype to a faster loop for the factors (1, 2, 2) and (2, 2, 2), or None."""
    ignore_background: bool = False

    def __call__(self, block: Array, factors: Factors, margins: Margins | None = None) -> Array:
        """Return the reduced block."""
        if all(f == 1 for f in factors):
            return stride(block, factors)
        native = block.dtype.newbyteorder("=")
        if native == np.float16:
            return self(block.astype(np.float32), factors).astype(np.float16)
        out = np.empty(downsampled_shape(block.shape, factors), native)
        if out.size:
            block, filled = np.ascontiguousarray(block, dtype=native), out
            if native.kind == "b":
                block, filled = block.view(np.uint8), out.view(np.uint8)
            self._fill(block, factors, filled)
        return out

    def _fill(self, block: Array, factors: Factors, out: Array) -> None:
        depth = _pairs_depth(factors)
        kernel = self.pairs(block.dtype) if self.pairs is not None and depth else None
        if kernel is None:
            self._fill_windows(block, factors, out)
        else:
            self._fill_pairs(kernel, block, factors, depth, out)

    def _fill_pairs(
        self, kernel: PairsKernel, block: Array, factors: Factors, depth: int, out: Array
    ) -> None:
        """Fill `out` by the fast kernel where windows are whole, else by the general loop.

        Windows are partial in a thin rest at the far end of each axis.
        """
        whole = tuple(n // f for n, f in zip(block.shape, factors, strict=True))
        if all(whole):
            inner = block[tuple(slice(0, n * f) for n, f in zip(whole, factors, strict=True))]
            target = out if whole == out.shape else np.empty(whole, out.dtype)
            kernel(_leading(inner, 4), depth, self.ignore_background, _leading(target, 4))
            if target is not out:
                out[tuple(slice(0, n) for n in whole)] = target
        for axis, (n, f) in enumerate(zip(whole, factors, strict=True)):
            if n == out.shape[axis]:
                continue
            # Each partial window once: whole windows of earlier axes, all windows of later axes.
            before = [slice(0, whole[i]) for i in range(axis)]
            under = [slice(0, whole[i] * factors[i]) for i in range(axis)]
            rest = np.ascontiguousarray(block[(*under, slice(n * f, None))])
            place = (*before, slice(n, None))
            reduced = np.empty(out[place].shape, out.dtype)
            if reduced.size:
                self._fill_windows(rest, factors, reduced)
                out[place] = reduced

    def _fill_windows(self, block: Array, factors: Factors, out: Array) -> None:
        from napari_pyramid.downsample import _kernels

        padded = (1,) * (MAX_NDIM - len(factors)) + factors
        _kernels.windows(
            self.of(block.dtype),
            _leading(block, MAX_NDIM),
            padded,
            self.ignore_background,
            _leading(out, MAX_NDIM),
        )


def mean_pairs(dtype: np.dtype[Any]) -> PairsKernel | None:
    """Return the fast loop of means; None for 64-bit integers, whose sum may not fit."""
    from napari_pyramid.downsample import _kernels

    is_wide = dtype.kind in "iu" and dtype.itemsize == 8
    return None if is_wide else _kernels.mean_pairs


def mode_pairs(dtype: np.dtype[Any]) -> PairsKernel | None:
    """Return the fast loop of modes."""
    from napari_pyramid.downsample import _kernels

    return _kernels.mode_pairs


def _pairs_depth(factors: Factors) -> int:
    """Return 1 or 2 for the factors (..., 1 or 2, 2, 2), which the fast loops know, else 0."""
    padded = (1, *factors)
    if len(factors) < 2 or padded[-2:] != (2, 2) or padded[-3] not in (1, 2):
        return 0
    return 0 if any(f != 1 for f in padded[:-3]) else padded[-3]


def _leading(a: Array, ndim: int) -> Array:
    """Return `a`, C-contiguous, as `ndim` axes: leading axes are added, or merged into one."""
    a = np.ascontiguousarray(a)
    if a.ndim <= ndim:
        return a.reshape((1,) * (ndim - a.ndim) + a.shape)
    return a.reshape((math.prod(a.shape[: a.ndim - ndim + 1]), *a.shape[a.ndim - ndim + 1 :]))
