"""`Build`: what a plan says, what running it does, and which options are accepted."""

from __future__ import annotations

import dataclasses
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import zarr
from helpers import digest

from napari_pyramid import (
    Build,
    BuildInProgressError,
    PyramidSpec,
    SpecError,
    build_pyramid,
    iter_build,
    plan_build,
)
from napari_pyramid.build import BuildOptions, discard_unfinished, has_unfinished
from napari_pyramid.plan.options import SpecOptions

DATA = np.random.default_rng(0).integers(0, 900, (45, 61)).astype("uint16")
OPTIONS: dict[str, Any] = {"chunks": (8, 8), "n_levels": 3, "factors": 2, "max_workers": 2}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    zarr.create_group(tmp_path / "s.zarr").create_array("0", data=DATA, chunks=(8, 8))
    return tmp_path / "s.zarr"


def files(directory: Path) -> set[str]:
    return {str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file()}


def stop(build: Build) -> None:
    """Run a build until some region is done, then leave it."""
    steps = build.steps()
    next(step for step in steps if step.done)
    steps.close()


# ---- what a plan says --------------------------------------------------------------------------


def test_planning_writes_nothing_and_running_does_what_was_planned(
    source: Path, tmp_path: Path
) -> None:
    before = files(tmp_path)
    build = plan_build(source, tmp_path / "x.ome.zarr", **OPTIONS)
    assert files(tmp_path) == before
    assert build.destination == tmp_path / "x.ome.zarr"
    assert build.unfinished is None
    # 45 x 61, 23 x 31 and 12 x 16 samples of two bytes, in chunks of 8 x 8
    assert build.n_files == 6 * 8 + 3 * 4 + 2 * 2
    assert build.nbytes == 2 * (45 * 61 + 23 * 31 + 12 * 16)
    assert build.peak_memory > 0
    pyramid = build.run()
    assert [level.shape for level in pyramid] == [(45, 61), (23, 31), (12, 16)]
    chunks = [f for f in files(tmp_path / "x.ome.zarr") if "/c/" in f]
    assert len(chunks) == build.n_files


def test_in_place_level_0_is_not_written(source: Path) -> None:
    build = plan_build(source, in_place=True, n_levels=2, factors=2)
    assert build.destination == source
    assert build.n_files == 3 * 4
    assert build.nbytes == 2 * 23 * 31


