"""A region of level 0 in another level: which samples, and where they are."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from napari_pyramid.arrays.grid import Grid
from napari_pyramid.axes import parse_axes
from napari_pyramid.errors import SpecError
from napari_pyramid.export.region import ExportSource
from napari_pyramid.image import Channel
from napari_pyramid.layer_image import LayerImage


def source(
    *, factor: float = 2, offset: float = 0.5, n: int = 21, axes: str = "yx", **more: object
) -> ExportSource:
    """An image of two levels, whose pixels are their positions along the last axis."""
    ndim, coarse = len(axes), -(-n // int(factor))
    fine = np.broadcast_to(np.arange(n), (n,) * ndim)
    levels = (fine, np.broadcast_to(np.arange(coarse), (coarse,) * ndim))
    image = LayerImage(
        "cells", levels, "image", parse_axes(axes, ndim), (0.5,) * ndim, (10.0,) * ndim
    )
    grids = (Grid((1.0,) * ndim, (0.0,) * ndim), Grid((float(factor),) * ndim, (offset,) * ndim))
    return ExportSource(dataclasses.replace(image, **more), grids)  # type: ignore[arg-type]  # `more` has any fields


@pytest.mark.parametrize(
    ("factor", "offset", "wanted", "box"),
    [
        (2, 0.5, (0, 21), (0, 11)),
        (2, 0.5, (4, 8), (2, 4)),
        (2, 0.5, (5, 8), (2, 4)),
        (2, 0.5, (5, 9), (2, 5)),
        (2, 0.5, (20, 21), (10, 11)),
        (3, 1.0, (3, 6), (1, 2)),
        (3, 1.0, (2, 7), (0, 3)),
        (2, 0.0, (4, 5), (2, 3)),  # stride: sample k is centred at 2k, and reaches half a step
        (2, 0.0, (5, 6), (2, 4)),  # between samples 2 and 3
    ],
)
def test_box_of_a_coarser_level_covers_the_region(
    factor: float, offset: float, wanted: tuple[int, int], box: tuple[int, int]
) -> None:
    found = source(factor=factor, offset=offset)
    assert found.in_level((slice(*wanted), slice(0, 21)), 1)[0] == slice(*box)


def test_samples_keep_their_place() -> None:
    """Sample i of level 1 is between samples 2i and 2i + 1 of level 0."""
    cut = source().cut((slice(5, 9), slice(6, 12)), level=1)
    assert cut.region == (slice(2, 5), slice(3, 6))
    assert cut.image.scale == (1.0, 1.0)
    # the first sample is made of samples 4 and 5 (6 and 7) of level 0, which are at 10 + 0.5 i
    assert cut.image.translation == (10 + 0.5 * 4.5, 10 + 0.5 * 6.5)
    np.testing.assert_array_equal(np.asarray(cut.array), [[3, 4, 5]] * 3)


def test_channels_follow_their_axis() -> None:
    channels = tuple(Channel(str(i)) for i in range(21))
    cut = source(axes="cyx", channels=channels).cut((slice(3, 5), slice(0, 4), slice(0, 4)))
    assert [c.name for c in cut.image.channels] == ["3", "4"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, (slice(0, 21), slice(0, 21))),
        ({"x": slice(3, 5)}, (slice(0, 21), slice(3, 5))),
        ({"y": slice(-4, None), "x": slice(None, 400)}, (slice(17, 21), slice(0, 21))),
    ],
)
def test_region_by_names(given: dict[str, slice] | None, expected: tuple[slice, ...]) -> None:
    assert source().region(given) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"z": slice(1)}, "no axis 'z': the image has y, x"),
        ({"x": slice(0, 9, 2)}, "x has a step"),
        ({"x": slice(30, 40)}, "range 30:40 of x holds no sample: x has 21"),
    ],
)
def test_wrong_region_is_refused(given: dict[str, slice], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        source().region(given)


def test_level_that_does_not_exist() -> None:
    with pytest.raises(SpecError, match="no level 2: levels 0 to 1"):
        source().cut((slice(0, 2), slice(0, 2)), level=2)
