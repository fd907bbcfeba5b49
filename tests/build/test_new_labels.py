"""Empty labels for an image: aligned with it, in its store or beside it, at no cost."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from helpers import digest

from napari_pyramid import (
    DestinationError,
    SpecError,
    build_pyramid,
    create_labels,
    edit_pyramid,
    open_pyramids,
)
from napari_pyramid.build.new_labels import place_for_labels


@pytest.mark.parametrize("format", ["0.5", "0.4"])
def test_labels_have_the_place_and_the_levels_of_the_image(tmp_path: Path, format: Any) -> None:
    path = tmp_path / "a.ome.zarr"
    values = np.zeros((2, 9, 50, 61), "u2")
    where = {"scale": (1, 2, 0.5, 0.5), "translation": (0, 7, 3, 4), "unit": "micrometer"}
    build_pyramid(values, path, axes="czyx", n_levels=3, format=format, **where)
    before = digest(path)
    made = create_labels(path)
    assert made.kind == "labels"
    assert [(a.name, a.unit) for a in made.axes] == [(a, "micrometer") for a in "zyx"]
    assert [v.shape for v in made.levels] == [(9, 50, 61), (9, 25, 31), (9, 13, 16)]
    assert (made.scale, made.translation) == ((2, 0.5, 0.5), (7, 3, 4))
    files = {p.name for p in (path / "labels").rglob("*") if p.is_file()}
    assert files <= {"zarr.json", ".zarray", ".zattrs", ".zgroup"}  # no chunk
    assert {k: v for k, v in digest(path).items() if not k.startswith("labels/")} == before
    # as another program finds them, by the specification
    group = zarr.open_group(path, mode="r")
    listed = dict(group["labels"].attrs)
    assert (listed["ome"]["labels"] if format == "0.5" else listed["labels"]) == ["labels"]
    described = dict(group["labels/labels"].attrs)
    described = described["ome"] if format == "0.5" else described
    assert described["image-label"]["source"] == {"image": "../../"}
    create_labels(path)
    assert [p.image.path for p in open_pyramids(path)] == ["", "labels/labels", "labels/labels-2"]


def test_a_volume_of_a_million_million_voxels_costs_kilobytes(tmp_path: Path) -> None:
    path = tmp_path / "big.ome.zarr"
    group = zarr.open_group(path, mode="w")
    datasets = []
    for k in range(7):
        shape = tuple(-(-10_000 // 2**k) for _ in range(3))
        group.create_array(str(k), shape=shape, chunks=(64, 64, 64), dtype="u2")
        scale = {"type": "scale", "scale": [2.0**k] * 3}
        datasets.append({"path": str(k), "coordinateTransformations": [scale]})
    axes = [{"name": a, "type": "space"} for a in "zyx"]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    made = create_labels(path)
    assert [v.shape for v in made.levels] == [v.shape for v in open_pyramids(path)[0].levels]
    assert sum(p.stat().st_size for p in (path / "labels").rglob("*") if p.is_file()) < 2**15
    editor = edit_pyramid(path / "labels/labels")
    editor[9000, 5000:5040, 77:120] = 3
    assert np.asarray(editor[9000, 4990:5050, 70:130]).sum() == 3 * 40 * 43
    editor.save()
    stored = zarr.open_array(path / "labels/labels/0", mode="r")
    assert stored[9000, 4990:5050, 70:130].sum() == 3 * 40 * 43
    # a plane is not outvoted by the empty planes beside it
    coarse = zarr.open_array(path / "labels/labels/2", mode="r")
    assert (coarse[2250, 1250:1260, 20:30] == 3).all()


def test_labels_of_what_cannot_hold_them_are_a_store_beside_it(tmp_path: Path) -> None:
    zarr.save_array(tmp_path / "plain.zarr", np.zeros((40, 50), "u1"))
    made = create_labels(tmp_path / "plain.zarr", dtype="int16")
    assert made.levels[0].shape == (40, 50)
    assert made.levels[0].dtype == np.int16
    assert json.loads((tmp_path / "plain-labels.ome.zarr/zarr.json").read_text())
    with pytest.raises(DestinationError, match="exists already"):
        create_labels(tmp_path / "plain.zarr", tmp_path / "plain-labels.ome.zarr")
    with pytest.raises(SpecError, match="labels are integers, not float64"):
        create_labels(tmp_path / "plain.zarr", dtype=float)
    image = open_pyramids(tmp_path / "plain.zarr")[0].image
    with pytest.raises(SpecError, match="cannot be written to: give a destination"):
        place_for_labels("https://host/a.zarr", image)
    assert sorted(os.listdir(tmp_path)) == ["plain-labels.ome.zarr", "plain.zarr"]
