"""Fixtures that several test modules share."""

from __future__ import annotations

import math
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import HealthCheck, settings
from scipy import ndimage
from screen import open_screen
from store_writer import StoreWriter

StoreMaker = Callable[..., Path]
Downsampled = Callable[[np.ndarray, Sequence[int], str], np.ndarray]

SCREEN = pytest.StashKey[Any]()

# An example may take long because the machine has other work.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shuffle", type=int, metavar="SEED", help="run the tests in a random order")


def pytest_configure(config: pytest.Config) -> None:
    """Give every test process a screen, so that no test sees windows of another process."""
    is_worker = hasattr(config, "workerinput")
    only_hands_out = not is_worker and config.getoption("dist", "no") != "no"
    if is_worker or not (only_hands_out or os.environ.get("DISPLAY")):
        config.stash[SCREEN] = open_screen()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.name != "posix":
        for item in items:
            for mark in item.iter_markers("posix"):
                item.add_marker(pytest.mark.skip(reason=mark.args[0]))
    seed = config.getoption("shuffle")
    if seed is not None:  # xdist hands the option on: all of its processes find the same order
        random.Random(seed).shuffle(items)


@pytest.fixture(autouse=True)
def compilations_end() -> Iterator[None]:
    """Wait for kernels that a stopped build left compiling.

    numba changes the warning filters of all threads.
    """
    yield
    while any(thread.name == "napari-pyramid-compile" for thread in threading.enumerate()):
        time.sleep(0.01)  # a thread that has not begun cannot be joined


@pytest.fixture(scope="session")
def downsampled() -> Downsampled:
    """TensorStore's downsample driver: the reference for all methods that it has."""

    def reduce(block: np.ndarray, factors: Sequence[int], method: str) -> np.ndarray:
        native = np.ascontiguousarray(block, dtype=block.dtype.newbyteorder("="))
        return np.asarray(
            tensorstore.downsample(tensorstore.array(native), [int(f) for f in factors], method)
            .read()
            .result()
        )

    return reduce


@pytest.fixture(scope="session")
def gaussian_by_scipy() -> Callable[[np.ndarray, Sequence[int]], np.ndarray]:
    """The whole image smoothed and sampled at the centres of its windows.

    Reflected beyond the end for a partial last one.
    """

    def reduce(image: np.ndarray, factors: Sequence[int]) -> np.ndarray:
        radius = [math.ceil(4 * f / 3) + f for f in factors]
        padded = np.pad(
            image.astype(np.float64),
            [(0, r if f > 1 else 0) for r, f in zip(radius, factors, strict=True)],
            mode="symmetric",
        )
        smooth = ndimage.gaussian_filter(
            padded, [f / 3 if f > 1 else 0 for f in factors], mode="reflect", truncate=4
        )
        for axis, (f, n) in enumerate(zip(factors, image.shape, strict=True)):
            starts = np.arange(-(-n // f)) * f
            smooth = (
                np.take(smooth, starts + (f - 1) // 2, axis)
                + np.take(smooth, starts + f // 2, axis)
            ) / 2
        return smooth

    return reduce


@pytest.fixture(scope="session")
def read_level() -> Callable[[Path], np.ndarray]:
    """The pixels of an array on disk as TensorStore reads them."""

    def read(path: Path) -> np.ndarray:
        driver = "zarr3" if (path / "zarr.json").exists() else "zarr"
        opened = tensorstore.open(
            {"driver": driver, "kvstore": {"driver": "file", "path": str(path)}}
        ).result()
        return np.asarray(opened.read().result())

    return read


@pytest.fixture
def ome_zarr(tmp_path: Path) -> StoreMaker:
    """Writes a small OME-Zarr 0.5 image with plain zarr.

    Levels halved by stride, metadata as the specification has it.
    """

    def write(
        values: np.ndarray,
        axes: str,
        *,
        name: str = "image.ome.zarr",
        levels: int = 2,
        chunk: int = 8,
        **ome: Any,
    ) -> Path:
        path = tmp_path / name
        group = zarr.create_group(path)
        datasets = []
        for k in range(levels):
            steps = tuple(slice(None, None, 2**k if a in "zyx" else 1) for a in axes)
            chunks = tuple(
                min(n, chunk) if a in "zyx" else 1
                for n, a in zip(values[steps].shape, axes, strict=True)
            )
            group.create_array(str(k), data=values[steps], chunks=chunks)
            scale = [0.5 * 2**k if a in "zyx" else 1.0 for a in axes]
            datasets.append(
                {"path": str(k), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
            )
        kinds = {"t": {"type": "time", "unit": "second"}, "c": {"type": "channel"}}
        described = [
            {"name": a, **kinds.get(a, {"type": "space", "unit": "micrometer"})} for a in axes
        ]
        group.attrs["ome"] = {
            "version": "0.5",
            "multiscales": [{"axes": described, "datasets": datasets}],
            **ome,
        }
        return path

    return write


@pytest.fixture
def new_store(tmp_path: Path) -> Callable[..., StoreWriter]:
    """Makes an empty store: ``new_store(3, "x.zarr")``."""

    def make(zarr_format: Literal[2, 3] = 2, name: str = "x.zarr") -> StoreWriter:
        return StoreWriter(tmp_path / name, zarr_format)

    return make
