"""A box of the finest level that fits, in its place, with the look of its layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_pyramid._napari import _box
from napari_pyramid.arrays.grid import grids_of
from napari_pyramid.arrays.lazy import LazyArray


def levels() -> list[np.ndarray]:
    z, y, x = np.meshgrid(*map(np.arange, (40, 100, 120)), indexing="ij")
    fine = (z * 7 + y * 3 + x).astype("u2")
    return [fine, fine[::2, ::2, ::2].copy()]


@pytest.mark.parametrize(
    ("budget", "size", "level", "side"),
    [
        (4 * 20**3, None, 0, 20),
        (4 * 20**3, (20, 20, 20), 0, 20),
        (4 * 20**3 - 1, (20, 20, 20), 1, 10),  # the next level fits
        (1, (20, 20, 20), 1, 10),  # nothing fits: the coarsest
    ],
)
def test_finest_level_whose_box_fits(budget: int, size: Any, level: int, side: int) -> None:
    views = [LazyArray(v) for v in levels()]
    grids = grids_of([v.shape for v in views])
    found, region = _box.box_of(views, grids, (20, 50, 60), size, (0, 1, 2), budget)
    assert found == level
    assert [s.stop - s.start for s in region] == [side] * 3
    middle = [(s.start + s.stop) / 2 * 2**level for s in region]
    np.testing.assert_allclose(middle, (20, 50, 60), atol=2)


def test_box_at_the_corner_stays_inside() -> None:
    views = [LazyArray(v) for v in levels()]
    grids = grids_of([v.shape for v in views])
    _, region = _box.box_of(views, grids, (0, 99, 500), (8, 8, 8), (0, 1, 2), 10**6)
    assert region == (slice(0, 8), slice(92, 100), slice(112, 120))


def test_hidden_axes_stay_whole() -> None:
    views = [LazyArray(v) for v in levels()]
    grids = grids_of([v.shape for v in views])
    _, region = _box.box_of(views, grids, (20, 50, 60), (1, 10, 10), (1, 2), 10**6)
    assert region == (slice(0, 40), slice(45, 55), slice(55, 65))


def test_box_shows_the_same_samples_in_the_same_place(viewer: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(_box, "volume_bytes", lambda: 4 * 16**3)
    stored = levels()
    layer = viewer.add_image(
        [LazyArray(v) for v in stored],
        multiscale=True,
        contrast_limits=(0, 500),
        colormap="magma",
        scale=(2, 0.5, 0.5),
        translate=(10, 20, 30),
        rotate=[[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]],
    )
    viewer.dims.ndisplay = 3
    viewer.layers.selection.active = layer
    _box.full_resolution_here(viewer)
    box = viewer.layers[-1]
    assert box.colormap.name == "magma"
    layer.contrast_limits = (5, 300)
    assert tuple(box.contrast_limits) == (5, 300)
    inside = np.array([1, 2, 3])
    world = box.data_to_world(inside)
    position = tuple(np.round(layer.world_to_data(world)).astype(int))
    assert np.asarray(box.data)[tuple(inside)] == stored[0][position]


@pytest.mark.slow  # napari compiles what draws shapes
def test_box_around_a_drawn_rectangle(viewer: Any) -> None:
    stored = levels()
    viewer.add_image([LazyArray(v) for v in stored], multiscale=True, contrast_limits=(0, 500))
    viewer.dims.set_current_step(0, 5)
    corners = [[5, 30, 40], [5, 30, 60], [5, 50, 60], [5, 50, 40]]
    viewer.add_shapes([corners], shape_type="rectangle")
    _box.full_resolution_here(viewer)
    box = viewer.layers[-1]
    np.testing.assert_array_equal(np.asarray(box.data)[5], stored[0][5, 30:50, 40:60])
