"""Threads that decode or build beside a window have a lower priority than its thread."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_pyramid import plan_build
from napari_pyramid.arrays.chunk_loader import ChunkLoader

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority there")


def niceness() -> int:
    """The niceness of the current thread."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


class Watched:
    """An array that notes which niceness its readers have."""

    shape, dtype, ndim = (40, 50), np.dtype("u1"), 2

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def __getitem__(self, key: Any) -> np.ndarray:
        self.seen.add(niceness())
        return np.zeros(self.shape, self.dtype)[key]


@pytest.mark.parametrize("gives_way", [True, False])
def test_threads_of_a_build_give_way_if_asked(tmp_path: Path, gives_way: bool) -> None:
    source, before = Watched(), niceness()
    build = plan_build(source, tmp_path / "x.zarr", n_levels=2, chunks=(16, 16), max_workers=2)
    source.seen.clear()
    for _ in build.steps(gives_way=gives_way):
        pass
    assert source.seen
    assert all(nice > before if gives_way else nice == before for nice in source.seen)
    assert niceness() == before


def test_threads_that_read_for_a_view_give_way() -> None:
    seen, done = [], threading.Event()

    class Source:
        def has(self, index: Any) -> bool:
            return False

        def batch_size(self, n_left: int, threads: int) -> int:
            return 1

        def load(self, indexes: list[Any]) -> dict[Any, np.ndarray]:
            seen.append(niceness())
            return {index: np.zeros(1) for index in indexes}

    class Viewer:
        def deliver(self, source: Any, chunks: Any) -> None:
            done.set()

        def fail(self, source: Any, index: Any, error: Exception) -> None:
            raise error

    source: Any = Source()
    ChunkLoader().want(Viewer(), [(source, (0,))])
    assert done.wait(60)
    assert all(nice > niceness() for nice in seen)
