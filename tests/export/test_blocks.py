"""Blocks are all of an array, bounded, and end where chunks end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import Array
from hypothesis import given
from hypothesis import strategies as st

from napari_pyramid.errors import SourceError
from napari_pyramid.export.blocks import ExportBlocks


@st.composite
def arrays(draw: st.DrawFn) -> tuple[Array, list[int], int]:
    ndim = draw(st.integers(1, 4))
    shape = draw(st.lists(st.integers(1, 23), min_size=ndim, max_size=ndim))
    chunks = draw(st.lists(st.integers(1, 9), min_size=ndim, max_size=ndim))
    start = draw(st.lists(st.integers(0, 20), min_size=ndim, max_size=ndim))
    array = Array(tuple(shape), "u2", chunks=tuple(chunks), ndim=ndim)
    return array, start, draw(st.integers(1, 4000))


@given(arrays())
def test_every_sample_is_in_one_block_of_bounded_size(given: tuple[Array, list[int], int]) -> None:
    array, start, limit = given
    count = np.zeros(array.shape, int)
    blocks = ExportBlocks(array, start, limit=limit)
    regions = list(blocks)
    for region in regions:
        count[region] += 1
    assert (count == 1).all()
    assert len(regions) == len(blocks)
    sizes = [count[region].size * 2 for region in regions]
    assert max(sizes) == blocks.nbytes <= max(2, limit)


def test_blocks_end_where_chunks_end() -> None:
    array = Array((100, 90), "u1", chunks=(16, 32))
    for region in ExportBlocks(array, (5, 10), limit=40 * 90):
        assert region[0].stop == 100 or (region[0].stop + 5) % 16 == 0
        assert region[1] == slice(0, 90)  # in one piece in a file


def test_unreadable_block_is_named() -> None:
    class Broken(Array):
        def __getitem__(self, key: Any) -> Any:
            raise OSError("the disk is gone")

    with pytest.raises(SourceError, match=r"\[0:4\] cannot be read: OSError: the disk is gone"):
        list(ExportBlocks(Broken((4,)), (0,)).read())
