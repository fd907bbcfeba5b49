"""The command line: what is printed where, and exit status 0, 1, 2 and 130."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
import zarr
from helpers import plain_mean
from npe2 import DynamicPlugin
from typer.testing import CliRunner

from napari_pyramid.build import Progress, plan_build
from napari_pyramid.cli import app
from napari_pyramid.cli._build import run
from napari_pyramid.cli._options import Recipe
from napari_pyramid.downsample import METHODS
from napari_pyramid.storage import stores


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A .npy file of odd sizes."""
    path = tmp_path / "volume.npy"
    np.save(path, np.random.default_rng(0).integers(0, 60_000, (7, 30, 41), np.uint16))
    return path


def invoke(*arguments: object) -> tuple[int, str, str]:
    """Exit status, stdout, stderr."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.stdout, result.stderr


# ---- help and usage ------------------------------------------------------------------------------


def test_help_names_every_command() -> None:
    status, out, _ = invoke("--help")
    assert status == 0
    for command in ("plan", "build", "info", "check", "export", "serve", "demo"):
        assert command in out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, napari_pyramid.cli; print([m for m in ('numpy', 'zarr', 'numba', 'napari', "
        "'dask', 'qtpy') if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["frobnicate"], id="unknown command"),
        pytest.param(["plan"], id="no source"),
        pytest.param(["build", "a.npy"], id="neither destination nor in place"),
        pytest.param(["build", "a.npy", "b.zarr", "--in-place"], id="destination and in place"),
        pytest.param(["plan", "a.npy", "--scale", "1,x"], id="a scale that is no number"),
        pytest.param(["plan", "a.npy", "--factors", "2,1.5"], id="a factor that is no integer"),
        pytest.param(["plan", "a.npy", "--memory", "lots"], id="memory that is no size"),
        pytest.param(["plan", "a.npy", "--levels", "0"], id="no levels"),
        pytest.param(["plan", "a.npy", "--format", "0.3"], id="a format that is not written"),
        pytest.param(
            ["plan", "a.npy", "--in-place", "--format", "0.4"], id="a format for a plan in place"
        ),
        pytest.param(["build", "a.npy", "--in-place", "--format", "0.5"], id="a format in place"),
    ],
)
def test_usage_errors_exit_with_2(arguments: list[str], volume: Path) -> None:
    status, out, err = invoke(*[str(volume) if a == "a.npy" else a for a in arguments])
    assert (status, out) == (2, "")
    assert "Error" in err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1000", 1000),
        ("2GB", 2 * 10**9),
        ("1.5GiB", 3 * 2**29),
        ("500 mb", 5 * 10**8),
        ("4k", 4000),
        ("8Ki", 8192),
    ],
)
def test_memory_is_read_in_decimal_and_binary_units(text: str, expected: int) -> None:
    assert Recipe(memory=text).build_options()["memory_limit"] == expected


@pytest.mark.parametrize("command", ["plan", "build"])
def test_help_names_every_method(command: str) -> None:
    status, out, _ = invoke(command, "--help")
    assert status == 0
    assert set(METHODS) <= set(re.findall(r"\w+", out.split("--method")[1].split("--factors")[0]))


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("plan", ["SOURCE"]),
        ("build", ["SOURCE", "DESTINATION"]),
        ("info", ["PATH"]),
        ("check", ["PATH"]),
        ("export", ["PATH", "DESTINATION"]),
        ("serve", ["PATH"]),
        ("demo", ["DESTINATION"]),
    ],
)
def test_help_names_the_arguments_as_the_pages_do(command: str, names: list[str]) -> None:
    page = Path(__file__).parents[2] / "docs" / "command-line.md"
    (documented,) = re.findall(
        rf"(?m)^    napari-pyramid {command} .*", page.read_text(encoding="utf-8")
    )
    assert re.findall(r"\b(?:SOURCE|PATH|DESTINATION)\b", documented) == names
    _, help_text, _ = invoke(command, "--help")
    usage = help_text[: help_text.index("Arguments")]
    assert all(name in usage for name in names)


def test_recipe_gives_the_engine_only_what_was_said() -> None:
    assert Recipe().spec_options() == {}
    said = Recipe(
        axes="zyx", scale="2,0.5,0.5", factors="1,2,2", shards="none", unit="um,,um"
    ).spec_options()
    assert said == {
        "axes": "zyx",
        "scale": (2.0, 0.5, 0.5),
        "factors": (1, 2, 2),
        "shards": None,
        "unit": ["um", None, "um"],
    }


def test_name_in_place_is_a_further_series() -> None:
    assert Recipe(name="max", in_place=True).build_options()["series"] == "max"
    assert Recipe(name="max").build_options()["name"] == "max"


# ---- failures ------------------------------------------------------------------------------------


def assert_one_clear_line(result: tuple[int, str, str], *words: str) -> None:
    status, out, err = result
    assert (status, out) == (1, "")
    assert len(err.strip().splitlines()) == 1, err
    assert err.startswith("napari-pyramid: ")
    for word in words:
        assert word in err


@pytest.mark.parametrize("command", ["plan", "info", "check"])
def test_a_missing_path_is_one_line(command: str, tmp_path: Path) -> None:
    assert_one_clear_line(invoke(command, tmp_path / "nothing.zarr"), "nothing.zarr")


def test_a_wrong_number_of_axes_is_one_line(volume: Path) -> None:
    assert_one_clear_line(invoke("plan", volume, "--axes", "yx"), "volume.npy", "2 axes", "3")


def test_a_source_that_fails_half_way_is_named_with_its_region(tmp_path: Path) -> None:
    array = zarr.create_group(tmp_path / "bad.zarr").create_array(
        "raw", shape=(8, 8, 8), chunks=(4, 4, 4), dtype="u2"
    )
    array[:] = 7
    (tmp_path / "bad.zarr/raw/c/1/0/1").write_bytes(b"rubbish")
    before = {
        path: path.read_bytes() for path in (tmp_path / "bad.zarr").rglob("*") if path.is_file()
    }
    assert_one_clear_line(
        invoke("build", tmp_path / "bad.zarr", "--in-place", "--levels", "2", "-q"),
        "bad.zarr",
        "region [",
        "source",
    )
    assert {
        path: path.read_bytes() for path in (tmp_path / "bad.zarr").rglob("*") if path.is_file()
    } == before


def test_a_finished_destination_needs_overwrite(volume: Path, tmp_path: Path) -> None:
    destination = tmp_path / "x.ome.zarr"
    assert invoke("build", volume, destination, "-q")[0] == 0
    assert_one_clear_line(invoke("build", volume, destination, "-q"), "x.ome.zarr", "--overwrite")
    assert invoke("build", volume, destination, "-q", "--overwrite")[0] == 0


def test_a_broken_npy_is_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.npy"
    broken.write_bytes(b"not numpy")
    assert_one_clear_line(invoke("plan", broken), "broken.npy")


def test_an_unexpected_failure_shows_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str, **_: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr("napari_pyramid.info.describe", fail)
    assert_one_clear_line(
        invoke("info", "x"), "ZeroDivisionError: by nothing", "NAPARI_PYRAMID_DEBUG"
    )
    monkeypatch.setenv("NAPARI_PYRAMID_DEBUG", "1")
    assert isinstance(CliRunner().invoke(app, ["info", "x"]).exception, ZeroDivisionError)


# ---- plan and build ------------------------------------------------------------------------------


def test_plan_writes_nothing(volume: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    status, out, _ = invoke("plan", volume, "--factors", "1,2,2", "--levels", "2")
    assert status == 0
    assert "7 x 15 x 21" in out
    assert sorted(tmp_path.rglob("*")) == before


def test_plan_as_json(volume: Path) -> None:
    status, out, _ = invoke(
        "plan",
        volume,
        "--factors",
        "1,2,2",
        "--levels",
        "3",
        "--scale",
        "2,0.5,0.5",
        "--unit",
        "um",
        "--chunks",
        "4,16,16",
        "--json",
    )
    assert status == 0
    plan = json.loads(out)
    assert [level["shape"] for level in plan["levels"]] == [[7, 30, 41], [7, 15, 21], [7, 8, 11]]
    assert [level["scale"] for level in plan["levels"]] == [[2, 0.5, 0.5], [2, 1, 1], [2, 2, 2]]
    assert [level["translation"] for level in plan["levels"]] == [
        [0, 0, 0],
        [0, 0.25, 0.25],
        [0, 0.75, 0.75],
    ]
    assert plan["n_files"] == 2 * (2 * 3 + 1 * 2 + 1)
    assert {axis["unit"] for axis in plan["axes"]} == {"micrometer"}
    assert plan["peak_memory"] > 0


def test_build_writes_what_plan_said(volume: Path, tmp_path: Path) -> None:
    recipe = ["--factors", "1,2,2", "--levels", "3", "--scale", "2,0.5,0.5", "--chunks", "4,16,16"]
    planned = json.loads(invoke("plan", volume, *recipe, "--json")[1])
    status, out, err = invoke(
        "build", volume, tmp_path / "x.ome.zarr", *recipe, "--json", "--quiet"
    )
    assert (status, err) == (0, "")
    [image] = json.loads(out)["images"]
    for key in ("path", "shape", "chunks", "shards", "scale", "translation", "dtype", "nbytes"):
        found = [
            level[key] or [0.0] * 3 if key == "translation" else level[key]
            for level in image["levels"]
        ]
        assert found == [level[key] for level in planned["levels"]], key
    assert json.loads(invoke("info", tmp_path / "x.ome.zarr", "--json")[1])["images"] == [image]


def test_built_pixels_are_the_means_of_the_level_above(volume: Path, tmp_path: Path) -> None:
    assert (
        invoke("build", volume, tmp_path / "x.ome.zarr", "--factors", "1,2,2", "--levels", "2")[0]
        == 0
    )
    group = zarr.open_group(tmp_path / "x.ome.zarr", mode="r")
    source = np.load(volume)
    np.testing.assert_array_equal(group["0"][:], source)
    np.testing.assert_array_equal(group["1"][:], plain_mean(source, (1, 2, 2)))


def test_progress_goes_to_stderr(volume: Path, tmp_path: Path) -> None:
    _, out, err = invoke("build", volume, tmp_path / "x.ome.zarr", "--json")
    json.loads(out)
    assert "regions" in err
    assert invoke("build", volume, tmp_path / "y.ome.zarr", "--quiet")[2] == ""


def test_build_in_place_leaves_level_0(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "plate.zarr")
    data = np.arange(40 * 50, dtype=np.uint16).reshape(40, 50)
    group.create_array("0", data=data, chunks=(16, 16))
    chunk = tmp_path / "plate.zarr" / "0" / "c" / "0" / "0"
    before = chunk.stat().st_mtime_ns, chunk.read_bytes()
    assert invoke("build", tmp_path / "plate.zarr", "--in-place", "--levels", "2", "-q")[0] == 0
    assert (chunk.stat().st_mtime_ns, chunk.read_bytes()) == before
    np.testing.assert_array_equal(
        zarr.open_array(tmp_path / "plate.zarr" / "1", mode="r")[:], plain_mean(data, (2, 2))
    )


def test_what_was_built_in_place_is_printed_with_all_levels(tmp_path: Path) -> None:
    """Also where the array was named, and not the group that the levels are added to."""
    data = np.arange(40 * 50, dtype=np.uint16).reshape(40, 50)
    zarr.create_group(tmp_path / "x.zarr").create_array("raw", data=data, chunks=(16, 16))
    status, out, err = invoke(
        "build",
        tmp_path / "x.zarr" / "raw",
        "--in-place",
        "--levels",
        "3",
        "--factors",
        "2,2",
        "--json",
        "-q",
    )
    assert (status, err) == (0, "")
    built = json.loads(out)
    assert built["path"] == str(tmp_path / "x.zarr")
    [image] = built["images"]
    assert [level["shape"] for level in image["levels"]] == [[40, 50], [20, 25], [10, 13]]


def test_the_way_out_of_a_refusal_is_a_flag(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((40, 50), np.uint16))
    command = ["build", tmp_path / "a.npy", tmp_path / "x.ome.zarr", "--levels", "2", "-q"]
    array = np.load(tmp_path / "a.npy", mmap_mode="r")
    steps = plan_build(array, tmp_path / "x.ome.zarr", n_levels=2, name="a").steps()
    next(steps)
    steps.close()
    refused = invoke(*command, "--method", "max")
    assert_one_clear_line(refused, "unfinished work of another recipe", "over with --no-resume")
    assert "resume=" not in refused[2]
    assert invoke(*command, "--method", "max", "--no-resume")[0] == 0


@pytest.mark.parametrize("in_place", [False, True])
def test_a_source_is_opened_once_and_what_was_built_is_opened_once(
    in_place: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zarr.create_group(tmp_path / "x.zarr").create_array("0", data=np.ones((40, 50), "uint16"))
    opened: list[tuple[str, bool]] = []
    plain = stores.open_root

    def counting(path: Any, **options: Any) -> Any:
        published = (tmp_path / ("x.zarr/1" if in_place else "y.ome.zarr")).exists()
        opened.append((Path(path).name, published))
        return plain(path, **options)

    monkeypatch.setattr(stores, "open_root", counting)
    destination = "--in-place" if in_place else tmp_path / "y.ome.zarr"
    status, out, err = invoke("build", tmp_path / "x.zarr", destination, "--levels", "2", "-q")
    assert (status, err) == (0, "")
    assert "20 x 25" in out
    assert opened == [("x.zarr", False), ("x.zarr" if in_place else "y.ome.zarr", True)]


def test_what_was_skipped_is_listed_in_the_end(tmp_path: Path) -> None:
    source = tmp_path / "s.zarr"
    zarr.create_group(source).create_array("0", data=np.ones((64, 200), "uint16"), chunks=(16, 8))
    for x in range(3, 25):
        (source / "0" / "c" / "1" / str(x)).write_bytes(b"not blosc")
    recipe = ["build", source, tmp_path / "x.ome.zarr", "--levels", "2"]
    assert_one_clear_line(invoke(*recipe, "-q"), "s.zarr", "cannot be read")
    status, out, _ = invoke(*recipe, "--skip-unreadable", "--no-resume")
    assert status == 0
    assert "22 regions of the source could not be read, and are fill value:" in out
    assert "level 0 [16:32, 24:32]" in out
    assert "and 2 more" in out
    [image] = json.loads(invoke("info", tmp_path / "x.ome.zarr", "--json")[1])["images"]
    assert len(image["unreadable"]) == 22


def test_build_as_0_4_is_zarr_v2(volume: Path, tmp_path: Path) -> None:
    assert invoke("build", volume, tmp_path / "x.ome.zarr", "--format", "0.4", "-q")[0] == 0
    assert (
        json.loads((tmp_path / "x.ome.zarr" / ".zattrs").read_text())["multiscales"][0]["version"]
        == "0.4"
    )


def test_build_from_a_picture_that_a_napari_reader_opens(tmp_path: Path) -> None:
    """A colour picture: its last axis becomes the channel axis, in front as in OME-Zarr."""
    from PIL import Image

    pixels = np.random.default_rng(1).integers(0, 255, (32, 41, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    status, out, err = invoke(
        "build",
        tmp_path / "picture.png",
        tmp_path / "picture.ome.zarr",
        "--levels",
        "2",
        "--json",
        "-q",
    )
    assert status == 0, err
    [image] = json.loads(out)["images"]
    assert [axis["name"] for axis in image["axes"]] == ["c", "y", "x"]
    assert [channel["color"] for channel in image["channels"]] == ["#FF0000", "#00FF00", "#0000FF"]
    np.testing.assert_array_equal(
        zarr.open_array(tmp_path / "picture.ome.zarr" / "0", mode="r")[:], pixels.transpose(2, 0, 1)
    )


@contextmanager
def reader_that_gives(*layers: tuple[Any, ...]) -> Iterator[None]:
    """An installed napari plugin that reads files named *.cells."""
    with DynamicPlugin("cells") as plugin:

        @plugin.contribute.reader(filename_patterns=["*.cells"])
        def get_reader(path: object) -> Callable[[object], list[tuple[Any, ...]]]:
            return lambda path: list(layers)

        yield


PIXELS = np.arange(5 * 7, dtype=np.uint16).reshape(5, 7)


@pytest.mark.parametrize(
    ("layer", "scale"),
    [
        pytest.param((PIXELS,), [1, 1], id="data"),
        pytest.param((PIXELS, {"scale": (3, 2)}), [3, 2], id="data and metadata"),
        pytest.param((PIXELS, {"scale": (3, 2)}, "image"), [3, 2], id="data, metadata and type"),
        pytest.param((PIXELS, None), [1, 1], id="no metadata"),
    ],
)
def test_build_of_layer_tuples_of_every_length(
    layer: tuple[Any, ...], scale: list[float], tmp_path: Path
) -> None:
    """npe2's LayerData: the type defaults to an image, and the metadata may be left out."""
    (tmp_path / "a.cells").touch()
    with reader_that_gives(layer):
        status, out, err = invoke(
            "build", tmp_path / "a.cells", tmp_path / "a.ome.zarr", "--json", "-q"
        )
    assert status == 0, err
    [image] = json.loads(out)["images"]
    assert (image["name"], image["levels"][0]["scale"]) == ("a", scale)
    np.testing.assert_array_equal(
        zarr.open_array(tmp_path / "a.ome.zarr" / "0", mode="r")[:], PIXELS
    )


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        pytest.param((PIXELS, {}, "points"), "gave points", id="points"),
        pytest.param((None,), "gave no layer", id="npe2's sign for no layers"),
    ],
)
def test_a_reader_that_gives_no_image_is_one_line(
    layer: tuple[Any, ...], message: str, tmp_path: Path
) -> None:
    (tmp_path / "a.cells").touch()
    with reader_that_gives(layer):
        assert_one_clear_line(
            invoke("plan", tmp_path / "a.cells"), "a.cells holds no image", message
        )


