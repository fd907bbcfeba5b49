"""Measure the plans that are shown, when the machine is idle, and keep what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from napari_pyramid._napari._background import Outcome
from napari_pyramid._napari._estimate import Estimate, is_cheap_to_read, key_of, measured
from napari_pyramid._napari._plan import Plan, Totals
from napari_pyramid._napari._planning import LatestQuestion

__all__ = ["Estimating"]

PAUSE = 400
"""Milliseconds that a plan is shown before it is measured."""
Show = Callable[[Totals | None, Estimate | str | None], None]


class Estimating:
    """Totals of the plans that are shown, with an estimate as soon as there is one.

    Parameters
    ----------
    parent
        Widget with which the timer ends.
    show
        Called with totals, and the estimate, a word in its place, or None if nothing is measured.
    """

    def __init__(self, parent: QWidget, show: Show) -> None:
        self._show = show
        self._plans: Sequence[Plan] = ()
        self._known: dict[Any, Estimate] = {}
        self._questions = LatestQuestion(one_at_a_time=True)
        self._pause = QTimer(parent)
        self._pause.setSingleShot(True)
        self._pause.setInterval(PAUSE)
        self._pause.timeout.connect(self.measure)

    def show(self, plans: Sequence[Plan], *, busy: bool) -> None:
        """Show the totals of plans; measure them soon unless the machine is busy."""
        self._plans = plans
        self._pause.stop()
        self._questions.forget()
        if not plans:
            self._show(None, None)
            return
        estimate = self._known.get(key_of(plans[0]))
        self._show(Totals.of(plans), estimate)
        if estimate is None and not busy and is_cheap_to_read(plans[0]):
            self._pause.start()

    def measure(self) -> None:
        """Build a part of the first plan in a worker thread, and show what that took."""
        if not self._plans:
            return
        plan, key, totals = self._plans[0], key_of(self._plans[0]), Totals.of(self._plans)

        def answered(outcome: Outcome) -> None:
            if outcome.error is not None:
                self._show(totals, "unknown")
            else:
                self._known[key] = outcome.result
                self._show(totals, outcome.result)

        self._show(totals, "…")
        self._questions.ask(lambda: measured(plan), answered)

    def clear(self) -> None:
        """Forget what was measured: other pixels may get the identity of those before."""
        self._known = {}

    def end(self) -> None:
        """Drop the answers that are still to come."""
        self._pause.stop()
        self._questions.forget()
