# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "{root}[remote]",
#     "napari[pyqt6]>=0.9",
#     "napari-ome-zarr>=0.10",
#     "tensorstore>=0.1.70",
# ]
# ///
"""Look at a pyramid in a real window through one plugin, and print what it took as JSON.

Run by ``viewing.py``.

    python benchmarks/windows/look.py PLUGIN PATH TRUTH [--moves 1000] [--slabs 15] [--build]

PLUGIN is the name of an installed reader plugin, or "memory" for levels that are arrays in memory.
PATH is a folder or a URL of a pyramid zyx; TRUTH is the same pyramid in a folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import napari
import numpy as np
import tensorstore
from qtpy.QtWidgets import QApplication

from napari_pyramid.arrays import chunked_source
from napari_pyramid.pyramid import open_pyramid

PATIENCE = 60.0
KEPT = 6
"""Slabs of 1024 x 1024 x 64 in uint16 that fit in the default cache of 1 GiB with room to spare."""
FPS, PLAYED = 10, 4.0
"""Frames per second and seconds of playing."""


class Window:
    """A viewer whose event loop is run here, so that its gaps can be timed."""

    def __init__(self) -> None:
        self.viewer = napari.Viewer(show=True)
        self.viewer.window.resize(1200, 900)
        self.gaps: list[float] = []
        self.run(0.5)
        # napari itself takes long to show its first layer.
        self.viewer.add_image([np.zeros((4, 64, 64)), np.zeros((2, 32, 32))], multiscale=True)
        self.run(0.5)
        self.viewer.layers.clear()
        self.run(0.2)

    def run(self, seconds: float, until: Any = lambda: False) -> float:
        """Run the event loop; return the seconds until `until` was true."""
        start = last = time.perf_counter()
        while (now := time.perf_counter()) - start < seconds and not until():
            QApplication.processEvents()
            self.gaps.append(time.perf_counter() - now)
            last = time.perf_counter()
            time.sleep(0.001)
        return last - start

    def do(self, action: Any) -> float:
        """Do something as a user would, and have it drawn; return the seconds until it is."""
        start = time.perf_counter()
        action()
        QApplication.processEvents()
        self.gaps.append(time.perf_counter() - start)
        return self.gaps[-1]

    def move_to(self, z: int) -> float:
        return self.do(lambda: self.viewer.dims.set_current_step(0, z))

    def pan_to(self, y: float, x: float) -> float:
        return self.do(lambda: setattr(self.viewer.scene.camera, "center", (0, y, x)))

    def zoom_to(self, zoom: float) -> float:
        return self.do(lambda: setattr(self.viewer.scene.camera, "zoom", zoom))


class Looked:
    """A layer, and the samples that it should show."""

    def __init__(self, layer: Any, truth: str) -> None:
        self.layer = layer
        self.truth = truth
        self.levels = open_pyramid(truth).levels
        self._stores: dict[int, Any] = {}

    def region(self, z: int) -> tuple[slice | int, ...]:
        (y0, x0), (y1, x1) = self.layer.corner_pixels[:, -2:].tolist()
        return z >> self.layer.data_level, slice(y0, y1 + 1), slice(x0, x1 + 1)

    def is_exact(self, z: int, known: dict[Any, Any]) -> bool:
        """Whether the layer shows the samples of plane `z`; `known` spares reading them twice."""
        key = self.layer.data_level, *map(str, self.region(z))
        if key not in known:
            # By TensorStore: zarr-python's objects would have Python collect garbage meanwhile.
            known[key] = self._region(self.truth, z).read().result()
        return bool(np.array_equal(np.squeeze(self.layer._slice.image.raw), known[key]))

    def read(self, path: str, z: int) -> float:
        """Return the seconds in which TensorStore reads the displayed part of a plane."""
        region = self._region(path, z)
        start = time.perf_counter()
        region.read().result()
        return time.perf_counter() - start

    def _region(self, path: str, z: int) -> Any:
        """Return the displayed part of a plane of the pyramid at `path`, in TensorStore."""
        place = path, self.layer.data_level
        if place not in self._stores:
            file = {"driver": "file", "path": f"{path}/{place[1]}"}
            kvstore = f"{path}/{place[1]}/" if "://" in path else file
            spec = {"driver": "zarr3", "kvstore": kvstore}
            self._stores[place] = tensorstore.open(spec, open=True).result()
        return self._stores[place][self.region(z)]


def opened(window: Window, plugin: str, path: str) -> Any:
    if plugin == "memory":
        levels = [np.asarray(level[...]) for level in open_pyramid(path).levels]
        return window.viewer.add_image(levels, multiscale=True, contrast_limits=(0, 2000))
    return window.viewer.open(path, plugin=plugin)[0]


def steps(window: Window, looked: Looked, path: str, planes: list[int]) -> dict[str, float]:
    """Step to new slabs, then to the next plane of each; every figure is a median.

    The last slabs are still in the cache (``again``); the first ones have left it (``back``).
    """
    first, whole, reading = [], [], []
    known: dict[Any, Any] = {}
    for z in planes:
        looked.is_exact(z, known)
        start = time.perf_counter()
        first.append(window.move_to(z))
        window.run(PATIENCE, lambda z=z: looked.is_exact(z, known))
        whole.append(time.perf_counter() - start)
        reading.append(looked.read(path, z))
        window.run(0.05)
    again = [window.move_to(z + 1) for z in planes[-KEPT:]]
    back = [window.move_to(z + 1) for z in planes[:-KEPT]]
    return {
        "something": float(np.median(first)),
        "exact": float(np.median(whole)),
        "tensorstore": float(np.median(reading)),
        "again": float(np.median(again)),
    } | ({"back": float(np.median(back))} if back else {})


def wander(window: Window, shape: tuple[int, ...], n: int) -> None:
    """Move the slider, pan and zoom at random."""
    rng = np.random.default_rng(0)
    for i in range(n):
        match i % 3:
            case 0:
                window.move_to(int(rng.integers(shape[0])))
            case 1:
                window.pan_to(*(float(v) for v in rng.uniform(0, shape[1:])))
            case _:
                window.zoom_to(float(rng.uniform(0.4, 3)))
        window.run(0.02)


def resident() -> int:
    """Bytes of memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def played(window: Window, planes: list[int]) -> float:
    """Return the part of the frames that are shown when the slider is played over seen planes."""
    seen: list[int] = []
    window.viewer.dims.events.current_step.connect(lambda: seen.append(1))
    sliders = window.viewer.window._qt_viewer.dims  # as the button does
    sliders.play(0, fps=FPS, loop_mode="loop", frame_range=(planes[0], planes[-1] + 1))
    window.run(PLAYED)
    sliders.stop()
    window.run(0.3)
    return min(1.0, len(seen) / (FPS * PLAYED - 1))


