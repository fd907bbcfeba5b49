# /// script
# requires-python = ">=3.11"
# dependencies = ["tensorstore==0.1.86", "numpy"]
# ///
"""A careful TensorStore user.

Level by level, one output file per job, read, ``ts.downsample``, write.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tensorstore as ts
from metadata import create_levels, publish
from workloads import Job, boxes

Region = tuple[slice, ...]


def run(job: Job) -> Path:
    w, out = job.workload, job.output
    limits = {
        "data_copy_concurrency": {"limit": job.threads},
        "cache_pool": {"total_bytes_limit": 0},
        "file_io_sync": False,
    }
    context = ts.Context(limits)

    def open_array(path: Path) -> Any:
        return ts.open(
            {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}}, context=context
        ).result()

    create_levels(w, out)
    with ThreadPoolExecutor(job.threads) as pool:
        if not w.in_place:
            source, level0 = open_array(job.source), open_array(out / "0")

            def copy(region: Region) -> None:
                level0[region].write(source[region].read().result()).result()

            list(pool.map(copy, boxes(w.shape, (w.chunks[0], *w.shape[1:]))))
        for k in range(1, w.n_levels):
            fine, coarse = open_array(out / str(k - 1)), open_array(out / str(k))

            def build(region: Region, fine: Any = fine, coarse: Any = coarse) -> None:
                block = (
                    fine[
                        tuple(
                            slice(s.start * f, s.stop * f)
                            for s, f in zip(region, w.factors, strict=True)
                        )
                    ]
                    .read()
                    .result()
                )
                if block.any():
                    reduced = ts.downsample(ts.array(block, context=context), w.factors, w.method)
                    coarse[region].write(reduced.read().result()).result()

            list(pool.map(build, boxes(coarse.shape, w.write_shape(k))))
    publish(w, out)
    return out
