"""Virtual levels equal TensorStore's downsampling; each chunk reads one chunk of the array."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorstore

from napari_pyramid.arrays import virtual_level
from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.arrays.virtual_level import with_virtual_levels


class Counted:
    def __init__(self, values: np.ndarray, chunks: tuple[int, ...]) -> None:
        self.values, self.chunks = values, chunks
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim
        self.reads: list[Any] = []

    def __getitem__(self, key: Any) -> np.ndarray:
        self.reads.append(tuple(s.start // c for s, c in zip(key, self.chunks, strict=True)))
        return self.values[key]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_level, "SMALL", 16)
    monkeypatch.setattr(virtual_level, "BLOCK", 32)


@pytest.mark.parametrize("nearest", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i2", "f4"])
@pytest.mark.parametrize("chunked", [False, True])
def test_levels_equal_tensorstore(dtype: str, nearest: bool, chunked: bool) -> None:
    values = np.random.default_rng(0).integers(0, 120, (3, 61, 47)).astype(dtype)
    source = LazyArray(Counted(values, (2, 16, 16))) if chunked else values
    levels = with_virtual_levels(source, (1, 2), nearest=nearest)
    assert [level.shape for level in levels] == [(3, 61, 47), (3, 31, 24), (3, 16, 12)]
    expected = tensorstore.array(values)
    for level in levels[1:]:
        method = "stride" if nearest else "mean"
        expected = tensorstore.array(
            tensorstore.downsample(expected, [1, 2, 2], method=method).read().result()
        )
        np.testing.assert_allclose(np.asarray(level), expected.read().result(), rtol=1e-6)
        np.testing.assert_array_equal(np.asarray(level[1:, 3:9]), np.asarray(level)[1:, 3:9])


def test_chunk_of_a_level_reads_one_chunk_and_keeps_it() -> None:
    source = Counted(np.zeros((4, 64, 64), "u2"), (2, 16, 16))
    levels = with_virtual_levels(LazyArray(source), (1, 2))
    np.asarray(levels[2][0, 4:8, 8:12])
    assert source.reads == [(0, 1, 2)]
    np.asarray(levels[1][1, 8:16, 16:24])
    np.asarray(levels[0][1, 16:32, 32:48])
    assert source.reads == [(0, 1, 2)]
