"""The seven workloads and what one run of one of them is given.

Standard library only: every runner's Python imports it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

__all__ = ["HERE", "RESULTS", "WORK", "WORKLOADS", "Job", "Workload", "boxes"]

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "docs" / "benchmarks"
"""Tables and plots; committed, and shown by ``docs/benchmarks.md``."""
WORK = HERE / ".work"
"""Environments, data and scratch; ignored by git."""

Ints = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One pyramid to build; sequences have one entry per axis."""

    key: str
    title: str
    axes: str
    shape: Ints
    quick_shape: Ints
    """The shape under ``--quick``."""
    dtype: str
    chunks: Ints
    """Of level 0 and of every level, clipped to the level's shape."""
    factors: Ints
    """From each level to the next."""
    n_levels: int
    """Counts level 0."""
    scale: tuple[float, ...]
    method: str = "mean"
    shards: Ints | None = None
    source_chunks: Ints | None = None
    """Set: convert from a plain zarr array with these chunks.

    None: add levels beside a level 0 in place.
    """
    present: float = 1.0
    """Share of the level-0 chunks that exist."""

    @property
    def in_place(self) -> bool:
        return self.source_chunks is None

    @property
    def itemsize(self) -> int:
        return {"uint8": 1, "uint16": 2, "uint32": 4}[self.dtype]

    @property
    def nbytes(self) -> int:
        """Uncompressed bytes of level 0, absent chunks included."""
        return math.prod(self.shape) * self.itemsize

    def level_shape(self, k: int) -> Ints:
        return tuple(-(-n // f**k) for n, f in zip(self.shape, self.factors, strict=True))

    def level_chunks(self, k: int) -> Ints:
        return tuple(min(c, n) for c, n in zip(self.chunks, self.level_shape(k), strict=True))

    def level_shards(self, k: int) -> Ints | None:
        """Shards clipped to whole chunks."""
        if self.shards is None:
            return None
        sizes = zip(self.shards, self.level_shape(k), self.level_chunks(k), strict=True)
        return tuple(min(s, -(-n // c) * c) for s, n, c in sizes)

    def write_shape(self, k: int) -> Ints:
        """What one file of level k holds."""
        return self.level_shards(k) or self.level_chunks(k)

    def level_scale(self, k: int) -> tuple[float, ...]:
        return tuple(s * f**k for s, f in zip(self.scale, self.factors, strict=True))

    def level_translation(self, k: int) -> tuple[float, ...]:
        """The centre of a window of f samples lies (f - 1) / 2 samples from the first one's."""
        return tuple((b - a) / 2 for a, b in zip(self.scale, self.level_scale(k), strict=True))

    def quick(self) -> Workload:
        return replace(self, shape=self.quick_shape)


@dataclass(frozen=True, slots=True)
class Job:
    """One run: what a runner's ``run`` is given."""

    workload: Workload
    source: Path
    """The source of a run.

    In place: an OME-Zarr 0.5 group with level 0 in ``0``, whose chunk files must not be written.
    Else a zarr array.
    """
    destination: Path
    """Where a runner writes that cannot, or must not, work in place; does not exist."""
    threads: int = 2
    memory_limit: int | None = None
    """Bytes; only this project's runner knows what to do with it."""

    @property
    def output(self) -> Path:
        """Where the pyramid goes when the runner can work in place."""
        return self.source if self.workload.in_place else self.destination

    @property
    def level0(self) -> Path:
        """The array to read."""
        return self.source / "0" if self.workload.in_place else self.source


def boxes(shape: Ints, step: Ints) -> Iterator[tuple[slice, ...]]:
    """Regions of size `step` that tile `shape`; the last ones may be partial."""
    for corner in product(*(range(0, n, s) for n, s in zip(shape, step, strict=True))):
        yield tuple(slice(i, min(i + s, n)) for i, s, n in zip(corner, step, shape, strict=True))


_VOLUME = {
    "axes": "zyx",
    "shape": (512, 1024, 1024),
    "quick_shape": (256, 512, 512),
    "dtype": "uint16",
    "factors": (2, 2, 2),
    "n_levels": 5,
    "scale": (0.5, 0.25, 0.25),
}
_ALL = (
    Workload(key="W1", title="3-D uint16, in place", chunks=(128, 128, 128), **_VOLUME),
    Workload(
        key="W2",
        title="3-D uint16, from planes",
        chunks=(128, 128, 128),
        source_chunks=(1, 1024, 1024),
        **_VOLUME,
    ),
    Workload(
        key="W3",
        title="whole slide uint8, in place",
        axes="cyx",
        shape=(3, 16384, 16384),
        quick_shape=(3, 4096, 4096),
        dtype="uint8",
        chunks=(1, 512, 512),
        factors=(1, 2, 2),
        n_levels=7,
        scale=(1.0, 0.25, 0.25),
    ),
    Workload(
        key="W4",
        title="labels uint32, mode, in place",
        axes="zyx",
        shape=(512, 512, 512),
        quick_shape=(256, 256, 256),
        dtype="uint32",
        chunks=(64, 64, 64),
        factors=(2, 2, 2),
        n_levels=4,
        scale=(0.5, 0.25, 0.25),
        method="mode",
    ),
    Workload(
        key="W5",
        title="2 % of 8 GiB uint8, in place",
        axes="zyx",
        shape=(2048, 2048, 2048),
        quick_shape=(1024, 1024, 1024),
        dtype="uint8",
        chunks=(128, 128, 128),
        factors=(2, 2, 2),
        n_levels=5,
        scale=(1.0, 1.0, 1.0),
        present=0.02,
    ),
    Workload(
        key="W6",
        title="5-D uint16, in place",
        axes="tczyx",
        shape=(6, 3, 24, 1024, 1024),
        quick_shape=(2, 2, 24, 512, 512),
        dtype="uint16",
        chunks=(1, 1, 8, 256, 256),
        factors=(1, 1, 1, 2, 2),
        n_levels=4,
        scale=(1.0, 1.0, 2.0, 0.25, 0.25),
    ),
    Workload(
        key="W7",
        title="3-D uint16, sharded, in place",
        chunks=(64, 64, 64),
        shards=(256, 256, 256),
        **_VOLUME,
    ),
)
WORKLOADS: dict[str, Workload] = {w.key: w for w in _ALL}
