"""In a window, layers that this plugin opened never wait.

Coarser samples at once, exact ones as they arrive.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from napari.settings import get_settings
from napari.utils.notifications import notification_manager

from napari_pyramid._napari import _private, _progressive, _progressive_layer, _volume
from napari_pyramid._napari._progressive_layer import ProgressiveLayer
from napari_pyramid.arrays import chunked_source, progressive
from napari_pyramid.arrays.chunk_cache import ChunkCache
from napari_pyramid.arrays.chunk_reader import SlicedChunks
from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.layer_image import METADATA_KEY
from napari_pyramid.storage.stored_chunks import StoredChunks

PATIENCE = 60_000
"""Milliseconds after which a result counts as missing. Other work may keep a test waiting."""

GATES: list[threading.Event] = []


class Gated:
    """A level in chunks of which reads wait until the gate is open; those in `broken` fail."""

    def __init__(self, values: np.ndarray, chunks: tuple[int, ...]) -> None:
        self.values, self.chunks = values, chunks
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim
        self.gate = threading.Event()
        self.gate.set()
        GATES.append(self.gate)
        self.broken: set[tuple[int, ...]] = set()
        self.n_reads = self.n_failed = 0

    def __getitem__(self, key: Any) -> np.ndarray:
        assert self.gate.wait(60)
        self.n_reads += 1
        if tuple(s.start // c for s, c in zip(key, self.chunks, strict=True)) in self.broken:
            self.n_failed += 1
            raise OSError("bad sector")
        return self.values[key].copy()


def volume(dtype: str = "u2") -> list[Gated]:
    """Two levels, of which every sample is known: level 1 holds every second sample of level 0."""
    z, y, x = np.ogrid[:60, :200, :300]
    fine = (z * 7 + y * 3 + x).astype(dtype)
    return [Gated(fine, (8, 50, 50)), Gated(fine[::2, ::2, ::2].copy(), (8, 50, 50))]


@pytest.fixture(autouse=True)
def gates() -> Iterator[list[threading.Event]]:
    """Gates that a failed test leaves closed would hold up the next one."""
    yield GATES
    for gate in GATES:
        gate.set()
    GATES.clear()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progressive, "PATIENCE", 0.0)
    monkeypatch.setattr(SlicedChunks, "chunks_per_call", 1)


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def slicing(request: pytest.FixtureRequest) -> Iterator[bool]:
    """napari's own asynchronous slicing, off and on; the viewer is made after it."""
    experimental = get_settings().experimental
    before = experimental.async_
    experimental.async_ = request.param
    yield request.param
    experimental.async_ = before


@pytest.fixture
def window(slicing: bool, make_napari_viewer: Callable[..., Any]) -> Any:
    viewer = make_napari_viewer(show=True)
    _progressive.watch(viewer)
    return viewer


def opened(viewer: Any, levels: list[Gated], kind: str = "image", **options: Any) -> Any:
    metadata = {METADATA_KEY: {"source": f"store {id(levels)}", "levels": []}}
    data = [LazyArray(level) for level in levels]
    if kind == "labels":
        return viewer.add_labels(data, multiscale=True, metadata=metadata, **options)
    return viewer.add_image(
        data, multiscale=True, metadata=metadata, contrast_limits=(0, 900), **options
    )


def pixels(layer: Any) -> np.ndarray:
    """What napari draws."""
    return np.asarray(layer._slice.image.raw)


