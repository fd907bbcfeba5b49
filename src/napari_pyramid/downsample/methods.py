"""List the reduction methods, and reduce one block by any of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from napari_pyramid.downsample import window_functions
from napari_pyramid.downsample.gaussian import gaussian_halo, gaussian_reduce, gaussian_residual
from napari_pyramid.downsample.limits import check_dtype, check_factors
from napari_pyramid.downsample.reduction import (
    Downsampler,
    Factors,
    Margins,
    Reduction,
    Residual,
    always,
    never,
    only_zero,
    unless_rounded,
)
from napari_pyramid.downsample.windows import (
    OwnFunction,
    WindowLoop,
    mean_pairs,
    mode_pairs,
    stride,
    wider_bytes,
)
from napari_pyramid.errors import SpecError

__all__ = [
    "METHODS",
    "REDUCTIONS",
    "RESIDUAL_GROUPS",
    "Method",
    "MethodName",
    "default_method",
    "downsample",
    "method_name",
    "methods_for",
    "reduction_of",
]

Array = npt.NDArray[Any]

MethodName = Literal["mean", "mode", "median", "min", "max", "stride", "gaussian", "laplacian"]
"""Names of the built-in methods, for type checkers and editors."""

Method = MethodName | Downsampler

# ---- what the entries are made of ----------------------------------------------------------------


def _mean_of(dtype: np.dtype[Any]) -> Any:
    floats = dtype.kind == "f"
    return window_functions.mean_of_floats if floats else window_functions.mean_of_integers


def _median_of(dtype: np.dtype[Any]) -> Any:
    return window_functions.median_of


def _mode_of(dtype: np.dtype[Any]) -> Any:
    return window_functions.mode_of


def _min_of(dtype: np.dtype[Any]) -> Any:
    return window_functions.min_of


def _max_of(dtype: np.dtype[Any]) -> Any:
    return window_functions.max_of


def _gaussian_bytes(dtype: np.dtype[Any]) -> int:
    return 3 * 8


def _residual_bytes(dtype: np.dtype[Any]) -> int:
    return 5 * 8


@dataclass(frozen=True, slots=True)
class _ResidualOf:
    """A `Reduce` by factors of 1: the residual of a level that was itself reduced by `window`."""

    window: Factors

    def __call__(self, block: Array, factors: Factors, margins: Margins | None = None) -> Array:
        return gaussian_residual(block, self.window, margins=margins)

    def halo(self, factors: Factors) -> tuple[int, ...]:
        return gaussian_halo(self.window)


def _residual_of(window: Factors) -> Reduction:
    reduce = _ResidualOf(window)
    return Reduction(
        "residual",
        "the sample minus its smoothed surroundings",
        reduce,
        only_zero,
        invents_values=True,
        halo=reduce.halo,
        extra_bytes=_residual_bytes,
    )


def _residual_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return float32 for pixels of up to 16 bits, exact to a rounding of 2**-8, else float64."""
    is_narrow = dtype.itemsize <= 2 or dtype == np.float32
    return np.dtype(np.float32 if is_narrow else np.float64)


# ---- the table -----------------------------------------------------------------------------------

MEAN = Reduction(
    "mean",
    "the mean of each window",
    WindowLoop(_mean_of, mean_pairs),
    unless_rounded,
    invents_values=True,
    extra_bytes=wider_bytes,
    is_compiled=True,
)
MODE = Reduction(
    "mode",
    "the most frequent value of each window, the lowest of equally frequent ones",
    WindowLoop(_mode_of, mode_pairs),
    always,
    ignoring_background=WindowLoop(_mode_of, mode_pairs, ignore_background=True),
    extra_bytes=wider_bytes,
    is_compiled=True,
)
MEDIAN = Reduction(
    "median",
    "the middle value of each window, the lower of the two of an even count",
    WindowLoop(_median_of),
    always,
    extra_bytes=wider_bytes,
    is_compiled=True,
)
MIN = Reduction(
    "min",
    "the lowest value of each window",
    WindowLoop(_min_of),
    always,
    extra_bytes=wider_bytes,
    is_compiled=True,
)
MAX = Reduction(
    "max",
    "the highest value of each window",
    WindowLoop(_max_of),
    always,
    extra_bytes=wider_bytes,
    is_compiled=True,
)
STRIDE = Reduction("stride", "the first sample of each window", stride, always, centred=False)
GAUSSIAN = Reduction(
    "gaussian",
    "a weighted mean that reaches over the window's edges, against aliasing",
    gaussian_reduce,
    unless_rounded,
    invents_values=True,
    halo=gaussian_halo,
    extra_bytes=_gaussian_bytes,
)
LAPLACIAN = replace(
    GAUSSIAN,
    name="laplacian",
    help="as gaussian, with the residuals (a level minus itself smoothed) stored beside the levels",
    type="gaussian",
    residual=Residual(
        "laplacian",
        "Each residual is the level minus itself smoothed, signed.",
        _residual_dtype,
        _residual_of,
    ),
)

