"""Plans are made without reading, compiling or writing."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_pyramid._napari import _offer
from napari_pyramid._napari._candidates import Candidate
from napari_pyramid._napari._offer import suggested_destination, why_not_in_place
from napari_pyramid._napari._plan import Choice, Plan
from napari_pyramid.axes import parse_axes
from napari_pyramid.errors import SpecError
from napari_pyramid.layer_image import LayerImage


def image_of(array: object, axes: str = "zyx") -> LayerImage:
    n = len(axes)
    return LayerImage("cells", (array,), "image", parse_axes(axes, n), (1.0,) * n, (0.0,) * n)


def plan_of(image: LayerImage, choice: Choice) -> Plan:
    return Plan.of(Candidate(image), choice)


def test_rows_are_the_levels() -> None:
    plan = plan_of(
        image_of(np.zeros((20, 30, 40), np.uint16)),
        Choice("a.ome.zarr", n_levels=2, chunks=(10, 10, 10)),
    )
    assert plan.rows() == [
        ("0", "20×30×40", "46.9 KiB", "24", "10×10×10", "1×1×1"),
        ("1", "10×15×20", "5.9 KiB", "4", "10×10×10", "2×2×2"),
    ]


@pytest.mark.parametrize(
    ("scale", "unit", "asks"),
    [((30, 1, 1), None, True), ((1, 1, 1), "um", False), ((30, 0.5, 0.5), None, False)],
)
def test_size_is_asked_for_if_no_axis_of_space_has_one(
    scale: tuple[float, ...], unit: str | None, asks: bool
) -> None:
    axes = parse_axes("tyx", 3, units=["s", unit, unit])
    image = replace(image_of(np.zeros((5, 30, 40), np.uint8), "tyx"), axes=axes, scale=scale)
    assert _offer.Offer.of([Candidate(image)]).asks_for_size == asks


def test_small_image_needs_no_pyramid_and_says_so() -> None:
    plan = plan_of(image_of(np.zeros((20, 30, 40), np.uint16)), Choice("a.ome.zarr"))
    assert "Small enough" in plan.summary()


def test_pyramid_is_said_to_be_one() -> None:
    levels = (np.zeros((20, 30, 40), np.uint16), np.zeros((10, 15, 20), np.uint16))
    pyramid = replace(image_of(levels[0]), levels=levels)
    assert (
        plan_of(pyramid, Choice("a.ome.zarr", n_levels=3))
        .summary()
        .startswith("It has 2 levels already; ")
    )
    assert "on a disk or in a bucket" in why_not_in_place(Candidate(pyramid))


def test_in_place_counts_only_what_is_added(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "a.zarr")
    array = group.create_array("raw", shape=(20, 30, 40), chunks=(10, 10, 10), dtype="u2")
    plan = plan_of(image_of(array), Choice(None, n_levels=2))
    assert plan.summary().startswith("1 level to write: 5.9 KiB")
    assert sorted(p.name for p in (tmp_path / "a.zarr").iterdir()) == [
        "raw",
        "zarr.json",
    ]  # and nothing was


def test_residuals_are_counted() -> None:
    """A residual has a float32 for each of the 16-bit pixels of its level."""
    plan = plan_of(
        image_of(np.zeros((20, 30, 40), np.uint16)),
        Choice("a.ome.zarr", method="laplacian", n_levels=2, chunks=(20, 30, 40)),
    )
    n = 20 * 30 * 40
    size = 2 * n + 2 * n // 8 + 4 * n // 8
    assert plan.summary().startswith(
        f"2 levels and their residuals to write: {size / 1024:.1f} KiB before compression, at "
        "most 3 files"
    )


@pytest.mark.parametrize(
    ("choice", "why"),
    [
        (Choice(""), "where"),
        (Choice("a.ome.zarr", chunks=(8, 8)), "chunks"),
        (Choice("a.ome.zarr", method="no such method"), "no such method"),
    ],
)
def test_what_does_not_fit_is_said(choice: Choice, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        plan_of(image_of(np.zeros((20, 30, 40), np.uint16)), choice)


def test_levels_are_added_only_beside_zarr_in_a_group(tmp_path: Path) -> None:
    def reason(array: object) -> str:
        return why_not_in_place(Candidate(image_of(array)))

    group = zarr.create_group(tmp_path / "a.zarr")
    assert reason(group.create_array("raw", data=np.zeros((4, 4, 4)), chunks=(2, 2, 2))) == ""
    assert "no group" in reason(zarr.zeros((4, 4, 4)))
    assert "on a disk or in a bucket" in reason(np.zeros((4, 4, 4)))


def test_suggested_destination_is_free_and_beside_the_source(tmp_path: Path) -> None:
    (tmp_path / "raw.tif").touch()
    source = str(tmp_path / "raw.tif")
    assert suggested_destination("my/cells", source) == str(tmp_path / "my_cells.ome.zarr")
    (tmp_path / "cells.ome.zarr").mkdir()
    assert suggested_destination("cells", source) == str(tmp_path / "cells_2.ome.zarr")


@pytest.mark.parametrize(
    ("source", "folder"),
    [
        ("s3://lab/a/b.zarr", "s3://lab/a"),
        ("gs://lab/plate.zarr/A/1/0/", "gs://lab"),
        ("az://lab/2024/raw", "az://lab/2024"),
        ("s3://lab", None),
        ("https://lab/a/b.zarr", None),
    ],
)
def test_folder_around_a_store_in_a_bucket(source: str, folder: str | None) -> None:
    assert _offer._folder_in_bucket(source) == folder


@pytest.mark.parametrize("source", [None, "https://somewhere/x.zarr", "no/such/file.zarr"])
def test_suggested_destination_is_home_without_a_place_beside(source: str | None) -> None:
    assert Path(suggested_destination("a strange name", source)).parent == Path.home()


def test_planning_does_not_import_the_compiler() -> None:
    """Nothing is compiled where someone waits: numba is not even there until a build runs."""
    code = (
        "import sys, numpy as np; from napari_pyramid.layer_image import image_of_layer;"
        "from napari_pyramid._napari._candidates import Candidate;"
        "from napari_pyramid._napari._plan import Choice, Plan;"
        "image = image_of_layer((np.zeros((9, 99, 99)), {}, 'image'));"
        "Plan.of(Candidate(image), Choice('a.ome.zarr', n_levels=3)).summary();"
        "assert not [m for m in ('numba', 'napari', 'dask') if m in sys.modules]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
