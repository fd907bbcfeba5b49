"""Predict the peak memory of a build from its passes, method and workers."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from napari_pyramid.downsample import Reduction, downsampled_shape
from napari_pyramid.plan.level import Level
from napari_pyramid.plan.passes import Pass
from napari_pyramid.regions import shape_of

__all__ = ["OVERHEAD", "available_memory", "default_limit", "peak_of", "worker_bytes"]

LARGEST_DEFAULT = 4 * 2**30
OVERHEAD = 32 * 2**20
"""Bytes that a build holds besides pixels: compiled kernels, journals, thread stacks."""
_FALLBACK = 4 * 2**30
_MEMINFO, _CGROUP = "/proc/meminfo", "/sys/fs/cgroup"


def available_memory() -> int:
    """Return the bytes that can be used without swapping, within the limit of a container.

    4 GiB if the system does not say.
    """
    try:
        lines = Path(_MEMINFO).read_text().splitlines()
        free: float = next(
            int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")
        )
    except (OSError, StopIteration):
        free = _from_sysconf()
    return int(max(min(free, _left_in_container()), 0))


def _left_in_container() -> float:
    """Return the bytes up to the limit of a container, where files in the page cache count as free.

    Linux counts shared memory and tmpfs as files too, but they cannot be dropped: they have no copy
    on disk.
    """
    try:
        limit, used, kinds = (
            Path(_CGROUP, name).read_text()
            for name in ("memory.max", "memory.current", "memory.stat")
        )
        held = dict(line.split() for line in kinds.splitlines())
        return int(limit) - int(used) + int(held["file"]) - int(held.get("shmem", 0))
    except (OSError, ValueError, KeyError):  # no cgroup v2, or "max"
        return math.inf


def _from_sysconf() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):  # Windows
        return _FALLBACK


def default_limit() -> int:
    """Return a quarter of the free memory in bytes, at most 4 GiB, at least 256 MiB."""
    return max(min(available_memory() // 4, LARGEST_DEFAULT), 256 * 2**20)


def worker_bytes(p: Pass, reduction: Reduction, source_block: int) -> int:
    """Return the bytes that one worker of a pass holds at its peak.

    Parameters
    ----------
    source_block
        Bytes of one chunk of the level read, decoded.

    Notes
    -----
    The sum of: per reader of the tile, one part of the source and its reduction; the levels that
    the parts are reduced to; and per codec thread, two copies of a block: its pixels and encoded
    bytes.
    """
    read = p.levels[p.reads]
    part, reduced = math.prod(p.part) * read.dtype.itemsize, 0
    if p.last > p.reads:
        below = p.levels[p.reads + 1]
        part = reduction.block_bytes(p.part, below.factors, read.dtype)
        reduced = math.prod(downsampled_shape(p.part, below.factors)) * below.dtype.itemsize
    regions = dict(enumerate(p[0].regions, start=p.first))
    levels = sum(
        math.prod(shape_of(regions[k])) * p.levels[k].dtype.itemsize
        for k in range(p.reads + 1, p.last + 1)
    )
    written = max(
        math.prod(v.write_shape) * v.dtype.itemsize for v in p.levels[p.first : p.last + 1]
    )
    return p.readers * (part + reduced) + levels + 2 * p.codec_threads * max(written, source_block)


def peak_of(
    passes: Sequence[Pass],
    reduction_for: Callable[[Level], Reduction],
    source_chunks: Sequence[tuple[int, ...]],
) -> int:
    """Return the bytes at the peak of a build: the largest of its passes' peaks.

    Parameters
    ----------
    reduction_for
        See `PyramidSpec.reduction_for`.
    source_chunks
        The chunk shape of each given source array.
    """
    peaks = []
    for p in passes:
        read = p.levels[p.reads]
        chunk = source_chunks[p.source] if p.source is not None else read.chunks
        decoded = math.prod(chunk) * read.dtype.itemsize
        peaks.append(p.workers * worker_bytes(p, reduction_for(p.levels[p.last]), decoded))
    return OVERHEAD + max(peaks, default=0)
