"""Hierarchies that hold images somewhere below, and the order in which layouts are asked."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts
import zarr

from napari_pyramid.errors import LayoutError, LayoutWarning
from napari_pyramid.layouts import LAYOUTS, open_images


def test_images_at_different_depths(new_store: Callable) -> None:
    store = (
        new_store(2)
        .group()
        .image("a", (6, 8))
        .group("nested")
        .image("nested/b", (6, 8), name="named")
    )
    assert [(i.path, i.name) for i in open_images(store.root)] == [
        ("a", "a"),
        ("nested/b", "named"),
    ]


def test_directory_that_is_no_zarr(new_store: Callable) -> None:
    store = new_store(2).image("a.zarr", (6, 8)).image("b.zarr", (6, 8))
    assert [i.path for i in open_images(store.root)] == ["a.zarr", "b.zarr"]


def test_same_names_are_distinguished_by_their_paths(new_store: Callable) -> None:
    store = (
        new_store(2)
        .group()
        .image("a", (6, 8), name="n")
        .image("b", (6, 8), name="n")
        .image("c", (6, 8), name="m")
    )
    assert [i.name for i in open_images(store.root)] == ["a", "b", "m"]


def test_an_image_that_cannot_be_read_does_not_lose_the_others(new_store: Callable) -> None:
    store = new_store(2).group().image("a", (6, 8))
    store.array("b", (6, 8))
    (store.root / "b" / ".zarray").write_text(
        '{"zarr_format": 2, "shape": [6, 8], "dtype": "nonsense"}'
    )
    with pytest.warns(LayoutWarning, match="/b is left out"):
        assert [i.path for i in open_images(store.root)] == ["a"]


def test_depth_and_number_are_bounded(new_store: Callable) -> None:
    store = new_store(2).group()
    for k in range(260):
        (store.root / f"i{k:03}").mkdir()
        (store.root / f"i{k:03}" / ".zarray").write_text(
            '{"zarr_format": 2, "shape": [6, 8], "chunks": [6, 8], "dtype": "<u2", "compressor": '
            'null, "fill_value": 0, "order": "C", "filters": null}'
        )
    with pytest.warns(LayoutWarning, match="only the first 256 images"):
        assert len(open_images(store.root)) == 256


def test_empty_directory_is_an_error_that_names_it(new_store: Callable) -> None:
    with pytest.raises(LayoutError, match=r"x\.zarr: there is no image"):
        open_images(new_store(2).group().root)


def test_every_layout_says_no_to_an_empty_group_and_to_a_plain_array_without_a_word(
    new_store: Callable,
) -> None:
    from napari_pyramid.storage.stores import open_root

    store = new_store(2).group()
    store.array("a", (6, 8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for layout in LAYOUTS:
            assert layout.read(open_root(new_store(2, "empty.zarr").group().root)) is None
            assert layout.NAME
            if layout is not LAYOUTS[-1]:
                assert layout.read(open_root(store.root / "a")) is None


def test_ome_goes_before_the_older_conventions_beside_it(new_store: Callable) -> None:
    """CellMap's stores carry OME-Zarr and COSEM's metadata side by side."""
    store = new_store(3)
    store.array("s0", (6, 8))
    transform = {"axes": ["y", "x"], "scale": [4, 4], "translate": [0, 0], "units": ["nm", "nm"]}
    ome = {
        "version": "0.5",
        "multiscales": [{"axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": "s0"}]}],
    }
    store.group(
        raw={"ome": ome, "multiscales": [{"datasets": [{"path": "s0", "transform": transform}]}]}
    )
    assert [i.layout for i in open_images(store.root)] == ["OME-Zarr 0.5"]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_tables_beside_images_are_left_out_without_a_word(
    new_store: Callable, zarr_format: int
) -> None:
    """AnnData's on-disk format: every group of a table has an "encoding-type"."""
    table = {"encoding-type": "anndata", "encoding-version": "0.1.0"}
    store = (
        new_store(zarr_format)
        .group()
        .image("image", (6, 8))
        .group("tables")
        .group("tables/t", raw=table)
    )
    store.group("tables/t/layers", raw={"encoding-type": "dict"}).group(
        "tables/t/obs", raw={"encoding-type": "dataframe"}
    )
    store.array("tables/t/layers/raw", (5, 4))
    store.array("tables/t/obs/area", (5,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [image.path for image in open_images(store.root)] == ["image"]


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    "values",
    [np.zeros(5), np.full((3, 4), "text"), np.zeros((3, 4), "M8[s]"), np.zeros((3, 4), "S5")],
    ids=["1-D", "U", "M", "S"],
)
@pytest.mark.filterwarnings(
    "ignore::zarr.errors.UnstableSpecificationWarning"
)  # of zarr, on writing texts and dates
def test_arrays_that_are_no_images_are_left_out_without_a_word(
    new_store: Callable, zarr_format: int, values: np.ndarray
) -> None:
    store = new_store(zarr_format).group().image("image", (6, 8))
    store.array("other", values)
    assert [image.path for image in open_images(store.root)] == ["image"]


def test_arrays_of_one_axis_are_images_where_there_are_no_others(new_store: Callable) -> None:
    store = new_store(3).group()
    store.array("trace", (9,))
    assert [image.path for image in open_images(store.root)] == ["trace"]


def test_variables_of_one_group_keep_their_names(tmp_path: Path) -> None:
    """Sentinel-2 has the same bands in several groups: a path alone would not tell them apart."""
    root = zarr.create_group(tmp_path)
    for group, n in (("r10m", 12), ("r20m", 6)):
        for name in ("b02", "b03"):
            root.create_array(f"{group}/{name}", data=np.ones((n, n)), dimension_names=["y", "x"])
        for dim in "yx":
            root.create_array(f"{group}/{dim}", data=np.arange(n) + 0.5, dimension_names=[dim])
    assert [image.name for image in open_images(tmp_path)] == [
        "r10m/b02",
        "r10m/b03",
        "r20m/b02",
        "r20m/b03",
    ]


@pytest.mark.parametrize("driver", ["zarr", "zarr3"])
def test_arrays_of_tensorstore_which_writes_no_groups(tmp_path: Path, driver: str) -> None:
    for k in range(2):
        spec = {"driver": driver, "kvstore": f"file://{tmp_path}/x.zarr/vol/em/s{k}"}
        ts.open(spec, create=True, dtype=ts.uint8, shape=[8 >> k, 6 >> k]).result().write(
            1
        ).result()
    (image,) = open_images(tmp_path / "x.zarr")
    assert [level.path for level in image.levels] == ["vol/em/s0", "vol/em/s1"]
    (image,) = open_images(tmp_path)
    assert image.path == "x.zarr/vol/em"


def test_folders_of_chunks_and_hidden_ones_are_not_looked_into(new_store: Callable) -> None:
    """The folder of an array whose metadata are lost, and the snapshots of a file system."""
    store = new_store(2).image("a", (6, 8)).image(".snapshot/hourly/a", (6, 8))
    store.image("lost/0/b", (6, 8)).image("lost/c/b", (6, 8))
    assert [image.path for image in open_images(store.root)] == ["a"]


def test_levels_of_xcube_in_a_folder(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "data" / "x.levels" / "0.zarr")
    group.create_array("v", data=np.ones((4, 5)), dimension_names=["y", "x"])
    assert [image.layout for image in open_images(tmp_path)] == ["xcube levels"]
