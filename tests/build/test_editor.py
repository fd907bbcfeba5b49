"""Editing level 0 in memory, and saving what has changed.

Expected pixels are from plain NumPy arrays edited in the same way, and from TensorStore's mode.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from helpers import digest, write_n5
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import web_server

from napari_pyramid import (
    BuildInProgressError,
    DestinationError,
    SourceError,
    SpecError,
    build_pyramid,
    edit_pyramid,
    open_pyramid,
)
from napari_pyramid.build.workspace import Workspace

SHAPE = (9, 50, 61)


def labels(seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).integers(0, 4, SHAPE).astype("uint32")
    found[:, :20] = 0
    return found


def build(path: Path, values: np.ndarray, **options: Any) -> Path:
    given = {"factors": 2, "n_levels": 3, "chunks": (4, 16, 16), "shards": None, **options}
    build_pyramid(values, path, labels=True, axes="zyx", name="cells", **given)
    return path


def paint(array: Any) -> None:
    """Change samples as a person would, in all of the ways to index."""
    array[4, 3:44, 7:19] = 9
    array[:, 30:, 30:] = 0
    array[-1, ::3, -5::-7] = 5
    points = (np.array([0, 0, 8]), np.array([0, 49, -1]), np.array([60, 0, 3]))
    array[points] = [1, 2, 3]
    array[3] = 7


@pytest.mark.parametrize(
    "options",
    [{}, {"shards": (8, 32, 32)}, {"format": "0.4"}, {"ignore_background": True}],
    ids=["chunks", "shards", "zarr v2", "ignoring background"],
)
def test_the_same_bytes_as_building_from_the_edited_pixels(tmp_path: Path, options: Any) -> None:
    store = build(tmp_path / "a.ome.zarr", labels(), **options)
    wanted = labels()
    paint(wanted)
    editor = edit_pyramid(store)
    paint(editor)
    np.testing.assert_array_equal(np.asarray(editor.array), wanted)
    editor.save()
    expected = build(tmp_path / "b.ome.zarr", wanted, **options)
    assert digest(store) == digest(expected)
    assert not editor.has_edits
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["a.ome.zarr", "b.ome.zarr"]


def test_levels_are_the_modes_that_tensorstore_computes(
    tmp_path: Path, downsampled: Any, read_level: Any
) -> None:
    store = build(tmp_path / "a.ome.zarr", labels())
    editor = edit_pyramid(store)
    paint(editor)
    editor.save()
    wanted = labels()
    paint(wanted)
    for k in range(3):
        np.testing.assert_array_equal(read_level(store / str(k)), wanted)
        wanted = downsampled(wanted, (2, 2, 2), "mode")


@settings(max_examples=15)
@given(st.data())
def test_random_edits_and_reads_agree_with_numpy(data: st.DataObject) -> None:
    from napari_pyramid.arrays.edited import EditedArray
    from napari_pyramid.arrays.edits import Edits
    from napari_pyramid.arrays.lazy import LazyArray

    shape = data.draw(st.sampled_from([(300, 170), (3, 40, 70), (2, 3, 35, 33)]))
    wanted = np.random.default_rng(1).integers(0, 9, shape).astype("int16")
    edited = EditedArray(LazyArray(wanted.copy()), Edits(shape, "int16"))

    def key() -> tuple[Any, ...]:
        parts: list[Any] = []
        for n in shape:
            ends = sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n))))
            step = data.draw(st.sampled_from([1, 1, 2, -1, -3]))
            parts.append(
                data.draw(st.integers(-n, n - 1))
                if data.draw(st.booleans())
                else slice(*(ends if step > 0 else (ends[1] - 1, None)), step)
            )
        return tuple(parts)

    for value in range(data.draw(st.integers(1, 4))):
        where = key()
        wanted[where] = edited[where] = value - 2
        if data.draw(st.booleans()):
            edited.edits.hold()
    where = key()
    np.testing.assert_array_equal(edited[where], wanted[where])
    mask = wanted == 3
    edited[mask], wanted[mask] = 4, 4
    np.testing.assert_array_equal(np.asarray(edited), wanted)


def test_only_files_that_change_are_written(tmp_path: Path) -> None:
    store = build(tmp_path / "a.ome.zarr", labels())
    before = {p: p.stat().st_ino for p in store.rglob("*") if p.is_file()}
    editor = edit_pyramid(store)
    editor[0, 21, 0] = 9
    editor[0, 21, 60] = int(labels()[0, 21, 60])  # painted with the label that it has
    editor.save()
    after = {p: p.stat().st_ino for p in store.rglob("*") if p.is_file()}
    written = {str(p.relative_to(store)) for p in after if before.get(p) != after[p]}
    assert written == {"0/c/0/1/0"}  # one voxel of eight changes no mode


def test_levels_of_another_program_whose_lengths_are_rounded_down(
    tmp_path: Path, downsampled: Any, read_level: Any
) -> None:
    """No record of a method, and 25 x 30 made of 50 x 61: the last column has no window."""
    values = labels()[0]
    half = downsampled(values[:, :60], (2, 2), "mode")
    path = tmp_path / "x.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("s0", data=values, chunks=(16, 16))
    group.create_array("s1", data=half, chunks=(16, 16))
    datasets = [
        {"path": f"s{k}", "coordinateTransformations": [{"type": "scale", "scale": [2.0**k] * 2}]}
        for k in range(2)
    ]
    axes = [{"name": a, "type": "space"} for a in "yx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    group.attrs["image-label"] = {"version": "0.4"}
    editor = edit_pyramid(path)
    values[40:, 50:], editor[40:, 50:] = 8, 8
    values[:, 60], editor[:, 60] = 1, 1
    editor.save()
    np.testing.assert_array_equal(read_level(path / "s0"), values)
    np.testing.assert_array_equal(
        read_level(path / "s1"), downsampled(values[:, :60], (2, 2), "mode")
    )


def test_edits_made_while_saving_are_kept_for_the_next_time(tmp_path: Path) -> None:
    editor = edit_pyramid(build(tmp_path / "a.ome.zarr", labels()))
    wanted = labels()
    editor[1:3, 10:40, 10:40] = wanted[1:3, 10:40, 10:40] = 9
    steps = editor.iter_save()
    next(steps)
    editor[2, 20, :30] = wanted[2, 20, :30] = 4
    for _ in steps:
        np.testing.assert_array_equal(editor[2], wanted[2])
    assert editor.has_edits
    np.testing.assert_array_equal(editor.array, wanted)
    assert int(open_pyramid(tmp_path / "a.ome.zarr")[0][2, 20, 12]) == 9
    editor.save()
    np.testing.assert_array_equal(open_pyramid(tmp_path / "a.ome.zarr")[0][...], wanted)


def test_views_that_were_read_before_show_what_was_saved(tmp_path: Path) -> None:
    store = build(tmp_path / "a.ome.zarr", labels())
    views = open_pyramid(store).lazy_levels
    before = [np.asarray(v) for v in views]
    editor = edit_pyramid(store)
    editor[...] = 5
    editor.save()
    assert all(
        (b != 5).any() and (np.asarray(v) == 5).all() for b, v in zip(before, views, strict=True)
    )


def test_a_stopped_save_changes_nothing_and_keeps_the_edits(tmp_path: Path) -> None:
    store = build(tmp_path / "a.ome.zarr", labels())
    before = digest(store)
    editor = edit_pyramid(store)
    editor[:, :, 20:30] = 9
    with closing(editor.iter_save()) as steps:
        next(steps)
    assert digest(store) == before
    assert not list(tmp_path.glob(".*"))
    assert editor.has_edits
    assert (np.asarray(editor[:, :, 20:30]) == 9).all()


def test_a_chunk_that_cannot_be_read_fails_the_save(tmp_path: Path) -> None:
    store = build(tmp_path / "a.ome.zarr", labels())
    (store / "0/c/1/1/1").write_bytes(b"not a chunk")
    before = digest(store)
    editor = edit_pyramid(store)
    editor[4:, 16:40, 16:40] = 9
    with pytest.raises(SourceError, match=r"0: cannot read chunk 1, 1, 1: .*"):
        editor.save()
    assert digest(store) == before
    assert editor.has_edits


def test_saving_is_refused_while_another_process_builds_there(tmp_path: Path) -> None:
    store = build(tmp_path / "a.ome.zarr", labels())
    editor = edit_pyramid(store)
    editor[0, 0, 0] = 9
    other = Workspace(store, in_place=True)
    other.acquire()
    with pytest.raises(BuildInProgressError, match="is writing it now"):
        editor.save()
    other.discard()
    editor.save()
    assert int(open_pyramid(store)[0][0, 0, 0]) == 9


def test_a_build_there_first_finishes_a_killed_update(tmp_path: Path) -> None:
    store = build(tmp_path / "a.ome.zarr", labels())
    editor = edit_pyramid(store)
    editor[...] = 6
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", _killed_after(20, Path.replace))
        patch.setattr(Workspace, "discard", Workspace.release)  # a killed process removes nothing
        with pytest.raises(KeyboardInterrupt):
            editor.save()
    found = zarr.open_array(store / "0", mode="r")[...]
    assert (found == 6).any()
    assert (found != 6).any()
    build_pyramid(store, in_place=True, overwrite=True, factors=2, n_levels=2)
    assert (zarr.open_array(store / "0", mode="r")[...] == 6).all()
    assert (zarr.open_array(store / "1", mode="r")[...] == 6).all()


def test_a_save_that_fails_while_files_are_moved_is_made_good_by_the_next(tmp_path: Path) -> None:
    store = build(tmp_path / "a.ome.zarr", labels())
    editor = edit_pyramid(store)
    editor[...] = 6
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", _killed_after(20, Path.replace, OSError("disk broken")))
        with pytest.raises(DestinationError, match="broken; the rest is written by the next"):
            editor.save()
    assert editor.has_edits
    editor.save()
    assert all((level[:] == 6).all() for level in open_pyramid(store))
    assert not list(tmp_path.glob(".*"))


def _killed_after(n: int, rename: Any, error: Any = KeyboardInterrupt) -> Any:
    left = [n]

    def call(path: Path, target: Path) -> Any:
        if threading.current_thread() is threading.main_thread():  # zarr renames on other threads
            left[0] -= 1
            if left[0] < 0:
                raise error
        return rename(path, target)

    return call


def test_pyramids_that_cannot_be_edited_say_why(tmp_path: Path) -> None:
    store = build(tmp_path / "a.ome.zarr", labels())
    with pytest.raises(SpecError, match="made with method mode, not mean"):
        edit_pyramid(store, method="mean")
    build_pyramid(labels().astype(float), tmp_path / "l.ome.zarr", method="laplacian", n_levels=2)
    with pytest.raises(SpecError, match="have residuals"):
        edit_pyramid(tmp_path / "l.ome.zarr")


def test_stores_that_cannot_be_edited_name_a_way_out(tmp_path: Path) -> None:
    def refusal(path: Any) -> str:
        with pytest.raises(DestinationError) as caught:
            edit_pyramid(path, method="mode")
        return str(caught.value)

    way_out = " cannot be edited: build a pyramid in a local folder or a bucket first, "
    way_out += "and edit that"
    store = build(tmp_path / "a.ome.zarr", labels())
    shutil.make_archive(str(tmp_path / "z"), "zip", store)
    os.rename(tmp_path / "z.zip", tmp_path / "z.ozx")
    assert refusal(tmp_path / "z.ozx") == f"a store in a zip file{way_out}"
    write_n5(tmp_path / "b.n5" / "s0", labels(), block=(16, 16, 4))
    assert refusal(tmp_path / "b.n5") == f"an N5 store{way_out}"
    with web_server(tmp_path) as web:
        assert refusal(f"{web.url}/a.ome.zarr") == f"a store on a web server{way_out}"
        assert refusal(f"{web.url}/z.ozx") == f"a store in a zip file{way_out}"


def test_folders_without_permission_are_refused_before_anything_is_edited(
    tmp_path: Path, monkeypatch: Any
) -> None:
    store = build(tmp_path / "a.ome.zarr", labels())
    editor = edit_pyramid(store)
    access, denied = os.access, {store / "1"}
    monkeypatch.setattr(os, "access", lambda path, mode: path not in denied and access(path, mode))
    with pytest.raises(DestinationError, match="1: no permission to write: change its permissions"):
        edit_pyramid(store)
    denied.add(tmp_path)  # where the new chunks are written first
    with pytest.raises(DestinationError, match="no permission to write"):
        editor.check()


def test_unfinished_work_is_refused_before_anything_is_edited(tmp_path: Path) -> None:
    store = build(tmp_path / "a.ome.zarr", labels())
    workspace = Workspace(store, in_place=True)
    workspace.directory.mkdir()
    (workspace.directory / "state.json").write_text('{"phase": "filling"}')
    with pytest.raises(DestinationError, match="holds unfinished work"):
        edit_pyramid(store).check()


@pytest.mark.posix("it forks")
@pytest.mark.parametrize("every", [19, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_any_write_the_store_is_the_old_or_the_new_one(every: int) -> None:
    script = Path(__file__).parents[1] / "kill_updates.py"
    ran = subprocess.run(
        [sys.executable, str(script), "--every", str(every)], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_values_before_an_edit_are_read_before_the_edit_is_saved(tmp_path: Path) -> None:
    editor = edit_pyramid(build(tmp_path / "a.ome.zarr", labels()))
    editor[4, 3:20] = 8
    box, where = editor.array[4:5, 3:44, 7:19], np.random.default_rng(1).random((1, 41, 12)) < 0.5
    before, known = box.in_memory()
    np.testing.assert_array_equal(known[0, :, 0], np.arange(3, 44) < 20)
    values, unread = before[where], ~known[where]
    editor.old_values.add(box.stored, where, values, unread)
    box.set_where(where, 9)
    expected = labels()
    expected[4, 3:20] = 8
    editor.save()
    np.testing.assert_array_equal(values, expected[4:5, 3:44, 7:19][where])
    expected[4:5, 3:44, 7:19][where] = 9
    np.testing.assert_array_equal(np.asarray(editor.array), expected)
    assert editor.old_values.unread(values) is None


def test_forgotten_edits_leave_nothing_to_save(tmp_path: Path) -> None:
    editor = edit_pyramid(build(tmp_path / "a.ome.zarr", labels()))
    box, where = editor.array[::2, 40:3:-2, 7], np.random.default_rng(1).random((5, 19)) < 0.5
    box.set_where(where, 9)
    assert (np.asarray(box) == 9).sum() == where.sum()
    box.forget_where(where)
    assert not editor.has_edits
    np.testing.assert_array_equal(np.asarray(editor.array), labels())


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (9, "index [9] is out of bounds"),
        ((0, slice(3, 8), ..., -62), "index [0, 3:8, ..., -62] is out of bounds"),
        ((np.array([1, 9]), 0, 0), "index 9 is out of bounds for axis 0"),
    ],
    ids=["integer", "integer and slices", "points"],
)
def test_index_out_of_range_is_named_with_the_shape(tmp_path: Path, key: Any, words: str) -> None:
    editor = edit_pyramid(build(tmp_path / "a.ome.zarr", labels()))
    for act in (lambda: editor[key], lambda: editor.__setitem__(key, 1)):
        with pytest.raises(IndexError, match=re.escape(words)) as caught:
            act()
        assert "an array of shape (9, 50, 61)" in str(caught.value)
    assert not editor.has_edits


def test_values_that_do_not_fit_are_refused_with_both_shapes(tmp_path: Path) -> None:
    editor = edit_pyramid(build(tmp_path / "a.ome.zarr", labels()))
    with pytest.raises(
        ValueError, match=re.escape("(3, 4) cannot be set in a region of shape (50,")
    ):
        editor[2] = np.zeros((3, 4))


def test_a_save_that_cannot_begin_holds_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = build(tmp_path / "x.zarr", labels())
    editor = edit_pyramid(path)
    editor[3, 5:9, 7:41] = 77

    def fail(self: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("napari_pyramid.arrays.edits.Edits.hold", fail)
        with pytest.raises(MemoryError):
            editor.save()
    other = edit_pyramid(path)
    other[4, 5:9, 7:41] = 78
    other.save()
    editor.save()
    found = zarr.open_array(path / "0", mode="r")[3:5, 5:9, 7:41]
    assert (found == np.array([77, 78])[:, None, None]).all()
