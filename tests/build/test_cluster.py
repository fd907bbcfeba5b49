"""A cluster of separate processes: a source in a bucket, lost workers, a restarted scheduler."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from cluster import Cluster, dask_cluster
from helpers import digest
from servers import s3_client, s3_server

from napari_pyramid import SpecError, build_pyramid
from napari_pyramid.build import plan_build
from napari_pyramid.build.scheduler import as_executor

pytestmark = pytest.mark.filterwarnings("default")  # dask leaves sockets to the collector

SHAPE = (70, 90, 110)
OPTIONS: dict[str, Any] = {
    "chunks": (8, 8, 8),
    "n_levels": 3,
    "factors": 2,
    "name": "x",
    "max_workers": 1,
}
SECRET = "a-secret-of-the-lab"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a zarr array in a private bucket."""
    path = tmp_path_factory.mktemp("bucket")
    data = np.random.default_rng(0).integers(0, 999, SHAPE).astype("uint16")
    zarr.create_array(path / "s.zarr", data=data, chunks=(16, 16, 16), shards=(32, 32, 32))
    with s3_server() as endpoint:
        client = s3_client(endpoint)
        client.create_bucket(Bucket="lab")
        for file in path.rglob("*"):
            if file.is_file():
                key = file.relative_to(path).as_posix()
                client.put_object(Bucket="lab", Key=key, Body=file.read_bytes())
        yield endpoint


@pytest.fixture(scope="module")
def options(s3: str) -> dict[str, Any]:
    """What a build is given: a source in the bucket, and the keys to it."""
    keys = {"endpoint": s3, "access_key_id": "someone", "secret_access_key": SECRET}
    return {"source": "s3://lab/s.zarr", "storage_options": keys, **OPTIONS}


@pytest.fixture(scope="module")
def expected(options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of a build by threads."""
    path = tmp_path_factory.mktemp("threads") / "x.zarr"
    build_pyramid(**options, destination=path)
    return digest(path)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler and two workers, for all tests that leave them as they are."""
    with dask_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


def test_a_source_in_a_bucket_is_read_by_workers(
    cluster: Cluster, options: dict[str, Any], expected: dict[str, str], tmp_path: Path
) -> None:
    build_pyramid(**options, destination=tmp_path / "x.zarr", executor=cluster.address)
    assert digest(tmp_path / "x.zarr") == expected


def test_a_stopped_build_writes_nothing_more(
    cluster: Cluster, options: dict[str, Any], expected: dict[str, str], tmp_path: Path
) -> None:
    build = plan_build(**options, destination=tmp_path / "x.zarr", executor=cluster.address)
    with closing(build.steps()) as steps:
        next(step for step in steps if step.done > 5)
    left = digest(tmp_path)
    assert SECRET.encode() not in b"".join(
        p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()
    )
    # All that the scheduler still has goes before this call.
    executor = as_executor(cluster.address)
    assert executor is not None
    for future in [executor.submit(abs, -i) for i in range(4)]:
        future.result(60)
    assert digest(tmp_path) == left
    build_pyramid(**options, destination=tmp_path / "x.zarr")
    assert digest(tmp_path / "x.zarr") == expected


def test_a_lost_worker_costs_its_tiles(
    cluster: Cluster, options: dict[str, Any], expected: dict[str, str], tmp_path: Path
) -> None:
    extra = cluster.start_worker()
    cluster.wait_for_workers(3)
    build = plan_build(**options, destination=tmp_path / "x.zarr", executor=cluster.address)
    with closing(build.steps()) as steps:
        next(step for step in steps if step.done > 5)
        extra.send_signal(signal.SIGKILL)
        *_, last = steps
    assert last.done == last.total
    assert digest(tmp_path / "x.zarr") == expected


def test_what_a_worker_may_use_limits_the_plan(
    cluster: Cluster, options: dict[str, Any], tmp_path: Path
) -> None:
    """Half of 2 GiB, for a worker of one thread."""
    given = {**options, "storage_options": None, "max_workers": None, "chunks": (768, 768, 768)}
    given["source"] = zarr.create_array(
        tmp_path / "a.zarr", shape=(2048,) * 3, dtype="uint16", chunks=(64, 64, 64)
    )
    with pytest.raises(SpecError, match=r"but the limit is 1\.0 GiB"):
        plan_build(**given, executor=cluster.address)
    build = plan_build(**{**given, "chunks": (128, 128, 128)}, executor=cluster.address)
    assert {p.workers for p in build.passes} == {1}
    assert build.peak_memory < 2**30


@pytest.mark.slow
def test_a_restarted_scheduler_costs_what_was_pending(
    options: dict[str, Any], expected: dict[str, str], tmp_path: Path
) -> None:
    with dask_cluster(tmp_path) as cluster:
        destination = tmp_path / "out" / "x.zarr"
        build = plan_build(**options, destination=destination, executor=cluster.address)
        with closing(build.steps()) as steps:
            next(step for step in steps if step.done > 5)
            cluster.stop()
            cluster.start_scheduler()
            cluster.start_worker()
            *_, last = steps
    assert last.done == last.total
    assert digest(destination) == expected
