"""Plates and wells: every field in its place, in each level, and nothing read too early."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_pyramid.errors import LayoutWarning
from napari_pyramid.layouts import open_images

SHAPES = [(2, 6, 10), (2, 3, 5)]
VERSION = {2: "0.4", 3: "0.5"}
"""By zarr format."""
AXES = [
    {"name": "c", "type": "channel"},
    {"name": "y", "type": "space"},
    {"name": "x", "type": "space"},
]


def field(
    store: Any,
    path: str,
    seed: int,
    shapes: Sequence[tuple[int, ...]] = SHAPES,
    translation: tuple[float, float] | None = None,
) -> list[np.ndarray]:
    """A field with random pixels; returns its levels."""
    rng = np.random.default_rng(seed)
    levels = [
        store.array(f"{path}/{k}", rng.integers(1, 1000, shape, dtype=np.uint16))
        for k, shape in enumerate(shapes)
    ]
    steps = [[{"type": "scale", "scale": [1, 0.5 * 2**k, 0.5 * 2**k]}] for k in range(len(shapes))]
    if translation is not None:
        for transforms in steps:
            transforms.append({"type": "translation", "translation": [0, *translation]})
    datasets = [{"path": str(k), "coordinateTransformations": t} for k, t in enumerate(steps)]
    store.group(
        path,
        version=VERSION[store.zarr_format],
        multiscales=[{"axes": AXES, "datasets": datasets}],
        omero={"channels": [{"label": "A"}, {"label": "B"}]},
    )
    return levels


def plate(store: Any, n_fields: dict[str, int], **more: Any) -> Path:
    """A plate of rows A to B and columns 1 to 3 with the given numbers of fields per well.

    The fields are made beforehand.
    """
    rows, columns = ["A", "B"], ["1", "2", "3"]
    listed = []
    for path, count in n_fields.items():
        row, column = path.split("/")
        store.group(row)
        store.group(
            path,
            version=VERSION[store.zarr_format],
            well={"images": [{"path": str(i)} for i in range(count)]},
        )
        listed.append(
            {"path": path, "rowIndex": rows.index(row), "columnIndex": columns.index(column)}
        )
    described = {
        "rows": [{"name": r} for r in rows],
        "columns": [{"name": c} for c in columns],
        "wells": listed,
    }
    return store.group(version=VERSION[store.zarr_format], plate={**described, **more}).root


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_fields_stand_in_the_grid_of_wells(new_store: Callable, zarr_format: int) -> None:
    store = new_store(zarr_format)
    fields = {
        path: field(store, path, i) for i, path in enumerate(["A/1/0", "A/1/1", "A/1/2", "B/3/0"])
    }
    (image,) = open_images(plate(store, {"A/1": 3, "B/3": 1}, name="my plate"))
    assert (image.name, image.channel_axis) == ("my plate", 0)
    assert image.layout == f"OME-Zarr plate {VERSION[zarr_format]}"
    assert [c.name for c in image.channels] == ["A", "B"]
    for k, (height, width) in enumerate([(6, 10), (3, 5)]):
        level = image.levels[k].array
        # three fields at most: two columns and two rows of fields per well, two rows and three
        # columns of wells
        assert level.shape == (2, 2 * 2 * height, 3 * 2 * width)
        expected = np.zeros(level.shape, np.uint16)
        for path, (row, column) in {
            "A/1/0": (0, 0),
            "A/1/1": (0, 1),
            "A/1/2": (1, 0),
            "B/3/0": (2, 4),
        }.items():
            expected[
                :, row * height : (row + 1) * height, column * width : (column + 1) * width
            ] = fields[path][k]
        np.testing.assert_array_equal(level[...], expected)
    assert image.metadata["fields"]["B/3/0"] == (12, 40)


def test_wells_without_indices_stand_by_their_path(new_store: Callable) -> None:
    """0.1 to 0.3 have no rowIndex."""
    store = new_store(2)
    levels = field(store, "B/2/0", 0)
    store.group("B/2", well={"images": [{"path": "0"}]})
    (image,) = open_images(
        store.group(
            plate={
                "rows": [{"name": "A"}, {"name": "B"}],
                "columns": [{"name": "1"}, {"name": "2"}],
                "wells": [{"path": "B/2"}],
            }
        ).root
    )
    np.testing.assert_array_equal(image.levels[0].array[:, 6:, 10:], levels[0])


def test_fields_stand_where_their_translations_say(new_store: Callable) -> None:
    """In units of the scale (0.5): 5 pixels to the right and 2 down, overlapping.

    The later field is seen.
    """
    store = new_store(3)
    first, second = (
        field(store, "A/1/0", 0, translation=(100, 50)),
        field(store, "A/1/1", 1, translation=(101, 52.5)),
    )
    (image,) = open_images(plate(store, {"A/1": 2}))
    expected = np.zeros((2, 8, 15), np.uint16)
    expected[:, :6, :10] = first[0]
    expected[:, 2:8, 5:15] = second[0]
    np.testing.assert_array_equal(image.levels[0].array[...], expected)


def test_translations_too_far_apart_for_a_picture_are_not_followed(new_store: Callable) -> None:
    store = new_store(3)
    field(store, "A/1/0", 0, translation=(0, 0))
    field(store, "A/1/1", 1, translation=(0, 1e6))
    (image,) = open_images(plate(store, {"A/1": 2}))
    assert image.levels[0].array.shape == (2, 6, 20)


def test_fields_of_other_sizes_are_set_in_the_corner_of_the_largest(new_store: Callable) -> None:
    store = new_store(3)
    small, large = field(store, "A/1/0", 0, [(2, 4, 6), (2, 2, 3)]), field(store, "A/1/1", 1)
    (image,) = open_images(plate(store, {"A/1": 2}))
    level = image.levels[0].array
    assert level.shape == (2, 6, 20)
    np.testing.assert_array_equal(level[:, :4, :6], small[0])
    np.testing.assert_array_equal(level[:, :, 10:], large[0])
    assert not level[:, 4:, :10].any()


def test_acquisitions_are_images_of_their_own(new_store: Callable) -> None:
    store = new_store(3)
    fields = [field(store, f"A/1/{i}", i) for i in range(2)]
    path = plate(store, {"A/1": 2}, acquisitions=[{"id": 0, "name": "before"}, {"id": 7}])
    store.group(
        "A/1",
        version="0.5",
        well={"images": [{"path": "0", "acquisition": 0}, {"path": "1", "acquisition": 7}]},
    )
    before, after = open_images(path)
    assert (before.name, after.name) == ("x before", "x acquisition 7")
    np.testing.assert_array_equal(after.levels[0].array[...], fields[1][0])


def test_well_and_field_opened_alone(new_store: Callable) -> None:
    store = new_store(3)
    first, second = field(store, "A/1/0", 0), field(store, "A/1/1", 1)
    path = plate(store, {"A/1": 2})
    (well,) = open_images(path / "A" / "1")
    np.testing.assert_array_equal(
        well.levels[0].array[...], np.concatenate([first[0], second[0]], axis=2)
    )
    (alone,) = open_images(path / "A" / "1" / "1")
    np.testing.assert_array_equal(alone.levels[0].array[...], second[0])


@pytest.mark.parametrize(
    ("wells", "message"),
    [
        ([{"path": "A/1"}, {"path": "A/2"}], "no well at 'A/2'"),
        ([{"path": "A/1"}, {"path": "../A"}], "not a path inside"),
        ([{"path": "A/1"}, {}], "not a path inside"),
        ([{"path": "A/1"}, None], "not a path inside"),
    ],
)
def test_wells_that_are_not_there_are_left_out(
    new_store: Callable, wells: list[Any], message: str
) -> None:
    store = new_store(3)
    field(store, "A/1/0", 0)
    path = plate(store, {"A/1": 1}, wells=wells)
    with pytest.warns(LayoutWarning, match=message):
        (image,) = open_images(path)
    assert image.levels[0].array.shape == (2, 6, 10)


def test_fields_that_do_not_fit_are_left_out(new_store: Callable) -> None:
    store = new_store(3)
    field(store, "A/1/0", 0)
    store.array("A/1/1/0", np.zeros((2, 6, 10), np.float32))
    store.group("A/1/1", version="0.5", multiscales=[{"axes": AXES, "datasets": [{"path": "0"}]}])
    path = plate(store, {"A/1": 2})
    with pytest.warns(LayoutWarning, match="A/1/1 is left out"):
        (image,) = open_images(path)
    assert image.levels[0].array.shape == (2, 6, 10)


def test_missing_level_of_a_field_is_reported_when_it_is_looked_at(new_store: Callable) -> None:
    store = new_store(3)
    first = field(store, "A/1/0", 0)
    field(store, "A/1/1", 1, SHAPES[:1])
    (image,) = open_images(plate(store, {"A/1": 2}))
    with pytest.warns(LayoutWarning, match="A/1/1: level 1 is missing"):
        coarse = image.levels[1].array[...]
    np.testing.assert_array_equal(coarse[:, :, :5], first[1])
    assert not coarse[:, :, 5:].any()


def test_plate_goes_before_the_bioformats2raw_layout(new_store: Callable) -> None:
    store = new_store(2)
    field(store, "A/1/0", 0)
    store.group("A/1", well={"images": [{"path": "0"}]})
    path = store.group(
        plate={"rows": [{"name": "A"}], "columns": [{"name": "1"}], "wells": [{"path": "A/1"}]},
        **{"bioformats2raw.layout": 3},
    ).root
    (image,) = open_images(path)
    assert image.layout.startswith("OME-Zarr plate")


@pytest.mark.parametrize("bad", ["x", [], {"wells": "x"}, {"wells": []}, {}])
def test_plate_that_is_none_leaves_its_fields(new_store: Callable, bad: Any) -> None:
    store = new_store(2)
    field(store, "A/1/0", 0)
    store.group("A")
    store.group("A/1")
    with pytest.warns(LayoutWarning, match="plate"):
        (image,) = open_images(store.group(plate=bad).root)
    assert image.path == "A/1/0"


def test_labels_of_fields_are_stitched_like_the_fields(new_store: Callable) -> None:
    """The second field has none: its place stays empty."""
    store = new_store(3)
    for i, path in enumerate(["A/1/0", "A/1/1", "A/2/0"]):
        field(store, path, i)
    values = {}
    for path in ("A/1/0", "A/2/0"):
        store.group(f"{path}/labels", labels=["nuclei"]).image(
            f"{path}/labels/nuclei", (6, 10), (3, 5), **{"image-label": {}}
        )
        values[path] = np.arange(60, dtype=np.uint16).reshape(6, 10)
    image, labels = open_images(plate(store, {"A/1": 2, "A/2": 1}, name="my plate"))
    assert (labels.kind, labels.name) == ("labels", "my plate nuclei")
    assert labels.levels[0].array.shape == image.levels[0].array.shape[1:] == (6, 40)
    expected = np.zeros((6, 40), np.uint16)
    expected[:, :10], expected[:, 20:30] = values["A/1/0"], values["A/2/0"]
    np.testing.assert_array_equal(labels.levels[0].array[...], expected)
    well_image, well_labels = open_images(store.root / "A/1")
    assert well_labels.levels[1].array.shape == well_image.levels[1].array.shape[1:]


@pytest.mark.parametrize(
    "datasets", [[{"path": 0}, {"path": 1}], ["0", "1"]], ids=["numbers", "strings"]
)
def test_paths_of_levels_are_read_as_those_of_an_image_are(
    new_store: Callable, datasets: list[Any]
) -> None:
    store = new_store(3)
    levels = field(store, "A/1/0", 0)
    store.group("A/1/0", version="0.5", multiscales=[{"axes": AXES, "datasets": datasets}])
    path = plate(store, {"A/1": 1})
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", ".*the path of a dataset is the number", LayoutWarning
        )  # of the numbers among the cases
        (image,) = open_images(path)
    for level, expected in zip(image.levels, levels, strict=True):
        np.testing.assert_array_equal(level.array[...], expected)


def test_without_any_field_that_fits_there_is_no_plate(new_store: Callable) -> None:
    """Fields are placed by their first multiscale, of which no level is there.

    The field alone shows the second.
    """
    store = new_store(3)
    field(store, "A/1/0", 0)
    store.group(
        "A/1/0",
        version="0.5",
        multiscales=[{"axes": AXES, "datasets": [{"path": path}]} for path in ("gone", "0")],
    )
    path = plate(store, {"A/1": 1})
    with pytest.warns(LayoutWarning, match="is left out|no field of the"):
        (image,) = open_images(path)
    assert image.path == "A/1/0"


def test_mosaic_begins_where_its_outermost_fields_do(new_store: Callable) -> None:
    """The first field is at (100, 55), the second begins further up and to the left.

    Labels go with their image.
    """
    store = new_store(3)
    first, _ = (
        field(store, "A/1/0", 0, translation=(100, 55)),
        field(store, "A/1/1", 1, translation=(98, 50)),
    )
    store.group("A/1/0/labels", labels=["nuclei"]).image(
        "A/1/0/labels/nuclei", (6, 10), **{"image-label": {}}
    )
    transforms = [
        {"type": "scale", "scale": [0.5, 0.5]},
        {"type": "translation", "translation": [100, 55]},
    ]
    described = [
        {"axes": AXES[1:], "datasets": [{"path": "0", "coordinateTransformations": transforms}]}
    ]
    store.group("A/1/0/labels/nuclei", version="0.5", multiscales=described, **{"image-label": {}})
    image, labels = open_images(plate(store, {"A/1": 2}))
    np.testing.assert_array_equal(image.levels[0].array[:, 4:, 10:], first[0])
    assert [level.translation for level in image.levels] == [(0, 98, 50)] * 2
    assert labels.levels[0].translation == (98, 50)


def test_longest_field_gives_the_length_of_other_axes(new_store: Callable) -> None:
    """One channel in the first field, three in the second.

    Nothing is left out, and every channel has its description.
    """
    store = new_store(3)
    one, three = (
        field(store, "A/1/0", 0, [(1, 6, 10), (1, 3, 5)]),
        field(store, "A/1/1", 1, [(3, 6, 10), (3, 3, 5)]),
    )
    axes = [{"name": "c", "type": "channel"}, *AXES[1:]]
    multiscales = [{"axes": axes, "datasets": [{"path": "0"}, {"path": "1"}]}]
    store.group(
        "A/1/0", version="0.5", multiscales=multiscales, omero={"channels": [{"label": "A"}]}
    )
    (image,) = open_images(plate(store, {"A/1": 2}))
    for level, a, b in zip(image.levels, one, three, strict=True):
        expected = np.zeros((3, a.shape[1], 2 * a.shape[2]), np.uint16)
        expected[:1, :, : a.shape[2]], expected[:, :, a.shape[2] :] = a, b
        np.testing.assert_array_equal(level.array[...], expected)
    assert [channel.name for channel in image.channels] == ["A", None, None]


def _damage(level: Path) -> None:
    for file in level.rglob("*"):
        if file.is_file() and file.name != "zarr.json":
            file.write_bytes(b"")


def test_damaged_field_leaves_the_others_of_a_coarse_level(new_store: Callable) -> None:
    """In threads, too, which know nothing of who collects warnings elsewhere.

    Each field is reported once.
    """
    store = new_store(3)
    first, _ = field(store, "A/1/0", 0), field(store, "A/1/1", 1)
    (image,) = open_images(plate(store, {"A/1": 2}))
    _damage(store.root / "A/1/1/1")
    coarse = image.levels[1].array
    with (
        pytest.warns(LayoutWarning, match="A/1/1: level 1 cannot be read") as warned,
        ThreadPoolExecutor(1) as threads,
    ):
        results = [threads.submit(coarse.__getitem__, ...).result() for _ in range(3)]
    assert len(warned) == 1
    for values in results:
        np.testing.assert_array_equal(values[:, :, :5], first[1])
        assert not values[:, :, 5:].any()


def test_damaged_field_is_an_error_in_the_largest_level(new_store: Callable) -> None:
    """Pyramids are built from it: a hole must not look like background."""
    store = new_store(3)
    field(store, "A/1/0", 0)
    (image,) = open_images(plate(store, {"A/1": 1}))
    _damage(store.root / "A/1/0/0")
    with pytest.raises(RuntimeError, match="Zstd"):
        image.levels[0].array[...]


def test_missing_level_of_a_field_is_reported_once(new_store: Callable) -> None:
    store = new_store(3)
    field(store, "A/1/0", 0)
    field(store, "A/1/1", 1, SHAPES[:1])
    (image,) = open_images(plate(store, {"A/1": 2}))
    with pytest.warns(LayoutWarning, match="A/1/1: level 1 is missing") as warned:
        assert len([image.levels[1].array[...] for _ in range(3)]) == 3
    assert len(warned) == 1


def test_labels_that_only_later_fields_have_are_reported(new_store: Callable) -> None:
    store = new_store(3)
    for i in range(2):
        field(store, f"A/1/{i}", i)
        names = ["nuclei", "cells"][: i + 1]
        store.group(f"A/1/{i}/labels", labels=names)
        for name in names:
            store.image(f"A/1/{i}/labels/{name}", (6, 10), (3, 5), **{"image-label": {}})
    path = plate(store, {"A/1": 2})
    with pytest.warns(LayoutWarning, match="A/1/1/labels: 'cells' is left out") as warned:
        _, labels = open_images(path)
    assert (len(warned), labels.name) == (1, "x nuclei")
