"""Fixtures that several test modules share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import zarr

StoreMaker = Callable[..., Path]
Downsampled = Callable[[np.ndarray, Sequence[int], str], np.ndarray]


@pytest.fixture(scope="session")
def downsampled() -> Downsampled:
    """TensorStore's downsample driver: the reference for all methods that it has."""

    def reduce(block: np.ndarray, factors: Sequence[int], method: str) -> np.ndarray:
        native = np.ascontiguousarray(block, dtype=block.dtype.newbyteorder("="))
        return np.asarray(tensorstore.downsample(tensorstore.array(native), [int(f) for f in factors], method).read().result())

    return reduce


@pytest.fixture(scope="session")
def read_level() -> Callable[[Path], np.ndarray]:
    """The pixels of an array on disk as TensorStore reads them."""

    def read(path: Path) -> np.ndarray:
        driver = "zarr3" if (path / "zarr.json").exists() else "zarr"
        opened = tensorstore.open({"driver": driver, "kvstore": {"driver": "file", "path": str(path)}}).result()
        return np.asarray(opened.read().result())

    return read


@pytest.fixture
def ome_zarr(tmp_path: Path) -> StoreMaker:
    """Writes a small OME-Zarr 0.5 image with plain zarr: levels halved by stride, metadata as the specification has it."""

    def write(values: np.ndarray, axes: str, *, name: str = "image.ome.zarr", levels: int = 2, **ome: Any) -> Path:
        path = tmp_path / name
        group = zarr.create_group(path)
        datasets = []
        for k in range(levels):
            steps = tuple(slice(None, None, 2**k if a in "zyx" else 1) for a in axes)
            chunks = tuple(min(n, 8) if a in "zyx" else 1 for n, a in zip(values[steps].shape, axes, strict=True))
            group.create_array(str(k), data=values[steps], chunks=chunks)
            scale = [0.5 * 2**k if a in "zyx" else 1.0 for a in axes]
            datasets.append({"path": str(k), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
        kinds = {"t": {"type": "time", "unit": "second"}, "c": {"type": "channel"}}
        described = [{"name": a, **kinds.get(a, {"type": "space", "unit": "micrometer"})} for a in axes]
        group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": described, "datasets": datasets}], **ome}
        return path

    return write
