"""Lay out the controls of the dock widget "Export region", with their choices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from magicgui.widgets import CheckBox, ComboBox, Container, Label, ProgressBar, PushButton
from napari.layers import Image, Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QSizePolicy

from napari_pyramid._napari._export_controls import (
    DRAWN,
    LAYER,
    NO_LABEL,
    PYRAMID,
    RANGES,
    TIFF,
    TIFF_COMPRESSIONS,
    VIEW,
    AxisRange,
    DestinationEdit,
)
from napari_pyramid._napari._fields import narrow_label, shrinks
from napari_pyramid.words import capitalized

__all__ = ["PARTS", "ExportForm"]

PARTS = 1000
"""Steps of the progress bar."""


class ExportForm(Container[Any]):
    """The controls of an export; they decide nothing."""

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._levels: list[tuple[str, int]] = [("0", 0)]
        """Choices of the level."""
        self.layer = ComboBox(
            label="Image", choices=self._choices, nullable=False, tooltip="The layer to export from"
        )
        self.all_channels = CheckBox(
            text="All channels",
            value=True,
            tooltip="Export the layers that are channels of this image as one image",
        )
        self.region = ComboBox(
            label="Region",
            choices=[VIEW, DRAWN, RANGES],
            tooltip="In 3-D, what is in view is the whole volume",
        )
        self.all_planes = CheckBox(
            text="All planes",
            tooltip="Also the positions of the sliders that are not shown now",
        )
        self.ranges: Container[Any] = Container(labels=True, label="Samples")
        self.level = ComboBox(
            label="Level", choices=self._level_choices, tooltip="0 is the finest resolution"
        )
        self.format = ComboBox(label="Export as", choices=[PYRAMID, TIFF, LAYER])
        self.compression = ComboBox(
            label="Compression",
            choices=TIFF_COMPRESSIONS,
            tooltip="Without loss; any program reads deflate, zstd is faster and smaller",
            visible=False,
        )
        self.destination = DestinationEdit()
        self.size = Label(label=NO_LABEL, value="")
        self.export = PushButton(text="Export", enabled=False)
        self.cancel = PushButton(text="Cancel", enabled=False)
        self.progress = ProgressBar(label=NO_LABEL, min=0, max=PARTS, value=0, visible=False)
        self.message = Label(label=NO_LABEL, value="")
        buttons: Container[Any] = Container(
            widgets=[self.export, self.cancel], layout="horizontal", labels=False, label=NO_LABEL
        )
        for inner in (self.ranges, buttons):
            inner.margins = (0, 0, 0, 0)
        self._chosen: tuple[Any, ...] = (
            self.layer,
            self.all_channels,
            self.region,
            self.all_planes,
            self.ranges,
            self.level,
            self.format,
            self.compression,
            self.destination,
        )
        super().__init__(
            widgets=[*self._chosen, self.size, buttons, self.progress, self.message], labels=True
        )
        for label in (self.size, self.message):
            label.native.setWordWrap(True)
            label.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
            label.native.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        for choice in (self.layer, self.region, self.level, self.format, self.compression):
            shrinks(choice.native)
        self.native.layout().addStretch()
        self.layer.label = self.layer.label  # a change of a label makes magicgui align them all
        for unnamed in (self.size, buttons, self.progress, self.message):
            narrow_label(unnamed)

    def _choices(self, _: Any) -> list[tuple[str, Any]]:
        layers = [v for v in self._viewer.layers if isinstance(v, Image | Labels)]
        return [(layer.name, layer) for layer in layers]

    def _level_choices(self, _: Any) -> list[tuple[str, int]]:
        return self._levels

    def offer_levels(self, sizes: Sequence[str]) -> None:
        """Offer levels with their sizes in words; the chosen level is kept if it exists."""
        self._levels = [(f"{k}: {size}", k) for k, size in enumerate(sizes)]
        with self.level.changed.blocked():
            self.level.reset_choices()

    def offer_ranges(
        self, axes: Sequence[tuple[str, int]], colors: int | None, on_change: Callable[..., None]
    ) -> None:
        """Show a row for each axis, given as name and length.

        Parameters
        ----------
        colors
            Number of the axis of red, green and blue, which belong together: its row is hidden.
        """
        self.ranges.clear()
        for i, (name, length) in enumerate(axes):
            row = AxisRange(name, length)
            row.first.changed.connect(on_change)
            row.last.changed.connect(on_change)
            self.ranges.append(row)
            row.visible = i != colors
        self.ranges.visible = bool(axes)

    def say(self, text: str, kind: Literal["", "problem"] = "") -> None:
        """Show a sentence under the buttons: the progress, the outcome, or what is wrong."""
        native = self.message.native
        native.setProperty("kind", kind)
        native.style().polish(native)
        self.message.value = f"⚠ {capitalized(text)}" if kind and text else text

    def show_busy(self, *, busy: bool, can_export: bool) -> None:
        """Disable the choices during an export, and show its progress."""
        for part in self._chosen:
            part.enabled = not busy
        self.export.enabled = not busy and can_export
        self.cancel.enabled = busy
        self.progress.visible = busy
        self.progress.value = 0
