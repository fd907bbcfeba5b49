"""Recomputes levels from the ones above and compares, region by region. Reads only."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_pyramid.downsample import Method, downsample, gaussian_radius, gaussian_reduce, is_gaussian
from napari_pyramid.errors import PyramidError
from napari_pyramid.regions import Region, blocks_in, shape_of

if TYPE_CHECKING:
    from napari_pyramid.jobs import Job

__all__ = ["Difference", "differences", "verify_levels"]

BLOCK_SAMPLES = 2**21


@dataclass(frozen=True, slots=True)
class Difference:
    """Pixels of one region that are not the reduction of the level above."""

    region: Region
    n_pixels: int
    largest: float
    """Largest absolute difference; NaN where one of two is."""


def differences(
    fine: Any, coarse: Any, factors: tuple[int, ...], method: Method, *, ignore_background: bool = False, regions: Iterator[Region] | None = None
) -> Iterator[Difference | None]:
    """Compares a level with the one above, one step per region: what differs, or None.

    Parameters
    ----------
    fine, coarse
        Arrays that give NumPy arrays when indexed by slices.
    regions
        Of the coarse level; all of it, in blocks, if left out.
    """
    for region in regions if regions is not None else blocks_in(tuple(slice(0, n) for n in coarse.shape), block_of(coarse)):
        want = recomputed(fine, region, factors, method, ignore_background=ignore_background)
        got = np.asarray(coarse[region])
        yield difference(region, want, got)


def difference(region: Region, want: Any, got: Any) -> Difference | None:
    same = (want == got) | ((want != want) & (got != got))
    if same.all():
        return None
    apart = np.abs(want[~same].astype(np.float64) - got[~same].astype(np.float64))
    return Difference(region, int((~same).sum()), float(apart.max()))


def recomputed(fine: Any, region: Region, factors: tuple[int, ...], method: Method, *, ignore_background: bool = False) -> Any:
    """What a region of the coarse level should be."""
    halo = [gaussian_radius(f) if is_gaussian(method) else 0 for f in factors]
    source, margins = [], []
    for s, f, n, h in zip(region, factors, fine.shape, halo, strict=True):
        start, stop = s.start * f, min(s.stop * f, n)
        source.append(slice(max(0, start - h), min(n, stop + h)))
        margins.append((start - source[-1].start, source[-1].stop - stop))
    block = np.asarray(fine[tuple(source)])
    if is_gaussian(method):
        return gaussian_reduce(block, factors, margins=margins)
    return downsample(block, factors, method, ignore_background=ignore_background)


def block_of(array: Any) -> tuple[int, ...]:
    """Whole chunks (or shards) of an array, doubled from the last axis on while they stay small."""
    block = list(getattr(array, "shards", None) or array.chunks)
    for axis in reversed(range(len(block))):
        while block[axis] < array.shape[axis] and 2 * math.prod(block) <= BLOCK_SAMPLES:
            block[axis] *= 2
    return tuple(block)


def verify_levels(job: Job) -> Iterator[Region]:
    """Compares every region of every level that was written with the level above, as stored; yields what is compared.

    Raises
    ------
    PyramidError
        At the first region that differs.
    """
    from napari_pyramid.targets import open_level

    levels = job.spec.levels
    for k in range(1, len(levels)):
        if job.keeps_levels:
            return
        fine, coarse = (open_level(job.level_directory(i), writable=False) for i in (k - 1, k))
        for found in differences(fine, coarse, levels[k].factors, job.spec.method, ignore_background=job.spec.ignore_background):
            if found is not None:
                where = ", ".join(f"{s.start}:{s.stop}" for s in found.region)
                raise PyramidError(f"level {levels[k].path} differs from the level above in {found.n_pixels} pixels of region [{where}]; build it again")
            yield tuple(slice(0, n) for n in shape_of(tuple(slice(0, n) for n in coarse.shape)))
