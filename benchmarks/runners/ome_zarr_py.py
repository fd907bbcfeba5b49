# /// script
# requires-python = ">=3.11"
# dependencies = ["ome-zarr==0.18.0", "zarr==3.1.6", "dask"]
# ///
"""ome-zarr-py: ``write_image``, which writes level 0 again into a new store; dask threads."""

from __future__ import annotations

from pathlib import Path

import dask
import dask.array as da
import zarr
from ome_zarr.writer import write_image
from workloads import Job

NOTE = "local_mean; writes a new store"


def run(job: Job) -> Path:
    w = job.workload
    if w.method == "mode":
        raise NotImplementedError("no mode")
    image = da.from_zarr(job.level0)
    if not w.in_place:
        image = image.rechunk(w.chunks)
    blosc = zarr.codecs.BloscCodec(cname="zstd", clevel=5, shuffle="shuffle")
    options = []
    for k in range(w.n_levels):
        shards = {"shards": w.level_shards(k)} if w.shards else {}
        options.append({"chunks": w.level_chunks(k), "compressors": blosc, **shards})
    factors = [
        {a: f**k for a, f in zip(w.axes, w.factors, strict=True)} for k in range(1, w.n_levels)
    ]
    with dask.config.set(scheduler="threads", num_workers=job.threads):
        write_image(
            image,
            str(job.destination),
            axes=list(w.axes),
            method="local_mean",
            scale=dict(zip(w.axes, w.scale, strict=True)),
            scale_factors=factors,
            storage_options=options,
        )
    return job.destination
