"""Show the dock widget "Export region": choose a region, see its size, export, cancel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from napari.layers import Shapes
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QTimer

from napari_pyramid._napari._background import Outcome
from napari_pyramid._napari._docks import Resized
from napari_pyramid._napari._export_controls import (
    LAYER,
    RANGES,
    TIFF,
    VIEW,
    AxisRange,
)
from napari_pyramid._napari._export_form import PARTS, ExportForm
from napari_pyramid._napari._export_layers import new_layers, words_for
from napari_pyramid._napari._export_plan import planned, steps_of, worded
from napari_pyramid._napari._planning import LatestQuestion
from napari_pyramid._napari._private import camera_of, main_window
from napari_pyramid._napari._saving import Step
from napari_pyramid._napari._style import styled_by
from napari_pyramid._napari._view_region import LayerSource, channels_beside, rectangle_in
from napari_pyramid._napari._worker_thread import Job
from napari_pyramid.errors import PyramidError
from napari_pyramid.export import Export
from napari_pyramid.layer_image import lost_transforms, origin_of_layer
from napari_pyramid.plan.level import format_bytes
from napari_pyramid.regions import Region
from napari_pyramid.words import by, duration

if TYPE_CHECKING:
    import napari

__all__ = ["ExportRegion"]

_PAUSE = 150
"""Milliseconds of rest after which the size of what is in view is computed again."""


class ExportRegion(ExportForm):
    """Dock widget that exports a region of a layer as a pyramid, a TIFF file or a layer."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        self._life = _Life()
        self._layers: tuple[Any, ...] = ()
        """Channels of the image of the chosen layer."""
        self._axes: tuple[tuple[str, int], ...] = ()
        """Names and lengths of the axes that have a row."""
        self._color_axis: int | None = None
        self._plan: tuple[LayerSource, Export] | None = None
        self._plans = LatestQuestion(one_at_a_time=True)
        self._begins = False
        """Whether Export was pressed, and the export begins once it is planned."""
        self._image_name = ""
        self._said: tuple[str, Literal["", "problem"]] = ("", "")
        """Outcome of the last export, shown until something else is chosen or another begins."""
        self._said_for: tuple[Any, ...] | None = None
        """What was chosen when the outcome was shown first; None before."""
        super().__init__(napari_viewer)
        styled_by(self.native, napari_viewer)
        self._rest = QTimer(self.native)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_PAUSE)
        self._rest.timeout.connect(self.refresh)
        self._connect()
        self._layer_changed()

    def _connect(self) -> None:
        self.layer.changed.connect(self._layer_changed)
        self.all_channels.changed.connect(self._image_changed)
        for choice in (
            self.region,
            self.all_planes,
            self.level,
            self.compression,
            self.destination,
        ):
            choice.changed.connect(self._later)
        self.format.changed.connect(self._format_changed)
        self.export.changed.connect(self.start)
        self.cancel.changed.connect(self.stop)
        viewer = self._viewer
        disconnects: list[Callable[[], None]] = []
        for emitter in (
            camera_of(viewer).events.center,
            camera_of(viewer).events.zoom,
            viewer.dims.events.point,
            viewer.dims.events.ndisplay,
            viewer.dims.events.order,
        ):
            follow = self._life.guarded(self._view_changed)
            emitter.connect(follow)
            disconnects.append(partial(emitter.disconnect, follow))
        self._life.disconnects = disconnects
        centre = getattr(main_window(viewer), "centralWidget", lambda: None)()
        if centre is not None:  # the camera stays where it is when docks take a part of the canvas
            self._resized = Resized(centre, self.native)
            self._resized.resized.connect(self._view_changed)
        # Not a method of the widget: Qt would disconnect it when the widget is deleted.
        self.native.destroyed.connect(self._life.end)

    # ---- choosing ---------------------------------------------------------------------------

    def reset_choices(self, *_: Any) -> None:
        """Update the list of layers; napari calls this when they change."""
        if not self._life.alive or self._life.job is not None:
            return
        before = self.layer.value
        super().reset_choices()
        if self.layer.value is not before or before not in self._viewer.layers:
            self._layer_changed()
        else:
            self._channels_changed()
        self._follow_shapes()

    def _layer_changed(self, *_: Any) -> None:
        self._said = ("", "")
        self._channels_changed()

    def _channels_changed(self) -> None:
        """Find the channels beside the chosen layer, and show the rest of the form for them."""
        layer = self.layer.value
        self._layers = () if layer is None else channels_beside(self._viewer.layers, layer)
        self.all_channels.visible = len(self._layers) > 1
        self._image_changed()

    def _image_changed(self, *_: Any) -> None:
        """Show the levels and axes of another image."""
        if self.layer.value is None:
            self._show_nothing("Open an image first.")
            return
        try:
            source = self._source()
        except PyramidError as error:
            self._show_nothing(worded(error), "problem")
            return
        image = source.source.image
        self._image_name = image.name
        self.offer_levels([by(array.shape, " × ") for array in image.levels])
        axes = tuple(
            (axis.name, int(n)) for axis, n in zip(image.axes, source.source.shape, strict=True)
        )
        if (axes, source.color_axis) != (self._axes, self._color_axis):
            self._axes, self._color_axis = axes, source.color_axis
            self.offer_ranges(axes, source.color_axis, self._later)
        self.refresh()

    def _source(self) -> LayerSource:
        chosen = self._layers if self.all_channels.value else (self.layer.value,)
        return LayerSource.of(chosen)

    def _later(self, *_: Any) -> None:
        self._rest.start()

    def _view_changed(self, *_: Any) -> None:
        if self.region.value != RANGES and self._life.job is None:
            self._rest.start()

    def _drawn(self) -> Any:
        """Return the Shapes layer whose rectangle counts: the active one, else the topmost."""
        active = self._viewer.layers.selection.active
        shapes = [v for v in self._viewer.layers if isinstance(v, Shapes) and len(v.data)]
        return active if rectangle_in(active) is not None else shapes[-1] if shapes else None

    def _follow_shapes(self) -> None:
        """Compute the region again when a shape is drawn, moved or selected."""
        for layer in self._viewer.layers:
            if isinstance(layer, Shapes) and layer not in self._life.followed:
                self._life.followed.append(layer)
                for emitter in (layer.events.data, layer.events.highlight):
                    follow = self._life.guarded(self._view_changed)
                    emitter.connect(follow)
                    self._life.disconnects.append(partial(emitter.disconnect, follow))

    def _format_changed(self, *_: Any) -> None:
        self.destination.visible = self.format.value != LAYER
        self.compression.visible = self.format.value == TIFF
        if self.destination.is_typed:
            self.destination.change_suffix(self.format.value)
        self.refresh()

    def _place(self) -> Callable[[], str | None]:
        """Return a function that returns the path of the export; it may look at the disk."""
        layer, chosen = self.layer.value, self.format.value
        if chosen == LAYER or self.destination.is_typed:
            path = self.destination.path(chosen)
            return lambda: path
        known = origin_of_layer({"metadata": layer.metadata}).get("source") or layer.source.path
        name = self._image_name or layer.name
        return self.destination.suggestion(name, known and str(known), chosen)

    def _region(self, source: LayerSource) -> Region:
        """Return the chosen region in samples of level 0, and show it in the rows."""
        rows: Sequence[AxisRange] = list(self.ranges)
        if self.region.value == RANGES:
            return tuple(row.span for row in rows)
        every = bool(self.all_planes.value)
        if self.region.value == VIEW:
            region = source.in_view(self._viewer, all_planes=every)
        else:
            region = source.in_rectangle(self._viewer, self._drawn(), all_planes=every)
        for row, span in zip(rows, region, strict=True):
            row.show_span(span)
        return region

    @property
    def is_settled(self) -> bool:
        """Whether all that was chosen is shown, and nothing is being exported."""
        return not (self._rest.isActive() or self._plans.is_waiting or self._life.job)

    def refresh(self) -> None:
        """Plan the export again, in the background because disks may be slow, and show its size."""
        if not self._life.alive or self._life.job is not None or self.layer.value is None:
            return
        typed = self.region.value == RANGES
        for row in self.ranges:
            row.enabled = typed
        self.all_planes.visible = not typed and self._viewer.dims.ndim > self._viewer.dims.ndisplay
        try:
            source = self._source()
            cut = source.source.cut(self._region(source), self.level.value)
            question = partial(planned, cut, self._place(), self.compression.value)
        except PyramidError as error:
            self._plans.forget()
            self._show_problem(error)
            return
        self._plans.ask(question, partial(self._show_plan, source))

    def _show_plan(self, source: LayerSource, outcome: Outcome) -> None:
        if not self._life.alive or self._life.job is not None:
            return
        if outcome.error is not None:
            self._show_problem(outcome.error)
            return
        path, export, problem = outcome.result
        if path is not None:
            self.destination.suggest(path)
        if problem is not None:
            self._show_problem(problem, words_for(export.cut, export))
            return
        self._plan = source, export
        self.size.value = words_for(export.cut, export)
        self.export.enabled = True
        chosen = export.cut.region, export.cut.level, self.format.value, self.compression.value
        if self._said_for not in (None, chosen):
            self._said = ("", "")
        self._said_for = chosen
        self.say(*self._said)
        if self._begins:
            self._begin(source, export)

    def _show_problem(self, error: BaseException, size: str = "") -> None:
        self._plan, self._begins = None, False
        self.size.value = size
        self.export.enabled = False
        self.say(worded(error), "problem")

    def _show_nothing(self, message: str, kind: Literal["", "problem"] = "") -> None:
        self._plans.forget()
        self._begins = False
        self._plan, self._axes = None, ()
        self.offer_ranges((), None, self._later)
        self.offer_levels(())
        self.size.value = ""
        self.export.enabled = False
        self.say(message, kind)

    # ---- exporting --------------------------------------------------------------------------

    def start(self, *_: Any) -> None:
        """Export what is chosen now: the view or the layer may have changed since the last plan."""
        if self._life.job is None and not self._begins:
            self._said, self._begins = ("", ""), True
            self._rest.stop()
            self.say("Preparing…")
            self.refresh()

    def _begin(self, source: LayerSource, export: Export) -> None:
        self._begins = False
        self._warn_of_losses(source, export)
        self._life.job = Job(
            steps_of(export),
            f"Exporting {source.source.image.name}",
            lambda end: self._ended(source, export, end),
            self._show_step,
        )
        self.show_busy(can_export=False, busy=True)
        self.say("Preparing…")
        self._life.job.start()

    def stop(self, *_: Any) -> None:
        """Stop the export at its next step."""
        if self._life.job is not None:
            self.say("Stopping…")
            self.cancel.enabled = False
            self._life.job.cancel()

    def _warn_of_losses(self, source: LayerSource, export: Export) -> None:
        layer = source.layers[0]
        if export.kind != "array" and (lost := lost_transforms(layer.as_layer_data_tuple()[1])):
            show_warning(f"{layer.name}: {' and '.join(lost)} cannot be stored, and is left out")

    def _show_step(self, step: Step) -> None:
        if self._life.alive:
            self.progress.value = round(PARTS * step.fraction)
            left = "" if step.remaining is None else f": {duration(step.remaining)} left"
            self.say(f"Exporting{left}")

    def _ended(self, source: LayerSource, export: Export, outcome: Outcome) -> None:
        self._life.job = None
        if not self._life.alive:
            return
        self.show_busy(can_export=self._plan is not None, busy=False)
        kind: Literal["", "problem"] = ""
        if outcome.error is not None:
            message, kind = worded(outcome.error), "problem"
            show_error(message)
        elif not outcome.complete:
            message = "Cancelled; nothing was kept."
        else:
            message = self._finish(source, export, outcome.result)
            show_info(message)
        if outcome.complete and export.kind != "array":
            self.destination.release()
        self.reset_choices()
        self._said, self._said_for = (message, kind), None
        self.refresh()

    def _finish(self, source: LayerSource, export: Export, result: Any) -> str:
        """Add the layers of an array; return what was exported, in words."""
        if export.kind != "array":
            path = self.destination.path(self.format.value)
            return f"Exported {path}: {format_bytes(export.nbytes)} of pixels"
        added = new_layers(source, export.cut, result)
        for layer in added:
            self._viewer.add_layer(layer)
        return f"Added {', '.join(layer.name for layer in added)}"


class _Life:
    """State that outlives the widget: whether it exists, its job, and what it listens to."""

    def __init__(self) -> None:
        self.alive = True
        self.job: Job | None = None
        self.followed: list[Any] = []
        self.disconnects: list[Callable[[], None]] = []

    def guarded(self, call: Callable[..., None]) -> Callable[[Any], None]:
        """Return a function that calls `call` while the widget exists."""

        def follow(event: Any = None) -> None:
            if self.alive:
                call()

        return follow

    def end(self) -> None:
        self.alive = False
        for disconnect in self.disconnects:
            disconnect()
        self.disconnects, self.followed = [], []
        if self.job is not None:
            self.job.cancel()
