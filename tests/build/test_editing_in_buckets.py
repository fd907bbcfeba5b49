"""Saving edits of a pyramid in a bucket, or in another store of objects.

Expected bytes are those of building from the edited pixels in a directory; expected pixels are
plain NumPy's and TensorStore's.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.implementations.memory import MemoryFileSystem
from helpers import digest
from object_servers import GoogleServer, google_server
from servers import S3Bucket, s3_server
from zarr.storage import FsspecStore, MemoryStore, StorePath

from napari_pyramid import (
    BuildInProgressError,
    DestinationError,
    DestinationNotice,
    build_pyramid,
    create_labels,
    edit_pyramid,
    open_pyramid,
)
from napari_pyramid.build import object_lock
from napari_pyramid.build.object_workspace import ObjectWorkspace
from napari_pyramid.storage.destination import open_destination
from napari_pyramid.storage.folder import Folder
from napari_pyramid.storage.moves import finish_moves
from napari_pyramid.storage.objects import Objects

SHAPE = (5, 50, 45)
OPTIONS: dict[str, Any] = {
    "labels": True,
    "axes": "zyx",
    "name": "cells",
    "factors": 2,
    "n_levels": 3,
    "chunks": (4, 16, 16),
    "shards": None,
}


def labels(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    found = np.random.default_rng(0).integers(0, 4, shape).astype("uint32")
    found[:, :20] = 0
    return found


def paint(array: Any) -> None:
    array[4, 23:44, 7:19] = 9
    array[:, 30:, 30:] = 0  # whole chunks vanish
    array[3] = 7


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def box(endpoint: str, request: pytest.FixtureRequest) -> S3Bucket:
    return S3Bucket(endpoint, f"box-{abs(hash(request.node.name)) % 10**9}")


def files_in(folder: Path) -> dict[str, bytes]:
    return {key: (folder / key).read_bytes() for key in digest(folder)}


def work_in(store: MemoryStore) -> list[str]:
    return [key for key in store._store_dict if ".building" in key]


def built(store: Any, values: np.ndarray | None = None) -> StorePath:
    place = StorePath(store, "a.ome.zarr")
    build_pyramid(labels() if values is None else values, place, **OPTIONS)
    return place


# ---- what is written -----------------------------------------------------------------------------


def test_a_bucket_gets_the_bytes_of_building_from_the_edited_pixels(
    box: S3Bucket, tmp_path: Path, downsampled: Any
) -> None:
    url = box.url("deep/a.ome.zarr")
    build_pyramid(labels(), url, **OPTIONS, storage_options=box.options)
    views = open_pyramid(url, storage_options=box.options).lazy_levels
    before = [np.asarray(view) for view in views]
    wanted = labels()
    paint(wanted)
    editor = edit_pyramid(url, storage_options=box.options)
    paint(editor)
    np.testing.assert_array_equal(np.asarray(editor.array), wanted)
    editor.save()
    build_pyramid(wanted, tmp_path / "b.ome.zarr", **OPTIONS)
    assert box.files("deep/a.ome.zarr") == files_in(tmp_path / "b.ome.zarr")
    assert not [key for key in box.listed() if ".building" in key]
    assert not editor.has_edits
    for view, old in zip(views, before, strict=True):  # what was read before is read again
        assert (np.asarray(view) != old).any()
        np.testing.assert_array_equal(np.asarray(view), wanted)
        wanted = downsampled(wanted, (2, 2, 2), "mode")


@pytest.mark.parametrize(
    ("path", "more"),
    [("a.ome.zarr", {"shards": (8, 32, 32)}), ("", {"format": "0.4"})],
    ids=["shards", "zarr v2 at the root"],
)
def test_any_store_gets_the_same_bytes(tmp_path: Path, path: str, more: dict[str, Any]) -> None:
    place, options = StorePath(store := MemoryStore(), path), {**OPTIONS, **more}
    build_pyramid(labels(), place, **options)
    editor, wanted = edit_pyramid(place), labels()
    paint(editor)
    paint(wanted)
    editor.save()
    build_pyramid(wanted, tmp_path / "b.ome.zarr", **options)
    start = f"{path}/" if path else ""
    found = {k.removeprefix(start): v.to_bytes() for k, v in store._store_dict.items()}
    assert found == files_in(tmp_path / "b.ome.zarr")


def test_a_dictionary_is_edited_itself_and_not_a_copy() -> None:
    keys: dict[str, Any] = {}
    built(MemoryStore(keys))
    editor = edit_pyramid(keys)
    editor[2, 20:30, 20:30] = 5
    editor.save()
    assert (zarr.open_array(MemoryStore(keys), path="a.ome.zarr/0")[2, 20:30, 20:30] == 5).all()


def test_requests_depend_on_what_was_edited_and_not_on_the_size_of_the_pyramid(
    downsampled: Any,
) -> None:
    def requests(google: GoogleServer, name: str, shape: tuple[int, ...], n: int) -> Counter[str]:
        url = f"gs://box/{name}"
        build_pyramid(labels(shape), url, **OPTIONS, storage_options=google.options)
        editor = edit_pyramid(url, storage_options=google.options)
        editor[1, 21:23, 1 : 16 * n] = 9
        google.requests.clear()
        editor.save()
        made = [request.split(" ") for request in google.requests]
        coarse = open_pyramid(url, storage_options=google.options)[1][:]
        wanted = labels(shape)
        wanted[1, 21:23, 1 : 16 * n] = 9
        np.testing.assert_array_equal(coarse, downsampled(wanted, (2, 2, 2), "mode"))
        return Counter(method for method, _ in made)

    with google_server() as google:
        small = requests(google, "a.ome.zarr", (8, 64, 64), 1)
        large = requests(google, "b.ome.zarr", (8, 64, 320), 1)
        more = requests(google, "c.ome.zarr", (8, 64, 320), 4)
    assert small == large
    # each of 3 + 1 further chunks: put, copied, and deleted
    assert more["PUT"] - large["PUT"] == 2 * 4
    assert more["DELETE"] - large["DELETE"] == 4


def test_only_edited_samples_win_over_what_another_writer_has_saved(downsampled: Any) -> None:
    place, wanted = built(MemoryStore()), labels()
    one, two = edit_pyramid(place), edit_pyramid(place)
    one[2, 20:30, 20:30] = wanted[2, 20:30, 20:30] = 5
    two[2, 25:40, 25:40] = wanted[2, 25:40, 25:40] = 6
    np.asarray(two.array)
    one.save()
    two.save()
    np.testing.assert_array_equal(open_pyramid(place)[0][:], wanted)
    np.testing.assert_array_equal(open_pyramid(place)[1][:], downsampled(wanted, (2, 2, 2), "mode"))


# ---- who writes ----------------------------------------------------------------------------------


def test_a_second_writer_is_refused_and_keeps_its_edits() -> None:
    place = built(MemoryStore())
    one, two = edit_pyramid(place), edit_pyramid(place)
    one[2, 20:30, 20:30], two[0, 0, 0] = 5, 6
    with closing(one.iter_save()) as steps:
        next(steps)
        with pytest.raises(BuildInProgressError, match="last seen"):
            two.save()
        two.check()  # it may begin to paint
    assert one.has_edits
    assert two.has_edits
    two.save()
    one.save()
    found = open_pyramid(place)[0][:]
    assert (found[0, 0, 0], found[2, 25, 25]) == (6, 5)


def test_a_save_whose_lock_was_taken_over_changes_nothing(monkeypatch: Any) -> None:
    place = built(store := MemoryStore())
    before = dict(store._store_dict)
    editor = edit_pyramid(place)
    editor[...] = 5

    def take_over(_: Any) -> None:
        lock = {"pid": 1, "host": "elsewhere", "renewed": time.time(), "token": "theirs"}
        Objects(store, "").put(".a.ome.zarr.building/lock-9.json", json.dumps(lock).encode())
        Objects(store, "").put(".a.ome.zarr.building/new/theirs", b"a chunk")

    with pytest.raises(DestinationError, match="another build has taken over"):
        editor.save(take_over)
    found = {k: v.to_bytes() for k, v in store._store_dict.items() if ".building" not in k}
    assert found == {k: v.to_bytes() for k, v in before.items()}
    assert editor.has_edits
    assert ".a.ome.zarr.building/new/theirs" in store._store_dict
    monkeypatch.setattr(object_lock, "STALE", -1.0)
    editor.save()
    assert (open_pyramid(place)[0][:] == 5).all()
    assert not work_in(store)


def test_without_conditional_writes_a_line_says_so(tmp_path: Path, downsampled: Any) -> None:
    system = AsyncFileSystemWrapper(MemoryFileSystem(), asynchronous=True)
    store = FsspecStore(system, path=f"/edits-{tmp_path.name}")
    with pytest.warns(DestinationNotice, match="no conditional writes"):
        place = built(store)
    editor, wanted = edit_pyramid(place), labels()
    paint(editor)
    paint(wanted)
    with pytest.warns(DestinationNotice, match="no conditional writes"):
        editor.save()
    np.testing.assert_array_equal(open_pyramid(place)[0][:], wanted)
    np.testing.assert_array_equal(open_pyramid(place)[1][:], downsampled(wanted, (2, 2, 2), "mode"))


def test_without_credentials_the_reason_is_given_before_anything_is_painted(
    box: S3Bucket, monkeypatch: Any, tmp_path: Path
) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    build_pyramid(labels(), box.url("a.ome.zarr"), **OPTIONS, storage_options=box.options)
    anyone = {"Effect": "Allow", "Principal": "*", "Resource": f"arn:aws:s3:::{box.name}/*"}
    policy = {"Version": "2012-10-17", "Statement": [{**anyone, "Action": ["s3:GetObject"]}]}
    box.client.put_bucket_policy(Bucket=box.name, Policy=json.dumps(policy))
    options = {"endpoint": box.options["endpoint"], "anonymous": "true"}
    reason = "no credentials to write to s3://.*: give them with storage_options="
    with pytest.raises(DestinationError, match=reason):
        edit_pyramid(box.url("a.ome.zarr"), storage_options=options)


# ---- what is left after a failure ----------------------------------------------------------------


class FailingStore(MemoryStore):
    """A store that fails from the n-th write to the levels on, and at one read."""

    lives: float = float("inf")
    waits_at: float = -1
    """Writes to the levels wait while `lives` is at most this."""
    read_that_fails: int = -1

    async def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        self.read_that_fails -= 1
        if self.read_that_fails == 0:
            raise OSError("the line is cut")
        return await super().get(key, *args, **kwargs)

    async def set(self, key: str, value: Any, byte_range: Any = None) -> None:
        if ".building" not in key:
            while self.lives <= self.waits_at:
                await asyncio.sleep(0.01)
            if self.lives <= 0:
                raise OSError("the line is cut")
            self.lives -= 1
        await super().set(key, value, byte_range)


def test_a_failure_while_chunks_are_copied_is_made_good_by_the_next_save() -> None:
    place = built(store := FailingStore())
    views, editor = open_pyramid(place).lazy_levels, edit_pyramid(place)
    before = [np.asarray(view) for view in views]
    editor[...] = 5
    store.lives = 20
    with pytest.raises(DestinationError, match="cut; the rest is written by the next update"):
        editor.save()
    assert editor.has_edits
    torn = zarr.open_array(place / "0", mode="r")[:]
    assert (torn == 5).any()
    assert (torn != 5).any()
    store.lives = float("inf")
    editor.save()
    assert not editor.has_edits
    assert not work_in(store)
    for view, old in zip(views, before, strict=True):
        assert (old != 5).any()
        assert (np.asarray(view) == 5).all()


def test_a_stop_while_chunks_are_copied_ends_at_the_next_one_and_loses_nothing() -> None:
    place = built(store := FailingStore(), np.zeros((40, 50, 45), "uint32"))
    editor = edit_pyramid(place)
    editor[...] = 5
    store.lives = 1000
    store.waits_at = 970
    with closing(editor.iter_save()) as steps:
        step = next(s for s in steps if store.lives <= store.waits_at)
        store.waits_at = -1
    assert step.total // 2 <= step.done < step.total
    assert 930 < store.lives <= 970, "of 160 chunks the pending ones are written, and no others"
    assert editor.has_edits
    assert editor.is_half_saved
    editor.save()
    assert not editor.has_edits
    assert not editor.is_half_saved
    assert all((level[:] == 5).all() for level in open_pyramid(place))
    assert not work_in(store)


def failed_save() -> tuple[Any, FailingStore]:
    """Return a store, and its place, whose connection broke while changed chunks were copied."""
    place = built(store := FailingStore())
    editor = edit_pyramid(place)
    editor[...] = 5
    store.lives = 20
    with pytest.raises(DestinationError):
        editor.save()
    store.lives = float("inf")
    return place, store


@pytest.mark.parametrize("opens", ["for editing", "for building in place"])
def test_whoever_opens_the_store_for_writing_finishes_a_save_that_failed(opens: str) -> None:
    place, store = failed_save()
    if opens == "for editing":
        edit_pyramid(place)
    else:
        group = zarr.open_group(place)
        build_pyramid(group, in_place=True, overwrite=True, factors=2, n_levels=2, method="mode")
    assert all((level[:] == 5).all() for level in open_pyramid(place))
    assert not work_in(store)


def test_a_read_that_fails_does_not_make_the_rest_of_the_moves_forgotten() -> None:
    place, store = failed_save()
    torn = dict(store._store_dict)
    (key,) = (key for key in work_in(store) if key.endswith("moves.json"))
    workspace = Folder(Objects(store, ""), key.removesuffix("/moves.json"))
    for n in itertools.count(1, 2):
        store._store_dict = dict(torn)
        store.read_that_fails = n
        with suppress(DestinationError):
            finish_moves(workspace)
        failed, store.read_that_fails = store.read_that_fails <= 0, -1
        finish_moves(workspace)
        assert all((level[:] == 5).all() for level in open_pyramid(place))
        if not failed:
            break
    assert n > 20


def test_a_damaged_list_is_thrown_away_with_its_chunks() -> None:
    place = built(store := FailingStore())
    editor, objects = edit_pyramid(place), Objects(store, "")
    before = open_pyramid(place)[0][:]
    editor[...] = 5
    store.lives = 0
    with pytest.raises(DestinationError):
        editor.save()
    store.lives = float("inf")
    (key,) = (key for key in work_in(store) if key.endswith("moves.json"))
    content = objects.get(key)
    assert content is not None
    objects.put(key, content[:-7])
    again = edit_pyramid(place)
    np.testing.assert_array_equal(open_pyramid(place)[0][:], before)
    again[0, 0, 0] = 9
    again.save()
    assert not work_in(store)
    before[0, 0, 0] = 9
    np.testing.assert_array_equal(open_pyramid(place)[0][:], before)


@pytest.mark.posix("it forks")
@pytest.mark.slow
def test_killed_at_any_write_to_a_bucket_the_store_is_the_old_or_the_new_one() -> None:
    script = Path(__file__).parents[1] / "kill_updates_in_bucket.py"
    command = [sys.executable, str(script), "--every", "3"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


# ---- beginning -----------------------------------------------------------------------------------


def test_new_labels_are_stored_in_the_image_in_the_bucket() -> None:
    with google_server() as google:
        url, options = "gs://box/i.ome.zarr", {"storage_options": google.options}
        image = np.zeros((2, 9, 50, 61), "u2")
        build_pyramid(image, url, axes="czyx", n_levels=3, factors=2, **options)
        made = create_labels(url, **options)
        assert [v.shape for v in made.levels] == [(9, 50, 61), (5, 25, 31), (3, 13, 16)]
        create_labels(url, **options)
        described = json.loads(google.objects["box/i.ome.zarr/labels/zarr.json"])
        assert described["attributes"]["ome"]["labels"] == ["labels", "labels-2"]
        editor = edit_pyramid(f"{url}/labels/labels", **options)
        editor[4, 10:20, 10:20] = 3
        editor.save()
        level_1 = open_pyramid(f"{url}/labels/labels", **options)[1][:]
    assert (level_1[2, 5:10, 5:10] == 3).all()
    assert (level_1 == 3).sum() == 25


def test_work_that_a_build_left_is_refused() -> None:
    place = built(store := MemoryStore())
    editor = edit_pyramid(place)
    folder = open_destination(place)
    workspace = ObjectWorkspace(folder, in_place=True)  # type: ignore[arg-type]
    (workspace.directory / "state.json").write_bytes(b'{"phase": "pixels"}')
    editor[0, 0, 0] = 1
    for act in (editor.check, editor.save):
        with pytest.raises(DestinationError, match="holds unfinished work"):
            act()
    assert [key for key in work_in(store) if "lock" in key] == []
    assert list(itertools.chain(*editor.edits.held_boxes())) == []
