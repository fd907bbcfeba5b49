# /// script
# requires-python = ">=3.11"
# dependencies = ["stack-to-chunk==2.1", "numpy==2.4.0"]  # its own pin, withdrawn since: it must be asked for
# ///
"""stack-to-chunk: 3-D and factor 2 on all axes, in place through its own group class.

joblib processes.
"""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
from metadata import codecs
from pydantic_zarr.v3 import ArraySpec
from stack_to_chunk import MultiScaleGroup, mode
from workloads import Job

NOTE = "processes; always writes shards of whole planes"


def run(job: Job) -> Path:
    w = job.workload
    if set(w.factors) != {2} or len(w.shape) != 3:
        raise NotImplementedError("3-D and 2 x 2 x 2 only")
    if w.in_place:
        group = MultiScaleGroup(
            job.source, name=w.key, voxel_size=w.scale, spatial_unit="micrometer"
        )
    else:
        group = _from_planes(job)
    for k in range(1, w.n_levels):
        group.add_downsample_level(
            k, n_processes=job.threads, downsample_func=mode if w.method == "mode" else np.mean
        )
    return job.output


def _from_planes(job: Job) -> MultiScaleGroup:
    """Level 0 in its own axis order: x, y, z, with one plane of the source per z."""
    w = job.workload
    planes = da.from_zarr(job.source).transpose(2, 1, 0)
    spec = ArraySpec(
        shape=planes.shape,
        data_type=w.dtype,
        chunk_grid={"name": "regular", "configuration": {"chunk_shape": w.chunks[::-1]}},
        chunk_key_encoding={"name": "default", "configuration": {"separator": "/"}},
        codecs=codecs(w),
        fill_value=0,
        attributes={},
        dimension_names=("x", "y", "z"),
    )
    group = MultiScaleGroup(
        job.destination,
        name=w.key,
        voxel_size=w.scale[::-1],
        spatial_unit="micrometer",
        array_spec=spec,
    )
    group.add_full_res_data(planes, n_processes=job.threads)
    return group
