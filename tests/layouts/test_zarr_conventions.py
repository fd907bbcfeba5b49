"""The "multiscales" convention, array-based and group-based, with relative and absolute scales."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_pyramid.errors import LayoutWarning
from napari_pyramid.layouts import open_images


def write(
    path: Path, layout: list[Any], arrays: dict[str, tuple[int, ...]], **attributes: Any
) -> Path:
    root = zarr.create_group(path, attributes={"multiscales": {"layout": layout}, **attributes})
    for name, shape in arrays.items():
        names = ["t", "y", "x"][-len(shape) :]
        root.create_array(name, data=np.ones(shape, "uint8"), dimension_names=names)
    return path


def entry(asset: str, scale: list[float] | None = None, **more: Any) -> dict[str, Any]:
    return {"asset": asset, **({"transform": {"scale": scale}} if scale else {}), **more}


@pytest.mark.parametrize(
    "last",
    [[2.0, 2.0], [4.0, 4.0]],
    ids=["relative, as the text says", "absolute, as the examples do"],
)
def test_the_reading_that_fits_the_shapes(tmp_path: Path, last: list[float]) -> None:
    layout = [entry("0"), entry("1", [2, 2], derived_from="0"), entry("2", last, derived_from="1")]
    (image,) = open_images(write(tmp_path, layout, {"0": (64, 96), "1": (32, 48), "2": (16, 24)}))
    assert [level.scale for level in image.levels] == [(1, 1), (2, 2), (4, 4)]


def test_an_upsampled_level_listed_last_comes_first(tmp_path: Path) -> None:
    layout = [
        entry("30m", [1, 1]),
        entry("90m", [3, 3], derived_from="30m"),
        entry("10m", [1 / 3, 1 / 3], derived_from="30m"),
    ]
    (image,) = open_images(
        write(tmp_path, layout, {"30m": (48, 48), "90m": (16, 16), "10m": (144, 144)})
    )
    assert [level.path for level in image.levels] == ["10m", "30m", "90m"]
    assert image.levels[0].scale == pytest.approx((1 / 3, 1 / 3))


def test_groups_give_an_image_per_variable(tmp_path: Path) -> None:
    """A band that exists from the second level on is a pyramid of those levels (Sentinel-2)."""
    layout = [
        entry("r10", [1, 1]),
        entry("r20", [2, 2], derived_from="r10"),
        entry("r40", [2, 2], derived_from="r20"),
    ]
    arrays = {
        "r10/b02": (64, 64),
        "r20/b02": (32, 32),
        "r40/b02": (16, 16),
        "r20/b05": (32, 32),
        "r40/b05": (16, 16),
    }
    images = {image.name: image for image in open_images(write(tmp_path, layout, arrays))}
    assert [level.path for level in images["b02"].levels] == ["r10/b02", "r20/b02", "r40/b02"]
    assert [level.scale for level in images["b05"].levels] == [(2, 2), (4, 4)]


def test_spatial_transforms_give_pixel_centres(tmp_path: Path) -> None:
    """GDAL's affine is about corners: the first centre is half a pixel further."""
    grids = [[10.0, 0.0, 500.0, 0.0, -10.0, 900.0], [20.0, 0.0, 500.0, 0.0, -20.0, 900.0]]
    layout = [entry(str(k), **{"spatial:transform": grid}) for k, grid in enumerate(grids)]
    (image,) = open_images(
        write(tmp_path, layout, {"0": (2, 8, 8), "1": (2, 4, 4)}, **{"proj:code": "EPSG:32633"})
    )
    assert [level.scale for level in image.levels] == [(1, -10, 10), (1, -20, 20)]
    assert [level.translation for level in image.levels] == [(0, 895, 505), (0, 890, 510)]
    assert image.metadata["proj:code"] == "EPSG:32633"


def test_registration_at_nodes_has_no_half_pixel(tmp_path: Path) -> None:
    layout = [entry("0", **{"spatial:transform": [10.0, 0, 500.0, 0, -10.0, 900.0]})]
    (image,) = open_images(
        write(tmp_path, layout, {"0": (8, 8)}, **{"spatial:registration": "node"})
    )
    assert image.levels[0].translation == (900, 500)


@pytest.mark.parametrize(
    "attributes",
    [
        {"spatial:transform": [10.0, 0.0, 500.0, 0.0, -10.0, 900.0]},
        {"spatial:bbox": [500.0, 820.0, 580.0, 900.0]},
    ],
    ids=["transform", "box"],
)
def test_a_grid_of_the_group_is_that_of_the_first_asset(
    tmp_path: Path, attributes: dict[str, Any]
) -> None:
    layout = [entry("0"), entry("1", [2, 2], derived_from="0")]
    (image,) = open_images(write(tmp_path, layout, {"0": (8, 8), "1": (4, 4)}, **attributes))
    assert [level.scale for level in image.levels] == [(-10, 10), (-20, 20)]
    assert image.levels[1].translation == (890, 510)