LEVELS = [PIXELS, PIXELS[::2, ::2] + 7]  # no method makes these


@pytest.mark.parametrize(
    ("options", "second"),
    [
        pytest.param([], LEVELS[1], id="kept"),
        pytest.param(["--levels", "2"], plain_mean(PIXELS, (2, 2)), id="built again"),
    ],
)
def test_levels_of_a_file_are_kept_unless_others_are_asked_for(
    options: list[str], second: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "a.cells").touch()
    with reader_that_gives((LEVELS,)):
        status, _, err = invoke(
            "build", tmp_path / "a.cells", tmp_path / "a.ome.zarr", *options, "-q"
        )
    assert (status, err) == (0, "")
    for k, level in enumerate((PIXELS, second)):
        stored = zarr.open_array(tmp_path / "a.ome.zarr" / str(k), mode="r")
        np.testing.assert_array_equal(stored[:], level)


def test_channels_that_the_user_makes_have_no_look_of_the_file(tmp_path: Path) -> None:
    """One contrast of a layer says nothing of its planes, if they are channels."""
    (tmp_path / "a.cells").touch()
    layer = (np.stack([PIXELS, PIXELS + 100]), {"contrast_limits": (3, 4)}, "image")
    with reader_that_gives(layer):
        status, out, err = invoke(
            "build", tmp_path / "a.cells", tmp_path / "a.ome.zarr", "--axes", "cyx", "--json", "-q"
        )
    assert (status, err) == (0, "")
    [image] = json.loads(out)["images"]
    assert len(image["channels"]) == 2
    assert [3, 4] not in [channel["window"] for channel in image["channels"]]


