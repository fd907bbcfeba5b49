"""What the workers of an executor have, and how many tiles they are handed at once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pytest

from napari_pyramid.build.capacity import Capacity, Pace, Window, limits_for
from napari_pyramid.build.dask_executor import DaskExecutor


class Client:
    """As much of a dask client as says what its workers have."""

    status = "running"

    def __init__(self, *workers: dict[str, int]) -> None:
        self.workers = workers

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        return {"workers": dict(enumerate(self.workers))}


def dask(*workers: tuple[int, int]) -> DaskExecutor:
    """An executor of workers with so many threads and GiB."""
    said = ({"nthreads": threads, "memory_limit": gib * 2**30} for threads, gib in workers)
    return DaskExecutor(Client(*said))


def test_the_worker_with_the_least_memory_limits_the_plan() -> None:
    assert Capacity.of(dask((2, 16), (4, 8))) == Capacity(6, 4, 4 * 2**30)
    limits = limits_for(dask((2, 16), (4, 8)), None, None)
    assert (limits.workers, limits.memory, limits.processes) == (4, 4 * 2**30, 2)


def test_what_is_given_counts_for_each_process() -> None:
    limits = limits_for(dask((2, 16), (4, 8)), 1, 2**30)
    assert (limits.workers, limits.memory) == (1, 2**30)


def test_a_cluster_that_has_no_workers_yet_can_be_planned_for() -> None:
    assert limits_for(dask(), None, None).workers == 1


def test_processes_of_this_machine_share_its_memory() -> None:
    with ProcessPoolExecutor(4) as pool:
        four = limits_for(pool, None, None)
    with ProcessPoolExecutor(1) as pool:
        one = limits_for(pool, None, None)
    assert four.workers == one.workers == 1
    assert four.memory == pytest.approx(one.memory / 4, rel=0.2)


@pytest.mark.parametrize(("threads", "most"), [(6, 100), (2000, 5000)])
def test_a_few_calls_are_pending_for_each_thread(threads: int, most: int) -> None:
    size = Window(dask((threads, 8)), 1).size
    assert 2 * threads <= size <= most


def paced(executor: Executor | None, threads: int, n_tiles: int, seconds: Sequence[float]) -> int:
    pace = Pace(executor, threads, n_tiles)
    for took in seconds:
        pace.add(took)
    return pace.tiles


@pytest.mark.parametrize(
    ("threads", "n_tiles", "seconds", "tiles"),
    [
        (2, 10**6, [], 1),
        (2, 10**6, [0.1] * 50, 10),
        (2, 10**6, [0.0] * 50, 64),
        (2, 10**6, [5.0] * 50, 1),
        (1000, 10**6, [5.0] * 50, 4),
        (1000, 10**4, [0.1] * 50, 1),
        (10, 800, [0.01] * 50, 10),
    ],
    ids=["unknown", "short", "empty", "long", "many threads", "few tiles", "some tiles"],
)
def test_a_scheduler_passes_on_at_most_fifty_calls_a_second(
    threads: int, n_tiles: int, seconds: list[float], tiles: int
) -> None:
    assert paced(dask((threads, 8)), threads, n_tiles, seconds) == tiles


def test_threads_take_one_tile_at_a_time() -> None:
    with ThreadPoolExecutor(2) as pool:
        assert paced(pool, 2, 10**6, [0.0]) == 1
    assert paced(None, 2, 10**6, [0.0]) == 1
