"""Recompute samples of each level from the level above, and compare."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from napari_pyramid.check._finding import Finding
from napari_pyramid.check._geometry import step_factors
from napari_pyramid.downsample import (
    METHODS,
    REDUCTIONS,
    RESIDUAL_GROUPS,
    MethodName,
    downsample,
)
from napari_pyramid.errors import one_line
from napari_pyramid.image import ArrayLike, Image
from napari_pyramid.regions import Region, relative_to

__all__ = ["check_pixels"]

_SIDE = 48
"""Of a sampled region, in samples of the coarser level."""
_N_RANDOM = 4
"""Regions besides the first, the middle and the last (where windows are partial)."""


@dataclass(slots=True)
class _Fit:
    """How one method compares with what is stored."""

    n_samples: int = 0
    n_wrong: int = 0
    largest: float = 0.0
    total: float = 0.0
    """Sum of the differences: how near a method is that does not fit."""
    where: Region = field(default_factory=tuple)

    def add(self, expected: npt.NDArray[Any], stored: npt.NDArray[Any], region: Region) -> None:
        wrong = ~_equal(expected, stored)
        self.n_samples += wrong.size
        if n := int(wrong.sum()):
            self.n_wrong += n
            self.where = self.where or region
            differences = np.abs(expected[wrong].astype(float) - stored[wrong].astype(float))
            self.largest = max(self.largest, float(differences.max()))
            self.total += float(differences.sum())

    def __str__(self) -> str:
        region = ", ".join(f"{s.start}:{s.stop}" for s in self.where)
        return (
            f"{self.n_wrong:,} of {self.n_samples:,} samples differ, "
            f"by at most {self.largest:g}, first in region [{region}]"
        )


def check_pixels(image: Image) -> tuple[list[Finding], list[str]]:
    """Return the faults of the pixels of all levels, and a note for each level without fault.

    The method is the one that the image names (``type``), or else any method that fits. Integers
    must be equal, or within 1 of a mean, since writers round in several ways; floats within the
    rounding of a mean. Labels must not have an id that the level above does not have.
    """
    if str(image.metadata.get("type", "")).lower() in RESIDUAL_GROUPS:
        return [], [f"{image.name} pixels: residuals of a pyramid, not compared"]
    findings: list[Finding] = []
    notes: list[str] = []
    stated = _method_of(image)
    for above, level in itertools.pairwise(image.levels):
        factors = step_factors(above.array.shape, level.array.shape)
        if factors is None or max(factors) == 1:
            continue  # the shapes are wrong, which check_geometry reports
        try:
            samples = list(_samples(above.array, level.array, factors))
        # Not narrower: codecs raise what they like on chunks that are broken.
        except Exception as error:
            findings.append(Finding(level.path, "", f"samples cannot be read: {one_line(error)}"))
            continue
        if image.kind == "labels" and (invented := _invented(samples)):
            findings.append(
                Finding(
                    level.path,
                    "pixels",
                    f"ids that the level above does not have, such as {invented[0]}: "
                    "averages of labels instead of labels",
                )
            )
            continue
        wrong, fact = _judge(stated, samples, factors)
        if wrong and image.kind == "labels" and stated is None:
            wrong, fact = (
                None,
                "every id is also in the level above",
            )  # sampled at some other place: still labels
        if wrong:
            findings.append(Finding(level.path, "pixels", wrong))
        else:
            notes.append(f"{level.path} pixels: {fact}")
    return findings, notes


def _method_of(image: Image) -> str | None:
    """Return the built-in method that the image names, or None.

    ``"gaussian"`` alone does not count: it names any smoothed pyramid (zarr-specs issue 50).
    """
    stated = str(image.metadata.get("type", "")).lower()
    provenance = image.metadata.get("metadata")
    is_ours = isinstance(provenance, dict) and str(provenance.get("method", "")).startswith(
        "napari_pyramid"
    )
    return stated if stated in METHODS and (stated != "gaussian" or is_ours) else None


@dataclass(frozen=True, slots=True)
class _Sample:
    """A region of a level, and the region of the level above it, with a halo."""

    region: Region
    stored: npt.NDArray[Any]
    block: npt.NDArray[Any]
    inner: Region
    """Of the reduced block: the region without its surroundings."""


def _samples(above: ArrayLike, level: ArrayLike, factors: tuple[int, ...]) -> Iterator[_Sample]:
    halos = zip(*(reduction.halo(factors) for reduction in REDUCTIONS), strict=True)
    margins = tuple(-(-max(halo) // f) for halo, f in zip(halos, factors, strict=True))
    for region in _regions(level.shape):
        wide = tuple(
            slice(max(0, s.start - m), min(n, s.stop + m))
            for s, m, n in zip(region, margins, level.shape, strict=True)
        )
        under = tuple(
            slice(s.start * f, min(s.stop * f, n))
            for s, f, n in zip(wide, factors, above.shape, strict=True)
        )
        inner = relative_to(region, wide)
        yield _Sample(region, np.asarray(level[region]), np.asarray(above[under]), inner)


def _invented(samples: list[_Sample]) -> list[Any]:
    return [value for sample in samples for value in np.setdiff1d(sample.stored, sample.block)]


def _judge(
    stated: str | None, samples: list[_Sample], factors: tuple[int, ...]
) -> tuple[str | None, str]:
    """Return the fault of a level or None, and else the method that fits."""
    fits = {stated: _fit(stated, samples, factors)} if stated else {}
    if not stated or fits[stated].n_wrong:
        fits = {method: _fit(method, samples, factors) for method in METHODS}
    fitting = [method for method, fit in fits.items() if fit.n_wrong == 0]
    if stated and fitting and stated not in fitting:
        return (
            f"the metadata say {stated}, but the pixels are the {fitting[0]} of the level above",
            "",
        )
    if fitting:
        found = stated or " or ".join(
            fitting
        )  # where no two samples are equal, their mode is their minimum
        return None, f"{found} of the level above, in all of {fits[fitting[0]].n_samples:,} samples"
    if (
        samples[0].stored.dtype.kind in "iu"
        and stated in (None, "mean")
        and "mean" in fits
        and fits["mean"].largest <= 1
    ):
        return None, f"mean of the level above, rounded another way: {fits['mean']}"
    best = stated or min(fits, key=lambda method: fits[method].total)
    others = "" if stated else ", nor the result of another method"
    return f"not the {best} of the level above{others}: {fits[best]}", ""


def _fit(method: str, samples: list[_Sample], factors: tuple[int, ...]) -> _Fit:
    fit = _Fit()
    for sample in samples:
        fit.add(
            downsample(sample.block, factors, cast("MethodName", method))[sample.inner],
            sample.stored,
            sample.region,
        )
    return fit


def _regions(shape: tuple[int, ...]) -> Iterator[Region]:
    """Yield the first, the last, the middle and some other regions: always the same, each once."""
    sides = tuple(min(n, _SIDE if i >= len(shape) - 3 else 1) for i, n in enumerate(shape))
    random = np.random.default_rng(0)
    fractions = [
        [0.0] * len(shape),
        [1.0] * len(shape),
        [0.5] * len(shape),
        *random.random((_N_RANDOM, len(shape))),
    ]
    starts = {
        tuple(math.floor((n - side) * f) for n, side, f in zip(shape, sides, at, strict=True))
        for at in fractions
    }
    for start in sorted(starts):
        yield tuple(slice(a, a + side) for a, side in zip(start, sides, strict=True))


def _equal(expected: npt.NDArray[Any], stored: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    if expected.dtype.kind != "f":
        return np.asarray(expected == stored)
    return np.asarray(
        np.isclose(
            expected, stored, rtol=8 * float(np.finfo(expected.dtype).eps), atol=0, equal_nan=True
        )
    )
