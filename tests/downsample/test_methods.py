"""Every method against TensorStore's downsample driver, scipy, or plain NumPy.

The NumPy twin looks at one window at a time.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.transform import pyramid_reduce

import napari_pyramid
from napari_pyramid.downsample import (
    METHODS,
    downsample,
    downsampled_shape,
    gaussian_radius,
    gaussian_reduce,
)
from napari_pyramid.errors import SpecError

WINDOW_METHODS = ("mean", "median", "mode", "min", "max", "stride")
INTEGERS = (
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    ">i2",
    ">u4",
    ">i8",
)
FLOATS = ("float16", "float32", "float64", ">f4", ">f8")
CASES = [  # shape, factors
    ((1,), (4,)),
    ((7,), (2,)),
    ((11,), (4,)),
    ((4, 6), (2, 2)),
    ((5, 7), (2, 2)),
    ((5, 7), (3, 1)),
    ((1, 9), (2, 2)),
    ((6, 4, 8), (2, 2, 2)),
    ((5, 7, 11), (2, 2, 2)),
    ((5, 7, 11), (1, 2, 2)),
    ((5, 7, 11), (1, 3, 4)),
    ((3, 1, 7), (4, 4, 4)),
    ((2, 5, 3, 7), (1, 2, 2, 2)),
    ((2, 5, 3, 7), (2, 1, 2, 2)),
    ((2, 3, 1, 5, 7), (1, 1, 1, 2, 2)),
    ((2, 1, 3, 4, 5), (1, 4, 2, 3, 2)),
    ((2, 3, 1, 3, 5, 4), (2, 1, 3, 2, 2, 2)),
    ((3, 2, 2, 3, 5, 4), (1, 1, 1, 2, 2, 2)),
    ((3, 2, 2, 3, 5, 4), (1, 1, 1, 1, 1, 1)),
]


def samples(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    """Extremes, many ties and random values, in equal parts."""
    kind, rng = np.dtype(dtype), np.random.default_rng([seed, *shape])
    if kind.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if kind.kind == "f":
        pool = rng.normal(0, 100, 8).astype(kind)
        return np.where(
            rng.random(shape) < 0.5, rng.choice(pool, shape), rng.normal(0, 1, shape).astype(kind)
        ).astype(kind)
    info = np.iinfo(kind)
    anything = rng.integers(info.min, info.max, shape, dtype=kind.newbyteorder("="), endpoint=True)
    few = rng.choice(
        np.array([info.min, info.max, info.max - 1, 0, 1, 2], kind.newbyteorder("=")), shape
    )
    return np.where(rng.random(shape) < 0.6, few, anything).astype(kind)


def by_window(
    block: np.ndarray, factors: Sequence[int], reduce: Callable[[np.ndarray], Any]
) -> np.ndarray:
    """`reduce` of the samples of each window, in C order: the plain way."""
    out = np.empty(downsampled_shape(block.shape, factors), block.dtype.newbyteorder("="))
    for index in np.ndindex(out.shape):
        out[index] = reduce(
            block[
                tuple(slice(i * f, (i + 1) * f) for i, f in zip(index, factors, strict=True))
            ].ravel()
        )
    return out


def exact_mean(window: np.ndarray) -> Any:
    """Python's integers have no width: the quotient, rounded half to even."""
    total, n = sum(int(v) for v in window), len(window)
    quotient, rest = divmod(total, n)
    return quotient + (2 * rest > n or (2 * rest == n and quotient % 2))


# ---- integers and bool: bit for bit --------------------------------------------------------------


@pytest.mark.parametrize("method", WINDOW_METHODS)
@pytest.mark.parametrize("dtype", ["bool", *INTEGERS])
def test_integers_equal_tensorstore(dtype: str, method: str, downsampled: Any) -> None:
    for seed, (shape, factors) in enumerate(CASES):
        block = samples(shape, dtype, seed)
        result = downsample(block, factors, method)
        assert result.dtype == block.dtype.newbyteorder("=")
        np.testing.assert_array_equal(
            result, downsampled(block, factors, method), err_msg=f"{shape} by {factors}"
        )


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_mean_of_64_bits_is_exact(dtype: str) -> None:
    for factors in [(2, 2), (3, 3), (4, 1)]:
        block = samples((13, 11), dtype)
        np.testing.assert_array_equal(
            downsample(block, factors, "mean"), by_window(block, factors, exact_mean)
        )


