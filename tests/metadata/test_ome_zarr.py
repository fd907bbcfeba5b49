"""Written metadata as other readers read them, with numbers from OME-Zarr 0.4 and 0.5."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import ngff_zarr
import numpy as np
import pytest
import yaozarrs
import zarr
from ome_zarr_models import open_ome_zarr

from napari_pyramid import Channel, DestinationError, build_pyramid, create_labels, open_pyramids
from napari_pyramid.errors import LayoutWarning
from napari_pyramid.layouts import open_images
from napari_pyramid.metadata.group import Attributes
from napari_pyramid.metadata.ome_zarr import register_label, write_series

AXES = {2: "yx", 3: "zyx", 4: "czyx", 5: "tczyx"}
SHAPES = {2: (33, 47), 3: (9, 33, 47), 4: (2, 9, 33, 47), 5: (3, 2, 9, 33, 47)}


def ome_of(group: Path) -> dict[str, Any]:
    found = dict(zarr.open_group(group, mode="r").attrs)
    return found.get("ome", found)


def pixels(ndim: int, dtype: str = "uint16") -> np.ndarray:
    return np.random.default_rng(0).integers(2, 900, SHAPES[ndim]).astype(dtype)


@pytest.mark.parametrize("ndim", [2, 3, 4, 5])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_other_readers_accept_and_see_the_same(
    version: str, ndim: int, tmp_path: Path, read_level: Any
) -> None:
    path, data = tmp_path / "x.ome.zarr", pixels(ndim)
    scale = (0.25,) * ndim
    build_pyramid(
        data,
        path,
        format=version,
        axes=AXES[ndim],
        scale=scale,
        unit="um",
        n_levels=3,
        factors=2,
        name="cells",
    )

    model = open_ome_zarr(zarr.open_group(path, mode="r"))
    multiscale = (
        model.ome_attributes.multiscales[0] if version == "0.5" else model.attributes.multiscales[0]
    )
    assert [a.name for a in multiscale.axes] == list(AXES[ndim])
    assert [d.path for d in multiscale.datasets] == ["0", "1", "2"]

    yaozarrs.validate_zarr_store(str(path))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own
        ngff = ngff_zarr.from_ngff_zarr(str(path), validate=True)
    steps = [2 if axis in "zyx" else 1 for axis in AXES[ndim]]
    assert [image.data.shape for image in ngff.images] == [
        tuple(math.ceil(n / f**k) for n, f in zip(data.shape, steps, strict=True)) for k in range(3)
    ]
    for k, image in enumerate(ngff.images):
        for axis in "yx":
            assert image.scale[axis] == pytest.approx(0.25 * 2**k)
            assert image.translation[axis] == pytest.approx(
                0.25 * (2**k - 1) / 2
            )  # OME-Zarr's note on half pixels
    np.testing.assert_array_equal(read_level(path / "0"), data)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_are_accepted_too(version: str, tmp_path: Path) -> None:
    image, labels = tmp_path / "x.ome.zarr", tmp_path / "x.ome.zarr" / "labels" / "cells"
    build_pyramid(pixels(3), image, format=version, n_levels=2, factors=2)
    colors = {1: (255, 0, 0, 255), 2: (0, 255, 0, 128)}
    build_pyramid(
        pixels(3) % 3,
        labels,
        format=version,
        labels=True,
        n_levels=2,
        factors=2,
        label_colors=colors,
        label_properties=[{"label-value": 1, "area": 7}],
    )
    yaozarrs.validate_zarr_store(str(image))
    open_ome_zarr(
        zarr.open_group(labels, mode="r")
    )  # it wants the same values in colors and properties
    described = ome_of(labels)["image-label"]
    assert {c["label-value"]: tuple(c["rgba"]) for c in described["colors"]} == colors
    assert described["properties"] == [{"label-value": 1, "area": 7}, {"label-value": 2}]
    assert ome_of(image / "labels")["labels"] == ["cells"]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_where_the_keys_are(version: str, tmp_path: Path) -> None:
    """0.5: under "ome", with the version there; 0.4: at the top, with the version in each part."""
    path = tmp_path / "x.ome.zarr"
    build_pyramid(pixels(2), path, format=version, n_levels=2, factors=2)
    document = json.loads((path / (".zattrs" if version == "0.4" else "zarr.json")).read_text())
    if version == "0.4":
        assert document["multiscales"][0]["version"] == "0.4"
        assert json.loads((path / "0" / ".zarray").read_text())["dimension_separator"] == "/"
    else:
        assert document["attributes"]["ome"]["version"] == "0.5"
        assert "version" not in document["attributes"]["ome"]["multiscales"][0]
        assert json.loads((path / "1" / "zarr.json").read_text())["dimension_names"] == ["y", "x"]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_dimension_separator_of_zarr_v2_is_a_slash(version: str, tmp_path: Path) -> None:
    build_pyramid(pixels(2), tmp_path / "x.ome.zarr", format=version, n_levels=1, chunks=(20, 20))
    assert (tmp_path / "x.ome.zarr" / "0" / ("1/2" if version == "0.4" else "c/1/2")).is_file()


@pytest.mark.parametrize(
    ("method", "shift"),
    [("mean", 0.5), ("mode", 0.5), ("gaussian", 0.5), ("median", 0.5), ("stride", 0.0)],
)
def test_translation_is_half_a_pixel_for_windows_and_none_for_stride(
    method: str, shift: float, tmp_path: Path
) -> None:
    build_pyramid(
        pixels(2),
        tmp_path / "x.ome.zarr",
        method=method,
        scale=(2, 3),
        translation=(10, 20),
        n_levels=3,
        factors=2,
    )
    (multiscale,) = ome_of(tmp_path / "x.ome.zarr")["multiscales"]
    for k, dataset in enumerate(multiscale["datasets"]):
        scale, translation = dataset["coordinateTransformations"]
        assert scale == {"type": "scale", "scale": [2.0 * 2**k, 3.0 * 2**k]}
        assert translation["translation"] == pytest.approx(
            [10 + shift * 2 * (2**k - 1), 20 + shift * 3 * (2**k - 1)]
        )


def test_what_made_the_levels_is_said(tmp_path: Path) -> None:
    build_pyramid(pixels(2), tmp_path / "x.ome.zarr", method="median", n_levels=3, factors=(1, 2))
    (multiscale,) = ome_of(tmp_path / "x.ome.zarr")["multiscales"]
    assert multiscale["type"] == "median"
    assert multiscale["metadata"]["kwargs"]["method"] == "median"
    assert multiscale["metadata"]["kwargs"]["factors"] == [[1, 2], [1, 2]]
    assert set(multiscale["metadata"]) >= {"method", "version", "description"}


@pytest.mark.parametrize(("method", "said"), [(None, None), ("max", None), ("stride", "stride")])
def test_of_levels_that_are_kept_nothing_is_said_but_that(
    method: str | None, said: str | None, tmp_path: Path
) -> None:
    """The type of strided levels alone is kept.

    It says where their samples lie, see OME-Zarr's note on half pixels.
    """
    data = pixels(2)
    build_pyramid([data, data[::2, ::2].copy()], tmp_path / "x.ome.zarr", method=method)
    (multiscale,) = ome_of(tmp_path / "x.ome.zarr")["multiscales"]
    assert multiscale.get("type") == said
    assert (
        multiscale["metadata"]["description"]
        == "The levels are kept as they were given; what made them is not known."
    )
    assert multiscale["metadata"]["method"] == "napari_pyramid.build_pyramid"
    assert multiscale["metadata"]["kwargs"] == {}
    yaozarrs.validate_zarr_store(str(tmp_path / "x.ome.zarr"))


def test_contrast_windows_are_percentiles_of_the_coarsest_level(
    tmp_path: Path, read_level: Any
) -> None:
    data = pixels(4)
    data[1] *= 20
    build_pyramid(
        data,
        tmp_path / "x.ome.zarr",
        axes="czyx",
        n_levels=2,
        factors=2,
        channels=[Channel("GFP", "#00FF00"), Channel("DAPI", "#0000FF")],
    )
    coarsest = read_level(tmp_path / "x.ome.zarr" / "1")
    for c, channel in enumerate(ome_of(tmp_path / "x.ome.zarr")["omero"]["channels"]):
        low, high = np.percentile(coarsest[c], (0.1, 99.9))
        assert (channel["window"]["start"], channel["window"]["end"]) == pytest.approx((low, high))
        assert (channel["window"]["min"], channel["window"]["max"]) == (
            0,
            2**16 - 1,
        )  # of uint16, for the slider
        assert (channel["label"], channel["color"]) == [("GFP", "00FF00"), ("DAPI", "0000FF")][c]


def test_a_given_contrast_window_is_kept(tmp_path: Path) -> None:
    build_pyramid(
        pixels(2),
        tmp_path / "x.ome.zarr",
        n_levels=2,
        factors=2,
        channels=[Channel(window=(3.0, 444.0), visible=False)],
    )
    (channel,) = ome_of(tmp_path / "x.ome.zarr")["omero"]["channels"]
    assert (channel["window"]["start"], channel["window"]["end"], channel["active"]) == (
        3.0,
        444.0,
        False,
    )


@pytest.mark.parametrize("dtype", ["float32", "uint8", "bool"])
def test_constant_images_have_a_window_that_readers_take(dtype: str, tmp_path: Path) -> None:
    build_pyramid(np.zeros((40, 40), dtype), tmp_path / "x.ome.zarr", n_levels=2, factors=2)
    yaozarrs.validate_zarr_store(str(tmp_path / "x.ome.zarr"))
    (channel,) = ome_of(tmp_path / "x.ome.zarr")["omero"]["channels"]
    assert channel["window"]["start"] < channel["window"]["end"]


@pytest.mark.parametrize("dtype", ["uint8", "int32", "uint64", "float32"])
@pytest.mark.parametrize("highest", [1, 255])
def test_the_window_of_a_mask_or_of_bytes_is_kept(dtype: str, highest: int, tmp_path: Path) -> None:
    pixels = np.zeros((40, 40), dtype)
    pixels[3:20] = highest
    build_pyramid(pixels, tmp_path / "x.ome.zarr", n_levels=2, factors=2)
    (image,) = open_images(tmp_path / "x.ome.zarr")  # a warning would fail here
    assert image.channels[0].window == (0, highest)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_attributes_that_are_not_ours_are_kept_to_the_letter(
    zarr_format: Any, tmp_path: Path
) -> None:
    foreign = (
        {"nested": {"a": [1, 2.5, None, "µ"]}, "ome": {"version": "0.5", "note": 1}}
        if zarr_format == 3
        else {"nested": {"a": [1, 2.5, None, "µ"]}}
    )
    zarr.create_group(tmp_path / "g", zarr_format=zarr_format, attributes=foreign)
    attributes = Attributes(tmp_path / "g")
    attributes.ome["labels"] = ["x"]
    attributes.save()
    found = dict(zarr.open_group(tmp_path / "g", mode="r").attrs)
    assert found["nested"] == foreign["nested"]
    assert (found["ome"] if zarr_format == 3 else found)["labels"] == ["x"]
    assert zarr_format == 2 or found["ome"]["note"] == 1


def test_a_label_is_listed_once(tmp_path: Path) -> None:
    for name in ("a", "b", "a"):
        register_label(tmp_path / "labels", name, "0.5")
    assert ome_of(tmp_path / "labels")["labels"] == ["a", "b"]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("listed", [None, {}, "labels"])
def test_a_label_is_listed_whatever_was_there_instead_of_a_list(
    version: Any, listed: Any, tmp_path: Path
) -> None:
    path = tmp_path / "x.ome.zarr"
    build_pyramid(pixels(2), path, format=version, n_levels=1)
    said = {"labels": listed, "note": 1}
    zarr.create_group(
        path / "labels",
        zarr_format=2 if version == "0.4" else 3,
        attributes=said if version == "0.4" else {"ome": {"version": "0.5", **said}},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LayoutWarning)  # "expected a list; ignored"
        create_labels(path)
    assert ome_of(path / "labels")["labels"] == ["labels"]
    assert ome_of(path / "labels")["note"] == 1


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_collection_lists_its_images(version: Any, tmp_path: Path) -> None:
    for name in ("second", "first"):
        build_pyramid(
            pixels(2), tmp_path / "x.ome.zarr" / name, format=version, n_levels=2, factors=2
        )
    write_series(tmp_path / "x.ome.zarr", ["second", "first"], version)
    assert ome_of(tmp_path / "x.ome.zarr")["bioformats2raw.layout"] == 3
    assert ome_of(tmp_path / "x.ome.zarr" / "OME")["series"] == ["second", "first"]
    assert len(open_pyramids(tmp_path / "x.ome.zarr")) == 2


# ---- series, and other entries of the same group -------------------------------------------------


def plain_group(path: Path, zarr_format: Any = 3) -> Path:
    zarr.create_group(path, zarr_format=zarr_format).create_array(
        "0", data=pixels(2), chunks=(16, 16)
    )
    return path


def listed(path: Path) -> list[tuple[str, list[str]]]:
    return [(m["name"], [d["path"] for d in m["datasets"]]) for m in ome_of(path)["multiscales"]]


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("method", ["mean", "laplacian"])
def test_a_series_that_comes_first_has_its_name(
    method: str, zarr_format: Any, tmp_path: Path, read_level: Any
) -> None:
    path = plain_group(tmp_path / "x.zarr", zarr_format)
    build_pyramid(path, in_place=True, series="m", method=method, n_levels=3)
    assert listed(path)[0] == ("m", ["0", "m/1", "m/2"])
    build_pyramid(path, in_place=True, series="m", method="max", n_levels=2, overwrite=True)
    assert listed(path) == [("m", ["0", "m/1"])]
    zarr.open_array(path / "0")[3:9, 20:30] = 1000
    build_pyramid(path, regions=[(slice(3, 9), slice(20, 30))], series="m")
    data = np.pad(
        read_level(path / "0"), ((0, 1), (0, 1))
    )  # windows that are partial: 0 is the least
    np.testing.assert_array_equal(
        read_level(path / "m" / "1"), data.reshape(17, 2, 24, 2).max((1, 3))
    )


@pytest.mark.parametrize("method", ["mean", "laplacian"])
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("series", "owner"), [("cells", "the image itself"), ("laplacian", "residuals")]
)
def test_a_series_does_not_replace_levels_of_its_name(
    series: str, owner: str, overwrite: bool, method: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.ome.zarr"
    build_pyramid(pixels(2), path, method=method, n_levels=3, factors=2, name="cells")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(
        DestinationError,
        match=f"{series!r} is the name of {owner}, and cannot name a series: choose another name",
    ):
        build_pyramid(
            path, in_place=True, series=series, method="max", n_levels=2, overwrite=overwrite
        )
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_entries_of_other_arrays_of_the_group_stay(zarr_format: Any, tmp_path: Path) -> None:
    path = plain_group(tmp_path / "x.zarr", zarr_format)
    build_pyramid(path, in_place=True, n_levels=2, channels=[Channel("GFP", "#00FF00")])
    before = ome_of(path)
    zarr.open_group(path).create_array("mask", data=pixels(2) % 2, chunks=(16, 16))
    build_pyramid(zarr.open_array(path / "mask", mode="r"), in_place=True, n_levels=2)
    after = ome_of(path)
    assert [d["path"] for d in after["multiscales"].pop()["datasets"]] == ["mask", "mask_1"]
    assert after == before
