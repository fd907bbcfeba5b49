"""Axes as people write them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_pyramid import Axis, SpecError
from napari_pyramid.axes import clean_unit, default_axes, parse_axes
from napari_pyramid.half_pixel import centre_shift


@pytest.mark.parametrize(
    ("ndim", "names"), [(0, ""), (1, "x"), (2, "yx"), (3, "zyx"), (4, "tzyx"), (5, "tczyx")]
)
def test_default_axes(ndim: int, names: str) -> None:
    assert "".join(a.name for a in default_axes(ndim)) == names


def test_axes_beyond_five_have_no_type() -> None:
    first, *rest = default_axes(6)
    assert (first.name, first.type) == ("dim_0", None)
    assert "".join(a.name for a in rest) == "tczyx"


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("zyx", ["z", "y", "x"]),
        ("z,y,x", ["z", "y", "x"]),
        ("time, y, x", ["time", "y", "x"]),
        (["t", "y", "x"], ["t", "y", "x"]),
        ((Axis("a"), "y", Axis("x")), ["a", "y", "x"]),
        (None, ["z", "y", "x"]),
    ],
)
def test_spellings(written: Any, names: list[str]) -> None:
    assert [a.name for a in parse_axes(written, 3)] == names


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("t", "time"),
        ("T", "time"),
        ("time", "time"),
        ("c", "channel"),
        ("channel", "channel"),
        ("z", "space"),
        ("row", "space"),
    ],
)
def test_the_type_follows_from_the_name(name: str, type_: str) -> None:
    assert Axis.named(name).type == type_


def test_one_unit_is_that_of_the_spatial_axes() -> None:
    assert [a.unit for a in parse_axes("tcyx", 4, "um")] == [None, None, "micrometer", "micrometer"]


def test_one_unit_per_axis() -> None:
    assert [a.unit for a in parse_axes("tcyx", 4, ["s", None, "nm", "µm"])] == [
        "second",
        None,
        "nanometer",
        "micrometer",
    ]


def test_axis_objects_keep_their_units() -> None:
    assert [a.unit for a in parse_axes([Axis("y", "space", "millimeter"), Axis("x")], 2)] == [
        "millimeter",
        None,
    ]


@pytest.mark.parametrize(
    ("written", "unit"),
    [
        ("um", "micrometer"),
        ("\u00b5m", "micrometer"),  # micro sign
        ("\u03bcm", "micrometer"),  # Greek mu
        ("\u212b", "angstrom"),  # angstrom sign
        ("\u00c5", "angstrom"),
        (" nm ", "nanometer"),
        ("micrometer", "micrometer"),
        ("pixel", None),
        ("", None),
        (None, None),
        ("furlong", "furlong"),
    ],
)
def test_units(written: str | None, unit: str | None) -> None:
    assert clean_unit(written) == unit


@pytest.mark.parametrize(
    ("axes", "units", "message"),
    [
        (
            "zyx",
            None,
            "axes 'z,y,x' names 3 axes, but the array has 2: give one name per array axis",
        ),
        ("", None, "names 0 axes, but the array has 2"),
        ("yy", None, "must be different"),
        ("yY", None, "must be different"),
        ("y,", None, "non-empty names"),
        ("yx", ["um"], "1 units for 2 axes 'y,x': give one per axis, or one for all spatial axes"),
    ],
)
def test_bad_axes(axes: str, units: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_axes(axes, 2, units)
    assert message in str(caught.value)


def test_windows_are_centred_on_their_samples() -> None:
    """The mean of samples 0, 1, 2, 3 is at 1.5 samples, for any sign and size of a sample."""
    samples = np.arange(4) * np.array([[0.5], [-2.0], [3.0]])
    shift = centre_shift(samples[:, 1], samples[:, 1] * [4, 4, 1])
    assert shift == (samples[0].mean(), samples[1].mean(), 0.0)
