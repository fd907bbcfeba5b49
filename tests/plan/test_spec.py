"""What a pyramid will be: levels, shapes, factors and transforms as tables."""

from __future__ import annotations

import math
from typing import Any

import pytest
from helpers import Array
from hypothesis import given
from hypothesis import strategies as st

from napari_pyramid import Axis, PyramidSpec, SpecError
from napari_pyramid.plan.factors import near_isotropic_step
from napari_pyramid.plan.level import format_bytes


def spec_of(*shape: int, dtype: str = "uint16", **options: Any) -> PyramidSpec:
    return PyramidSpec.from_array(Array(shape, dtype), **options)


# ---- how many levels, and which factors ----------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "options", "shapes"),
    [
        ((512, 512), {}, [(512, 512)]),
        ((513, 100), {}, [(513, 100), (257, 50)]),
        ((2048, 2000), {}, [(2048, 2000), (1024, 1000), (512, 500)]),
        ((256, 256, 256), {}, [(256, 256, 256)]),
        ((257, 256, 256), {}, [(257, 256, 256), (129, 128, 128)]),
        ((3, 600, 600), {"axes": "cyx"}, [(3, 600, 600), (3, 300, 300)]),
        ((9, 600, 600), {"axes": "tyx"}, [(9, 600, 600), (9, 300, 300)]),
        ((1, 600, 600), {}, [(1, 600, 600), (1, 300, 300)]),
        ((7, 11), {"n_levels": 3}, [(7, 11), (4, 6), (2, 3)]),
        ((7, 11), {"n_levels": 1}, [(7, 11)]),
        ((7, 11), {"factors": 3, "n_levels": 2}, [(7, 11), (3, 4)]),
        ((7, 11), {"factors": (1, 4), "n_levels": 2}, [(7, 11), (7, 3)]),
        ((7, 11), {"factors": [(2, 1), (1, 3)]}, [(7, 11), (4, 11), (4, 4)]),
        ((2, 7, 11), {"axes": "cyx", "factors": 2, "n_levels": 2}, [(2, 7, 11), (2, 4, 6)]),
        ((2, 7, 11), {"axes": "cyx", "factors": (2, 2, 2), "n_levels": 2}, [(2, 7, 11), (1, 4, 6)]),
    ],
)
def test_shapes(
    shape: tuple[int, ...], options: dict[str, Any], shapes: list[tuple[int, ...]]
) -> None:
    assert [level.shape for level in spec_of(*shape, **options).levels] == shapes


@pytest.mark.parametrize(
    ("spacing", "step"),
    [
        ((1, 1, 1), (2, 2, 2)),
        ((5, 1, 1), (1, 2, 2)),  # planes far apart are kept
        ((2, 1, 1), (1, 2, 2)),
        ((1, 5, 5), (2, 2, 2)),
        ((0.5, 1, 1), (2, 2, 2)),
        ((1, 1, 2), (2, 2, 1)),
    ],
)
def test_an_axis_is_halved_while_it_is_not_coarser_than_the_coarsest_of_the_others(
    spacing: tuple[float, ...], step: tuple[int, ...]
) -> None:
    axes = [Axis(n) for n in "zyx"]
    assert near_isotropic_step((100, 100, 100), spacing, axes) == step


def test_levels_of_an_anisotropic_stack_become_isotropic_before_z_is_halved() -> None:
    spec = spec_of(200, 2048, 2048, scale=(4, 1, 1), n_levels=5)
    assert [level.factors for level in spec.levels[1:]] == [
        (1, 2, 2),
        (1, 2, 2),
        (2, 2, 2),
        (2, 2, 2),
    ]


# ---- transforms ----------------------------------------------------------------------------------


@given(
    shape=st.tuples(st.integers(20, 99), st.integers(20, 99)),
    steps=st.lists(st.tuples(st.integers(1, 4), st.integers(2, 4)), min_size=1, max_size=3),
    scale=st.tuples(st.floats(0.01, 99), st.floats(0.01, 99)),
    origin=st.tuples(st.floats(-99, 99), st.floats(-99, 99)),
    method=st.sampled_from(["mean", "mode", "median", "min", "max", "stride", "gaussian"]),
)
def test_each_sample_lies_at_the_centre_of_its_window(
    shape: Any, steps: Any, scale: Any, origin: Any, method: str
) -> None:
    """OME-Zarr 0.4, multiscales.

    The first sample of a level is the mean position of the samples of its window.
    """
    spec = spec_of(
        *shape,
        factors=steps,
        scale=scale,
        translation=origin,
        method=method,
        n_levels=len(steps) + 1,
    )
    for k, level in enumerate(spec.levels):
        for axis in range(2):
            total = math.prod(step[axis] for step in steps[:k])
            assert level.total_factors[axis] == total
            assert level.scale[axis] == pytest.approx(scale[axis] * total)
            first_window = [origin[axis] + scale[axis] * i for i in range(total)]
            centre = first_window[0] if method == "stride" else sum(first_window) / total
            assert level.translation[axis] == pytest.approx(centre, abs=1e-9)


