"""A file that another plugin reads is stored alike from the viewer and from the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from npe2 import DynamicPlugin, PluginManager
from typer.testing import CliRunner

from napari_pyramid.cli import app

RNG = np.random.default_rng(0)
PLANES = RNG.integers(0, 4000, (5, 70, 45), np.uint16)
CHANNELS = RNG.integers(100, 900, (3, 70, 45), np.uint16)
COLOURS = RNG.integers(0, 255, (70, 45, 3), np.uint8)
IDS = RNG.integers(0, 6, (70, 45), np.uint8)


@contextmanager
def reader_that_gives(*layers: tuple[Any, ...]) -> Iterator[None]:
    """An installed napari plugin that reads files named *.cells."""
    with DynamicPlugin("cells") as plugin:

        @plugin.contribute.reader(filename_patterns=["*.cells"])
        def get_reader(path: object) -> Callable[[object], list[tuple[Any, ...]]]:
            return lambda path: list(layers)

        yield


def tree(root: Path) -> dict[str, bytes]:
    """The content of each file in a folder, by its path."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def stored_by_both(
    viewer: Any, folder: Path, *layers: tuple[Any, ...], image: str | None = None
) -> Path:
    """Stores what a reader gives, saved from the viewer and built by the command; they are equal.

    Returns one of the stores.
    """
    file = folder / "some.cells"
    file.touch()
    which = [] if image is None else ["--image", image]
    with reader_that_gives(*layers):
        opened = viewer.open(str(file), plugin="cells")
        viewer.layers.selection = {layer for layer in opened if image in (None, layer.name)}
        saved, built = folder / "viewer.ome.zarr", folder / "command.ome.zarr"
        viewer.layers.save(str(saved), selected=True, plugin="napari-pyramid")
        arguments = ["build", str(file), str(built), "-q", *which]
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    assert tree(saved) == tree(built)
    return built


@pytest.fixture
def both(tmp_path: Path, plugins: None) -> Callable[..., Path]:
    """`stored_by_both` with napari's model of a viewer, which needs no window."""
    return partial(stored_by_both, ViewerModel(), tmp_path)


@pytest.fixture
def plugins() -> None:
    """The writer of this package, which the window of the other tests looks up by itself."""
    PluginManager.instance().discover()


def ome(path: Path) -> Any:
    return zarr.open_group(path, mode="r").attrs["ome"]


def test_contrast_and_colour_that_the_reader_gives(both: Callable[..., Path]) -> None:
    meta = {
        "name": "nuclei",
        "contrast_limits": (10, 1234.5),
        "colormap": "magenta",
        "scale": (2, 0.5, 0.5),
        "translate": (1, 2, 3),
        "units": "um",
        "axis_labels": ("z", "y", "x"),
        "visible": False,
    }
    path = both((PLANES, meta, "image"))
    [channel] = ome(path)["omero"]["channels"]
    assert (channel["label"], channel["color"], channel["active"]) == ("nuclei", "FF00FF", False)
    assert (channel["window"]["start"], channel["window"]["end"]) == (10, 1234.5)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_nothing_but_pixels(both: Callable[..., Path], dtype: str) -> None:
    pixels = PLANES.astype(dtype)
    path = both((pixels,))
    [channel] = ome(path)["omero"]["channels"]
    low, high = (0, 255) if dtype == "uint8" else (pixels.min(), pixels.max())
    assert (channel["label"], channel["color"]) == ("some", "FFFFFF")
    assert (channel["window"]["start"], channel["window"]["end"]) == (low, high)


@pytest.mark.parametrize(
    "colormap",
    [
        "viridis",
        "bop orange",
        "#12ab34",
        {"colors": [[0, 0, 0, 1], [0.2, 0.4, 0.6, 1]], "name": "own"},
    ],
    ids=str,
)
def test_colour_maps_of_every_kind(both: Callable[..., Path], colormap: Any) -> None:
    both((PLANES, {"colormap": colormap, "contrast_limits": (0, 9)}, "image"))


