"""Where a build may write, what it leaves alone, and what it refuses in one line."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from helpers import digest

from napari_pyramid import (
    DestinationError,
    PyramidError,
    SpecError,
    build_pyramid,
    iter_build,
    open_pyramid,
    open_pyramids,
)
from napari_pyramid.build import plan_build
from napari_pyramid.build.in_place import level_paths

DATA = np.random.default_rng(0).integers(1, 900, (40, 52)).astype("uint16")
OPTIONS: dict[str, Any] = {"n_levels": 3, "factors": 2}


def attributes(group: Path) -> dict[str, Any]:
    return dict(zarr.open_group(group, mode="r").attrs)


@pytest.fixture(params=[2, 3], ids=["zarr v2", "zarr v3"])
def plain(request: Any, tmp_path: Path) -> Path:
    """A group with attributes of its own and one plain array in it, with attributes too."""
    path = tmp_path / "s.zarr"
    group = zarr.create_group(
        path, zarr_format=request.param, attributes={"microscope": {"name": "M1"}, "n": 3}
    )
    group.create_array("raw", data=DATA, chunks=(8, 8), attributes={"stage": [1.5, 2.5]})
    return path


def as_ome(path: Path, base: str = "raw") -> dict[str, Any]:
    """Makes the group an OME-Zarr image of one level, by hand; returns its attributes."""
    group = zarr.open_group(path)
    scale = [
        {"type": "scale", "scale": [3.0, 0.5]},
        {"type": "translation", "translation": [7.0, 1.0]},
    ]
    axes = [
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    entry = {
        "axes": axes,
        "datasets": [{"path": base, "coordinateTransformations": scale}],
        "name": "kept",
    }
    omero = {
        "channels": [
            {
                "label": "GFP",
                "color": "00FF00",
                "window": {"start": 5, "end": 700, "min": 0, "max": 65535},
            }
        ],
        "note": "kept too",
    }
    if group.metadata.zarr_format == 2:
        group.attrs.update(
            {"multiscales": [{**entry, "version": "0.4"}], "omero": {**omero, "version": "0.4"}}
        )
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [entry], "omero": omero}
    return attributes(path)


# ---- in place ------------------------------------------------------------------------------------


def test_levels_are_not_added_to_layouts_that_are_only_read(tmp_path: Path) -> None:
    """COSEM names its levels in attributes of its own, which would miss the new ones."""
    group = zarr.create_group(tmp_path / "em.zarr", zarr_format=2)
    transform = {"axes": ["y", "x"], "scale": [4, 4], "translate": [0, 0], "units": ["nm", "nm"]}
    group.create_array("s0", data=DATA).attrs["transform"] = transform
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(DestinationError, match=r"em\.zarr is COSEM, which is read but not written"):
        build_pyramid(tmp_path / "em.zarr", in_place=True, n_levels=2, factors=2)
    assert before == {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}


def test_level_0_and_foreign_attributes_are_not_touched(plain: Path) -> None:
    before, array = attributes(plain), digest(plain / "raw")
    build_pyramid(plain, in_place=True, **OPTIONS)
    assert digest(plain / "raw") == array
    after = attributes(plain)
    assert {k: after[k] for k in before} == before
    found = open_pyramid(plain)
    assert [level.path for level in found.image.levels] == ["raw", "raw_1", "raw_2"]
    assert found.image.layout.startswith("OME-Zarr")


def test_levels_of_an_ome_zarr_image_follow_from_its_own_transforms(plain: Path) -> None:
    before = as_ome(plain)
    build_pyramid(plain, in_place=True, factors=[(1, 2), (2, 2)])
    after = attributes(plain)
    was, now = (a if "multiscales" in a else a["ome"] for a in (before, after))
    assert now["omero"] == was["omero"]
    (entry,) = now["multiscales"]
    assert entry["name"] == "kept"
    assert entry["datasets"][0] == was["multiscales"][0]["datasets"][0]
    level_1, level_2 = (
        {t["type"]: t[t["type"]] for t in d["coordinateTransformations"]}
        for d in entry["datasets"][1:]
    )
    assert level_1 == {"scale": [3.0, 1.0], "translation": [7.0, 1.25]}
    assert level_2 == {"scale": [6.0, 2.0], "translation": [8.5, 1.75]}


def test_levels_take_the_codec_fill_value_and_chunk_keys_of_level_0(tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    group = zarr.create_group(path, zarr_format=2)
    options = {
        "compressors": None,
        "fill_value": 9,
        "chunk_key_encoding": {"name": "v2", "separator": "."},
    }
    group.create_array("0", data=DATA.astype(">u2"), chunks=(8, 16), **options)
    build_pyramid(path, in_place=True, **OPTIONS)
    first, second = (json.loads((path / k / ".zarray").read_text()) for k in ("0", "1"))
    assert {**first, "shape": None} == {**second, "shape": None}


def test_consolidated_metadata_stay_true(plain: Path) -> None:
    with pytest.warns() if zarr.open_group(plain).metadata.zarr_format == 3 else _no_warning():
        zarr.consolidate_metadata(str(plain))
    build_pyramid(plain, in_place=True, **OPTIONS)
    group = zarr.open_consolidated(str(plain))
    assert set(group.array_keys()) == {"raw", "raw_1", "raw_2"}
    assert dict(group.attrs) == dict(zarr.open_group(plain, mode="r", use_consolidated=False).attrs)


class _no_warning:  # noqa: N801  # reads as the context manager that it is
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def test_levels_that_exist_need_overwrite_and_are_then_replaced(plain: Path) -> None:
    build_pyramid(plain, in_place=True, **OPTIONS)
    with pytest.raises(
        DestinationError,
        match=r"has 3 levels already: replace .* with overwrite=True, or name a further series",
    ):
        build_pyramid(plain, in_place=True, method="max", **OPTIONS)
    build_pyramid(plain, in_place=True, method="max", overwrite=True, **OPTIONS)
    expected = DATA.reshape(20, 2, 26, 2).max((1, 3))
    np.testing.assert_array_equal(open_pyramid(plain)[1][:], expected)


def test_levels_that_fewer_ones_replace_are_removed(plain: Path) -> None:
    build_pyramid(plain, in_place=True, **{**OPTIONS, "n_levels": 4})
    build_pyramid(plain, in_place=True, series="kept", **OPTIONS)
    series, array = digest(plain / "kept"), digest(plain / "raw")
    build_pyramid(plain, in_place=True, overwrite=True, **{**OPTIONS, "n_levels": 2})
    assert {p.name for p in plain.iterdir() if p.is_dir()} == {"raw", "raw_1", "kept"}
    assert (digest(plain / "kept"), digest(plain / "raw")) == (series, array)
    assert [len(p) for p in open_pyramids(plain)] == [2, 3]


@pytest.mark.parametrize("overwrite", [True, False])
def test_building_from_a_coarser_level_does_not_lose_level_0(overwrite: bool, plain: Path) -> None:
    build_pyramid(plain, in_place=True, **OPTIONS)
    before = digest(plain)
    with pytest.raises(
        DestinationError,
        match=r"'raw_1' is a coarser level of an image whose level 0 is 'raw': build from that one",
    ):
        build_pyramid(
            zarr.open_array(plain / "raw_1", mode="r"),
            in_place=True,
            n_levels=2,
            factors=2,
            overwrite=overwrite,
        )
    assert digest(plain) == before


def test_residuals_go_with_the_levels_that_they_belong_to(plain: Path) -> None:
    build_pyramid(plain, in_place=True, method="laplacian", **OPTIONS)
    build_pyramid(plain, in_place=True, method="mean", overwrite=True, **OPTIONS)
    found = attributes(plain)
    (entry,) = found.get("ome", found)["multiscales"]
    assert entry["type"] == "mean"
    assert not list((plain / "laplacian").glob("raw_*"))


def test_residuals_can_be_replaced_by_residuals(plain: Path) -> None:
    for overwrite in (False, True):
        build_pyramid(plain, in_place=True, method="laplacian", overwrite=overwrite, **OPTIONS)
    found = attributes(plain)
    assert [entry["type"] for entry in found.get("ome", found)["multiscales"]] == [
        "gaussian",
        "laplacian",
    ]


@pytest.mark.posix("symbolic links need rights that few users have")
@pytest.mark.parametrize(
    "path", ["../precious.zarr", "..", ".", "", "raw/../../precious.zarr", "link", "text"]
)
def test_metadata_cannot_have_anything_else_removed(path: str, plain: Path, tmp_path: Path) -> None:
    """Level paths are data: only arrays of the group itself are removed."""
    zarr.create_array(tmp_path / "precious.zarr", data=DATA)
    (plain / "link").symlink_to(tmp_path / "precious.zarr")
    (plain / "text").mkdir()
    (plain / "text" / "notes.txt").write_text("precious")
    as_ome(plain)
    group = zarr.open_group(plain)
    found = dict(group.attrs)
    found.get("ome", found)["multiscales"][0]["datasets"].append(
        {"path": path, "coordinateTransformations": [{"type": "scale", "scale": [6.0, 1.0]}]}
    )
    group.attrs.put(found)
    before = digest(tmp_path / "precious.zarr"), digest(plain / "raw"), digest(plain / "text")
    build_pyramid(
        zarr.open_array(plain / "raw", mode="r"), in_place=True, overwrite=True, **OPTIONS
    )
    assert (
        digest(tmp_path / "precious.zarr"),
        digest(plain / "raw"),
        digest(plain / "text"),
    ) == before


def test_an_array_in_the_way_is_not_replaced(plain: Path) -> None:
    zarr.open_group(plain).create_array("raw_1", data=np.zeros((3, 3)))
    before = digest(plain)
    with pytest.raises(
        DestinationError, match=r"raw_1 exists already and is not a level of this image"
    ):
        build_pyramid(
            zarr.open_array(plain / "raw", mode="r"), in_place=True, overwrite=True, **OPTIONS
        )
    assert digest(plain) == before


def test_a_second_series_shares_level_0_and_leaves_the_first(plain: Path) -> None:
    build_pyramid(plain, in_place=True, name="first", **OPTIONS)
    before = attributes(plain)
    build_pyramid(plain, in_place=True, series="max", method="max", **OPTIONS)
    after = attributes(plain)
    was, now = (a if "multiscales" in a else a["ome"] for a in (before, after))
    assert now["multiscales"][0] == was["multiscales"][0]
    assert [d["path"] for d in now["multiscales"][1]["datasets"]] == ["raw", "max/1", "max/2"]
    assert now["multiscales"][1]["name"] == "max"


@pytest.mark.parametrize(
    ("base", "series", "paths"),
    [
        ("0", None, ["0", "1", "2"]),
        ("s0", None, ["s0", "s1", "s2"]),
        ("level_00", None, ["level_00", "level_01", "level_02"]),
        ("a/0", None, ["a/0", "a/1", "a/2"]),
        ("raw", None, ["raw", "raw_1", "raw_2"]),
        ("t1", None, ["t1", "t1_1", "t1_2"]),
        ("0", "max", ["0", "max/1", "max/2"]),
    ],
)
def test_paths_beside_level_0(base: str, series: str | None, paths: list[str]) -> None:
    assert level_paths(base, 3, series) == paths


# ---- new stores ----------------------------------------------------------------------------------


def test_overwriting_swaps_at_the_end(tmp_path: Path) -> None:
    destination = tmp_path / "x.ome.zarr"
    build_pyramid(DATA, destination, chunks=(8, 8), **OPTIONS)
    before = digest(destination)
    steps = iter_build(DATA + 1, destination, chunks=(8, 8), overwrite=True, **OPTIONS)
    next(steps)
    assert digest(destination) == before
    for _ in steps:
        pass
    np.testing.assert_array_equal(open_pyramid(destination)[0][:], DATA + 1)
    assert [p.name for p in tmp_path.iterdir()] == ["x.ome.zarr"]


def test_a_label_image_is_registered_beside_the_others(tmp_path: Path) -> None:
    build_pyramid(DATA, tmp_path / "x.ome.zarr", **OPTIONS)
    for name in ("cells", "nuclei"):
        build_pyramid(
            DATA // 300, tmp_path / "x.ome.zarr" / "labels" / name, labels=True, **OPTIONS
        )
    assert attributes(tmp_path / "x.ome.zarr" / "labels")["ome"]["labels"] == ["cells", "nuclei"]
    assert attributes(tmp_path / "x.ome.zarr" / "labels" / "cells")["ome"]["image-label"][
        "source"
    ] == {"image": "../../"}


# ---- what is refused: one table ------------------------------------------------------------------


def store(tmp: Path) -> Path:
    path = tmp / "s.zarr"
    zarr.create_group(path).create_array("0", data=DATA, chunks=(8, 8))
    return path


def other(tmp_path: Path) -> None:
    """An OME-Zarr 0.5 image."""
    build_pyramid(DATA, tmp_path / "other.zarr", n_levels=2, factors=2)


def bare(tmp: Path) -> Path:
    zarr.create_array(tmp / "bare.zarr", data=DATA, chunks=(8, 8))
    return tmp / "bare.zarr"


def folder(tmp: Path) -> Path:
    (tmp / "photos").mkdir()
    (tmp / "photos" / "cat.jpg").write_bytes(b"cat")
    return tmp / "photos"


def file(tmp: Path) -> Path:
    (tmp / "notes").write_text("n")
    return tmp / "notes"


@pytest.mark.parametrize(
    ("source", "destination", "options", "message"),
    [
        (DATA, "x.ome.zarr", {"axes": "zyx"}, "names 3 axes, but the array has 2"),
        (DATA, "x.ome.zarr", {"factors": 0}, "must be integers of at least 1"),
        (DATA, "x.ome.zarr", {"factors": [(1, 1)]}, "no smaller than level 0"),
        (DATA, "x.ome.zarr", {"codec": "lzma-9"}, "codec 'lzma-9' is not known: use blosc-zstd-1"),
        (DATA, "x.ome.zarr", {"codec": "blosc-zstd-11"}, "is not known"),
        (
            DATA,
            "x.ome.zarr",
            {"format": "0.3"},
            "format '0.3' cannot be written: use 0.5 (zarr v3) or 0.4 (zarr v2)",
        ),
        (
            DATA,
            "x.ome.zarr",
            {"format": "0.4", "chunks": (8, 8), "shards": (16, 16)},
            "shards (16, 16) need zarr v3",
        ),
        (DATA, "x.ome.zarr", {"max_workers": 0}, "0 workers cannot build anything"),
        (DATA, "x.ome.zarr", {"method": "cubic"}, "method 'cubic' is not known"),
        (DATA.astype("complex64"), "x.ome.zarr", {}, "real and imaginary part"),
        (DATA[:0], "x.ome.zarr", {}, "there is nothing to build"),
        ([], "x.ome.zarr", {}, "an empty list of levels cannot be a source"),
        ("nowhere.zarr", "x.ome.zarr", {}, "nowhere.zarr"),
        (
            DATA,
            "https://host/x.ome.zarr",
            {},
            (
                "https://host/x.ome.zarr: a web server cannot be written to: give s3://, gs://, "
                "az:// or a directory"
            ),
        ),
        (DATA, "", {}, "the path of the destination is empty: give a path"),
        ("", "x.ome.zarr", {}, "the path of the source is empty: give a path"),
        (
            [[1, 2], [3, 4]],
            "x.ome.zarr",
            {},
            "a list cannot be a source: expected something with shape, dtype and indexing",
        ),
        (None, "x.ome.zarr", {}, "a NoneType cannot be a source"),
        (DATA, "x.ome.zarr", {"codec": "zstd-23"}, "codec 'zstd-23' is not known"),
        (DATA, "x.ome.zarr", {"codec": ""}, "codec '' is not known"),
        (DATA, "other.zarr/0/1/x.zarr", {"n": other}, "is inside the array"),
        (DATA.astype("f4"), "other.zarr/labels/seg", {"n": other}, "float32 cannot be labels"),
        (
            DATA,
            "other.zarr/labels/seg",
            {"n": other, "method": "mean"},
            "method 'mean' would invent ids",
        ),
        (
            DATA,
            "other.zarr/labels/seg",
            {"n": other, "format": "0.4"},
            "whose labels must be 0.5: leave the format out",
        ),
        (store, None, {"in_place": True, "series": "0"}, "'0' cannot be the name of a series:"),
        (
            store,
            None,
            {"in_place": True, "series": "zarr.json"},
            "'zarr.json' cannot be the name of a series",
        ),
        (
            store,
            None,
            {"in_place": True, "series": "labels"},
            "'labels' cannot be the name of a series",
        ),
        (
            store,
            None,
            {"in_place": True, "series": ""},
            "'' cannot be the name of a series: its levels go into a group of that name",
        ),
        (store, None, {"in_place": True, "series": ".."}, "'..' cannot be the name of a series"),
        (
            store,
            None,
            {"in_place": True, "series": "/tmp"},
            "'/tmp' cannot be the name of a series",
        ),
        (store, None, {"in_place": True, "series": "a/b"}, "'a/b' cannot be the name of a series"),
        (
            DATA,
            "x.ome.zarr",
            {"paths": ["0", "../1", "2"]},
            (
                "level path '../1' leads out of the store, or names nothing in it: use names such "
                "as 0 or scale/0"
            ),
        ),
        (DATA, "x.ome.zarr", {"paths": ["0", "", "2"]}, "level path '' leads out of the store"),
        (DATA, "x.ome.zarr", {"paths": ["0", "/1", "2"]}, "level path '/1' leads out of the store"),
        (DATA, None, {}, "no destination: give a path, or build in place"),
        (
            DATA,
            None,
            {"in_place": True},
            "whose chunks are of one size: give a destination for a new store",
        ),
        (
            store,
            "x.ome.zarr",
            {"in_place": True},
            "a destination was given for a build in place: give one of them",
        ),
        (
            bare,
            None,
            {"in_place": True},
            "is the root of its store, with no group to add levels to: give a destination",
        ),
        (
            store,
            "s.zarr",
            {},
            "is the source: build in place with in_place=True, or choose another destination",
        ),
        (store, "s.zarr", {"overwrite": True}, "is the source"),
        (bare, "bare.zarr", {"overwrite": True}, "is the source"),
        (store, "s.zarr/0", {}, "is the source"),
        (store, "s.zarr/0/c", {}, "is the source, or inside the source"),
        (store, "s.zarr/sub.ome.zarr", {}, "is inside the source"),
        (store, ".", {"overwrite": True}, "holds the source"),
        (
            DATA,
            folder,
            {},
            "exists already, is not a zarr store and will not be overwritten: choose another",
        ),
        (
            DATA,
            "other.zarr",
            {"n": other},
            "exists already: replace what is there with overwrite=True, or choose another",
        ),
        (DATA, folder, {"overwrite": True}, "is not a zarr store and will not be overwritten"),
        (DATA, file, {"overwrite": True}, "is not a zarr store and will not be overwritten"),
        (DATA, "notes/x.ome.zarr", {"n": file}, "is not a directory: choose a destination in one"),
    ],
)
def test_refused_before_anything_is_written(
    source: Any,
    destination: Any,
    options: dict[str, Any],
    message: str,
    tmp_path: Path,
    monkeypatch: Any,
) -> None:
    monkeypatch.chdir(tmp_path)
    for make in [v for v in (source, destination, *options.values()) if callable(v)]:
        make(tmp_path)
    options = {**OPTIONS, **{k: v for k, v in options.items() if not callable(v)}}
    if "factors" in options and isinstance(options["factors"], list):
        options.pop("n_levels")
    source = (
        {store: tmp_path / "s.zarr", bare: tmp_path / "bare.zarr"}.get(source, source)
        if callable(source)
        else source
    )
    destination = (
        {folder: tmp_path / "photos", file: tmp_path / "notes"}.get(destination, destination)
        if callable(destination)
        else destination
    )
    before = digest(tmp_path)
    with pytest.raises(PyramidError) as caught:
        iter_build(source, destination, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert digest(tmp_path) == before


def test_in_place_says_what_is_wrong_with_the_order_of_axes(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "s.zarr").create_array(
        "0", data=np.zeros((40, 50, 3), "uint8"), chunks=(16, 16, 3)
    )
    before = digest(tmp_path)
    with pytest.raises(
        DestinationError, match=r"channels behind its planes.*give a destination for a new store"
    ):
        build_pyramid(tmp_path / "s.zarr", in_place=True, axes="yxc", n_levels=2)
    assert digest(tmp_path) == before


def test_a_spec_of_another_array_is_refused(tmp_path: Path) -> None:
    from napari_pyramid import PyramidSpec

    spec = PyramidSpec.from_array(DATA, n_levels=2)
    with pytest.raises(
        SpecError, match=r"the spec is of \(40, 52\) uint16, but the source is \(52, 40\) uint16"
    ):
        iter_build(DATA.T, tmp_path / "x.ome.zarr", spec)
    with pytest.raises(SpecError, match="axes, scale: given beside a spec; put them into the spec"):
        iter_build(DATA, tmp_path / "x.ome.zarr", spec, axes="yx", scale=(1, 1))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_are_labels_in_the_format_of_their_image(version: Any, tmp_path: Path) -> None:
    """Whatever is said of them, or is not."""
    build_pyramid(DATA, tmp_path / "x.zarr", format=version, n_levels=2, factors=2)
    ids = np.where(DATA > 450, 200, 10).astype("uint16")
    built = build_pyramid(ids, tmp_path / "x.zarr" / "labels" / "seg", n_levels=2, factors=2)
    assert built.image.kind == "labels"
    assert set(np.unique(built[1][:])) <= {10, 200}
    assert (tmp_path / "x.zarr" / "labels" / "seg" / ".zgroup").exists() == (version == "0.4")


def test_a_new_image_in_a_consolidated_store_is_listed_there(tmp_path: Path) -> None:
    root = zarr.create_group(tmp_path / "x.zarr")
    build_pyramid(DATA, tmp_path / "x.zarr" / "a", n_levels=2, factors=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr v3 has no consolidated metadata in its specification
        zarr.consolidate_metadata(root.store)
    build_pyramid(DATA, tmp_path / "x.zarr" / "b", n_levels=2, factors=2)
    assert zarr.open_consolidated(tmp_path / "x.zarr", mode="r")["b/1"].shape == (20, 26)


def test_planning_without_a_destination_looks_at_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path)
    monkeypatch.chdir(tmp_path / "s.zarr")
    planned = plan_build(tmp_path / "s.zarr", n_levels=2, factors=2)
    assert len(planned.spec.levels) == 2
    assert planned.destination is None


def test_levels_go_into_the_group_that_names_the_array(tmp_path: Path) -> None:
    """As ngff-zarr lays them out: each level in a group of its own."""
    group = zarr.create_group(tmp_path / "x.zarr")
    group.create_group("scale0").create_array("image", data=DATA, chunks=(8, 8))
    scale = [{"type": "scale", "scale": [1.0, 1.0]}]
    axes = [{"name": n, "type": "space"} for n in "yx"]
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [
            {
                "axes": axes,
                "datasets": [{"path": "scale0/image", "coordinateTransformations": scale}],
            }
        ],
    }
    build_pyramid(tmp_path / "x.zarr", in_place=True, n_levels=2, factors=2)
    assert (
        len(
            zarr.open_group(tmp_path / "x.zarr", mode="r").attrs["ome"]["multiscales"][0][
                "datasets"
            ]
        )
        == 2
    )
    assert "ome" not in zarr.open_group(tmp_path / "x.zarr" / "scale0", mode="r").attrs