def test_dimensions_name_the_axes_of_the_grid(tmp_path: Path) -> None:
    attributes = {
        "spatial:transform": [10.0, 0.0, 500.0, 0.0, -20.0, 900.0],
        "spatial:dimensions": ["x", "y"],
    }
    (image,) = open_images(write(tmp_path, [entry("0")], {"0": (8, 8)}, **attributes))
    assert image.levels[0].scale == (10, -20)


@pytest.mark.parametrize(
    "grid", [[1, 2], "north", [0, 0, 0, 0, 0, 0], [1.0, 0.5, 0, 0.5, 1.0, 0], [float("nan")] * 6]
)
def test_a_transform_that_cannot_be_shown_is_reported(tmp_path: Path, grid: Any) -> None:
    layout = [entry("0", [1, 1], **{"spatial:transform": grid})]
    with pytest.warns(LayoutWarning, match="spatial:transform"):
        (image,) = open_images(write(tmp_path, layout, {"0": (8, 8)}))
    assert image.levels[0].scale == (1, 1)


@pytest.mark.parametrize("asset", ["gone", "../up", "/abs", 3, None])
def test_assets_that_are_not_there_are_reported(tmp_path: Path, asset: Any) -> None:
    with pytest.warns(LayoutWarning, match="asset"):
        (image,) = open_images(write(tmp_path, [entry("0"), {"asset": asset}], {"0": (8, 8)}))
    assert len(image.levels) == 1


@pytest.mark.parametrize("layout", [[], "0", [3], [{}]])
@pytest.mark.filterwarnings(
    "ignore:.*multiscales. layout:napari_pyramid.errors.LayoutWarning"
)  # what of it has no sense
def test_a_layout_without_sense_falls_through(tmp_path: Path, layout: Any) -> None:
    images = open_images(write(tmp_path, layout, {"0": (8, 8), "1": (4, 4)}))
    assert [level.path for level in images[0].levels] == ["0", "1"]


@pytest.mark.parametrize("shape", [(8,), (2, 8, 8)], ids=["1-D", "3-D"])
@pytest.mark.filterwarnings("ignore:.*level '1' is left out:napari_pyramid.errors.LayoutWarning")
def test_assets_of_different_rank(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """The asset that does not fit the first one is left out; its factors are nobody's business."""
    layout = [
        entry("0", [1, 1], **{"spatial:transform": [10.0, 0, 500.0, 0, -10.0, 900.0]}),
        entry("1", [2], derived_from="0"),
    ]
    (image,) = open_images(
        write(tmp_path, layout, {"0": (16, 16), "1": shape}, **{"spatial:dimensions": [["y"], "x"]})
    )
    assert [level.scale for level in image.levels] == [(-10, 10)]


def test_spatial_dimensions_name_axes_that_the_arrays_do_not(tmp_path: Path) -> None:
    """ "node" puts the centre of the first pixel at the corner that the transform gives.

    Source: zarr-conventions/spatial.
    """
    registered = {"spatial:dimensions": ["y", "x"], "spatial:registration": "node"}
    layout = [
        entry("a", **{"spatial:transform": [10, 0, 100, 0, -10, 200]}),
        entry("b", [2, 2], derived_from="a"),
    ]
    root = zarr.create_group(
        tmp_path / "x.zarr", attributes={"multiscales": {"layout": layout}, **registered}
    )
    for name, n in (("a", 8), ("b", 4)):
        root.create_array(name, data=np.ones((n, n), "uint8"))
    (image,) = open_images(tmp_path / "x.zarr")
    assert [axis.name for axis in image.axes or ()] == ["y", "x"]
    assert (image.levels[0].scale, image.levels[0].translation) == ((-10, 10), (200, 100))


CHAIN = [
    entry("0", [1, 1]),
    entry("1", [2, 2], derived_from="0"),
    entry("2", [3, 2], derived_from="1"),
    entry("3", [2, 2], derived_from="2"),
]
"""Scales that are all relative: to the root, 1, 2, (6, 4) and (12, 8)."""
SHAPES = {"0": (96, 64), "1": (48, 32), "2": (16, 16), "3": (8, 8)}
TOTALS = [(1, 1), (2, 2), (6, 4), (12, 8)]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 3, 0, 1), (1, 0, 3, 2)], ids=str)
@pytest.mark.parametrize("base", [entry("0", [1, 1]), entry("0")], ids=["with scale", "without"])
def test_a_scale_is_relative_to_the_source_wherever_that_is_listed(
    tmp_path: Path, order: tuple[int, ...], base: dict[str, Any]
) -> None:
    chain = [base, *CHAIN[1:]]
    (image,) = open_images(write(tmp_path, [chain[k] for k in order], SHAPES))
    assert [level.path for level in image.levels] == ["0", "1", "2", "3"]
    assert [level.scale for level in image.levels] == TOTALS


