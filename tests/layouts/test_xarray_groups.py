"""Groups as xarray writes them: places come from coordinate arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_pyramid.errors import LayoutError, LayoutWarning
from napari_pyramid.layouts import open_images


def dataset(
    group: zarr.Group,
    step: int = 1,
    *,
    coordinates: dict[str, Any] | None = None,
    name: str = "img",
) -> None:
    """A variable (z, y, x) with coordinates.

    Level `step` is the mean of blocks along y and x, so its centres are shifted.
    """
    shape = (3, 8 // step, 12 // step)
    group.create_array(name, data=np.full(shape, step, "uint16"), dimension_names=["z", "y", "x"])
    shift = (step - 1) / 2
    given = coordinates or {
        "z": 10 + 2.0 * np.arange(3),
        "y": 20 - 0.5 * (np.arange(shape[1]) * step + shift),
        "x": 0.25 * (np.arange(shape[2]) * step + shift),
    }
    for dim, values in given.items():
        group.create_array(dim, data=values, dimension_names=[dim], attributes={"units": "um"})


def test_scale_groups(tmp_path: Path) -> None:
    root = zarr.create_group(tmp_path / "image.zarr")
    for k in range(3):
        dataset(root.create_group(f"scale{k}"), 2**k)
    (image,) = open_images(tmp_path / "image.zarr")
    assert image.name == "img"
    assert [level.path for level in image.levels] == ["scale0/img", "scale1/img", "scale2/img"]
    assert [level.scale for level in image.levels] == [
        (2, -0.5, 0.25),
        (2, -1.0, 0.5),
        (2, -2.0, 1.0),
    ]
    assert image.levels[1].translation == pytest.approx((10, 19.75, 0.125))
    assert [(axis.name, axis.unit) for axis in image.axes or ()] == [
        (name, "micrometer") for name in "zyx"
    ]


def test_zarr_v2_names_axes_in_attributes(tmp_path: Path) -> None:
    root = zarr.create_group(tmp_path, zarr_format=2)
    root.create_array(
        "img", data=np.ones((4, 5), "uint8"), attributes={"_ARRAY_DIMENSIONS": ["y", "x"]}
    )
    for dim, n in (("y", 4), ("x", 5)):
        root.create_array(dim, data=np.arange(n) * 0.5, attributes={"_ARRAY_DIMENSIONS": [dim]})
    (image,) = open_images(tmp_path)
    assert image.levels[0].scale == (0.5, 0.5)
    assert [axis.name for axis in image.axes or ()] == ["y", "x"]


def test_one_dataset_shows_each_variable_and_no_coordinate(tmp_path: Path) -> None:
    root = zarr.create_group(tmp_path)
    dataset(root)
    root.create_array("mask", data=np.ones((8, 12), "uint8"), dimension_names=["y", "x"])
    root.create_array("x_bnds", data=np.ones((12, 2)), dimension_names=["x", "bnds"])
    root.create_array("area", data=np.ones((8, 12)), dimension_names=["y", "x"])
    root["mask"].attrs["coordinates"] = "area"
    assert {image.name: image.levels[0].scale for image in open_images(tmp_path)} == {
        "img": (2, -0.5, 0.25),
        "mask": (-0.5, 0.25),
    }


def test_a_time_counted_from_an_epoch_has_no_scale(tmp_path: Path) -> None:
    root = zarr.create_group(tmp_path)
    root.create_array("v", data=np.ones((2, 4, 5), "f4"), dimension_names=["time", "lat", "lon"])
    root.create_array(
        "time",
        data=np.array([18000, 18030]),
        dimension_names=["time"],
        attributes={"units": "days since 1970-01-01"},
    )
    root.create_array(
        "lat",
        data=np.linspace(60, 30, 4),
        dimension_names=["lat"],
        attributes={"units": "degrees_north"},
    )
    root.create_array(
        "lon",
        data=np.linspace(0, 8, 5),
        dimension_names=["lon"],
        attributes={"units": "degrees_east"},
    )
    (image,) = open_images(tmp_path)
    assert image.levels[0].scale == (1, -10, 2)
    assert image.levels[0].translation == (0, 60, 0)
    assert [(axis.type, axis.unit) for axis in image.axes or ()] == [
        ("time", None),
        ("space", "degree"),
        ("space", "degree"),
    ]


def test_packed_coordinates(tmp_path: Path) -> None:
    """CF 8.1: value = packed * scale_factor + add_offset."""
    root = zarr.create_group(tmp_path)
    root.create_array("v", data=np.ones((4, 5), "f4"), dimension_names=["y", "x"])
    for dim, n in (("y", 4), ("x", 5)):
        packed = {"scale_factor": 0.1, "add_offset": 7}
        root.create_array(
            dim, data=np.arange(n, dtype="int16") * 10, dimension_names=[dim], attributes=packed
        )
    (image,) = open_images(tmp_path)
    assert image.levels[0].scale == pytest.approx((1, 1))
    assert image.levels[0].translation == (7, 7)


@pytest.mark.parametrize(
    "values",
    [np.array([np.nan] * 12), np.full(12, 3.0), np.arange(7.0), np.arange(12, dtype="complex64")],
)
def test_coordinates_without_sense_count_for_nothing(tmp_path: Path, values: np.ndarray) -> None:
    root = zarr.create_group(tmp_path)
    root.create_array("v", data=np.ones((8, 12)), dimension_names=["y", "x"])
    root.create_array("y", data=np.arange(8.0), dimension_names=["y"])
    root.create_array("x", data=values, dimension_names=["x"])
    (image,) = open_images(tmp_path)
    assert image.levels[0].scale == (1, 1)


def test_a_damaged_coordinate_is_reported(tmp_path: Path) -> None:
    dataset(zarr.create_group(tmp_path))
    next((tmp_path / "z" / "c").iterdir()).write_bytes(b"no chunk")
    with pytest.warns(LayoutWarning, match="/z: coordinates cannot be read"):
        (image,) = open_images(tmp_path)
    assert image.levels[0].scale == (1, -0.5, 0.25)


def test_a_level_without_the_variable_is_reported(tmp_path: Path) -> None:
    root = zarr.create_group(tmp_path)
    for k in range(3):
        dataset(root.create_group(f"scale{k}"), 2**k, name="img" if k != 1 else "other")
    with pytest.warns(LayoutWarning, match="has no variable"):
        images = open_images(tmp_path)
    assert {image.name: len(image.levels) for image in images} == {"img": 2, "other": 1}


def scales(path: Path, zarr_format: int = 3, levels: int = 4) -> zarr.Group:
    """Groups scale0, scale1, ... of (z, y, x) in zarr v2 and v3.

    As multiscale-spatial-image 1 and 2 write them.
    """
    root = zarr.create_group(path, zarr_format=zarr_format)
    for k in range(levels):
        variable(root, f"scale{k}/img", {"z": 8, "y": 48 >> k, "x": 32 >> k})
        for dim, n in (("z", 8), ("y", 48 >> k), ("x", 32 >> k)):
            step = 1 if dim == "z" else 2**k
            variable(root, f"scale{k}/{dim}", {dim: n}, np.arange(n) * step + (step - 1) / 2)
    return root


def variable(
    root: zarr.Group,
    path: str,
    sizes: dict[str, int],
    values: np.ndarray | None = None,
    **attributes: Any,
) -> None:
    """An array with named axes, as xarray writes it in the zarr format of the group."""
    values = np.ones(tuple(sizes.values()), "uint8") if values is None else values
    if root.metadata.zarr_format == 3:
        root.create_array(
            path, data=values, dimension_names=list(sizes), attributes=attributes or None
        )
    else:
        root.create_array(
            path, data=values, attributes={"_ARRAY_DIMENSIONS": list(sizes), **attributes}
        )


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("missing", [0, 1, 3])
@pytest.mark.parametrize("what", ["img", ""], ids=["variable", "group"])
def test_a_level_that_is_missing_is_named_and_the_others_are_the_image(
    tmp_path: Path, zarr_format: int, missing: int, what: str
) -> None:
    del scales(tmp_path / "x.zarr", zarr_format)[f"scale{missing}/{what}".rstrip("/")]
    path = tmp_path / "x.zarr"
    kept = [k for k in range(4) if k != missing]
    if (missing, what) == (3, ""):  # nothing says that there was a fourth level
        (image,) = open_images(path)
    else:
        with pytest.warns(LayoutWarning, match=f"scale{missing}") as warned:
            (image,) = open_images(path)
        assert len(warned) == 1
    assert [level.path for level in image.levels] == [f"scale{k}/img" for k in kept]
    assert [level.array.shape for level in image.levels] == [(8, 48 >> k, 32 >> k) for k in kept]
    assert image.levels[0].scale == (1, 2 ** kept[0], 2 ** kept[0])


def test_one_level_that_is_left_is_one_image(tmp_path: Path) -> None:
    root = scales(tmp_path, levels=3)
    del root["scale0/img"], root["scale2/img"]
    with pytest.warns(LayoutWarning, match="has no variable 'img'"):
        (image,) = open_images(tmp_path)
    assert [level.path for level in image.levels] == ["scale1/img"]


def test_every_variable_is_an_image_of_the_levels_that_have_it(tmp_path: Path) -> None:
    root = scales(tmp_path, levels=3)
    for k in (0, 2):
        variable(root, f"scale{k}/mask", {"y": 48 >> k, "x": 32 >> k})
    with pytest.warns(LayoutWarning, match="scale1: has no variable 'mask'") as warned:
        images = open_images(tmp_path)
    assert len(warned) == 1
    assert {i.name: [level.path for level in i.levels] for i in images} == {
        "img": ["scale0/img", "scale1/img", "scale2/img"],
        "mask": ["scale0/mask", "scale2/mask"],
    }


def test_levels_listed_from_the_smallest(tmp_path: Path) -> None:
    root = zarr.create_group(tmp_path)
    for k, step in enumerate((4, 2, 1)):
        dataset(root.create_group(f"scale{k}"), step)
    (image,) = open_images(tmp_path)
    assert [level.path for level in image.levels] == ["scale2/img", "scale1/img", "scale0/img"]


def test_levels_without_coordinates_are_known_by_their_shapes(tmp_path: Path) -> None:
    root = zarr.create_group(tmp_path)
    for k in range(3):
        variable(root, f"scale{k}/img", {"y": 16 >> k, "x": 12 >> k})
    (image,) = open_images(tmp_path)
    assert [level.path for level in image.levels] == [f"scale{k}/img" for k in range(3)]


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    "attributes",
    [
        {"standard_name": "latitude"},
        {"units": "degrees_north"},
        {"axis": "Y"},
        {"_CoordinateAxisType": "Lat"},
    ],
    ids=lambda attributes: next(iter(attributes)),
)
def test_coordinates_of_a_curved_grid_are_no_images(
    tmp_path: Path, zarr_format: int, attributes: dict[str, str]
) -> None:
    """CF 5.2: two-dimensional latitude and longitude; here nobody lists them."""
    root = zarr.create_group(tmp_path, zarr_format=zarr_format)
    variable(root, "sst", {"j": 6, "i": 8})
    variable(root, "geo", {"j": 6, "i": 8}, np.ones((6, 8)), **attributes)
    variable(root, "lon", {"j": 6, "i": 8}, np.ones((6, 8)))
    variable(root, "lon_vertices", {"j": 6, "i": 8, "vertices": 4}, np.ones((6, 8, 4)))
    variable(root, "time", {"time": 2}, np.arange(2))
    assert [image.path for image in open_images(tmp_path)] == ["sst"]


@pytest.mark.parametrize("owner", ["", "v"], ids=["group", "variable"])
def test_coordinates_that_are_listed_are_no_images(tmp_path: Path, owner: str) -> None:
    """xarray lists coordinates at the variables, or at the group for those that no variable has."""
    root = zarr.create_group(tmp_path)
    for name in ("v", "a", "b", "area"):
        variable(root, name, {"j": 6, "i": 8})
    root[owner].attrs.update({"coordinates": "a b", "cell_measures": "area: area"})
    assert [image.path for image in open_images(tmp_path)] == ["v"]


def test_what_is_a_coordinate_in_one_level_is_so_in_all(tmp_path: Path) -> None:
    root = scales(tmp_path, levels=3)
    for k in range(3):
        variable(root, f"scale{k}/depth", {"y": 48 >> k, "x": 32 >> k})
    root["scale0/img"].attrs["coordinates"] = "depth"
    del root["scale1/img"]
    with pytest.warns(LayoutWarning, match="scale1: has no variable 'img'"):
        (image,) = open_images(tmp_path)
    assert image.name == "img"


def test_coordinates_alone_are_no_image(tmp_path: Path) -> None:
    root = zarr.create_group(tmp_path)
    for name in ("x_1", "x_2"):
        n = 8 // int(name[-1])
        variable(root, name, {name: n}, np.arange(n))
    with pytest.raises(LayoutError, match="there is no image"):
        open_images(tmp_path)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("prefix", ["", "level_", "L"])
def test_numbered_groups_of_one_place_are_levels(
    tmp_path: Path, zarr_format: int, prefix: str
) -> None:
    """A tree of datasets without metadata; the coarsest may come first, as in ndpyramid."""
    root = zarr.create_group(tmp_path, zarr_format=zarr_format)
    for k in range(3):
        n, step = 6 * 2**k, 4 / 2**k
        variable(root, f"{prefix}{k}/v", {"y": n, "x": n})
        for dim in "yx":
            values = 10 + step * (np.arange(n) + 0.5)
            variable(root, f"{prefix}{k}/{dim}", {dim: n}, values)
    (image,) = open_images(tmp_path)
    assert [level.path for level in image.levels] == [f"{prefix}{k}/v" for k in (2, 1, 0)]
    assert image.levels[0].scale == (1, 1)


def test_numbered_groups_of_several_places_are_images(tmp_path: Path) -> None:
    root = zarr.create_group(tmp_path)
    for k, n in enumerate((12, 9, 6)):
        variable(root, f"{k}/v", {"y": n, "x": n})
        for dim in "yx":
            variable(root, f"{k}/{dim}", {dim: n}, 100 * k + np.arange(n))
    assert [image.path for image in open_images(tmp_path)] == ["0", "1", "2"]


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("prefix", ["", "c", "t0", "plane_", "scale"])
def test_arrays_of_one_shape_are_no_levels(tmp_path: Path, zarr_format: int, prefix: str) -> None:
    """Channels, timepoints and planes side by side are separate images.

    With and without coordinates.
    """
    root = zarr.create_group(tmp_path, zarr_format=zarr_format)
    for k in range(8):
        variable(root, f"{prefix}{k}", {"y": 6, "x": 8})
    with_coordinates = zarr.create_group(tmp_path / "coords", zarr_format=zarr_format)
    for k in range(8):
        variable(with_coordinates, f"{prefix}{k}", {"y": 6, "x": 8})
    for dim, n in (("y", 6), ("x", 8)):
        variable(with_coordinates, dim, {dim: n}, np.arange(n))
    images = open_images(tmp_path)
    assert len(images) == 16
    assert all(len(image.levels) == 1 for image in images)


def test_a_tree_of_datasets(tmp_path: Path) -> None:
    """xarray's DataTree: groups below have the coordinates of those above."""
    root = zarr.create_group(tmp_path)
    dataset(root)
    variable(root, "below/mask", {"y": 8, "x": 12})
    variable(root, "below/deep/area", {"y": 8, "x": 12})
    assert [image.name for image in open_images(tmp_path)] == [
        "img",
        "below/mask",
        "below/deep/area",
    ]


def test_a_number_that_no_pyramid_reaches(tmp_path: Path) -> None:
    root = scales(tmp_path, levels=2)
    variable(root, f"scale{10**12}/img", {"z": 8, "y": 3, "x": 2})
    with pytest.warns(LayoutWarning, match="scale2, scale3, .*scale63 are missing") as warned:
        (image,) = open_images(tmp_path)
    assert (len(image.levels), len(warned)) == (3, 1)


def test_what_is_of_another_layout_is_no_part_of_a_tree(tmp_path: Path) -> None:
    root = zarr.create_group(tmp_path)
    dataset(root)
    for k in range(2):
        root.create_array(f"pyramid/{k}", data=np.ones((8 >> k, 8 >> k)))
        variable(root, f"ome/{k}", {"y": 8 >> k, "x": 8 >> k})
    root["ome"].attrs["ome"] = {"version": "0.5", "multiscales": []}
    assert [image.name for image in open_images(tmp_path)] == ["img"]
