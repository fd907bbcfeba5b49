"""Write the zarr v3 and OME-Zarr 0.5 JSON of a workload.

For the data, and for runners that write no metadata.

Standard library only; writes no pixels.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workloads import Workload

__all__ = ["array_json", "create_levels", "publish", "write_json"]

_TYPES = {"t": {"type": "time", "unit": "second"}, "c": {"type": "channel"}}
_SPACE = {"type": "space", "unit": "micrometer"}


def codecs(w: Workload) -> list[dict[str, Any]]:
    endian = {"configuration": {"endian": "little"}} if w.itemsize > 1 else {}
    blosc = {
        "cname": "zstd",
        "clevel": 5,
        "shuffle": "shuffle",
        "typesize": w.itemsize,
        "blocksize": 0,
    }
    return [{"name": "bytes", **endian}, {"name": "blosc", "configuration": blosc}]


def array_json(w: Workload, k: int) -> dict[str, Any]:
    """``zarr.json`` of level k."""
    chain = codecs(w)
    if w.shards:
        index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
        shard = {
            "chunk_shape": w.level_chunks(k),
            "codecs": chain,
            "index_codecs": index,
            "index_location": "end",
        }
        chain = [{"name": "sharding_indexed", "configuration": shard}]
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": w.level_shape(k),
        "data_type": w.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": w.write_shape(k)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": chain,
        "attributes": {},
        "dimension_names": list(w.axes),
    }


def group_json(w: Workload, n_levels: int) -> dict[str, Any]:
    """``zarr.json`` of the group, naming the first `n_levels` levels."""
    datasets = []
    for k in range(n_levels):
        scale = {"type": "scale", "scale": w.level_scale(k)}
        translation = {"type": "translation", "translation": w.level_translation(k)}
        datasets.append(
            {"path": str(k), "coordinateTransformations": [scale, translation] if k else [scale]}
        )
    axes = [{"name": a, **_TYPES.get(a, _SPACE)} for a in w.axes]
    ome = {"version": "0.5", "multiscales": [{"name": w.key, "axes": axes, "datasets": datasets}]}
    return {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}


def write_json(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1))


def create_levels(w: Workload, group: Path) -> None:
    """Arrays without chunks for every level that is still to be written."""
    for k in range(1 if w.in_place else 0, w.n_levels):
        write_json(group / str(k) / "zarr.json", array_json(w, k))


def publish(w: Workload, group: Path, n_levels: int | None = None) -> None:
    """The group's metadata; last, when the pixels are there."""
    write_json(group / "zarr.json", group_json(w, n_levels or w.n_levels))
