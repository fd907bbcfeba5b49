# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy", "numba>=0.61", "numcodecs>=0.15", "google-crc32c>=1.5"]
# ///
"""The floor: the least that a plain program does.

Decode each level-0 chunk once, reduce, encode and write each output chunk once.

No framework and no builder: every level but the first stays in memory until the next is done,
nothing is checked, resumed or reported, and the codec is fixed. Half-even rounding and lowest-value
ties, as this project does.
"""

from __future__ import annotations

import itertools
import math
import os
import struct
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import google_crc32c
import numba
import numpy as np
from metadata import create_levels, publish
from numcodecs import Blosc, Zstd, blosc
from workloads import Job, Workload

Index = tuple[int, ...]
Blocks = dict[Index, np.ndarray]
"""Write blocks of one level by their place in its grid; empty ones are absent."""

ABSENT = 2**64 - 1
CODEC = Blosc("zstd", 5, Blosc.SHUFFLE)
blosc.use_threads = False
_buffers = threading.local()


@numba.njit(nogil=True, cache=True)
def mean_2x2x2(a, out):  # type: ignore[no-untyped-def]  # numba finds the types
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                s = np.uint32(0)
                for i in range(2):
                    for j in range(2):
                        s += np.uint32(a[2 * z + i, 2 * y + j, 2 * x]) + np.uint32(
                            a[2 * z + i, 2 * y + j, 2 * x + 1]
                        )
                out[z, y, x] = (
                    s + np.uint32(3) + ((s >> np.uint32(3)) & np.uint32(1))
                ) >> np.uint32(3)


@numba.njit(nogil=True, cache=True)
def mean_1x2x2(a, out):  # type: ignore[no-untyped-def]  # numba finds the types
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                s = np.uint32(a[z, 2 * y, 2 * x]) + np.uint32(a[z, 2 * y, 2 * x + 1])
                s += np.uint32(a[z, 2 * y + 1, 2 * x]) + np.uint32(a[z, 2 * y + 1, 2 * x + 1])
                out[z, y, x] = (
                    s + np.uint32(1) + ((s >> np.uint32(2)) & np.uint32(1))
                ) >> np.uint32(2)


@numba.njit(nogil=True, cache=True)
def mode_2x2x2(a, out):  # type: ignore[no-untyped-def]  # numba finds the types
    values = np.empty(8, a.dtype)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                first, n, same = a[2 * z, 2 * y, 2 * x], 0, True
                for i in range(2):
                    for j in range(2):
                        for k in range(2):
                            values[n] = a[2 * z + i, 2 * y + j, 2 * x + k]
                            same &= values[n] == first
                            n += 1
                out[z, y, x] = first if same else most_frequent(values)


@numba.njit(nogil=True, cache=True)
def most_frequent(values):  # type: ignore[no-untyped-def]  # numba finds the types
    best, most = values[0], 0
    for v in values:
        count = 0
        for other in values:
            count += other == v
        if count > most or (count == most and v < best):
            best, most = v, count
    return best


def kernel(w: Workload) -> Callable[[np.ndarray, np.ndarray], None]:
    reduce = mode_2x2x2 if w.method == "mode" else mean_2x2x2 if w.factors[-3] == 2 else mean_1x2x2
    return lambda a, out: reduce(a.reshape(a.shape[-3:]), out.reshape(out.shape[-3:]))