REDUCTIONS: tuple[Reduction, ...] = (MEAN, MODE, MEDIAN, MIN, MAX, STRIDE, GAUSSIAN, LAPLACIAN)
"""The built-in methods. Of those that suit images and labels, the first is the default."""

METHODS: tuple[str, ...] = tuple(reduction.name for reduction in REDUCTIONS)
"""Names of the built-in methods."""

RESIDUAL_GROUPS: tuple[str, ...] = tuple(r.residual.group for r in REDUCTIONS if r.residual)
"""Names of the groups that hold residuals: the ``type`` of their multiscales."""


# ---- choosing from it ----------------------------------------------------------------------------


def methods_for(kind: Literal["image", "labels"]) -> tuple[Reduction, ...]:
    """Return the built-in methods that suit images, or labels, whose ids must not be invented."""
    return tuple(r for r in REDUCTIONS if kind == "image" or not r.invents_values)


def default_method(kind: Literal["image", "labels"], dtype: np.dtype[Any]) -> MethodName:
    """Return the default method for a kind and dtype; masks are reduced as labels are."""
    return cast("MethodName", methods_for("labels" if dtype.kind == "b" else kind)[0].name)


def reduction_of(method: Method, *, ignore_background: bool = False) -> Reduction:
    """Return the description of a method: of a built-in by its name, or of a user's function.

    Raises
    ------
    SpecError
        If a name is not one of `METHODS`.
    """
    if callable(method):
        return _own(method)
    found = next((r for r in REDUCTIONS if r.name == method), None)
    if found is None:
        raise SpecError(
            f"method {method!r} is not known: use one of {', '.join(METHODS)}, "
            "or a callable (block, factors) -> block"
        )
    return found.without_background() if ignore_background else found


def _own(function: Downsampler) -> Reduction:
    name = getattr(function, "__qualname__", type(function).__name__)
    return Reduction(
        name,
        "a function of the user's own",
        OwnFunction(function, name),
        never,
        extra_bytes=_one_copy,
        function=function,
    )


def _one_copy(dtype: np.dtype[Any]) -> int:
    """Return the bytes of a copy: whatever a user's function allocates, it is hardly less."""
    return dtype.itemsize


def method_name(method: Method) -> str:
    """Return the name that is recorded for a method: for a callable, the function's name.

    Raises
    ------
    SpecError
        If a name is not one of `METHODS`.
    """
    return reduction_of(method).name


def downsample(
    block: Array,
    factors: Sequence[int],
    method: Method = "mean",
    *,
    ignore_background: bool = False,
) -> Array:
    """Return the block reduced by integer factors, window by window.

    The rules follow TensorStore's downsample driver. Windows begin at index 0; the last one along
    an axis may be partial and is reduced over the samples that exist. Integer means are rounded
    once, half to even, and computed in integers, so that 64-bit values stay exact; float means are
    summed in float64 in C order.

    Parameters
    ----------
    block : ndarray
        1 to 6 axes; bool, any integer or float, any byte order.
    factors : sequence of int
        Window size along each axis; 1 keeps an axis.
    method
        - ``"mean"``: NaN if any sample of the window is NaN.
        - ``"mode"``: the most frequent value, the lowest of equally frequent ones; NaNs count as
          one value, above all others.
        - ``"median"``: the lower of the two middle values of an even count; NaN if any sample is
          NaN.
        - ``"min"``, ``"max"``: of the samples that are not NaN; NaN if all are.
        - ``"stride"``: the first sample of each window.
        - ``"gaussian"``: see `gaussian_reduce`; the block's edges are taken as the image's.
        - ``"laplacian"``: as gaussian; a build adds the residuals, see `gaussian_residual`.
        - a callable ``(block, factors) -> block``, see `Downsampler`.
    ignore_background
        For ``"mode"``: 0 is counted only when nothing else is in the window, so that thin objects
        survive.

    Returns
    -------
    ndarray, shape ``ceil(n / f)``, the block's dtype in native byte order, C-contiguous

    Raises
    ------
    SpecError
        If `factors` do not fit the block, the dtype cannot be reduced, the method is not known, or
        a callable returns another shape.
    """
    factors = tuple(factors)
    check_factors(factors, block.ndim)
    check_dtype(block.dtype)
    return reduction_of(method, ignore_background=ignore_background).reduce(block, factors)
