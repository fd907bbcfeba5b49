"""Compiled loops over windows; importing this module imports numba. Knows arrays only, `downsample` knows methods.

Every kernel takes C-contiguous blocks, writes all of `out`, releases the GIL and is cached on disk.
Two families: *pairs* for the common factors (1, 2, 2) and (2, 2, 2) of blocks (outer, z, y, x) with even extents,
and *windows* for any factors of a block of six axes, where the last window along an axis may be partial.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, types
from numba.extending import overload

__all__ = ["METHODS", "pairs", "windows"]

Array = npt.NDArray[Any]


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    """Compiled when it is first called, and kept on disk for the next process where there is a place to keep it."""
    try:
        return njit(nogil=True, cache=True, **options)(function)
    except (
        RuntimeError
    ):  # "no locator available": neither the package nor the home directory can be written to
        return njit(nogil=True, **options)(function)


_inlined = partial(_compiled, inline="always")

# ---- pairs -------------------------------------------------------------------------------------------------------


@_compiled
def _mean_pairs_1(a: Any, zero: Any, out: Any) -> None:
    """Integer mean over 1 x 2 x 2, half to even; `zero` is of a type that holds the sum of four."""
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
    """Integer mean over 2 x 2 x 2, half to even; `zero` is of a type that holds the sum of eight."""
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
    """Float mean over depth x 2 x 2 (depth 1 or 2), summed in float64 in C order."""
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


@_compiled
def _mode_pairs_1(a: Any, ignore_background: bool, out: Any) -> None:
    """Mode over 1 x 2 x 2. Most windows of a label image hold one value: those are quick."""
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
                        to[x] = _mode_of(window, 4, ignore_background)


@_compiled
def _mode_pairs_2(a: Any, ignore_background: bool, out: Any) -> None:
    """Mode over 2 x 2 x 2."""
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
                        to[x] = _mode_of(window, 8, ignore_background)


# ---- windows -----------------------------------------------------------------------------------------------------


@_inlined
def _gather(
    a: Any, factors: Any, i0: int, i1: int, i2: int, i3: int, i4: int, i5: int, window: Any
) -> int:
    """Copies the samples of one window, in C order; returns how many there are."""
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


def _mean_of(window: Any, n: int) -> Any:
    """Mean of the first `n` samples; NumPy has no twin of it, so it exists in compiled code only."""
    raise NotImplementedError


@overload(_mean_of)
def _mean_of_any(window: Any, n: Any) -> Any:
    def of_floats(window: Any, n: Any) -> Any:
        s = 0.0
        for i in range(n):
            s += np.float64(window[i])
        return s / n

    def of_integers(window: Any, n: Any) -> Any:
        """Half to even without leaving integers: the high and the low 32 bits are divided in turn, as in long division."""
        high, low = np.int64(0), np.int64(0)
        for i in range(n):
            high += np.int64(window[i] >> 32)
            low += np.int64(window[i] & 0xFFFFFFFF)
        q_high = high // n
        rest = ((high - q_high * n) << 32) + low
        q_low = rest // n
        twice = 2 * (rest - q_low * n)
        if twice > n or (twice == n and q_low & 1):
            q_low += 1
        return (q_high << 32) + q_low

    return of_floats if isinstance(window.dtype, types.Float) else of_integers


@_compiled
def _median_of(window: Any, n: int) -> Any:
    """The lower median; NaN if any sample is."""
    ordered = np.sort(window[:n])  # NaN sorts last
    if ordered[n - 1] != ordered[n - 1]:
        return ordered[n - 1]
    return ordered[(n - 1) // 2]


@_compiled
def _mode_of(window: Any, n: int, ignore_background: bool) -> Any:
    """The most frequent value, the lowest of equals; NaNs count as one value, higher than all others."""
    best, most = window[0], 0
    for i in range(n):
        v = window[i]
        if ignore_background and v == 0:
            continue
        count = 0
        for j in range(n):
            count += window[j] == v or (v != v and window[j] != window[j])
        if count > most or (count == most and (v < best or (best != best and v == v))):
            best, most = v, count
    return best if most else window[0]


@_compiled
def _min_of(window: Any, n: int) -> Any:
    """The lowest sample that is not NaN; NaN if all are."""
    best = window[0]
    for i in range(1, n):
        if window[i] < best or best != best:
            best = window[i]
    return best


@_compiled
def _max_of(window: Any, n: int) -> Any:
    """The highest sample that is not NaN; NaN if all are."""
    best = window[0]
    for i in range(1, n):
        if window[i] > best or best != best:
            best = window[i]
    return best


@_compiled
def _windows(a: Any, factors: Any, method: int, ignore_background: bool, out: Any) -> None:
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
                            # stored in each branch: a common variable would take a type that loses 64-bit integers
                            if method == 0:
                                out[i0, i1, i2, i3, i4, i5] = _mean_of(window, n)
                            elif method == 1:
                                out[i0, i1, i2, i3, i4, i5] = _median_of(window, n)
                            elif method == 2:
                                out[i0, i1, i2, i3, i4, i5] = _mode_of(window, n, ignore_background)
                            elif method == 3:
                                out[i0, i1, i2, i3, i4, i5] = _min_of(window, n)
                            else:
                                out[i0, i1, i2, i3, i4, i5] = _max_of(window, n)


# ---- entry points ------------------------------------------------------------------------------------------------

METHODS = ("mean", "median", "mode", "min", "max")


def pairs(method: str, block: Array, depth: int, ignore_background: bool, out: Array) -> None:
    """Mean or mode of `block` (o, depth * z, 2 * y, 2 * x) over windows of (1, depth, 2, 2) into `out` (o, z, y, x)."""
    if method == "mode":
        (_mode_pairs_1 if depth == 1 else _mode_pairs_2)(block, ignore_background, out)
    elif block.dtype.kind == "f":
        _float_mean_pairs(block, depth, out)
    else:
        zero = np.int64(0) if block.dtype.itemsize == 4 else np.int32(0)
        (_mean_pairs_1 if depth == 1 else _mean_pairs_2)(block, zero, out)


def windows(
    method: str, block: Array, factors: tuple[int, ...], ignore_background: bool, out: Array
) -> None:
    """Any method of `METHODS` on a block of six axes; the last window along an axis may be partial."""
    _windows(block, factors, METHODS.index(method), ignore_background, out)