def is_exact(layer: Any, levels: list[Gated], z: int) -> bool:
    k = layer.data_level
    (y0, x0), (y1, x1) = layer.corner_pixels[:, 1:]
    return np.array_equal(pixels(layer), levels[k].values[z // 2**k, y0 : y1 + 1, x0 : x1 + 1])


def at_level_0(viewer: Any, layer: Any, qtbot: Any) -> None:
    viewer.scene.camera.zoom = 3.0
    qtbot.waitUntil(lambda: layer.data_level == 0, timeout=PATIENCE)


def test_step_shows_coarser_samples_at_once_and_then_exact_ones(window: Any, qtbot: Any) -> None:
    levels = volume()
    layer = opened(window, levels)
    at_level_0(window, layer, qtbot)
    qtbot.waitUntil(lambda: levels[1].n_reads > 0 and not reads(), timeout=PATIENCE)
    levels[0].gate.clear()
    window.dims.set_current_step(0, 45)
    coarse = levels[1].values[22].repeat(2, 0).repeat(2, 1)

    def shows_coarse() -> bool:
        (y0, x0), (y1, x1) = layer.corner_pixels[:, 1:]  # Qt may still lay out the window
        return np.array_equal(pixels(layer), coarse[y0 : y1 + 1, x0 : x1 + 1])

    qtbot.waitUntil(shows_coarse, timeout=PATIENCE)
    qtbot.waitUntil(lambda: not layer.loaded, timeout=PATIENCE)  # napari's sign
    assert tuple(layer.contrast_limits) == (0, 900)
    levels[0].gate.set()
    qtbot.waitUntil(lambda: is_exact(layer, levels, 45), timeout=PATIENCE)
    qtbot.waitUntil(lambda: layer.loaded, timeout=PATIENCE)


def reads() -> bool:
    """Whether chunks are being read."""
    return any(thread.name == "chunk loader" for thread in threading.enumerate())


def test_who_indexes_the_data_gets_exact_samples(window: Any, qtbot: Any) -> None:
    levels = volume()
    layer = opened(window, levels)
    at_level_0(window, layer, qtbot)
    window.dims.set_current_step(0, 20)
    np.testing.assert_array_equal(np.asarray(layer.data[0][20]), levels[0].values[20])
    assert type(layer.data[0]) is LazyArray


def test_labels_show_labels_that_exist(window: Any, qtbot: Any) -> None:
    levels = volume("i4")
    for level in levels:
        level.values = (level.values // 100) * 100
    layer = opened(window, levels, "labels")
    at_level_0(window, layer, qtbot)
    levels[0].gate.clear()
    window.dims.set_current_step(0, 45)
    qtbot.waitUntil(lambda: bool((pixels(layer) % 100 == 0).all()), timeout=PATIENCE)
    levels[0].gate.set()
    qtbot.waitUntil(lambda: is_exact(layer, levels, 45), timeout=PATIENCE)


def test_plane_of_a_coarse_level_is_the_one_that_is_there(window: Any, qtbot: Any) -> None:
    """Plane 59 of a halved axis is in plane 29; napari rounds to 30."""
    levels = volume()
    layer = opened(window, levels)
    window.scene.camera.zoom = 0.4
    window.dims.set_current_step(0, 59)
    qtbot.waitUntil(lambda: layer.data_level == 1 and is_exact(layer, levels, 59), timeout=PATIENCE)
    window.dims.set_current_step(0, 37)
    qtbot.waitUntil(lambda: is_exact(layer, levels, 37), timeout=PATIENCE)


def test_samples_of_a_coarse_level_are_in_their_place(window: Any, qtbot: Any) -> None:
    """Sample 3 of level 1 covers samples 6 and 7 of level 0; napari centres it on 6."""
    levels = volume()
    layer = opened(window, levels)
    window.scene.camera.zoom = 0.4
    window.dims.set_current_step(0, 10)
    qtbot.waitUntil(lambda: layer.data_level == 1 and is_exact(layer, levels, 10), timeout=PATIENCE)
    for position in (6, 7):
        level, value = layer.get_value((10, position, position), world=True)
        assert (level, value) == (1, levels[1].values[5, 3, 3])


def test_unreadable_chunk_is_named_once(window: Any, qtbot: Any) -> None:
    notification_manager.records.clear()
    levels = volume()
    for index in ((5, 1, 2), (5, 0, 0)):
        levels[0].broken.add(index)
    layer = opened(window, levels)
    at_level_0(window, layer, qtbot)
    for z in (41, 20, 42, 43):
        window.dims.set_current_step(0, z)
        qtbot.wait(60)
    qtbot.waitUntil(lambda: any("bad sector" in m for m in messages()), timeout=PATIENCE)
    qtbot.wait(200)
    named = [m for m in messages() if "bad sector" in m]
    assert len(named) == len(set(named)) <= 2
    good = pixels(layer)[60:90, 60:90]
    np.testing.assert_array_equal(good, levels[0].values[43, 60:90, 60:90])


def test_chunk_that_fails_is_tried_again_also_after_others_have_been_given_up(
    window: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_progressive_layer, "RETRY_EVERY", 0.02)
    monkeypatch.setattr(_progressive_layer, "RETRIES", 1)
    levels = volume()
    levels[0].broken |= {(5, 1, 2), (2, 1, 2)}
    layer = opened(window, levels)
    at_level_0(window, layer, qtbot)
    window.dims.set_current_step(0, 41)
    qtbot.waitUntil(lambda: levels[0].n_failed == 2, timeout=PATIENCE)
    window.dims.set_current_step(0, 20)
    qtbot.waitUntil(lambda: levels[0].n_failed == 3, timeout=PATIENCE)
    levels[0].broken.clear()
    qtbot.waitUntil(lambda: is_exact(layer, levels, 20), timeout=PATIENCE)


def messages() -> list[str]:
    return [str(record.message) for record in notification_manager.records]


def test_closing_amid_reads_ends_at_once(
    slicing: bool, make_napari_viewer: Any, qtbot: Any
) -> None:
    levels = volume()
    viewer = make_napari_viewer(show=True)
    _progressive.watch(viewer)
    layer = opened(viewer, levels)
    at_level_0(viewer, layer, qtbot)
    levels[0].gate.clear()
    viewer.dims.set_current_step(0, 45)
    qtbot.wait(50)
    viewer.close()  # nothing waits at the gate, which is still closed: it would wait for ever
    n = levels[0].n_reads
    levels[0].gate.set()
    qtbot.waitUntil(lambda: not reads(), timeout=PATIENCE)
    assert levels[0].n_reads <= n + 2  # one for each thread


def test_removed_layer_is_not_read(window: Any, qtbot: Any) -> None:
    levels = volume()
    layer = opened(window, levels)
    at_level_0(window, layer, qtbot)
    levels[0].gate.clear()
    window.dims.set_current_step(0, 45)
    qtbot.wait(50)
    window.layers.remove(layer)
    n = levels[0].n_reads
    levels[0].gate.set()
    qtbot.waitUntil(lambda: not reads(), timeout=PATIENCE)
    assert levels[0].n_reads <= n + 2  # one for each thread


def test_switched_off_in_the_preferences(window: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_progressive, "shows_progressively", lambda: False)
    layer = opened(window, volume())
    assert "_slice_request_class" not in vars(layer._slicing_state)


def test_layers_of_others_are_left_alone(window: Any) -> None:
    layer = window.add_image([LazyArray(level) for level in volume()], multiscale=True)
    assert "_slice_request_class" not in vars(layer._slicing_state)


def test_other_napari_slices_as_ever(window: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_private, "_FIELDS", frozenset({"a field that this napari does not have"}))
    layer = opened(window, volume())
    assert "_slice_request_class" not in vars(layer._slicing_state)


def three_levels() -> list[Gated]:
    fine = volume()[0].values
    return [Gated(fine[:: 2**k, :: 2**k, :: 2**k].copy(), (8, 50, 50)) for k in range(3)]


def test_3d_shows_coarser_levels_first_and_2d_unlocks(window: Any, qtbot: Any) -> None:
    levels = three_levels()
    layer = opened(window, levels)
    shown: list[int | None] = []
    layer.events.locked_data_level.connect(lambda: shown.append(layer.locked_data_level))
    window.dims.ndisplay = 3
    qtbot.waitUntil(lambda: layer.locked_data_level == 0, timeout=PATIENCE)
    qtbot.waitUntil(lambda: np.array_equal(pixels(layer), levels[0].values), timeout=PATIENCE)
    assert shown == [1, 0]
    window.dims.ndisplay = 2
    assert layer.locked_data_level is None


def test_3d_view_that_is_sliced_late_shows_finer_levels(
    window: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """napari's own asynchronous slicing may begin after the view has turned."""
    turned = threading.Event()
    level = ProgressiveLayer.level

    def late(self: Any, *given: Any, **options: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            assert turned.wait(60)
        return level(self, *given, **options)

    monkeypatch.setattr(ProgressiveLayer, "level", late)
    layer = opened(window, three_levels())
    window.dims.ndisplay = 3
    turned.set()
    qtbot.waitUntil(lambda: layer.locked_data_level == 0, timeout=PATIENCE)


def test_3d_keeps_to_its_budget(window: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = three_levels()
    monkeypatch.setattr(_volume, "volume_bytes", lambda: levels[1].values.nbytes)
    layer = opened(window, levels)
    window.dims.ndisplay = 3
    qtbot.waitUntil(lambda: layer.locked_data_level == 1, timeout=PATIENCE)
    qtbot.waitUntil(lambda: not reads(), timeout=PATIENCE)
    assert layer.locked_data_level == 1


def test_level_that_the_user_locked_stays(window: Any, qtbot: Any) -> None:
    layer = opened(window, three_levels())
    layer.locked_data_level = 1
    window.dims.ndisplay = 3
    qtbot.waitUntil(lambda: not reads(), timeout=PATIENCE)
    window.dims.ndisplay = 2
    assert layer.locked_data_level == 1


def test_finest_level_that_fits() -> None:
    views = [LazyArray(np.zeros((60 >> k, 200 >> k, 300 >> k), "u2")) for k in range(3)]
    nbytes = [view.nbytes for view in views]
    assert _volume.finest_that_fits(views, (0, 1, 2), nbytes[0], 2048) == 0
    assert _volume.finest_that_fits(views, (0, 1, 2), nbytes[0] - 1, 2048) == 1
    assert _volume.finest_that_fits(views, (0, 1, 2), nbytes[0], 299) == 1
    assert _volume.finest_that_fits(views, (0, 1, 2), 1, 1) == 2
    as_float = [LazyArray(np.zeros(view.shape, "i2")) for view in views]  # 4 bytes each
    assert _volume.finest_that_fits(as_float, (0, 1, 2), nbytes[0], 2048) == 1


def series() -> list[Gated]:
    """Three volumes in time, at two resolutions in space."""
    t, z, y, x = np.meshgrid(*map(np.arange, (3, 40, 60, 50)), indexing="ij")
    fine = (t * 1000 + z * 7 + y * 3 + x).astype("u2")
    return [
        Gated(fine, (1, 16, 20, 20)),
        Gated(fine[:, ::2, ::2, ::2].copy(), (1, 16, 20, 20)),
    ]


def test_step_in_time_in_3d_shows_the_coarsest_volume_first(
    window: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = series()
    layer = opened(window, levels)
    window.dims.ndisplay = 3
    here = levels[0].values[window.dims.current_step[0]]
    qtbot.waitUntil(lambda: np.array_equal(pixels(layer), here), timeout=PATIENCE)
    qtbot.waitUntil(lambda: layer.loaded, timeout=PATIENCE)
    shown: list[int | None] = []
    layer.events.locked_data_level.connect(lambda: shown.append(layer.locked_data_level))
    sliced: list[int] = []
    show = progressive.ProgressiveLevels.show

    def noted(self: Any, level: int, *given: Any) -> Any:
        sliced.append(level)
        return show(self, level, *given)

    monkeypatch.setattr(progressive.ProgressiveLevels, "show", noted)
    levels[0].gate.clear()
    window.dims.set_current_step(0, 2)
    assert layer.locked_data_level is None
    assert set(sliced) <= {1}  # a fine volume would take long to compose
    coarse = levels[1].values[2]
    qtbot.waitUntil(lambda: np.array_equal(pixels(layer), coarse), timeout=PATIENCE)
    levels[0].gate.set()
    fine = levels[0].values[2]
    qtbot.waitUntil(lambda: np.array_equal(pixels(layer), fine), timeout=PATIENCE)
    assert shown == [None, 0]


def test_sign_of_reading_appears_and_goes(window: Any, qtbot: Any) -> None:
    levels = volume()
    layer = opened(window, levels, name="cells")
    sign = _progressive._watchers[window]._sign
    at_level_0(window, layer, qtbot)
    qtbot.waitUntil(lambda: not reads() and sign.text is None, timeout=PATIENCE)
    levels[0].gate.clear()
    window.dims.set_current_step(0, 45)
    qtbot.waitUntil(lambda: sign.text == "Reading cells", timeout=PATIENCE)
    levels[0].gate.set()
    qtbot.waitUntil(lambda: sign.text is None, timeout=PATIENCE)
    levels[0].gate.clear()
    window.dims.set_current_step(0, 10)
    qtbot.waitUntil(lambda: sign.text is not None, timeout=PATIENCE)
    window.layers.remove(layer)
    assert sign.text is None


def test_channels_in_one_chunk_are_decoded_once(
    window: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    read_file = StoredChunks._read_file

    def counted(self: StoredChunks, index: tuple[int, ...], room: Any) -> Any:
        decoded.append(self._key(index))
        return read_file(self, index, room)

    monkeypatch.setattr(StoredChunks, "_read_file", counted)
    group = zarr.create_group(tmp_path / "channels.ome.zarr")
    values = np.random.default_rng(0).integers(0, 900, (3, 20, 210, 190)).astype("u2")
    for k in range(2):
        step = slice(None, None, 2**k)
        group.create_array(str(k), data=values[:, step, step, step], chunks=(3, 8, 64, 64))
    axes = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space"} for n in "zyx")]
    datasets = [
        {
            "path": str(k),
            "coordinateTransformations": [{"type": "scale", "scale": [1, *[2**k] * 3]}],
        }
        for k in range(2)
    ]
    multiscales = [{"axes": axes, "datasets": datasets}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales}
    layers = window.open(str(tmp_path / "channels.ome.zarr"), plugin="napari-pyramid")
    assert len(layers) == 3
    window.scene.camera.zoom = 4.0
    for z in range(20):
        window.dims.set_current_step(0, z)
        qtbot.wait(5)
    qtbot.waitUntil(lambda: all(layer.data_level == 0 for layer in layers), timeout=PATIENCE)

    def is_shown(channel: int) -> bool:
        (y0, x0), (y1, x1) = layers[channel].corner_pixels[:, 1:]
        plane = values[channel, 19, y0 : y1 + 1, x0 : x1 + 1]
        return np.array_equal(pixels(layers[channel]), plane)

    qtbot.waitUntil(lambda: all(map(is_shown, range(3))) and not reads(), timeout=PATIENCE)
    assert len(decoded) == len(set(decoded)) > 10


@pytest.mark.parametrize("n_moves", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_random_moves_leave_no_thread_and_no_stale_pixel(
    window: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch, n_moves: int
) -> None:
    notification_manager.records.clear()
    cache = ChunkCache(1 << 20)
    monkeypatch.setattr(chunked_source, "CACHE", cache)
    levels = volume()
    layer = opened(window, levels)
    rng = np.random.default_rng(1)
    for _ in range(n_moves):
        move = rng.integers(3)
        if move == 0:
            window.dims.set_current_step(0, int(rng.integers(60)))
        elif move == 1:
            window.scene.camera.center = (0, *(float(v) for v in rng.uniform(0, (200, 300))))
        else:
            window.scene.camera.zoom = float(rng.uniform(0.3, 6))
        qtbot.wait(int(rng.integers(20)))
    window.scene.camera.zoom = 3.0
    window.scene.camera.center = (0, 100.0, 150.0)
    window.dims.set_current_step(0, 23)
    qtbot.waitUntil(lambda: layer.data_level == 0 and is_exact(layer, levels, 23), timeout=PATIENCE)
    qtbot.waitUntil(lambda: not reads(), timeout=PATIENCE)
    assert cache.nbytes <= cache.budget
    assert not messages()


@pytest.mark.parametrize("shape", [(61, 203, 301), (7, 301, 202)])
@pytest.mark.parametrize("factors", [(2, 2, 2), (1, 3, 2)])
def test_pixels_are_exact_at_every_level(
    window: Any, qtbot: Any, shape: tuple[int, ...], factors: tuple[int, ...]
) -> None:
    fine = np.random.default_rng(0).integers(0, 900, shape).astype("u2")
    steps = [tuple(slice(None, None, f**k) for f in factors) for k in range(3)]
    levels = [Gated(fine[step].copy(), (8, 50, 50)) for step in steps]
    layer = opened(window, levels)
    for k in (2, 0, 1):
        layer.locked_data_level = k
        for z in (0, 3, shape[0] - 1):
            window.dims.set_current_step(0, z)
            plane = levels[k].values[z // factors[0] ** k]
            qtbot.waitUntil(lambda p=plane: np.array_equal(pixels(layer), p), timeout=PATIENCE)
            qtbot.waitUntil(lambda: layer.loaded, timeout=PATIENCE)
            np.testing.assert_array_equal(pixels(layer), plane)
