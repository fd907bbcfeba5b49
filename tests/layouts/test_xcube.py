"""xcube's ".levels" directories and their links."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_pyramid.check import check_store
from napari_pyramid.errors import LayoutError, LayoutNotice, LayoutWarning
from napari_pyramid.layouts import open_images


def dataset(path: Path, step: int) -> None:
    root = zarr.create_group(path, zarr_format=2)
    for name in ("chl", "flags"):
        values = np.full((2, 8 // step, 12 // step), step, "f4")
        root.create_array(
            name, data=values, attributes={"_ARRAY_DIMENSIONS": ["time", "lat", "lon"]}
        )
    for dim, values in (
        ("lat", np.linspace(8, 1, 8 // step)),
        ("lon", np.linspace(0, 11, 12 // step)),
    ):
        root.create_array(
            dim, data=values, attributes={"_ARRAY_DIMENSIONS": [dim], "units": f"degrees_{dim}"}
        )


@pytest.fixture
def levels(tmp_path: Path) -> Path:
    """A directory with level 1 alone."""
    dataset(tmp_path / "cube.levels" / "1.zarr", 2)
    return tmp_path / "cube.levels"


def test_levels(levels: Path) -> None:
    dataset(levels / "0.zarr", 1)
    dataset(levels / "2", 4)  # xcube accepts names without the suffix
    images = open_images(levels)
    assert [image.name for image in images] == ["chl", "flags"]
    assert [level.array.shape for level in images[0].levels] == [(2, 8, 12), (2, 4, 6), (2, 2, 3)]
    assert images[0].levels[0].scale == (1, -1, 1)
    assert images[0].levels[0].translation == (0, 8, 0)


def test_a_file_of_its_own_marks_a_directory_of_any_name(levels: Path) -> None:
    dataset(levels / "0.zarr", 1)
    (levels / ".zlevels").write_text('{"version": "1.0", "num_levels": 2}')
    assert len(open_images(levels.rename(levels.with_name("cube")))[0].levels) == 2


@pytest.mark.parametrize("suffix", ["link", "lnk"])
@pytest.mark.parametrize("absolute", [True, False])
def test_links_are_followed_and_reported(levels: Path, suffix: str, absolute: bool) -> None:
    base = levels.with_name("base.zarr")
    dataset(base, 1)
    (levels / f"0.{suffix}").write_text(f"{base}\n" if absolute else "../base.zarr")
    with pytest.warns(LayoutNotice, match=rf"0.{suffix}: level is read from .*base.zarr, outside"):
        images = open_images(levels)
    assert [level.array.shape for level in images[0].levels] == [(2, 8, 12), (2, 4, 6)]
    assert images[0].levels[0].scale == (1, -1, 1)


def test_a_followed_link_is_nothing_wrong(levels: Path) -> None:
    dataset(levels.with_name("base.zarr"), 1)
    (levels / "0.link").write_text("../base.zarr")
    report = check_store(levels)
    assert report.findings == ()
    assert any("outside the opened store" in note for note in report.notes)


def test_a_link_that_stays_inside_is_silent(levels: Path) -> None:
    dataset(levels / "base.zarr", 1)
    (levels / "0.link").write_text("base.zarr")
    assert len(open_images(levels)[0].levels) == 2


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (".", "cycle"),
        ("../cube.levels", "cycle"),
        ("..", "cycle"),
        ("../other.levels", "cycle"),
        ("../nowhere.zarr", "nowhere.zarr"),
        ("/etc", "/etc is not a zarr dataset"),
        ("https://example.org/base.zarr", "leads to another host"),
        ("s3://bucket/base.zarr", "leads to another host"),
        ("", "not one path"),
        ("a\nb", "not one path"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*outside the opened store:napari_pyramid.errors.LayoutNotice")
def test_links_that_lead_nowhere_leave_the_other_levels(
    levels: Path, target: str, message: str
) -> None:
    levels.with_name("other.levels").mkdir()
    (levels / "0.link").write_text(target)
    with pytest.warns(LayoutWarning, match=f"0.link: level 0 is left out: .*{message}"):
        images = open_images(levels)
    assert [level.array.shape for level in images[0].levels] == [(2, 4, 6)]


def test_a_missing_number_is_reported(levels: Path) -> None:
    with pytest.warns(LayoutWarning, match="level 0 is missing"):
        assert len(open_images(levels)[0].levels) == 1


def test_nothing_at_all(tmp_path: Path) -> None:
    (tmp_path / "empty.levels").mkdir()
    with pytest.warns(LayoutWarning), pytest.raises(LayoutError):
        open_images(tmp_path / "empty.levels")


def test_levels_in_a_zip(levels: Path) -> None:
    dataset(levels / "0.zarr", 1)
    archive = shutil.make_archive(str(levels), "zip", levels)
    assert [len(image.levels) for image in open_images(archive)] == [2, 2]
