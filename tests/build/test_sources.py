"""What can be a source, what is known of it, and when it is no longer the same."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import dask.array
import h5py
import numpy as np
import pytest
import tensorstore
import zarr

from napari_pyramid import Axis, LayoutError, LazyArray, SpecError, build_pyramid
from napari_pyramid.arrays.virtual import Transpose
from napari_pyramid.axes import ome_order, parse_axes
from napari_pyramid.build.source import reordered, resolve_source
from napari_pyramid.build.source_places import directory_of
from napari_pyramid.plan.schedule import SourceChunks

DATA = np.random.default_rng(0).integers(0, 900, (31, 45)).astype("uint16")


def as_numpy(tmp: Path) -> Any:
    return DATA


def as_zarr(tmp: Path) -> Any:
    return zarr.create_array(tmp / "s.zarr", data=DATA, chunks=(8, 8))


def as_lazy(tmp: Path) -> Any:
    return LazyArray(as_zarr(tmp))


def as_transposed_lazy(tmp: Path) -> Any:
    return LazyArray(
        zarr.create_array(tmp / "s.zarr", data=np.stack([DATA * 0, DATA]), chunks=(1, 8, 8))
    )[1]


def as_dask(tmp: Path) -> Any:
    return dask.array.from_array(DATA, chunks=(10, 17))


def as_hdf5(tmp: Path) -> Any:
    return h5py.File(tmp / "s.h5", "w").create_dataset("a", data=DATA, chunks=(7, 9))


def as_memmap(tmp: Path) -> Any:
    np.save(tmp / "s.npy", DATA)
    return np.load(tmp / "s.npy", mmap_mode="r")


def as_path(tmp: Path) -> Any:
    as_zarr(tmp)
    return str(tmp / "s.zarr")


@pytest.mark.parametrize(
    "make", [as_numpy, as_zarr, as_lazy, as_transposed_lazy, as_dask, as_hdf5, as_memmap, as_path]
)
def test_anything_with_shape_dtype_and_indexing(
    make: Any, tmp_path: Path, read_level: Any, downsampled: Any
) -> None:
    build_pyramid(make(tmp_path), tmp_path / "x.ome.zarr", factors=2, n_levels=2, chunks=(8, 8))
    np.testing.assert_array_equal(read_level(tmp_path / "x.ome.zarr" / "0"), DATA)
    np.testing.assert_array_equal(
        read_level(tmp_path / "x.ome.zarr" / "1"), downsampled(DATA, (2, 2), "mean")
    )


def test_what_a_layout_says_is_kept(ome_zarr: Any, tmp_path: Path) -> None:
    path = ome_zarr(DATA[None].repeat(3, 0), "tyx")
    built = build_pyramid(path, tmp_path / "x.ome.zarr", factors=2, n_levels=2)
    assert [(a.name, a.unit) for a in built.axes] == [
        ("t", "second"),
        ("y", "micrometer"),
        ("x", "micrometer"),
    ]
    assert built.scale == (1.0, 0.5, 0.5)


def test_options_win_over_what_a_layout_says(ome_zarr: Any, tmp_path: Path) -> None:
    built = build_pyramid(
        ome_zarr(DATA, "yx"), tmp_path / "x.ome.zarr", scale=(7, 8), factors=2, n_levels=2
    )
    assert built.scale == (7.0, 8.0)


def test_a_path_without_an_image() -> None:
    with pytest.raises(LayoutError, match=r"nowhere\.zarr"):
        resolve_source("nowhere.zarr")


def test_an_image_is_chosen_by_name(ome_zarr: Any) -> None:
    path = ome_zarr(DATA, "yx")
    with pytest.raises(LayoutError, match="has no image 'other': it has"):
        resolve_source(path, name="other")


def test_no_levels_are_no_source() -> None:
    with pytest.raises(SpecError, match="give at least level 0"):
        resolve_source([])


@pytest.mark.parametrize(
    ("axes", "order"),
    [("zyx", (0, 1, 2)), ("yxc", (2, 0, 1)), ("ctyx", (1, 0, 2, 3)), ("xyzct", (4, 3, 0, 1, 2))],
)
def test_time_and_channel_come_first(axes: str, order: tuple[int, ...]) -> None:
    """OME-Zarr 0.5, "axes": time, then channel, then space."""
    assert ome_order(parse_axes(axes, len(axes))) == order


def test_options_move_with_the_axes() -> None:
    source, options = reordered(
        resolve_source(np.zeros((4, 5, 3))),
        {"axes": "yxc", "scale": (2, 3, 1), "chunks": [4, 4, 1], "factors": 2},
    )
    assert source.arrays[0].shape == (3, 4, 5)
    assert options["axes"] == [Axis.named(n) for n in "cyx"]
    assert (options["scale"], options["chunks"], options["factors"]) == ([1, 2, 3], [1, 4, 4], 2)


def test_factors_of_each_step_move_with_the_axes() -> None:
    _, options = reordered(
        resolve_source(np.zeros((4, 5, 3))), {"axes": "yxc", "factors": [(2, 3, 1), (2, 1, 1)]}
    )
    assert options["factors"] == [[1, 2, 3], [1, 2, 1]]


def test_n5_and_precomputed_can_be_distinguished_from_others(tmp_path: Path) -> None:
    n5 = {"driver": "n5", "kvstore": {"driver": "file", "path": str(tmp_path / "x.n5/s0")}}
    info = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": str(tmp_path / "volume")},
    }
    tensorstore.open(n5, create=True, dtype="uint8", shape=(9, 8)).result()[...] = 1
    tensorstore.open(info, create=True, dtype="uint8", shape=(9, 8, 7, 1)).result()[...] = 1
    for path, described in (
        (tmp_path / "x.n5", tmp_path / "x.n5" / "s0" / "attributes.json"),
        (tmp_path / "volume", tmp_path / "volume" / "info"),
    ):
        before = resolve_source(path).identity
        assert before is not None
        assert resolve_source(path).identity == before
        assert resolve_source(path).is_portable == (path.suffix == ".n5"), (
            "other processes open what zarr reads"
        )
        os.utime(described, ns=(0, 0))
        described.write_text(described.read_text() + "\n")
        assert resolve_source(path).identity != before


def test_views_of_one_mapped_file_are_distinguished(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "raw", np.uint8, "w+", shape=(2, 30, 40))
    views = [mapped[0], mapped[1], mapped[0, ::2, ::2], mapped[0, :15, :20]]
    identities = [str(resolve_source(view).identity) for view in views]
    assert len(set(identities)) == len(views)
    assert (
        str(
            resolve_source(
                np.memmap(tmp_path / "raw", np.uint8, "r", shape=(2, 30, 40))[1]
            ).identity
        )
        == identities[1]
    )


def test_images_of_one_file_are_distinguished(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "s.zarr")
    for name in ("a", "b"):
        group.create_array(name, data=DATA)
    packed = shutil.make_archive(str(tmp_path / "s.zarr"), "zip", tmp_path / "s.zarr")
    a, b = (resolve_source(packed, name=name).identity for name in ("a", "b"))
    assert a is not None
    assert a != b


def test_an_array_without_chunks_can_be_read_in_any_parts() -> None:
    assert SourceChunks.of(Transpose(np.zeros((4, 5, 3)), (2, 0, 1))).block is None
    assert SourceChunks.of(LazyArray(np.zeros((4, 5)))).block is None


def test_a_reordered_array_reads_regions() -> None:
    data = np.arange(60).reshape(4, 5, 3)
    array = Transpose(data, (2, 0, 1))
    np.testing.assert_array_equal(
        array[(slice(1, 3), slice(0, 4), slice(2, 5))], data.transpose(2, 0, 1)[1:3, 0:4, 2:5]
    )


def test_only_arrays_on_disk_can_be_distinguished_from_others(tmp_path: Path) -> None:
    stored = as_zarr(tmp_path)
    assert resolve_source(stored).identity == resolve_source(str(tmp_path / "s.zarr")).identity
    assert resolve_source(DATA).identity is None
    assert directory_of(stored) == tmp_path / "s.zarr"
    assert directory_of(DATA) is None
    before = resolve_source(stored).identity
    stored.attrs["a"] = 1
    assert resolve_source(zarr.open_array(tmp_path / "s.zarr", mode="r")).identity != before