@pytest.mark.parametrize(
    ("values", "factor", "mean"),
    [
        ([0, 1], 2, [0]),  # 0.5 is as far from 0 as from 1: the even one
        ([1, 2], 2, [2]),
        ([2, 3], 2, [2]),
        ([-1, 0], 2, [0]),
        ([-2, -1], 2, [-2]),
        ([-3, -2], 2, [-2]),
        ([0, 0, 1], 3, [0]),
        ([0, 1, 1], 3, [1]),
        ([-1, -1, 0], 3, [-1]),
        ([0, 0, 0, 2], 4, [0]),
        ([0, 0, 3, 3], 4, [2]),
        ([127, 127, 127], 2, [127, 127]),
        ([-128, -128], 2, [-128]),
    ],
)
def test_mean_rounds_half_to_even(values: list[int], factor: int, mean: list[int]) -> None:
    assert downsample(np.array(values, np.int8), (factor,), "mean").tolist() == mean


def test_partial_last_window_counts_only_the_samples_that_exist() -> None:
    assert downsample(np.array([4, 6, 9], np.uint8), (2,), "mean").tolist() == [5, 9]
    assert downsample(np.array([4, 6, 9], np.uint8), (4,), "mean").tolist() == [6]


def test_median_of_an_even_count_is_the_lower_middle_one() -> None:
    assert downsample(np.array([4, 3, 1, 2], np.uint8), (4,), "median").tolist() == [2]


def test_mode_of_equally_frequent_values_is_the_lowest() -> None:
    assert downsample(np.array([9, 5, 5, 9, 7, 7], np.uint8), (4,), "mode").tolist() == [5, 7]


@pytest.mark.parametrize("factors", [(2, 2), (1, 2, 2), (2, 2, 2), (1, 3, 2)])
def test_mode_without_background_counts_zero_only_when_alone(factors: tuple[int, ...]) -> None:
    def foreground_mode(window: np.ndarray) -> Any:
        counts = Counter(v for v in window.tolist() if v) or Counter({0: 1})
        most = max(counts.values())
        return min(v for v, n in counts.items() if n == most)

    rng = np.random.default_rng(3)
    block = (
        rng.integers(1, 4, (5, 7, 9)[-len(factors) :])
        * (rng.random((5, 7, 9)[-len(factors) :]) < 0.4)
    ).astype(np.uint32)
    np.testing.assert_array_equal(
        downsample(block, factors, "mode", ignore_background=True),
        by_window(block, factors, foreground_mode),
    )


# ---- floats --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["median", "mode", "min", "max", "stride"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_floats_equal_tensorstore(dtype: str, method: str, downsampled: Any) -> None:
    for seed, (shape, factors) in enumerate(CASES):
        block = samples(shape, dtype, seed)
        np.testing.assert_array_equal(
            downsample(block, factors, method),
            downsampled(block, factors, method),
            err_msg=f"{shape} by {factors}",
        )


@pytest.mark.parametrize("dtype", FLOATS)
def test_float_mean_is_summed_in_float64_in_c_order(dtype: str) -> None:
    for seed, (shape, factors) in enumerate(CASES):
        block = samples(shape, dtype, seed)
        # Not by sum(), which compensates for rounding since Python 3.12.
        expected = by_window(
            block, factors, lambda window: reduce(add, map(float, window)) / len(window)
        )
        np.testing.assert_array_equal(
            downsample(block, factors, "mean"), expected, err_msg=f"{shape} by {factors}"
        )


@pytest.mark.parametrize("dtype", FLOATS)
def test_float_mean_equals_tensorstore_within_rounding(dtype: str, downsampled: Any) -> None:
    block = samples((5, 7, 11), dtype)
    scale = 8 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(
        downsample(block, (2, 2, 2), "mean").astype("f8"),
        downsampled(block, (2, 2, 2), "mean").astype("f8"),
        rtol=scale,
        atol=scale * 1000,
    )


