"""Builds into and from sessions of icechunk, which take keys of zarr nodes only.

Expected pixels are TensorStore's, and what is there is listed by zarr alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.errors import GroupNotFoundError
from zarr.storage import MemoryStore, StorePath, WrapperStore, ZipStore

from napari_pyramid import (
    BuildInProgressError,
    DestinationError,
    build_pyramid,
    edit_pyramid,
    iter_build,
    open_pyramid,
    plan_build,
)

icechunk = pytest.importorskip("icechunk")

DATA = np.random.default_rng(0).integers(1, 900, (21, 45, 37)).astype("uint16")
OPTIONS: dict[str, Any] = {"n_levels": 3, "chunks": (8, 16, 16), "factors": 2}


@pytest.fixture
def repository() -> Any:
    return icechunk.Repository.create(icechunk.in_memory_storage())


def _nodes(session: Any) -> list[str]:
    """The paths of all groups and arrays of a session; empty without a root."""
    try:
        root = zarr.open_group(session.store, mode="r")
    except GroupNotFoundError:
        return []
    return sorted(path for path, _ in root.members(max_depth=None))


def _check(pyramid: Any, downsampled: Callable[..., Any]) -> None:
    assert np.array_equal(pyramid[0][:], DATA)
    for fine, coarse in zip(pyramid, list(pyramid)[1:], strict=False):
        assert np.array_equal(coarse[:], downsampled(fine[:], (2, 2, 2), "mean"))


@pytest.mark.parametrize("path", ["", "image", "well/A/1"])
def test_a_session_gets_a_pyramid_that_the_caller_commits(
    repository: Any, path: str, downsampled: Callable[..., Any]
) -> None:
    session = repository.writable_session("main")
    given = StorePath(session.store, path) if path else session
    _check(build_pyramid(DATA, given, **OPTIONS), downsampled)
    parents = [path.rsplit("/", k)[0] for k in range(path.count("/") + 1)] if path else []
    levels = [f"{path}/{k}".lstrip("/") for k in range(3)]
    assert _nodes(session) == sorted({*parents, *levels})
    session.commit("a pyramid")
    stored = repository.readonly_session("main").store
    _check(open_pyramid(StorePath(stored, path)), downsampled)


def test_levels_are_added_and_overwritten_in_a_session(
    repository: Any, downsampled: Callable[..., Any]
) -> None:
    session = repository.writable_session("main")
    group = zarr.create_group(session.store, path="image", attributes={"mine": 1})
    group.create_array("0", data=DATA, chunks=(8, 16, 16))
    where = StorePath(session.store, "image")
    _check(build_pyramid(where, in_place=True, n_levels=3, factors=2), downsampled)
    assert _nodes(session) == ["image", "image/0", "image/1", "image/2"]
    build_pyramid(where, in_place=True, n_levels=2, factors=2, overwrite=True)
    assert _nodes(session) == ["image", "image/0", "image/1-2"]
    group = zarr.open_group(session.store, path="image")
    assert group.attrs["mine"] == 1
    with pytest.raises(DestinationError, match="is the source"):
        build_pyramid(where, where, **OPTIONS, overwrite=True)
    group["0"][:4] = 7
    pyramid = build_pyramid(where, in_place=True, regions=[(slice(0, 4), slice(45), slice(37))])
    assert np.array_equal(pyramid[1][:], downsampled(pyramid[0][:], (2, 2, 2), "mean"))


@pytest.mark.parametrize("before", [[], ["other"]])
def test_a_stopped_build_leaves_a_session_as_it_was(repository: Any, before: list[str]) -> None:
    session = repository.writable_session("main")
    for path in before:
        zarr.create_group(session.store, path=path)
    where = StorePath(session.store, "deep/image")
    build = plan_build(DATA, where, **OPTIONS)
    assert not build.can_resume
    steps = build.steps()
    while next(steps).done < 2:
        pass
    assert not any("image" in path for path in _with_metadata(session))
    with pytest.raises(BuildInProgressError, match="is writing it now"):
        next(iter_build(DATA, where, **OPTIONS))
    steps.close()
    assert _nodes(session) == before
    assert len(build_pyramid(DATA, where, **OPTIONS)) == 3


def _with_metadata(session: Any) -> list[str]:
    """The paths that have OME-Zarr metadata."""
    root = zarr.open_group(session.store, mode="r")
    return [path for path, node in root.members(max_depth=None) if "ome" in node.attrs]


def test_what_cannot_be_a_destination_is_refused(repository: Any, tmp_path: Path) -> None:
    session = repository.writable_session("main")
    with pytest.raises(DestinationError, match=r"takes zarr v3 \(OME-Zarr 0.5\) only"):
        plan_build(DATA, session, **OPTIONS, format="0.4")
    assert not session.has_uncommitted_changes
    for given in (repository.readonly_session("main"), ZipStore(tmp_path / "x.zip", mode="w")):
        with pytest.raises(DestinationError, match="is read-only, or does not list or delete"):
            plan_build(DATA, given, **OPTIONS)
    zarr.create_group(session.store)
    session.commit("a root")
    read_only = zarr.open_group(repository.readonly_session("main").store, mode="r")
    with pytest.raises(DestinationError, match="is read-only"):
        plan_build(DATA, read_only, **OPTIONS)


# ---- as a source ---------------------------------------------------------------------------------


class ForeignStore(WrapperStore[MemoryStore]):
    """A read-only store of another package, without an address, such as VirtualiZarr's."""

    async def get(self, key: str, *args: Any, **options: Any) -> Any:
        if key.endswith("attributes.json"):
            raise ValueError(f"{key} is no key of a node")
        return await super().get(key, *args, **options)


