# /// script
# requires-python = ">=3.12,<3.14"
# dependencies = ["iohub[tensorstore]==0.3.11"]
# ///
"""iohub: ``compute_pyramid`` in place, with TensorStore, its faster backend.

Its codec in zarr v3 cannot be chosen.
"""

from __future__ import annotations

from pathlib import Path

from iohub.core.config import TensorStoreConfig
from iohub.ngff import open_ome_zarr
from workloads import Job

NOTE = "chunks halve with each level"


def run(job: Job) -> Path:
    w = job.workload
    if not w.in_place:
        raise NotImplementedError("adds levels to an OME-Zarr only")
    halved = {a for a, f in zip(w.axes, w.factors, strict=True) if f > 1}
    settings = TensorStoreConfig(
        file_io_sync=False, data_copy_concurrency=job.threads
    )  # nobody else waits for the disk
    with open_ome_zarr(
        job.source,
        layout="fov",
        mode="r+",
        implementation="tensorstore",
        implementation_config=settings,
    ) as position:
        position.compute_pyramid(levels=w.n_levels, method=w.method, dims=halved)
    return job.source
