# /// script
# requires-python = ">=3.11"
# dependencies = ["bioio-ome-zarr==3.8.1", "zarr==3.1.6", "dask"]
# ///
"""bioio-ome-zarr: ``OMEZarrWriter.write_full_volume`` into a new store.

dask threads behind one lock.
"""

from __future__ import annotations

from pathlib import Path

import dask
import dask.array as da
import zarr
from bioio_ome_zarr.writers import OMEZarrWriter
from workloads import Job

NOTE = "nearest sample, no mean and no mode; writes a new store"


def run(job: Job) -> Path:
    w = job.workload
    levels = range(w.n_levels)
    image = da.from_zarr(job.level0)
    if not w.in_place:
        image = image.rechunk(w.chunks)
    writer = OMEZarrWriter(
        str(job.destination),
        [w.level_shape(k) for k in levels],
        w.dtype,
        chunk_shape=[w.level_chunks(k) for k in levels],
        shard_shape=[w.level_shards(k) for k in levels] if w.shards else None,
        compressor=zarr.codecs.BloscCodec(cname="zstd", clevel=5, shuffle="shuffle"),
        axes_names=list(w.axes),
        physical_pixel_size=list(w.scale),
    )
    with dask.config.set(scheduler="threads", num_workers=job.threads):
        writer.write_full_volume(image)
    return job.destination