def prepare(job: Job) -> None:
    """Compiles for contiguous blocks and for parts of blocks."""
    reduce = kernel(job.workload)
    whole = np.zeros((8, 8, 8), job.workload.dtype)
    reduced = np.zeros(
        [n // f for n, f in zip(whole.shape, job.workload.factors[-3:], strict=True)], whole.dtype
    )
    part, reduced_part = (a[tuple(slice(n // 2) for n in a.shape)] for a in (whole, reduced))
    for a, out in (
        (whole, reduced),
        (part, reduced_part),
        (whole[:4, :4, :4].copy(), reduced_part),
        (part, reduced_part.copy()),
    ):
        reduce(a, out)


def run(job: Job) -> Path:
    w, out = job.workload, job.output
    create_levels(w, out)
    with ThreadPoolExecutor(job.threads) as pool:
        blocks = _from_planes(job, pool) if w.source_chunks else _from_chunks(job, pool)
        for k in range(2, w.n_levels):
            blocks = _coarser(w, out, k, blocks, pool)
    publish(w, out)
    return out


def _from_chunks(job: Job, pool: Executor) -> Blocks:
    """Level 1 from the chunk files of level 0 that exist."""
    w, reduce, parents = job.workload, kernel(job.workload), defaultdict(list)
    for folder, _, names in os.walk(job.level0 / "c"):
        place = Path(folder).relative_to(job.level0 / "c").parts
        for name in names:
            index = tuple(map(int, (*place, name)))
            parents[_parent(w, 0, index)].append(index)

    def build(item: tuple[Index, list[Index]]) -> tuple[Index, np.ndarray]:
        parent, children = item
        block = np.zeros(_extent(w, 1, parent), w.dtype)
        for index in children:
            for corner, chunk in _read(w, job.level0, index):
                reduce(chunk, block[_inside(w, 1, parent, corner, chunk.shape)])
        _write(w, job.output, 1, parent, block)
        return parent, block

    return dict(pool.map(build, sorted(parents.items())))


def _coarser(w: Workload, out: Path, k: int, finer: Blocks, pool: Executor) -> Blocks:
    """Level k from the blocks of the one before."""
    reduce, parents = kernel(w), defaultdict(list)
    for index in finer:
        parents[_parent(w, k - 1, index)].append(index)

    def build(item: tuple[Index, list[Index]]) -> tuple[Index, np.ndarray]:
        parent, children = item
        block = np.zeros(_extent(w, k, parent), w.dtype)
        for index in children:
            corner = tuple(i * s for i, s in zip(index, w.write_shape(k - 1), strict=True))
            reduce(finer[index], block[_inside(w, k, parent, corner, finer[index].shape)])
        _write(w, out, k, parent, block)
        return parent, block

    return dict(pool.map(build, sorted(parents.items())))


def _from_planes(job: Job, pool: Executor) -> Blocks:
    """Level 0 and level 1 from planes: one slab of them at a time is in memory."""
    w, reduce, depth = job.workload, kernel(job.workload), job.workload.chunks[0]
    grid = [range(n // c) for n, c in zip(w.shape, w.chunks, strict=True)]
    blocks = {
        _parent(w, 0, index): np.empty(w.level_chunks(1), w.dtype)
        for index in itertools.product(*grid)
    }
    slab, zstd = np.empty((depth, *w.shape[1:]), w.dtype), Zstd()
    for z in grid[0]:

        def read(i: int, z: int = z) -> None:
            zstd.decode((job.source / "c" / f"{z * depth + i}/0/0").read_bytes(), slab[i])

        def build(index: Index) -> None:
            corner = tuple(i * c for i, c in zip(index, w.chunks, strict=True))
            chunk = np.ascontiguousarray(
                slab[:, *(slice(o, o + c) for o, c in zip(corner[1:], w.chunks[1:], strict=True))]
            )
            _write(w, job.output, 0, index, chunk)
            parent = _parent(w, 0, index)
            reduce(chunk, blocks[parent][_inside(w, 1, parent, corner, chunk.shape)])

        list(pool.map(read, range(depth)))
        list(pool.map(build, itertools.product([z], *grid[1:])))
    list(pool.map(lambda item: _write(w, job.output, 1, *item), blocks.items()))
    return blocks


def _parent(w: Workload, k: int, index: Index) -> Index:
    """The write block of level k + 1 that holds block `index` of level k."""
    sizes = zip(index, w.write_shape(k), w.factors, w.write_shape(k + 1), strict=True)
    return tuple(i * s // f // t for i, s, f, t in sizes)


def _extent(w: Workload, k: int, index: Index) -> Index:
    return tuple(
        min(s, n - i * s) for i, s, n in zip(index, w.write_shape(k), w.level_shape(k), strict=True)
    )


def _inside(w: Workload, k: int, parent: Index, corner: Index, shape: Index) -> tuple[slice, ...]:
    """Where a piece of level k - 1 lands in the block `parent` of level k."""
    place = zip(corner, shape, w.factors, parent, w.write_shape(k), strict=True)
    return tuple(slice(o // f - p * s, (o + n) // f - p * s) for o, n, f, p, s in place)


def _read(w: Workload, array: Path, index: Index) -> Iterator[tuple[Index, np.ndarray]]:
    """Corner and pixels of each chunk in a file of level 0.

    The pixels are good until the next one.
    """
    data = array.joinpath("c", *map(str, index)).read_bytes()
    origin = tuple(i * s for i, s in zip(index, w.write_shape(0), strict=True))
    if not w.shards:
        yield origin, _decode(w, data)
        return
    inner = [s // c for s, c in zip(w.shards, w.chunks, strict=True)]
    entries = struct.iter_unpack("<QQ", data[-16 * math.prod(inner) - 4 : -4])
    for place, (offset, size) in zip(np.ndindex(*inner), entries, strict=True):
        if offset != ABSENT:
            corner = tuple(o + i * c for o, i, c in zip(origin, place, w.chunks, strict=True))
            yield corner, _decode(w, memoryview(data)[offset : offset + size])


def _decode(w: Workload, data: bytes | memoryview) -> np.ndarray:
    if not hasattr(_buffers, "chunk"):
        _buffers.chunk = np.empty(w.chunks, w.dtype)
    CODEC.decode(data, _buffers.chunk)
    return _buffers.chunk


def _write(w: Workload, out: Path, k: int, index: Index, block: np.ndarray) -> None:
    path = out.joinpath(str(k), "c", *map(str, index))
    path.parent.mkdir(parents=True, exist_ok=True)
    chunks = w.level_chunks(k)
    if not w.shards:
        path.write_bytes(_encode(block, chunks))
        return
    inner = [s // c for s, c in zip(w.write_shape(k), chunks, strict=True)]
    parts, entries, offset = [], [], 0
    for place in np.ndindex(*inner):
        part = _encode(
            block[tuple(slice(i * c, (i + 1) * c) for i, c in zip(place, chunks, strict=True))],
            chunks,
        )
        parts.append(part)
        entries.append(struct.pack("<QQ", offset, len(part)))
        offset += len(part)
    table = b"".join(entries)
    path.write_bytes(b"".join([*parts, table, struct.pack("<I", google_crc32c.value(table))]))


def _encode(block: np.ndarray, chunks: Index) -> bytes:
    if block.shape != chunks:
        whole = np.zeros(chunks, block.dtype)
        whole[tuple(map(slice, block.shape))] = block
        block = whole
    return CODEC.encode(np.ascontiguousarray(block))
