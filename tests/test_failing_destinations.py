"""Disks that fill up, and permissions that are missing or get lost: what was there stays, and the next run goes on."""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_pyramid import DestinationError, build_pyramid, iter_build, open_pyramid
from napari_pyramid.build.fill import TileFiller

DATA = np.random.default_rng(0).integers(0, 900, (61, 75, 83)).astype("uint16")
OPTIONS: dict[str, Any] = {
    "n_levels": 3,
    "chunks": (8, 8, 8),
    "factors": 2,
    "name": "x",
    "memory_limit": 40 * 2**20,
}
"""The memory is so small that there are many tiles."""


def digest(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


def write_source(path: Path) -> Path:
    zarr.create_group(path).create_array("0", data=DATA, chunks=(8, 8, 8))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path / "s.zarr")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of an undisturbed build."""
    root = tmp_path_factory.mktemp("undisturbed")
    build_pyramid(write_source(root / "s.zarr"), root / "x.ome.zarr", **OPTIONS)
    return digest(root / "x.ome.zarr")


# ---- space -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A disk of its own, of the given size; called again, its size changes. Only root may make one."""
    place = tmp_path / "disk"
    place.mkdir()

    def sized(size: str) -> Path:
        options = f"size={size}" + (",remount" if place.is_mount() else "")
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            pytest.skip(f"no disk can be mounted here: {made.stderr}")
        return place

    yield sized
    if place.is_mount():
        subprocess.run(["umount", place], check=True)


@pytest.mark.skipif(
    os.getuid() != 0, reason="only root may mount a disk; a limit of file sizes stands for it below"
)
@pytest.mark.parametrize("size", ["32k", "256k", "1m", "3500k", "3900k"])
def test_a_full_disk_stops_the_build_and_room_on_it_lets_it_go_on(
    size: str, disk: Callable[[str], Path], source: Path, undisturbed: dict[str, str]
) -> None:
    destination = disk(size) / "x.ome.zarr"
    with pytest.raises(
        DestinationError,
        match=r"[Nn]o space left on device.*: make room and run the same command again",
    ) as caught:
        build_pyramid(source, destination, **OPTIONS)
    assert "\n" not in str(caught.value)
    assert str(destination) in str(caught.value)
    assert not destination.exists()
    disk("64m")
    build_pyramid(source, destination, **OPTIONS)
    assert digest(destination) == undisturbed
    assert [p.name for p in destination.parent.iterdir()] == ["x.ome.zarr"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount a disk")
def test_a_full_disk_leaves_a_group_in_place_as_it_was(disk: Callable[[str], Path]) -> None:
    group = write_source(disk("4m") / "s.zarr")
    before = digest(group)
    options = {k: v for k, v in OPTIONS.items() if k != "name"} | {"in_place": True}
    with pytest.raises(DestinationError, match=r"[Nn]o space left"):
        build_pyramid(group, **options)
    assert digest(group) == before
    assert len(open_pyramid(group)) == 1
    disk("64m")
    build_pyramid(group, **options)
    assert len(open_pyramid(group)) == 3
    assert {k: v for k, v in digest(group).items() if k in before and k.startswith("0/")} == {
        k: v for k, v in before.items() if k.startswith("0/")
    }


@pytest.mark.parametrize("limit", [200, 900, 2000, 20_000])
def test_no_space_left(limit: int, tmp_path: Path) -> None:
    """No file of this process can grow beyond the limit: what a full disk looks like, at different moments."""
    source = zarr.create_array(
        tmp_path / "s.zarr",
        data=np.random.default_rng(0).integers(0, 2**16, (256, 256)).astype("uint16"),
        chunks=(128, 128),
    )
    options: dict[str, Any] = {"chunks": (128, 128), "n_levels": 2, "name": "x"}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(DestinationError) as caught:
            build_pyramid(source, tmp_path / "x.ome.zarr", **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "x.ome.zarr").exists()
    build_pyramid(source, tmp_path / "x.ome.zarr", **options)
    assert {p.name for p in tmp_path.iterdir()} == {"s.zarr", "x.ome.zarr"}
    np.testing.assert_array_equal(open_pyramid(tmp_path / "x.ome.zarr")[0][:], source[:])


# ---- permission ------------------------------------------------------------------------------------------------------


NOBODY = 65534


@pytest.fixture
def as_nobody(tmp_path: Path) -> Callable[[Callable[[], None]], str]:
    """Calls a function in a child that gives up root's rights, for root may write anywhere; returns the error that it ended with."""
    for parent in [tmp_path, *tmp_path.parents]:
        if parent.stat().st_uid == os.getuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o055)

    def call(function: Callable[[], None]) -> str:
        told = tmp_path / "told.txt"
        told.touch(mode=0o666)
        told.chmod(0o666)
        child = os.fork()
        if not child:
            try:
                if os.getuid() == 0:
                    os.setgid(NOBODY)
                    os.setuid(NOBODY)
                function()
            except BaseException as exc:
                told.write_text(f"{type(exc).__name__}: {exc}")
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        error = told.read_text()
        told.unlink()
        return error

    return call


def test_a_destination_without_permission_is_refused_before_anything_is_written(
    tmp_path: Path, as_nobody: Any
) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir(mode=0o555)
    error = as_nobody(lambda: iter_build(DATA, shelf / "x.ome.zarr", n_levels=2))
    assert "no permission to write: choose another destination" in error
    assert error.startswith("DestinationError")
    assert list(shelf.iterdir()) == []


@pytest.mark.parametrize("lost", ["new/1", "new", "."])
def test_permission_that_is_lost_half_way_stops_the_build_and_given_back_lets_it_go_on(
    lost: str, source: Path, tmp_path: Path, as_nobody: Any, undisturbed: dict[str, str]
) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    shelf.chmod(0o777)

    def build_and_lose() -> None:
        lost_now, plain = threading.Event(), TileFiller.fill

        def fill(self: TileFiller, number: int) -> Any:
            return plain(self, number) if number < 2 or lost_now.wait(60) else None

        TileFiller.fill = (
            fill  # of this child alone: the build must not be through before it loses anything
        )
        steps = iter_build(source, shelf / "x.ome.zarr", **OPTIONS)
        next(step for step in steps if step.done)
        for directory in directories():
            directory.chmod(0o555)
        lost_now.set()
        for _ in steps:
            pass

    def directories() -> list[Path]:
        root = shelf / ".x.ome.zarr.building" / lost
        return [root, *(p for p in root.rglob("*") if p.is_dir())]

    error = as_nobody(build_and_lose)
    assert error.startswith("DestinationError"), error
    assert "make the destination writable and run the same command again" in error
    assert not (shelf / "x.ome.zarr").exists()
    for directory in directories():
        directory.chmod(0o755)
    assert (shelf / ".x.ome.zarr.building" / "journal-0").read_bytes().count(1) > 0, (
        "what was done is kept"
    )
    build_pyramid(source, shelf / "x.ome.zarr", **OPTIONS)
    assert digest(shelf / "x.ome.zarr") == undisturbed