def test_transforms_that_are_lost_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.cells").touch()
    with reader_that_gives((PIXELS, {"rotate": 30}, "image")):
        status, _, err = invoke("plan", tmp_path / "a.cells", "--levels", "1")
    assert status == 0
    assert "a: rotate cannot be saved in OME-Zarr and is left out" in err


@pytest.fixture
def two_images(tmp_path: Path) -> Path:
    group = zarr.create_group(tmp_path / "two.zarr")
    group.create_array("a", data=np.zeros((4, 6, 6), np.uint16), chunks=(4, 4, 4))
    group.create_array("b", data=np.ones((3, 5, 5), np.uint16), chunks=(4, 4, 4))
    return tmp_path / "two.zarr"


def test_the_first_of_several_images_is_named(two_images: Path) -> None:
    status, out, err = invoke("plan", two_images, "--levels", "2")
    assert status == 0
    assert "4 x 6 x 6" in out
    assert err.splitlines() == [
        (
            f"napari-pyramid: warning: {two_images} holds 2 images: 'a' is taken, not 'b' (choose "
            "with --image NAME)"
        )
    ]


def test_one_of_several_images_is_built(two_images: Path, tmp_path: Path) -> None:
    status, _, err = invoke(
        "build", two_images, tmp_path / "b.ome.zarr", "--image", "b", "--levels", "2", "-q"
    )
    assert (status, err) == (0, "")
    np.testing.assert_array_equal(
        zarr.open_array(tmp_path / "b.ome.zarr" / "0", mode="r")[:], np.ones((3, 5, 5))
    )


