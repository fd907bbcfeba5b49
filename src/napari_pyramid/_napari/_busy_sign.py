"""Show in napari's activity dock that chunks are being read, if it takes long: `BusySign`."""

from __future__ import annotations

from typing import Any

from napari.utils import progress
from qtpy.QtCore import QObject, QTimer

__all__ = ["BusySign"]

LONG = 0.4
"""Seconds of waiting for one view before the sign appears.

A sign for each step of a slider would flicker, and napari draws the window three times for it.
"""


class BusySign(QObject):
    """One sign for all layers of a window, used in the GUI thread only."""

    def __init__(self, window: QObject) -> None:
        super().__init__(window)
        self._waiting: dict[Any, tuple[str, int]] = {}
        """Name of each layer that waits, and the number of the view that it waits for."""
        self._bar: Any = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._appear)

    @property
    def text(self) -> str | None:
        """Words of the sign, or None while it is hidden."""
        return None if self._bar is None else str(self._bar.desc).removesuffix(": ")

    def show(self, client: Any, name: str | None, view: int = 0) -> None:
        """Note that a layer called `name` waits for chunks, or with None that it does not wait.

        `view` is the number of the view that it waits for.
        """
        is_new = name is not None and self._waiting.get(client, ("", None))[1] != view
        if name is None:
            self._waiting.pop(client, None)
        else:
            self._waiting[client] = name, view
        if not self._waiting:
            self._timer.stop()
            self._disappear()
        elif self._bar is None and (is_new or not self._timer.isActive()):
            self._timer.start(int(LONG * 1000))

    def _appear(self) -> None:
        if self._waiting and self._bar is None:
            first, *more = [name for name, _ in self._waiting.values()]
            others = f" and {len(more)} more" if more else ""
            # napari handles events while it makes the bar, perhaps the end of the waiting.
            bar = progress(total=0, desc=f"Reading {first}{others}")
            if self._waiting and self._bar is None:
                self._bar = bar
            else:
                bar.close()

    def _disappear(self) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()
