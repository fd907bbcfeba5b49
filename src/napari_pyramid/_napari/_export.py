"""Show the dock widget "Export region": choose a region, see its size, export, cancel."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
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
from napari_pyramid._napari._private import camera_of, main_window
from napari_pyramid._napari._queue_view import duration
from napari_pyramid._napari._remedies import IN_WINDOW
from napari_pyramid._napari._saving import Step
from napari_pyramid._napari._style import styled_by
from napari_pyramid._napari._view_region import LayerSource, channels_beside, rectangle_in
from napari_pyramid._napari._worker_thread import Job
from napari_pyramid.build.progress import Steps
from napari_pyramid.errors import PyramidError, Remedy, one_line
from napari_pyramid.export import Export, plan_export
from napari_pyramid.layer_image import lost_transforms, origin_of_layer
from napari_pyramid.plan.level import format_bytes
from napari_pyramid.regions import Region
from napari_pyramid.words import by

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
        layer = self.layer.value
        if layer is not None and not self.destination.is_typed:
            self._suggest()

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
            self._show_nothing(_worded(error), "problem")
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
        else:
            self._suggest()
        self.refresh()

    def _suggest(self) -> None:
        """Suggest a free path for the export."""
        layer = self.layer.value
        if layer is not None:
            known = origin_of_layer({"metadata": layer.metadata}).get("source")
            known = known or layer.source.path
            name = self._image_name or layer.name
            self.destination.suggest(name, known and str(known), self.format.value)

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

    def refresh(self) -> None:
        """Plan the export again, and show its size."""
        if not self._life.alive or self._life.job is not None or self.layer.value is None:
            return
        typed = self.region.value == RANGES
        for row in self.ranges:
            row.enabled = typed
        self.all_planes.visible = not typed and self._viewer.dims.ndim > self._viewer.dims.ndisplay
        self.size.value = ""
        try:
            source = self._source()
            cut = source.source.cut(self._region(source), self.level.value)
            path = self.destination.path(self.format.value)
            export = plan_export(cut, path, compression=self.compression.value)
            self.size.value = words_for(cut, export)
            export.check()
        except PyramidError as error:
            self._plan = None
            self.export.enabled = False
            self.say(_worded(error), "problem")
            return
        self._plan = source, export
        self.export.enabled = True
        chosen = cut.region, cut.level, self.format.value, self.compression.value
        if self._said_for not in (None, chosen):
            self._said = ("", "")
        self._said_for = chosen
        self.say(*self._said)

    def _show_nothing(self, message: str, kind: Literal["", "problem"] = "") -> None:
        self._plan, self._axes = None, ()
        self.offer_ranges((), None, self._later)
        self.offer_levels(())
        self.size.value = ""
        self.export.enabled = False
        self.say(message, kind)

    # ---- exporting --------------------------------------------------------------------------

    def start(self, *_: Any) -> None:
        """Export what is chosen now."""
        if self._life.job is not None:
            return
        self._said = ("", "")
        self._rest.stop()
        self.refresh()  # the view or the layer may have changed meanwhile
        if self._plan is None:
            return
        source, export = self._plan
        self._warn_of_losses(source, export)
        self._life.job = Job(
            _steps(export),
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
            message, kind = _worded(outcome.error), "problem"
            show_error(message)
        elif not outcome.complete:
            message = "Cancelled; nothing was kept."
        else:
            message = self._finish(source, export, outcome.result)
            show_info(message)
        self.reset_choices()
        if outcome.complete and export.kind != "array":
            self._suggest()
        self._said, self._said_for = (message, kind), None
        self.refresh()

    def _finish(self, source: LayerSource, export: Export, result: Any) -> str:
        """Add the layers of an array; return what was exported, in words."""
        if export.kind != "array":
            path = str(self.destination.path(self.format.value))
            self.destination.remember_folder(path)
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


def _worded(error: BaseException) -> str:
    """Return an error as one line; an export never replaces a file, and offers no button for it."""
    if isinstance(error, PyramidError):
        return error.in_words({r: w for r, w in IN_WINDOW.items() if r is not Remedy.OVERWRITE})
    return one_line(error)


def _steps(export: Export) -> Generator[Step, None, Any]:
    """Run an export, yield its progress as steps, and return its result."""
    with closing(Steps(export.steps())) as steps:
        for done in steps:
            yield Step(done.done / max(1, done.total), done.remaining, done.bytes_written)
        return steps.result