def test_negative_scales_are_kept() -> None:
    spec = spec_of(40, 40, scale=(-2.0, 1.0), factors=2, n_levels=2)
    assert spec.levels[1].scale == (-4.0, 2.0)
    assert spec.levels[1].translation == (-1.0, 0.5)


# ---- the rest ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "method"),
    [
        ({}, "mean"),
        ({"labels": True}, "mode"),
        ({"dtype": "bool"}, "mode"),
        ({"labels": True, "method": "max"}, "max"),
    ],
)
def test_default_methods(options: dict[str, Any], method: str) -> None:
    assert spec_of(9, 9, **options).method == method


def test_bytes_and_files_are_those_of_plain_arithmetic() -> None:
    spec = spec_of(100, 70, chunks=(32, 32), factors=2, n_levels=2)
    assert spec.nbytes == 2 * (100 * 70 + 50 * 35)
    assert spec.n_files == 4 * 3 + 2 * 2
    sharded = spec_of(100, 70, chunks=(32, 32), shards=(64, 64), factors=2, n_levels=2)
    assert sharded.n_files == 2 * 2 + 1


def test_levels_that_exist_keep_their_shapes() -> None:
    spec = PyramidSpec.from_levels([Array((100, 90)), Array((50, 45)), Array((17, 15))], axes="yx")
    assert [level.shape for level in spec.levels] == [(100, 90), (50, 45), (17, 15)]
    assert [level.factors for level in spec.levels] == [(1, 1), (2, 2), (3, 3)]


def test_the_text_is_one_line_a_level() -> None:
    lines = str(
        spec_of(64, 5000, 5000, axes="zyx", unit="um", name="brain", n_levels=3)
    ).splitlines()
    assert len(lines) == 2 + 3
    assert "brain" in lines[0]
    assert "micrometer" in lines[0]


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (2**40, "1.0 TiB"),
        (2**52, "4096.0 TiB"),
    ],
)
def test_bytes_as_text(n: int, text: str) -> None:
    assert format_bytes(n) == text


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (Array((5, 5)), {"axes": "zyx"}, "names 3 axes, but the array has 2"),
        (Array((5, 5)), {"scale": (1,)}, "scale (1.0,) has 1 entries, but the array has 2 axes"),
        (Array((5, 5)), {"scale": (1, 0)}, "has a zero"),
        (Array((5, 5)), {"scale": (1, float("nan"))}, "must be finite numbers"),
        (Array((5, 5)), {"translation": (1, float("inf"))}, "must be finite numbers"),
        (Array((5, 5)), {"factors": 0, "n_levels": 2}, "must be integers of at least 1"),
        (
            Array((5, 5)),
            {"factors": (2, 2, 2), "n_levels": 2},
            "has 3 entries, but the array has 2 axes",
        ),
        (Array((5, 5)), {"factors": [(2, 2), (2, 0)]}, "must be integers of at least 1"),
        (
            Array((5, 5)),
            {"factors": [(2, 2)], "n_levels": 3},
            "factors of 1 steps make 2 levels, but 3 levels were requested",
        ),
        (Array((5, 5)), {"factors": 1, "n_levels": 2}, "is not reduced by (1, 1)"),
        (Array((5, 5)), {"n_levels": 9}, "request at most 4"),
        (Array((5, 5)), {"n_levels": 0}, "levels 0 must be at least 1; it counts level 0"),
        (Array((5, 5)), {"chunks": (2,)}, "chunks (2,) has 1 entries"),
        (Array((5, 5)), {"chunks": (2, 0)}, "must be at least 1"),
        (
            Array((5, 5)),
            {"chunks": (2, 2), "shards": (3, 4)},
            "shards (3, 4) must be whole multiples of the chunks (2, 2)",
        ),
        (Array((2**16, 2**16)), {"chunks": (2**16, 2**16)}, "more than codecs can take"),
        (Array((5, 5), "complex64"), {}, "real and imaginary part"),
        (Array((5, 5), "U4"), {}, "expected bool, an integer or a float"),
        (Array((5, 0)), {}, "shape (5, 0) has an axis of size 0: there is nothing to build"),
        (Array(()), {}, "expected 1 to 6"),
        (Array((1,) * 7), {}, "expected 1 to 6"),
        (Array((5, 5), "float32"), {"labels": True}, "cannot be labels: expected integers"),
        (Array((5, 5)), {"labels": True, "method": "mean"}, "would invent ids: use mode"),
        (Array((5, 5)), {"method": "cubic"}, "method 'cubic' is not known: use one of"),
        (Array((9, 9)), {"paths": ["a"], "n_levels": 2}, "1 level paths for 2 levels"),
        ("text", {}, "a str cannot be a source"),
    ],
)
def test_bad_input(array: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        PyramidSpec.from_array(array, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_levels_of_different_images_are_refused() -> None:
    with pytest.raises(SpecError, match="levels differ in axes or dtype"):
        PyramidSpec.from_levels([Array((9, 9)), Array((5, 5), "uint8")])