def test_a_build_is_readable(source: Path, tmp_path: Path) -> None:
    build = plan_build(source, tmp_path / "x.ome.zarr", **OPTIONS)
    text = str(build)
    assert text.startswith(str(build.spec))
    assert re.search(
        r"levels 3, files at most 64, [\d.]+ KiB before compression, .* of memory", text
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        build.unfinished = None  # type: ignore[misc]  # the point of the test


def test_progress_is_reported_and_the_steps_return_the_pyramid(
    source: Path, tmp_path: Path
) -> None:
    build = plan_build(source, tmp_path / "x.ome.zarr", **OPTIONS)
    seen: list[Any] = []
    build.run(seen.append)
    assert seen[-1].done == seen[-1].total == sum(p.n_tiles for p in build.passes)
    returned = []

    def watched() -> Any:
        returned.append((yield from plan_build(source, tmp_path / "y.zarr", **OPTIONS).steps()))

    assert list(watched())[-1].done == seen[-1].done
    assert len(returned[0]) == 3


def test_without_a_destination_it_can_be_planned_only(source: Path) -> None:
    build = plan_build(source, **OPTIONS)
    assert build.destination is None
    with pytest.raises(SpecError, match="no destination: give a path, or build in place"):
        build.run()


# ---- unfinished work ---------------------------------------------------------------------------


def test_unfinished_work_is_reported_and_resumed(source: Path, tmp_path: Path) -> None:
    stop(plan_build(source, tmp_path / "x.ome.zarr", memory_limit=40 * 2**20, **OPTIONS))
    build = plan_build(source, tmp_path / "x.ome.zarr", memory_limit=40 * 2**20, **OPTIONS)
    found = build.unfinished
    assert found is not None
    assert found.action == "resume"
    assert 0 < found.done <= found.total == sum(p.n_tiles for p in build.passes)
    assert f"{found.done} of {found.total} regions done" in str(build)
    assert found.directory == build.workspace
    build.run()
    assert plan_build(source, tmp_path / "x.ome.zarr", **OPTIONS).unfinished is None


@pytest.mark.parametrize(
    ("options", "action"),
    [({}, "resume"), ({"method": "max"}, "refuse"), ({"resume": False}, "discard")],
)
def test_what_becomes_of_unfinished_work(
    options: dict[str, Any], action: str, source: Path, tmp_path: Path
) -> None:
    stop(plan_build(source, tmp_path / "x.ome.zarr", **OPTIONS))
    found = plan_build(source, tmp_path / "x.ome.zarr", **OPTIONS, **options).unfinished
    assert found is not None
    assert found.action == action


def test_a_stopped_build_can_be_run_again(source: Path, tmp_path: Path) -> None:
    build = plan_build(source, tmp_path / "x.ome.zarr", **OPTIONS)
    assert build.can_resume
    stop(build)
    assert len(build.run()) == 3
    assert not plan_build(DATA, tmp_path / "y.ome.zarr", **OPTIONS).can_resume


def test_discarding_leaves_what_was_there_before(source: Path, tmp_path: Path) -> None:
    before = digest(source)
    build = plan_build(source, in_place=True, **OPTIONS)
    stop(build)
    assert has_unfinished(source, in_place=True)
    assert build.discard()
    assert sorted(p.name for p in tmp_path.iterdir()) == [source.name]
    assert digest(source) == before
    assert not build.discard()
    assert not has_unfinished(source, in_place=True)


def test_work_whose_source_is_gone_can_be_discarded(source: Path, tmp_path: Path) -> None:
    stop(plan_build(source, tmp_path / "x.ome.zarr", **OPTIONS))
    source.rename(tmp_path / "moved.zarr")
    assert discard_unfinished(tmp_path / "x.ome.zarr")
    assert [p.name for p in tmp_path.iterdir()] == ["moved.zarr"]


def test_work_of_a_running_build_is_not_discarded(source: Path, tmp_path: Path) -> None:
    steps = plan_build(source, tmp_path / "x.ome.zarr", **OPTIONS).steps()
    next(steps)
    with pytest.raises(BuildInProgressError):
        discard_unfinished(tmp_path / "x.ome.zarr")
    *_, last = steps
    assert last.done == last.total


class Killed(BaseException):
    """Ends a build at once."""


def test_running_recovers_a_store_whose_publishing_was_killed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan sees levels that no metadata name yet; the build must not take them for level 0."""
    rename = Path.rename

    def killed(path: Path, target: Path) -> Any:
        if path.name == "2":
            raise Killed
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(Killed):
            build_pyramid(source, in_place=True, n_levels=3, factors=2)
    assert (source / "1").exists()
    build = plan_build(source, in_place=True, n_levels=2, factors=2, method="max", resume=False)
    assert (source / "1").exists(), "planning writes nothing"
    pyramid = build.run()
    assert [level.shape for level in pyramid] == [(45, 61), (23, 31)]
    assert int(pyramid[1][0, 0]) == DATA[:2, :2].max()
    assert {p.name for p in source.iterdir()} == {"zarr.json", "0", "1"}


# ---- options -----------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [build_pyramid, iter_build, plan_build])
@pytest.mark.parametrize("beside_a_spec", [False, True])
@pytest.mark.parametrize(
    ("name", "nearest"),
    [("max_worker", "max_workers"), ("n_level", "n_levels"), ("colours", "label_colors")],
)
def test_an_unknown_option_is_refused_with_the_nearest_one(
    name: str, nearest: str, beside_a_spec: bool, call: Callable[..., Any], tmp_path: Path
) -> None:
    spec = PyramidSpec.from_array(DATA) if beside_a_spec else None
    with pytest.raises(TypeError, match=f"'{name}' is not an option: did you mean '{nearest}'"):
        call(DATA, tmp_path / "x.ome.zarr", spec, **{name: None})


@pytest.mark.parametrize("name", ["only_plan", "updates"])
def test_internals_are_no_options(name: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=f"'{name}' is not an option"):
        iter_build(DATA, tmp_path / "x.ome.zarr", **{name: True})
    assert list(tmp_path.iterdir()) == []


def test_levels_that_are_kept_refuse_unknown_options() -> None:
    with pytest.raises(TypeError, match="'axis' is not an option: did you mean 'axes'"):
        PyramidSpec.from_levels([DATA], axis="yx")  # type: ignore[call-arg]  # the point of the test


def test_every_face_of_a_build_takes_the_same_documented_options() -> None:
    planned = inspect.signature(plan_build).parameters
    for function in (build_pyramid, iter_build):
        parameters = dict(inspect.signature(function).parameters)
        parameters.pop("progress", None)
        assert parameters == planned
    documented = []
    for function in (plan_build, PyramidSpec.from_array):
        lines = re.findall(r"^(\w+(?:, \w+)*)$", inspect.getdoc(function) or "", re.MULTILINE)
        documented += [name for line in lines for name in line.split(", ")]
    assert set(planned) <= set(documented)


def test_the_signature_of_a_build_lists_its_options_with_their_types_and_defaults() -> None:
    parameters = inspect.signature(build_pyramid, eval_str=True).parameters
    assert {*get_type_hints(BuildOptions), "progress"} <= set(parameters)
    assert (parameters["resume"].annotation, parameters["resume"].default) == (bool, True)
    assert parameters["shards"].default == "auto"


def test_spec_options_are_the_parameters_of_a_spec() -> None:
    hints = get_type_hints(PyramidSpec.from_array)
    parameters = {k: v for k, v in hints.items() if k not in ("array", "return")}
    assert get_type_hints(SpecOptions) == parameters


SNIPPET = """
import numpy as np
from napari_pyramid import build_pyramid

data = np.zeros((4, 4))
build_pyramid(data, "a.zarr", max_workers=2, method="mean", chunks=(2, 2))
build_pyramid(data, "b.zarr", max_worker=2)
build_pyramid(data, "c.zarr", method="average")
"""


@pytest.mark.slow
def test_a_type_checker_refuses_misspelt_options(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "snippet.py").write_text(SNIPPET)
    arguments = [
        "--ignore-missing-imports",
        "--follow-imports=silent",
        str(tmp_path / "snippet.py"),
    ]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    lines = re.findall(r"snippet\.py:(\d+): error: (.*)", checked.stdout)
    assert [number for number, _ in lines] == ["7", "8"], checked.stdout + checked.stderr
    assert 'Unexpected keyword argument "max_worker"' in lines[0][1]
