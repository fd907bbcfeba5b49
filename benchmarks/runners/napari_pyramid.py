# /// script
# requires-python = ">=3.11"
# dependencies = ["{root}"]
# ///
"""This project, as a user calls it from Python."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from workloads import Job

from napari_pyramid.build import build_pyramid, plan_build


def prepare(job: Job) -> None:
    """Compiles: builds a tiny pyramid of the same dtype, rank and factors."""
    w = job.workload
    with tempfile.TemporaryDirectory() as folder:
        tiny = zarr.create_array(
            f"{folder}/a.zarr", data=np.zeros([4 * f for f in w.factors], w.dtype), chunks=w.factors
        )
        build_pyramid(
            tiny, f"{folder}/b.zarr", axes=w.axes, factors=w.factors, n_levels=2, method=w.method
        )


def arguments(job: Job) -> dict[str, Any]:
    """Options of `build_pyramid`; in place, the rest follows level 0."""
    w = job.workload
    options = {"n_levels": w.n_levels, "factors": w.factors, "method": w.method}
    options |= {"max_workers": job.threads, "memory_limit": job.memory_limit}
    if w.in_place:
        return options | {"source": job.source, "in_place": True}
    options |= {
        "axes": w.axes,
        "scale": w.scale,
        "chunks": w.chunks,
        "shards": w.shards,
        "codec": "blosc-zstd-5",
    }
    return options | {"source": job.source, "destination": job.destination}


def predict(job: Job) -> int:
    """Return the peak bytes of the build, as ``napari-pyramid plan`` prints them."""
    return plan_build(**arguments(job)).peak_memory


def run(job: Job) -> Path:
    build_pyramid(**arguments(job))
    return job.output