NAN = float("nan")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    ("method", "window", "expected"),
    [
        ("mean", [1, NAN, 2, 3], NAN),
        ("mean", [1, float("inf"), 2, 3], float("inf")),
        ("mean", [float("-inf"), float("inf"), 2, 3], NAN),
        ("median", [1, NAN, 2, 3], NAN),
        ("mode", [NAN, NAN, 2, 3], NAN),
        ("mode", [3, NAN, 3, NAN], 3),
        ("mode", [NAN, 5, 4, 6], 4),
        ("mode", [NAN, NAN, NAN, NAN], NAN),
        ("min", [NAN, 5, 4, 6], 4),
        ("max", [5, NAN, 4, 6], 6),
        ("min", [NAN, NAN, NAN, NAN], NAN),
        ("max", [NAN, NAN, NAN, NAN], NAN),
        ("stride", [NAN, 1, 2, 3], NAN),
    ],
)
@pytest.mark.parametrize("as_pairs", [True, False], ids=["2 x 2", "4"])
def test_nan(method: str, window: list[float], expected: float, dtype: str, as_pairs: bool) -> None:
    block = np.array(window, dtype).reshape((2, 2) if as_pairs else (4,))
    np.testing.assert_array_equal(
        downsample(block, (2, 2) if as_pairs else (4,), method).item(), expected
    )


# ---- any block -----------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    data=st.data(),
    method=st.sampled_from(WINDOW_METHODS),
    dtype=st.sampled_from(("bool", "uint8", "int16", "uint64", "float32")),
)
def test_any_shape_and_factors_equal_tensorstore(
    data: st.DataObject, method: str, dtype: str, downsampled: Any
) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=6, min_side=1, max_side=6))
    factors = tuple(data.draw(st.integers(1, 4)) for _ in shape)
    block = samples(shape, dtype, data.draw(st.integers(0, 99)))
    result, expected = downsample(block, factors, method), downsampled(block, factors, method)
    if dtype == "float32" and method == "mean":
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-4)
    else:
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("method", METHODS)
def test_views_of_any_memory_order_give_the_same(method: str) -> None:
    block = samples((6, 10, 14), "uint16")
    expected = downsample(block[::2, :, 1::2].copy(), (2, 2, 2), method)
    for view in (
        block[::2, :, 1::2],
        np.asfortranarray(block[::2, :, 1::2]),
        block[::2, :, 1::2].astype(">u2"),
    ):
        np.testing.assert_array_equal(downsample(view, (2, 2, 2), method), expected)


def test_the_block_is_not_changed_and_the_result_is_ours() -> None:
    block = samples((4, 6), "uint8")
    before = block.copy()
    for method in METHODS:
        for factors in [(1, 1), (2, 2)]:
            downsample(block, factors, method)[...] = 0
            np.testing.assert_array_equal(block, before, err_msg=f"{method} {factors}")


@pytest.mark.parametrize("method", WINDOW_METHODS)
def test_an_empty_block_stays_empty(method: str) -> None:
    assert downsample(np.empty((0, 5), np.uint8), (2, 2), method).shape == (0, 3)


# ---- gaussian ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "factors"), [*CASES, ((40, 41), (2, 4)), ((37, 1, 23), (3, 1, 2))]
)
def test_gaussian_equals_scipy(
    shape: tuple[int, ...], factors: tuple[int, ...], gaussian_by_scipy: Any
) -> None:
    image = np.random.default_rng(0).normal(0, 1, shape)
    np.testing.assert_allclose(
        downsample(image, factors, "gaussian"),
        gaussian_by_scipy(image, factors),
        rtol=1e-12,
        atol=1e-12,
    )


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32"])
def test_gaussian_rounds_integers_once(dtype: str, gaussian_by_scipy: Any) -> None:
    image = samples((20, 31), dtype)
    expected = gaussian_by_scipy(image, (2, 3))
    assert np.abs(downsample(image, (2, 3), "gaussian") - expected).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_gaussian_equals_skimage_where_the_factor_divides(factor: int) -> None:
    image = np.random.default_rng(0).random((12 * factor, 7 * factor))
    expected = pyramid_reduce(image, downscale=factor, mode="reflect", preserve_range=True)
    np.testing.assert_allclose(downsample(image, (factor, factor), "gaussian"), expected, rtol=1e-9)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "uint8", "float32"])
