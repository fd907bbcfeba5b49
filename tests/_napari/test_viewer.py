"""Pyramids in a real viewer: opened, stepped through, drawn.

The chunks that it reads are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from napari_pyramid.arrays.lazy import LazyArray


class Counted:
    """A level that writes down which chunks are asked for."""

    def __init__(self, shape: tuple[int, ...], chunks: tuple[int, ...], value: int) -> None:
        self.shape, self.chunks, self.value = shape, chunks, value
        self.dtype, self.ndim = np.dtype("u2"), len(shape)
        self.reads: list[tuple[int, ...]] = []

    def __getitem__(self, key: Any) -> np.ndarray:
        grid = [range(s.start // c, -(-s.stop // c)) for s, c in zip(key, self.chunks, strict=True)]
        self.reads += [
            tuple(g[i] for g, i in zip(grid, at, strict=True)) for at in np.ndindex(*map(len, grid))
        ]
        return np.full([s.stop - s.start for s in key], self.value, self.dtype)


def settle(viewer: Any, qtbot: Any) -> None:
    """Let the window draw, so that it chooses the level for its size, and draw that level."""
    canvas = viewer.window._qt_viewer.canvas._scene_canvas
    drawn: list[Any] = []
    canvas.events.draw.connect(drawn.append)
    for enough in (1, 2):
        canvas.update()
        qtbot.waitUntil(lambda enough=enough: len(drawn) >= enough, timeout=60_000)
        qtbot.wait(100)  # for what drawing has set off
    canvas.events.draw.disconnect(drawn.append)


def test_slider_step_reads_just_the_chunks_in_view(viewer: Any, qtbot: Any) -> None:
    """(z, y, x), 4 levels, one plane per chunk.

    A step reads the tile of the shown level and the thumbnail's plane.
    """
    levels = [Counted((40, 4096 >> k, 4096 >> k), (1, 256, 256), k) for k in range(4)]
    layer = viewer.add_image(
        [LazyArray(v) for v in levels], multiscale=True, contrast_limits=(0, 9)
    )
    camera = (viewer.scene if hasattr(viewer, "scene") else viewer).camera  # moved in napari 0.9
    camera.zoom = 1.0  # a screen pixel is a pixel: level 0
    camera.center = (0, 1024, 1024)
    settle(viewer, qtbot)
    shown = layer.data_level
    assert shown == 0
    tile = layer.corner_pixels[:, 1:]
    viewer.dims.set_current_step(0, 5)
    settle(viewer, qtbot)
    for level in levels:
        level.reads.clear()
    viewer.dims.set_current_step(0, 6)
    settle(viewer, qtbot)

    rows, columns = (range(low // 256, high // 256 + 1) for low, high in zip(*tile, strict=True))
    in_view = {(6, y, x) for y in rows for x in columns}
    assert set(levels[0].reads) == in_view
    assert len(levels[0].reads) == len(in_view)  # each once
    assert 4 <= len(in_view) <= 48  # the canvas, not the column of planes or the whole plane
    assert set(levels[3].reads) == {(6, y, x) for y in range(2) for x in range(2)}  # the thumbnail
    assert len(levels[3].reads) == 4
    assert not levels[1].reads
    assert not levels[2].reads


def test_step_within_a_slab_of_chunks_reads_nothing(viewer: Any, qtbot: Any) -> None:
    levels = [Counted((64, 512 >> k, 512 >> k), (32, 128, 128), k) for k in range(2)]
    layer = viewer.add_image(
        [LazyArray(v) for v in levels], multiscale=True, contrast_limits=(0, 9)
    )
    viewer.dims.set_current_step(0, 3)
    settle(viewer, qtbot)
    assert levels[layer.data_level].reads  # it is drawn
    for level in levels:
        level.reads.clear()
    viewer.dims.set_current_step(0, 4)
    settle(viewer, qtbot)
    assert not levels[0].reads
    assert not levels[1].reads


def test_opened_as_layers_with_their_look(viewer: Any, ome_zarr: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 100, (2, 6, 40, 44)).astype("u2")
    channels = [
        {"label": "red", "color": "FF0000"},
        {"label": "green", "color": "00FF00", "active": False},
    ]
    path = ome_zarr(pixels, "czyx", omero={"channels": channels})
    red, green = viewer.open(str(path), plugin="napari-pyramid")
    assert (red.name, green.name) == ("image: red", "image: green")
    assert (red.colormap.name, green.colormap.name) == ("red", "green")
    assert (red.visible, green.visible) == (True, False)
    assert red.multiscale
    assert red.level_shapes.tolist() == [[6, 40, 44], [3, 20, 22]]
    assert list(red.scale) == [0.5, 0.5, 0.5]
    for layer in (red, green):
        assert [str(u) for u in layer.units] == ["micrometer"] * 3


def test_sample_brain_is_a_pyramid_in_millimetres(viewer: Any) -> None:
    [brain] = viewer.open_sample("napari-pyramid", "brain")
    assert brain.multiscale
    assert brain.level_shapes[0].tolist() == [189, 233, 197]
    assert [str(u) for u in brain.units] == ["millimeter"] * 3
    assert list(brain.scale) == [1, 1, 1]
    viewer.dims.set_current_step(0, 90)
    assert viewer.screenshot(canvas_only=True, flash=False)[..., :3].max() > 100


def test_three_dimensional_view_reads_the_last_level_alone(viewer: Any, qtbot: Any) -> None:
    levels = [Counted((64 >> k, 256 >> k, 256 >> k), (16, 64, 64), k) for k in range(3)]
    layer = viewer.add_image(
        [LazyArray(v) for v in levels], multiscale=True, contrast_limits=(0, 9)
    )
    settle(viewer, qtbot)
    assert levels[layer.data_level].reads  # it is drawn
    for level in levels:
        level.reads.clear()
    viewer.dims.ndisplay = 3
    settle(viewer, qtbot)
    assert layer.data_level == 2
    assert (
        viewer.screenshot(canvas_only=True, flash=False)[..., :3].max() > 0
    )  # the pixels of level 0 are black
    assert not levels[0].reads
    assert not levels[1].reads


def test_plugin_menu_offers_the_widget(viewer: Any) -> None:
    from napari._app_model import get_app_model

    titles = [
        item.command.title
        for menu in ("napari/layers/data", "napari/file/io_utilities")
        for item in get_app_model().menus.get_menu(menu)
    ]
    assert sum("Build pyramid" in title for title in titles) == 2


def test_widget_works_through_the_proxy_that_plugins_get(
    make_napari_viewer_proxy: Callable[..., Any], qtbot: Any
) -> None:
    from napari_pyramid._napari.widget import BuildPyramid

    viewer = make_napari_viewer_proxy()
    viewer.add_image(np.zeros((40, 600, 700), "u1"), name="cells", contrast_limits=(0, 1))
    widget = BuildPyramid(viewer)
    qtbot.addWidget(widget)
    assert widget.layer.value.name == "cells"
    qtbot.waitUntil(lambda: widget.table.item(1, 1) is not None, timeout=60000)
    assert [widget.table.item(i, 1).text() for i in range(2)] == ["40×600×700", "20×300×350"]
