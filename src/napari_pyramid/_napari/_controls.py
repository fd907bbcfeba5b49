"""Make the controls of the form, with their choices, in their order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Literal

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    LineEdit,
    PushButton,
    Select,
    Widget,
)
from napari.layers import Image, Labels

from napari_pyramid._napari._control_texts import texts
from napari_pyramid._napari._fields import Note, PlaceEdit, shrinks
from napari_pyramid._napari._offer import Offer
from napari_pyramid._napari._plan import PIXEL
from napari_pyramid._napari._preferences import build_defaults

__all__ = ["AUTO", "MORE", "Controls", "SourceKind"]

SourceKind = Literal["layer", "channels", "path", "folder"]
AUTO = "auto"
_SOURCES: tuple[tuple[str, SourceKind], ...] = (
    ("a layer", "layer"),
    ("several layers, as channels", "channels"),
    ("a file, folder or URL", "path"),
    ("all images in a folder", "folder"),
)
_UNITS = (
    *(("µm", "micrometer"), ("nm", "nanometer"), ("Å", "angstrom"), ("mm", "millimeter")),
    *(("cm", "centimeter"), ("m", "meter"), ("pixels", PIXEL)),
)
_CODECS = (
    ("fast (blosc-zstd-1)", "blosc-zstd-1"),
    ("smaller (blosc-zstd-5)", "blosc-zstd-5"),
    ("smallest (zstd-15)", "zstd-15"),
    ("gzip, read by any program", "gzip-5"),
    ("none", "none"),
)
_FORMATS = (("OME-Zarr 0.5 (zarr v3)", "0.5"), ("OME-Zarr 0.4 (zarr v2)", "0.4"))
MORE = ("format", "codec", "factors", "shards", "workers", "memory", "scheduler", "verify")


class Controls(Container[Widget]):
    """The controls of a build, each followed by a note.

    Parameters
    ----------
    viewer
        Viewer whose layers are offered; None offers files only.
    """

    def __init__(self, viewer: Any = None) -> None:
        self._viewer = viewer
        self.offered = Offer()
        self.defaults = build_defaults()
        self.images: tuple[str, ...] = ()
        self._make_source()
        self._make_place()
        self._make_pyramid()
        self._make_more()
        self.notes = {
            name: Note(f"{name}_note")
            for name in (
                *("layer", "layers", "path", "folder", "axes", "voxel_size", "place"),
                *("destination", "method", "n_levels", "chunks", *MORE),
            )
        }
        super().__init__(widgets=list(self._rows()), labels=True)
        self.margins = (0, 0, 0, 0)
        self.axes.label = "Axes"  # a change of a label makes magicgui align all of them
        active = None if viewer is None else viewer.layers.selection.active
        if active in self.layer.choices:
            self.layer.value = active
        self.native.layout().setSpacing(4)
        for combo in self._combos():
            shrinks(combo.native)
        for control in vars(self).values():
            if (
                isinstance(control, Widget) and control is not self.layers
            ):  # else a low window would squeeze the rows
                control.native.setMinimumHeight(control.native.sizeHint().height())
        self.layers.native.setMaximumHeight(90)

    def _make_source(self) -> None:
        self.source = ComboBox(
            choices=_SOURCES, value="layer" if self._layers(None) else "path", **texts("source")
        )
        self.layer = ComboBox(choices=self._layers, **texts("layer"))
        self.layers = Select(choices=self._image_layers, **texts("layers"))
        self.path = PlaceEdit("r", folders=True, **texts("path"))
        self.folder = PlaceEdit("d", **texts("folder"))
        self.image = ComboBox(
            choices=lambda _: [(title, i) for i, title in enumerate(self.images)], **texts("image")
        )
        self.axes = LineEdit(**texts("axes"))
        self.voxel_size = LineEdit(**texts("voxel_size"))
        self.unit = ComboBox(choices=self._unit_choices, **texts("unit"))
        self.size = Container(
            widgets=[self.voxel_size, self.unit],
            layout="horizontal",
            labels=False,
            name="size",
            label="Voxel size",
        )
        self.size.margins = (0, 0, 0, 0)
        self.unit.native.setMaximumWidth(90)

    def _make_place(self) -> None:
        self.place = ComboBox(
            choices=[("as a new store", "new"), ("beside the data (in place)", "in place")],
            **texts("place"),
        )
        self.destination = PlaceEdit(
            "w", filter="OME-Zarr (*.ome.zarr *.zarr)", **texts("destination")
        )

    def _make_pyramid(self) -> None:
        self.method = ComboBox(choices=self._method_choices, **texts("method"))
        self.n_levels = ComboBox(
            choices=[(AUTO, 0), ("1 (no coarser ones)", 1), *((str(n), n) for n in range(2, 21))],
            **texts("n_levels"),
        )
        self.chunks = LineEdit(**texts("chunks"))
        self.more = PushButton(name="more", text="More options")
        self.more.native.setFlat(True)

    def _make_more(self) -> None:
        self.format = ComboBox(choices=_FORMATS, value=self.defaults.format, **texts("format"))
        self.codec = ComboBox(choices=self._codec_choices, **texts("codec"))
        self.factors = LineEdit(**texts("factors"))
        self.shards = LineEdit(**texts("shards"))
        self.workers = ComboBox(
            choices=self._worker_choices, value=self.defaults.workers or 0, **texts("workers")
        )
        self.memory = LineEdit(**texts("memory"))
        self.scheduler = LineEdit(**texts("scheduler"))
        self.verify = CheckBox(text="Verify", **texts("verify"))
        for line in (self.chunks, self.factors, self.shards, self.memory):
            line.native.setPlaceholderText(AUTO)
        self.scheduler.native.setPlaceholderText("this machine")

    def _rows(self) -> Iterator[Widget]:
        """Yield the controls from top to bottom, each followed by its note."""
        for name in (
            *("source", "layer", "layers", "path", "folder", "image", "axes", "size", "place"),
            *("destination", "method", "n_levels", "chunks", "more", *MORE),
        ):
            yield getattr(self, name)
            note = self.notes.get("voxel_size" if name == "size" else name)
            if note is not None:
                yield note

    def _combos(self) -> list[ComboBox]:
        return [w for w in vars(self).values() if isinstance(w, ComboBox)]

    # ---- choices of the combo boxes --------------------------------------------------------------

    def _layers(self, _: Any) -> list[tuple[str, Any]]:
        layers = self._viewer.layers if self._viewer is not None else ()
        return [(v.name, v) for v in layers if isinstance(v, Image | Labels)]

    def _image_layers(self, _: Any) -> list[tuple[str, Any]]:
        return [(name, v) for name, v in self._layers(None) if isinstance(v, Image) and not v.rgb]

    def _method_choices(self, _: Any) -> list[tuple[str, str | None]]:
        auto = f"{AUTO} ({self.offered.method})" if self.offered.method else AUTO
        return [(auto, AUTO), *((m.name, m.name) for m in self.offered.methods)]

    def _codec_choices(self, _: Any) -> list[tuple[str, str]]:
        return [(f"{AUTO} ({self.defaults.codec})", AUTO), *_CODECS]

    def _worker_choices(self, _: Any) -> list[tuple[str, int]]:
        most = max(2 * (os.cpu_count() or 1), self.defaults.workers or 0)
        return [(AUTO, 0), *((str(n), n) for n in range(1, most + 1))]

    def _unit_choices(self, _: Any) -> list[tuple[str, str]]:
        unit = self.offered.unit
        known = unit in {value: text for text, value in _UNITS}
        return [*_UNITS, *(() if known else ((unit, unit),))]
