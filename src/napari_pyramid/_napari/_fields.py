"""Provide controls that magicgui lacks: a path or URL, and a note under a control."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from magicgui.types import FileDialogMode
from magicgui.widgets import FileEdit, Label, PushButton
from magicgui.widgets.bases import Widget
from qtpy.QtWidgets import QComboBox, QLabel, QSizePolicy

__all__ = ["NARROW", "Note", "PlaceEdit", "narrow_label", "shrinks"]

NARROW = 58
"""Width of the buttons beside a path."""


class PlaceEdit(FileEdit):
    """A line for a path or a URL, with buttons that open dialogs.

    Parameters
    ----------
    mode
        As for `FileEdit`.
    folders
        Whether there is a second button, which chooses a folder: zarr and N5 are folders.
    """

    def __init__(self, mode: str, *, folders: bool = False, **kwargs: Any) -> None:
        super().__init__(FileDialogMode(mode), **kwargs)
        self.choose_btn.text = "File" if folders else "…"
        self.choose_btn.tooltip = "Choose a file" if folders else self._btn_text
        self.folder_btn = PushButton(text="Folder", tooltip="Choose a folder: zarr, N5")
        for button in (self.choose_btn, self.folder_btn) if folders else (self.choose_btn,):
            button.native.setFixedWidth(NARROW if folders else NARROW // 2)
        if folders:
            self.native.layout().addWidget(self.folder_btn.native)
            self.folder_btn.changed.connect(self._choose_folder)

    @property
    def text(self) -> str:
        """The path or URL in the line, with ``~`` expanded."""
        return os.path.expanduser(str(self.line_edit.value).strip())

    def get_value(self) -> Any:
        """Return the path; a URL is returned as text, since a `Path` would lose a slash."""
        return self.text if "://" in self.text else super().get_value()

    def set_value(self, value: Any) -> None:
        """Set a path, which is made absolute, or a URL, which is kept as it is."""
        if value is None or str(value) == "" or "://" in str(value):
            self.line_edit.value = "" if value is None else str(value)
        else:
            super().set_value(value)
        self.line_edit.native.setCursorPosition(len(self.line_edit.value))
        self.line_edit.tooltip = self.line_edit.value

    def _choose_folder(self) -> None:
        start = self.text if self.text and "://" not in self.text else str(Path.home())
        found = self._show_file_dialog(
            FileDialogMode.EXISTING_DIRECTORY,
            caption="Choose a folder",
            start_path=start,
            filter=None,
        )
        if found:
            self.value = found


_BLANK = " " * 21
"""Blank label, the widest of its form, so that "Path or URL" fits.

magicgui gives all labels the width of the widest, measured in another font than the window's.
"""


class Note(Label):
    """A sentence under a control, hidden while there is nothing to say."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, label=_BLANK, value="", visible=False)
        self.native.setWordWrap(True)
        self.native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.text = ""
        """The sentence without its mark."""

    def say(self, text: str, kind: Literal["problem", "hint"] = "hint") -> None:
        """Show a sentence; an empty one hides the note."""
        self.text = text
        narrow_label(self)
        self.value = f"⚠ {text}" if kind == "problem" and text else text
        self.native.setProperty("kind", kind)
        self.native.style().polish(self.native)
        self.visible = bool(text)


def narrow_label(control: Widget) -> None:
    """Keep the blank label beside a control as narrow as the other labels of its form.

    Beside a narrow control it would take the width of its blanks in the window's font.
    """
    row = control.native.parentWidget()
    for label in row.children() if row is not None else ():
        is_label = isinstance(label, QLabel) and label is not control.native
        if is_label and label.minimumWidth() > 0:
            label.setMaximumWidth(label.minimumWidth())


def shrinks(combo: QComboBox) -> None:
    """Let a combo box become narrower than its longest entry, so that a dock stays narrow."""
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(8)
    combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
