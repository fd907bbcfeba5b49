"""The "multiscale" object of zarr-specs issue 50."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_pyramid.errors import LayoutWarning
from napari_pyramid.layouts import open_images


def transform(f: int) -> dict[str, dict[str, Any]]:
    return {
        "offset": {"X": 1, "Y": 2, "Z": 3},
        "scale": {"X": f, "Y": 2 * f, "Z": 5},
        "units": {"X": "nm", "Y": "nm", "Z": "um"},
    }


def write(path: Path, datasets: Any) -> Path:
    group = zarr.create_group(
        path / "x.zarr", attributes={"multiscale": {"version": "0.1", "datasets": datasets}}
    )
    for name, shape in (("base", (3, 8, 10)), ("L1", (3, 4, 5))):
        group.create_array(name, data=np.ones(shape, "uint8"))
    return path / "x.zarr"


AS_OBJECT = {"base": transform(1), "L1": transform(2)}
SPELLINGS = {
    "object": AS_OBJECT,
    "list of one-key objects": [{name: t} for name, t in AS_OBJECT.items()],
    "list with paths": [{"path": name, "transform": t} for name, t in AS_OBJECT.items()],
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_x_is_the_last_axis(tmp_path: Path, spelling: str) -> None:
    (image,) = open_images(write(tmp_path, SPELLINGS[spelling]))
    assert [level.path for level in image.levels] == ["base", "L1"]
    assert [level.scale for level in image.levels] == [(5, 2, 1), (5, 4, 2)]
    assert image.levels[0].translation == (3, 2, 1)
    assert [(axis.name, axis.unit) for axis in image.axes or ()] == [
        ("Z", "micrometer"),
        ("Y", "nanometer"),
        ("X", "nanometer"),
    ]


def test_a_transform_that_lacks_an_axis_is_reported(tmp_path: Path) -> None:
    with pytest.warns(LayoutWarning, match="transform has no scale for each"):
        (image,) = open_images(write(tmp_path, {"base": {"scale": {"X": 1}}, "L1": transform(2)}))
    assert image.levels[0].scale is None


@pytest.mark.parametrize("datasets", [None, 3, [], {}, [3]])
def test_datasets_without_sense_fall_through(tmp_path: Path, datasets: Any) -> None:
    with pytest.warns(LayoutWarning, match="multiscale has no datasets"):
        images = open_images(write(tmp_path, datasets))
    assert [[level.path for level in image.levels] for image in images] == [["L1"], ["base"]]
