"""Paint on the labels of a pyramid: the commands "Edit labels" and "Update pyramid".

What is painted stays in memory until "Update pyramid" writes it: the changed chunks of level 0, and
the parts of coarser levels that depend on them.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from typing import Any

from napari.layers import Labels
from napari.utils.notifications import show_error, show_info, show_warning
from napari.viewer import Viewer

from napari_pyramid._napari._background import Outcome
from napari_pyramid._napari._paintable import make_paintable
from napari_pyramid._napari._private import unwrapped
from napari_pyramid._napari._progressive import is_progressive, shown_progressively
from napari_pyramid._napari._remedies import worded
from napari_pyramid._napari._saving import Step
from napari_pyramid._napari._unsaved import watch_for_unsaved
from napari_pyramid._napari._worker_thread import Job, answer_in_background
from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.arrays.virtual_level import stored_levels
from napari_pyramid.build.editor import PyramidEditor

__all__ = ["Editing", "edit_labels", "editing_of", "update_pyramid"]

_editings: weakref.WeakKeyDictionary[Any, Editing] = weakref.WeakKeyDictionary()
"""The layers that are painted on."""


class Editing:
    """The painting on one layer, until the layer is gone.

    Parameters
    ----------
    editor
        Editor of the pyramid that the layer shows.
    """

    def __init__(self, viewer: Any, layer: Labels, editor: PyramidEditor) -> None:
        self._viewer, self._layer = weakref.ref(viewer), weakref.ref(layer)
        self.editor = editor
        self._job: Job | None = None
        self._waiting: list[Callable[[], None]] = []
        """Calls for when the pyramid has been updated."""

    @property
    def has_unsaved(self) -> bool:
        """Whether something has been painted that is not in the store."""
        return self.editor.has_edits

    @property
    def is_saving(self) -> bool:
        """Whether the pyramid is being updated."""
        return self._job is not None

    def save(self, then: Callable[[bool], None] | None = None) -> None:
        """Write what has been painted, in the background; then call `then` with whether it worked.

        While the pyramid is being updated, what is painted meanwhile is written after that, if
        somebody waits for it.
        """
        if self._job is not None:
            if then is None:
                show_info("The pyramid is being updated already.")
            else:
                self.after_saving(partial(self._save_rest, then))
            return
        layer = self._layer()
        name = layer.name if layer is not None else "labels"

        def end(outcome: Outcome) -> None:
            self._job = None
            if outcome.error is not None:
                show_error(f"{name}: {outcome.error}")
            elif outcome.complete:
                show_info(f"{name}: the pyramid is up to date.")
            elif self.editor.is_half_saved:
                show_warning(
                    f"{name}: stopped while chunks were replaced; "
                    "Update pyramid replaces the others."
                )
            else:
                show_info(
                    f"{name}: cancelled; the pyramid is unchanged. "
                    "What you painted stays until Update pyramid."
                )
            self._refresh()
            if then is not None:
                then(outcome.complete)
            waiting, self._waiting = self._waiting, []
            for call in waiting:
                call()

        self._job = Job(self._steps(), f"Update {name}", end)
        self._job.start()

    def after_saving(self, call: Callable[[], None]) -> None:
        """Call `call` once the pyramid is not being updated any more."""
        if self._job is None:
            call()
        else:
            self._waiting.append(call)

    def _save_rest(self, then: Callable[[bool], None]) -> None:
        if self.has_unsaved:
            self.save(then)
        else:
            then(True)

    def _refresh(self) -> None:
        """Draw the layer, unless it is gone: napari alone would read it in the GUI thread."""
        viewer, layer = self._viewer(), self._layer()
        if viewer is None or layer is None or layer not in viewer.layers:
            return
        if not layer.multiscale or is_progressive(viewer, layer):
            layer.refresh()

    def _steps(self) -> Generator[Step, None, None]:
        with closing(self.editor.iter_save()) as steps:
            for step in steps:
                yield Step(step.done / max(1, step.total), step.remaining)


def editing_of(layer: Any) -> Editing | None:
    """Return the painting on a layer; None if the layer is not painted on."""
    return _editings.get(layer)


def edit_labels(viewer: Viewer) -> None:
    """Make the active labels paintable, with the brush in hand."""
    viewer = unwrapped(viewer)  # commands get a proxy, whose layers are proxies too
    layer = viewer.layers.selection.active
    if not isinstance(layer, Labels):
        show_warning("Select a labels layer that was opened from a pyramid.")
        return
    if editing_of(layer) is not None:
        layer.mode = "paint"
        return
    levels = stored_levels(list(layer.data)) if layer.multiscale else [layer.data]
    if not all(isinstance(level, LazyArray) for level in levels):
        show_warning(
            f"{layer.name} can be painted on as it is."
            if layer.editable
            else f"{layer.name} was not opened by this plugin: build a pyramid of it first "
            "(Plugins > Build pyramid), and paint on that."
        )
        return

    def begin(outcome: Outcome) -> None:
        if outcome.error is not None:
            show_warning(f"{layer.name}: {worded(outcome.error)}")
        elif layer in viewer.layers and editing_of(layer) is None:
            _begin(viewer, layer, outcome.result)

    def open_editor() -> PyramidEditor:
        editor = PyramidEditor(levels, labels=True)
        editor.check()
        return editor

    answer_in_background(open_editor, begin, title=f"Edit {layer.name}")


def _begin(viewer: Any, layer: Any, editor: PyramidEditor) -> None:
    """Make a layer paint on the array of an editor."""
    if layer.multiscale:
        shown = shown_progressively(viewer, layer)
        if shown is None or not make_paintable(layer, editor, shown):
            show_warning(f"{layer.name} cannot be painted on: this needs napari 0.9.")
            return
    else:
        layer.data = editor.array
    _editings[layer] = editing = Editing(viewer, layer, editor)
    watch_for_unsaved(viewer, layer, editing)
    layer.mode = "paint"
    show_info("Paint, then choose Update pyramid.")


def update_pyramid(viewer: Viewer) -> None:
    """Write what has been painted on the active layer, or else on all layers."""
    viewer = unwrapped(viewer)
    active = viewer.layers.selection.active
    editing = editing_of(active)
    found = [editing] if editing is not None else [_editings.get(v) for v in viewer.layers]
    painted = [e for e in found if e is not None and e.has_unsaved]
    if not painted:
        show_info("Nothing has been painted since the last update.")
    for one in painted:
        one.save()
