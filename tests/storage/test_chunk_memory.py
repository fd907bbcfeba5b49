"""Memory of decoded chunks: lent while an array uses it, and again afterwards."""

from __future__ import annotations

import gc
import threading

import numpy as np

from napari_pyramid.storage.chunk_memory import ChunkMemory


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_a_block_is_lent_again_only_after_its_last_view() -> None:
    memory = ChunkMemory(2**20)
    first = memory.lend(1000)
    assert (first.shape, first.dtype, first.flags.writeable) == ((1000,), np.uint8, True)
    place, view = address(first), first.view("u2")[100:200].reshape(10, 10)
    del first
    other = memory.lend(1000)
    assert not np.shares_memory(view, other)
    del view
    gc.collect()
    assert memory.idle_bytes == 1000
    assert address(memory.lend(1000)) == place


def test_no_more_is_kept_than_allowed() -> None:
    memory = ChunkMemory(2500)
    blocks = [memory.lend(1000) for _ in range(5)]
    del blocks
    gc.collect()
    assert memory.idle_bytes == 2000
    memory.lend(300)  # another size: the kept blocks are of no use
    gc.collect()
    assert memory.idle_bytes == 300


def test_threads_never_share_a_block() -> None:
    memory, wrong = ChunkMemory(2**20), []

    def use(number: int) -> None:
        for _ in range(300):
            block = memory.lend(4096)
            block[:] = number
            if not (block == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=use, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
