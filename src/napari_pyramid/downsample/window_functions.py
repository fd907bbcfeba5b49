"""Reduce one window of samples to one value: plain Python that `_kernels` compiles into its loops.

Each function gets the `n` samples of a window in C order, at the beginning of an array `window`, of
uint8 to uint64, int8 to int64, float32 or float64; `ignore_background` is for those that count. It
is compiled when it is first needed, so it calls nothing but NumPy, and nothing here imports numba.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = [
    "max_of",
    "mean_of_floats",
    "mean_of_integers",
    "median_of",
    "min_of",
    "mode_of",
]


def mean_of_floats(window: Any, n: int, ignore_background: bool) -> Any:
    """Return the mean, summed in float64."""
    s = 0.0
    for i in range(n):
        s += np.float64(window[i])
    return s / n


def mean_of_integers(window: Any, n: int, ignore_background: bool) -> Any:
    """Return the mean, rounded half to even, without leaving the integers.

    The high and the low 32 bits are divided in turn, as in long division: the sum of 64-bit samples
    may not fit 64 bits.
    """
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


def median_of(window: Any, n: int, ignore_background: bool) -> Any:
    """Return the lower median; NaN if any sample is NaN."""
    ordered = np.sort(window[:n])  # NaN sorts last
    if ordered[n - 1] != ordered[n - 1]:
        return ordered[n - 1]
    return ordered[(n - 1) // 2]


def mode_of(window: Any, n: int, ignore_background: bool) -> Any:
    """Return the most frequent value, the lowest of equally frequent ones.

    NaNs count as one value, higher than all others.
    """
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


def min_of(window: Any, n: int, ignore_background: bool) -> Any:
    """Return the lowest sample that is not NaN; NaN if all are."""
    best = window[0]
    for i in range(1, n):
        if window[i] < best or best != best:
            best = window[i]
    return best


def max_of(window: Any, n: int, ignore_background: bool) -> Any:
    """Return the highest sample that is not NaN; NaN if all are."""
    best = window[0]
    for i in range(1, n):
        if window[i] > best or best != best:
            best = window[i]
    return best
