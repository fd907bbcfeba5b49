"""Open a pyramid in napari, or draw the window to a picture.

Usage: ``python -m napari_pyramid.cli._show PATH [PICTURE]``.
"""

from __future__ import annotations

import sys
import time

__all__ = ["main"]


def main(path: str, picture: str | None = None) -> None:
    import napari

    viewer = napari.Viewer(title=f"napari-pyramid: {path}")
    viewer.open(path, plugin="napari-pyramid")
    scale_bar = (
        viewer.canvas.overlays.scale_bar if hasattr(viewer, "canvas") else viewer.scale_bar
    )  # the older name goes away
    scale_bar.visible = True
    if picture is None:
        napari.run()
        return
    _settle()
    viewer.screenshot(picture, canvas_only=False, flash=False)
    viewer.close()


def _settle(seconds: float = 1.0) -> None:
    """Let the window draw itself, since the first frames come before the levels."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()


if __name__ == "__main__":
    main(*sys.argv[1:])
