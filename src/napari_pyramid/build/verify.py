"""Compare levels with what they were computed from, region by region, in any number of threads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_pyramid.build.reader import Reader
from napari_pyramid.downsample import Reduction
from napari_pyramid.errors import SourceError
from napari_pyramid.regions import Region, blocks_in, with_halo

__all__ = ["Comparer", "Difference"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """Pixels of one region that are not the reduction of the level above."""

    region: Region
    n_pixels: int
    largest: float
    """Largest absolute difference; NaN if one of two pixels is NaN."""

    def __str__(self) -> str:
        where = ", ".join(f"{s.start}:{s.stop}" for s in self.region)
        return f"{self.n_pixels:,} pixels of region [{where}], by up to {self.largest:g}"


@dataclass(frozen=True, slots=True)
class Comparer:
    """Comparison of a stored level with the level that it was computed from."""

    fine: Reader
    """Level that the stored one was computed from."""
    stored: Reader
    factors: tuple[int, ...]
    reduction: Reduction
    block: tuple[int, ...]
    """Shape of one compared region, in samples of the stored level."""
    skip_unreadable: bool = False
    """Skip what cannot be read: it was taken as fill value and is listed in the metadata."""

    def regions(self) -> Iterator[Region]:
        """Yield the regions of the stored level, which cover it in blocks."""
        return blocks_in(tuple(slice(0, n) for n in self.stored.shape), self.block)

    def compare(self, region: Region) -> Difference | None:
        """Return the difference in a region of the stored level, or None.

        Raises
        ------
        SourceError
            If a sample cannot be read.
        """
        try:
            want = self._recomputed(region)
        except SourceError:
            if not self.skip_unreadable:
                raise
            return None
        got = self.stored[region]
        same = (want == got) | ((want != want) & (got != got))
        if same.all():
            return None
        apart = np.abs(want[~same].astype(np.float64) - got[~same].astype(np.float64))
        return Difference(region, int((~same).sum()), float(apart.max()))

    def _recomputed(self, region: Region) -> Array:
        under = tuple(
            slice(s.start * f, min(s.stop * f, n))
            for s, f, n in zip(region, self.factors, self.fine.shape, strict=True)
        )
        around, margins = with_halo(under, self.reduction.halo(self.factors), self.fine.shape)
        found = self.reduction.reduce(self.fine[around], self.factors, margins)
        return found.astype(self.stored.dtype, copy=False)
