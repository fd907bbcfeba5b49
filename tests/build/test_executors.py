"""Tiles that an executor of the caller fills: threads, processes and cluster workers."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_pyramid import DestinationError, SourceError, SpecError, build_pyramid, iter_build
from napari_pyramid.build import executors, plan_build, worker
from napari_pyramid.build.capacity import SHARE
from napari_pyramid.build.fill import TileFiller
from napari_pyramid.build.prepare import prepare_job
from napari_pyramid.build.request import Request
from napari_pyramid.build.tokens import wait_for_workers
from napari_pyramid.plan.memory import OVERHEAD

OPTIONS: dict[str, Any] = {
    "n_levels": 1,
    "chunks": (4, 64, 64),
    "max_workers": 2,
    "memory_limit": 512 * 2**20,
    "name": "x",
}


class Elsewhere(Executor):
    """Passes for one worker of a cluster, with several threads.

    As with dask, a call can be cancelled while it runs, and runs on.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads)
        self._max_workers = threads

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        travelled = pickle.loads(pickle.dumps(fn))

        def run() -> None:
            try:
                found = travelled(*args, **kwargs)
            except Exception as exc:
                future.set_exception(exc)
            else:
                future.set_result(found)

        self._pool.submit(run)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


class Watch:
    """How many tiles are being filled, were at most, and were in all; each takes a while."""

    def __init__(self) -> None:
        self.seconds = 0.05
        self.together = 1
        """Tiles that are started before any of them goes on; a divisor of all tiles."""
        self.now = self.peak = self.filled = 0
        self._lock = threading.Lock()
        self._all_begun = threading.Condition(self._lock)

    def __enter__(self) -> None:
        with self._lock:
            self.now += 1
            self.filled += 1
            self.peak = max(self.peak, self.now)
            self._all_begun.notify_all()
            wanted = -(-self.filled // self.together) * self.together
            assert self._all_begun.wait_for(lambda: self.filled >= wanted, 60)
        time.sleep(self.seconds)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.now -= 1


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch, plain = Watch(), TileFiller.fill

    def fill(self: TileFiller, number: int) -> Any:
        with watch:
            return plain(self, number)

    monkeypatch.setattr(TileFiller, "fill", fill)
    return watch


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Sixteen tiles of 4 planes."""
    data = np.random.default_rng(0).integers(1, 9, (64, 64, 64), dtype=np.uint8)
    build_pyramid(data, tmp_path / "source.zarr", **OPTIONS)
    assert [
        p.n_tiles
        for p in plan_build(tmp_path / "source.zarr", tmp_path / "x.zarr", **OPTIONS).passes
    ] == [16]
    return tmp_path / "source.zarr"


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    with Elsewhere(4) as executor:
        yield executor


# ---- as many at once as they can -----------------------------------------------------------------


def test_all_threads_of_a_worker_process_fill_tiles(
    source: Path, tmp_path: Path, watch: Watch, elsewhere: Elsewhere, read_level: Any
) -> None:
    watch.together = 4
    build_pyramid(source, tmp_path / "x.zarr", executor=elsewhere, **OPTIONS)
    assert watch.peak == 4
    assert np.array_equal(read_level(tmp_path / "x.zarr" / "0"), read_level(source / "0"))


def test_threads_of_the_caller_keep_to_the_memory_limit(
    source: Path, tmp_path: Path, watch: Watch
) -> None:
    (p,) = plan_build(source, tmp_path / "x.zarr", **OPTIONS).passes
    assert p.workers == 2
    watch.together = 2
    with ThreadPoolExecutor(8) as pool:
        build_pyramid(source, tmp_path / "x.zarr", executor=pool, **OPTIONS)
    assert watch.peak == 2


def test_a_worker_process_fills_as_many_tiles_at_once_as_it_has_memory_for(
    source: Path,
    tmp_path: Path,
    watch: Watch,
    elsewhere: Elsewhere,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker that has joined a cluster later may have less than the plan was made for."""
    job = prepare_job(Request(source=source, options={"n_levels": 1, "chunks": (4, 64, 64)}))
    two = OVERHEAD + 2 * job.worker_bytes(job.passes[0])
    monkeypatch.setattr(worker, "dask_memory_limit", lambda: two / SHARE)
    watch.together = 2
    build_pyramid(source, tmp_path / "x.zarr", executor=elsewhere, **OPTIONS)
    assert watch.peak == 2


# ---- what is not shared --------------------------------------------------------------------------


def test_a_worker_that_does_not_see_the_source_says_so(
    source: Path, tmp_path: Path, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks that are missing read as fill value, so that nothing else would tell."""
    plain = worker._open

    def on_another_host(parcel: worker.Parcel) -> Any:
        hidden = source.rename(source.with_name("hidden"))
        try:
            return plain(parcel)
        finally:
            hidden.rename(source)

    monkeypatch.setattr(worker, "_open", on_another_host)
    with pytest.raises(SourceError, match="does not see the source"):
        build_pyramid(source, tmp_path / "x.zarr", executor=elsewhere, **OPTIONS)


def test_a_worker_that_does_not_see_the_destination_says_so(
    source: Path, tmp_path: Path, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = executors.filler

    def for_another_host(*args: Any) -> Any:
        fill = plain(*args)
        parcel = replace(fill.args[0], workspace=tmp_path / "local to the host")
        return partial(worker.fill_tiles, parcel)

    monkeypatch.setattr(executors, "filler", for_another_host)
    with pytest.raises(DestinationError, match="is not shared"):
        build_pyramid(source, tmp_path / "x.zarr", executor=elsewhere, **OPTIONS)
    assert not (tmp_path / "local to the host").exists()


def test_an_array_in_memory_is_not_sent_to_other_processes(
    tmp_path: Path, elsewhere: Elsewhere
) -> None:
    stored = zarr.create_array(zarr.storage.MemoryStore(), shape=(64,) * 3, dtype="uint8")
    for source in (np.zeros((64,) * 3, "uint8"), stored):
        with pytest.raises(SpecError, match="other processes cannot open this source"):
            plan_build(source, tmp_path / "x.zarr", executor=elsewhere)


# ---- stopped -------------------------------------------------------------------------------------


def test_a_worker_process_is_awaited_until_its_last_tile_ends(
    source: Path, tmp_path: Path, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the build after a killed one awaits what that one left running."""
    spec = plan_build(source, **OPTIONS).spec
    request = Request(source=source, destination=tmp_path / "x.zarr", spec=spec, max_workers=2)
    job = prepare_job(request)
    workspace = job.target.workspace
    workspace.directory.mkdir()
    job.target.create()
    fill = executors.filler(job, 0, elsewhere, "a-token")
    started, may_end, awaited = (
        threading.Barrier(3),
        [threading.Event(), threading.Event()],
        threading.Event(),
    )
    plain = TileFiller.fill

    def slow(self: TileFiller, number: int) -> Any:
        started.wait(60)
        may_end[number].wait(60)
        return plain(self, number)

    def wait() -> None:
        wait_for_workers(workspace.directory)
        awaited.set()

    monkeypatch.setattr(TileFiller, "fill", slow)
    with ThreadPoolExecutor(3) as pool:
        first, second = pool.submit(fill, [0]), pool.submit(fill, [1])
        started.wait(60)
        pool.submit(wait)
        may_end[0].set()
        first.result(60)
        assert not awaited.wait(0.2), "the second tile is being written"
        may_end[1].set()
        second.result(60)
        assert awaited.wait(60)


@pytest.mark.parametrize("resume", [False, True])
def test_a_stopped_build_writes_nothing_even_if_its_calls_cannot_be_cancelled(
    resume: bool, source: Path, tmp_path: Path, watch: Watch, elsewhere: Elsewhere
) -> None:
    workspace = tmp_path / ".x.zarr.building"
    steps = iter_build(source, tmp_path / "x.zarr", executor=elsewhere, resume=resume, **OPTIONS)
    next(step for step in steps if step.done)
    watch.seconds = 0.3
    time.sleep(0.15)  # tiles of the longer kind have started
    steps.close()
    assert watch.now == 0
    left = sorted(workspace.rglob("*"))
    assert bool(left) == resume
    elsewhere.shutdown()  # all that was handed out has had its turn
    assert watch.now == 0
    assert sorted(workspace.rglob("*")) == left
    assert workspace.exists() == resume


def test_a_stopped_build_goes_on_elsewhere(
    source: Path, tmp_path: Path, watch: Watch, elsewhere: Elsewhere, read_level: Any
) -> None:
    steps = iter_build(source, tmp_path / "x.zarr", executor=elsewhere, **OPTIONS)
    done = next(step.done for step in steps if step.done)
    steps.close()
    watch.filled = 0
    build_pyramid(source, tmp_path / "x.zarr", executor=elsewhere, **OPTIONS)
    assert watch.filled <= 16 - done
    assert np.array_equal(read_level(tmp_path / "x.zarr" / "0"), read_level(source / "0"))


def test_no_tile_goes_on_after_an_executor_refused_one(
    source: Path, tmp_path: Path, watch: Watch
) -> None:
    class Refusing(ThreadPoolExecutor):
        calls = 0

        def submit(self, *args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.calls == 2:
                raise RuntimeError("cannot schedule new futures after shutdown")
            return super().submit(*args, **kwargs)

    watch.seconds = 0.3
    with Refusing(2) as pool:
        with pytest.raises(RuntimeError, match="after shutdown"):
            build_pyramid(source, tmp_path / "x.zarr", executor=pool, **OPTIONS)
        assert watch.now == 0


# ---- workers that are lost -----------------------------------------------------------------------


def test_tiles_that_an_executor_forgets_are_handed_out_again(
    source: Path, tmp_path: Path, read_level: Any
) -> None:
    """As a dask scheduler that was restarted does."""

    class Forgetful(Elsewhere):
        calls = 0

        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            self.calls += 1
            if self.calls in (3, 4, 5, 9):
                lost: Future[Any] = Future()
                lost.cancel()
                lost.set_running_or_notify_cancel()
                return lost
            return super().submit(fn, *args, **kwargs)

    with Forgetful(2) as pool:
        build_pyramid(source, tmp_path / "x.zarr", executor=pool, **OPTIONS)
    assert pool.calls == 16 + 4
    assert np.array_equal(read_level(tmp_path / "x.zarr" / "0"), read_level(source / "0"))


class KilledWorker(Exception):
    """Called as dask's is."""


class Losing(Elsewhere):
    """Loses its workers after some tiles."""

    def __init__(self, error: Exception, in_submit: bool) -> None:
        super().__init__(1)
        self._left, self._error, self._in_submit = 6, error, in_submit

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self._left -= 1
        if self._left > 0:
            return super().submit(fn, *args, **kwargs)
        if self._in_submit:
            raise self._error
        lost: Future[Any] = Future()
        lost.set_exception(self._error)
        return lost


OUT_OF_MEMORY = (
    r"worker process ended, perhaps out of memory: try fewer workers or a smaller memory limit"
)


@pytest.mark.parametrize("in_submit", [False, True])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (BrokenProcessPool("A process in the process pool was terminated abruptly"), OUT_OF_MEMORY),
        (BrokenExecutor("as of another library"), OUT_OF_MEMORY),
        (KilledWorker("task", "tcp://worker", 3), OUT_OF_MEMORY),
        (CancelledError(), "the executor was closed"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_the_loss_of_a_worker_is_reported_in_one_line(
    error: Exception, message: str, in_submit: bool, source: Path, tmp_path: Path
) -> None:
    with Losing(error, in_submit) as pool, pytest.raises(DestinationError, match=message) as raised:
        build_pyramid(source, tmp_path / "x.zarr", executor=pool, **OPTIONS)
    assert "\n" not in str(raised.value)
    assert str(tmp_path / "x.zarr") in str(raised.value)
    assert (tmp_path / ".x.zarr.building" / "state.json").exists(), "what is done is kept"


def test_an_error_that_is_no_loss_stays_what_it_is(source: Path, tmp_path: Path) -> None:
    with (
        Losing(ZeroDivisionError("of a method"), in_submit=False) as pool,
        pytest.raises(ZeroDivisionError),
    ):
        build_pyramid(source, tmp_path / "x.zarr", executor=pool, **OPTIONS)


@pytest.mark.slow
def test_a_killed_worker_process_is_reported_and_the_build_goes_on(
    tmp_path: Path, read_level: Any
) -> None:
    options = {**OPTIONS, "chunks": (1, 256, 256)}
    build_pyramid(
        np.random.default_rng(0).integers(1, 9, (400, 256, 256), dtype=np.uint8),
        tmp_path / "s.zarr",
        **options,
    )
    with (
        ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool,
        closing(
            iter_build(tmp_path / "s.zarr", tmp_path / "x.zarr", executor=pool, **options)
        ) as steps,
    ):
        next(step for step in steps if step.done)
        next(iter(pool._processes.values())).kill()
        with pytest.raises(DestinationError, match=f"{OUT_OF_MEMORY}; what is done is kept"):
            list(steps)
    build_pyramid(tmp_path / "s.zarr", tmp_path / "x.zarr", **options)
    assert np.array_equal(
        read_level(tmp_path / "x.zarr" / "0"), read_level(tmp_path / "s.zarr" / "0")
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_dask_workers_fill_tiles_and_stop(
    source: Path, tmp_path: Path, watch: Watch, read_level: Any
) -> None:
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=4, processes=False, dashboard_address=None
    )
    with cluster, distributed.Client(cluster) as client:
        executor = client.get_executor()
        watch.together = 4
        build_pyramid(source, tmp_path / "x.zarr", executor=executor, **OPTIONS)
        watch.together = 1
        assert watch.peak == 4
        assert np.array_equal(read_level(tmp_path / "x.zarr" / "0"), read_level(source / "0"))
        watch.seconds = 0.5
        steps = iter_build(source, tmp_path / "y.zarr", executor=executor, resume=False, **OPTIONS)
        next(step for step in steps if watch.now)
        steps.close()
        assert watch.now == 0
        time.sleep(1)
        assert watch.now == 0
        assert not (tmp_path / ".y.zarr.building").exists()
