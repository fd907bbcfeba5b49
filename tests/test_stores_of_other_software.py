"""Stores written by other people's software: each opens as its writer was asked to write it.

The table repeats what scripts/make_test_data.py passed to the writers; tests/data/README.md says
which they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from napari_pyramid import open_pyramids
from napari_pyramid.image import Channel

DATA = Path(__file__).parent / "data"
UM = "micrometer"
COLOURED = (
    Channel("DAPI", "#0000FF", (5, 250)),
    Channel("GFP", "#00FF00", (5, 250), visible=False),
)


@dataclass(frozen=True)
class Written:
    """One image as its writer was given it.

    A store that says nothing of scale and translation has ones and zeros.
    """

    name: str
    axes: str
    """First letter of each axis's name."""
    dtype: str
    shapes: list[tuple[int, ...]]
    scale: tuple[float, ...]
    translation: tuple[float, ...]
    units: tuple[str | None, ...]
    channels: tuple[Channel, ...] = ()
    kind: str = "image"
    divisor: int = 1
    """Labels are the running number divided by it."""

    @property
    def pixels(self) -> np.ndarray:
        shape = self.shapes[0]
        return (np.arange(np.prod(shape)).reshape(shape) // self.divisor).astype(self.dtype)


def unplaced(shapes: list[tuple[int, ...]], axes: str, dtype: str) -> Written:
    """An image of the versions that knew neither scale nor unit."""
    n = len(axes)
    return Written("embryo", axes, dtype, shapes, (1,) * n, (0,) * n, (None,) * n)


STORES = {
    "ome-zarr_v0.1.zarr": [unplaced([(1, 2, 2, 5, 7), (1, 2, 2, 3, 4)], "tczyx", "uint16")],
    "ome-zarr_v0.2.zarr": [unplaced([(1, 2, 2, 5, 7), (1, 2, 2, 3, 4)], "tczyx", "uint16")],
    "ome-zarr_v0.3.zarr": [unplaced([(2, 9, 10), (2, 5, 5)], "cyx", "uint8")],
    "ome-zarr_v0.4.ome.zarr": [
        Written(
            "embryo",
            "czyx",
            "uint16",
            [(2, 2, 5, 7), (2, 2, 3, 4)],
            scale=(1, 2, 0.5, 0.25),
            translation=(0, 10, -3, 0.5),
            units=(None, UM, UM, UM),
            channels=COLOURED,
        ),
        Written(
            "cells",
            "zyx",
            "int32",
            [(2, 5, 7), (2, 3, 4)],
            (2, 0.5, 0.25),
            (10, -3, 0.5),
            (UM, UM, UM),
            kind="labels",
            divisor=30,
        ),
    ],
    "ome-zarr_v0.5.ome.zarr": [
        Written(
            "embryo",
            "yx",
            "float32",
            [(9, 10), (5, 5)],
            (325, 162.5),
            (50, -20),
            ("nanometer",) * 2,
        ),
        Written(
            "nuclei",
            "yx",
            "uint8",
            [(9, 10), (5, 5)],
            (325, 162.5),
            (50, -20),
            ("nanometer",) * 2,
            kind="labels",
            divisor=30,
        ),
    ],
    "ngff-zarr_v0.5.ozx": [
        Written(
            "embryo",
            "zyx",
            "uint16",
            [(2, 8, 10), (2, 4, 5)],
            (2, 0.5, 0.25),
            (10, -3, 0.5),
            (UM,) * 3,
        )
    ],
    "ngff-zarr_v0.6.ome.zarr": [
        Written(
            "embryo",
            "zyx",
            "uint16",
            [(2, 8, 10), (2, 4, 5)],
            (2, 0.5, 0.25),
            (10, -3, 0.5),
            (UM,) * 3,
        )
    ],
    "bioio_v0.5.ome.zarr": [
        Written(
            "embryo",
            "tczyx",
            "uint16",
            [(2, 2, 2, 5, 7), (2, 2, 2, 3, 4)],
            scale=(30, 1, 2, 0.5, 0.25),
            translation=(0, 0, 0, 0, 0),
            units=("second", None, UM, UM, UM),
            channels=(COLOURED[0], Channel("GFP", "#00FF00", (10, 99), visible=False)),
        )
    ],
    "ome-writers_v0.5.ome.zarr": [
        Written(
            "ome-writers_v0.5",  # the store's, as its metadata has none
            "tcyx",
            "uint16",
            [(3, 2, 9, 10)],
            scale=(30, 1, 0.5, 0.25),
            translation=(0, 0, 0, 0),
            units=("second", None, UM, UM),
            channels=(
                Channel("DAPI", "#0000FF", (0, 65535)),
                Channel("GFP", "#00FF00", (0, 65535)),
            ),  # the window is uint16's
        )
    ],
    "yaozarrs_bioformats2raw.zarr": [
        Written("overview", "yx", "uint16", [(4, 5), (2, 3)], (4, 2), (0, 0), (UM, UM)),
        Written("detail", "yx", "uint16", [(9, 10), (5, 5)], (0.5, 0.25), (0, 0), (UM, UM)),
    ],
    "tifffile.ome.tif": [
        Written(
            "tifffile",  # the file's, as it has one image
            "cyx",
            "uint16",
            [(2, 9, 10), (2, 5, 5)],
            scale=(1, 0.5, 0.25),
            translation=(0, 0, 0),
            units=(None, UM, UM),
            channels=(Channel("DAPI"), Channel("GFP")),
        )
    ],
    "tensorstore.n5": [
        Written(
            "tensorstore",
            "zyx",
            "uint16",
            [(2, 9, 10), (2, 5, 5)],
            (2, 0.5, 0.25),
            (0, 0, 0),
            (UM,) * 3,
        )
    ],
    # pybdv drops the odd row
    "pybdv.n5": [
        Written(
            "DAPI", "zyx", "uint16", [(2, 9, 10), (2, 4, 5)], (2, 0.5, 0.25), (0, 0, 0), (UM,) * 3
        )
    ],
    "ndpyramid.zarr": [
        Written(
            "temperature",
            "tyx",
            "float32",
            [(2, 8, 12), (2, 4, 6), (2, 2, 3)],
            scale=(1, -0.5, 0.25),
            translation=(0, 50, -3),
            units=(None, "meter", "meter"),
        )
    ],
}
TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}


@pytest.mark.parametrize("store", STORES)
def test_opens_as_it_was_written(store: str) -> None:
    pyramids = open_pyramids(DATA / store)
    assert [pyramid.name for pyramid in pyramids] == [written.name for written in STORES[store]]
    for pyramid, written in zip(pyramids, STORES[store], strict=True):
        assert pyramid.kind == written.kind
        assert [level.shape for level in pyramid] == written.shapes
        assert {level.dtype for level in pyramid} == {np.dtype(written.dtype)}
        assert [axis.name[0] for axis in pyramid.axes] == list(written.axes)
        assert [axis.type for axis in pyramid.axes] == [TYPES[letter] for letter in written.axes]
        assert tuple(axis.unit for axis in pyramid.axes) == written.units
        assert pyramid.scale == pytest.approx(written.scale)
        assert pyramid.translation == pytest.approx(written.translation)
        assert pyramid.channels == written.channels
        np.testing.assert_array_equal(pyramid[0][...], written.pixels)


def test_every_store_is_in_the_table() -> None:
    assert {path.name for path in DATA.iterdir()} == {*STORES, "README.md", "pybdv.xml"}
