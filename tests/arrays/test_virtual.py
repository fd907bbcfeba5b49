"""Virtual arrays against the same made with NumPy."""

from __future__ import annotations

from gzip import BadGzipFile

import numpy as np
import pytest

from napari_pyramid.arrays.virtual import (
    Cast,
    Crop,
    Mosaic,
    MosaicTile,
    Squeeze,
    Stack,
    Transpose,
)

VALUES = np.arange(3 * 5 * 7, dtype=np.uint16).reshape(3, 5, 7)
KEYS = [
    np.s_[...],
    np.s_[1],
    np.s_[-1, ...],
    np.s_[..., 2],
    np.s_[1:, :3, ::2],
    np.s_[::-1, 3:1:-1, ::-2],
    np.s_[0, 1, 2],
    np.s_[2:1],
    np.s_[:, 100:, 1],
    np.s_[np.int64(1), slice(None), -2:],
]


class Recorded:
    """An array of which each reading is noted."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.read = values, []
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim
        self.chunks = tuple(max(1, n // 2) for n in values.shape)

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        self.read.append(key)
        return self.values[key]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_crop_indexes_as_numpy(key: object) -> None:
    crop = Crop(Recorded(VALUES), (2, 4, 5), start=(1, 0, 2))
    np.testing.assert_array_equal(crop[key], VALUES[1:3, 0:4, 2:7][key])


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_squeeze_indexes_as_numpy(key: object) -> None:
    squeezed = Squeeze(Recorded(VALUES[:, None]), axis=1)
    assert (squeezed.shape, squeezed.ndim, len(squeezed.chunks)) == ((3, 5, 7), 3, 3)
    np.testing.assert_array_equal(squeezed[key], VALUES[key])


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_transpose_indexes_as_numpy(key: object) -> None:
    transposed = Transpose(Recorded(VALUES.transpose(2, 0, 1)), (1, 2, 0))
    assert (transposed.shape, transposed.chunks) == ((3, 5, 7), (1, 2, 3))
    np.testing.assert_array_equal(transposed[key], VALUES[key])


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_stack_along_any_axis_indexes_as_numpy(axis: int, key: object) -> None:
    arrays = [Recorded(values) for values in np.moveaxis(VALUES, axis, 0)]
    stack = Stack(arrays, axis)
    np.testing.assert_array_equal(stack[key], VALUES[key])
    assert len([array for array in arrays if array.read]) <= np.atleast_1d(VALUES[key]).size


def test_an_array_without_chunks_makes_none() -> None:
    """Whoever reads in parts is free then: there are no chunks to be read twice."""
    for array in (
        Transpose(VALUES, (2, 1, 0)),
        Stack([VALUES[0], VALUES[1]], 1),
        Cast(VALUES, "f4"),
    ):
        assert not array.is_chunked
        assert array.chunks == array.shape


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_stack_indexes_as_numpy_and_fills_what_is_missing(key: object) -> None:
    stack = Stack([Recorded(VALUES[0]), None, Recorded(VALUES[2])], fill=9)
    expected = VALUES.copy()
    expected[1] = 9
    assert (stack.shape, stack.dtype, stack.chunks) == ((3, 5, 7), np.uint16, (1, 2, 3))
    np.testing.assert_array_equal(stack[key], expected[key])


def test_stack_of_a_smaller_array_is_filled_at_its_end() -> None:
    stack = Stack([Recorded(VALUES[0]), Recorded(VALUES[1, :3, :4])])
    np.testing.assert_array_equal(stack[1, :3, :4], VALUES[1, :3, :4])
    assert not stack[1, 3:].any()
    assert not stack[1, :, 4:].any()


def _mosaic(*arrays: Recorded | None) -> tuple[Mosaic, np.ndarray]:
    """Four places in a (3, 12, 16) plane, the last at odd coordinates, and the visible samples."""
    origins = [(0, 0), (0, 7), (5, 0), (6, 8)]
    expected = np.zeros((3, 12, 16), np.uint16)
    for (y, x), array in zip(origins, arrays, strict=False):
        if array is not None:
            expected[:, y : y + 5, x : x + 7] = array.values
    tiles = [
        MosaicTile(origin, lambda array=array: array)
        for origin, array in zip(origins, arrays, strict=False)
    ]
    return Mosaic(tiles, (3, 12, 16), Recorded(VALUES), (5, 7)), expected


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_mosaic_indexes_as_numpy(key: object) -> None:
    mosaic, expected = _mosaic(Recorded(VALUES), Recorded(VALUES + 1), None, Recorded(VALUES + 2))
    np.testing.assert_array_equal(mosaic[key], expected[key])


def test_mosaic_reads_only_what_is_looked_at() -> None:
    arrays = [Recorded(VALUES), Recorded(VALUES), Recorded(VALUES), Recorded(VALUES)]
    mosaic, _ = _mosaic(*arrays)
    assert [a.read for a in arrays] == [[], [], [], []]
    mosaic[1, 7:9, 9:11]
    assert [a.read for a in arrays] == [[], [], [], [(slice(1, 2), slice(1, 3), slice(1, 3))]]


def test_later_tile_of_a_mosaic_is_seen_where_two_overlap() -> None:
    tiles = [
        MosaicTile((0, 0), lambda: Recorded(VALUES[:1])),
        MosaicTile((2, 3), lambda: Recorded(VALUES[:1] + 100)),
    ]
    mosaic = Mosaic(tiles, (1, 7, 10), Recorded(VALUES[:1]), (5, 7))
    expected = np.zeros((1, 7, 10), np.uint16)
    expected[:, :5, :7] = VALUES[:1]
    expected[:, 2:7, 3:10] = VALUES[:1] + 100
    np.testing.assert_array_equal(mosaic[...], expected)


def test_chunks_of_a_mosaic_are_those_of_its_arrays_only_where_tiles_are_whole_chunks() -> None:
    like = Recorded(np.zeros((2, 6, 8), np.uint8))  # chunks (1, 3, 4)
    assert Mosaic([], (2, 12, 16), like, (6, 8)).chunks == (1, 3, 4)
    assert Mosaic([], (2, 10, 14), like, (5, 7)).chunks == (1, 5, 7)


@pytest.mark.parametrize("key", [(0, 0, 0, 0), 3, -4, (..., ...), None, [0], "a"])
def test_other_indexes_are_refused(key: object) -> None:
    with pytest.raises(IndexError):
        Crop(Recorded(VALUES), VALUES.shape)[key]


def test_what_is_read_belongs_to_the_caller() -> None:
    mosaic, expected = _mosaic(Recorded(VALUES))
    mosaic[0][...] = 0
    np.testing.assert_array_equal(mosaic[...], expected)


class Damaged(Recorded):
    """An array that cannot be read."""

    def __init__(self, error: Exception) -> None:
        super().__init__(VALUES)
        self.error = error

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        raise self.error


def test_damaged_tile_is_reported_and_filled() -> None:
    problems: list[Exception] = []
    error = BadGzipFile("not gzip")
    tiles = [
        MosaicTile((0, 0), lambda: Recorded(VALUES)),
        MosaicTile((0, 7), lambda: Damaged(error), problems.append),
    ]
    mosaic = Mosaic(tiles, (3, 5, 14), Recorded(VALUES), (5, 7), fill=9)
    np.testing.assert_array_equal(
        mosaic[...], np.concatenate([VALUES, np.full_like(VALUES, 9)], axis=2)
    )
    assert problems == [error]


@pytest.mark.parametrize("error", [ConnectionResetError("gone"), MemoryError()])
def test_storage_that_fails_for_now_is_no_damage(error: Exception) -> None:
    tile = MosaicTile((0, 0), lambda: Damaged(error), lambda error: None)
    with pytest.raises(type(error)):
        Mosaic([tile], VALUES.shape, Recorded(VALUES), (5, 7))[...]
