"""Compile loops over windows; importing this module imports numba. Knows arrays, but no methods.

Every kernel takes C-contiguous blocks, writes all of `out`, releases the GIL and is cached on disk.
There are two families: *pairs* for the common factors (1, 2, 2) and (2, 2, 2) of blocks
(outer, z, y, x) with even extents, and *windows* for any factors of a block of six axes, where the
last window along an axis may be partial.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit
from numba.extending import register_jitable

from napari_pyramid.downsample.code_digest import code_digest
from napari_pyramid.downsample.window_functions import mode_of

__all__ = ["mean_pairs", "mode_pairs", "windows"]

Array = npt.NDArray[Any]
WindowFunction = Callable[[Any, int, bool], Any]


def _compiled(
    function: Callable[..., Any], *, calls: WindowFunction | None = None, **options: Any
) -> Any:
    """Return `function`, to be compiled at its first call and kept on disk for other processes.

    Parameters
    ----------
    calls
        The window function that it calls.
    """
    if calls is not None:
        register_jitable(calls)
        # Numba names a cache file after the loop, and would not see that `calls` has changed.
        function.__qualname__ += f"_{calls.__name__}_{(code_digest(calls) or '')[:12]}"
    try:
        return njit(nogil=True, cache=True, **options)(function)
    except RuntimeError:  # "no locator available": the cache cannot be written
        return njit(nogil=True, **options)(function)


_inlined = partial(_compiled, inline="always")
_calling_mode = partial(_compiled, calls=mode_of)
_counted_mode = _compiled(mode_of)
"""Not inlined into the loops that call it: that would slow their fast path by a third."""

# ---- pairs ---------------------------------------------------------------------------------------


@_compiled
def _mean_pairs_1(a: Any, zero: Any, out: Any) -> None:
    """Fill `out` with integer means over 1 x 2 x 2, half to even; `zero`'s type holds the sum."""
    for o in range(out.shape[0]):
        for z in range(out.shape[1]):
            for y in range(out.shape[2]):
                r0, r1 = a[o, z, 2 * y], a[o, z, 2 * y + 1]
                to = out[o, z, y]
                for x in range(out.shape[3]):
                    s = zero + r0[2 * x] + r0[2 * x + 1] + r1[2 * x] + r1[2 * x + 1]
                    to[x] = (s + 1 + ((s >> 2) & 1)) >> 2


@_compiled
def _mean_pairs_2(a: Any, zero: Any, out: Any) -> None:
    """Fill `out` with integer means over 2 x 2 x 2, half to even; `zero`'s type holds the sum."""
    for o in range(out.shape[0]):
        for z in range(out.shape[1]):
            for y in range(out.shape[2]):
                r0, r1 = a[o, 2 * z, 2 * y], a[o, 2 * z, 2 * y + 1]
                r2, r3 = a[o, 2 * z + 1, 2 * y], a[o, 2 * z + 1, 2 * y + 1]
                to = out[o, z, y]
                for x in range(out.shape[3]):
                    s = zero + r0[2 * x] + r0[2 * x + 1] + r1[2 * x] + r1[2 * x + 1]
                    s += zero + r2[2 * x] + r2[2 * x + 1] + r3[2 * x] + r3[2 * x + 1]
                    to[x] = (s + 3 + ((s >> 3) & 1)) >> 3


@_compiled
def _float_mean_pairs(a: Any, depth: int, out: Any) -> None:
    """Fill `out` with float means over depth x 2 x 2, summed in float64 in C order."""
    weight = 1.0 / (4 * depth)
    for o in range(out.shape[0]):
        for z in range(out.shape[1]):
            for y in range(out.shape[2]):
                for x in range(out.shape[3]):
                    s = 0.0
                    for dz in range(depth):
                        for dy in range(2):
                            s += np.float64(a[o, depth * z + dz, 2 * y + dy, 2 * x])
                            s += np.float64(a[o, depth * z + dz, 2 * y + dy, 2 * x + 1])
                    out[o, z, y, x] = s * weight


@_calling_mode
def _mode_pairs_1(a: Any, ignore_background: bool, out: Any) -> None:
    """Fill `out` with modes over 1 x 2 x 2.

    Most windows of a label image hold one value: they are compared without counting.
    """
    window = np.empty(4, a.dtype)
    for o in range(out.shape[0]):
        for z in range(out.shape[1]):
            for y in range(out.shape[2]):
                r0, r1 = a[o, z, 2 * y], a[o, z, 2 * y + 1]
                to = out[o, z, y]
                for x in range(out.shape[3]):
                    i, v = 2 * x, r0[2 * x]
                    if (r0[i + 1] == v) & (r1[i] == v) & (r1[i + 1] == v):
                        to[x] = v
                    else:
                        window[0], window[1], window[2], window[3] = v, r0[i + 1], r1[i], r1[i + 1]
                        to[x] = _counted_mode(window, 4, ignore_background)


