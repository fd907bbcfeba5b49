"""Kill the saving of edits with SIGKILL before each of its writes; look at what is in the store.

    python kill_updates.py [--every N]

A script for the same reason as kill_builds.py. Before the store is opened again, it has all of its
old chunks, or a list of moves beside it; after opening, it is the old or the new store, and saving
the edits again gives the new one. Prints one line; exit status 1 if anything differs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np
from helpers import digest
from kill_builds import in_child


def make(path: Path) -> None:
    from napari_pyramid import build_pyramid

    labels = np.random.default_rng(0).integers(0, 4, (7, 37, 41)).astype("uint32")
    labels[:4, :16, :16] = 0
    labels[:, 32:, 32:] = 3
    options = {"labels": True, "axes": "zyx", "n_levels": 3, "factors": 2, "chunks": (4, 16, 16)}
    build_pyramid(labels, path, max_workers=1, **options)


def edit(path: Path) -> None:
    from napari_pyramid import edit_pyramid

    editor = edit_pyramid(path)
    edit_labels(editor)
    editor.save(max_workers=1)


def edit_labels(editor) -> None:
    editor[2:6, 10:20, 10:20] = 9  # chunks that exist, and one that does not
    editor[:, 32:, 32:] = 0  # chunks that vanish


class Dying:
    """A process that kills itself before write number `last`."""

    def __init__(self, last: int) -> None:
        self.last, self.n_writes = last, 0

    def at(self, function):
        """Return a function that counts as a write."""

        def call(*args, **kwargs):
            if self.n_writes == self.last:
                os.kill(os.getpid(), signal.SIGKILL)
            self.n_writes += 1
            return function(*args, **kwargs)

        return call


def edit_until(path: Path, last: int, counted: Path) -> None:
    """Edit, and die before write number `last`; note how many writes there were."""
    from napari_pyramid.storage.chunk_io import StoredBlocks

    dying = Dying(last)
    for name in ("replace", "rename", "unlink", "rmdir", "mkdir"):
        setattr(os, name, dying.at(getattr(os, name)))
    Path.write_text = dying.at(Path.write_text)
    StoredBlocks.write = dying.at(StoredBlocks.write)
    edit(path)
    with open(counted, "w") as file:
        file.write(str(dying.n_writes))


def reopen(path: Path) -> None:
    from napari_pyramid import open_pyramid

    open_pyramid(path)


def wait_for(pid: int) -> int:
    return os.waitpid(pid, 0)[1]


def run(tmp: Path, every: int) -> int:
    first, counted = tmp / "first", tmp / "counted"
    first.mkdir()
    store = first / "s.ome.zarr"
    if wait_for(in_child(make, store)):
        return 1
    shutil.copytree(store, tmp / "old")
    old = digest(store)
    if wait_for(in_child(edit_until, store, -1, counted)):
        return 1
    new, steps = digest(store), int(counted.read_text())
    assert old != new
    olds = news = finished = 0
    for last in range(0, steps, every):
        store = tmp / str(last) / "s.ome.zarr"
        shutil.copytree(tmp / "old", store)
        assert wait_for(in_child(edit_until, store, last, counted)) == signal.SIGKILL
        listed = any(store.parent.glob(".*.building/moves.json"))
        if digest(store) not in (old, new) and not listed:
            print(f"write {last}: torn, with no list of moves")
            return 1
        if wait_for(in_child(reopen, store)):
            return 1
        found = digest(store)
        if found not in (old, new) or (listed and found != new):
            print(f"write {last}: after opening, neither the old nor the new store")
            return 1
        olds, news, finished = olds + (found == old), news + (found == new), finished + listed
        if wait_for(in_child(edit, store)) or digest(store) != new:
            print(f"write {last}: cannot be saved again")
            return 1
        if left := sorted(str(p) for p in store.parent.iterdir() if p != store):
            print(f"write {last}: left behind {left}")
            return 1
    if not (olds and news and finished):
        print(f"old {olds}, new {news}, finished {finished}: not all of them were tried")
        return 1
    print(f"{steps} writes: {olds} times the old store, {news} the new one, {finished} finished")
    return 0


def compile_kernels() -> None:
    """Compile here, so that each child starts at once."""
    from napari_pyramid.downsample import downsample

    for shape in [(4, 16, 16), (3, 5, 5), (4, 5, 4)]:
        downsample(np.zeros(shape, np.uint32), (2, 2, 2), "mode")


if __name__ == "__main__":
    import napari_pyramid.build.editor
    import napari_pyramid.pyramid  # noqa: F401  # loaded before the fork

    compile_kernels()
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    with tempfile.TemporaryDirectory() as tmp:
        sys.exit(run(Path(tmp), parser.parse_args().every))
