"""Announce painted labels that are not saved, when their window is closed or their layer removed.

Closing asks: update the pyramid and close, close without updating, or stay. napari reports a
removed layer only after it has gone; it can be put back, since what was painted is still there.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QMessageBox

from napari_pyramid._napari._private import before_confirmed_close, main_window

if TYPE_CHECKING:
    from napari_pyramid.build.editor import PyramidEditor

__all__ = ["Unsaved", "watch_for_unsaved"]

_guards: weakref.WeakKeyDictionary[Any, _Guard] = weakref.WeakKeyDictionary()


class Unsaved(Protocol):
    """The painting on one layer: `Editing`, whose module imports this one."""

    @property
    def has_unsaved(self) -> bool:
        """Whether something has been painted that is not in the store."""
        ...

    @property
    def editor(self) -> PyramidEditor:
        """The editor that holds what has been painted."""
        ...

    def save(self, then: Callable[[bool], None] | None = None) -> None:
        """Update the pyramid, and call `then` with whether that worked."""
        ...

    def after_saving(self, call: Callable[[], None]) -> None:
        """Call `call` once the pyramid is not being updated any more."""
        ...


def watch_for_unsaved(viewer: Any, layer: Any, editing: Unsaved) -> None:
    """Ask before what was painted on a layer of `viewer` is lost."""
    if viewer not in _guards:
        window = main_window(viewer)
        if not isinstance(window, QObject):
            return
        _guards[viewer] = _Guard(viewer, window)
    _guards[viewer].editings[layer] = editing


class _Guard(QObject):
    """The painted layers of one window.

    Parameters
    ----------
    window
        Main window of the viewer.
    """

    def __init__(self, viewer: Any, window: QObject) -> None:
        super().__init__(window)
        self.editings: weakref.WeakKeyDictionary[Any, Unsaved] = weakref.WeakKeyDictionary()
        self._viewer = weakref.ref(viewer)
        self._window = weakref.ref(window)
        self._is_asking = self._may_close = False
        window.installEventFilter(self)
        before_confirmed_close(window, self._ask_before_closing)
        viewer.layers.events.removed.connect(self._on_removed)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802  # Qt's name
        """Keep the window open while a question about unsaved labels is open."""
        if (
            event is None
            or event.type() != QEvent.Type.Close
            or not event.spontaneous()
            or self._ask_before_closing(self._close)
        ):
            return False
        event.ignore()
        return True

    def _unsaved(self) -> list[tuple[Any, Unsaved]]:
        viewer = self._viewer()
        shown = [] if viewer is None else list(viewer.layers)
        return [(v, e) for v, e in self.editings.items() if v in shown and e.has_unsaved]

    def _close(self) -> None:
        window: Any = self._window()
        if window is not None:
            window.close()

    def _ask_before_closing(self, close: Callable[[], None]) -> bool:
        """Return whether the window may close now; if not, ask, and call `close` if so answered."""
        unsaved = self._unsaved()
        if not unsaved or self._may_close:
            return True
        if self._is_asking:
            return False
        names = ", ".join(layer.name for layer, _ in unsaved)
        box = self._question(
            f"What you have painted on {names} is not in the pyramid yet.",
            "Update it before closing?",
        )
        update = box.addButton("Update pyramid", QMessageBox.ButtonRole.AcceptRole)
        box.addButton("Close without updating", QMessageBox.ButtonRole.DestructiveRole)
        stay = box.addButton(QMessageBox.StandardButton.Cancel)

        def closing() -> None:
            self._may_close = True
            close()

        def decide(clicked: Any) -> None:
            if clicked is update:
                self._save_then([editing for _, editing in unsaved], closing)
            elif clicked not in (stay, None):
                closing()

        self._ask(box, decide)
        return False

    def _save_then(self, editings: list[Unsaved], close: Callable[[], None]) -> None:
        """Update one pyramid after the other, then call `close`, unless one fails."""
        if not editings:
            close()
            return

        def then(worked: bool) -> None:
            if worked:
                self._save_then(editings[1:], close)

        editings[0].save(then)

    def _on_removed(self, event: Any) -> None:
        editing = self.editings.get(event.value)
        if editing is not None:
            ask = partial(self._ask_about_removed, event.value, event.index, editing)
            editing.after_saving(ask)

    def _ask_about_removed(self, layer: Any, index: int, editing: Unsaved) -> None:
        viewer = self._viewer()
        if not editing.has_unsaved or (viewer is not None and layer in viewer.layers):
            return
        box = self._question(
            f"What you have painted on {layer.name} is not in the pyramid yet.",
            "The layer is removed. Update the pyramid, or put the layer back?",
        )
        update = box.addButton("Update pyramid", QMessageBox.ButtonRole.AcceptRole)
        box.addButton("Put back", QMessageBox.ButtonRole.RejectRole)
        discard = box.addButton("Discard", QMessageBox.ButtonRole.DestructiveRole)

        def decide(clicked: Any) -> None:
            if clicked is update:
                editing.save()
            elif clicked is discard:
                editing.editor.discard()
            elif viewer is not None:
                viewer.layers.insert(min(index, len(viewer.layers)), layer)

        self._ask(box, decide)

    def _question(self, text: str, more: str) -> QMessageBox:
        window: Any = self._window()
        box = QMessageBox(window)
        box.setWindowTitle("Painted labels")
        box.setIcon(QMessageBox.Icon.Warning)
        box.setText(text)
        box.setInformativeText(more)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        return box

    def _ask(self, box: QMessageBox, decide: Callable[[Any], None]) -> None:
        """Open a question without waiting for the answer: `decide` gets the button.

        Both the question and what follows the answer come from the event loop: napari is still
        removing the layer, and Qt is still closing the question, when their signals come.
        """
        self._is_asking = True

        def answered() -> None:
            self._is_asking = False
            QTimer.singleShot(0, partial(decide, box.clickedButton()))

        box.finished.connect(answered)
        QTimer.singleShot(0, box.open)
