"""Show what can be chosen for an image, say what is wrong, and read the choices.

The meaning of a choice is in `_plan`; what an image allows is an `Offer`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import Qt

from napari_pyramid._napari._controls import AUTO, MORE, Controls
from napari_pyramid._napari._offer import Offer
from napari_pyramid._napari._parsing import in_bytes, numbers, whole_numbers
from napari_pyramid._napari._plan import PIXEL, Choice
from napari_pyramid._napari._preferences import BuildDefaults
from napari_pyramid._napari._saving import completed
from napari_pyramid.errors import SpecError
from napari_pyramid.metadata.codecs import DEFAULT_CODEC

__all__ = ["BuildForm"]

_OFFERED = ("axes", "voxel_size", "unit", "destination", "place")
"""Controls that an offer sets."""
_DISTANCES = (
    ("t", "the time between frames (t)"),
    ("z", "the distance between slices (z)"),
    ("yx", "the pixel size (y, x)"),
)
"""Words for the distance along axes; other axes are called by their names."""


class BuildForm(Controls):
    """The choices of a build: each control is an attribute, such as ``form.method.value``.

    The inherited signal `changed` is emitted at each change of a control.

    Parameters
    ----------
    viewer
        Viewer whose layers are offered; None offers files only.
    """

    def __init__(self, viewer: Any = None) -> None:
        super().__init__(viewer)
        self.source.changed.connect(self._show_source)
        self.place.changed.connect(self._show_place)
        self.more.changed.connect(lambda: self.unfold(not self._unfolded))
        self.unfold(False)
        self._show_source()
        self.await_offer()
        self._as_offered = self._before

    # ---- what is shown -------------------------------------------------------------------------

    def reset_choices(self, *_: Any) -> None:
        """Update the lists of layers; a new first layer is chosen unless a path is."""
        before, chosen = self.layer.choices, self.layer.value
        super().reset_choices()
        active = None if self._viewer is None else self._viewer.layers.selection.active
        if chosen not in self.layer.choices and active in self.layer.choices:
            self.layer.value = active
        if not self.layer.choices and self.source.value == "layer":
            self.source.value = "path"
        elif not before and self.layer.choices and not (self.path.text or self.folder.text):
            self.source.value = "layer"

    def _show_source(self) -> None:
        kind = self.source.value
        for field, shown_for in (
            (self.layer, "layer"),
            (self.layers, "channels"),
            (self.path, "path"),
            (self.folder, "folder"),
        ):
            field.visible = kind == shown_for
        self.image.visible = kind == "path" and len(self.images) > 1

    def _show_place(self) -> None:
        for field in (self.destination, self.format):
            field.enabled = self.place.value == "new"

    def unfold(self, unfolded: bool) -> None:
        """Show or hide the options that are rarely needed."""
        self._unfolded = unfolded
        self.more.text = f"{'▾' if unfolded else '▸'}  More options"
        for name in MORE:
            getattr(self, name).visible = unfolded
            self.notes[name].visible = unfolded and bool(self.notes[name].text)

    def follow_defaults(self, defaults: BuildDefaults) -> None:
        """Use changed preferences for the controls that have the values of the former ones."""
        former, self.defaults = self.defaults, defaults
        with self.changed.blocked():
            self.codec.reset_choices()
            workers = self.workers.value
            self.workers.reset_choices()
            if workers == (former.workers or 0):
                self.workers.value = defaults.workers or 0
            if self.format.value == former.format:
                self.format.value = defaults.format
        self.changed.emit(self)

    def list_images(self, titles: Sequence[str]) -> None:
        """Offer the images of a store for a choice, unless there is just one."""
        chosen = self.image.value
        with self.image.changed.blocked():
            self.images = tuple(titles)
            self.image.reset_choices()
            if titles:
                self.image.value = chosen if chosen in self.image.choices else 0
        self._show_source()

    def await_offer(self) -> None:
        """Remember the controls that the next offer sets; what is changed until then is kept."""
        self._before = {name: getattr(self, name).value for name in _OFFERED}

    def offer(self, offer: Offer) -> None:
        """Set what depends on the image: methods, axes, voxel size, where it can be stored.

        The other controls keep their values, and so do these if they were changed since
        `await_offer`.
        """
        now = {name: getattr(self, name).value for name in _OFFERED}
        changed = {name: value for name, value in now.items() if value != self._before[name]}
        with self.changed.blocked():
            self.offered, method = offer, self.method.value
            self.method.reset_choices()
            self.method.value = method if method in self.method.choices else AUTO
            for m in offer.methods:
                item = self.method.native.findText(m.name)
                tip = m.help[0].upper() + m.help[1:]
                self.method.native.setItemData(item, tip, Qt.ItemDataRole.ToolTipRole)
            self.axes.value = offer.axes
            self.voxel_size.value = self._offered_size()
            self.unit.reset_choices()
            self.unit.value = offer.unit
            for line in (self.axes, self.voxel_size):
                line.native.setPlaceholderText("as each image says" if offer.several else "")
            self.destination.mode = "d" if offer.several else "w"
            self.destination.choose_btn.text = "…"
            self.destination.set_value(offer.destination)
            if offer.not_in_place or offer.n_levels > 1:
                self.place.value = "new"
            self.place.enabled = not offer.not_in_place
            self._as_offered = {name: getattr(self, name).value for name in _OFFERED}
            if offer.not_in_place:
                changed.pop("place", None)
            for name, value in changed.items():
                if name != "unit" or value in self.unit.choices:
                    getattr(self, name).value = value
            self._show_place()
        self.say({})

    def withdraw_offer(self) -> None:
        """Clear what the last offer has set, unless it was changed since: nothing is chosen."""
        self._before = self._as_offered
        self.offer(Offer())

    def fill_in(self, choice: Choice) -> None:
        """Set the controls that a remedy may change."""
        self.place.value = "in place" if choice.destination is None else "new"
        if choice.destination is not None:
            self.destination.set_value(choice.destination)
        self.verify.value = choice.verify
        if choice.memory is not None:
            self.memory.value = f"{-(-choice.memory // 2**20)} MiB"  # never less than is needed

    def _offered_size(self) -> str:
        return ", ".join(f"{v:g}" for v in self.offered.voxel_size)

    # ---- what is wrong -------------------------------------------------------------------------

    def say(self, problems: Mapping[str, str]) -> None:
        """Show sentences under the controls that they are about, and hints under others.

        Parameters
        ----------
        problems
            Sentences by the name of the control.
        """
        hints = self._hints()
        for name, note in self.notes.items():
            if name in problems:
                note.say(problems[name], "problem")
            else:
                note.say(hints.get(name, ""))
        if any(name in problems for name in MORE):
            self.unfold(True)
        else:
            self.unfold(self._unfolded)

    def problems(self) -> dict[str, str]:
        """Return the sentences that are shown under controls, hints included."""
        return {name: note.text for name, note in self.notes.items() if note.text}

    def _lacks_unit(self) -> bool:
        """Return whether a voxel size was written, and no unit for it."""
        written = self.voxel_size.value.strip() not in ("", self._offered_size())
        return written and (self.unit.value == PIXEL or self._leaves_unit_to_several())

    def _leaves_unit_to_several(self) -> bool:
        return self.offered.several and self.unit.value == self.offered.unit

    def _hints(self) -> dict[str, str]:
        hints = {}
        if self.offered.not_in_place:
            hints["place"] = self.offered.not_in_place
        elif self.offered.n_levels > 1:
            hints["place"] = (
                f"It has {self.offered.n_levels} levels already: in place replaces them, or adds "
                "a second series."
            )
        if self.offered.asks_for_size and self.voxel_size.value == self._offered_size():
            hints["voxel_size"] = _asking_for(self.offered.sized)
        elif self.offered.n_unsized and not self.voxel_size.value.strip():
            hints["voxel_size"] = _asking_for_several(self.offered)
        elif self._lacks_unit():
            hints["voxel_size"] = "Choose the unit of these numbers too, such as µm."
        return hints

    # ---- what is chosen --------------------------------------------------------------------------

    def choice(self) -> tuple[Choice, dict[str, str]]:
        """Return the choice, and sentences on what could not be understood by control."""
        problems: dict[str, str] = {}

        def parsed(name: str, parse: Any, default: Any = None) -> Any:
            text = getattr(self, name).value.strip()
            if text.lower() in ("", AUTO):
                return default
            try:
                return parse(text)
            except SpecError as error:
                problems[name] = str(error)
                return default

        size = self.voxel_size.value.strip()
        choice = Choice(
            self._chosen_destination(),
            method=None if self.method.value == AUTO else self.method.value,
            n_levels=self.n_levels.value or None,
            chunks=parsed("chunks", lambda text: whole_numbers("chunks", text)),
            format=self.format.value,
            axes=None if self.axes.value == self.offered.axes else self.axes.value.strip() or None,
            voxel_size=None
            if size == self._offered_size()
            else parsed("voxel_size", lambda text: numbers("voxel size", text)),
            unit=None if self.unit.value == self.offered.unit else self.unit.value,
            factors=parsed("factors", lambda text: whole_numbers("factors", text)),
            shards=parsed("shards", _shards, "auto"),
            codec=self._chosen_codec(),
            workers=self.workers.value or None,
            memory=parsed("memory", in_bytes),
            scheduler=self.scheduler.value.strip() or None,
            verify=self.verify.value,
        )
        return choice, problems

    def _chosen_codec(self) -> str | None:
        """Return the codec; None leaves it to the engine, which in place takes level 0's."""
        if self.codec.value != AUTO:
            return str(self.codec.value)
        preferred = self.defaults.codec
        in_place = self.place.value == "in place"
        return None if in_place or preferred == DEFAULT_CODEC else preferred

    def _chosen_destination(self) -> str | None:
        if self.place.value == "in place":
            return None
        text = self.destination.text
        return text if self.offered.several or "://" in text else text and str(completed(text))


def _shards(text: str) -> tuple[int, ...] | None:
    return None if text.lower() == "none" else whole_numbers("shards", text)


def _asking_for(axes: Sequence[str]) -> str:
    """Return a sentence that asks for the voxel size, in the words of a microscopist."""
    named = {letter for letters, _ in _DISTANCES for letter in letters}
    wanted = [words for letters, words in _DISTANCES if set(letters) & set(axes)]
    wanted += [f"the distance along {name}" for name in axes if name not in named]
    *others, last = wanted
    listed = f"{', '.join(others)} and {last}" if others else last
    return (
        "The image does not say how large a voxel is. "
        f"Write {listed} that the microscope's software shows."
    )


def _asking_for_several(offer: Offer) -> str:
    n, total = offer.n_unsized, offer.n_images
    if n == total:
        return (
            "None of the images says how large a voxel is. Write what the microscope's software "
            "shows here if it is the same for all, or build them one by one."
        )
    do = "does" if n == 1 else "do"
    return (
        f"{n} of {total} images {do} not say how large a voxel is, and will be stored in pixels. "
        "What is written here is taken for all; build those apart to give their own."
    )
