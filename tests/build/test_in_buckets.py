"""Builds whose destination is a bucket of S3 on loopback, or another store of objects.

Expected bytes are those of the same build in a directory; expected pixels are TensorStore's.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import obstore.store
import pytest
import zarr
from helpers import digest
from servers import SECRET, Rules, S3Bucket, s3_server, web_server
from typer.testing import CliRunner
from zarr.storage import MemoryStore, ObjectStore, StorePath

from napari_pyramid import (
    BuildInProgressError,
    DestinationError,
    DestinationNotice,
    SpecError,
    build_pyramid,
    iter_build,
    open_pyramid,
    plan_build,
)
from napari_pyramid.build import object_journal, object_lock
from napari_pyramid.cli import app
from napari_pyramid.storage import listed_chunks

DATA = np.random.default_rng(0).integers(1, 900, (21, 45, 37)).astype("uint16")
OPTIONS: dict[str, Any] = {"n_levels": 3, "chunks": (8, 16, 16), "factors": 2}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def bucket(endpoint: str, request: pytest.FixtureRequest) -> S3Bucket:
    return S3Bucket(endpoint, f"box-{abs(hash(request.node.name)) % 10**9}")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    zarr.create_group(tmp_path / "s.zarr").create_array("0", data=DATA, chunks=(8, 16, 16))
    return tmp_path / "s.zarr"


def files_in(folder: Path) -> dict[str, bytes]:
    return {key: (folder / key).read_bytes() for key in digest(folder)}


# ---- the same bytes as in a directory ------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [{}, {"format": "0.4", "codec": "gzip-5"}, {"shards": (16, 32, 32)}, {"method": "laplacian"}],
)
def test_a_bucket_gets_the_bytes_of_a_directory(
    bucket: S3Bucket, source: Path, tmp_path: Path, more: dict[str, Any], downsampled: Callable
) -> None:
    build_pyramid(source, tmp_path / "x.ome.zarr", **OPTIONS, **more)
    url = bucket.url("lab/x.ome.zarr")
    pyramid = build_pyramid(source, url, **OPTIONS, **more, storage_options=bucket.options)
    assert bucket.files("lab/x.ome.zarr") == files_in(tmp_path / "x.ome.zarr")
    assert not [key for key in bucket.listed() if ".building" in key]
    assert np.array_equal(pyramid[0][:], DATA)
    if "method" not in more:
        assert np.array_equal(pyramid[1][:], downsampled(DATA, (2, 2, 2), "mean"))


def test_levels_are_added_in_a_bucket(bucket: S3Bucket, source: Path, tmp_path: Path) -> None:
    for key, content in files_in(source).items():
        bucket.put(f"x.zarr/{key}", content)
    url = bucket.url("x.zarr")
    build_pyramid(url, in_place=True, n_levels=2, factors=2, storage_options=bucket.options)
    build_pyramid(source, in_place=True, n_levels=2, factors=2)
    assert bucket.files("x.zarr") == files_in(source)


@pytest.mark.slow
def test_edited_regions_are_rebuilt_in_a_bucket(bucket: S3Bucket, downsampled: Callable) -> None:
    url = bucket.url("x.zarr")
    build_pyramid(DATA, url, **OPTIONS, storage_options=bucket.options)
    edited = DATA.copy()
    edited[:8, :16, :16] = 0  # whole chunks vanish
    store = ObjectStore(
        obstore.store.S3Store(
            bucket.name,
            endpoint=bucket.options["endpoint"],
            region="us-east-1",
            access_key_id="someone",
            secret_access_key=SECRET,
            client_options={"allow_http": True},
        )
    )
    zarr.open_array(store, path="x.zarr/0")[:8, :16, :16] = 0
    region = (slice(0, 8), slice(0, 16), slice(0, 16))
    pyramid = build_pyramid(url, regions=[region], storage_options=bucket.options)
    assert np.array_equal(pyramid[0][:], edited)
    assert np.array_equal(pyramid[1][:], downsampled(edited, (2, 2, 2), "mean"))


@pytest.mark.slow
def test_labels_are_added_to_an_image_in_a_bucket(bucket: S3Bucket) -> None:
    image, options = bucket.url("x.ome.zarr"), bucket.options
    build_pyramid(DATA, image, **OPTIONS, storage_options=options)
    build_pyramid(DATA, f"{image}/labels/cells", n_levels=2, storage_options=options)
    listed = json.loads(bucket.read("x.ome.zarr/labels/zarr.json"))["attributes"]["ome"]["labels"]
    assert listed == ["cells"]
    cells = open_pyramid(f"{image}/labels/cells", storage_options=options)
    assert (cells.kind, len(cells)) == ("labels", 2)


def test_the_command_line_plans_and_builds_in_a_bucket(bucket: S3Bucket, source: Path) -> None:
    flags = [x for k, v in bucket.options.items() for x in ("--storage-option", f"{k}={v}")]
    url = bucket.url("x.ome.zarr")
    runs = [
        ["build", str(source), url, "--levels", "2", *flags],
        ["plan", url, "--in-place", "--levels", "3", "--name", "more", *flags],
        ["build", url, "--in-place", "--levels", "3", "--overwrite", "--quiet", *flags],
    ]
    for arguments in runs:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        assert SECRET not in result.output
    assert len(open_pyramid(url, storage_options=bucket.options)) == 3
    refused = CliRunner().invoke(app, ["build", str(source), url, *flags])
    assert refused.exit_code == 1
    assert f"{url} exists already" in refused.output
    assert SECRET not in refused.output


# ---- stopped builds ------------------------------------------------------------------------------


def test_a_stopped_build_goes_on_in_another_process_with_other_credentials(
    bucket: S3Bucket, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_journal, "PERIOD", 0.0)
    build_pyramid(source, tmp_path / "x.ome.zarr", **OPTIONS)
    url, small = bucket.url("x.ome.zarr"), {**OPTIONS, "memory_limit": 34 * 2**20}
    with closing(iter_build(source, url, **small, storage_options=bucket.options)) as steps:
        for step in steps:
            if step.done:
                break
    kept = [key for key in bucket.listed() if ".building/" in key]
    assert ".x.ome.zarr.building/state.json" in kept
    assert not any("lock" in key for key in kept)
    assert SECRET.encode() not in b"".join(bucket.read(key) for key in bucket.listed())
    others = {**bucket.options, "access_key_id": "another", "secret_access_key": "password"}
    again = plan_build(source, url, **small, storage_options=others)
    assert again.unfinished is not None
    assert again.unfinished.action == "resume"
    again.run()
    assert bucket.files("x.ome.zarr") == files_in(tmp_path / "x.ome.zarr")
    assert not [key for key in bucket.listed() if ".building" in key]


def test_stopped_without_resume_a_build_leaves_nothing(bucket: S3Bucket, source: Path) -> None:
    bucket.put("note.txt", b"mine")
    url = bucket.url("x.ome.zarr")
    steps = iter_build(source, url, **OPTIONS, resume=False, storage_options=bucket.options)
    with closing(steps):
        next(steps)
    assert bucket.listed() == ["note.txt"]


def test_what_is_no_store_is_not_overwritten(bucket: S3Bucket) -> None:
    bucket.put("x/photo.jpg", b"precious")
    with pytest.raises(DestinationError, match="is not a zarr store and will not be"):
        build_pyramid(
            DATA, bucket.url("x"), **OPTIONS, overwrite=True, storage_options=bucket.options
        )
    assert bucket.listed() == ["x/photo.jpg"]


@pytest.mark.parametrize("where", ["x.ome.zarr", "x.ome.zarr/0", "x.ome.zarr/other.zarr"])
def test_the_source_is_not_overwritten(bucket: S3Bucket, where: str) -> None:
    options = bucket.options
    url = bucket.url("x.ome.zarr")
    build_pyramid(DATA, url, **OPTIONS, storage_options=options)
    before = bucket.files("x.ome.zarr")
    with pytest.raises(DestinationError, match=r"source|inside"):
        build_pyramid(url, bucket.url(where), n_levels=2, overwrite=True, storage_options=options)
    assert bucket.files("x.ome.zarr") == before


# ---- the lock ------------------------------------------------------------------------------------


LOCK = ".x.ome.zarr.building/lock-1.json"


def _lock(**more: Any) -> bytes:
    owner = {"pid": 4, "host": "elsewhere", "since": "2026-01-01 10:00:00", "token": "t"}
    return json.dumps({**owner, "renewed": time.time(), **more}).encode()


def test_a_second_build_is_refused_and_says_how_to_take_over(bucket: S3Bucket) -> None:
    bucket.put(LOCK, _lock())
    url = bucket.url("x.ome.zarr")
    with pytest.raises(BuildInProgressError) as refusal:
        build_pyramid(DATA, url, **OPTIONS, storage_options=bucket.options)
    message = str(refusal.value)
    assert "process 4 on elsewhere is writing it now (since 2026-01-01 10:00:00" in message
    assert f"after deleting {bucket.url(LOCK)}" in message
    assert bucket.listed() == [LOCK]
    bucket.delete(LOCK)
    build_pyramid(DATA, url, **OPTIONS, storage_options=bucket.options)
    assert not [key for key in bucket.listed() if ".building" in key]


@pytest.mark.parametrize(
    "owner",
    [
        {"renewed": time.time() - 2 * object_lock.STALE},
        pytest.param(
            {"host": socket.gethostname(), "pid": 2**22 + 1},
            marks=pytest.mark.posix("processes cannot be asked for"),
        ),
    ],
)
def test_the_lock_of_a_dead_process_is_taken_over(bucket: S3Bucket, owner: dict[str, Any]) -> None:
    bucket.put(LOCK, _lock(**owner))
    build_pyramid(DATA, bucket.url("x.ome.zarr"), **OPTIONS, storage_options=bucket.options)
    assert not [key for key in bucket.listed() if ".building" in key]


def test_two_builds_of_one_process_are_kept_apart() -> None:
    store = MemoryStore()
    with closing(iter_build(DATA, store, **OPTIONS)) as first:
        next(first)
        with pytest.raises(BuildInProgressError, match=f"process {os.getpid()} on"):
            next(iter_build(DATA, store, **OPTIONS))


def test_a_build_whose_lock_was_taken_over_publishes_nothing(source: Path) -> None:
    store = MemoryStore()
    steps = iter_build(source, StorePath(store, "x.zarr"), **OPTIONS)
    next(steps)
    key = ".x.zarr.building/lock-2.json"
    store._store_dict[key] = zarr.core.buffer.cpu.Buffer.from_bytes(_lock())
    with pytest.raises(DestinationError, match="another build has taken over; nothing was publ"):
        for _ in steps:
            pass
    assert "x.zarr/zarr.json" not in store._store_dict
    assert key in store._store_dict


# ---- other stores --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", "group", "dictionary", "obstore", "folder"])
def test_any_writable_store_is_a_destination(kind: str, tmp_path: Path, source: Path) -> None:
    memory: dict[str, Any] = {}
    destinations: dict[str, Any] = {
        "memory": StorePath(MemoryStore(memory), "x.zarr"),
        "group": StorePath(MemoryStore(memory), "x.zarr"),
        "dictionary": memory,
        "obstore": obstore.store.MemoryStore(),
        "folder": obstore.store.LocalStore(str(tmp_path / "bucket"), mkdir=True),
    }
    given = destinations[kind]
    if kind == "group":
        zarr.create_group(given)
        given = zarr.open_group(given)
    pyramid = build_pyramid(source, given, **OPTIONS, overwrite=kind == "group", name="x")
    build_pyramid(source, tmp_path / "x.zarr", **OPTIONS)
    expected = open_pyramid(tmp_path / "x.zarr")
    assert len(pyramid) == len(expected) == 3
    for level, wanted in zip(pyramid, expected, strict=True):
        assert np.array_equal(level[:], wanted[:])


@pytest.mark.parametrize("by_url", [True, False])
def test_fsspec_says_that_it_has_no_conditional_writes(by_url: bool, tmp_path: Path) -> None:
    import fsspec

    name = f"box-{by_url}"
    given: Any = f"memory://{name}/x.zarr"
    if not by_url:
        given = fsspec.get_mapper(given)
    with pytest.warns(DestinationNotice, match="no conditional writes"):
        pyramid = build_pyramid(DATA, given, **OPTIONS)
    assert np.array_equal(pyramid[0][:], DATA)
    files = fsspec.filesystem("memory").find(f"/{name}")
    assert f"/{name}/x.zarr/zarr.json" in files
    assert not [file for file in files if ".building" in file]


class Careless(MemoryStore):
    """A store that ignores conditions, as some servers do."""

    async def set_if_not_exists(self, key: str, value: Any) -> None:
        await self.set(key, value)


class Unaware(MemoryStore):
    """A store that refuses conditions, as some servers do."""

    async def set_if_not_exists(self, key: str, value: Any) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("kind", [Careless, Unaware])
def test_a_store_without_conditions_is_found_out(kind: type[MemoryStore]) -> None:
    with pytest.warns(DestinationNotice, match="two builds that begin at the same moment"):
        pyramid = build_pyramid(DATA, kind(), **OPTIONS)
    assert np.array_equal(pyramid[0][:], DATA)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (MemoryStore(read_only=True), "read-only"),
        ("https://example.org/x.zarr", "a web server cannot be written to"),
        (17, "a int cannot be opened"),
        (Path("s3://box/x.zarr"), "is a URL that was made a path: give it as text"),
        (Path("s3://box/x.zarr").absolute(), "is a URL that was made a path: give it as text"),
    ],
)
def test_what_cannot_be_written_is_refused(given: Any, message: str) -> None:
    with pytest.raises(DestinationError, match=re.escape(message)):
        build_pyramid(DATA, given, **OPTIONS)


def test_a_bucket_that_does_not_exist_is_named(endpoint: str) -> None:
    options = {"endpoint": endpoint, "access_key_id": "x", "secret_access_key": SECRET}
    with pytest.raises(DestinationError, match=r"s3://nowhere-at-all") as refusal:
        build_pyramid(DATA, "s3://nowhere-at-all/x.zarr", **OPTIONS, storage_options=options)
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize("store", [MemoryStore(), obstore.store.MemoryStore()])
def test_other_processes_do_not_write_to_the_memory_of_this_one(source: Path, store: Any) -> None:
    with (
        ProcessPoolExecutor(1) as pool,
        pytest.raises(SpecError, match="other processes cannot open this store"),
    ):
        plan_build(source, store, **OPTIONS, executor=pool)


# ---- a remote source -----------------------------------------------------------------------------


@pytest.mark.parametrize("shards", [None, (16, 32, 32)])
def test_each_chunk_of_a_remote_source_is_requested_once(tmp_path: Path, shards: Any) -> None:
    stored = {"n_levels": 1, "chunks": (8, 16, 16), "shards": shards}
    build_pyramid(DATA, tmp_path / "s.zarr", **stored)
    with web_server(tmp_path, Rules()) as web:
        pyramid = build_pyramid(f"{web.url}/s.zarr", MemoryStore(), **OPTIONS)
        chunks = Counter(path for path in web.paths() if "/0/c/" in path)
    assert np.array_equal(pyramid[0][:], DATA)
    block = shards or (8, 16, 16)
    assert len(chunks) == np.prod([-(-n // b) for n, b in zip(DATA.shape, block, strict=True)])
    assert set(chunks.values()) == {1}


@pytest.mark.parametrize("most_listed", [2**14, 4])
@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}},
        {"shards": (8, 16, 16), "chunks": (4, 8, 8)},
    ],
)
def test_absent_chunks_of_a_bucket_are_not_requested(
    bucket: S3Bucket,
    tmp_path: Path,
    stored: dict[str, Any],
    most_listed: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(listed_chunks, "MOST_LISTED", most_listed)
    caplog.set_level("INFO", "werkzeug")  # the server logs each request
    data = np.zeros((32, 64, 64), "uint16")
    data[8:16, 16:32, :16] = data[0, 63, 63] = 7
    zarr.create_array(tmp_path / "s.zarr", data=data, **{"chunks": (8, 16, 16), **stored})
    files = files_in(tmp_path / "s.zarr")
    for key, content in files.items():
        bucket.put(f"s.zarr/{key}", content)
    caplog.clear()
    pyramid = build_pyramid(
        bucket.url("s.zarr"), tmp_path / "x.zarr", **OPTIONS, storage_options=bucket.options
    )
    asked = re.findall(rf"GET /{bucket.name}/s\.zarr/((?:c/)?\d+(?:/\d+)*) ", caplog.text)
    assert sorted(asked) == sorted(key for key in files if re.match(r"(c/)?\d", key))
    assert len(asked) == 2
    assert np.array_equal(pyramid[0][:], data)
