"""Estimate the time and the size on disk of a build by building a part of it. No Qt.

The part is built twice in a temporary folder, with the threads, the codec and the method of the
build: once to compile what is not compiled yet, and once to measure. Runs in a worker thread.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_pyramid._napari._plan import Plan, Totals
from napari_pyramid.arrays.virtual import Crop
from napari_pyramid.build import Build, plan_build
from napari_pyramid.build.source import directory_of

__all__ = ["Estimate", "is_cheap_to_read", "key_of", "measured"]

SAMPLE = 24 * 2**20
"""Bytes of level 0 that are built to measure."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a part of a build took, for each byte of level 0."""

    seconds: float
    disk: float
    """Bytes on disk."""

    def of(self, totals: Totals) -> tuple[float, float]:
        """Return seconds and bytes on disk of builds."""
        return self.seconds * totals.bytes_read, self.disk * totals.nbytes


def key_of(plan: Plan) -> tuple[Any, ...]:
    """Return the values that an estimate depends on: the pixels, and how they are stored."""
    first, build = plan.build.spec.levels[0], plan.build.spec
    return (
        id(plan.candidate.image.levels[0]),
        *(first.chunks, first.shards, build.codec, build.reduction.name, plan.choice.format),
        *(plan.choice.workers, plan.choice.destination is None, plan.choice.verify),
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
    """Build a part in the middle of the image, and return what it took.

    Raises
    ------
    PyramidError
        If the part cannot be read or stored.
    """
    array = plan.candidate.image.levels[0]
    options = _options(plan)
    shape = _part(array.shape, _tile(plan, array.ndim), array.dtype.itemsize)
    start = [(n - m) // 2 for n, m in zip(array.shape, shape, strict=True)]
    part = Crop(array, shape, start)
    with tempfile.TemporaryDirectory(prefix="napari-pyramid-") as folder:
        small = Crop(part, tuple(min(n, 8) for n in shape))
        _run(small, Path(folder) / "small.ome.zarr", plan, options)
        place = Path(folder) / "part.ome.zarr"
        build, seconds = _run(part, place, plan, options)
        disk = sum(file.stat().st_size for file in _files(place, build))
    bytes_read = math.prod(shape) * array.dtype.itemsize
    spread = _workers(plan.build) / max(1, _workers(build))
    return Estimate(seconds / bytes_read / spread, disk / build.nbytes)


def _run(array: Any, place: Path, plan: Plan, options: dict[str, Any]) -> tuple[Build, float]:
    """Build a part as the plan builds the whole, and return the build and its seconds."""
    if plan.choice.destination is None:
        plan_build(array, place, **{**options, "n_levels": 1}).run()
        kept = ("method", "n_levels", "max_workers", "memory_limit")
        build = plan_build(place, in_place=True, **{k: options[k] for k in kept})
    else:
        build = plan_build(array, place, **options)
    began = time.perf_counter()
    build.run()
    return build, time.perf_counter() - began


def _options(plan: Plan) -> dict[str, Any]:
    """Return the options of a build of a part: two levels, stored as the plan stores its own."""
    choice, spec = plan.choice, plan.build.spec
    axes = plan.image.axes
    return {
        "axes": axes,
        "scale": plan.image.scale,
        "labels": spec.kind == "labels",
        "method": spec.method,
        "n_levels": min(2, len(spec.levels)),
        "chunks": choice.chunks,
        "codec": choice.codec,
        "format": choice.format,
        "max_workers": choice.workers,
        "memory_limit": choice.memory,
        "resume": False,
    }


def _tile(plan: Plan, ndim: int) -> tuple[int, ...]:
    """Return the chunk of level 0 in the order of the image's own axes, which may differ."""
    chunks = plan.build.spec.levels[0].chunks
    own = getattr(plan.candidate.image.levels[0], "chunks", None)
    if own is not None and len(own) == ndim and all(isinstance(n, int) for n in own):
        return tuple(int(n) for n in own)
    return chunks if plan.image.axes == plan.build.spec.axes else (64,) * ndim


def _part(shape: Sequence[int], chunk: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Return the shape of the part: whole chunks along the axes in turn, the last axis first."""
    part = [min(n, c) for n, c in zip(shape, chunk, strict=True)]
    grown = True
    while grown:
        grown = False
        for axis in reversed(range(len(shape))):
            larger = min(shape[axis], part[axis] + chunk[axis])
            size = math.prod(part) // part[axis] * larger * itemsize
            if larger > part[axis] and size <= SAMPLE:
                part[axis], grown = larger, True
    return tuple(part)


def _workers(build: Build) -> int:
    """Return the threads of the longest pass of a build."""
    return max((p.workers for p in build.passes), default=1)


def _files(place: Path, build: Build) -> Iterator[Path]:
    """Yield the files of the levels that a build has written."""
    for level in build.written_levels:
        yield from (file for file in (place / level.path).rglob("*") if file.is_file())
