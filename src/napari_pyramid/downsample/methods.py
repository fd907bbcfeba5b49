"""Reduces one block by integer factors: the table of methods. Pure; knows nothing of levels, chunks or stores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from napari_pyramid.downsample.gaussian import gaussian_reduce
from napari_pyramid.errors import SpecError

__all__ = [
    "MAX_NDIM",
    "METHODS",
    "Downsampler",
    "Method",
    "MethodName",
    "check_dtype",
    "check_factors",
    "downsample",
    "downsampled_shape",
    "is_gaussian",
    "method_name",
]

Array = npt.NDArray[Any]

MethodName = Literal["mean", "mode", "median", "min", "max", "stride", "gaussian", "laplacian"]
METHODS: tuple[MethodName, ...] = get_args(MethodName)
"""Names of the built-in methods."""

MAX_NDIM = 6


class Downsampler(Protocol):
    """A method of one's own: reduces a block of whole windows (partial only at the end of the image).

    It must be a function of each window alone, so that the result does not depend on the chunks.
    """

    def __call__(self, block: Array, factors: tuple[int, ...], /) -> Array: ...


Method = MethodName | Downsampler


def method_name(method: Method) -> str:
    """The name under which a method is recorded: its own for a built-in, the function's for a callable.

    Raises
    ------
    SpecError
        If a name is not one of `METHODS`.
    """
    if callable(method):
        return getattr(method, "__qualname__", type(method).__name__)
    if method not in METHODS:
        raise SpecError(
            f"method {method!r} is not known: use one of {', '.join(METHODS)}, or a callable (block, factors) -> block"
        )
    return method


def downsampled_shape(shape: Sequence[int], factors: Sequence[int]) -> tuple[int, ...]:
    """``ceil(n / f)`` per axis: the last window may be partial."""
    return tuple(-(-n // f) for n, f in zip(shape, factors, strict=True))


def downsample(
    block: Array,
    factors: Sequence[int],
    method: Method = "mean",
    *,
    ignore_background: bool = False,
) -> Array:
    """Block reduced by integer factors, window by window.

    The rules are those of TensorStore's downsample driver. Windows begin at index 0; the last one along an axis may
    be partial and is reduced over the samples that exist. Integer means are rounded once, half to even, and computed
    in integers, so that 64-bit values stay exact; float means are summed in float64 in C order.

    Parameters
    ----------
    block : ndarray
        1 to 6 axes; bool, any integer or float, any byte order.
    factors : sequence of int
        Window size along each axis, 1 keeps an axis.
    method
        - ``"mean"``: NaN if any sample of the window is NaN.
        - ``"median"``: the lower of the two middle values of an even count; NaN if any sample is NaN.
        - ``"mode"``: the most frequent value, the lowest of equally frequent ones; NaNs count as one value, above all others.
        - ``"min"``, ``"max"``: of the samples that are not NaN; NaN if all are.
        - ``"stride"``: the first sample of each window.
        - ``"gaussian"``: see `gaussian_reduce`; the block's edges are taken as the image's.
        - ``"laplacian"``: as gaussian; a build adds the residuals, see `gaussian_residual`.
        - a callable ``(block, factors) -> block``, see `Downsampler`.
    ignore_background
        For ``"mode"``: 0 is counted only when nothing else is in the window, so that thin objects survive.

    Returns
    -------
    ndarray, shape ``ceil(n / f)``, the block's dtype in native byte order, C-contiguous

    Raises
    ------
    SpecError
        If `factors` do not fit the block, the dtype cannot be reduced, or a callable returns another shape.
    """
    factors = tuple(factors)
    check_factors(factors, block.ndim)
    check_dtype(block.dtype)
    shape = downsampled_shape(block.shape, factors)
    native = block.dtype.newbyteorder("=")
    if callable(method):
        return _checked(np.asarray(method(block, factors)), shape, native, method_name(method))
    method_name(method)
    if method == "stride" or all(f == 1 for f in factors):
        return np.array(
            block[tuple(slice(None, None, f) for f in factors)], dtype=native, order="C"
        )
    if is_gaussian(method):
        return gaussian_reduce(block, factors)
    out = np.empty(shape, native)
    if out.size:
        _reduce(np.ascontiguousarray(block, dtype=native), factors, method, ignore_background, out)
    return out


def check_factors(factors: Sequence[int], ndim: int) -> None:
    """Raises SpecError unless there is one integer of at least 1 per axis."""
    if len(factors) != ndim:
        raise SpecError(
            f"factors {tuple(factors)} has {len(factors)} entries, but the array has {ndim} axes: give one per axis"
        )
    if not all(
        isinstance(f, int | np.integer) and not isinstance(f, bool) and f >= 1 for f in factors
    ):
        raise SpecError(
            f"factors {tuple(factors)} must be integers of at least 1 (1 keeps an axis as it is)"
        )


def check_dtype(dtype: np.dtype[Any]) -> None:
    """Raises SpecError unless pixels of this dtype can be reduced."""
    if dtype.kind not in "biuf" or (dtype.kind == "f" and dtype.itemsize > 8):
        hint = (
            "; save its real and imaginary part or its magnitude instead"
            if dtype.kind == "c"
            else ""
        )
        raise SpecError(
            f"dtype {dtype} cannot be downsampled: expected bool, an integer or a float of up to 64 bits{hint}"
        )


def _checked(result: Array, shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> Array:
    if result.shape != shape:
        raise SpecError(
            f"method {name!r} returned shape {result.shape}, expected {shape}: ceil(n / factor) along each axis"
        )
    return np.ascontiguousarray(result, dtype=dtype)


# ---- windows: bool travels as uint8 and float16 as float32, which numba knows ---------------------------------------


def _reduce(
    block: Array, factors: tuple[int, ...], method: str, ignore_background: bool, out: Array
) -> None:
    if block.dtype == np.float16:
        wide = np.empty(out.shape, np.float32)
        _reduce(block.astype(np.float32), factors, method, ignore_background, wide)
        out[...] = wide
        return
    if block.dtype == bool:
        block, out = block.view(np.uint8), out.view(np.uint8)
    depth = _pairs_depth(block, factors, method)
    if depth:
        _reduce_pairs(block, factors, depth, method, ignore_background, out)
    else:
        _reduce_windows(block, factors, method, ignore_background, out)


def _pairs_depth(block: Array, factors: tuple[int, ...], method: str) -> int:
    """1 or 2 when the fast kernels know the method, the dtype and the factors (..., 1 or 2, 2, 2); else 0."""
    wide_integer = block.dtype.kind in "iu" and block.dtype.itemsize == 8
    if method not in ("mean", "mode") or (method == "mean" and wide_integer) or len(factors) < 2:
        return 0
    padded = (1, *factors)
    if padded[-2:] != (2, 2) or padded[-3] not in (1, 2) or any(f != 1 for f in padded[:-3]):
        return 0
    return padded[-3]


def _reduce_pairs(
    block: Array,
    factors: tuple[int, ...],
    depth: int,
    method: str,
    ignore_background: bool,
    out: Array,
) -> None:
    """Whole windows by the fast kernel; the thin rest at the far ends, where windows are partial, by the general one."""
    from napari_pyramid.downsample import _kernels

    whole = tuple(n // f for n, f in zip(block.shape, factors, strict=True))
    if all(whole):
        inner = _leading(
            block[tuple(slice(0, n * f) for n, f in zip(whole, factors, strict=True))], 4
        )
        target = out if whole == out.shape else np.empty(whole, out.dtype)
        _kernels.pairs(method, inner, depth, ignore_background, _leading(target, 4))
        if target is not out:
            out[tuple(slice(0, n) for n in whole)] = target
    for axis, (n, f) in enumerate(zip(whole, factors, strict=True)):
        if (
            n < out.shape[axis]
        ):  # each rest once: full extent of the axes after, whole windows of the axes before
            region = tuple(slice(0, whole[i]) if i < axis else slice(None) for i in range(out.ndim))
            to = (*region[:axis], slice(n, None), *region[axis + 1 :])
            fro = tuple(
                slice(0, whole[i] * factors[i]) if i < axis else slice(None)
                for i in range(out.ndim)
            )
            rest = np.ascontiguousarray(block[(*fro[:axis], slice(n * f, None), *fro[axis + 1 :])])
            reduced = np.empty(out[to].shape, out.dtype)
            if reduced.size:
                _reduce_windows(rest, factors, method, ignore_background, reduced)
                out[to] = reduced


def _reduce_windows(
    block: Array, factors: tuple[int, ...], method: str, ignore_background: bool, out: Array
) -> None:
    from napari_pyramid.downsample import _kernels

    padded = (1,) * (MAX_NDIM - len(factors)) + factors
    _kernels.windows(
        method, _leading(block, MAX_NDIM), padded, ignore_background, _leading(out, MAX_NDIM)
    )


def _leading(a: Array, ndim: int) -> Array:
    """`a`, C-contiguous, as `ndim` axes: leading axes are added, or merged into one."""
    a = np.ascontiguousarray(a)
    if a.ndim <= ndim:
        return a.reshape((1,) * (ndim - a.ndim) + a.shape)
    return a.reshape((math.prod(a.shape[: a.ndim - ndim + 1]), *a.shape[a.ndim - ndim + 1 :]))


def is_gaussian(method: Method) -> bool:
    """Whether a method looks beyond its windows."""
    return method in ("gaussian", "laplacian")
