"""The right of workers to write to a workspace, on a disk and in a store of objects."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore, StorePath

from napari_pyramid import DestinationError
from napari_pyramid.build import executors, plan_build, tokens
from napari_pyramid.build.prepare import prepare_job
from napari_pyramid.build.request import Request
from napari_pyramid.build.tokens import (
    busy,
    has_token,
    put_token,
    remove_tokens,
    wait_for_workers,
)
from napari_pyramid.storage.folder import Folder, Place
from napari_pyramid.storage.objects import Objects


@pytest.fixture
def bucket() -> Folder:
    return Folder(Objects(MemoryStore(), "box"), ".x.building")


@pytest.fixture(params=["disk", "bucket"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path, bucket: Folder) -> Place:
    return tmp_path if request.param == "disk" else bucket


def names(workspace: Place) -> list[str]:
    return sorted(entry.name for entry in workspace.iterdir())


def test_the_token_of_one_build_is_removed_without_the_others(workspace: Place) -> None:
    put_token(workspace, "a")
    put_token(workspace, "b")
    remove_tokens(workspace, "a")
    assert [has_token(workspace, token) for token in "ab"] == [False, True]
    remove_tokens(workspace)
    assert names(workspace) == []


def test_workers_are_waited_for_until_the_last_of_their_threads_has_left(
    workspace: Place,
) -> None:
    left = threading.Event()

    def wait() -> None:
        wait_for_workers(workspace, "a")
        left.set()

    with busy(workspace, "a"):
        with busy(workspace, "a"):
            waiting = threading.Thread(target=wait)
            waiting.start()
            wait_for_workers(workspace, "b")  # of another build
        assert len(names(workspace)) == 1
        assert not left.is_set()
    waiting.join(60)
    assert left.is_set()
    assert names(workspace) == []


def test_a_worker_that_goes_on_renews_its_object(
    bucket: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "BEAT", 0.01)
    with busy(bucket, "a"):
        (sign,) = bucket.iterdir()
        before, end = sign.read_bytes(), time.monotonic() + 60
        while sign.read_bytes() == before:
            assert time.monotonic() < end
            time.sleep(0.01)
    assert names(bucket) == []


@pytest.mark.parametrize(
    ("host", "pid", "silence"),
    [
        pytest.param("elsewhere", os.getpid(), 0.0, id="elsewhere"),
        pytest.param(
            socket.gethostname(),
            2**22 + 1,
            1e9,
            marks=pytest.mark.posix("processes are asked for"),
            id="here",
        ),
    ],
)
def test_a_dead_worker_is_not_waited_for(
    bucket: Folder, host: str, pid: int, silence: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "SILENCE", silence)
    (bucket / "worker-a-x").write_bytes(json.dumps({"host": host, "pid": pid}).encode())
    wait_for_workers(bucket)
    assert names(bucket) == []


def test_a_build_whose_lock_was_taken_over_lets_no_worker_write(tmp_path: Path) -> None:
    store, data = MemoryStore(), np.ones((8, 8), "uint8")
    zarr.create_array(tmp_path / "s.zarr", data=data, chunks=(4, 4))
    spec = plan_build(tmp_path / "s.zarr", n_levels=2).spec
    destination = StorePath(store, "x.zarr")
    request = Request(source=tmp_path / "s.zarr", destination=destination, spec=spec)
    job = prepare_job(request)
    workspace = job.target.workspace
    workspace.acquire()
    job.target.create()
    mine = workspace.directory / "lock-1.json"
    (workspace.directory / "lock-2.json").write_bytes(
        json.dumps({**json.loads(mine.read_bytes()), "token": "of another build"}).encode()
    )
    with (
        ProcessPoolExecutor(1) as pool,
        pytest.raises(DestinationError, match="another build has taken over"),
    ):
        executors.filler(job, 0, pool, "a")
    workspace.release()
    assert not [name for name in names(workspace.directory) if name.startswith("token")]
