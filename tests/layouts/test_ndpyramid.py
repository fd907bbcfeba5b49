"""ndpyramid: "multiscales" of groups, level 0 is the coarsest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_pyramid.errors import LayoutWarning
from napari_pyramid.layouts import open_images


def write(path: Path) -> Path:
    datasets = [{"path": str(k), "pixels_per_tile": 4, "crs": "EPSG:3857"} for k in range(3)]
    root = zarr.create_group(
        path, attributes={"multiscales": [{"datasets": datasets, "type": "reduce"}]}
    )
    for k in range(3):
        group, n = root.create_group(str(k)), 4 * 2**k
        for name in ("tavg", "rain"):
            group.create_array(
                name, data=np.ones((2, n, n), "f4"), dimension_names=["time", "y", "x"]
            )
        for dim in "yx":
            group.create_array(dim, data=np.linspace(0, 1, n), dimension_names=[dim])
    return path


def test_the_finest_level_comes_first_without_a_warning(tmp_path: Path) -> None:
    images = open_images(write(tmp_path))
    assert [image.name for image in images] == ["rain", "tavg"]
    assert [level.path for level in images[1].levels] == ["2/tavg", "1/tavg", "0/tavg"]
    assert images[1].levels[0].scale == (1, 1 / 15, 1 / 15)


def test_datasets_that_are_arrays_are_another_layout(tmp_path: Path) -> None:
    root = zarr.create_group(
        tmp_path, attributes={"multiscales": [{"datasets": [{"path": "0"}, {"path": "1"}]}]}
    )
    root.create_array("0", data=np.ones((8, 8)))
    root.create_array("1", data=np.ones((4, 4)))
    (image,) = open_images(tmp_path)
    assert image.layout != "ndpyramid"
    assert image.levels[0].path == "0"


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_level_without_the_variable_is_named(tmp_path: Path, missing: int) -> None:
    del zarr.open_group(write(tmp_path))[f"{missing}/tavg"]
    with pytest.warns(LayoutWarning, match=f"/{missing}: has no variable 'tavg'"):
        images = {image.name: image for image in open_images(tmp_path)}
    assert [level.path for level in images["tavg"].levels] == [
        f"{k}/tavg" for k in (2, 1, 0) if k != missing
    ]
    assert len(images["rain"].levels) == 3


@pytest.mark.parametrize("missing", [0, 2])
def test_a_level_without_any_variable_is_named(tmp_path: Path, missing: int) -> None:
    root = zarr.open_group(write(tmp_path))
    del root[f"{missing}/tavg"], root[f"{missing}/rain"]
    with pytest.warns(LayoutWarning, match=f"/{missing}: has no variable"):
        assert [len(image.levels) for image in open_images(tmp_path)] == [2, 2]
