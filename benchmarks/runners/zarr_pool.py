# /// script
# requires-python = ">=3.11"
# dependencies = ["zarr==3.1.6", "numpy", "numcodecs>=0.15"]
# ///
"""A careful zarr-python and NumPy user.

Level by level, one output file per job, in a pool of threads.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import zarr
from metadata import create_levels, publish
from numcodecs import blosc
from workloads import Job, boxes

Region = tuple[slice, ...]

blosc.use_threads = False


def mean(a: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """Halves the axes whose factor is 2; rounds half up, which integers do fastest."""
    for axis, f in enumerate(factors):
        if f == 2:
            even, odd = (a[(slice(None),) * axis + (slice(i, None, 2),)] for i in (0, 1))
            a = np.add(even, odd, dtype=np.uint32)
    n = int(np.prod(factors))
    return (a + n // 2) // n


def mode(a: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """Longest run in each sorted window; the lowest value of several."""
    window = np.sort(
        np.stack(
            [
                a[tuple(slice(i, None, f) for i, f in zip(o, factors, strict=True))]
                for o in np.ndindex(*factors)
            ]
        ),
        0,
    )
    best, run = window[0].copy(), np.ones(window.shape[1:], np.uint8)
    longest = run.copy()
    for before, here in itertools.pairwise(window):
        run = np.where(here == before, run + 1, 1).astype(np.uint8)
        better = run > longest
        best[better], longest[better] = here[better], run[better]
    return best


def run(job: Job) -> Path:
    w, out = job.workload, job.output
    reduce = mode if w.method == "mode" else mean
    create_levels(w, out)
    with ThreadPoolExecutor(job.threads) as pool:
        if not w.in_place:
            source, level0 = (
                zarr.open_array(job.source, mode="r"),
                zarr.open_array(out / "0", mode="r+"),
            )

            def copy(region: Region) -> None:
                level0[region] = source[region]

            list(pool.map(copy, boxes(w.shape, (w.chunks[0], *w.shape[1:]))))
        for k in range(1, w.n_levels):
            fine, coarse = (
                zarr.open_array(out / str(k - 1), mode="r"),
                zarr.open_array(out / str(k), mode="r+"),
            )

            def build(region: Region, fine: zarr.Array = fine, coarse: zarr.Array = coarse) -> None:
                block = fine[
                    tuple(
                        slice(s.start * f, s.stop * f)
                        for s, f in zip(region, w.factors, strict=True)
                    )
                ]
                if block.any():
                    coarse[region] = reduce(block, w.factors).astype(block.dtype)

            list(pool.map(build, boxes(coarse.shape, w.write_shape(k))))
    publish(w, out)
    return out
