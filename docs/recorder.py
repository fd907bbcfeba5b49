"""Show napari windows and save what they show: pictures with few colours, and an animation."""

from __future__ import annotations

import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import napari
from PIL import Image, ImageDraw
from qtpy.QtCore import QBuffer, QPoint
from qtpy.QtWidgets import QApplication, QWidget

IMAGES = Path(__file__).parent / "images"
SIZE = (1280, 800)

_POINTER = ((0, 0), (0, 17), (4, 13), (7, 19), (10, 18), (7, 12), (12, 12))


def pump(seconds: float = 0.5, until: Callable[[], bool] = lambda: False) -> None:
    """Let the window handle its events for some seconds, or until a condition holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        QApplication.processEvents()
        time.sleep(0.005)


def wait(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Let the window handle its events until a condition holds, or fail."""
    pump(seconds, until=condition)
    if not condition():
        raise TimeoutError(f"the window did not come to the expected state in {seconds:g} s")


def window() -> napari.Viewer:
    """Show a napari window of the size of all pictures."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE)
    pump()
    return viewer


def dock(viewer: napari.Viewer, name: str, width: int) -> QWidget:
    """Show a dock widget of the plugin with a width in pixels, and return it."""
    from qtpy.QtCore import Qt

    shell, widget = viewer.window.add_plugin_dock_widget("napari-pyramid", name)
    viewer.window._qt_window.resizeDocks([shell], [width], Qt.Orientation.Horizontal)
    pump()
    return widget


def shot(viewer: napari.Viewer) -> Image.Image:
    """Return what the window shows."""
    array = viewer.screenshot(canvas_only=False, flash=False)
    return Image.fromarray(array).convert("RGB")


def screen() -> Image.Image:
    """Return the part of the screen with the window, with dialogs and menus in front of it."""
    grabbed = QApplication.primaryScreen().grabWindow(0, 0, 0, *SIZE).toImage()
    grabbed = grabbed.convertToFormat(grabbed.Format.Format_RGB888)
    lines = bytes(grabbed.constBits().asarray(grabbed.sizeInBytes()))  # type: ignore[union-attr]
    size = (grabbed.width(), grabbed.height())
    return Image.frombytes("RGB", size, lines, "raw", "RGB", grabbed.bytesPerLine())


def grab(widget: QWidget) -> Image.Image:
    """Return the picture of a dialog or another widget."""
    buffer = QBuffer()
    buffer.open(QBuffer.OpenModeFlag.WriteOnly)
    widget.grab().save(buffer, "PNG")
    return Image.open(BytesIO(bytes(buffer.data()))).convert("RGB")


def save(picture: Image.Image, name: str, colours: int = 128) -> None:
    """Save a picture as a PNG with few colours."""
    path = IMAGES / f"{name}.png"
    picture.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


class Animation:
    """Collects pictures of a window, with a drawn mouse pointer, and writes them as a GIF."""

    def __init__(self, viewer: napari.Viewer, width: int = 760) -> None:
        self._viewer, self._width = viewer, width
        self._frames: list[Image.Image] = []
        self._durations: list[int] = []
        self._pointer = QPoint(SIZE[0] * 2 // 5, SIZE[1] // 2)

    def frame(self, milliseconds: int = 120) -> None:
        """Add what the window shows now, for a time."""
        picture = shot(self._viewer)
        x, y = self._pointer.x(), self._pointer.y()
        outline = [(x + a * 3 // 2, y + b * 3 // 2) for a, b in _POINTER]
        ImageDraw.Draw(picture).polygon(outline, fill="white", outline="black", width=2)
        height = round(picture.height * self._width / picture.width)
        self._frames.append(picture.resize((self._width, height), Image.Resampling.LANCZOS))
        self._durations.append(milliseconds)

    def point_at(self, widget: QWidget, steps: int = 5) -> None:
        """Move the drawn pointer to the middle of a widget."""
        window = self._viewer.window._qt_window
        start, end = self._pointer, widget.mapTo(window, widget.rect().center())
        for i in range(1, steps + 1):
            self._pointer = start + (end - start) * (i / steps)
            pump(0.02)
            self.frame(80)

    def write(self, name: str, colours: int = 96) -> None:
        """Write the GIF; all frames share the palette of the last one, so that nothing flickers."""
        palette = self._sample().quantize(colours, dither=Image.Dither.NONE)
        reduced = [f.quantize(palette=palette, dither=Image.Dither.NONE) for f in self._frames]
        path = IMAGES / f"{name}.gif"
        reduced[0].save(
            path,
            save_all=True,
            append_images=reduced[1:],
            duration=self._durations,
            loop=0,
            optimize=True,
        )
        seconds = sum(self._durations) / 1000
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB, {seconds:.1f} s")

    def _sample(self) -> Image.Image:
        """Return the first, middle and last frame side by side."""
        n = len(self._frames)
        chosen = [self._frames[i] for i in (0, n // 2, n - 1)]
        width, height = chosen[0].size
        sheet = Image.new("RGB", (width * len(chosen), height))
        for i, frame in enumerate(chosen):
            sheet.paste(frame, (i * width, 0))
        return sheet
