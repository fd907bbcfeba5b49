# /// script
# requires-python = ">=3.11"
# dependencies = ["ngff-zarr[dask-image]==0.50.0", "zarr==3.1.6"]
# ///
"""ngff-zarr: ``to_multiscales`` and ``to_ngff_zarr``, in place with ``start_level=1``.

dask threads.
"""

from __future__ import annotations

from pathlib import Path

import dask
import ngff_zarr
from ngff_zarr import Methods
from ngff_zarr._zarrista_utils import open_zarrista_lazy  # its own reader of plain zarr v3 arrays
from workloads import Job

NOTE = "bin-shrink, mode of dask-image"


def run(job: Job) -> Path:
    w = job.workload
    factors = [
        {a: f**k for a, f in zip(w.axes, w.factors, strict=True) if a in "zyx"}
        for k in range(1, w.n_levels)
    ]
    method = Methods.DASK_IMAGE_MODE if w.method == "mode" else Methods.DASK_BIN_SHRINK
    blosc = {
        "cname": "zstd",
        "clevel": 5,
        "shuffle": "shuffle",
        "typesize": w.itemsize,
        "blocksize": 0,
    }
    options = {"version": "0.5", "compressors": {"name": "blosc", "configuration": blosc}}
    if w.shards:
        options["chunks_per_shard"] = {
            a: s // c for a, s, c in zip(w.axes, w.shards, w.chunks, strict=True)
        }
    with dask.config.set(scheduler="threads", num_workers=job.threads):
        if w.in_place:
            image = ngff_zarr.from_ngff_zarr(str(job.source)).images[0]
            options |= {"overwrite": False, "start_level": 1}
        else:
            scale = dict(zip(w.axes, w.scale, strict=True))
            image = ngff_zarr.to_ngff_image(
                open_zarrista_lazy(str(job.source)), dims=list(w.axes), scale=scale
            )
        chunks = dict(zip(w.axes, w.chunks, strict=True))
        multiscales = ngff_zarr.to_multiscales(
            image, scale_factors=factors, method=method, chunks=chunks
        )
        for k, dataset in enumerate(multiscales.metadata.datasets if w.in_place else ()):
            dataset.path = str(k)  # level 0 is at "0" already
        ngff_zarr.to_ngff_zarr(str(job.output), multiscales, **options)
    return job.output
