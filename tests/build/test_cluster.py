"""A cluster of separate processes that share nothing but a bucket, for source and destination.

Expected bytes are those of a build by threads into a local directory.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing, suppress
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
from napari_pyramid.build.dask_executor import as_executor

pytestmark = pytest.mark.filterwarnings("default")  # dask leaves sockets to the collector

SHAPE = (70, 90, 110)
OPTIONS: dict[str, Any] = {
    "chunks": (16, 16, 16),
    "n_levels": 3,
    "factors": 2,
    "name": "x",
    "max_workers": 1,
}
SECRET = "a-secret-of-the-lab"


class Bucket:
    """A bucket on a server, with the storage options that give access to it."""

    def __init__(self, endpoint: str, name: str) -> None:
        self.name, self._client = name, s3_client(endpoint)
        self._client.create_bucket(Bucket=name)
        self.keys = {"endpoint": endpoint, "access_key_id": "someone", "secret_access_key": SECRET}

    def put_files(self, folder: Path) -> None:
        for file in folder.rglob("*"):
            if file.is_file():
                key = file.relative_to(folder).as_posix()
                self._client.put_object(Bucket=self.name, Key=key, Body=file.read_bytes())

    def listed(self, prefix: str) -> dict[str, tuple[str, object]]:
        """The digest and the time of each object."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=prefix
        )
        found = [entry for page in pages for entry in page.get("Contents", [])]
        return {entry["Key"]: (entry["ETag"], entry["LastModified"]) for entry in found}

    def objects(self, prefix: str) -> dict[str, bytes]:
        objects = {}
        for key in self.listed(prefix):
            with suppress(self._client.exceptions.NoSuchKey):  # deleted meanwhile
                answer = self._client.get_object(Bucket=self.name, Key=key)
                objects[key.removeprefix(prefix)] = answer["Body"].read()
        return objects


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """A private bucket with a zarr array."""
    path = tmp_path_factory.mktemp("bucket")
    data = np.random.default_rng(0).integers(0, 999, SHAPE).astype("uint16")
    zarr.create_array(path / "s.zarr", data=data, chunks=(16, 16, 16), shards=(32, 32, 32))
    with s3_server() as endpoint:
        bucket = Bucket(endpoint, "lab")
        bucket.put_files(path)
        yield bucket


@pytest.fixture(scope="module")
def options(bucket: Bucket) -> dict[str, Any]:
    """What a build is given: a source in the bucket, and the keys to it."""
    return {"source": "s3://lab/s.zarr", "storage_options": bucket.keys, **OPTIONS}


@pytest.fixture(scope="module")
def expected(options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a build by threads."""
    path = tmp_path_factory.mktemp("threads") / "x.zarr"
    build_pyramid(**options, destination=path)
    return {name: (path / name).read_bytes() for name in digest(path)}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler and two workers, for all tests that leave them as they are."""
    with dask_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.mark.slow
def test_a_stopped_build_writes_nothing_more_and_is_resumed(
    cluster: Cluster, options: dict[str, Any], bucket: Bucket, expected: dict[str, bytes]
) -> None:
    place = {"destination": "s3://lab/stopped/x.zarr", "executor": cluster.address}
    with closing(plan_build(**options, **place).steps()) as steps:
        next(step for step in steps if step.done > 5)
    left = bucket.listed("stopped/")
    assert not [key for key in left if "token" in key or "worker" in key or "lock" in key]
    # All that the scheduler still has goes before this call.
    executor = as_executor(cluster.address)
    assert executor is not None
    for future in [executor.submit(abs, -i) for i in range(4)]:
        future.result(60)
    assert bucket.listed("stopped/") == left
    again = plan_build(**options, **place)
    assert again.unfinished is not None
    assert again.unfinished.action == "resume"
    again.run()
    assert bucket.objects("stopped/x.zarr/") == expected
    assert not [key for key in bucket.listed("stopped/") if ".building" in key]


def test_a_lost_worker_costs_its_tiles(
    cluster: Cluster, options: dict[str, Any], bucket: Bucket, expected: dict[str, bytes]
) -> None:
    extra = cluster.start_worker()
    cluster.wait_for_workers(3)
    build = plan_build(**options, destination="s3://lab/lost/x.zarr", executor=cluster.address)
    with closing(build.steps()) as steps:
        during: dict[str, bytes] = {}
        for step in steps:  # a worker's record is there while the worker has tiles of a pass
            during |= bucket.objects("lost/.x.zarr.building/")
            if step.done > 5 and any("worker" in key for key in during):
                break
        extra.send_signal(signal.SIGKILL)
        extra.wait()
        *_, last = steps
    assert last.done == last.total
    assert any("token" in key for key in during)
    assert any("worker" in key for key in during)
    after = bucket.objects("lost/x.zarr/")
    assert after == expected
    assert SECRET.encode() not in b"".join([*during.values(), *after.values()])
    assert not [key for key in bucket.listed("lost/") if ".building" in key]


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
    options: dict[str, Any], bucket: Bucket, expected: dict[str, bytes], tmp_path: Path
) -> None:
    with dask_cluster(tmp_path) as cluster:
        build = plan_build(
            **options, destination="s3://lab/restarted/x.zarr", executor=cluster.address
        )
        with closing(build.steps()) as steps:
            next(step for step in steps if step.done > 5)
            cluster.stop()
            cluster.start_scheduler()
            cluster.start_worker()
            *_, last = steps
    assert last.done == last.total
    assert bucket.objects("restarted/x.zarr/") == expected
