"""Where unfinished work is kept.

Places, locks, journals, and publishing that can be repeated after any step.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import zarr
from zarr.storage import MemoryStore, StorePath

from napari_pyramid import BuildInProgressError, DestinationError
from napari_pyramid.build import workspace_base
from napari_pyramid.build.journal import Journal
from napari_pyramid.build.publishing import Publishing
from napari_pyramid.build.state import BuildState
from napari_pyramid.build.targets import workspace_of
from napari_pyramid.build.tokens import has_token, put_token
from napari_pyramid.build.workspace import Workspace, fingerprint
from napari_pyramid.metadata.image_attributes import Description
from napari_pyramid.storage.destination import open_destination
from napari_pyramid.storage.hierarchy import is_zarr, store_root


def test_it_lies_beside_the_outermost_store(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "x.zarr").create_group("labels").create_group("cells")
    assert (
        Workspace(tmp_path / "new.zarr", in_place=False).directory
        == tmp_path / ".new.zarr.building"
    )
    assert Workspace(tmp_path / "x.zarr", in_place=True).directory == tmp_path / ".x.zarr.building"
    inner = [
        Workspace(tmp_path / "x.zarr" / "labels" / name, in_place=False).directory
        for name in ("cells", "nuclei")
    ]
    assert all(d.parent == tmp_path and d.name.startswith(".x.zarr.") for d in inner)
    assert inner[0] != inner[1]


def test_the_root_of_a_store_is_its_outermost_group(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "x.zarr").create_group("a").create_group("b")
    assert store_root(tmp_path / "x.zarr" / "a" / "b" / "new") == tmp_path / "x.zarr"
    assert store_root(tmp_path / "y.zarr") == tmp_path / "y.zarr"
    assert is_zarr(tmp_path / "x.zarr" / "a")
    assert not is_zarr(tmp_path)


def test_one_build_at_a_time(tmp_path: Path) -> None:
    first, second = (Workspace(tmp_path / "x.zarr", in_place=False) for _ in range(2))
    first.acquire()
    with pytest.raises(
        BuildInProgressError,
        match=r"process \d+ on .* \(since .*\) is writing it now; wait until",
    ):
        second.acquire()
    first.release()
    second.acquire()
    second.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_build_that_begins_while_another_ends_keeps_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (Workspace(tmp_path / "x.zarr", in_place=False) for _ in range(3))
    first.acquire()
    release = first.release

    def release_and_let_in() -> None:
        release()
        second.acquire()
        second.save_state(BuildState.begin("f", ()))

    monkeypatch.setattr(first, "release", release_and_let_in)
    first.discard()
    with pytest.raises(BuildInProgressError, match=r"process \d+ on .* is writing it now"):
        third.acquire()
    assert second.is_intact()
    second.discard()
    assert list(tmp_path.iterdir()) == []


def test_workers_of_an_earlier_build_lose_their_right(tmp_path: Path) -> None:
    """Whoever builds next: workers look for the token of their build before each tile."""
    workspace = Workspace(tmp_path / "x.zarr", in_place=False)
    workspace.acquire()
    put_token(workspace.directory, "of-a-build-in-processes")
    workspace.release()
    workspace.acquire()
    assert not has_token(workspace.directory, "of-a-build-in-processes")
    workspace.discard()


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DestinationError, match="cannot be written to"):
        Workspace(tmp_path / "file" / "x.zarr", in_place=False).acquire()


def test_it_travels_to_other_processes_without_its_lock(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "x.zarr", in_place=True)
    workspace.acquire()
    copy = pickle.loads(pickle.dumps(workspace))
    assert (copy.directory, copy.in_place) == (workspace.directory, True)
    workspace.discard()


@pytest.mark.parametrize("text", ["", "{", "[1]", "nonsense"])
def test_a_state_that_cannot_be_read_is_none(text: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "x.zarr", in_place=False)
    workspace.directory.mkdir()
    (workspace.directory / "state.json").write_text(text)
    assert workspace.state is None


def test_journals_remember(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", 200_000)
    for number in (0, 7, 65_535, 65_536, 199_999):
        journal.mark(number)
    journal.close()
    again = Journal(tmp_path / "j", 200_000)
    assert again.n_done == 5
    left = list(again.left())
    assert len(left) == 199_995
    assert not {0, 7, 65_535, 65_536, 199_999} & set(left)
    again.close()
    other = Journal(tmp_path / "j", 10)
    assert other.n_done == 0, "of another number of tiles it is of another build"
    other.close()


def test_what_is_done_while_it_is_read_is_not_done_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", 100_000)
    left = journal.left()
    assert next(left) == 0
    journal.mark(70_000)
    assert 70_000 not in list(left)
    journal.close()


def test_publishing_levels_can_be_repeated_and_undone(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "x.zarr")
    group.create_array("0", shape=(4,), dtype="u1")
    group.create_array("1", shape=(2,), dtype="u1", attributes={"old": True})
    before = {p: p.read_bytes() for p in (tmp_path / "x.zarr").rglob("*") if p.is_file()}
    workspace = Workspace(tmp_path / "x.zarr", in_place=True)
    for path, n in (("1", 3), ("deep/2", 1)):
        zarr.create_array(workspace.new / path, shape=(n,), dtype="u1")
    started = BuildState.begin("f", (), workspace.group)
    workspace.save_state(started.publishing(["0", "1", "deep/2"], [], Description({})))
    for paths in (["1"], ["1", "deep/2"], ["1", "deep/2"]):
        Publishing(workspace).begin(["1", "deep/2"])
        Publishing(workspace).put_levels(paths)
    group.attrs["published"] = True
    assert zarr.open_array(tmp_path / "x.zarr" / "1", mode="r").shape == (3,)
    assert zarr.open_array(workspace.directory / "old" / "1", mode="r").attrs["old"]
    for _ in range(2):
        Publishing(workspace).undo()
        assert {
            p: p.read_bytes() for p in (tmp_path / "x.zarr").rglob("*") if p.is_file()
        } == before
        assert not (tmp_path / "x.zarr" / "deep").exists()
        assert zarr.open_array(workspace.new / "1", mode="r").shape == (3,)


def test_publishing_a_store_can_be_repeated(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "x.zarr", attributes={"old": True})
    workspace = Workspace(tmp_path / "x.zarr", in_place=False)
    zarr.create_group(workspace.new, attributes={"old": False})
    for _ in range(2):
        Publishing(workspace).put_store()
    assert zarr.open_group(tmp_path / "x.zarr", mode="r").attrs["old"] is False
    workspace.save_state(BuildState.begin("f", ()).publishing(["0"], [], Description({})))
    for _ in range(2):
        Publishing(workspace).undo()
        assert zarr.open_group(tmp_path / "x.zarr", mode="r").attrs["old"] is True
    Publishing(workspace).put_store()
    workspace.discard()
    assert [p.name for p in tmp_path.iterdir()] == ["x.zarr"]


def test_a_workspace_that_was_half_discarded_holds_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journals may be there, and the levels that they tell of gone."""
    for end in ("discard", "start_over"):
        workspace = Workspace(tmp_path / "x.zarr", in_place=False)
        workspace.acquire()
        workspace.save_state(BuildState.begin("f", ()))
        zarr.create_array(workspace.new / "0", shape=(4,), dtype="u1")

        def killed(path: Path) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("shutil.rmtree", killed)
            with pytest.raises(KeyboardInterrupt):
                getattr(workspace, end)()
        assert workspace.state is None
        workspace.discard()
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("changed", [{"a": 2}, {"b": [1, 3]}, {"c": None}])
def test_fingerprints_differ_with_any_value(changed: dict[str, Any]) -> None:
    recipe = {"a": 1, "b": [1, 2]}
    assert fingerprint(recipe) == fingerprint({"b": (1, 2), "a": 1})
    assert fingerprint(recipe) != fingerprint({**recipe, **changed})


@pytest.mark.parametrize("where", ["disk", "bucket"])
@pytest.mark.parametrize("error", [OSError("broken disk"), MemoryError()])
def test_a_lock_is_released_whatever_goes_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, where: str
) -> None:
    """Errors of the disk and of damaged files, before the work and when it is removed."""
    store = StorePath(MemoryStore(), "x.zarr") if where == "bucket" else None

    def new() -> Any:
        place = tmp_path / "x.zarr" if store is None else open_destination(store)
        return workspace_of(place, in_place=False)

    def fail(*args: Any) -> None:
        raise error

    first = new()
    with monkeypatch.context() as patch:
        patch.setattr(workspace_base, "wait_for_workers", fail)
        with pytest.raises((type(error), DestinationError)):
            first.acquire()
    second = new()
    second.acquire()
    with monkeypatch.context() as patch:
        patch.setattr(type(second), "_mark_discarded", fail)
        second.save_state(BuildState.begin("f", ()))
        with pytest.raises(type(error)):
            second.discard()
    third = new()
    third.acquire()
    third.discard()
