"""Read neuroglancer's precomputed volumes through TensorStore, with the extra "precomputed".

The axes of the format are x, y, z, channel, and its unit is the nanometre.

Source: google/neuroglancer, datasource/precomputed/volume.md.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_pyramid.arrays.virtual import Crop
from napari_pyramid.axes import Axis
from napari_pyramid.errors import LayoutError
from napari_pyramid.image import Image, StoredLevel
from napari_pyramid.layouts._candidates import numbers
from napari_pyramid.storage.node import warn

__all__ = ["FILES", "NAME", "TensorStoreArray", "open_path"]

NAME = "neuroglancer precomputed"
_FILE = "info"
FILES = (_FILE,)
_TYPE = "neuroglancer_multiscale_volume"
_MAX_INFO_BYTES = 16 * 2**20


class TensorStoreArray:
    """A TensorStore as array of a level: a region without steps is read when it is indexed."""

    def __init__(self, store: Any, chunks: tuple[int, ...]) -> None:
        self._store = store
        self.shape: tuple[int, ...] = tuple(store.shape)
        self.dtype: np.dtype[Any] = store.dtype.numpy_dtype
        self.ndim = len(self.shape)
        self.chunks = chunks

    def __getitem__(self, key: Any, /) -> npt.NDArray[Any]:
        return np.asarray(self._store[key].read().result())


def open_path(path: str) -> Sequence[Image] | None:
    """Return the volume of a directory with an "info" file of its type, or None for anything else.

    Raises
    ------
    LayoutError
        If TensorStore is not installed, or if no scale can be opened.
    """
    info = _read_info(path)
    if info is None:
        return None
    try:
        import tensorstore
    except ImportError as error:
        raise LayoutError(
            f"{path}: {NAME} needs the package tensorstore: "
            'pip install "napari-pyramid[precomputed]"'
        ) from error
    levels = [
        level
        for index in range(len(info["scales"]))
        if (level := _level(tensorstore, path, info, index)) is not None
    ]
    if not levels:
        raise LayoutError(f"{path}/info: none of its scales can be opened")
    levels.sort(key=lambda level: -math.prod(level.array.shape))
    axes = tuple(
        Axis.named(name, None if name == "c" else "nanometer")
        for name in "czyx"[-levels[0].array.ndim :]
    )
    name = os.path.basename(os.path.normpath(path))
    return [
        Image(
            name,
            tuple(levels),
            NAME,
            kind="labels" if info.get("type") == "segmentation" else "image",
            axes=axes,
        )
    ]


def _read_info(path: str) -> dict[str, Any] | None:
    """Return the content of "info"; None if it is missing or of another type."""
    try:
        with open(os.path.join(path, _FILE), "rb") as file:
            info = json.loads(file.read(_MAX_INFO_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    is_volume = (
        isinstance(info, dict)
        and isinstance(info.get("scales"), list)
        and info.get("@type", _TYPE) == _TYPE
    )
    return info if is_volume else None


def _level(tensorstore: Any, path: str, info: dict[str, Any], index: int) -> StoredLevel | None:
    """Return one scale with axes c, z, y, x; without c if there is only one channel.

    None, with a warning, if the scale cannot be opened.
    """
    scale, where = info["scales"][index], f"{path}/info: scales[{index}]"
    key = scale.get("key") if isinstance(scale, dict) else None
    if not isinstance(key, str) or not _is_inside(key):
        warn(f"{where}: key {str(key)[:80]!r} is not a path inside the volume; level left out")
        return None
    resolution = (
        numbers(scale.get("resolution"), 3, f"{where}: resolution", default=1) or (1.0,) * 3
    )
    offset = (
        numbers(scale.get("voxel_offset", [0, 0, 0]), 3, f"{where}: voxel_offset", default=0)
        or (0.0,) * 3
    )
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": path},
        "scale_index": index,
    }
    try:
        store = tensorstore.open(spec, open=True, read=True).result()
    except (ValueError, OSError, NotImplementedError) as error:
        warn(f"{where}: {str(error)[:200]}; level left out")
        return None
    has_channels = store.shape[3] != 1
    store = (
        store[tensorstore.d[:].translate_to[0]].T
        if has_channels
        else store[tensorstore.d[:].translate_to[0]][..., 0].T
    )
    array = TensorStoreArray(store, tuple(store.chunk_layout.read_chunk.shape))
    lead = (1.0,) if has_channels else ()
    translation = (
        *(0.0 for _ in lead),
        *(r * o for r, o in zip(resolution[::-1], offset[::-1], strict=True)),
    )
    # Crop turns every index of NumPy into a region; in TensorStore a negative index is a position.
    return StoredLevel(key, Crop(array, array.shape), (*lead, *resolution[::-1]), translation)


def _is_inside(key: str) -> bool:
    return bool(key) and not key.startswith("/") and "://" not in key and ".." not in key.split("/")