def test_levels_of_one_source(tmp_path: Path) -> None:
    """As r20m and r60m of Sentinel-2, both derived from r10m, and r120m from r60m."""
    layout = [
        entry("r120m", [2, 2], derived_from="r60m"),
        entry("r60m", [6, 6], derived_from="r10m"),
        entry("r20m", [2, 2], derived_from="r10m"),
        entry("r10m", [1, 1]),
    ]
    arrays = {"r10m": (96, 96), "r20m": (48, 48), "r60m": (16, 16), "r120m": (8, 8)}
    (image,) = open_images(write(tmp_path, layout, arrays))
    assert [level.scale for level in image.levels] == [(1, 1), (2, 2), (6, 6), (12, 12)]


def test_an_upsampled_level_listed_before_its_source(tmp_path: Path) -> None:
    layout = [entry("fine", [0.5, 0.5], derived_from="base"), entry("base", [1, 1])]
    (image,) = open_images(write(tmp_path, layout, {"fine": (32, 32), "base": (16, 16)}))
    assert [(level.path, level.scale) for level in image.levels] == [
        ("fine", (0.5, 0.5)),
        ("base", (1, 1)),
    ]


def test_the_grid_of_the_group_is_that_of_the_root_wherever_it_is_listed(tmp_path: Path) -> None:
    layout = [entry("1", [2, 2], derived_from="0"), entry("0", [1, 1])]
    grid = {"spatial:transform": [10.0, 0.0, 500.0, 0.0, -10.0, 900.0]}
    (image,) = open_images(write(tmp_path, layout, {"0": (8, 8), "1": (4, 4)}, **grid))
    assert [level.scale for level in image.levels] == [(-10, 10), (-20, 20)]
    assert image.levels[0].translation == (895, 505)


def test_a_chain_goes_through_an_asset_that_is_missing(tmp_path: Path) -> None:
    arrays = {name: shape for name, shape in SHAPES.items() if name != "1"}
    with pytest.warns(LayoutWarning, match="names '1'") as warned:
        (image,) = open_images(write(tmp_path, CHAIN, arrays))
    assert len(warned) == 1
    assert [level.scale for level in image.levels] == [TOTALS[0], *TOTALS[2:]]


def test_a_chain_goes_through_a_group_that_lacks_the_variable(tmp_path: Path) -> None:
    arrays = {f"{name}/v": shape for name, shape in SHAPES.items() if name in ("1", "3")}
    arrays |= {f"{name}/w": shape for name, shape in SHAPES.items()}
    images = {image.name: image for image in open_images(write(tmp_path, CHAIN, arrays))}
    assert [level.scale for level in images["v"].levels] == [TOTALS[1], TOTALS[3]]


def test_a_source_may_be_an_array_that_is_no_level(tmp_path: Path) -> None:
    (image,) = open_images(write(tmp_path, CHAIN[1:], SHAPES))
    assert [level.scale for level in image.levels] == TOTALS[1:]


@pytest.mark.parametrize(
    "sources",
    [
        {"2": "gone"},
        {"2": "../up"},
        {"2": 3},
        {"2": "2"},
        {"2": "3"},
        {"1": "3"},
        {"0": "3"},
        {"1": "gone", "3": "lost"},
    ],
    ids=str,
)
def test_sources_that_lead_nowhere_are_reported_once_and_sizes_taken(
    tmp_path: Path, sources: dict[str, Any]
) -> None:
    layout = [{**e, "derived_from": sources.get(e["asset"], e.get("derived_from"))} for e in CHAIN]
    with pytest.warns(LayoutWarning, match="derived_from names no asset") as warned:
        (image,) = open_images(write(tmp_path, layout, SHAPES))
    assert len(warned) == 1
    assert all(repr(name) in str(warned[0].message) for name in sources)
    assert [level.scale for level in image.levels] == TOTALS


def test_a_layout_that_is_too_long_to_be_one(tmp_path: Path) -> None:
    layout = [entry("0")] * 2001
    with pytest.warns(LayoutWarning, match="layout has 2001 entries"):
        images = open_images(write(tmp_path, layout, {"0": (8, 8)}))
    assert [image.levels[0].path for image in images] == ["0"]


def test_a_scale_beside_the_transform(tmp_path: Path) -> None:
    """The README prints its "nested group layout" so."""
    layout = [
        {"asset": "all/full", "scale": [1.0, 1.0]},
        {"asset": "all/half", "derived_from": "all/full", "scale": [2.0, 2.0]},
    ]
    (image,) = open_images(write(tmp_path, layout, {"all/full": (8, 8), "all/half": (4, 4)}))
    assert [level.scale for level in image.levels] == [(1, 1), (2, 2)]
