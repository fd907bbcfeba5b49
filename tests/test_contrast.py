"""Contrast windows: NumPy's percentiles of a bounded sample, always low < high."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.axes import parse_axes
from napari_pyramid.contrast import (
    LARGEST_SAMPLE,
    MOST_CHUNKS,
    MOST_LOOKS,
    channel_windows,
    contrast_limits,
    window_of,
)


class Counting:
    """An array that remembers how much of it was read."""

    def __init__(self, shape: tuple[int, ...], dtype: str = "uint8") -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.largest = 0

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        shape = tuple(len(range(*s.indices(n))) for s, n in zip(key, self.shape, strict=True))
        self.largest = max(self.largest, int(np.prod(shape)))
        return np.zeros(shape, self.dtype)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint64", "float16", "float32", "float64"])
def test_percentiles_are_those_of_numpy(dtype: str) -> None:
    values = np.random.default_rng(0).gamma(2, 20, 10_000).astype(dtype)
    assert window_of(values) == pytest.approx(
        tuple(np.percentile(values.astype("f8"), (0.1, 99.9)))
    )


@pytest.mark.parametrize(
    ("values", "window"),
    [
        ([], (0, 1)),
        ([5], (5, 6)),
        ([0, 0, 0], (0, 1)),
        ([float("nan")], (0, 1)),
        ([float("inf"), float("-inf")], (0, 1)),
        ([float("nan"), 2, 2], (2, 3)),
    ],
)
def test_where_percentiles_say_nothing(values: list[float], window: tuple[float, float]) -> None:
    assert window_of(np.array(values, "f4")) == window


def test_few_bright_spots_in_the_dark_stay_visible() -> None:
    values = np.zeros(100_000, "u2")
    values[:10] = 4000
    assert window_of(values) == (0, 4000)


@given(
    hnp.arrays(
        st.sampled_from(["u1", "i8", "u8", "f4", "f8", "?"]),
        hnp.array_shapes(max_dims=2, max_side=9),
    )
)
def test_low_is_below_high(values: np.ndarray) -> None:
    low, high = window_of(values)
    assert low < high
    assert np.isfinite([low, high]).all()


def test_one_window_and_range_per_channel() -> None:
    data = np.arange(2 * 30 * 40).reshape(2, 30, 40).astype("u2")
    windows, ranges = channel_windows(data, parse_axes("cyx", 3))
    for c in range(2):
        assert windows[c] == pytest.approx(tuple(np.percentile(data[c], (0.1, 99.9))))
        assert ranges[c] == (data[c].min(), data[c].max())


@pytest.mark.parametrize(
    ("dtype", "window"),
    [("uint8", (0, 255)), ("int8", (-128, 127)), ("uint16", (0, 65535)), ("float32", (0, 1))],
)
def test_a_constant_channel(dtype: str, window: tuple[float, float]) -> None:
    assert channel_windows(np.zeros((4, 4), dtype), parse_axes("yx", 2))[0] == [window]


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((5000, 5000), "yx"), ((300, 300, 300), "zyx"), ((3, 300, 300, 300), "czyx"), ((10**8,), "x")],
)
def test_a_bounded_sample_is_read(shape: tuple[int, ...], axes: Any) -> None:
    array = Counting(shape)
    channel_windows(array, parse_axes(axes, len(shape)))
    assert 0.4 * LARGEST_SAMPLE < array.largest <= LARGEST_SAMPLE


# ---- to show an image that brings no limits ------------------------------------------------------


class Chunked:
    """An array that counts the chunks that are read of it."""

    def __init__(self, values: np.ndarray, chunks: tuple[int, ...]) -> None:
        self.values, self.shape, self.dtype, self.chunks = (
            values,
            values.shape,
            values.dtype,
            chunks,
        )
        self.n_chunks = 0

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        self.n_chunks += int(
            np.prod([-(-(s.stop - s.start) // c) for s, c in zip(key, self.chunks, strict=True)])
        )
        return self.values[key]


def test_an_image_opens_as_it_does_once_it_is_built() -> None:
    values = np.random.default_rng(0).normal(100, 20, (9, 31, 29)).astype("f4")
    [window], _ = channel_windows(values, parse_axes("zyx", 3))
    assert contrast_limits(LazyArray(Chunked(values, (5, 16, 29)))) == window


def test_few_chunks_are_read_to_open_an_image() -> None:
    array = Chunked(np.arange(300 * 64, dtype="u2").reshape(300, 8, 8), (1, 8, 8))
    contrast_limits(LazyArray(array))
    assert 0 < array.n_chunks <= MOST_CHUNKS


def test_a_huge_chunk_is_not_decoded_for_contrast() -> None:
    array = Counting((2**14, 2**14), "uint16")
    assert contrast_limits(LazyArray(array)) == (0, 65535)
    assert array.largest == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_blank_middle_does_not_hide_the_rest(axis: int) -> None:
    values = np.random.default_rng(0).integers(100, 3000, (200, 200, 200)).astype("u2")
    values[(slice(None),) * axis + (slice(50, 150),)] = 0
    chunks = tuple(2 if i == axis else 200 for i in range(3))
    low, high = contrast_limits(LazyArray(Chunked(values, chunks)))
    assert low == np.percentile(values, 0.1)
    assert high == pytest.approx(np.percentile(values, 99.9), rel=0.01)


def test_only_places_with_pixels_are_looked_at() -> None:
    values = np.zeros((1600, 2400), "u2")  # 16 x 24 wells
    values[:100, :100], values[1500:, 2300:] = 500, 700
    corners = [((0 + 1) / 1600, (0 + 1) / 2400), (1501 / 1600, 2301 / 2400)]
    assert contrast_limits(LazyArray(Chunked(values, (100, 100))), corners) == (500, 700)


def test_equal_integers_are_shown_in_the_range_of_their_dtype() -> None:
    array = Chunked(np.full((3000, 8, 8), 5, "u2"), (1, 8, 8))
    assert contrast_limits(LazyArray(array)) == (0, 65535)
    assert array.n_chunks <= MOST_LOOKS * MOST_CHUNKS


def test_of_large_chunks_the_one_in_the_middle_is_read() -> None:
    array = Chunked(
        np.arange(9, dtype="u2")[:, None, None]
        + np.arange(2048 * 2049, dtype="u2").reshape(2048, 2049),
        (1, 2048, 2049),
    )
    contrast_limits(LazyArray(array))
    assert array.n_chunks == 1
