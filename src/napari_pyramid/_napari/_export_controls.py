"""Provide the controls of "Export region": ranges of axes, and where the export is stored."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from magicgui.types import FileDialogMode
from magicgui.widgets import Container, FileEdit, Label, SpinBox
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QSizePolicy

from napari_pyramid._napari._fields import NARROW
from napari_pyramid._napari._offer import free_destination, suggested_destination
from napari_pyramid._napari._saving import completed
from napari_pyramid.errors import SpecError
from napari_pyramid.export import Compression
from napari_pyramid.export.tiff import SUFFIXES
from napari_pyramid.storage.address import disk_path

__all__ = [
    "DRAWN",
    "LAYER",
    "NO_LABEL",
    "PYRAMID",
    "RANGES",
    "TIFF",
    "TIFF_COMPRESSIONS",
    "VIEW",
    "AxisRange",
    "DestinationEdit",
]

VIEW, DRAWN, RANGES = "What is in view", "Drawn rectangle", "Ranges of axes"
PYRAMID, TIFF, LAYER = "New pyramid (OME-Zarr)", "TIFF (OME-TIFF)", "New layer in memory"
TIFF_COMPRESSIONS: tuple[tuple[str, Compression], ...] = (
    ("deflate, read by any program", "deflate"),
    ("zstd, smaller", "zstd"),
    ("none", "none"),
)
NO_LABEL = " " * 24
"""Blank label, the widest of its form, so that magicgui aligns all controls.

magicgui measures labels in another font than the window's, so that others might not fit.
"""
_SIX_DIGITS = 92
"""Width of the inside of a spin box with a number of six digits."""
_SUFFIX = {PYRAMID: ".ome.zarr", TIFF: ".ome.tif"}


class AxisRange(Container[Any]):
    """First and last sample along one axis, both included."""

    def __init__(self, name: str, length: int) -> None:
        self.first = SpinBox(value=0, min=0, max=length - 1, tooltip="First sample")
        self.last = SpinBox(value=length - 1, min=0, max=length - 1, tooltip="Last sample")
        to = Label(value="to")
        super().__init__(
            widgets=[self.first, to, self.last], layout="horizontal", labels=False, label=name
        )
        self.margins = (0, 0, 0, 0)
        to.native.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Preferred)
        for box in (self.first.native, self.last.native):  # a wide dock takes from the canvas
            box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            box.setStyleSheet(f"min-width: {_SIX_DIGITS}px")  # napari's own is too narrow

    @property
    def span(self) -> slice:
        """The range as a slice.

        Raises
        ------
        SpecError
            If the last sample is before the first.
        """
        if self.last.value < self.first.value:
            raise SpecError(f"the range of {self.label} ends before it begins")
        return slice(self.first.value, self.last.value + 1)

    def show_span(self, span: slice) -> None:
        """Set the range, without a signal."""
        with QSignalBlocker(self.first.native), QSignalBlocker(self.last.native):
            self.first.value, self.last.value = span.start, span.stop - 1


class DestinationEdit(FileEdit):
    """The path of an export, with the suffix of its format; a free path is suggested."""

    def __init__(self) -> None:
        super().__init__(
            FileDialogMode.OPTIONAL_FILE, label="File", tooltip="Where the export is stored"
        )
        self.choose_btn.text, self.choose_btn.tooltip = "…", "Choose a file"
        self.choose_btn.native.setFixedWidth(NARROW // 2)
        self._suggested = ""
        self._folder: Path | None = None
        """Folder that an export was last stored in, if it is not the suggested one."""

    @property
    def is_typed(self) -> bool:
        """Whether the path is not the suggested one."""
        return str(self.line_edit.value) != self._suggested

    def suggestion(self, name: str, source: str | None, format: str) -> Callable[[], str]:
        """Return a function that finds a free path for an export of the image `name`.

        It looks at the disk, and so runs in a worker thread. The path is in the folder that was
        chosen for the last export, else beside `source` if possible.
        """
        return partial(_free_path, self._folder, f"{name}_region", source, format)

    def suggest(self, path: str) -> None:
        """Set a suggested path, unless another one has been typed."""
        if not self.is_typed:
            self._suggested = path
            self._set_text(path)

    def release(self) -> None:
        """Let the next suggestion replace the path, of which the folder is remembered."""
        path = str(self.line_edit.value)
        if self.is_typed and Path(path).parent != Path(self._suggested).parent:
            self._folder = Path(path).parent.absolute()
        self._suggested = path

    def change_suffix(self, format: str) -> None:
        """Give a typed path the suffix of another format."""
        path = str(self.line_edit.value)
        if path and format in _SUFFIX:
            for suffix in (".ome.zarr", ".zarr", *(f".ome{s}" for s in SUFFIXES), *SUFFIXES):
                path = path.removesuffix(suffix)
            self._set_text(f"{path}{_SUFFIX[format]}")

    def path(self, format: str) -> str | None:
        """Return the path with the suffix of a format; a URL as it is; None for a layer.

        Raises
        ------
        SpecError
            If the field is empty.
        """
        if format == LAYER:
            return None
        text = str(self.line_edit.value).strip()
        if not text:
            raise SpecError("choose where to store the export")
        path = disk_path(text)
        if path is None:
            return text
        path = path.expanduser()
        if format == PYRAMID:
            return str(completed(str(path)))
        is_tiff = path.suffix.lower() in SUFFIXES
        return str(path if is_tiff else path.with_name(f"{path.name}{_SUFFIX[TIFF]}"))

    def _set_text(self, path: str) -> None:
        with self.changed.blocked():
            self.line_edit.value = path
        self.line_edit.tooltip = path
        self.line_edit.native.setCursorPosition(len(path))


def _free_path(folder: Path | None, name: str, source: str | None, format: str) -> str:
    """Return a path at which nothing is yet, with the suffix of a format."""
    if folder is not None and folder.is_dir():
        path = Path(free_destination(name, folder))
    else:
        path = Path(suggested_destination(name, source))
    if format == TIFF:
        stem, n = path.name.removesuffix(_SUFFIX[PYRAMID]), 2
        path = path.with_name(f"{stem}{_SUFFIX[TIFF]}")
        while path.exists():
            path, n = path.with_name(f"{stem}_{n}{_SUFFIX[TIFF]}"), n + 1
    return str(path)
