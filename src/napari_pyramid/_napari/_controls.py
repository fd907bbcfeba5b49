"""Make the controls of the form: their choices, labels and tooltips, in their order."""

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
            name="source",
            label="Build from",
            choices=_SOURCES,
            value="layer" if self._layers(None) else "path",
            tooltip="What to make a pyramid of",
        )
        self.layer = ComboBox(
            name="layer",
            label="Layer",
            choices=self._layers,
            tooltip="The image or labels to build; the layer shows the pyramid afterwards",
        )
        self.layers = Select(
            name="layers",
            label="Channels",
            choices=self._image_layers,
            tooltip="Hold Ctrl to choose several layers; each becomes a channel of one image",
        )
        self.path = PlaceEdit(
            "r",
            folders=True,
            name="path",
            label="Path or URL",
            tooltip="A TIFF, zarr, N5 or other image that need not be open: a file, a folder, "
            "or an address such as https://… or s3://…",
        )
        self.folder = PlaceEdit(
            "d",
            name="folder",
            label="Folder",
            tooltip="Each image in this folder that lacks coarser levels is built in turn",
        )
        self.image = ComboBox(
            name="image",
            label="Which",
            choices=lambda _: [(title, i) for i, title in enumerate(self.images)],
            tooltip="The file holds several images",
        )
        self.axes = LineEdit(
            name="axes",
            tooltip="One letter for each axis, slowest first: t time, c channel, z slices, "
            "y rows, x columns",
        )
        self.voxel_size = LineEdit(
            name="voxel_size",
            tooltip="Distance between neighbouring voxels along each axis, such as 2, 0.5, 0.5",
        )
        self.unit = ComboBox(
            name="unit", choices=self._unit_choices, tooltip="Unit of the voxel size"
        )
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
            name="place",
            label="Store",
            choices=[("as a new store", "new"), ("beside the data (in place)", "in place")],
            tooltip="A new store holds all levels; in place adds the coarser levels to the store "
            "that holds the image, which stays as it is",
        )
        self.destination = PlaceEdit(
            "w",
            filter="OME-Zarr (*.ome.zarr *.zarr)",
            name="destination",
            label="To",
            tooltip="Path of the new store, or a bucket's address such as s3://bucket/name.ome.zarr",
        )

    def _make_pyramid(self) -> None:
        self.method = ComboBox(
            name="method",
            label="Method",
            choices=self._method_choices,
            tooltip="How several voxels become one of the next level",
        )
        self.n_levels = ComboBox(
            name="n_levels",
            label="Levels",
            choices=[(AUTO, 0), ("1 (no coarser ones)", 1), *((str(n), n) for n in range(2, 21))],
            tooltip="How many resolutions, the full one included",
        )
        self.chunks = LineEdit(
            name="chunks",
            label="Chunks",
            tooltip="Size of the blocks that are stored and read together, one length for each "
            "axis, such as 64, 128, 128",
        )
        self.more = PushButton(name="more", text="More options")
        self.more.native.setFlat(True)

    def _make_more(self) -> None:
        self.format = ComboBox(
            name="format",
            label="Format",
            choices=_FORMATS,
            value=self.defaults.format,
            tooltip="0.5 is current; 0.4 is read by older programs",
        )
        self.codec = ComboBox(
            name="codec",
            label="Codec",
            choices=[(f"{AUTO} ({self.defaults.codec})", AUTO), *_CODECS],
            tooltip="How blocks are compressed, without loss; auto is the codec in the "
            "preferences, and in place the codec of the image",
        )
        self.factors = LineEdit(
            name="factors",
            label="Factors",
            tooltip="How much smaller each level is than the one before, one number for each "
            "axis, such as 1, 2, 2; auto keeps voxels as cubic as it can",
        )
        self.shards = LineEdit(
            name="shards",
            label="Shards",
            tooltip="Size of the files that hold many blocks each, one length for each axis; "
            "none stores a file for each block",
        )
        most = max(2 * (os.cpu_count() or 1), self.defaults.workers or 0)
        self.workers = ComboBox(
            name="workers",
            label="Threads",
            choices=[(AUTO, 0), *((str(n), n) for n in range(1, most + 1))],
            value=self.defaults.workers or 0,
            tooltip="How many blocks are computed at a time; auto is one for each processor",
        )
        self.memory = LineEdit(
            name="memory",
            label="Memory",
            tooltip="The most memory to use, such as 2 GB; auto is a quarter of what is free, "
            "and at most 4 GiB",
        )
        self.scheduler = LineEdit(
            name="scheduler",
            label="Cluster",
            tooltip="Address of a dask scheduler, such as tcp://10.0.0.5:8786; empty builds on "
            "this machine",
        )
        self.verify = CheckBox(
            name="verify",
            text="Verify",
            tooltip="Read every level again and compare, before the pyramid is published",
        )
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

    def _unit_choices(self, _: Any) -> list[tuple[str, str]]:
        unit = self.offered.unit
        known = unit in {value: text for text, value in _UNITS}
        return [*_UNITS, *(() if known else ((unit, unit),))]