def test_gaussian_keeps_a_constant_image_at_the_end_of_its_range(dtype: str) -> None:
    highest = np.iinfo(dtype).max if np.dtype(dtype).kind in "iu" else 3.0
    result = downsample(np.full((9, 9), highest, dtype), (2, 2), "gaussian")
    np.testing.assert_allclose(result.astype("f8"), float(highest), rtol=1e-7)


@settings(max_examples=40)
@given(n=st.integers(1, 60), f=st.integers(1, 4), data=st.data())
def test_gaussian_of_a_region_with_margins_is_that_of_the_image(
    n: int, f: int, data: st.DataObject
) -> None:
    image = np.random.default_rng(n).random(n)
    whole = downsample(image, (f,), "gaussian")
    first = data.draw(st.integers(0, len(whole) - 1))
    last = data.draw(st.integers(first + 1, len(whole)))
    start, stop = first * f, min(last * f, n)
    before, after = min(start, gaussian_radius(f)), min(n - stop, gaussian_radius(f))
    region = gaussian_reduce(image[start - before : stop + after], (f,), margins=((before, after),))
    np.testing.assert_array_equal(region, whole[first:last])


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "factors", "method", "message"),
    [
        ("uint8", (2,), "mean", "factors (2,) has 1 entries, but the array has 2 axes"),
        ("uint8", (2, 0), "mean", "factors (2, 0) must be integers of at least 1"),
        ("uint8", (2, -2), "mean", "at least 1"),
        ("uint8", (2, 1.5), "mean", "must be integers"),
        ("uint8", (2, True), "mean", "must be integers"),
        ("complex64", (2, 2), "mean", "dtype complex64 cannot be downsampled"),
        ("complex64", (2, 2), "mean", "real and imaginary part or its magnitude"),
        ("datetime64[s]", (2, 2), "stride", "cannot be downsampled"),
        ("U3", (2, 2), "stride", "cannot be downsampled"),
        (
            "uint8",
            (2, 2),
            "average",
            "method 'average' is not known: use one of mean, mode, median, min, max, stride",
        ),
    ],
)
def test_bad_arguments(dtype: str, factors: tuple[Any, ...], method: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        downsample(np.zeros((4, 4), dtype), factors, method)
    assert message in str(caught.value)


def test_a_callable_is_a_method(downsampled: Any) -> None:
    def brightest(block: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
        return downsampled(block, factors, "max").astype("f8")

    block = samples((5, 7), "uint16")
    result = downsample(block, (2, 3), brightest)
    assert result.dtype == block.dtype
    np.testing.assert_array_equal(result, downsampled(block, (2, 3), "max"))


def test_a_callable_that_returns_another_shape_is_named() -> None:
    def cropping(block: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
        return block[:1]

    with pytest.raises(SpecError, match=r"cropping.* returned shape \(1, 4\), expected \(2, 2\)"):
        downsample(np.zeros((4, 4)), (2, 2), cropping)


@pytest.mark.parametrize(("n", "f"), list(itertools.product([1, 2, 5, 8], [1, 2, 3, 4])))
def test_shape_is_rounded_up(n: int, f: int) -> None:
    assert downsampled_shape((n,), (f,)) == (len(range(0, n, f)),)


def test_kernels_are_compiled_where_nothing_can_be_kept(tmp_path: Path) -> None:
    """As in a container: the package is read-only, and there is no home to write to."""
    package = tmp_path / "napari_pyramid"
    shutil.copytree(
        Path(napari_pyramid.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    for folder in {file.parent for file in package.rglob("*.py")}:
        (folder / "__pycache__").touch()  # no directory can be made there, not even by root
    reduced = "d.downsample(np.arange(16, dtype='u1').reshape(4, 4), (2, 2)).tolist()"
    script = (
        "import numpy as np; from napari_pyramid import downsample as d; print(d.__file__, "
        f"{reduced})"
    )
    nowhere = {
        "HOME": os.devnull,
        "XDG_CACHE_HOME": os.devnull,
        "PYTHONPATH": str(tmp_path),
        "PATH": os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=nowhere
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split(maxsplit=1) == [
        str(package / "downsample" / "__init__.py"),
        "[[2, 4], [10, 12]]\n",
    ]
