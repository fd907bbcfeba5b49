"""What a store holds, listed without opening it: names, order, plates, nothing read too early."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from helpers import write_n5
from servers import web_server

from napari_pyramid.catalog import Catalog, open_catalog
from napari_pyramid.errors import LayoutError
from napari_pyramid.layouts import open_images


def multiscale(axes: str, shape: tuple[int, ...], **more: Any) -> dict[str, Any]:
    """The metadata of a multiscale with one level at "0"."""
    step = {"type": "scale", "scale": [1.0] * len(shape)}
    return {
        "axes": [{"name": a, "type": "space"} for a in axes],
        "datasets": [{"path": "0", "coordinateTransformations": [step]}],
        **more,
    }


def names(catalog: Catalog) -> list[str]:
    return [entry.name for entry in catalog.entries]


def plate(store: Any, wells: list[str], n_fields: int = 2) -> Path:
    """A plate whose fields have the well's number and the field's number as pixels."""
    listed = []
    for number, path in enumerate(wells):
        row, column = path.split("/")
        for i in range(n_fields):
            values = np.full((5, 7), 10 * number + i, "u2")
            store.array(f"{path}/{i}/0", values)
            store.group(f"{path}/{i}", multiscales=[multiscale("yx", (5, 7))])
        store.group(row)
        store.group(path, well={"images": [{"path": str(i)} for i in range(n_fields)]})
        listed.append({"path": path, "rowIndex": "ABC".index(row), "columnIndex": int(column) - 1})
    rows, columns = ([{"name": n} for n in s] for s in ("ABC", "1234"))
    described = {"name": "Screen", "rows": rows, "columns": columns, "wells": listed}
    return store.group(plate=described).root


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_plate_lists_its_wells_at_their_places(new_store: Callable, zarr_format: Any) -> None:
    catalog = open_catalog(plate(new_store(zarr_format), ["B/3", "A/1", "A/2"]))
    assert catalog.name == "Screen"
    found = catalog.plate
    assert found is not None
    assert (found.rows, found.columns) == (("A", "B", "C"), ("1", "2", "3", "4"))
    assert [(w.name, w.position) for w in found.wells] == [
        ("A1", (0, 0)),
        ("A2", (0, 1)),
        ("B3", (1, 2)),
    ]


def test_plate_is_listed_from_its_own_metadata_alone(new_store: Callable) -> None:
    root = plate(new_store(3), ["A/1", "A/2", "B/1"])
    with web_server(root.parent) as server:
        catalog = open_catalog(f"{server.url}/{root.name}")
        assert len(list(catalog.entries)) == 3
        assert not [path for path in server.paths() if "/A/" in path or "/B/" in path]


def test_well_opens_stitched_and_field_by_field(new_store: Callable) -> None:
    catalog = open_catalog(plate(new_store(3), ["A/1", "A/2"]))
    well = list(catalog.entries)[1]
    (image,) = well.read(None)
    assert image.name == "A2"
    np.testing.assert_array_equal(
        image.levels[0].array[...], np.repeat([[10, 11]], 7, axis=1).repeat(5, axis=0)
    )
    assert well.fields is not None
    fields = well.fields()
    assert [f.name for f in fields] == ["A2 field 0", "A2 field 1"]
    (field,) = fields[1].read(None)
    assert (field.name, int(field.levels[0].array[0, 0])) == ("A2 field 1", 11)


def test_chosen_wells_are_stitched_beside_each_other(new_store: Callable) -> None:
    """The corner of the chosen wells is the corner of the image, not the corner of the plate."""
    catalog = open_catalog(plate(new_store(3), ["A/1", "B/2", "B/4", "C/3"], n_fields=1))
    assert catalog.plate is not None
    (image,) = catalog.plate.stitch([w for w in catalog.plate.wells if w.name[0] == "B"])
    pixels = image.levels[0].array[...]
    assert pixels.shape == (5, 21)
    np.testing.assert_array_equal(pixels[0], np.repeat([10, 0, 20], 7))


def test_rows_and_columns_without_names_are_counted(new_store: Callable) -> None:
    store = new_store(2)
    root = plate(store, ["B/3"])
    attributes = json.loads((root / ".zattrs").read_text())
    del attributes["plate"]["rows"], attributes["plate"]["columns"]
    (root / ".zattrs").write_text(json.dumps(attributes))
    found = open_catalog(root).plate
    assert found is not None
    assert (found.rows, found.columns) == (("A", "B"), ("1", "2", "3"))


@pytest.mark.parametrize("path", ["../A/1", "/etc", "", 7, None])
def test_well_outside_of_the_store_is_not_listed(new_store: Callable, path: object) -> None:
    store = new_store(3)
    plate(store, ["A/1"])
    store.group(plate={"wells": [{"path": path}, {"path": "A/1"}]})
    assert names(open_catalog(store.root)) == ["A1"]


def test_missing_well_raises_when_it_is_opened(new_store: Callable) -> None:
    store = new_store(3)
    store.group(plate={"wells": [{"path": "A/1"}]})
    (well,) = open_catalog(store.root).entries
    with pytest.raises(LayoutError, match="no well at 'A/1'"):
        well.read(None)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_series_are_listed_in_order_with_their_names(new_store: Callable, zarr_format: Any) -> None:
    store = new_store(zarr_format)
    store.group(**{"bioformats2raw.layout": 3})
    store.group("OME", series=["2", "0", "1"])
    for i in range(3):
        store.image(f"{i}", (6, 8 + i), **({"name": "last"} if i == 1 else {}))
    (store.root / "OME" / "METADATA.ome.xml").write_text(
        '<OME><Image Name="overview"/><Image Name=""/><Image Name="third"/></OME>'
    )
    entries = list(open_catalog(store.root).entries)
    assert [e.name for e in entries] == ["overview", "series 0", "third"]
    assert [e.read(None)[0].levels[0].array.shape[1] for e in entries] == [10, 8, 9]
    assert [e.read(None)[0].name for e in entries] == [i.name for i in open_images(store.root)]


def test_entries_of_a_folder_are_listed_one_after_the_other(tmp_path: Path) -> None:
    """The first entries of a folder come before its last stores are looked at."""
    for i in range(40):
        group = zarr.create_group(tmp_path / f"image_{i}.zarr")
        group.create_array("0", shape=(4, 6), dtype="u1")
        group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale("yx", (4, 6))]}
    catalog, has_more = open_catalog(tmp_path).look_ahead(5)
    assert has_more
    shutil.rmtree(tmp_path / "image_39.zarr")
    listed = names(catalog)
    assert listed[:3] == ["image_0.zarr", "image_1.zarr", "image_2.zarr"]
    assert len(listed) == 39


def test_look_ahead_loses_nothing(new_store: Callable) -> None:
    catalog, has_more = open_catalog(plate(new_store(3), ["A/1", "A/2", "B/1"])).look_ahead(2)
    assert has_more
    assert names(catalog) == ["A1", "A2", "B1"]
    assert not open_catalog(plate(new_store(3, "y.zarr"), ["A/1", "A/2"])).look_ahead(2)[1]


def test_labels_and_further_multiscales_are_listed(new_store: Callable) -> None:
    store = new_store(3)
    for path in ("a", "b"):
        store.array(path, (8, 12))
    for name in ("cells", "nuclei"):
        store.image(f"labels/{name}", (8, 12), **{"image-label": {}})
    store.group("labels", labels=["cells", "nuclei"])
    one, two = (multiscale("yx", (8, 12), name=n) for n in ("raw", "smooth"))
    one["datasets"][0]["path"], two["datasets"][0]["path"] = "a", "b"
    store.group(multiscales=[one, two])
    entries = list(open_catalog(store.root).entries)
    assert [(e.name, e.kind, e.is_alternative) for e in entries] == [
        ("raw", "image", False),
        ("smooth (2nd multiscale)", "image", True),
        ("cells", "labels", False),
        ("nuclei", "labels", False),
    ]
    second = entries[1].read(None)[0]
    assert (second.levels[0].path, [c.visible for c in second.channels]) == ("b", [])
    assert entries[3].read(None)[0].kind == "labels"


def test_image_is_placed_in_the_coordinate_system_that_is_chosen(new_store: Callable) -> None:
    """0.6: from the system "pixels" of the levels to "stage" by (3 y + 5, 4 x)."""
    store = new_store(3)
    store.array("0", (8, 12))
    axes = [{"name": n, "type": "space"} for n in "yx"]
    to_stage = {
        "type": "sequence",
        "input": {"name": "pixels"},
        "output": {"name": "stage"},
        "transformations": [
            {"type": "scale", "scale": [3, 4]},
            {"type": "translation", "translation": [5, 0]},
        ],
    }
    dataset = {
        "path": "0",
        "coordinateTransformations": [
            {
                "type": "scale",
                "scale": [1, 1],
                "input": {"path": "0"},
                "output": {"name": "pixels"},
            }
        ],
    }
    described = {
        "name": "tile",
        "coordinateSystems": [{"name": n, "axes": axes} for n in ("stage", "pixels")],
        "datasets": [dataset],
        "coordinateTransformations": [to_stage],
    }
    store.group(version="0.6", multiscales=[described])
    (entry,) = open_catalog(store.root).entries
    assert entry.systems == ("pixels", "stage")
    assert entry.read(None)[0].affine is None
    np.testing.assert_array_equal(entry.read("stage")[0].affine, [[3, 0, 5], [0, 4, 0], [0, 0, 1]])


def test_single_timepoints_of_bigdataviewer_are_alternatives(tmp_path: Path) -> None:
    root = tmp_path / "data.n5"
    for setup in (0, 1):
        for t in (0, 3):
            folder = root / f"setup{setup}" / f"timepoint{t}"
            values = np.full((6, 5, 4), 10 * setup + t, "u2")
            write_n5(folder / "s0", values, {"type": "gzip"}, block=(5, 5, 5))
            (folder / "attributes.json").write_text('{"multiScale": true}')
        attributes = {"downsamplingFactors": [[1, 1, 1]], "dataType": "uint16"}
        (root / f"setup{setup}" / "attributes.json").write_text(json.dumps(attributes))
    (root / "attributes.json").write_text('{"n5": "2.0.0"}')
    entries = list(open_catalog(root).entries)
    assert [(e.name, e.is_alternative) for e in entries] == [
        ("setup0", False),
        ("setup1", False),
        ("setup0, timepoint 0", True),
        ("setup0, timepoint 3", True),
        ("setup1, timepoint 0", True),
        ("setup1, timepoint 3", True),
    ]
    assert entries[1].read(None)[0].levels[0].array.shape == (2, 4, 5, 6)
    last = entries[5].read(None)[0].levels[0].array
    np.testing.assert_array_equal(last[...], np.full((4, 5, 6), 13))


def test_listing_agrees_with_opening(new_store: Callable) -> None:
    """Every layout without a listing of its own opens its images for it."""
    store = new_store(2)
    store.array("s0", (16, 18))
    store.array("s1", (8, 9))
    store.group(raw={})
    catalog = open_catalog(store.root)
    opened = open_images(store.root)
    assert [e.read(None)[0].levels[0].path for e in catalog.entries] == [
        i.levels[0].path for i in opened
    ]
    assert [i.name for i in catalog.images()] == [i.name for i in opened]


def test_nothing_to_open_gives_an_empty_catalog(tmp_path: Path) -> None:
    catalog = open_catalog(tmp_path)
    assert names(catalog) == []
    with pytest.raises(LayoutError, match="no image that can be read"):
        catalog.images()


def test_path_without_a_store_raises(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="cannot be opened"):
        open_catalog(tmp_path / "nothing.zarr")
