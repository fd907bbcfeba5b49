"""``napari-pyramid export``: regions as one writes them, files, messages and status."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from napari_pyramid.build import build_pyramid
from napari_pyramid.build.progress import Progress
from napari_pyramid.cli import app
from napari_pyramid.cli._export import parse_region
from napari_pyramid.export import Export
from napari_pyramid.pyramid import open_pyramid

CELLS = np.random.default_rng(0).integers(0, 60_000, (9, 30, 41), np.uint16)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    build_pyramid(CELLS, tmp_path / "x.ome.zarr", axes="zyx", n_levels=2, factors=(1, 2, 2))
    return tmp_path / "x.ome.zarr"


def invoke(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["export", *(str(a) for a in arguments)])
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, {}),
        ("z=10:20", {"z": slice(10, 20)}),
        ("z = 3, y=:512,x=7:", {"z": slice(3, 4), "y": slice(None, 512), "x": slice(7, None)}),
        ("x=:", {"x": slice(None, None)}),
    ],
)
def test_regions_as_one_writes_them(text: str | None, expected: dict[str, slice]) -> None:
    assert parse_region(text) == expected


@pytest.mark.parametrize("name", ["part.ome.tif", "part.ome.zarr"])
def test_region_is_written_and_described(store: Path, tmp_path: Path, name: str) -> None:
    status, out, err = invoke(store, tmp_path / name, "--region", "z=2,y=5:20", "--quiet")
    assert (status, err) == (0, "")
    expected = CELLS[2:3, 5:20]
    found = open_pyramid(tmp_path / name)[0][...]
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)
    assert "15" in out


def test_compression_of_a_tiff(store: Path, tmp_path: Path) -> None:
    assert invoke(store, tmp_path / "a.tif", "--compression", "none", "-q")[0] == 0
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages.first.compression.name == "NONE"
    status, _, err = invoke(store, tmp_path / "b.tif", "--compression", "lzw")
    assert status == 2
    assert "expected deflate, zstd or none" in " ".join(err.split())


def test_level(store: Path, tmp_path: Path) -> None:
    status, _, _ = invoke(store, tmp_path / "a.tif", "--level", 1, "-q")
    assert status == 0
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), open_pyramid(store)[1][...])


@pytest.mark.parametrize("region", ["z", "z=", "z=1-5", "z=1:5:2", "z=1,z=2", "=3", "z=a:b"])
def test_region_that_cannot_be_understood_is_wrong_usage(
    store: Path, tmp_path: Path, region: str
) -> None:
    status, _, err = invoke(store, tmp_path / "a.tif", "--region", region)
    assert status == 2
    assert "expected one range per axis" in " ".join(err.replace("│", "").split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--region", "t=3"], "there is no axis 't': the image has z, y, x"),
        (["--level", "7"], "there is no level 7: levels 0 to 1 exist"),
        (["--image", "nuclei"], "has no image 'nuclei'"),
    ],
)
def test_failure_is_one_line(
    store: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    status, out, err = invoke(store, tmp_path / "a.tif", *arguments)
    assert (status, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "a.tif").exists()


def test_taken_destination_names_the_flag(store: Path, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("mine")
    status, _, err = invoke(store, tmp_path / "a.tif")
    assert status == 1
    assert "replace what is there with --overwrite" in err
    assert invoke(store, tmp_path / "a.tif", "--overwrite", "-q")[0] == 0


def test_interrupt_removes_what_was_written(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    steps = Export.steps

    def interrupted(self: Export) -> object:
        for step in steps(self):
            assert list(tmp_path.glob(".a.tif*"))
            signal.raise_signal(signal.SIGINT)
            assert isinstance(step, Progress)
            yield step

    monkeypatch.setattr(Export, "steps", interrupted)
    status, _, err = invoke(store, tmp_path / "a.tif", "-q")
    assert status == 130
    assert "what was written is removed" in err
    assert [p.name for p in tmp_path.iterdir()] == ["x.ome.zarr"]
