"""Show the dock widget "Build pyramid": choose, see what will be built, build, cancel.

The widget is only a view: `_plan` plans the build and `_worker_thread` runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_pyramid._napari._form import ChoiceForm, LevelTable, PathField, ask_folder
from napari_pyramid._napari._from_image import layers_of, origin_of
from napari_pyramid._napari._plan import (
    Choice,
    Plan,
    in_place_directory,
    layer_image_of,
    suggested_destination,
)
from napari_pyramid._napari._progressive import watch_viewers
from napari_pyramid._napari._remedies import Action, action_for, worded
from napari_pyramid._napari._replace import group_of, levels_as, replace_layer
from napari_pyramid._napari._saving import Step, build_steps
from napari_pyramid._napari._worker_thread import Job, Outcome, answer_in_background
from napari_pyramid.downsample import methods_for
from napari_pyramid.errors import PyramidError
from napari_pyramid.image import Image as StoredImage
from napari_pyramid.layer_image import METADATA_KEY, LayerImage, image_of_layer, lost_transforms
from napari_pyramid.layouts import open_images
from napari_pyramid.pyramid import Pyramid
from napari_pyramid.storage.address import public_url

if TYPE_CHECKING:
    import napari

__all__ = ["BuildPyramid"]

_FILE = "a store on disk…"
_PARTS = 1000


class BuildPyramid(QWidget):
    """Dock widget that builds the pyramid of a layer or of a store on disk.

    A layer is replaced by the multiscale layer when the build is done.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._life = _Life()
        self._images: tuple[StoredImage, ...] = ()
        self._asked: object | None = None
        """Token of the last path that is being opened, until its images are known."""
        self._chosen: LayerImage | None = None
        self._plan: Plan | None = None
        self._action: Action | None = None
        """Action of the button `remedy` while it is shown."""
        self._tried: Choice | None = None
        """The last choice with a remedy, to which another remedy may be added."""
        self.layer = QComboBox()
        self.path = PathField(ask_folder)
        self.image = QComboBox()
        self._path_row = (QLabel("Path"), self.path)
        self._image_row = (QLabel("Which"), self.image)
        self.form = ChoiceForm(("Image", self.layer), self._path_row, self._image_row)
        self.table = LevelTable()
        self.message = QLabel()
        self.message.setWordWrap(True)
        self.progress = QProgressBar()
        self.progress.setMaximum(_PARTS)
        self.build = QPushButton("Build")
        self.remedy = QPushButton()
        self.remedy.hide()
        self.cancel = QPushButton("Cancel")
        self._lay_out()
        self.layer.currentIndexChanged.connect(self._source_changed)
        self.path.changed.connect(self._source_changed)
        self.image.currentIndexChanged.connect(self._image_changed)
        self.form.changed.connect(self._choice_changed)
        self.build.clicked.connect(self.start)
        self.remedy.clicked.connect(self._start_with_remedy)
        self.cancel.clicked.connect(self.stop)
        # Not a method of the widget: Qt would disconnect it when the widget is deleted.
        self.destroyed.connect(self._life.end)
        self._show_busy(False)
        self.reset_choices()

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        buttons.addWidget(self.build)
        buttons.addWidget(self.remedy)
        buttons.addWidget(self.cancel)
        column = QVBoxLayout(self)
        column.addWidget(self.form)
        column.addWidget(self.table, stretch=1)
        column.addWidget(self.message)
        column.addWidget(self.progress)
        column.addLayout(buttons)

    # ---- choosing ---------------------------------------------------------------------------

    def reset_choices(self, event: object = None) -> None:
        """Update the list of the viewer's layers; napari calls this when they change.

        During a build the list is not updated, so that the layer stays chosen.
        """
        if self._life.job is not None:
            return
        chosen = self.layer.currentData()
        layers = [layer for layer in self._viewer.layers if isinstance(layer, Image | Labels)]
        with QSignalBlocker(self.layer):
            self.layer.clear()
            for layer in layers:
                self.layer.addItem(layer.name, layer)
            self.layer.addItem(_FILE, None)
            wanted = chosen if chosen in layers else self._viewer.layers.selection.active
            if chosen is None and self.path.path:  # keep the chosen path
                self.layer.setCurrentIndex(len(layers))
            else:
                self.layer.setCurrentIndex(layers.index(wanted) if wanted in layers else 0)
        if self.layer.currentData() != chosen or (self._chosen is None and self._asked is None):
            self._source_changed()

    def choose(self, layer: Layer) -> None:
        """Choose a layer of the viewer as the image to build."""
        self.reset_choices()
        index = self.layer.findData(layer)
        if index >= 0:
            self.layer.setCurrentIndex(index)

    def _source_changed(self) -> None:
        """List the images of another layer or path."""
        self._chosen, self._asked = None, None
        in_viewer = self.layer.currentData() is not None
        for part in self._path_row:
            part.setVisible(not in_viewer)
        self._list_images(())
        if in_viewer:
            self._image_changed()
        elif self.path.path:
            self._open()
        else:
            self._show_plan(None, "Choose a store on disk.")

    def _open(self, said: str = "") -> None:
        """Find the images at the path, in a thread since servers and remote disks may be slow.

        Parameters
        ----------
        said
            Message to keep instead of the message about the plan.
        """
        path = self.path.path
        self._chosen, self._asked = None, (asked := object())
        self._show_plan(None, said or f"Opening {path}…")
        answer_in_background(
            lambda: open_images(path), lambda outcome: self._opened(outcome, asked, said)
        )

    def _opened(self, outcome: Outcome, asked: object, said: str) -> None:
        if not self._life.alive or asked is not self._asked:
            return  # another source has been chosen meanwhile
        self._asked = None
        if outcome.error is not None:
            self._list_images(())
            self._show_refusal(outcome.error)
            return
        self._list_images(outcome.result)
        self._image_changed()
        if said:
            self.message.setText(said)

    def _list_images(self, images: Sequence[StoredImage]) -> None:
        """Offer the images of a store for a choice, unless there is just one."""
        self._images, chosen = tuple(images), self.image.currentIndex()
        with QSignalBlocker(self.image):
            self.image.clear()
            self.image.addItems([_title(image) for image in images])
            self.image.setCurrentIndex(chosen if 0 <= chosen < len(images) else 0)
        for part in self._image_row:
            part.setVisible(len(images) > 1)

    def _image_changed(self) -> None:
        """Update the form for another image: its methods and possible destinations."""
        self._take_image()
        if self._chosen is None:
            return
        layer = self.layer.currentData()
        with QSignalBlocker(self.form):
            self.form.offer(
                methods_for(self._chosen.kind),
                suggested_destination(
                    self._chosen.name, self.path.path if layer is None else _origin_path(layer)
                ),
                in_place_directory(self._chosen) is not None,
            )
        self._choice_changed()

    def _take_image(self) -> None:
        """Read the chosen image again: a layer may have other data or another scale by now."""
        layer = self.layer.currentData()
        self._chosen = None
        self._show_plan(None, "")  # the plan of another image must not be built
        try:
            if layer is None:
                self._chosen = layer_image_of(self._images[self.image.currentIndex()])
            else:
                self._chosen = image_of_layer(layer.as_layer_data_tuple())
        except PyramidError as error:
            self._show_refusal(error)

    def _choice_changed(self) -> None:
        if self._chosen is None:
            return
        try:
            plan = Plan.of(self._chosen, self.form.choice())
            self._show_plan(plan, plan.summary())
        except PyramidError as error:
            self._show_refusal(error)

    def _show_refusal(self, error: Exception) -> None:
        """Show an error in place of a plan, with a button for its remedy if it has one."""
        self._show_plan(None, worded(error))
        self._offer(action_for(error))

    def _offer(self, action: Action | None) -> None:
        """Show the button of a remedy, or hide it."""
        self._action = action
        self.remedy.setVisible(action is not None)
        if action is not None:
            self.remedy.setText(action.label)
            self.remedy.setToolTip(action.tooltip)

    def _show_plan(self, plan: Plan | None, message: str) -> None:
        self._plan = plan
        self._offer(None)
        self.table.show_rows(plan.rows() if plan is not None else [])
        if self._life.job is None:
            self.message.setText(message)
            self.build.setEnabled(plan is not None)

    # ---- building ---------------------------------------------------------------------------

    def start(self) -> None:
        """Build the present choice, with the plan in the table if that still fits the choice."""
        if self._plan is not None and self._life.job is None:
            self._start(self._plan, None)

    def _start_with_remedy(self) -> None:
        """Build the present choice with the remedy of the button."""
        if self._action is not None and self._life.job is None:
            self._start(None, self._action)

    def _start(self, shown: Plan | None, action: Action | None) -> None:
        plan, layer = self._current_plan(shown, action), self.layer.currentData()
        if plan is None:
            return
        if layer is not None and (lost := lost_transforms(layer.as_layer_data_tuple()[1])):
            show_warning(
                f"{layer.name}: {' and '.join(lost)} cannot be stored in OME-Zarr; "
                "only the layer keeps it"
            )
        job = Job(
            build_steps(plan.build),
            f"Building {plan.image.name}",
            lambda end: self._ended(plan, layer, end),
            self._show_step,
        )
        self._life.job = job
        self._show_busy(True)
        self.message.setText("Preparing…")
        job.start()

    def _current_plan(self, shown: Plan | None, action: Action | None) -> Plan | None:
        """Return `shown` if it still fits layer and choice, else a new plan; None on an error."""
        self._take_image()
        if self._chosen is None:
            return None
        try:
            choice = self._remedied(self.form.choice(), action)
            if shown is None or not shown.is_of(self._chosen, choice):
                shown = Plan.of(self._chosen, choice)
        except PyramidError as error:
            self._show_refusal(error)
            return None
        self._show_plan(shown, shown.summary())
        return shown

    def _remedied(self, choice: Choice, action: Action | None) -> Choice:
        """Return the choice with the remedy of `action` and the remedies tried before."""
        if action is None:
            return choice
        if self._tried is not None and replace(self._tried, resume=True, overwrite=False) == choice:
            choice = self._tried
        self._tried = action.applied(choice)
        return self._tried

    def stop(self) -> None:
        """Stop the build at its next step."""
        if self._life.job is not None:
            self.message.setText("Stopping…")
            self.cancel.setEnabled(False)
            self._life.job.cancel()

    def _show_busy(self, busy: bool) -> None:
        self.form.setEnabled(not busy)
        self.build.setEnabled(not busy and self._plan is not None)
        self.cancel.setEnabled(busy)
        self.progress.setVisible(busy)
        self.progress.setValue(0)

    def _show_step(self, step: Step) -> None:
        if not self._life.alive:
            return
        self.progress.setValue(round(_PARTS * step.fraction))
        left = "" if step.remaining is None else f", {_duration(step.remaining)} left"
        self.message.setText(f"Building: {step.fraction:.0%}{left}")

    def _ended(self, plan: Plan, layer: Any, outcome: Outcome) -> None:
        if not self._life.alive:
            return
        try:
            message = self._result(plan, layer, outcome)
        finally:
            self._life.job = None
            self._show_busy(False)
        self.reset_choices()
        if outcome.complete:
            self._tried = None
        else:
            self._choice_changed()  # there may be unfinished work to go on with now
            if outcome.error is not None:
                self._offer(action_for(outcome.error) or self._action)
        self.message.setText(message)
        if outcome.complete and layer is None:
            # The source may have new levels in place; the next new store needs another name.
            self._open(message)

    def _result(self, plan: Plan, layer: Any, outcome: Outcome) -> str:
        """Show the result of a build as a layer, and return the outcome in words."""
        if outcome.error is not None:
            show_error(worded(outcome.error))
            return worded(outcome.error)
        if not outcome.complete:
            kept = (
                " The same build goes on from here if it is started again."
                if plan.build.can_resume
                else ""
            )
            return f"Cancelled.{kept}"
        pyramid: Pyramid = outcome.result
        where = plan.choice.destination or group_of(pyramid)
        watch_viewers()
        if layer is not None and layer in self._viewer.layers:
            replace_layer(
                self._viewer,
                layer,
                levels_as(plan.image, pyramid),
                origin_of(pyramid.image, where),
            )
        else:
            # The store is not opened again: it may also hold residuals or other images.
            for new in layers_of([pyramid.image], where):
                self._viewer.add_layer(Layer.create(*new))
        built = f"Built {where}: {len(pyramid)} level{'s' * (len(pyramid) != 1)}"
        show_info(built)
        return built


class _Life:
    """State that outlives the widget: whether the widget exists, and the job that it started."""

    def __init__(self) -> None:
        self.alive = True
        self.job: Job | None = None

    def end(self) -> None:
        self.alive = False
        if self.job is not None:
            self.job.cancel()


def _title(image: StoredImage) -> str:
    """Return the words for an image in the list of images."""
    shape = "×".join(str(n) for n in image.levels[0].array.shape)
    return f"{image.name or image.path or '(no name)'} ({image.kind}, {shape})"


def _origin_path(layer: Any) -> str | None:
    known = layer.metadata.get(METADATA_KEY, {}).get("source") or layer.source.path
    if known is not None and layer.source.path and public_url(str(layer.source.path)) == str(known):
        known = layer.source.path  # with the query string that the server asks for
    return None if known is None else str(known)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
