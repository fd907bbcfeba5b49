"""An image that no stored resolution shows whole opens with virtual levels, and offers a build."""

from __future__ import annotations

import threading
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import tifffile
import zarr
from napari._app_model import get_app_model
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QPushButton
from servers import web_server

from napari_pyramid import open_pyramid
from napari_pyramid._napari import _giants, _progressive
from napari_pyramid._napari._giants import VISIBLE_KEY
from napari_pyramid._napari._opening import open_in_background
from napari_pyramid._napari.reader import read
from napari_pyramid._napari.widget import BuildPyramid
from napari_pyramid._napari.writer import write_layers
from napari_pyramid.arrays.chunked_source import ChunkedSource
from napari_pyramid.layer_image import METADATA_KEY

PATIENCE = 60_000
"""Milliseconds after which a result counts as missing. Other work may keep a test waiting."""

SHAPE = (1101, 903)


@pytest.fixture(autouse=True)
def small_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_giants, "LARGEST_SIDE", 600)


@pytest.fixture
def plane(tmp_path: Path) -> tuple[Path, np.ndarray]:
    values = np.random.default_rng(0).integers(0, 900, SHAPE).astype("u2")
    path = tmp_path / "giant.zarr"
    zarr.create_array(path, data=values, chunks=(128, 128))
    return path, values


def halved(values: np.ndarray, n: int, method: str = "mean") -> np.ndarray:
    for _ in range(n):
        factors = [1] * (values.ndim - 2) + [2, 2]
        store = tensorstore.downsample(tensorstore.array(values), factors, method=method)
        values = store.read().result()
    return values


def open_in(viewer: Any, path: Path) -> list[Any]:
    notification_manager.records.clear()
    return list(viewer.open(str(path), plugin="napari-pyramid"))


def offers() -> list[Any]:
    return [record for record in notification_manager.records if record.actions]


def is_exact(layer: Any, levels: list[np.ndarray]) -> bool:
    (y0, x0), (y1, x1) = layer.corner_pixels[:, -2:]
    got = np.asarray(layer._slice.image.raw)
    return np.array_equal(got, levels[layer.data_level][y0 : y1 + 1, x0 : x1 + 1])


def test_one_resolution_opens_with_virtual_levels(viewer: Any, qtbot: Any, plane: Any) -> None:
    path, values = plane
    [layer] = open_in(viewer, path)
    assert layer.visible
    assert layer.level_shapes.tolist() == [[1101, 903], [551, 452], [276, 226]]
    levels = [halved(values, n) for n in range(3)]
    qtbot.waitUntil(lambda: is_exact(layer, levels), timeout=PATIENCE)
    viewer.scene.camera.zoom = 0.3
    qtbot.waitUntil(lambda: layer.data_level > 0 and is_exact(layer, levels), timeout=PATIENCE)
    np.testing.assert_array_equal(np.asarray(layer.data[0]), values)
    assert open_pyramid(path).levels[0].shape == SHAPE
    assert len(open_pyramid(path)) == 1


