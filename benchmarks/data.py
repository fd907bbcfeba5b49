"""Makes the sources: smooth structures with shot noise, and labels; the same bytes every time.

zstd halves them, as it does camera data. Level 0 is written with zarr-python; knows no runner.
"""

from __future__ import annotations

import functools
import math
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path

import numba
import numpy as np
import zarr
from metadata import array_json, publish, write_json
from workloads import WORK, Workload, boxes

__all__ = ["grown", "source"]

Region = tuple[slice, ...]

CELL = 24
"""Side of a label in voxels, on average."""
MEMBRANE = 0.3
"""Voxels whose two nearest seeds are equally far, up to this, are background (about 5 %)."""


def source(w: Workload) -> Path:
    """The workload's source, made when it is not there.

    Quick ones are kept apart from full ones.
    """
    path = WORK / "data" / f"{w.key}-{'x'.join(map(str, w.shape))}.zarr"
    if path.exists():
        return path
    print(f"data of {w.key}: {w.nbytes * w.present / 2**20:.0f} MiB", flush=True)
    unfinished = path.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    array = unfinished / "0" if w.in_place else unfinished
    if w.in_place:
        publish(w, unfinished, n_levels=1)
    write_json(array / "zarr.json", level0_json(w))
    _fill(w, zarr.open_array(array, mode="r+"))
    return unfinished.rename(path)


def level0_json(w: Workload) -> dict[str, object]:
    """Planes come as microscopes write them, with zstd alone."""
    if w.source_chunks is None:
        return array_json(w, 0)
    planes = array_json(replace(w, chunks=w.source_chunks), 0)
    zstd = {"name": "zstd", "configuration": {"level": 3, "checksum": False}}
    return planes | {"codecs": [planes["codecs"][0], zstd]}


def _fill(w: Workload, array: zarr.Array) -> None:
    pixels = _labels(w) if w.method == "mode" else _noise(w)
    step = w.write_shape(0) if w.in_place else (16, *w.shape[1:])
    regions = list(enumerate(boxes(w.shape, step)))
    if w.present < 1:
        regions = _clustered(regions, w)

    def write(numbered: tuple[int, Region]) -> None:
        number, region = numbered
        array[region] = pixels(region, number)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, regions))


def _clustered(regions: list[tuple[int, Region]], w: Workload) -> list[tuple[int, Region]]:
    """The regions nearest to a few points: what exists of a sparse volume lies together."""
    rng = np.random.default_rng(5)
    corners = np.array([[s.start for s in region] for _, region in regions])
    points = rng.integers(0, w.shape, (6, len(w.shape)))
    distance = np.min([np.abs(corners - p).max(1) for p in points], axis=0) + rng.random(
        len(corners)
    )
    return [regions[i] for i in np.sort(np.argsort(distance)[: round(len(regions) * w.present)])]


def _noise(w: Workload) -> Callable[[Region, int], np.ndarray]:
    """Photon noise on a smooth field.

    Sigma is the square root of the intensity (less for 8 bits, which hold more each).
    """
    low, high, power, gain = (40, 200, 1, 0.35) if w.dtype == "uint8" else (110, 6000, 3, 1.0)
    cell = 64 if len(w.chunks) == 3 and w.chunks[0] == 1 else 16
    largest = np.iinfo(w.dtype).max

    def pixels(region: Region, number: int) -> np.ndarray:
        field = low + high * _smooth(region, cell) ** power
        noise = np.random.default_rng(number).standard_normal(field.shape, dtype=np.float32)
        return np.clip(field + gain * np.sqrt(field) * noise, 0, largest).astype(w.dtype)

    return pixels


def _smooth(region: Region, cell: int) -> np.ndarray:
    """A field between 0 and 1: linear between the knots of `_knots`, `cell` samples apart.

    Repeats after 32 of them.
    """
    grid = _knots(min(len(region), 3))
    for axis, s in enumerate(region[-grid.ndim :]):
        position = np.arange(s.start, s.stop, dtype=np.float32) / cell
        i = position.astype(int)
        t = (position - i).reshape([-1 if a == axis else 1 for a in range(grid.ndim)])
        grid = grid.take(i % 32, axis) * (1 - t) + grid.take((i + 1) % 32, axis) * t
    return np.broadcast_to(grid, [s.stop - s.start for s in region])


@functools.cache
def _knots(ndim: int) -> np.ndarray:
    """Smooth random values between 0 and 1.

    Neighbours are averaged four times along each axis; the result is stretched.
    """
    knots = np.random.default_rng(1).random((32,) * ndim, dtype=np.float32)
    for axis in [*range(ndim)] * 4:
        knots = (np.roll(knots, 1, axis) + 2 * knots + np.roll(knots, -1, axis)) / 4
    return (knots - knots.min()) / np.ptp(knots)


def _labels(w: Workload) -> Callable[[Region, int], np.ndarray]:
    """Cells of jittered seeds (Voronoi) with background between them."""
    n = [-(-s // CELL) + 2 for s in w.shape]
    rng = np.random.default_rng(4)
    seeds = ((np.indices(n).transpose(1, 2, 3, 0) - 1 + rng.random((*n, 3))) * CELL).astype(
        np.float32
    )
    numbers = rng.permutation(np.arange(1, math.prod(n) + 1)).astype(w.dtype).reshape(n)

    def pixels(region: Region, number: int) -> np.ndarray:
        out = np.empty([s.stop - s.start for s in region], w.dtype)
        _nearest(seeds, numbers, np.array([s.start for s in region]), out)
        return out

    return pixels


@numba.njit(nogil=True)
def _nearest(seeds, numbers, corner, out):  # type: ignore[no-untyped-def]  # numba finds the types
    for z, y, x in np.ndindex(out.shape):
        pz, py, px = z + corner[0], y + corner[1], x + corner[2]
        first = second = np.float32(1e9)
        for i in range(pz // CELL, min(pz // CELL + 3, seeds.shape[0])):
            for j in range(py // CELL, min(py // CELL + 3, seeds.shape[1])):
                for k in range(px // CELL, min(px // CELL + 3, seeds.shape[2])):
                    s = seeds[i, j, k]
                    d = (s[0] - pz) ** 2 + (s[1] - py) ** 2 + (s[2] - px) ** 2
                    if d < first:
                        second, first, best = first, d, numbers[i, j, k]
                    elif d < second:
                        second = d
        out[z, y, x] = 0 if np.sqrt(second) - np.sqrt(first) < MEMBRANE else best


def grown(w: Workload, times: int) -> tuple[Workload, Path]:
    """`w` with its first axis `times` as long, every new chunk a hard link to one of the first.

    Little disk, all the work.
    """
    big = replace(w, key=f"{w.key}x{times}", shape=(w.shape[0] * times, *w.shape[1:]))
    shape = "x".join(map(str, big.shape))
    small_path, path = source(w), WORK / "data" / f"{big.key}-{shape}.zarr"
    if path.exists():
        return big, path
    publish(big, path, n_levels=1)
    write_json(path / "0" / "zarr.json", level0_json(big))
    per_copy = -(-w.shape[0] // w.write_shape(0)[0])
    for copy, folder in product(range(times), (small_path / "0" / "c").iterdir()):
        target = path / "0" / "c" / str(int(folder.name) + copy * per_copy)
        shutil.copytree(folder, target, copy_function=_link)
    return big, path


def _link(a: str, b: str) -> None:
    Path(b).hardlink_to(a)
