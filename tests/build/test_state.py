"""The state of a build on disk: its phases and transitions, and states of other versions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_pyramid import (
    Channel,
    DestinationError,
    build_pyramid,
    iter_build,
    open_pyramid,
    plan_build,
)
from napari_pyramid.build.job import Job
from napari_pyramid.build.state import VERSION, BuildState, UnreadableRegion
from napari_pyramid.build.workspace import Workspace
from napari_pyramid.metadata.image_attributes import Description
from napari_pyramid.plan.schedule import PassPlan

DATA = np.random.default_rng(0).integers(0, 900, (45, 61)).astype("uint16")
OPTIONS: dict[str, Any] = {"n_levels": 3, "factors": 2, "max_workers": 2}


class Killed(BaseException):
    """Ends a build at once."""


def kill(*args: Any, **options: Any) -> None:
    raise Killed


@pytest.fixture
def source(tmp_path: Path) -> Path:
    zarr.create_group(tmp_path / "s.zarr").create_array("0", data=DATA, chunks=(8, 8))
    return tmp_path / "s.zarr"


@pytest.fixture
def phase(tmp_path: Path) -> Callable[[], str | None]:
    """The phase in ``state.json``; None without one."""

    def read() -> str | None:
        files = list(tmp_path.glob(".*.building/state.json"))
        return json.loads(files[0].read_text())["phase"] if files else None

    return read


def state_file(tmp_path: Path) -> Path:
    (found,) = tmp_path.glob(".*.building/state.json")
    return found


def content(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


# ---- JSON --------------------------------------------------------------------------------------


PLAN = (PassPlan(0, 2, 0, (8, 8), (32, 16), False), PassPlan(1, 1, None, (4, 4), (4, 4), True))
PIXELS = BuildState.begin("f00d", PLAN, "s.zarr")
UNREADABLE = UnreadableRegion.of(0, (slice(0, 8), slice(16, 24)))
DESCRIPTION = Description(
    {"method": "mean", "factors": [[2, 2]]},
    (Channel("dapi", "#0000FF", (0.5, 9.0)), Channel(visible=False)),
    ((0.0, 65535.0), (0.0, 65535.0)),
)
PUBLISH = PIXELS.with_unreadable([UNREADABLE]).publishing(["0", "1"], ["2"], DESCRIPTION)
STATES = [PIXELS, PUBLISH, PUBLISH.finished(), BuildState.discarded()]


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.phase)
def test_a_state_is_read_as_it_was_written(state: BuildState) -> None:
    text = json.dumps(state.to_json())
    assert BuildState.from_json(json.loads(text)) == state
    assert json.loads(text)["version"] == VERSION


def test_a_region_is_listed_once() -> None:
    again = PIXELS.with_unreadable([UNREADABLE]).with_unreadable([UNREADABLE])
    assert again.unreadable == (UNREADABLE,)


@pytest.mark.parametrize(
    "transition",
    [
        lambda: PUBLISH.with_unreadable([UNREADABLE]),
        lambda: PUBLISH.publishing(["0"], [], DESCRIPTION),
        lambda: PIXELS.finished(),
        lambda: PUBLISH.finished().finished(),
        lambda: BuildState.discarded().publishing(["0"], [], DESCRIPTION),
    ],
)
def test_no_other_transition_is_possible(transition: Callable[[], BuildState]) -> None:
    with pytest.raises(ValueError, match=r"the build is in phase '.*', and this step needs"):
        transition()


# ---- transitions, in builds --------------------------------------------------------------------


def test_no_work_to_pixels_and_back(
    source: Path, tmp_path: Path, phase: Callable[[], str | None]
) -> None:
    steps = iter_build(source, tmp_path / "x.ome.zarr", **OPTIONS)
    assert phase() is None
    next(steps)
    assert phase() == "pixels"
    steps.close()
    assert phase() == "pixels"
    next(step := iter_build(source, tmp_path / "x.ome.zarr", resume=False, **OPTIONS))
    step.close()
    assert phase() is None


def test_pixels_to_publish_and_the_same_build_finishes(
    source: Path,
    tmp_path: Path,
    phase: Callable[[], str | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Job, "publish", kill)
        with pytest.raises(Killed):
            build_pyramid(source, in_place=True, **OPTIONS)
    assert phase() == "publish"
    build_pyramid(source, in_place=True, **OPTIONS)
    assert phase() is None
    assert len(open_pyramid(source)) == 3


@pytest.mark.parametrize(("method", "first_mean"), [("mean", True), ("max", False)])
def test_publish_to_done_and_the_next_build_removes_what_is_left(
    method: Any,
    first_mean: bool,
    source: Path,
    tmp_path: Path,
    phase: Callable[[], str | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "discard", kill)
        with pytest.raises(Killed):
            build_pyramid(source, in_place=True, **OPTIONS)
    assert phase() == "done"
    assert len(open_pyramid(source)) == 3
    build_pyramid(source, in_place=True, overwrite=True, method=method, **OPTIONS)
    assert phase() is None
    window = DATA[:2, :2]
    expected = np.rint(window.mean()) if first_mean else window.max()
    assert open_pyramid(source)[1][0, 0] == expected


@pytest.mark.parametrize("end", ["pixels", "publish"])
def test_dropped_work_is_discarded_before_its_files_are_removed(
    end: str,
    source: Path,
    tmp_path: Path,
    phase: Callable[[], str | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = content(source)
    with monkeypatch.context() as patch:
        patch.setattr(Job, "publish" if end == "publish" else "publishing", kill)
        with pytest.raises(Killed):
            build_pyramid(source, in_place=True, **OPTIONS)
    assert phase() == end
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", kill)
        with pytest.raises(Killed):
            build_pyramid(source, in_place=True, resume=False, **OPTIONS)
    assert phase() == "discarded"
    assert plan_build(source, in_place=True, **OPTIONS).unfinished is None
    assert content(source) == before
    build_pyramid(source, in_place=True, **OPTIONS)
    assert phase() is None


# ---- states of other versions ------------------------------------------------------------------


def as_unversioned(path: Path) -> None:
    """Rewrite a state as programs before the first version number wrote it."""
    state = json.loads(path.read_text())
    state.pop("version")
    surplus = state.pop("surplus")
    state["plan"] = [list(p.values()) for p in state["plan"]]
    if state["phase"] == "publish":
        channels = [list(c.values()) for c in state["description"]["channels"]]
        state["description"] |= {"channels": channels, "surplus": surplus}
    else:
        for key in ("levels", "unreadable"):
            state.pop(key)
    path.write_text(json.dumps(state))


def test_work_of_an_older_version_is_refused_in_one_line_and_can_be_started_over(
    source: Path, tmp_path: Path
) -> None:
    steps = iter_build(source, tmp_path / "x.ome.zarr", **OPTIONS)
    next(steps)
    steps.close()
    as_unversioned(state_file(tmp_path))
    unfinished = plan_build(source, tmp_path / "x.ome.zarr", **OPTIONS).unfinished
    assert unfinished is not None
    assert unfinished.action == "refuse"
    with pytest.raises(DestinationError) as caught:
        build_pyramid(source, tmp_path / "x.ome.zarr", **OPTIONS)
    assert "unfinished work of an older version of napari-pyramid" in str(caught.value)
    assert "start over" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(build_pyramid(source, tmp_path / "x.ome.zarr", resume=False, **OPTIONS)) == 3
    assert {p.name for p in tmp_path.iterdir()} == {"s.zarr", "x.ome.zarr"}


def test_levels_that_an_older_version_was_replacing_are_put_back(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_pyramid(source, in_place=True, **OPTIONS)
    before = content(source)
    rename = Path.rename

    def killed(path: Path, target: Path) -> Any:
        if path.parts[-2:] == ("new", "2"):
            raise Killed
        return rename(path, target)

    options = {**OPTIONS, "method": "max", "overwrite": True}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(Killed):
            build_pyramid(source, in_place=True, **options)
    assert content(source) != before
    as_unversioned(state_file(tmp_path))
    with pytest.raises(DestinationError, match="of an older version"):
        build_pyramid(source, in_place=True, **options)
    assert content(source) == before
    built = build_pyramid(source, in_place=True, resume=False, **options)
    assert built[1][0, 0] == DATA[:2, :2].max()
    assert {p.name for p in tmp_path.iterdir()} == {"s.zarr"}


def of_a_later_version(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": VERSION + 1}))


def without_a_plan(path: Path) -> None:
    state = json.loads(path.read_text())
    del state["plan"]
    path.write_text(json.dumps(state))


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("change", [of_a_later_version, without_a_plan])
def test_work_that_cannot_be_read_is_neither_resumed_nor_removed(
    change: Callable[[Path], None], resume: bool, source: Path, tmp_path: Path
) -> None:
    """It may hold a store that was being replaced."""
    steps = iter_build(source, tmp_path / "x.ome.zarr", **OPTIONS)
    next(steps)
    steps.close()
    work = state_file(tmp_path).parent
    change(work / "state.json")
    before = content(work)
    with pytest.raises(DestinationError, match="which this version of napari-pyramid cannot read"):
        build_pyramid(source, tmp_path / "x.ome.zarr", resume=resume, **OPTIONS)
    left = content(work)
    assert {name: left[name] for name in before if name != "owner.json"} == {
        name: before[name] for name in before if name != "owner.json"
    }
    assert not (tmp_path / "x.ome.zarr").exists()


def test_a_release_that_changes_no_pixel_resumes_the_work_of_the_last_one(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = iter_build(source, tmp_path / "x.ome.zarr", **OPTIONS)
    next(steps)
    steps.close()
    monkeypatch.setattr("napari_pyramid.build.job.__version__", "99.0")
    unfinished = plan_build(source, tmp_path / "x.ome.zarr", **OPTIONS).unfinished
    assert unfinished is not None
    assert unfinished.action == "resume"
    build_pyramid(source, tmp_path / "x.ome.zarr", **OPTIONS)
    attributes = zarr.open_group(tmp_path / "x.ome.zarr", mode="r").attrs["ome"]
    assert attributes["multiscales"][0]["metadata"]["version"] == "99.0"
    monkeypatch.setattr("napari_pyramid.build.job.PIXELS_VERSION", 99)
    steps = iter_build(source, tmp_path / "y.ome.zarr", **OPTIONS)
    next(steps)
    steps.close()
    monkeypatch.setattr("napari_pyramid.build.job.PIXELS_VERSION", 100)
    unfinished = plan_build(source, tmp_path / "y.ome.zarr", **OPTIONS).unfinished
    assert unfinished is not None
    assert unfinished.action == "refuse"
