"""`export_region`, from store to store: pixels, transforms, channels, and what an error leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr

from napari_pyramid import Channel, build_pyramid, export, open_pyramid
from napari_pyramid.errors import DestinationError, SpecError
from napari_pyramid.export import export_region, plan_export
from napari_pyramid.export.region import ExportSource

CELLS = np.random.default_rng(0).integers(0, 60_000, (2, 9, 70, 83), np.uint16)
CHANNELS = (Channel("DAPI", "#0000FF", (0, 100)), Channel("GFP", "#00FF00", (5, 500)))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    build_pyramid(
        CELLS,
        tmp_path / "cells.ome.zarr",
        axes="czyx",
        scale=(1, 2, 0.5, 0.5),
        translation=(0, 10, 20, 30),
        unit="micrometer",
        chunks=(1, 4, 32, 32),
        factors=(1, 1, 2, 2),
        n_levels=3,
        channels=CHANNELS,
    )
    return tmp_path / "cells.ome.zarr"


def test_region_of_a_level_as_a_new_pyramid(store: Path, tmp_path: Path) -> None:
    path = export_region(
        store,
        tmp_path / "part.ome.zarr",
        region={"c": slice(1, 2), "z": slice(2, 7), "y": slice(11, 50), "x": slice(20, None)},
        level=1,
    )
    expected = zarr.open_array(store / "1", mode="r")[1:2, 2:7, 5:25, 10:42]
    found = open_pyramid(path)
    np.testing.assert_array_equal(found[0][...], expected)
    assert found.scale == (1, 2, 1, 1)
    # level 1 is at 20.25 and 30.25: half a pixel of level 0
    assert found.translation == (0, 14, 20.25 + 5, 30.25 + 10)
    assert found.channels == CHANNELS[1:]
    assert [a.unit for a in found.axes] == [None, *["micrometer"] * 3]
    yaozarrs.validate_zarr_store(str(path))


def test_region_as_a_tiff(store: Path, tmp_path: Path) -> None:
    seen: list[float] = []
    path = export_region(
        store,
        tmp_path / "part.ome.tif",
        region={"y": slice(11, 50)},
        progress=lambda step: seen.append(step.done / step.total),
    )
    np.testing.assert_array_equal(tifffile.imread(path), CELLS[:, :, 11:50])
    assert seen[-1] == 1


def test_labels_stay_labels(store: Path, tmp_path: Path) -> None:
    nuclei = np.random.default_rng(1).integers(0, 9, (70, 83), np.uint32)
    colors = {3: (255, 0, 0, 255)}
    build_pyramid(
        nuclei,
        store / "labels/nuclei",
        axes="yx",
        scale=(0.5, 0.5),
        unit="micrometer",
        labels=True,
        label_colors=colors,
    )
    path = export_region(
        store, tmp_path / "part.ome.zarr", image="nuclei", region={"x": slice(3, 60)}
    )
    found = open_pyramid(path)
    assert found.kind == "labels"
    assert found.image.label_colors == colors
    np.testing.assert_array_equal(found[0][...], nuclei[:, 3:60])


def test_array_is_read_block_by_block_and_refused_if_it_is_too_large(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ExportSource.of_stored(open_pyramid(store).image)
    planned = plan_export(source.cut(source.region({"z": slice(3, 4)})))
    *_, done = list(planned.steps())
    assert done.done == done.total
    monkeypatch.setattr(export, "available_memory", lambda: 1000)
    with pytest.raises(SpecError, match=r"takes .* KiB of memory, but at most 500 B may be used"):
        planned.steps()


@pytest.mark.parametrize("name", ["taken.ome.zarr", "taken.tif"])
def test_existing_destination_is_kept(store: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine.txt").write_text("mine")
    with pytest.raises(DestinationError, match=name):
        export_region(store, tmp_path / name)
    assert (tmp_path / name / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["x.ome.zarr", "x.tif"])
def test_url_is_refused_as_a_destination(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for given in (f"https://bucket/{name}?secret", f"s3://bucket/{name}"):
        with pytest.raises(DestinationError, match=f"//bucket/{name}: exports") as refusal:
            export_region(store, given)
        assert "secret" not in str(refusal.value)
    assert [p.name for p in tmp_path.iterdir()] == [store.name]


def test_stopped_pyramid_leaves_nothing(store: Path, tmp_path: Path) -> None:
    source = ExportSource.of_stored(open_pyramid(store).image)
    steps = plan_export(source.cut(source.region(None)), tmp_path / "part.ome.zarr").steps()
    next(steps)
    steps.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cells.ome.zarr"]
