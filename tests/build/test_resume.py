"""Builds that are stopped, killed, or fail half-way.

What is left, and that the next run ends as if nothing had happened.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from helpers import digest

from napari_pyramid import (
    BuildInProgressError,
    DestinationError,
    SourceError,
    SpecError,
    build_pyramid,
    iter_build,
    open_pyramid,
)
from napari_pyramid.build import plan_build
from napari_pyramid.build.fill import TileFiller
from napari_pyramid.build.job import Job
from napari_pyramid.build.journal import Journal

OPTIONS: dict[str, Any] = {"n_levels": 3, "chunks": (8, 8, 8), "max_workers": 2, "factors": 2}


def names(directory: Path) -> set[str]:
    return {p.name for p in directory.iterdir()}


@pytest.fixture(scope="session")
def written_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A group with one array of 6 x 7 x 8 chunks."""
    path = tmp_path_factory.mktemp("written") / "s.zarr"
    data = np.random.default_rng(0).integers(0, 900, (45, 51, 59)).astype("uint16")
    zarr.create_group(path).create_array("0", data=data, chunks=(8, 8, 8))
    return path


@pytest.fixture
def source(written_source: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(written_source, tmp_path / "s.zarr")


@pytest.fixture(scope="session")
def undisturbed(written_source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    path = tmp_path_factory.mktemp("undisturbed") / "x.ome.zarr"
    build_pyramid(written_source, path, name="x", **OPTIONS)
    return digest(path)


def stopped(source: Path, destination: Path, at_least: int = 1, **options: Any) -> int:
    """A build that was left after some tiles; how many were done."""
    steps = iter_build(source, destination, name="x", **{**OPTIONS, **options})
    done = next(step.done for step in steps if step.done >= at_least)
    steps.close()
    return done


@pytest.fixture
def tiles(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The tiles that are filled from now on; each pauses, so that a build can be stopped."""
    filled: list[int] = []
    plain = TileFiller.fill

    def fill(self: TileFiller, number: int) -> Any:
        import time

        time.sleep(0.03)
        found = plain(self, number)
        filled.append(number)
        return found

    monkeypatch.setattr(TileFiller, "fill", fill)
    return filled


# ---- kill -9 -------------------------------------------------------------------------------------


MODES = [[], ["--in-place"], ["--executor"], ["--executor", "--in-place"]]
OFTEN = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.mark.posix("builds are forked from a process that has imported all that they need")
@pytest.mark.parametrize(
    ("mode", "kills", "seed"),  # 50 in all, and 500
    [
        *((m, 8 if "--executor" in m else 17, 0) for m in MODES),
        *(pytest.param(m, 125, 1, marks=OFTEN) for m in MODES),
    ],
    ids=lambda value: " ".join(value) or "threads" if isinstance(value, list) else str(value),
)
def test_killed_builds_end_byte_for_byte_as_undisturbed(
    mode: list[str], kills: int, seed: int
) -> None:
    script = Path(__file__).parents[1] / "kill_builds.py"
    ended = subprocess.run(
        [sys.executable, str(script), str(kills), "--seed", str(seed), *mode],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "all ended byte for byte as undisturbed" in ended.stdout


# ---- stopped and continued -----------------------------------------------------------------------


def test_the_next_run_continues_and_does_no_tile_again(
    source: Path, tmp_path: Path, undisturbed: dict[str, str], tiles: list[int]
) -> None:
    destination = tmp_path / "x.ome.zarr"
    done = stopped(source, destination, at_least=4, memory_limit=40 * 2**20)
    assert not destination.exists()
    tiles.clear()
    steps = list(iter_build(source, destination, name="x", memory_limit=40 * 2**20, **OPTIONS))
    assert len(tiles) == steps[-1].total - done
    assert digest(destination) == undisturbed
    assert names(tmp_path) == {"s.zarr", "x.ome.zarr"}


def test_a_build_in_place_that_is_stopped_leaves_the_group_as_it_was(
    source: Path, tmp_path: Path, tiles: list[int]
) -> None:
    before = digest(source)
    steps = iter_build(source, in_place=True, n_levels=3, factors=2, memory_limit=40 * 2**20)
    next(step for step in steps if step.done)
    steps.close()
    assert digest(source) == before
    assert len(open_pyramid(source)) == 1
    build_pyramid(source, in_place=True, n_levels=3, factors=2, memory_limit=40 * 2**20)
    assert {k: v for k, v in digest(source).items() if k.startswith("0/")} == {
        k: v for k, v in before.items() if k.startswith("0/")
    }
    assert len(open_pyramid(source)) == 3


def test_without_resume_a_stopped_build_leaves_nothing(
    source: Path, tmp_path: Path, tiles: list[int]
) -> None:
    stopped(source, tmp_path / "x.ome.zarr", resume=False)
    assert names(tmp_path) == {"s.zarr"}


def change_attributes(source: Path) -> None:
    zarr.open_array(source / "0").attrs["note"] = "edited"


def change_pixels_and_chunks(source: Path) -> None:
    shutil.rmtree(source / "0")
    zarr.open_group(source).create_array(
        "0", data=np.zeros((45, 51, 59), "uint16"), chunks=(16, 16, 16)
    )


@pytest.mark.parametrize("change", [change_attributes, change_pixels_and_chunks])
def test_a_changed_source_is_not_resumed(
    change: Callable[[Path], None], source: Path, tmp_path: Path, tiles: list[int]
) -> None:
    stopped(source, tmp_path / "x.ome.zarr")
    change(source)
    with pytest.raises(
        DestinationError,
        match="another recipe or of a source that has changed: start over with resume=False, or "
        "repeat",
    ):
        build_pyramid(source, tmp_path / "x.ome.zarr", name="x", **OPTIONS)
    build_pyramid(source, tmp_path / "x.ome.zarr", name="x", resume=False, **OPTIONS)
    assert names(tmp_path) == {"s.zarr", "x.ome.zarr"}


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "max"},
        {"n_levels": 2},
        {"chunks": (16, 8, 8)},
        {"name": "y"},
        {"scale": (2, 1, 1)},
        {"format": "0.4"},
        {"codec": "zstd-3"},
    ],
)
def test_a_changed_recipe_is_not_resumed(
    changed: dict[str, Any],
    source: Path,
    tmp_path: Path,
    undisturbed: dict[str, str],
    tiles: list[int],
) -> None:
    stopped(source, tmp_path / "x.ome.zarr")
    with pytest.raises(DestinationError, match="another recipe"):
        build_pyramid(source, tmp_path / "x.ome.zarr", **{"name": "x", **OPTIONS, **changed})
    build_pyramid(source, tmp_path / "x.ome.zarr", name="x", **OPTIONS)
    assert digest(tmp_path / "x.ome.zarr") == undisturbed, "the earlier one can still be finished"


def corner(block: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    return block[tuple(slice(None, None, f) for f in factors)]


def other_corner(block: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    return block[tuple(slice(None, None, f) for f in factors)] + np.uint16(1)


def test_a_function_of_the_same_name_but_other_code_is_another_recipe(
    source: Path, tmp_path: Path, tiles: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(source, tmp_path / "x.ome.zarr", method=corner)
    monkeypatch.setattr(other_corner, "__qualname__", "corner")
    with pytest.raises(DestinationError, match="another recipe"):
        build_pyramid(source, tmp_path / "x.ome.zarr", name="x", method=other_corner, **OPTIONS)
    build_pyramid(source, tmp_path / "x.ome.zarr", name="x", method=corner, **OPTIONS)
    np.testing.assert_array_equal(
        open_pyramid(tmp_path / "x.ome.zarr")[1][:], zarr.open_array(source / "0")[::2, ::2, ::2]
    )


def test_what_is_no_plain_function_is_not_resumed(
    source: Path, tmp_path: Path, tiles: list[int]
) -> None:
    """Nothing tells one partial, or one object, from another."""
    stopped(source, tmp_path / "x.ome.zarr", method=partial(corner))
    assert names(tmp_path) == {"s.zarr"}


def test_a_destination_made_meanwhile_is_not_replaced(
    source: Path, tmp_path: Path, tiles: list[int]
) -> None:
    stopped(source, tmp_path / "x.ome.zarr")
    zarr.create_group(tmp_path / "x.ome.zarr", attributes={"precious": True})
    with pytest.raises(DestinationError, match="exists already"):
        build_pyramid(source, tmp_path / "x.ome.zarr", name="x", **OPTIONS)
    assert zarr.open_group(tmp_path / "x.ome.zarr", mode="r").attrs["precious"]


class Killed(BaseException):
    """Ends a build at once."""


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("base", ["0", "raw"])
@pytest.mark.parametrize("after", range(4))
def test_publishing_in_place_can_end_at_any_step(
    after: int, base: str, zarr_format: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the renames and the metadata, the group must not become another source."""
    data = np.random.default_rng(0).integers(0, 9, (40, 50)).astype("uint16")
    for name in ("killed", "undisturbed"):
        zarr.create_group(tmp_path / name / "s.zarr", zarr_format=zarr_format).create_array(
            base, data=data, chunks=(8, 8)
        )
    build_pyramid(tmp_path / "undisturbed" / "s.zarr", in_place=True, n_levels=3, factors=2)

    with monkeypatch.context() as patch:
        _kill_publishing(patch, after)
        with pytest.raises(Killed):
            build_pyramid(tmp_path / "killed" / "s.zarr", in_place=True, n_levels=3, factors=2)
    assert not list((tmp_path / "killed" / "s.zarr").rglob("*.part"))
    build_pyramid(tmp_path / "killed" / "s.zarr", in_place=True, n_levels=3, factors=2)
    assert digest(tmp_path / "killed") == digest(tmp_path / "undisturbed")


BUILDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # what was there, and what is built
    "fewer levels": ({"n_levels": 4}, {"n_levels": 2, "method": "max", "overwrite": True}),
    "residuals": (
        {"n_levels": 3, "method": "laplacian"},
        {"n_levels": 2, "method": "laplacian", "overwrite": True},
    ),
    "series": ({"n_levels": 3}, {"n_levels": 3, "method": "max", "series": "s"}),
    "new store": ({"n_levels": 2}, {"n_levels": 3, "method": "max", "overwrite": True}),
}


def _build_kind(
    kind: str, folder: Path, steps: int | None = None, **changed: Any
) -> dict[str, str]:
    """What is in a folder after a build of a kind, or after the first steps of one."""
    destination = folder / ("x.ome.zarr" if kind == "new store" else "s.zarr")
    options = {"factors": 2, "chunks": (16, 16, 16), "in_place": kind != "new store", **changed}
    run = iter_build(folder / "s.zarr", destination if kind == "new store" else None, **options)
    for number, _ in enumerate(run):
        if number == steps:
            run.close()
    return digest(destination)


@pytest.fixture(scope="session")
def built_earlier(
    written_source: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Path, dict[str, str], dict[str, str]]]:
    """A folder, its destination, and the destination after an undisturbed build."""

    @cache
    def of_kind(kind: str) -> tuple[Path, dict[str, str], dict[str, str]]:
        earlier, recipe = BUILDS[kind]
        folder = tmp_path_factory.mktemp("kind")
        shutil.copytree(written_source, folder / "earlier" / "s.zarr")
        before = _build_kind(kind, folder / "earlier", **earlier)
        shutil.copytree(folder / "earlier", folder / "whole")
        return folder / "earlier", before, _build_kind(kind, folder / "whole", **recipe)

    return of_kind


@pytest.mark.parametrize(
    "after",
    [pytest.param(n, marks=() if n in (0, 1, 2, 4, 7) else pytest.mark.slow) for n in range(11)],
)
@pytest.mark.parametrize("kind", BUILDS)
def test_publishing_can_be_finished_and_undone_at_any_step(
    kind: str, after: int, built_earlier: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Undone by any other build there, even one that is stopped before it has built anything.

    Nothing is lost, metadata included.
    """
    recipe = BUILDS[kind][1]
    earlier, before, whole = built_earlier(kind)
    for name in ("finished", "undone"):
        shutil.copytree(earlier, tmp_path / name)
        with monkeypatch.context() as patch:
            _kill_publishing(patch, after)
            with pytest.raises(Killed):
                _build_kind(kind, tmp_path / name, **recipe)
    assert _build_kind(kind, tmp_path / "finished", **recipe) == whole
    other = {**recipe, "method": "min", "overwrite": True, "resume": False}
    assert _build_kind(kind, tmp_path / "undone", steps=0, **other) == before
    expected = names(earlier.with_name("whole"))
    assert names(tmp_path / "undone") == names(tmp_path / "finished") == expected


def _kill_publishing(patch: pytest.MonkeyPatch, after: int) -> None:
    """End the next build at its `after`-th rename once its levels are ready.

    Or when it has published them.
    """
    steps_left, publish = after, Job.publish

    def counted(plain: Any) -> Any:
        def move(path: Path, target: Path) -> Any:
            nonlocal steps_left
            if steps_left == 0:
                raise Killed
            steps_left -= 1
            return plain(path, target)

        return move

    def killed(self: Job, described: Any) -> None:
        for name in ("rename", "replace"):
            patch.setattr(Path, name, counted(getattr(Path, name)))
        publish(self, described)
        raise Killed

    patch.setattr(Job, "publish", killed)


@pytest.mark.parametrize("after", range(7))
def test_replacing_by_fewer_levels_can_end_at_any_step(
    after: int, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left over of the earlier levels is removed by the run that finishes the build."""
    build_pyramid(source, in_place=True, n_levels=4, factors=2)
    options: dict[str, Any] = {
        "in_place": True,
        "n_levels": 2,
        "factors": 2,
        "method": "max",
        "overwrite": True,
    }
    moves = 0
    rename = Path.rename

    def killed(path: Path, target: Path) -> Any:
        nonlocal moves
        moves += 1
        if moves > after:
            raise Killed
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        if (
            after < 5
        ):  # the metadata kept, old level 1 aside, new level 1 in its place, levels 2 and 3 aside
            with pytest.raises(Killed):
                build_pyramid(source, **options)
        else:
            build_pyramid(source, **options)
    if after < 5:
        build_pyramid(source, **options)
    assert names(source) == {"zarr.json", "0", "1"}
    assert names(tmp_path) == {"s.zarr"}
    assert int(open_pyramid(source)[1][0, 0, 0]) == zarr.open_array(source / "0")[:2, :2, :2].max()


@pytest.mark.parametrize("resume", [True, False])
def test_an_overwritten_store_is_not_lost_when_the_swap_is_interrupted(
    resume: bool, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between moving the old store aside and moving the new one into place.

    The next command asks for something that cannot be built.
    """
    old = tmp_path / "x.ome.zarr"
    build_pyramid(source, old, name="old", **OPTIONS)
    before = digest(old)
    rename = Path.rename

    def killed(path: Path, target: Path) -> Any:
        if path.name == "new":
            raise Killed
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(Killed):
            build_pyramid(source, old, name="new", overwrite=True, **OPTIONS)
    assert not old.exists()
    if resume:
        build_pyramid(source, old, name="new", overwrite=True, **OPTIONS)
        assert open_pyramid(old).image.name == "new"
        return

    class Broken:
        shape, dtype = (60, 70), np.dtype("uint8")

        def __getitem__(self, key: Any) -> Any:
            raise OSError("gone")

    with pytest.raises(SourceError):
        build_pyramid(Broken(), old, overwrite=True, resume=False)
    assert digest(old) == before
    assert names(tmp_path) == {"s.zarr", "x.ome.zarr"}


@pytest.mark.parametrize("in_place", [False, True])
def test_publishing_that_fails_without_resume_leaves_nothing(
    in_place: bool, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digest(source)

    def fail(*args: Any, **options: Any) -> None:
        raise OSError("no")

    with monkeypatch.context() as patch:
        patch.setattr(
            "napari_pyramid.metadata.ome_zarr.add_levels"
            if in_place
            else "napari_pyramid.metadata.ome_zarr.write_image",
            fail,
        )
        with pytest.raises(DestinationError):
            build_pyramid(
                source,
                None if in_place else tmp_path / "x.ome.zarr",
                in_place=in_place,
                n_levels=3,
                factors=2,
                resume=False,
            )
    assert digest(source) == before
    assert names(tmp_path) == {"s.zarr"}


def test_an_image_inside_a_store_is_finished_from_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Levels that a killed build had put there are no images of the store."""
    data = np.random.default_rng(0).integers(0, 9, (40, 50)).astype("uint16")
    root = tmp_path / "all.zarr"
    zarr.create_group(root).create_group("one").create_array("raw", data=data, chunks=(8, 8))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", _raise_killed_for_metadata_of(root / "one"))
        with pytest.raises(Killed):
            build_pyramid(root, in_place=True, n_levels=3, factors=2)
    assert (root / "one" / "raw_1").exists()
    build_pyramid(root, in_place=True, n_levels=3, factors=2)
    assert [level.shape for level in open_pyramid(root / "one")] == [(40, 50), (20, 25), (10, 13)]
    assert names(tmp_path) == {"all.zarr"}


def _raise_killed_for_metadata_of(group: Path) -> Callable[[Path, Path], Any]:
    replace = Path.replace

    def killed(path: Path, target: Path) -> Any:
        if Path(target) == group / "zarr.json":
            raise Killed
        return replace(path, target)

    return killed


def test_stopping_at_the_last_step_publishes_nothing(source: Path, tmp_path: Path) -> None:
    steps = iter_build(source, tmp_path / "x.ome.zarr", name="x", **OPTIONS)
    next(step for step in steps if step.done == step.total)
    steps.close()
    assert not (tmp_path / "x.ome.zarr").exists()
    build_pyramid(source, tmp_path / "x.ome.zarr", name="x", **OPTIONS)
    assert names(tmp_path) == {"s.zarr", "x.ome.zarr"}


def test_a_progress_that_raises_stops_the_build(source: Path, tmp_path: Path) -> None:
    def progress(step: Any) -> None:
        raise ValueError("no such bar")

    with pytest.raises(ValueError, match="no such bar") as kept:
        build_pyramid(source, tmp_path / "x.ome.zarr", name="x", progress=progress, **OPTIONS)
    build_pyramid(source, tmp_path / "x.ome.zarr", name="x", **OPTIONS)
    assert kept.value.__traceback__ is not None, (
        "it holds the frames of the first build, and with them its lock"
    )


def test_work_planned_for_more_memory_is_not_continued_with_less(tmp_path: Path) -> None:
    source = tmp_path / "s.zarr"
    zarr.create_array(source, data=np.ones((61, 75, 83), "uint16"), chunks=(32, 32, 32))
    wide = {"chunks": (32, 32, 32), "max_workers": 1, "factors": 2, "n_levels": 3}
    steps = iter_build(source, tmp_path / "x.ome.zarr", name="x", **wide)
    next(step for step in steps if step.done)
    steps.close()
    with pytest.raises(
        SpecError,
        match=r"planned for .* of memory, but the limit is .*: allow that much with memory_limit=, "
        r"or start over",
    ):
        build_pyramid(
            source, tmp_path / "x.ome.zarr", name="x", memory_limit=32 * 2**20 + 2**19, **wide
        )


# ---- two at once ---------------------------------------------------------------------------------


def test_a_second_build_is_refused_and_names_the_first(
    source: Path, tmp_path: Path, tiles: list[int]
) -> None:
    first = iter_build(source, tmp_path / "x.ome.zarr", name="x", **OPTIONS)
    next(first)
    try:
        with pytest.raises(
            BuildInProgressError, match=rf"process {os.getpid()} on .* is writing it now"
        ):
            next(iter_build(source, tmp_path / "x.ome.zarr", name="x", **OPTIONS))
        for _ in first:
            pass
    finally:
        first.close()
    assert len(open_pyramid(tmp_path / "x.ome.zarr")) == 3


def test_the_lock_of_a_dead_process_does_not_count(
    source: Path, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    script = f"""
    import os
    from napari_pyramid import iter_build
    steps = iter_build({str(source)!r}, {str(tmp_path / "x.ome.zarr")!r}, name="x", **{OPTIONS!r})
    next(steps)
    os._exit(9)
    """
    assert (
        subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False).returncode == 9
    )
    assert (tmp_path / ".x.ome.zarr.building" / "owner.json").exists()
    build_pyramid(source, tmp_path / "x.ome.zarr", name="x", **OPTIONS)
    assert digest(tmp_path / "x.ome.zarr") == undisturbed


# ---- sources that fail ---------------------------------------------------------------------------


def corrupt(source: Path) -> None:
    (source / "0" / "c" / "1" / "2" / "3").write_bytes(b"not blosc, not zstd, nothing at all")


def test_a_corrupt_chunk_is_named_and_nothing_published(source: Path, tmp_path: Path) -> None:
    corrupt(source)
    with pytest.raises(SourceError, match=r"region \[.*\] of the source cannot be read"):
        build_pyramid(source, tmp_path / "x.ome.zarr", **OPTIONS)
    assert not (tmp_path / "x.ome.zarr").exists()


@pytest.mark.parametrize("fill_value", [0, 7])
def test_skipped_chunks_are_fill_value_and_listed(
    fill_value: int, tmp_path: Path, read_level: Any, downsampled: Any
) -> None:
    data = np.random.default_rng(0).integers(1, 900, (61, 75)).astype("uint16")
    path = tmp_path / "s.zarr"
    zarr.create_group(path).create_array(
        "0", shape=data.shape, dtype=data.dtype, chunks=(8, 8), fill_value=fill_value
    )[:] = data
    (path / "0" / "c" / "2" / "3").write_bytes(b"not zstd")
    data[16:24, 24:32] = fill_value
    build_pyramid(
        path, tmp_path / "x.ome.zarr", skip_unreadable=True, factors=2, n_levels=2, chunks=(16, 16)
    )
    np.testing.assert_array_equal(read_level(tmp_path / "x.ome.zarr" / "0"), data)
    np.testing.assert_array_equal(
        read_level(tmp_path / "x.ome.zarr" / "1"), downsampled(data, (2, 2), "mean")
    )
    (multiscale,) = zarr.open_group(tmp_path / "x.ome.zarr", mode="r").attrs["ome"]["multiscales"]
    assert multiscale["metadata"]["kwargs"]["unreadable"] == [
        {"level": 0, "region": [[16, 24], [24, 32]]}
    ]


def test_a_chunk_that_is_met_again_after_a_kill_is_listed_once(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corrupt(source)
    mark = Journal.mark

    def killed(self: Journal, number: int) -> None:
        if (tmp_path / ".x.ome.zarr.building" / "state.json").read_text().count("region"):
            raise Killed
        mark(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "mark", killed)
        with pytest.raises(Killed):
            build_pyramid(
                source, tmp_path / "x.ome.zarr", name="x", skip_unreadable=True, **OPTIONS
            )
    build_pyramid(source, tmp_path / "x.ome.zarr", name="x", skip_unreadable=True, **OPTIONS)
    (multiscale,) = zarr.open_group(tmp_path / "x.ome.zarr", mode="r").attrs["ome"]["multiscales"]
    assert multiscale["metadata"]["kwargs"]["unreadable"] == [
        {"level": 0, "region": [[8, 16], [16, 24], [24, 32]]}
    ]


@pytest.mark.parametrize(
    "error",
    [
        OSError("gone"),
        ValueError("bad"),
        RuntimeError("worse"),
        KeyError("k"),
        ZeroDivisionError("0"),
    ],
)
def test_a_source_that_raises_half_way_is_named_and_the_rest_stays(
    error: Exception, tmp_path: Path
) -> None:
    class Source:
        shape, dtype = (200, 200), np.dtype("uint8")

        def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
            if key[0].start >= 64:
                raise error
            return np.ones(tuple(s.stop - s.start for s in key), self.dtype)

    zarr.create_group(tmp_path / "x.ome.zarr", attributes={"old": 1})
    before = digest(tmp_path / "x.ome.zarr")
    with pytest.raises(
        SourceError,
        match=rf"region \[\d+:\d+, \d+:\d+\] of the source cannot be read: {type(error).__name__}",
    ):
        build_pyramid(
            Source(), tmp_path / "x.ome.zarr", chunks=(32, 32), n_levels=2, overwrite=True
        )
    assert digest(tmp_path / "x.ome.zarr") == before
    assert names(tmp_path) == {"x.ome.zarr"}


# ---- work and sources that change ----------------------------------------------------------------


def test_work_that_is_removed_under_the_build_ends_it(
    source: Path, tmp_path: Path, tiles: list[int]
) -> None:
    steps = iter_build(source, tmp_path / "x.ome.zarr", memory_limit=40 * 2**20, **OPTIONS)
    next(step for step in steps if step.done)
    shutil.rmtree(tmp_path / ".x.ome.zarr.building", ignore_errors=True)
    with pytest.raises(DestinationError, match=r"was removed while it was built|cannot be written"):
        for _ in steps:
            pass
    assert names(tmp_path) == {"s.zarr"}


@pytest.mark.parametrize("in_place", [False, True])
def test_a_source_that_vanishes_is_not_published_as_zeros(
    in_place: bool, source: Path, tmp_path: Path, tiles: list[int]
) -> None:
    """Missing chunks are fill value, but a missing array is not."""
    steps = iter_build(
        source,
        None if in_place else tmp_path / "x.ome.zarr",
        in_place=in_place,
        n_levels=3,
        factors=2,
        memory_limit=40 * 2**20,
    )
    next(step for step in steps if step.done)
    (source / "0").rename(tmp_path / "away")
    with pytest.raises((SourceError, DestinationError)):
        list(steps)
    assert not (tmp_path / "x.ome.zarr").exists()
    assert names(source) == {"zarr.json"}


def test_what_failed_on_a_chunk_goes_on_without_it(source: Path, tmp_path: Path) -> None:
    corrupt(source)
    with pytest.raises(SourceError):
        build_pyramid(source, tmp_path / "x.ome.zarr", name="x", **OPTIONS)
    build_pyramid(source, tmp_path / "x.ome.zarr", name="x", skip_unreadable=True, **OPTIONS)
    build_pyramid(source, tmp_path / "y.ome.zarr", name="x", skip_unreadable=True, **OPTIONS)
    assert digest(tmp_path / "x.ome.zarr") == digest(tmp_path / "y.ome.zarr")


def test_what_took_a_chunk_as_empty_does_not_go_on_as_if_it_had_been_read(
    source: Path, tmp_path: Path, tiles: list[int]
) -> None:
    corrupt(source)
    steps = iter_build(source, tmp_path / "x.ome.zarr", name="x", skip_unreadable=True, **OPTIONS)
    next(
        step
        for step in steps
        if "region" in (tmp_path / ".x.ome.zarr.building" / "state.json").read_text()
    )
    steps.close()
    with pytest.raises(DestinationError, match="another recipe"):
        build_pyramid(source, tmp_path / "x.ome.zarr", name="x", **OPTIONS)


def test_what_is_taken_as_empty_in_place_is_not_compared(source: Path) -> None:
    corrupt(source)
    built = build_pyramid(
        source, in_place=True, skip_unreadable=True, verify=True, n_levels=3, factors=2
    )
    assert not built[1][4:8, 8:12, 12:16].any()


def test_a_build_from_a_tiff_is_resumed_unless_the_file_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "embryo.tif"
    tifffile.imwrite(
        path, np.arange(64 * 200 * 200, dtype=np.uint16).reshape(64, 200, 200), tile=(32, 32)
    )
    options = {"chunks": (4, 16, 16), "n_levels": 2, "max_workers": 1}
    steps = iter_build(path, tmp_path / "x.ome.zarr", **options)
    done = next(s.done for s in steps if s.done >= 5)
    steps.close()
    again = iter_build(path, tmp_path / "x.ome.zarr", **options)
    assert next(s.done for s in again if s.bytes_read) > done
    again.close()
    os.utime(path, ns=(0, 0))
    with pytest.raises(DestinationError, match="changed"):
        next(iter_build(path, tmp_path / "x.ome.zarr", **options))


def test_unfinished_work_keeps_its_tiles_with_other_workers(source: Path, tmp_path: Path) -> None:
    build_pyramid(source, tmp_path / "undisturbed.ome.zarr", name="x", **OPTIONS)
    steps = iter_build(source, tmp_path / "x.ome.zarr", name="x", **OPTIONS | {"max_workers": 1})
    done = next(s.done for s in steps if s.done)
    steps.close()
    other = OPTIONS | {"max_workers": 64}
    plans = [
        [(p.last, p.tile) for p in plan_build(source, **o).passes]
        for o in (OPTIONS | {"max_workers": 1}, other)
    ]
    assert plans[0] != plans[1]
    again = iter_build(source, tmp_path / "x.ome.zarr", name="x", **other)
    assert next(s.done for s in again if s.done) >= done
    assert list(again)[-1].done
    assert digest(tmp_path / "x.ome.zarr") == digest(tmp_path / "undisturbed.ome.zarr")
