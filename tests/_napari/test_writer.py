"""Saving layers, read back with plain zarr and by ome-zarr-models.

In a real window where it matters.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr
from napari.layers import Image
from ome_zarr_models import open_ome_zarr

from napari_pyramid._napari._saving import save_steps
from napari_pyramid._napari.reader import read
from napari_pyramid._napari.writer import write_layers
from napari_pyramid.errors import DestinationError, PyramidError, SourceError, SpecError
from napari_pyramid.layer_image import images_of_layers, lost_transforms


def values(shape: tuple[int, ...] = (5, 40, 30), dtype: str = "u2") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


class Broken:
    """An array that nobody can read."""

    shape, dtype, ndim = (4, 20, 30), np.dtype("u2"), 3

    def __getitem__(self, key: Any) -> np.ndarray:
        raise OSError("the disk is gone")


def write_image(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    return write_layers(path, [(data, meta, "image")])


def ome(path: Path) -> Any:
    return zarr.open_group(path, mode="r").attrs["ome"]


# ---- without a window ----------------------------------------------------------------------------


def test_image_gets_a_pyramid_and_keeps_its_meaning(
    tmp_path: Path, downsampled: Any, read_level: Any
) -> None:
    image = values((1, 601, 130))
    meta = {
        "name": "cells",
        "scale": (2.0, 0.5, 0.5),
        "translate": (1.0, 2.0, 3.0),
        "units": ("micrometer",) * 3,
        "axis_labels": ("z", "y", "x"),
        "contrast_limits": [10, 90],
        "colormap": {"name": "red", "colors": np.array([[0, 0, 0, 1], [1, 0, 0, 1]])},
        "visible": True,
        "metadata": {},
    }
    [path] = write_image(str(tmp_path / "a.ome.zarr"), image, meta)
    open_ome_zarr(path)
    [described] = ome(Path(path))["multiscales"]
    assert [a["name"] for a in described["axes"]] == ["z", "y", "x"]
    assert {a["unit"] for a in described["axes"]} == {"micrometer"}
    transforms = [d["coordinateTransformations"] for d in described["datasets"]]
    assert transforms[0] == [
        {"type": "scale", "scale": [2.0, 0.5, 0.5]},
        {"type": "translation", "translation": [1.0, 2.0, 3.0]},
    ]
    [channel] = ome(Path(path))["omero"]["channels"]
    assert (channel["label"], channel["color"]) == ("cells", "FF0000")
    assert (channel["window"]["start"], channel["window"]["end"]) == (10, 90)
    assert [d["path"] for d in described["datasets"]] == ["0", "1"]
    assert transforms[1] == [
        {"type": "scale", "scale": [2.0, 1.0, 1.0]},
        {"type": "translation", "translation": [1.0, 2.25, 3.25]},
    ]
    np.testing.assert_array_equal(read_level(Path(path) / "0"), image)
    np.testing.assert_array_equal(
        read_level(Path(path) / "1"), downsampled(image, (1, 2, 2), "mean")
    )


def test_multiscale_layer_keeps_its_levels(tmp_path: Path) -> None:
    levels = [values((8, 64, 64)), values((8, 30, 30)), values((2, 7, 7))]  # no method makes these
    [path] = write_image(str(tmp_path / "a.zarr"), levels, {"name": "a", "multiscale": True})
    stored = zarr.open_group(path)
    for k, level in enumerate(levels):
        np.testing.assert_array_equal(stored[str(k)][:], level)


def test_labels_are_labels_again(tmp_path: Path) -> None:
    ids = values((4, 40, 30), "i4")
    colors = {None: np.zeros(4), 3: np.array([1, 0, 0, 1.0])}
    meta = {
        "name": "nuclei",
        "colormap": {"color_dict": colors},
        "features": {"index": np.array([3, 5]), "area": [7.0, np.nan]},
    }
    [path] = write_layers(str(tmp_path / "n.ome.zarr"), [(ids, meta, "labels")])
    [(data, back, kind)] = read(path)
    assert (kind, back["name"]) == ("labels", "nuclei")
    np.testing.assert_array_equal(np.asarray(data), ids)
    assert back["colormap"][3] == (1, 0, 0, 1)
    assert back["features"] == {"index": [3, 5], "area": [7.0, None]}


def test_dates_of_labels_are_saved_as_text(tmp_path: Path) -> None:
    features = pd.DataFrame(
        {
            "index": [3, 5],
            "born": [pd.Timestamp("2026-11-21 17:46"), pd.NaT],
            "size": pd.array([7, pd.NA], dtype="Int64"),
        }
    )
    [path] = write_layers(
        str(tmp_path / "n.ome.zarr"),
        [(values((4, 40, 30), "u1"), {"name": "nuclei", "features": features}, "labels")],
    )
    assert ome(Path(path))["image-label"]["properties"] == [
        {"label-value": 3, "born": "2026-11-21T17:46:00", "size": 7},
        {"label-value": 5},
    ]


def test_features_that_cannot_be_stored_are_refused_before_pixels_are_read(tmp_path: Path) -> None:
    features = {"index": [3], "where": [slice(3)]}
    with pytest.raises(SpecError, match="'nuclei': column 'where'"):
        write_layers(
            str(tmp_path / "n.ome.zarr"),
            [(Broken(), {"name": "nuclei", "features": features}, "labels")],
        )
    assert list(tmp_path.iterdir()) == []


def test_channels_of_a_store_are_one_image_again(ome_zarr: Any, tmp_path: Path) -> None:
    pixels = values((2, 3, 20, 30))
    omero = {
        "channels": [
            {"label": n, "color": c}
            for n, c in zip("abc", ("FF0000", "00FF00", "0000FF"), strict=True)
        ]
    }
    layers = read(str(ome_zarr(pixels, "tcyx", omero=omero)))
    [path] = write_layers(str(tmp_path / "b.ome.zarr"), layers[::-1])
    stored = zarr.open_group(path)
    np.testing.assert_array_equal(stored["0"][:], pixels)
    assert [a["name"] for a in ome(Path(path))["multiscales"][0]["axes"]] == ["t", "c", "y", "x"]
    assert [c["label"] for c in ome(Path(path))["omero"]["channels"]] == ["a", "b", "c"]
    assert [c["color"] for c in ome(Path(path))["omero"]["channels"]] == [
        "FF0000",
        "00FF00",
        "0000FF",
    ]


def test_store_that_is_opened_twice_is_two_images(ome_zarr: Any, tmp_path: Path) -> None:
    """napari numbers the names of the second; they are not further channels of the first."""
    pixels = values((2, 3, 20, 30))
    omero = {"channels": [{"label": "DAPI"}, {"label": "GFP"}]}
    layers = read(str(ome_zarr(pixels, "czyx", omero=omero)))
    again = [(data, {**meta, "name": f"{meta['name']} [1]"}, kind) for data, meta, kind in layers]
    [path] = write_layers(str(tmp_path / "b.ome.zarr"), [*layers, *again])
    stored = zarr.open_group(path)
    np.testing.assert_array_equal(stored["0/0"][:], pixels)
    np.testing.assert_array_equal(stored["1/0"][:], pixels)
    assert [c["label"] for c in ome(Path(path) / "0")["omero"]["channels"]] == ["DAPI", "GFP"]
    assert len(ome(Path(path) / "1")["omero"]["channels"]) == 2


def test_channels_named_alike_are_one_image(tmp_path: Path) -> None:
    red, green = values((4, 20, 30)), values((4, 20, 30)) + 1
    layers = [
        (red, {"name": "cells: red"}, "image"),
        (green, {"name": "cells: green", "visible": False}, "image"),
    ]
    [path] = write_layers(str(tmp_path / "b.ome.zarr"), layers)
    np.testing.assert_array_equal(zarr.open_group(path)["0"][:], np.stack([red, green]))
    assert ome(Path(path))["multiscales"][0]["name"] == "cells"
    assert [c["active"] for c in ome(Path(path))["omero"]["channels"]] == [True, False]


@pytest.mark.parametrize(("blending", "n_images"), [("additive", 1), ("translucent_no_depth", 3)])
def test_channels_that_napari_split_are_one_image(
    tmp_path: Path, blending: str, n_images: int
) -> None:
    """napari numbers the layers of a channel axis and blends them additively.

    Files opened again are only numbered.
    """
    pixels = values((4, 3, 20, 30))
    names = ["cells", "cells [1]", "cells [2]"]
    labels = {"axis_labels": ("t", "y", "x"), "blending": blending}
    layers = [(pixels[:, i], {**labels, "name": name}, "image") for i, name in enumerate(names)]
    [path] = write_layers(str(tmp_path / "b.ome.zarr"), layers)
    if n_images == 1:
        np.testing.assert_array_equal(zarr.open_group(path)["0"][:], pixels)
        assert [m["name"] for _, m, _ in read(path)] == [f"cells: Channel {i}" for i in range(3)]
    else:
        assert [m["name"] for _, m, _ in read(path)] == names


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (("-3", "-2", "-1"), "zyx"),
        (("axis -3", "axis -2", "axis -1"), "zyx"),  # napari 0.6
        (("x", "-2", "y"), ["x", "-2", "y"]),
    ],
)
def test_labels_that_napari_fills_in_are_not_names(
    labels: tuple[str, ...], names: Any, tmp_path: Path
) -> None:
    [path] = write_image(str(tmp_path / "a.ome.zarr"), values(), {"axis_labels": labels})
    axes = ome(Path(path))["multiscales"][0]["axes"]
    assert [axis["name"] for axis in axes] == list(names)


def test_channels_that_do_not_fit_stay_apart(tmp_path: Path) -> None:
    layers = [
        (values((4, 20, 30)), {"name": "cells: red"}, "image"),
        (values((4, 20, 31)), {"name": "cells: green"}, "image"),
    ]
    [path] = write_layers(str(tmp_path / "b.ome.zarr"), layers)
    assert [m["name"] for _, m, _ in read(path)] == ["cells: red", "cells: green"]


def test_labels_go_into_the_image(tmp_path: Path) -> None:
    ids = values((4, 20, 30), "u1")
    layers = [
        (ids, {"name": "my/nuclei"}, "labels"),
        (values((4, 20, 30)), {"name": "cells"}, "image"),
    ]
    [path] = write_layers(str(tmp_path / "b.ome.zarr"), layers)
    open_ome_zarr(path)
    assert ome(Path(path) / "labels")["labels"] == ["my_nuclei"]
    np.testing.assert_array_equal(zarr.open_group(path)["labels/my_nuclei/0"][:], ids)
    assert [kind for _, _, kind in read(path)] == ["image", "labels"]


def test_unrelated_images_are_a_series(tmp_path: Path) -> None:
    a, b, ids = values((4, 20, 30)), values((64, 48)), values((64, 48), "u1")
    layers = [
        (a, {"name": "a"}, "image"),
        (b, {"name": "b"}, "image"),
        (ids, {"name": "of b"}, "labels"),
    ]
    [path] = write_layers(str(tmp_path / "b.ome.zarr"), layers)
    assert ome(Path(path))["bioformats2raw.layout"] == 3
    open_ome_zarr(f"{path}/0")
    stored = zarr.open_group(path)
    np.testing.assert_array_equal(stored["0/0"][:], a)
    np.testing.assert_array_equal(stored["1/0"][:], b)
    np.testing.assert_array_equal(stored["1/labels/of b/0"][:], ids)  # the image of the same size
    assert [m["name"] for _, m, _ in read(path)] == ["a", "b", "of b"]


def test_rgb_is_stored_as_channels(tmp_path: Path) -> None:
    pixels = values((40, 30, 3), "u1")
    [path] = write_image(str(tmp_path / "a.zarr"), pixels, {"name": "tissue", "rgb": True})
    np.testing.assert_array_equal(zarr.open_group(path)["0"][:], np.moveaxis(pixels, -1, 0))
    channels = ome(Path(path))["omero"]["channels"]
    assert [c["color"] for c in channels] == ["FF0000", "00FF00", "0000FF"]
    assert {(c["window"]["start"], c["window"]["end"]) for c in channels} == {(0, 255)}


def test_rgb_is_rgb_again(tmp_path: Path) -> None:
    pixels = values((40, 33, 4), "u1")
    [path] = write_image(str(tmp_path / "a.zarr"), pixels, {"name": "tissue", "rgb": True})
    [(data, meta, _)] = read(path)
    assert (meta["rgb"], meta["name"]) == (True, "tissue")
    np.testing.assert_array_equal(np.asarray(data), pixels)
    [again] = write_layers(str(tmp_path / "b.zarr"), read(path))
    np.testing.assert_array_equal(zarr.open_group(again)["0"][:], zarr.open_group(path)["0"][:])


@pytest.mark.parametrize(
    ("typed", "written"), [("a", "a.ome.zarr"), ("a.zarr", "a.zarr"), ("a.b", "a.b.ome.zarr")]
)
def test_suffix_is_appended_when_missing(tmp_path: Path, typed: str, written: str) -> None:
    assert write_image(str(tmp_path / typed), values(), {"name": "a"}) == [str(tmp_path / written)]
    assert (tmp_path / written).is_dir()


@pytest.mark.parametrize("typed", ["there.ome.zarr", "there"])
def test_existing_path_is_refused_and_kept(tmp_path: Path, typed: str) -> None:
    (tmp_path / "there.ome.zarr").mkdir()
    (tmp_path / "there.ome.zarr/precious").touch()
    with pytest.raises(DestinationError, match=r"there\.ome\.zarr exists"):
        write_image(str(tmp_path / typed), values(), {"name": "a"})
    assert (tmp_path / "there.ome.zarr/precious").exists()


@pytest.mark.parametrize("n_images", [1, 2])
def test_second_save_to_one_path_leaves_the_first(tmp_path: Path, n_images: int) -> None:
    """It was started when nothing was there yet."""
    images = images_of_layers(
        [(values((4, 20, 30 + i)), {"name": f"image {i}"}, "image") for i in range(n_images)]
    )
    target = tmp_path / "a.ome.zarr"
    first, second = save_steps(target, images), save_steps(target, images)
    for _ in first:
        pass
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    with pytest.raises(DestinationError, match=r"a\.ome\.zarr exists"):
        next(second)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_what_others_make_during_a_save_is_left(tmp_path: Path) -> None:
    class Busy:
        """An array; while it is read, another program takes the destination."""

        shape, dtype, ndim = (4, 20, 30), np.dtype("u2"), 3

        def __getitem__(self, key: Any) -> np.ndarray:
            (tmp_path / "a.ome.zarr").mkdir(exist_ok=True)
            (tmp_path / "a.ome.zarr/precious").touch()
            return np.zeros(self.shape, self.dtype)[key]

    with pytest.raises(DestinationError, match=r"a\.ome\.zarr exists"):
        write_image(str(tmp_path / "a.ome.zarr"), Busy(), {"name": "a"})
    assert [p.name for p in (tmp_path / "a.ome.zarr").rglob("*")] == ["precious"]


def test_failing_label_takes_its_image_with_it(tmp_path: Path) -> None:
    """The image was stored already, by this very save."""
    layers = [(values((4, 20, 30)), {"name": "a"}, "image"), (Broken(), {"name": "b"}, "labels")]
    with pytest.raises(SourceError, match="the disk is gone"):
        write_layers(str(tmp_path / "b.ome.zarr"), layers)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_stored_is_warned_of(tmp_path: Path) -> None:
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    meta = {"name": "a", "rotate": turn, "shear": np.array([0.5]), "affine": np.eye(3)}
    with pytest.warns(UserWarning, match="a: rotate and shear cannot be saved"):
        write_image(str(tmp_path / "a.zarr"), values((40, 30)), meta)


@pytest.mark.parametrize(
    ("given", "lost"),
    [
        ({}, []),
        ({"scale": (2, 3), "translate": (4, 5)}, []),
        ({"rotate": 30}, ["rotate"]),
        ({"shear": (0.5,)}, ["shear"]),
        ({"affine": np.diag([2.0, 1, 1])}, ["affine"]),
    ],
)
def test_transforms_that_are_lost_of_a_layer(given: dict[str, Any], lost: list[str]) -> None:
    layer = Image(values((40, 30)), **given)
    assert lost_transforms(layer.as_layer_data_tuple()[1]) == lost


def test_failing_save_leaves_nothing(tmp_path: Path) -> None:
    layers = [(values((4, 20, 30)), {"name": "a"}, "image"), (Broken(), {"name": "b"}, "image")]
    with pytest.raises(SourceError, match="the disk is gone"):
        write_layers(str(tmp_path / "b.ome.zarr"), layers)
    assert list(tmp_path.iterdir()) == []


# ---- in a window ---------------------------------------------------------------------------------


def test_saved_from_the_layer_list(viewer: Any, tmp_path: Path) -> None:
    image, ids = values(), values(dtype="u1")
    viewer.add_image(image, name="cells", scale=(2, 0.5, 0.5), units="um")
    viewer.add_labels(ids, name="nuclei", scale=(2, 0.5, 0.5), units="um")
    assert viewer.layers.save(str(tmp_path / "all.ome.zarr"), plugin="napari-pyramid") == [
        str(tmp_path / "all.ome.zarr")
    ]
    assert viewer.layers[1].save(str(tmp_path / "n.zarr"), plugin="napari-pyramid") == [
        str(tmp_path / "n.zarr")
    ]
    viewer.layers.clear()
    viewer.open(str(tmp_path / "all.ome.zarr"), plugin="napari-pyramid")
    assert [layer.name for layer in viewer.layers] == ["cells", "nuclei"]
    np.testing.assert_array_equal(np.asarray(viewer.layers[0].data), image)
    np.testing.assert_array_equal(np.asarray(viewer.layers[1].data), ids)
    assert [list(layer.scale) for layer in viewer.layers] == [[2, 0.5, 0.5]] * 2


def test_chosen_label_colours_come_back(viewer: Any, tmp_path: Path) -> None:
    from napari.utils.colormaps import DirectLabelColormap

    layer = viewer.add_labels(values(dtype="u1") % 4, name="nuclei")
    layer.colormap = DirectLabelColormap(color_dict={1: "red", 2: "#00ff0080", None: "gray"})
    layer.features = {"index": [1, 2], "class": ["big", "small"]}
    viewer.layers.save(str(tmp_path / "n.zarr"), plugin="napari-pyramid")
    [back] = viewer.open(str(tmp_path / "n.zarr"), plugin="napari-pyramid")
    np.testing.assert_allclose(back.colormap.color_dict[1], [1, 0, 0, 1])
    np.testing.assert_allclose(back.colormap.color_dict[2], [0, 1, 0, 0.5], atol=0.01)
    assert list(back.features["class"]) == ["big", "small"]


def test_window_answers_while_it_saves(
    viewer: Any, qtbot: Any, slow: Any, watch_answers: Any, tmp_path: Path
) -> None:
    viewer.add_image(slow, name="slow", contrast_limits=(0, 9))
    answers = watch_answers(slow)
    viewer.layers.save(str(tmp_path / "slow.ome.zarr"), plugin="napari-pyramid")
    answers.check()
    assert (tmp_path / "slow.ome.zarr").is_dir()


def test_saving_can_be_cancelled_in_the_activity_dock(
    viewer: Any, qtbot: Any, slow: Any, tmp_path: Path
) -> None:
    from napari.utils.progress import progress
    from qtpy.QtCore import QTimer

    viewer.add_image(slow, name="slow", contrast_limits=(0, 9))
    go = slow.hold()

    def cancel() -> None:
        for bar in [bar for bar in progress._all_instances if bar.n > 0]:
            bar.cancel()
            go.set()

    timer = QTimer()
    timer.timeout.connect(cancel)
    timer.start(20)
    with pytest.raises(PyramidError, match="cancelled"):
        viewer.layers.save(str(tmp_path / "slow.ome.zarr"), plugin="napari-pyramid")
    timer.stop()
    assert list(tmp_path.iterdir()) == []


def test_written_from_another_thread_without_a_window(viewer: Any, tmp_path: Path) -> None:
    thread = threading.Thread(
        target=write_image, args=(str(tmp_path / "a.zarr"), values(), {"name": "a"})
    )
    thread.start()
    thread.join()
    assert (tmp_path / "a.zarr/zarr.json").exists()
