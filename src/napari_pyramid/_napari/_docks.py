"""Show a dock widget of this plugin once only, and report when docks resize the canvas."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, QObject, Signal  # type: ignore[attr-defined]  # as in `widget`
from qtpy.QtWidgets import QDockWidget, QWidget

__all__ = ["Resized", "show_dock"]


def show_dock(viewer: Any, name: str) -> Any:
    """Return the widget of a dock, shown; it is docked if it is not there yet.

    A new one becomes a tab of the docks on its side of the window: each has the whole height.

    napari alone would open a second one beside the one from its menu: it calls that one by the
    display name of the plugin, and what code opens by the name of the package.

    Parameters
    ----------
    name
        Display name of the widget in the manifest.
    """
    opened = viewer.window.dock_widgets
    found = next((opened[title] for title in opened if title.startswith(f"{name} (")), None)
    if found is None:
        _, found = viewer.window.add_plugin_dock_widget("napari-pyramid", name, tabify=True)
    dock: QWidget | None = getattr(found, "native", found)
    while dock is not None and not isinstance(dock, QDockWidget):
        dock = dock.parentWidget()
    if dock is not None:
        dock.show()
        dock.raise_()
    return found


class Resized(QObject):
    """Emits a signal when a widget gets another size.

    Parameters
    ----------
    parent
        The widget is followed until its destruction.
    """

    resized = Signal()

    def __init__(self, widget: QWidget, parent: QObject) -> None:
        super().__init__(parent)
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802  # Qt's name
        """Let every event pass."""
        if event is not None and event.type() == QEvent.Type.Resize:
            self.resized.emit()
        return False
