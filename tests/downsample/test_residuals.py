"""The residual pyramid beside the gaussian one, against skimage and zarr-specs issue 50."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from scipy import ndimage
from skimage.transform import pyramid_gaussian, pyramid_laplacian

from napari_pyramid import PyramidSpec, build_pyramid, open_pyramid

ReadLevel = Callable[[Path], np.ndarray]


def image(shape: tuple[int, ...] = (48, 96)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4000, shape).astype(np.float32)


def multiscales(group: Path) -> list[dict]:
    attributes = json.loads((group / "zarr.json").read_text())["attributes"]
    return attributes["ome"]["multiscales"]


@pytest.mark.parametrize("chunks", [(48, 96), (16, 32), (7, 11)])
def test_levels_and_residuals_are_those_of_skimage(
    chunks: tuple[int, int], tmp_path: Path, read_level: ReadLevel
) -> None:
    data = image()
    build_pyramid(data, tmp_path / "x.ome.zarr", method="laplacian", n_levels=3, chunks=chunks)
    gaussian = list(pyramid_gaussian(data, max_layer=2, preserve_range=True))
    laplacian = list(pyramid_laplacian(data, max_layer=2, preserve_range=True))
    for k in (1, 2):
        np.testing.assert_allclose(
            read_level(tmp_path / "x.ome.zarr" / str(k)), gaussian[k], atol=2e-3
        )
        np.testing.assert_allclose(
            read_level(tmp_path / "x.ome.zarr" / "laplacian" / str(k)), laplacian[k], atol=2e-3
        )


def test_two_multiscales_share_the_base(tmp_path: Path) -> None:
    build_pyramid(
        image(),
        tmp_path / "x.ome.zarr",
        method="laplacian",
        n_levels=3,
        scale=(2.0, 0.5),
        axes="yx",
        name="x",
    )
    first, second = multiscales(tmp_path / "x.ome.zarr")
    assert (first["type"], second["type"]) == ("gaussian", "laplacian")
    assert [d["path"] for d in first["datasets"]] == ["0", "1", "2"]
    assert [d["path"] for d in second["datasets"]] == ["0", "laplacian/1", "laplacian/2"]
    for a, b in zip(first["datasets"], second["datasets"], strict=True):
        assert a["coordinateTransformations"] == b["coordinateTransformations"]


def test_the_pyramid_comes_first_and_the_residuals_by_name(tmp_path: Path) -> None:
    build_pyramid(image(), tmp_path / "x.ome.zarr", method="laplacian", n_levels=3, name="x")
    assert open_pyramid(tmp_path / "x.ome.zarr").image.levels[1].path == "1"
    assert open_pyramid(tmp_path / "x.ome.zarr", "laplacian").image.levels[1].path == "laplacian/1"


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float64"])
def test_residuals_of_integers_open_beside_their_base_as_one_dtype(
    dtype: str, tmp_path: Path, read_level: ReadLevel
) -> None:
    """Warnings are errors: nothing is left out."""
    data = np.random.default_rng(1).integers(0, 200, (40, 56)).astype(dtype)
    build_pyramid(data, tmp_path / "x.ome.zarr", method="laplacian", n_levels=3, factors=2)
    pyramid, residuals = (
        open_pyramid(tmp_path / "x.ome.zarr", name) for name in (None, "laplacian")
    )
    assert {level.dtype for level in pyramid} == {np.dtype(dtype)}
    assert len(residuals) == 3
    assert {level.dtype for level in residuals} == {
        read_level(tmp_path / "x.ome.zarr" / "laplacian" / "1").dtype
    }
    np.testing.assert_array_equal(residuals[0][5:9, ::3], data[5:9, ::3])


@pytest.mark.parametrize("chunks", [(8, 8), (39, 57)])
@pytest.mark.parametrize(
    ("dtype", "rounding"),
    [
        ("uint8", 2**-16),
        ("uint16", 2**-8),
        ("int32", 2**-16),
        ("float32", 2**-8),
        ("float64", 2**-20),
    ],
)
def test_residuals_are_the_level_minus_itself_smoothed(
    dtype: str, rounding: float, chunks: tuple[int, int], tmp_path: Path, read_level: ReadLevel
) -> None:
    """Also of integers, and where the last window is partial."""
    top = np.iinfo(dtype).max if np.dtype(dtype).kind in "iu" else 60_000
    data = np.random.default_rng(1).integers(0, top, (39, 57)).astype(dtype)
    build_pyramid(
        data, tmp_path / "x.ome.zarr", method="laplacian", n_levels=3, factors=2, chunks=chunks
    )
    for k in (1, 2):
        level = read_level(tmp_path / "x.ome.zarr" / str(k)).astype(np.float64)
        smooth = ndimage.gaussian_filter(level, 2 / 3, mode="reflect", truncate=4)
        residual = read_level(tmp_path / "x.ome.zarr" / "laplacian" / str(k))
        np.testing.assert_allclose(residual, level - smooth, rtol=0, atol=rounding)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_in_place_beside_a_plain_array(
    zarr_format: int, tmp_path: Path, read_level: ReadLevel
) -> None:
    data = image((40, 33))
    group = zarr.open_group(tmp_path / "g.zarr", mode="w", zarr_format=zarr_format)
    group.create_array("s0", data=data, chunks=(16, 16))
    build_pyramid(tmp_path / "g.zarr", in_place=True, method="laplacian", n_levels=2)
    whole = tmp_path / "whole.ome.zarr"
    build_pyramid(data, whole, method="laplacian", n_levels=2, chunks=(40, 33))
    np.testing.assert_array_equal(
        read_level(tmp_path / "g.zarr" / "laplacian" / "s1"), read_level(whole / "laplacian" / "1")
    )


def test_levels_that_are_kept_get_residuals_too(tmp_path: Path, read_level: ReadLevel) -> None:
    levels = [image()[::f, ::f] for f in (1, 2, 4)]
    build_pyramid(levels, tmp_path / "x.ome.zarr", method="laplacian", verify=True)
    for k in (1, 2):
        smooth = ndimage.gaussian_filter(levels[k].astype(float), 2 / 3, mode="reflect", truncate=4)
        np.testing.assert_allclose(
            read_level(tmp_path / "x.ome.zarr" / "laplacian" / str(k)),
            levels[k] - smooth,
            rtol=0,
            atol=1e-3,
        )


@pytest.mark.parametrize(
    ("dtype", "residual"),
    [("uint8", "float32"), ("uint16", "float32"), ("float32", "float32"), ("int32", "float64")],
)
def test_residuals_are_signed_floats(dtype: str, residual: str) -> None:
    spec = PyramidSpec.from_array(np.zeros((40, 40), dtype), method="laplacian", n_levels=2)
    assert [r.dtype.name for r in spec.residuals] == [residual]