def _opened(repository: Any, pixels: Any) -> Any:
    """What a new process would open: a session at the newest snapshot, or a store."""
    if repository is not None:
        session = repository.writable_session("main")
        group = zarr.create_group(session.store, overwrite=True)
        group.create_array("0", data=pixels, chunks=(8, 16, 16))
        session.commit("pixels")
        return repository.readonly_session("main")
    memory = MemoryStore()
    zarr.create_group(memory).create_array("0", data=pixels, chunks=(8, 16, 16))
    return ForeignStore(memory)


@pytest.mark.parametrize("kind", ["session", "store"])
def test_a_build_from_an_opened_store_is_resumed_with_the_same_pixels_only(
    repository: Any, kind: str, tmp_path: Path
) -> None:
    repository = repository if kind == "session" else None
    source = _opened(repository, DATA)
    steps = iter_build(source, tmp_path / "x.zarr", **OPTIONS)
    while not next(steps).done:
        pass
    steps.close()
    again = source if repository is None else repository.readonly_session("main")
    plan = plan_build(again, tmp_path / "x.zarr", **OPTIONS)
    assert plan.can_resume
    assert plan.unfinished is not None
    assert plan.unfinished.action == "resume"
    assert plan.unfinished.done > 0
    other = plan_build(_opened(repository, DATA + 1), tmp_path / "x.zarr", **OPTIONS)
    assert other.unfinished is not None
    assert other.unfinished.action == "refuse"
    assert np.array_equal(plan.run()[0][:], DATA)


def test_edits_are_a_part_of_what_the_caller_commits(
    repository: Any, downsampled: Callable[..., Any]
) -> None:
    session, wanted = repository.writable_session("main"), DATA.copy()
    build_pyramid(DATA, session, **OPTIONS)
    session.commit("built")
    session = repository.writable_session("main")
    editor = edit_pyramid(session)
    editor[3:9, 10:30, 10:30] = wanted[3:9, 10:30, 10:30] = 7
    editor[:, 32:, 32:] = wanted[:, 32:, 32:] = 0
    editor.save()
    assert np.array_equal(open_pyramid(repository.readonly_session("main"))[0][:], DATA)
    session.commit("edited")
    found = open_pyramid(repository.readonly_session("main"))
    assert np.array_equal(found[0][:], wanted)
    assert np.array_equal(found[1][:], downsampled(wanted, (2, 2, 2), "mean"))
    assert _nodes(repository.readonly_session("main")) == ["0", "1", "2"]
