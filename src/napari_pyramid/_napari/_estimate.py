"""Estimate the time and the size on disk of a build by building a part of it. No Qt.

Two parts are built in a temporary folder, with the threads, the codec and the method of the build:
the small one twice, first to compile what is not compiled yet. The difference between the parts is
the time of more pixels; the rest is the time to begin and end. Runs in a worker thread.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_pyramid._napari._plan import Plan, Totals
from napari_pyramid.arrays.virtual import Crop
from napari_pyramid.build import Build, plan_build
from napari_pyramid.build.source_places import directory_of

__all__ = ["Estimate", "is_cheap_to_read", "key_of", "measured"]

SAMPLE = 24 * 2**20
"""Most bytes of level 0 in the larger part that is built to measure."""
_SMALLER = 4
"""How many times smaller the small part is."""
_REPEATED = 1.0
"""Seconds below which the larger part is built again, and the shorter time counts."""
_LEAST = 0.5
"""Least time for a byte, as a fraction of the time for a byte of the larger part.

The difference of the two times may be too small, because both are noisy.
"""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Time and size that parts of a build took, from which a whole build is estimated."""

    fixed: float
    """Seconds to begin and end a build."""
    seconds: float
    """Further seconds for each byte of level 0."""
    disk: float
    """Bytes on disk for each byte before compression."""
    measured: int = 0
    """Bytes of level 0 in the larger part."""
    is_local: bool = True
    """Whether the build stores on this machine, as the parts were stored."""

    @classmethod
    def from_times(
        cls, small: tuple[int, float], large: tuple[int, float], disk: float, *, spread: float = 1.0
    ) -> Estimate:
        """Return the estimate from bytes and seconds of two parts.

        Parameters
        ----------
        spread
            How many times more threads the build has than the parts.
        """
        (n, short), (m, long) = small, large
        whole = long / m
        slope = (long - short) / (m - n) if m > n else whole
        slope = min(whole, max(slope, _LEAST * whole))
        return cls(max(0.0, long - slope * m), slope / spread, disk, m)

    def of(self, totals: Totals) -> tuple[float, float]:
        """Return seconds and bytes on disk of builds."""
        seconds = self.fixed * totals.n_builds + self.seconds * totals.bytes_read
        return seconds, self.disk * totals.nbytes


def key_of(plan: Plan) -> tuple[Any, ...]:
    """Return the values that an estimate depends on: the pixels, and how they are stored."""
    first, build = plan.build.spec.levels[0], plan.build.spec
    return (
        id(plan.candidate.image.levels[0]),
        *(first.chunks, first.shards, build.codec, build.reduction.name, plan.choice.format),
        *(plan.choice.workers, plan.choice.destination is None, plan.choice.verify),
        plan.choice.factors,
        _is_local(plan),
    )


def is_cheap_to_read(plan: Plan) -> bool:
    """Return whether a part of the pixels is read at no cost that a user should be asked for.

    Pixels in memory, and in files of this machine. Pixels that are computed or behind a URL are
    not.
    """
    array, source = plan.candidate.image.levels[0], plan.candidate.source
    if source is not None and source.origin is not None:
        return True
    return isinstance(array, np.ndarray) or directory_of(array) is not None


def measured(plan: Plan) -> Estimate:
    """Build parts in the middle of the image, and return what they took.

    Raises
    ------
    PyramidError
        If the part cannot be read or stored.
    """
    array = plan.candidate.image.levels[0]
    options = _options(plan)
    tile, itemsize = _tile(plan, array.ndim), array.dtype.itemsize
    large = _middle(array, _part(array.shape, tile, itemsize, SAMPLE))
    small = _middle(array, _part(array.shape, tile, itemsize, SAMPLE // _SMALLER))
    with tempfile.TemporaryDirectory(prefix="napari-pyramid-") as folder:
        place = Path(folder)
        _run(small, place / "compiled.ome.zarr", plan, options)
        _, short = _run(small, place / "small.ome.zarr", plan, options)
        build, long = _run(large, place / "large.ome.zarr", plan, options)
        if long < _REPEATED:
            _, again = _run(large, place / "again.ome.zarr", plan, options)
            long = min(long, again)
        disk = sum(file.stat().st_size for file in _files(place / "large.ome.zarr", build))
    spread = _workers(plan.build) / max(1, _workers(build))
    sizes = [math.prod(part.shape) * itemsize for part in (small, large)]
    found = Estimate.from_times(
        (sizes[0], short), (sizes[1], long), disk / build.nbytes, spread=spread
    )
    return replace(found, is_local=_is_local(plan))


def _is_local(plan: Plan) -> bool:
    """Return whether a build computes and stores on this machine."""
    return isinstance(plan.build.destination, Path) and plan.choice.scheduler is None


def _middle(array: Any, shape: tuple[int, ...]) -> Crop:
    start = [(n - m) // 2 for n, m in zip(array.shape, shape, strict=True)]
    return Crop(array, shape, start)


def _run(array: Any, place: Path, plan: Plan, options: dict[str, Any]) -> tuple[Build, float]:
    """Build a part as the plan builds the whole, and return the build and its seconds."""
    if plan.choice.destination is None:
        plan_build(array, place, **{**options, "n_levels": 1}).run()
        kept = ("method", "n_levels", "factors", "verify", "max_workers", "memory_limit")
        kept_options = {name: options[name] for name in kept if name in options}
        build = plan_build(place, in_place=True, **kept_options)
    else:
        build = plan_build(array, place, **options)
    began = time.perf_counter()
    build.run()
    return build, time.perf_counter() - began


def _options(plan: Plan) -> dict[str, Any]:
    """Return the options of a build of a part: two levels, stored as the plan stores its own."""
    spec = plan.build.spec
    return {
        **plan.choice.build_options,
        "axes": plan.image.axes,
        "scale": plan.image.scale,
        "labels": spec.kind == "labels",
        "method": spec.method,
        "n_levels": min(2, len(spec.levels)),
        "format": plan.choice.format,
        "resume": False,
        "overwrite": False,
    }


def _tile(plan: Plan, ndim: int) -> tuple[int, ...]:
    """Return the chunk of level 0 in the order of the image's own axes, which may differ."""
    chunks = plan.build.spec.levels[0].chunks
    own = getattr(plan.candidate.image.levels[0], "chunks", None)
    if own is not None and len(own) == ndim and all(isinstance(n, int) for n in own):
        return tuple(int(n) for n in own)
    return chunks if plan.image.axes == plan.build.spec.axes else (64,) * ndim


def _part(shape: Sequence[int], chunk: Sequence[int], itemsize: int, most: int) -> tuple[int, ...]:
    """Return the shape of a part of at most so many bytes, or of one chunk.

    It has whole chunks along the axes in turn, the last axis first.
    """
    part = [min(n, c) for n, c in zip(shape, chunk, strict=True)]
    grown = True
    while grown:
        grown = False
        for axis in reversed(range(len(shape))):
            larger = min(shape[axis], part[axis] + chunk[axis])
            size = math.prod(part) // part[axis] * larger * itemsize
            if larger > part[axis] and size <= most:
                part[axis], grown = larger, True
    return tuple(part)


def _workers(build: Build) -> int:
    """Return the threads of the longest pass of a build."""
    return max((p.workers for p in build.passes), default=1)


def _files(place: Path, build: Build) -> Iterator[Path]:
    """Yield the files of the levels that a build has written."""
    for level in build.written_levels:
        yield from (file for file in (place / level.path).rglob("*") if file.is_file())
