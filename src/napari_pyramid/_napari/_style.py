"""Choose the colours of notes and selected rows for the theme of the window."""

from __future__ import annotations

from typing import Any

from qtpy.QtGui import QPalette
from qtpy.QtWidgets import QWidget

__all__ = ["styled_by"]


def _style_for(*, dark: bool) -> str:
    """Return the style sheet for notes and selected rows on a dark or light ground."""
    hint, problem, done = (
        ("#a7adba", "#ff9d8f", "#8fd694") if dark else ("#5a5f6b", "#b3261e", "#1c6e2a")
    )
    return (
        f'QLabel[kind="hint"] {{ color: {hint}; }}'
        f'QLabel[kind="problem"] {{ color: {problem}; }}'
        f'QLabel[kind="done"] {{ color: {done}; }}'
        # napari draws selected rows in almost the colour of the list
        "QListWidget::item:selected { background: #0068b5; color: #ffffff; }"
    )


def styled_by(widget: QWidget, viewer: Any) -> None:
    """Give a widget the colours for the theme of a viewer, now and when the theme changes."""

    def restyle(_: object = None) -> None:
        widget.setStyleSheet(_style_for(dark=_is_dark(widget, viewer)))

    viewer.events.theme.connect(restyle)
    widget.destroyed.connect(lambda: viewer.events.theme.disconnect(restyle))
    restyle()


def _is_dark(widget: QWidget, viewer: Any) -> bool:
    """Return whether the theme of a viewer has light text; the palette decides without a theme."""
    try:
        from napari.utils.theme import get_theme

        red, green, blue = get_theme(viewer.theme).background.as_rgb_tuple(alpha=False)
    except (ImportError, AttributeError, KeyError, ValueError):
        return widget.palette().color(QPalette.ColorRole.Window).lightness() < 128
    return bool(0.299 * red + 0.587 * green + 0.114 * blue < 128)
