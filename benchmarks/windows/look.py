# /// script
# requires-python = ">=3.11"
# dependencies = ["{root}", "napari[pyqt6]>=0.9", "napari-ome-zarr>=0.10", "tensorstore>=0.1.70"]
# ///
"""Looks at a pyramid in a real window through one plugin, and prints what it took as JSON.

Run by ``viewing.py``.

    python benchmarks/windows/look.py PLUGIN PATH

PLUGIN is the name of an installed reader plugin, or "memory" for levels that are arrays in memory.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

import napari
import numpy as np
import tensorstore
from qtpy.QtWidgets import QApplication

from napari_pyramid.arrays import chunked_source
from napari_pyramid.pyramid import open_pyramid


class Window:
    """A viewer whose event loop is run here, so that its gaps can be timed."""

    def __init__(self) -> None:
        self.viewer = napari.Viewer(show=True)
        self.viewer.window.resize(1200, 900)
        self.gaps: list[float] = []

    def run(self, seconds: float, until: Any = lambda: False) -> float:
        """Run the event loop; return the seconds until `until` was true."""
        start = last = time.perf_counter()
        while (now := time.perf_counter()) - start < seconds and not until():
            QApplication.processEvents()
            self.gaps.append(time.perf_counter() - now)
            last = time.perf_counter()
            time.sleep(0.001)
        return last - start

    def step(self, z: int, exact: Any) -> tuple[float, float]:
        """Step to a plane; return the seconds until a first image of it and until it is exact."""
        start = time.perf_counter()
        self.viewer.dims.set_current_step(0, z)
        self.gaps.append(time.perf_counter() - start)
        before = time.perf_counter()
        QApplication.processEvents()
        self.gaps.append(time.perf_counter() - before)
        shown = time.perf_counter() - start
        self.run(20, lambda: exact(z))
        return shown, time.perf_counter() - start


def opened(window: Window, plugin: str, path: str) -> Any:
    if plugin == "memory":
        levels = [np.asarray(level[...]) for level in open_pyramid(path).levels]
        return window.viewer.add_image(levels, multiscale=True, contrast_limits=(0, 2000))
    return window.viewer.open(path, plugin=plugin)[0]


def main() -> None:
    plugin, path = sys.argv[1:]
    expected = open_pyramid(path).levels
    window = Window()
    window.run(0.5)
    start = time.perf_counter()
    layer = opened(window, plugin, path)
    opening = time.perf_counter() - start
    window.run(1)
    window.viewer.scene.camera.zoom = 1.2
    window.run(1.5)

    def exact(z: int) -> bool:
        low, high = layer.corner_pixels[:, -2:]
        k = layer.data_level
        plane = truth.setdefault((k, z), expected[k][z >> k])
        part = plane[low[0] : high[0] + 1, low[1] : high[1] + 1]
        return bool(np.array_equal(np.squeeze(layer._slice.image.raw), part))

    truth: dict[tuple[int, int], np.ndarray] = {}
    depth, chunk = expected[0].shape[0], expected[0].chunks[0]
    planes = list(range(chunk // 2, depth, chunk))
    for z in planes:
        truth[layer.data_level, z] = expected[layer.data_level][z >> layer.data_level]
    window.gaps.clear()
    first, whole = zip(*(window.step(z, exact) for z in planes[1:]), strict=True)
    gaps = sorted(window.gaps)
    again = [window.step(z + 1, lambda z: True)[0] for z in planes[1:]]
    store = tensorstore.open(
        {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/{layer.data_level}"}}
    ).result()
    reading = []
    for z in planes[1:]:
        start = time.perf_counter()
        store[z >> layer.data_level].read().result()
        reading.append(time.perf_counter() - start)
    print(
        json.dumps(
            {
                "plugin": plugin,
                "open": opening,
                "something": float(np.median(first)),
                "exact": float(np.median(whole)),
                "tensorstore": float(np.median(reading)),
                "gap_p99": gaps[int(len(gaps) * 0.99)],
                "gap_max": gaps[-1],
                "again": float(np.median(again)),
                "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "cache_bytes": chunked_source.CACHE.nbytes,
            }
        )
    )
    window.viewer.close()


if __name__ == "__main__":
    main()
