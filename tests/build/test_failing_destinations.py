"""Disks that fill up, and permissions that are missing or get lost.

What was there stays, and the next run goes on.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from helpers import digest

from napari_pyramid import DestinationError, build_pyramid, open_pyramid

DATA = np.random.default_rng(0).integers(0, 900, (61, 75, 83)).astype("uint16")
OPTIONS: dict[str, Any] = {
    "n_levels": 3,
    "chunks": (8, 8, 8),
    "factors": 2,
    "name": "x",
    "memory_limit": 40 * 2**20,
}
"""The memory is so small that there are many tiles."""


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


# ---- space ---------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A disk of its own, of the given size; called again, its size changes.

    Only root may make one.
    """
    if sys.platform != "linux" or os.getuid() != 0:
        pytest.skip("only root may mount a disk; a limit of file sizes stands for it below")
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


@pytest.mark.posix("there is no limit of file sizes")
@pytest.mark.parametrize("limit", [200, 900, 2000, 20_000])
def test_no_space_left(limit: int, tmp_path: Path) -> None:
    """No file of this process can grow beyond the limit.

    What a full disk looks like, at different moments.
    """
    import resource

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


# ---- permission ----------------------------------------------------------------------------------


BUILD = """
import json, sys
from pathlib import Path
from threading import Event
import numpy as np
from napari_pyramid import iter_build
from napari_pyramid.build.fill import TileFiller

shelf, arguments = Path(sys.argv[1]), json.loads(sys.argv[2])
try:
    {}
except Exception as exc:
    print(f"{{type(exc).__name__}}: {{exc}}")
"""


@pytest.fixture
def without_rights(tmp_path: Path) -> Callable[..., str]:
    """Runs code in a process that permissions bind, and returns the error that the code ended with.

    Root may write anywhere. The process stays root's, so that it can import what root can, but
    gives up the right to write where permissions say no.
    """
    command = [sys.executable, "-c"]
    (tmp_path / "probe").mkdir(mode=0o555)
    if os.access(tmp_path / "probe", os.W_OK):
        if not shutil.which("setpriv"):
            pytest.skip("root needs setpriv to give up its right to write anywhere")
        command = ["setpriv", "--inh-caps=-dac_override", "--bounding-set=-dac_override", *command]
    (tmp_path / "probe").rmdir()

    def run(code: str, *arguments: str) -> str:
        script = BUILD.format(textwrap.indent(textwrap.dedent(code), "    ").strip())
        ended = subprocess.run(
            [*command, script, *arguments], capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return run


@pytest.mark.posix("permissions of folders bind nobody")
def test_a_destination_without_permission_is_refused_before_anything_is_written(
    tmp_path: Path, without_rights: Callable[..., str]
) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir(mode=0o555)
    code = 'iter_build(np.ones((61, 75, 83), "u2"), shelf / "x.ome.zarr", n_levels=2)'
    error = without_rights(code, str(shelf), "null")
    assert "no permission to write: choose another destination" in error
    assert error.startswith("DestinationError")
    assert list(shelf.iterdir()) == []


LOSE_PERMISSION = """
    lost_now, plain = Event(), TileFiller.fill

    def fill(self, number):
        # the build must not be through before it loses anything
        return plain(self, number) if number < 2 or lost_now.wait(600) else None

    TileFiller.fill = fill
    steps = iter_build(arguments["source"], shelf / "x.ome.zarr", **arguments["options"])
    next(step for step in steps if step.done)
    root = shelf / ".x.ome.zarr.building" / arguments["lost"]
    for directory in [root, *(p for p in root.rglob("*") if p.is_dir())]:
        directory.chmod(0o555)
    lost_now.set()
    for _ in steps:
        pass
"""


@pytest.mark.posix("permissions of folders bind nobody")
@pytest.mark.parametrize("lost", ["new/1", "new", "."])
def test_permission_that_is_lost_half_way_stops_the_build_and_given_back_lets_it_go_on(
    lost: str,
    source: Path,
    tmp_path: Path,
    without_rights: Callable[..., str],
    undisturbed: dict[str, str],
) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    arguments = json.dumps({"source": str(source), "options": OPTIONS, "lost": lost})
    error = without_rights(LOSE_PERMISSION, str(shelf), arguments)
    assert error.startswith("DestinationError"), error
    assert "make the destination writable and run the same command again" in error
    assert not (shelf / "x.ome.zarr").exists()
    root = shelf / ".x.ome.zarr.building" / lost
    for directory in [root, *(p for p in root.rglob("*") if p.is_dir())]:
        directory.chmod(0o755)
    assert (shelf / ".x.ome.zarr.building" / "journal-0").read_bytes().count(1) > 0, (
        "what was done is kept"
    )
    build_pyramid(source, shelf / "x.ome.zarr", **OPTIONS)
    assert digest(shelf / "x.ome.zarr") == undisturbed