def test_an_image_that_is_not_there_is_one_line(two_images: Path) -> None:
    assert_one_clear_line(invoke("plan", two_images, "--image", "c"), "two.zarr", "'c'", "'a', 'b'")


def test_a_small_image_is_said_to_need_no_levels(volume: Path) -> None:
    assert "small enough" in invoke("plan", volume)[2]
    assert invoke("plan", volume, "--levels", "1")[2] == ""


def test_warnings_are_lines_on_stderr(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "x.zarr", zarr_format=2)
    group.create_array("0", data=np.zeros((4, 4), np.uint8))
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": [{"name": "y"}, {"name": "x"}],
            "datasets": [{"path": "0"}, {"path": "gone"}],
        }
    ]
    status, _, err = invoke("info", tmp_path / "x.zarr")
    assert status == 0
    assert all(line.startswith("napari-pyramid: warning: ") for line in err.splitlines())
    assert "gone" in err


# ---- demo ----------------------------------------------------------------------------------------


@pytest.fixture
def demo(
    volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """The command in an empty directory, with a smaller brain, and without a window."""
    monkeypatch.chdir(tmp_path)
    zarr.create_group(tmp_path / "brain.zarr").create_array("0", data=np.load(volume))
    monkeypatch.setattr("napari_pyramid.cli._demo.BRAIN", tmp_path / "brain.zarr")
    monkeypatch.setattr("napari_pyramid.cli._demo._has_display", lambda: True)
    monkeypatch.setattr("napari_pyramid.cli._demo._show", lambda path: None)
    return lambda *arguments: invoke("demo", *arguments)


def test_demo_replaces_what_an_earlier_demo_made(demo: Callable[..., tuple[int, str, str]]) -> None:
    for _ in range(2):
        status, out, err = demo()
        assert status == 0, err
        assert "Opening demo.ome.zarr" in out


def test_demo_replaces_nothing_else_unasked(
    demo: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    zarr.create_group(tmp_path / "my.ome.zarr", attributes={"precious": True})
    assert_one_clear_line(demo("my.ome.zarr"), "my.ome.zarr exists already", "--overwrite")
    assert zarr.open_group(tmp_path / "my.ome.zarr", mode="r").attrs["precious"] is True
    assert demo("my.ome.zarr", "--overwrite")[0] == 0
    assert "precious" not in zarr.open_group(tmp_path / "my.ome.zarr", mode="r").attrs


# ---- interruption --------------------------------------------------------------------------------


def test_ctrl_c_closes_the_build_and_exits_with_130(tmp_path: Path) -> None:
    closed = []

    def steps() -> Iterator[Progress]:
        try:
            yield Progress(
                level=1, done=1, total=9, bytes_read=1, bytes_written=1, elapsed=0.1, remaining=None
            )
            signal.raise_signal(signal.SIGINT)
            yield Progress(
                level=1, done=2, total=9, bytes_read=2, bytes_written=2, elapsed=0.2, remaining=0.7
            )
            pytest.fail("went on after Ctrl-C")
        except GeneratorExit:
            closed.append(True)
            raise

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as exit_:
        run(SimpleNamespace(steps=steps, workspace=tmp_path), quiet=True)  # type: ignore[arg-type]  # a stand-in for Build
    assert exit_.value.code == 130
    assert closed == [True]
    assert signal.getsignal(signal.SIGINT) is before


@pytest.fixture
def interrupted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What is said in the end of a build that is interrupted."""

    def build(source: Any, **options: Any) -> str:
        planned = plan_build(
            source,
            str(tmp_path / "x.ome.zarr"),
            executor=_Interrupting(1),
            chunks=(8, 8),
            n_levels=2,
            **options,
        )
        with pytest.raises(SystemExit) as exit_:
            run(planned, quiet=True)
        assert exit_.value.code == 130
        assert not (tmp_path / "x.ome.zarr").exists()
        return capsys.readouterr().err.strip().splitlines()[-1]

    return build


class _Interrupting(ThreadPoolExecutor):
    """Ctrl-C when the first tile is under way; none is ever done."""

    asked = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if not self.asked:
            self.asked = True
            signal.raise_signal(signal.SIGINT)
        return Future()


GOES_ON = "napari-pyramid: interrupted; the same command goes on from here"
REMOVED = "napari-pyramid: interrupted; what was written is removed"


def test_after_ctrl_c_a_file_goes_on(interrupted: Callable[..., str], tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((40, 50), np.uint16))
    assert interrupted(np.load(tmp_path / "a.npy", mmap_mode="r")) == GOES_ON
    assert list(tmp_path.glob(".x.ome.zarr*.building"))


def test_after_ctrl_c_with_no_resume_nothing_is_kept(
    interrupted: Callable[..., str], tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", np.ones((40, 50), np.uint16))
    assert interrupted(np.load(tmp_path / "a.npy", mmap_mode="r"), resume=False) == REMOVED
    assert not list(tmp_path.glob(".x.ome.zarr*"))


def test_after_ctrl_c_nothing_is_kept_of_what_cannot_be_recognised_again(
    interrupted: Callable[..., str], tmp_path: Path
) -> None:
    """What a plugin has read is an array in memory."""
    assert interrupted(np.ones((40, 50), np.uint16)) == REMOVED
    assert not list(tmp_path.glob(".x.ome.zarr*"))


def test_ctrl_c_twice_ends_the_process_at_once() -> None:
    code = """
import signal, time
from napari_pyramid.cli._terminal import Interrupt
with Interrupt():
    signal.raise_signal(signal.SIGINT)
    print("stopping", flush=True)
    signal.raise_signal(signal.SIGINT)
    print("still here", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "stopping\n")


def test_typer_is_given_every_option_of_the_recipe() -> None:
    """`with_recipe` builds signatures; a new field must show up in both commands."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # typer types it as Command
    names = set(Recipe.__dataclass_fields__)
    for command in ("plan", "build"):
        assert names <= {parameter.name for parameter in commands[command].params}


@pytest.mark.posix("no single process can be sent Ctrl-C")
@pytest.mark.slow
def test_ctrl_c_in_a_real_build_stops_it_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """The result is that of an undisturbed build, file by file."""
    np.save(
        tmp_path / "v.npy", np.random.default_rng(0).integers(0, 4000, (200, 400, 400), np.uint16)
    )
    build = [sys.executable, "-m", "napari_pyramid.cli", "build", "v.npy"]
    recipe = ["--codec", "zstd-15", "--levels", "3", "--workers", "1"]
    subprocess.run(
        [*build, "whole.ome.zarr", *recipe, "-q"], cwd=tmp_path, check=True, capture_output=True
    )

    interrupted = subprocess.Popen(
        [*build, "x.ome.zarr", *recipe],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(tmp_path.glob(".x.ome.zarr*/**/c/*/*/*")) and interrupted.poll() is None:
        time.sleep(0.05)
    interrupted.send_signal(signal.SIGINT)
    out, err = interrupted.communicate()
    assert (interrupted.returncode, out) == (130, ""), err
    assert not (tmp_path / "x.ome.zarr").exists()

    subprocess.run([*build, "x.ome.zarr", *recipe], cwd=tmp_path, check=True, capture_output=True)
    for whole in (tmp_path / "whole.ome.zarr").rglob("c/*/*/*"):
        assert (
            tmp_path / "x.ome.zarr" / whole.relative_to(tmp_path / "whole.ome.zarr")
        ).read_bytes() == whole.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("in_place", [False, True])
def test_a_dask_cluster_writes_the_same_bytes(in_place: bool, tmp_path: Path) -> None:
    """A scheduler and two workers, each a process as ``dask scheduler`` starts it."""
    data = np.random.default_rng(0).integers(0, 999, (90, 100, 110)).astype("uint16")
    for name in ("here", "there"):
        zarr.create_group(tmp_path / name / "s.zarr").create_array(
            "0", data=data, chunks=(16, 16, 16)
        )
    with _dask_cluster(tmp_path) as address:
        for name, options in (("here", []), ("there", ["--scheduler", address])):
            destination = ["--in-place"] if in_place else [tmp_path / name / "x.ome.zarr"]
            command = [
                "build",
                tmp_path / name / "s.zarr",
                *destination,
                "--levels",
                "3",
                "--factors",
                "2,2,2",
                *options,
            ]
            ended = subprocess.run(
                [_SCRIPT, *map(str, command)], capture_output=True, text=True, check=False
            )
            assert ended.returncode == 0, ended.stderr
    assert _files(tmp_path / "there") == _files(tmp_path / "here")


_SCRIPT = Path(sys.executable).with_name("napari-pyramid")


def _files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@contextmanager
def _dask_cluster(folder: Path) -> Iterator[str]:
    described = folder / "scheduler.json"
    common = ["--no-dashboard", "--scheduler-file", str(described)]
    dask = [sys.executable, "-m", "dask"]
    with (folder / "log.txt").open("wb") as log:
        start_process = partial(subprocess.Popen, stdout=log, stderr=log, cwd=folder)
        scheduler = start_process(
            [*dask, "scheduler", "--port", "0", "--host", "127.0.0.1", *common]
        )
        workers = start_process([*dask, "worker", "--nworkers", "2", "--nthreads", "1", *common])
        try:
            while not described.exists() and scheduler.poll() is None:
                time.sleep(0.1)
            yield json.loads(described.read_text())["address"]
        finally:
            for process in (workers, scheduler):
                process.terminate()
                process.wait()
