"""Opened stores of other packages, wherever a path is taken."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore, MemoryStore, ObjectStore, StorePath, ZipStore

from napari_pyramid import build_pyramid, open_pyramid, open_pyramids
from napari_pyramid.errors import LayoutError
from napari_pyramid.info import describe

PIXELS = np.arange(45 * 70, dtype="u2").reshape(45, 70)


def _written(store: Any) -> Any:
    datasets = [
        {"path": str(k), "coordinateTransformations": [{"type": "scale", "scale": [2.0**k] * 2}]}
        for k in range(2)
    ]
    axes = [{"name": a, "type": "space"} for a in "yx"]
    ome = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    root = zarr.create_group(store, zarr_format=3)
    group = root.create_group("image", attributes={"ome": ome})
    for k in range(2):
        group.create_array(str(k), data=PIXELS[:: 2**k, :: 2**k], chunks=(8, 9))
    return store


def _check(given: object) -> None:
    pyramid = open_pyramid(given)
    assert (pyramid.name, len(pyramid)) == ("image", 2)
    np.testing.assert_array_equal(np.asarray(pyramid[1][...]), PIXELS[::2, ::2])


@pytest.mark.parametrize("kind", ["memory", "local", "zip", "obstore"])
def test_a_store_is_opened(tmp_path: Path, kind: str) -> None:
    if kind == "obstore":
        import obstore

        store: Any = ObjectStore(obstore.store.MemoryStore())
    else:
        make = {
            "memory": MemoryStore,
            "local": lambda: LocalStore(tmp_path / "x"),
            "zip": lambda: ZipStore(tmp_path / "x.zip", mode="w"),
        }
        store = make[kind]()
    _check(_written(store))
    group = zarr.open_group(store, mode="a" if kind == "zip" else "r")
    _check(group)
    _check(group["image"])
    _check(StorePath(store, "image"))
    _check(SimpleNamespace(store=store))  # as an icechunk session
    if kind == "obstore":
        _check(store.store)


def test_an_array_is_an_image() -> None:
    store = _written(MemoryStore())
    (pyramid,) = open_pyramids(zarr.open_array(store, path="image/0", mode="r"))
    np.testing.assert_array_equal(np.asarray(pyramid[0][...]), PIXELS)


def test_a_mapper_of_fsspec_is_opened(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    _written(LocalStore(tmp_path / "x"))
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "x"), "/mapped", recursive=True)
    _check(fsspec.get_mapper("memory://mapped"))


def test_what_is_no_store_is_refused() -> None:
    with pytest.raises(LayoutError, match="a int cannot be opened: expected a path"):
        open_pyramid(3)
    with pytest.raises(LayoutError, match="MemoryStore/gone: there is no group or array"):
        open_pyramid(StorePath(_written(MemoryStore()), "gone"))


def test_a_store_is_described_and_built_from(tmp_path: Path) -> None:
    store = _written(MemoryStore())
    assert len(describe(store).images) == 1
    built = build_pyramid(zarr.open_group(store, mode="r"), tmp_path / "built.ome.zarr")
    np.testing.assert_array_equal(np.asarray(built[0][...]), PIXELS)


def _check_all(given: object, folder: Path, path: str) -> None:
    """Open, describe and build from an opened store with one array."""
    (pyramid,) = open_pyramids(given)
    np.testing.assert_array_equal(np.asarray(pyramid[0][...]), PIXELS)
    assert f"image '{path}'" in str(describe(given))
    built = build_pyramid(given, folder / "x.ome.zarr", n_levels=2)
    np.testing.assert_array_equal(np.asarray(built[0][...]), PIXELS)


def test_icechunk_is_opened_and_built_from(tmp_path: Path) -> None:
    icechunk = pytest.importorskip("icechunk")
    repository = icechunk.Repository.create(icechunk.in_memory_storage())
    session = repository.writable_session("main")
    zarr.create_group(session.store).create_array("0", data=PIXELS, chunks=(8, 9))
    session.commit("pixels")
    session = repository.readonly_session("main")
    _check_all(session, tmp_path / "a", "0")
    _check_all(session.store, tmp_path / "b", "0")
    _check_all(StorePath(session.store, "0"), tmp_path / "c", "0")


def test_references_to_chunks_in_other_files_are_opened(tmp_path: Path) -> None:
    """As kerchunk and VirtualiZarr write them: here two chunks in one file without any header."""
    fsspec = pytest.importorskip("fsspec")
    (tmp_path / "pixels.bin").write_bytes(b"head" + PIXELS.tobytes())
    described = {
        "zarr_format": 2,
        "shape": [45, 70],
        "chunks": [27, 70],
        "dtype": "<u2",
        "compressor": None,
        "fill_value": 0,
        "order": "C",
        "filters": None,
    }
    file, size = str(tmp_path / "pixels.bin"), 27 * 70 * 2
    with open(file, "ab") as padded:  # the last chunk is whole, too
        padded.write(bytes(size))
    references = {
        ".zgroup": json.dumps({"zarr_format": 2}),
        "image/.zarray": json.dumps(described),
        "image/0.0": [file, 4, size],
        "image/1.0": [file, 4 + size, size],
    }
    mapper = fsspec.get_mapper("reference://", fo={"version": 1, "refs": references})
    _check_all(mapper, tmp_path, "image")
