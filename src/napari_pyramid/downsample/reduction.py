"""Describe a reduction method: its function, and the properties that a build depends on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_pyramid.downsample.code_digest import code_digest

__all__ = [
    "Downsampler",
    "Factors",
    "Margins",
    "Reduce",
    "Reduction",
    "Residual",
    "always",
    "never",
    "only_zero",
    "unless_rounded",
]

Array = npt.NDArray[Any]
Factors = tuple[int, ...]
Margins = Sequence[tuple[int, int]]
"""Samples before and after a region, along each axis."""


class Downsampler(Protocol):
    """A user's own method, which reduces a block of whole windows (partial at the image's end).

    It must be a function of each window alone, so that the result does not depend on the chunks.
    """

    def __call__(self, block: Array, factors: Factors, /) -> Array:
        """Return the result of each window."""


class Reduce(Protocol):
    """Signature of the methods: reduce a region that has `margins` samples around it.

    There are as many samples as `Reduction.halo` asks for, and fewer only where the image ends.
    The result has ``ceil(n / f)`` samples of the region without its margins, and the dtype of the
    block in native byte order.
    """

    def __call__(self, block: Array, factors: Factors, margins: Margins | None = None) -> Array:
        """Return the reduced region."""


# ---- which regions of a single value stay so: choices for `Reduction.keeps_constant` -------------


def always(fill_value: np.generic) -> bool:
    """Return True: each result is one of the samples of its window."""
    return True


def never(fill_value: np.generic) -> bool:
    """Return False, as nothing is known of the method."""
    return False


def unless_rounded(fill_value: np.generic) -> bool:
    """Return whether a weighted mean of equal samples is that value, bit for bit."""
    return fill_value.dtype.kind != "f" or bool(fill_value == 0)


def only_zero(fill_value: np.generic) -> bool:
    """Return whether `fill_value` is 0: for differences of samples."""
    return bool(fill_value == 0)


# ---- the description -----------------------------------------------------------------------------


def _no_halo(factors: Factors) -> tuple[int, ...]:
    return (0,) * len(factors)


def _no_bytes(dtype: np.dtype[Any]) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class Residual:
    """Array that a method stores beside each level but the first, computed from the level."""

    group: str
    """Name of the group that holds these arrays; it is also their ``type`` in the metadata."""
    description: str
    """A sentence for the metadata."""
    dtype: Callable[[np.dtype[Any]], np.dtype[Any]]
    """Function from the dtype of the levels to the dtype of the residuals."""
    of: Callable[[Factors], Reduction]
    """Function from the factors of a level to the method of its residual, by factors of 1."""


@dataclass(frozen=True, slots=True)
class Reduction:
    """A method that reduces arrays by integer factors. `methods.REDUCTIONS` is the table of them.

    Nothing else in the package knows a method by its name: a new method is a new entry there.
    """

    name: str
    """Name for users, which the metadata record."""
    help: str
    """One line for users: the result of the method in each window."""
    reduce: Reduce
    keeps_constant: Callable[[np.generic], bool]
    """Whether a region of a single value reduces to that value, bit for bit."""
    invents_values: bool = False
    """Whether a result may be a value that no sample has, which rules the method out for labels."""
    centred: bool = True
    """Whether a result belongs to the centre of its window; if False, to its first sample."""
    halo: Callable[[Factors], tuple[int, ...]] = _no_halo
    """Samples that are read beyond a region, on each side along each axis."""
    extra_bytes: Callable[[np.dtype[Any]], int] = _no_bytes
    """Bytes of working memory per sample of the block and its margins, beside the block itself."""
    ignoring_background: Reduce | None = None
    """Variant that counts 0 only in windows of nothing else; None if 0 is a value like others."""
    is_compiled: bool = False
    """Whether the first call compiles, which takes seconds."""
    type: str = ""
    """``type`` of the levels in the metadata; empty for `name`."""
    residual: Residual | None = None
    function: Downsampler | None = None
    """A user's own function."""

    @property
    def has_halo(self) -> bool:
        """Whether the method reads beyond its windows."""
        return self.halo is not _no_halo

    @property
    def identity(self) -> str | None:
        """Text that distinguishes the method from all others; None for a user's lambda and such."""
        return self.name if self.function is None else code_digest(self.function)

    def block_bytes(
        self, shape: Sequence[int], factors: Sequence[int], dtype: np.dtype[Any]
    ) -> int:
        """Return the bytes that reducing a region of this shape takes, but for the result."""
        halo = self.halo(tuple(factors))
        samples = math.prod(n + 2 * h for n, h in zip(shape, halo, strict=True))
        return samples * (dtype.itemsize + self.extra_bytes(dtype))

    def without_background(self) -> Reduction:
        """Return the method that counts 0 only where a window holds nothing else."""
        if self.ignoring_background is None:
            return self
        return replace(self, reduce=self.ignoring_background)
