"""A petabyte on paper: the plan, and a dry run that hands out every tile without pixels."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import zarr
from helpers import Array

from napari_pyramid import DestinationError
from napari_pyramid.build import Build, plan_build

PETABYTE = (2**17, 2**16, 2**16)
GRID: dict[str, Any] = {"chunks": (128,) * 3, "shards": (1024,) * 3}
ROOM = 16 * 2**30
"""Two bytes times 1024^3 are a shard, and a worker holds three."""

PLAN = """
import json, resource, time
from pathlib import Path
from helpers import Array
from napari_pyramid.build import plan_build
began = time.process_time()
build = plan_build(Array({shape}), axes="zyx", memory_limit={room}, **{grid})
text = str(build)
seconds = time.process_time() - began
try:  # as a child of Linux, a process has the peak of its parent too
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
except OSError:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([seconds, peak, build.spec.levels[0].nbytes, build.n_files, text]))
"""


@pytest.mark.posix("resource")
def test_a_petabyte_is_planned_in_a_second_and_200_megabytes() -> None:
    code = PLAN.format(shape=PETABYTE, room=ROOM, grid=GRID)
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    seconds, peak, nbytes, n_files, text = json.loads(found.stdout)
    assert nbytes == 2**50
    assert n_files == sum(8**k for k in range(1, 7)) * 2 + 2 + 3
    assert "1024.0 TiB" in text
    assert seconds < 1
    assert peak < 200e6


def plan(shape: tuple[int, ...] = PETABYTE, **more: Any) -> Build:
    return plan_build(
        Array(shape), axes="zyx", memory_limit=ROOM, max_workers=2, **{**GRID, **more}
    )


SMALL = (2**11, 2**12, 2**13)
"""A shape of 280 tiles."""


class Recording(ThreadPoolExecutor):
    """Counts how often each tile is handed out, by pass."""

    def __init__(self) -> None:
        super().__init__(2)
        self.tiles: Counter[tuple[object, int]] = Counter()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        filler, numbers = fn.args[0], args[0]  # type: ignore[attr-defined]  # a functools.partial
        self.tiles.update((filler.p, number) for number in numbers)
        return super().submit(fn, *args, **kwargs)


def test_a_dry_run_hands_out_every_tile_once(tmp_path: Path) -> None:
    with Recording() as pool:
        build = plan(SMALL, shards=(256,) * 3, executor=pool)
        *_, last = build.dry_run(tmp_path)
    assert set(pool.tiles) == {(p, n) for p in build.passes for n in range(p.n_tiles)}
    assert set(pool.tiles.values()) == {1}
    assert last.done == last.total == sum(p.n_tiles for p in build.passes) > 100
    assert last.bytes_written == build.nbytes
    assert not list(tmp_path.iterdir())


def test_a_stopped_dry_run_is_resumed(tmp_path: Path) -> None:
    with Recording() as pool:
        build = plan(executor=pool)
        with closing(build.dry_run(tmp_path)) as steps:
            stopped = next(s.done for s in steps if s.done > 1000)
        first = +pool.tiles
        with closing(build.dry_run(tmp_path)) as steps:
            assert next(steps).done >= stopped
            next(s for s in steps if s.done > 2 * stopped)
    again = pool.tiles - first
    # What was pending when it was stopped is not done.
    assert len(set(again) & set(first)) <= 2 * 2


def test_a_dry_run_of_another_build_is_refused(tmp_path: Path) -> None:
    with closing(plan().dry_run(tmp_path)) as steps:
        next(s for s in steps if s.done)
    with pytest.raises(DestinationError, match="another recipe"):
        next(plan(method="max").dry_run(tmp_path))


def test_a_dry_run_resumes_with_less_memory(tmp_path: Path) -> None:
    """The limit follows the free memory, which changes between two runs."""
    shape, grid = (2**13,) * 3, {"chunks": (128,) * 3, "shards": (256,) * 3}
    first, second = (
        plan_build(Array(shape), axes="zyx", max_workers=1, memory_limit=limit, **grid)
        for limit in (2**30, 400 * 2**20)
    )
    with closing(first.dry_run(tmp_path)) as steps:
        stopped = next(s.done for s in steps if s.done)
    with closing(second.dry_run(tmp_path)) as steps:
        assert next(steps).done >= stopped


def test_a_dry_run_is_flat_in_memory(tmp_path: Path) -> None:
    with closing(plan().dry_run(tmp_path)) as steps:
        next(s for s in steps if s.done > 1000)
        tracemalloc.start()
        try:
            next(s for s in steps if s.done > 2000)
            _, early = tracemalloc.get_traced_memory()
            next(s for s in steps if s.done > 12000)
            _, late = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert late - early < 2**17, "10,000 tiles more, at 13 bytes each"


def test_other_processes_take_part_in_a_dry_run(tmp_path: Path) -> None:
    source = zarr.create_array(
        tmp_path / "a.zarr", shape=PETABYTE, chunks=(128,) * 3, dtype="uint16"
    )
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        build = plan_build(source, executor=pool, memory_limit=ROOM, **GRID)
        with closing(build.dry_run(tmp_path)) as steps:
            found = next(s for s in steps if s.done > 10)
        assert found.bytes_read > 10 * 2**30
        small = zarr.create_array(
            tmp_path / "b.zarr", shape=SMALL, chunks=(128,) * 3, dtype="uint16"
        )
        build = plan_build(small, executor=pool, chunks=(128,) * 3, shards=(256,) * 3)
        (tmp_path / "second").mkdir()
        *_, last = build.dry_run(tmp_path / "second")
    assert last.done == last.total > 500
    assert last.bytes_written == build.nbytes
