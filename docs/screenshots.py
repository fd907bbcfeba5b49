"""Takes the pictures in docs/images from a real napari window on the current display.

python docs/screenshots.py                                  # where there is a screen
xvfb-run -a -s "-screen 0 1600x1000x24" python docs/screenshots.py
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

IMAGES = Path(__file__).parent / "images"
SIZE = (1400, 860)


def pump(seconds: float = 0.5, until: Callable[[], bool] = lambda: False) -> None:
    """Lets the window live, for some seconds or until something is so."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        QApplication.processEvents()
        time.sleep(0.005)


def window() -> napari.Viewer:
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE)
    pump()
    return viewer


def save(viewer: napari.Viewer, name: str) -> None:
    path = IMAGES / f"{name}.png"
    viewer.screenshot(str(path), canvas_only=False, flash=False)
    print(path)


def brain() -> None:
    """The sample brain, open as a pyramid: in planes, then in three dimensions."""
    viewer = window()
    [layer] = viewer.open_sample("napari-pyramid", "brain")
    viewer.dims.set_current_step(0, 95)
    viewer.canvas.overlays.scale_bar.visible = True
    pump(1)
    save(viewer, "brain")
    viewer.dims.ndisplay = 3
    layer.rendering = "attenuated_mip"
    viewer.reset_view()
    pump(1)
    save(viewer, "brain-3d")
    viewer.close()
    pump()


def build_pyramid(folder: str) -> None:
    """The dock widget: what it plans, at work, and what comes of it."""
    viewer = window()
    viewer.add_image(
        embryo(),
        name="embryo",
        scale=(2, 0.5, 0.5),
        units="um",
        colormap="magma",
        contrast_limits=(60, 2000),
    )
    viewer.dims.set_current_step(0, 48)
    viewer.canvas.overlays.scale_bar.visible = True
    dock, widget = viewer.window.add_plugin_dock_widget("napari-pyramid", "Build pyramid")
    viewer.window._qt_window.resizeDocks([dock], [480], _horizontal())
    pump(20, until=lambda: widget.is_settled)
    widget.destination.line_edit.value = f"{folder}/embryo.ome.zarr"
    pump(20, until=lambda: "≈" in widget.totals.values["time"].text())
    save(viewer, "build-plan")
    shot = QTimer()
    shot.setInterval(20)
    shot.timeout.connect(lambda: _at_half(widget, shot, viewer))
    shot.start()
    widget.build.click()
    pump(120, until=lambda: [task.state for task in widget.queue.tasks] == ["done"])
    shot.stop()
    pump(20, until=lambda: widget.is_settled)
    widget.destination.line_edit.value = f"{folder}/embryo_2.ome.zarr"
    pump(20, until=lambda: widget.is_settled and "≈" in widget.totals.values["time"].text())
    save(viewer, "build-done")
    viewer.close()
    pump()


def _at_half(widget: object, timer: QTimer, viewer: napari.Viewer) -> None:
    rows = widget.queue_view.rows  # type: ignore[attr-defined]
    if rows and rows[0].progress.value() >= 400:
        timer.stop()
        save(viewer, "build-at-work")


def _horizontal() -> object:
    from qtpy.QtCore import Qt

    return Qt.Orientation.Horizontal


def embryo(shape: tuple[int, int, int] = (96, 1024, 1024)) -> np.ndarray:
    """Bright spots in a ball, with noise: about what a light-sheet microscope gives; 192 MiB."""
    rng = np.random.default_rng(1)
    volume = rng.poisson(80, shape).astype(np.uint16)
    spot = np.exp(
        -sum(
            np.square(g) / (2 * s**2)
            for g, s in zip(np.mgrid[-4:5, -15:16, -15:16], (2, 7, 7), strict=True)
        )
    )
    for _ in range(900):
        direction = rng.normal(size=3)
        centre = (
            np.array([48, 512, 512])
            + np.array([40, 430, 430]) * direction / np.linalg.norm(direction) * rng.random() ** 0.2
        )
        low = (centre - (4, 15, 15)).round().astype(int)
        box = tuple(
            slice(max(0, a), min(n, a + w)) for a, n, w in zip(low, shape, spot.shape, strict=True)
        )
        part = tuple(slice(b.start - a, b.stop - a) for a, b in zip(low, box, strict=True))
        volume[box] += (spot[part] * rng.uniform(800, 3500)).astype(np.uint16)
    return volume


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    IMAGES.mkdir(exist_ok=True)
    brain()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOME"] = folder  # shown as ~ in the pictures
        build_pyramid("~/images")