def test_duplicating_computes_no_level_in_the_window(
    viewer: Any, qtbot: Any, plane: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, values = plane
    [layer] = open_in(viewer, path)
    levels = [halved(values, n) for n in range(3)]
    qtbot.waitUntil(lambda: is_exact(layer, levels), timeout=PATIENCE)
    computed: list[str] = []
    read = ChunkedSource.read

    def counted(source: ChunkedSource, ranges: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            computed.append(source.location)
        return read(source, ranges)

    monkeypatch.setattr(ChunkedSource, "read", counted)
    viewer.layers.selection = {layer}
    get_app_model().commands.execute_command("napari.layer.duplicate").result()
    assert computed == []
    copied = viewer.layers["giant copy"]
    assert copied.visible
    assert layer.visible
    qtbot.waitUntil(lambda: is_exact(copied, levels), timeout=PATIENCE)
    assert layer.as_layer_data_tuple()[1]["visible"]
    assert VISIBLE_KEY not in layer.metadata[METADATA_KEY]
    assert VISIBLE_KEY not in copied.metadata[METADATA_KEY]


def test_one_notification_leads_to_the_widget(viewer: Any, qtbot: Any, plane: Any) -> None:
    viewer.add_image(np.zeros((3, 3)), name="another")
    [layer] = open_in(viewer, plane[0])
    qtbot.waitUntil(lambda: len(offers()) == 1, timeout=PATIENCE)
    window = viewer.window._qt_window
    qtbot.waitUntil(lambda: len(_buttons(window)) == 1, timeout=PATIENCE)
    viewer.layers.selection.active = viewer.layers["another"]
    _buttons(window)[0].click()
    [dock] = window.findChildren(BuildPyramid)
    assert dock.layer.value is layer
    qtbot.waitUntil(lambda: dock.is_settled, timeout=PATIENCE)
    assert dock.table.rowCount() == 3


def _buttons(window: Any) -> list[QPushButton]:
    return [b for b in window.findChildren(QPushButton) if b.text() == "Build pyramid"]


def test_channels_get_one_notification_and_keep_their_visibility(
    viewer: Any, qtbot: Any, ome_zarr: Any
) -> None:
    pixels = np.random.default_rng(0).integers(0, 900, (2, *SHAPE)).astype("u2")
    channels = [{"label": "a", "color": "FF0000"}, {"label": "b", "color": "00FF00"}]
    channels[1]["active"] = False  # type: ignore[assignment]  # the others are str
    path = ome_zarr(pixels, "cyx", omero={"channels": channels}, levels=1, chunk=128)
    a, b = open_in(viewer, path)
    assert (a.visible, b.visible) == (True, False)
    assert b.level_shapes.tolist()[0] == list(SHAPE)
    qtbot.waitUntil(lambda: len(offers()) > 0, timeout=PATIENCE)
    qtbot.wait(100)
    assert len(offers()) == 1


def test_small_image_opens_as_it_is(viewer: Any, tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "small.zarr", data=np.ones((600, 500), "u2"), chunks=(64, 64))
    [layer] = open_in(viewer, tmp_path / "small.zarr")
    assert not layer.multiscale


def test_volume_that_does_not_fit_is_halved_in_depth(
    viewer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_giants, "volume_bytes", lambda: 1000)
    zarr.create_array(
        tmp_path / "volume.zarr", shape=(340, 590, 600), chunks=(64, 64, 64), dtype="u1"
    )
    [layer] = open_in(viewer, tmp_path / "volume.zarr")
    assert layer.level_shapes.tolist() == [[340, 590, 600], [170, 295, 300]]


def test_without_a_viewer_only_stored_levels_are_read(plane: Any) -> None:
    [(data, given, _)] = read(str(plane[0]))
    assert not given["multiscale"]
    assert data.shape == SHAPE
    assert given.get("visible", True)


def test_without_progressive_slicing_nothing_is_added(
    viewer: Any, plane: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_progressive, "shows_progressively", lambda: False)
    [layer] = open_in(viewer, plane[0])
    assert not layer.multiscale
    assert layer.visible


def test_huge_coarsest_level_gets_virtual_levels_below_it(
    viewer: Any, qtbot: Any, ome_zarr: Any
) -> None:
    values = np.random.default_rng(0).integers(0, 900, (2202, 1806)).astype("u2")
    path = ome_zarr(values, "yx", levels=2, chunk=128)
    [layer] = open_in(viewer, path)
    assert layer.level_shapes.tolist() == [[2202, 1806], [1101, 903], [551, 452], [276, 226]]
    stored = np.asarray(layer.data[1])
    viewer.scene.camera.zoom = 0.15
    levels = [values, stored, halved(stored, 1), halved(stored, 2)]
    qtbot.waitUntil(lambda: layer.data_level > 1 and is_exact(layer, levels), timeout=PATIENCE)


def test_saving_adds_the_levels_that_a_pyramid_lacks(
    viewer: Any, ome_zarr: Any, tmp_path: Path
) -> None:
    """Stored levels are kept, whoever made them; here the second one is not a mean."""
    values = np.random.default_rng(0).integers(0, 900, (2202, 1807)).astype("u2")
    path = ome_zarr(values, "yx", levels=2, chunk=128)
    zarr.open_array(path / "1", mode="r+")[...] = other = values[::2, ::2] // 3
    [layer] = open_in(viewer, path)
    [written] = write_layers(str(tmp_path / "saved.ome.zarr"), [layer.as_layer_data_tuple()])
    levels = open_pyramid(written).levels
    assert [level.shape for level in levels] == [(2202, 1807), (1101, 904), (551, 452), (276, 226)]
    expected = [values, other, halved(other, 1), halved(halved(other, 1), 1)]
    for level, pixels in zip(levels, expected, strict=True):
        np.testing.assert_array_equal(level[...], pixels)
    scales = [level["coordinateTransformations"][0]["scale"] for level in datasets(Path(written))]
    np.testing.assert_allclose(scales, np.multiply.outer([1, 2, 4, 8], scales[0]))


def datasets(path: Path) -> Any:
    return zarr.open_group(path, mode="r").attrs["ome"]["multiscales"][0]["datasets"]


@pytest.mark.parametrize("tiles", [{"tile": (128, 128)}, {"rowsperstrip": 16}, {}])
def test_tiff_with_one_resolution(
    viewer: Any, qtbot: Any, tmp_path: Path, tiles: dict[str, Any]
) -> None:
    values = np.random.default_rng(0).integers(0, 900, SHAPE).astype("u2")
    tifffile.imwrite(tmp_path / "scan.ome.tif", values, metadata={"axes": "YX"}, **tiles)
    [layer] = open_in(viewer, tmp_path / "scan.ome.tif")
    levels = [halved(values, n) for n in range(3)]
    viewer.scene.camera.zoom = 0.3
    qtbot.waitUntil(lambda: layer.data_level > 0 and is_exact(layer, levels), timeout=PATIENCE)


@pytest.mark.parametrize("dtype", ["u2", "bool"])
def test_labels_show_labels_that_exist(
    viewer: Any, qtbot: Any, tmp_path: Path, ome_zarr: Any, dtype: str
) -> None:
    ids = (np.random.default_rng(0).integers(0, 9, SHAPE) * 100).astype(dtype)
    labels = ome_zarr(ids, "yx", levels=1, chunk=128, **{"image-label": {}})
    [layer] = open_in(viewer, labels)
    assert type(layer).__name__ == "Labels"
    viewer.scene.camera.zoom = 0.3
    levels = [halved(ids.astype("u1" if dtype == "bool" else dtype), n, "stride") for n in range(3)]
    qtbot.waitUntil(lambda: layer.data_level > 0 and is_exact(layer, levels), timeout=PATIENCE)


def test_saving_builds_levels_in_place_of_virtual_ones(
    viewer: Any, ome_zarr: Any, tmp_path: Path
) -> None:
    """Virtual levels of labels are a stride; built ones are the mode."""
    ids = np.random.default_rng(0).integers(0, 3, SHAPE).astype("u2")
    [layer] = open_in(viewer, ome_zarr(ids, "yx", levels=1, chunk=128, **{"image-label": {}}))
    assert layer.multiscale
    [written] = write_layers(str(tmp_path / "saved.ome.zarr"), [layer.as_layer_data_tuple()])
    levels = open_pyramid(written).levels
    np.testing.assert_array_equal(levels[0][...], ids)
    np.testing.assert_array_equal(levels[1][...], halved(ids, 1, "mode"))


def test_deep_copy_of_a_layer_shares_its_levels(viewer: Any, plane: Any) -> None:
    """napari copies the data of a layer that is duplicated."""
    [layer] = open_in(viewer, plane[0])
    copied = deepcopy(layer.data[0])
    assert copied.chunked_source is layer.data[0].chunked_source


def test_one_small_resolution_behind_a_url_is_never_waited_for(
    viewer: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).integers(0, 900, (5, 61, 47)).astype("u2")
    zarr.create_array(tmp_path / "small.zarr", data=values, chunks=(1, 20, 20))
    read, main = ChunkedSource.read, threading.main_thread()

    def read_elsewhere(self: ChunkedSource, *args: Any) -> Any:
        assert threading.current_thread() is not main, "the window reads"
        return read(self, *args)

    monkeypatch.setattr(ChunkedSource, "read", read_elsewhere)
    with web_server(tmp_path) as server:
        notification_manager.records.clear()
        open_in_background(viewer, f"{server.url}/small.zarr", {})
        qtbot.waitUntil(lambda: len(viewer.layers) == 1, timeout=PATIENCE)
        [layer] = viewer.layers
        for z in (2, 4):
            viewer.dims.set_current_step(0, z)
            levels = [values[z], halved(values[z], 1)]
            qtbot.waitUntil(lambda levels=levels: is_exact(layer, levels), timeout=PATIENCE)
        assert layer.visible
        assert offers() == []
        monkeypatch.undo()
        np.testing.assert_array_equal(np.asarray(layer.data[0]), values)
        write_layers(str(tmp_path / "kept.ome.zarr"), [layer.as_layer_data_tuple()])
    assert [level.shape for level in open_pyramid(tmp_path / "kept.ome.zarr").levels] == [
        values.shape
    ]