@pytest.mark.parametrize(
    ("axis", "named", "lazy"),
    [(0, True, False), (1, False, False), (-1, True, True), (0, False, True)],
)
def test_channels_of_an_axis_are_one_image(
    both: Callable[..., Path], axis: int, named: bool, lazy: bool
) -> None:
    pixels = np.moveaxis(CHANNELS, 0, axis)
    array = dask.array.from_array(pixels, chunks=(30, 30, 30)) if lazy else pixels
    meta: dict[str, Any] = {"channel_axis": axis, "scale": (0.5, 0.25)}
    meta["contrast_limits"] = [(0, 100), (10, 200), (20, 300)]
    names = ["dapi", "gfp", "cy5"] if named else "cells"
    path = both((array, {**meta, "name": names}, "image"))
    stored = zarr.open_array(path / "0", mode="r")
    np.testing.assert_array_equal(stored[:], CHANNELS)
    channels = ome(path)["omero"]["channels"]
    assert [c["color"] for c in channels] == ["00FFFF", "FF00FF", "FFFF00"]
    assert [c["window"]["end"] for c in channels] == [100, 200, 300]
    if named:
        assert [c["label"] for c in channels] == names


def test_channels_of_a_zarr_array(both: Callable[..., Path], tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "in.zarr", data=CHANNELS, chunks=(1, 32, 32))
    path = both((array, {"channel_axis": 0, "contrast_limits": (0, 999)}, "image"))
    np.testing.assert_array_equal(zarr.open_array(path / "0", mode="r")[:], CHANNELS)


def test_a_window_stores_no_other(viewer: Any, tmp_path: Path) -> None:
    meta = {"channel_axis": 0, "name": ["dapi", "gfp", "cy5"]}
    stored_by_both(viewer, tmp_path, (CHANNELS, meta, "image"))


def test_levels_are_kept(both: Callable[..., Path]) -> None:
    levels = [PLANES, PLANES[:, ::2, ::2] + 7, PLANES[:, ::4, ::4] + 9]  # no method makes these
    path = both((levels, {"contrast_limits": (0, 99)}, "image"))
    for k, level in enumerate(levels):
        np.testing.assert_array_equal(zarr.open_array(path / str(k), mode="r")[:], level)


def test_levels_of_channels_are_kept(both: Callable[..., Path]) -> None:
    levels = [CHANNELS, CHANNELS[:, ::2, ::2] + 7]
    path = both((levels, {"channel_axis": 0, "contrast_limits": (0, 99)}, "image"))
    np.testing.assert_array_equal(zarr.open_array(path / "1", mode="r")[:], levels[1])


def test_colours_of_pixels_are_channels(both: Callable[..., Path]) -> None:
    path = both((COLOURS,))
    np.testing.assert_array_equal(
        zarr.open_array(path / "0", mode="r")[:], COLOURS.transpose(2, 0, 1)
    )


@pytest.mark.parametrize("key", ["features", "properties"])
def test_labels_with_colours_and_features(both: Callable[..., Path], key: str) -> None:
    table = {"index": [1, 2, 5], "area": [7, 8, None], "class": ["big", "small", "big"]}
    if key == "properties":
        table["area"] = [7, 8, 9]
    meta = {"colormap": {1: "red", 2: "#00ff0080", 5: (0, 0, 1, 1), None: "gray"}, key: table}
    path = both((IDS, meta, "labels"))
    described = ome(path)["image-label"]
    assert {c["label-value"]: c["rgba"] for c in described["colors"]} == {
        1: [255, 0, 0, 255],
        2: [0, 255, 0, 128],
        5: [0, 0, 255, 255],
    }
    assert [row["class"] for row in described["properties"]] == table["class"]


@pytest.mark.parametrize(
    "ids", [IDS.astype(np.int32), IDS > 2], ids=["integers of no type", "mask"]
)
def test_labels_are_recognised(both: Callable[..., Path], ids: np.ndarray) -> None:
    path = both((ids,) if ids.dtype != bool else (ids, {}, "labels"))
    assert "image-label" in ome(path)


def test_one_of_several_layers(both: Callable[..., Path]) -> None:
    points = (np.zeros((3, 2)), {"name": "dots"}, "points")
    other = (PLANES[0], {"name": "dots"}, "image")
    path = both(points, other, (IDS, {"name": "ids"}, "labels"), image="dots [1]")
    assert ome(path)["multiscales"][0]["name"] == "dots [1]"


def test_one_of_many_planes_decides_on_the_contrast(both: Callable[..., Path]) -> None:
    """napari looks at three planes of an array of more than ten million samples."""
    pixels = np.zeros((11, 1000, 1001), np.uint16)
    pixels[5], pixels[10, 0, 0], pixels[3] = 20, 900, 5000
    path = both((pixels,))
    [channel] = ome(path)["omero"]["channels"]
    assert (channel["window"]["start"], channel["window"]["end"]) == (0, 900)
