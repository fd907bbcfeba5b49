"""A layer of one resolution with virtual levels: only what is looked at is read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorstore

from napari_pyramid._napari import _progressive, _view_as_pyramid
from napari_pyramid.arrays.lazy import LazyArray

PATIENCE = 60_000
"""Milliseconds after which a result counts as missing. Other work may keep a test waiting."""


class Counted:
    def __init__(self, values: np.ndarray, chunks: tuple[int, ...]) -> None:
        self.values, self.chunks = values, chunks
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim
        self.n_reads = 0

    def __getitem__(self, key: Any) -> np.ndarray:
        self.n_reads += 1
        return self.values[key].copy()


@pytest.mark.parametrize("shape", [(3000, 4000), (3, 3000, 4000)])
def test_zoomed_out_fills_in_and_equals_the_mean(viewer: Any, qtbot: Any, shape: Any) -> None:
    values = np.random.default_rng(0).integers(0, 900, shape).astype("u2")
    source = Counted(values, (1, 512, 512)[-len(shape) :])
    layer = viewer.add_image(LazyArray(source), contrast_limits=(0, 900), visible=False)
    source.n_reads = 0
    new = _view_as_pyramid.with_coarser_levels(viewer, layer)
    assert not layer.visible
    assert new.level_shapes[:, -2:].tolist() == [
        [3000, 4000],
        [1500, 2000],
        [750, 1000],
        [375, 500],
    ]
    expected = tensorstore.array(values)
    coarser = [values]
    for _ in range(3):
        factors = [1] * (len(shape) - 2) + [2, 2]
        mean = tensorstore.downsample(expected, factors, method="mean").read().result()
        expected = tensorstore.array(mean)
        coarser.append(mean)

    def is_exact() -> bool:
        (y0, x0), (y1, x1) = new.corner_pixels[:, -2:]
        plane = coarser[new.data_level].reshape(-1, *coarser[new.data_level].shape[-2:])
        z = viewer.dims.current_step[0] if len(shape) == 3 else 0
        got = np.asarray(new._slice.image.raw)
        return new.data_level > 0 and np.array_equal(got, plane[z][y0 : y1 + 1, x0 : x1 + 1])

    qtbot.waitUntil(is_exact, timeout=PATIENCE)


def test_zoomed_in_reads_only_what_is_in_view(viewer: Any, qtbot: Any) -> None:
    source = Counted(np.ones((8192, 8192), "u1"), (512, 512))
    viewer.add_image(np.ones((8192, 8192), "u1"), contrast_limits=(0, 9), name="extent")
    viewer.scene.camera.zoom = 4
    layer = viewer.add_image(LazyArray(source), contrast_limits=(0, 900), visible=False)
    viewer.scene.camera.zoom = 4
    new = _view_as_pyramid.with_coarser_levels(viewer, layer)
    qtbot.waitUntil(lambda: new.data_level == 0, timeout=PATIENCE)
    qtbot.waitUntil(
        lambda: not _progressive._watchers[viewer].shown[new].is_waiting, timeout=PATIENCE
    )
    assert source.n_reads < 256 // 2  # of 256 chunks


def test_plain_slicing_adds_no_virtual_levels(viewer: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(_progressive, "shows_progressively", lambda: False)
    source = Counted(np.ones((4000, 4000), "u1"), (512, 512))
    layer = viewer.add_image(LazyArray(source), contrast_limits=(0, 900), visible=False)
    assert _view_as_pyramid.with_coarser_levels(viewer, layer) is None
    assert list(viewer.layers) == [layer]
    assert source.n_reads == 0