def build_gaps(window: Window, layer: Any) -> list[float]:
    """Return the gaps of the event loop while the dock widget builds and the slider moves."""
    folder = Path(tempfile.mkdtemp())
    try:
        _, dock = window.viewer.window.add_plugin_dock_widget("napari-pyramid", "Build pyramid")
        for name, value in {"layer": layer, "destination": folder / "built.ome.zarr"}.items():
            window.run(PATIENCE, lambda: dock.is_settled)
            getattr(dock, name).value = value
        window.run(PATIENCE, lambda: dock.is_settled)
        window.gaps.clear()
        dock.build.click()
        n = z = 0
        while not dock.queue.tasks or dock.queue.tasks[-1].state in ("waiting", "running"):
            n = len(window.gaps)
            z = (z + 7) % layer.data[0].shape[0]
            window.move_to(z)
            window.run(0.05)
        assert dock.queue.tasks[-1].state == "done", dock.queue.tasks[-1].error
        return window.gaps[:n] or window.gaps  # without the end, which replaces the layer
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def percentiles(name: str, gaps: list[float]) -> dict[str, float]:
    ordered = sorted(gaps)
    return {f"{name}_p99": ordered[int(len(ordered) * 0.99)], f"{name}_max": ordered[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plugin")
    parser.add_argument("path")
    parser.add_argument("truth")
    parser.add_argument("--moves", type=int, default=60)
    parser.add_argument("--slabs", type=int, default=15)
    parser.add_argument("--build", action="store_true")
    given = parser.parse_args()
    window = Window()
    start = time.perf_counter()
    looked = Looked(opened(window, given.plugin, given.path), given.truth)
    found: dict[str, Any] = {"plugin": given.plugin, "open": time.perf_counter() - start}
    window.run(1)
    window.zoom_to(1.2)
    window.run(1.5)
    shape, chunk = looked.levels[0].shape, looked.levels[0].chunks[0]
    planes = list(range(chunk // 2, shape[0] - 1, chunk))[: given.slabs]
    window.gaps.clear()
    found |= steps(window, looked, given.path, planes[1:])
    found["played"] = played(window, planes[1:])
    n = max(3, given.moves // 10)
    wander(window, shape, n)
    window.run(1)
    found |= percentiles("gap", window.gaps)
    before = resident()
    wander(window, shape, max(0, given.moves - n) // 2)
    middle = resident()
    wander(window, shape, max(0, given.moves - n) // 2)
    found |= {"memory": [before, middle, resident()]}
    found |= {"cache": [chunked_source.CACHE.nbytes, chunked_source.CACHE.budget]}
    if given.build:
        found |= percentiles("build", build_gaps(window, looked.layer))
    print(json.dumps(found))
    window.viewer.close()


if __name__ == "__main__":
    main()