@_calling_mode
def _mode_pairs_2(a: Any, ignore_background: bool, out: Any) -> None:
    """Fill `out` with modes over 2 x 2 x 2."""
    window = np.empty(8, a.dtype)
    for o in range(out.shape[0]):
        for z in range(out.shape[1]):
            for y in range(out.shape[2]):
                r0, r1 = a[o, 2 * z, 2 * y], a[o, 2 * z, 2 * y + 1]
                r2, r3 = a[o, 2 * z + 1, 2 * y], a[o, 2 * z + 1, 2 * y + 1]
                to = out[o, z, y]
                for x in range(out.shape[3]):
                    i, v = 2 * x, r0[2 * x]
                    same = (r0[i + 1] == v) & (r1[i] == v) & (r1[i + 1] == v)
                    if same & (r2[i] == v) & (r2[i + 1] == v) & (r3[i] == v) & (r3[i + 1] == v):
                        to[x] = v
                    else:
                        window[0], window[1], window[2], window[3] = v, r0[i + 1], r1[i], r1[i + 1]
                        window[4], window[5], window[6], window[7] = (
                            r2[i],
                            r2[i + 1],
                            r3[i],
                            r3[i + 1],
                        )
                        to[x] = _counted_mode(window, 8, ignore_background)


# ---- windows -------------------------------------------------------------------------------------


@_inlined
def _gather(
    a: Any, factors: Any, i0: int, i1: int, i2: int, i3: int, i4: int, i5: int, window: Any
) -> int:
    """Copy the samples of one window in C order, and return their number."""
    n = 0
    for j0 in range(i0 * factors[0], min((i0 + 1) * factors[0], a.shape[0])):
        for j1 in range(i1 * factors[1], min((i1 + 1) * factors[1], a.shape[1])):
            for j2 in range(i2 * factors[2], min((i2 + 1) * factors[2], a.shape[2])):
                for j3 in range(i3 * factors[3], min((i3 + 1) * factors[3], a.shape[3])):
                    for j4 in range(i4 * factors[4], min((i4 + 1) * factors[4], a.shape[4])):
                        for j5 in range(i5 * factors[5], min((i5 + 1) * factors[5], a.shape[5])):
                            window[n] = a[j0, j1, j2, j3, j4, j5]
                            n += 1
    return n


@lru_cache
def _loop_over(of: WindowFunction) -> Any:
    """Return the loop that reduces each window by `of`.

    There is a loop for each function: in a loop for several, numba would give their results a
    common type, which loses 64-bit integers.
    """

    def windows(a: Any, factors: Any, ignore_background: bool, out: Any) -> None:
        size = 1
        for i in range(6):
            size *= min(factors[i], a.shape[i])
        window = np.empty(size, a.dtype)
        for i0 in range(out.shape[0]):
            for i1 in range(out.shape[1]):
                for i2 in range(out.shape[2]):
                    for i3 in range(out.shape[3]):
                        for i4 in range(out.shape[4]):
                            for i5 in range(out.shape[5]):
                                n = _gather(a, factors, i0, i1, i2, i3, i4, i5, window)
                                out[i0, i1, i2, i3, i4, i5] = of(window, n, ignore_background)

    return _compiled(windows, calls=of)


# ---- entry points --------------------------------------------------------------------------------


def mean_pairs(block: Array, depth: int, ignore_background: bool, out: Array) -> None:
    """Fill `out` (o, z, y, x) with means of `block` (o, depth * z, 2 * y, 2 * x); depth is 1 or 2.

    For floats and for integers of up to 32 bits.
    """
    if block.dtype.kind == "f":
        _float_mean_pairs(block, depth, out)
    else:
        zero = np.int64(0) if block.dtype.itemsize == 4 else np.int32(0)
        (_mean_pairs_1 if depth == 1 else _mean_pairs_2)(block, zero, out)


def mode_pairs(block: Array, depth: int, ignore_background: bool, out: Array) -> None:
    """Fill `out` (o, z, y, x) with modes of `block` (o, depth * z, 2 * y, 2 * x)."""
    (_mode_pairs_1 if depth == 1 else _mode_pairs_2)(block, ignore_background, out)


def windows(
    of: WindowFunction,
    block: Array,
    factors: tuple[int, ...],
    ignore_background: bool,
    out: Array,
) -> None:
    """Fill `out` with `of` each window of `block`; both have six axes.

    The last window along an axis may be partial.
    """
    _loop_over(of)(block, factors, ignore_background, out)
