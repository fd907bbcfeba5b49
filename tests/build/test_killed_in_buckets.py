"""Builds into stores of objects that are killed at each of their writes.

A killed process writes and reads nothing more; the next one finds what it left.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from helpers import digest, plain_mean
from zarr.storage import MemoryStore, StorePath

from napari_pyramid import (
    DestinationError,
    LayoutError,
    build_pyramid,
    edit_pyramid,
    open_pyramid,
)
from napari_pyramid.build import object_journal
from napari_pyramid.errors import PyramidError

DATA = np.random.default_rng(0).integers(1, 900, (45, 37)).astype("uint16")
OTHER = np.random.default_rng(1).integers(1, 900, (45, 37)).astype("uint16")
OPTIONS: dict[str, Any] = {"n_levels": 3, "chunks": (16, 16), "factors": 2, "max_workers": 1}


class MortalStore(MemoryStore):
    """A store in memory for a process that dies at one of its writes."""

    lives: float = float("inf")

    def _live(self, cost: int) -> None:
        if self.lives < cost:
            self.lives = -1
            raise OSError("the process has been killed")
        self.lives -= cost

    async def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        self._live(0)
        return await super().get(key, *args, **kwargs)

    async def set(self, key: str, value: Any, byte_range: Any = None) -> None:
        self._live(1)
        await super().set(key, value, byte_range)

    async def set_if_not_exists(self, key: str, value: Any) -> None:
        self._live(1)
        await super().set_if_not_exists(key, value)

    async def delete(self, key: str) -> None:
        self._live(1)
        await super().delete(key)

    def content(self) -> dict[str, bytes]:
        return {key: value.to_bytes() for key, value in self._store_dict.items()}


@pytest.fixture(autouse=True)
def journals_are_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_journal, "PERIOD", 0.0)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    group = zarr.create_group(tmp_path / "s.zarr")
    group.create_array("0", data=DATA, chunks=(16, 16))
    return tmp_path / "s.zarr"


def killed_at_each_write(
    prepare: Callable[[MortalStore], None],
    build: Callable[[MortalStore], None],
    look: Callable[[MortalStore], None],
    end: Callable[[MortalStore], None],
) -> int:
    """Kill a build at its n-th write, for every n; look, build again, and look at the end.

    Returns the number of writes of a build that lives.
    """
    for n in itertools.count():
        store = MortalStore()
        prepare(store)
        store.lives = n
        try:
            build(store)
        except (PyramidError, OSError):
            assert store.lives == -1
        is_killed = store.lives == -1
        store.lives = float("inf")
        look(store)
        build(store)
        end(store)
        if not is_killed:
            return n
    raise AssertionError("unreachable")


def files_of(store: MortalStore, folder: str = "x.ome.zarr") -> dict[str, str]:
    return {
        key.removeprefix(f"{folder}/"): hashlib.sha256(content).hexdigest()
        for key, content in store.content().items()
        if key.startswith(f"{folder}/")
    }


def is_whole(image: zarr.Group, level_0: np.ndarray, n_levels: int = 3) -> bool:
    """Whether an image has the levels that plain NumPy makes of its level 0."""
    ome = image.attrs.asdict().get("ome", image.attrs.asdict())
    paths = [d["path"] for d in ome["multiscales"][0]["datasets"]]
    expected = level_0
    for k, path in enumerate(paths):
        expected = plain_mean(expected, (2, 2)) if k else expected
        if not np.array_equal(image[path][:], expected):
            return False
    return len(paths) == n_levels


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format", "more"), [("0.5", {}), ("0.4", {}), ("0.5", {"shards": (32, 32), "codec": "gzip-5"})]
)
def test_a_new_store_is_whole_or_not_there(
    source: Path, tmp_path: Path, format: Any, more: dict[str, Any]
) -> None:
    options = {**OPTIONS, **more, "format": format}
    build_pyramid(source, tmp_path / "x.ome.zarr", **options)
    expected = digest(tmp_path / "x.ome.zarr")

    def build(store: MortalStore) -> None:
        if files_of(store).keys() & {"zarr.json", ".zgroup"} and not _work(store):
            return  # killed after all was done
        build_pyramid(source, StorePath(store, "x.ome.zarr"), **options)

    def look(store: MortalStore) -> None:
        try:
            group = zarr.open_group(store, path="x.ome.zarr", mode="r")
        except (FileNotFoundError, ValueError):
            return
        assert is_whole(group, DATA)

    def end(store: MortalStore) -> None:
        assert files_of(store) == expected
        assert not _work(store)

    assert killed_at_each_write(lambda _: None, build, look, end) > 20


def _work(store: MortalStore) -> list[str]:
    """Keys of unfinished work; the lock of a process that died at its very end may stay."""
    return [k for k in store.content() if ".building/" in k and "lock-" not in k]


@pytest.mark.slow
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("consolidated", [False, True])
@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part:UserWarning")
def test_in_place_level_0_stays_alone_until_all_levels_are_there(
    tmp_path: Path, zarr_format: Any, consolidated: bool
) -> None:
    def make(where: Any) -> None:
        group = zarr.create_group(where, zarr_format=zarr_format, attributes={"note": "mine"})
        group.create_array("s0", data=DATA, chunks=(16, 16))
        if consolidated:
            zarr.consolidate_metadata(group.store, path=group.path)

    make(tmp_path / "x.ome.zarr")
    options = {**{k: v for k, v in OPTIONS.items() if k != "chunks"}, "name": "x"}
    build_pyramid(tmp_path / "x.ome.zarr", in_place=True, **options)
    expected = digest(tmp_path / "x.ome.zarr")

    def build(store: MortalStore) -> None:
        if files_of(store).keys() & {"s2/zarr.json", "s2/.zarray"} and not _work(store):
            return
        build_pyramid(zarr.open_group(store, path="x.ome.zarr"), in_place=True, **options)

    def look(store: MortalStore) -> None:
        group = zarr.open_group(store, path="x.ome.zarr", mode="r")
        assert group.attrs["note"] == "mine"
        assert np.array_equal(group["s0"][:], DATA)
        attributes = group.attrs.asdict()
        assert "multiscales" not in attributes.get("ome", attributes) or is_whole(group, DATA)

    def end(store: MortalStore) -> None:
        assert files_of(store) == expected
        assert not _work(store)

    assert killed_at_each_write(lambda s: make(StorePath(s, "x.ome.zarr")), build, look, end) > 15


@pytest.mark.slow
@pytest.mark.parametrize("before", ["0.4", "0.5"])
@pytest.mark.parametrize("after", ["0.4", "0.5"])
def test_overwriting_shows_the_old_store_until_the_new_one_is_whole(
    tmp_path: Path, source: Path, before: Any, after: Any
) -> None:
    build_pyramid(source, tmp_path / "x.ome.zarr", **OPTIONS, format=after)
    expected = digest(tmp_path / "x.ome.zarr")

    def prepare(store: MortalStore) -> None:
        build_pyramid(OTHER, StorePath(store, "x.ome.zarr"), **OPTIONS, format=before)
        labels = StorePath(store, "x.ome.zarr/labels/cells")
        build_pyramid(OTHER, labels, **OPTIONS, labels=True)

    def build(store: MortalStore) -> None:
        build_pyramid(
            source, StorePath(store, "x.ome.zarr"), **OPTIONS, format=after, overwrite=True
        )

    def look(store: MortalStore) -> None:
        pyramid = open_pyramid(StorePath(store, "x.ome.zarr"))
        assert len(pyramid) == 3
        level_0 = np.asarray(pyramid[0][:])
        assert np.array_equal(level_0, OTHER) or np.array_equal(level_0, DATA)
        for k in (1, 2):
            level_0 = plain_mean(level_0, (2, 2))
            assert np.array_equal(pyramid[k][:], level_0)

    def end(store: MortalStore) -> None:
        look(store)
        assert np.array_equal(open_pyramid(StorePath(store, "x.ome.zarr"))[0][:], DATA)
        found = {_plain(key): content for key, content in files_of(store).items()}
        pixels = {key for key in expected if key.rpartition("/")[2] not in ("zarr.json", ".zattrs")}
        assert {key: found[key] for key in pixels} == {key: expected[key] for key in pixels}
        assert found.keys() == expected.keys()  # nothing is left of the old store
        assert not _work(store)

    assert killed_at_each_write(prepare, build, look, end) > 20


def _plain(key: str) -> str:
    """A key with the path that a level has where there was no level before."""
    level, slash, rest = key.partition("/")
    return f"{level.partition('-')[0]}{slash}{rest}"


@pytest.mark.slow
def test_fewer_levels_replace_more_in_place(tmp_path: Path) -> None:
    def prepare(store: MortalStore) -> None:
        group = zarr.create_group(StorePath(store, "x.ome.zarr"))
        group.create_array("0", data=DATA, chunks=(16, 16))
        build_pyramid(group, in_place=True, n_levels=4, factors=2, method="max")

    def build(store: MortalStore) -> None:
        group = zarr.open_group(store, path="x.ome.zarr")
        build_pyramid(group, in_place=True, n_levels=3, factors=2, overwrite=True)

    def look(store: MortalStore) -> None:
        group = zarr.open_group(store, path="x.ome.zarr", mode="r")
        datasets = group.attrs["ome"]["multiscales"][0]["datasets"]
        levels = [group[d["path"]][:] for d in datasets]
        assert np.array_equal(levels[0], DATA)
        if len(levels) == 3:
            assert is_whole(group, DATA)
        else:
            assert len(levels) == 4
            blocks = [DATA[y : y + 2, x : x + 2] for y in (0, 2) for x in (0, 2)]
            assert levels[1][:2, :2].ravel().tolist() == [block.max() for block in blocks]

    def end(store: MortalStore) -> None:
        look(store)
        group = zarr.open_group(store, path="x.ome.zarr", mode="r")
        assert is_whole(group, DATA)
        assert len(list(group.array_keys())) == 3
        assert not _work(store)

    assert killed_at_each_write(prepare, build, look, end) > 15


@pytest.mark.slow
def test_another_build_may_follow_a_killed_one(source: Path, tmp_path: Path) -> None:
    """Whatever the first left, `resume=False` with another recipe gives only the second."""
    second = {**OPTIONS, "method": "max", "n_levels": 2}
    build_pyramid(source, tmp_path / "x.ome.zarr", **second)
    expected = digest(tmp_path / "x.ome.zarr")
    for n in itertools.count():
        store = MortalStore()
        store.lives = n
        with suppress(PyramidError, OSError):
            build_pyramid(source, StorePath(store, "x.ome.zarr"), **OPTIONS)
        if store.lives != -1:
            break
        store.lives = float("inf")
        place = StorePath(store, "x.ome.zarr")
        try:
            build_pyramid(source, place, **second, resume=False)
        except DestinationError:  # the first was complete
            group = zarr.open_group(place, mode="r")
            assert is_whole(group, DATA)
            continue
        assert files_of(store) == expected
        assert not _work(store)


@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.slow)])
def test_after_a_killed_update_the_pyramid_is_the_old_or_the_new_one(every: int) -> None:
    """Before it is opened for editing, some chunks may be new if the list of moves is there."""
    options = {**OPTIONS, "labels": True, "method": "mode"}
    new = OTHER.copy()
    new[:20, 3:30], new[32:, 32:] = 7, 0

    def edit(store: MortalStore) -> None:
        editor = edit_pyramid(StorePath(store, "x.ome.zarr"))
        editor[:20, 3:30], editor[32:, 32:] = 7, 0
        editor.save(max_workers=1)

    def levels(values: np.ndarray) -> dict[str, str]:
        store = MortalStore()
        build_pyramid(values, StorePath(store, "x.ome.zarr"), **options)
        return files_of(store)

    old_files, new_files = levels(OTHER), levels(new)
    seen = set()
    for n in itertools.count(0, every):
        store = MortalStore()
        build_pyramid(OTHER, StorePath(store, "x.ome.zarr"), **options)
        store.lives = n
        with suppress(PyramidError, OSError):
            edit(store)
        is_killed = store.lives == -1
        store.lives = float("inf")
        is_listed = any(key.endswith("moves.json") for key in store.content())
        assert is_listed or files_of(store) in (old_files, new_files)
        edit_pyramid(StorePath(store, "x.ome.zarr"))
        found = files_of(store)
        assert found == new_files if is_listed else found in (old_files, new_files)
        seen.add((is_listed, found == new_files))
        edit(store)
        assert files_of(store) == new_files
        assert not _work(store)
        if not is_killed:
            break
    assert seen >= {(False, False), (True, True)}


def test_nothing_can_be_opened_while_pixels_are_written(source: Path) -> None:
    store = MortalStore()
    store.lives = 25
    with pytest.raises(DestinationError):
        build_pyramid(source, StorePath(store, "x.ome.zarr"), **{**OPTIONS, "chunks": (4, 4)})
    store.lives = float("inf")
    assert any(key.startswith("x.ome.zarr/0/") for key in store.content())
    with pytest.raises(LayoutError):
        open_pyramid(StorePath(store, "x.ome.zarr"))
