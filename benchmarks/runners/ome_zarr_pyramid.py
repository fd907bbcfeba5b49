# /// script
# requires-python = ">=3.11"
# dependencies = ["ome_zarr_pyramid==0.4.0", "zarr==3.1.6"]
# ///
"""ome_zarr_pyramid: all levels from one read of level 0, into a new store; threads."""

from __future__ import annotations

from pathlib import Path

import zarr
from ome_zarr_pyramid import Pyramid, io
from workloads import Job

NOTE = "writes a new store"


def run(job: Job) -> Path:
    w = job.workload
    if w.in_place:
        pyramid = io.read_pyramid(str(job.source))
    else:
        pyramid = Pyramid().from_array(
            zarr.open_array(job.source, mode="r"), axis_order=w.axes, scale=list(w.scale)
        )
    shards = (
        {"shard_coefficients": tuple(s // c for s, c in zip(w.shards, w.chunks, strict=True))}
        if w.shards
        else {}
    )
    io.write_pyramid(
        pyramid.downscale(n_layers=w.n_levels, scale_factor=w.factors, downscale_method=w.method),
        str(job.destination),
        max_threads=job.threads,
        chunk_shape=w.chunks,
        compressor="blosc",
        compressor_params={"cname": "zstd", "clevel": 5, "shuffle": 1},
        **shards,
    )
    return job.destination
