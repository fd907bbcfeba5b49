"""Plan a build from the choices in the dock widget. Reads no pixel and imports no Qt."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_pyramid.axes import default_axes
from napari_pyramid.build import Build, plan_build
from napari_pyramid.build.source import directory_of
from napari_pyramid.errors import SpecError
from napari_pyramid.image import Image
from napari_pyramid.layer_image import LayerImage
from napari_pyramid.plan.level import format_bytes

__all__ = [
    "COLUMNS",
    "Choice",
    "Plan",
    "in_place_directory",
    "layer_image_of",
    "suggested_destination",
]

_PACKAGE = Path(__file__).parents[1]
"""Folder of the package, which holds the sample data."""
COLUMNS = ("level", "shape", "size", "files", "chunks", "voxel size")


@dataclass(frozen=True, slots=True)
class Choice:
    """The choices in the dock widget; None leaves a choice to the engine."""

    destination: str | None
    """Path of a new store; None for in place."""
    method: str | None = None
    n_levels: int | None = None
    chunks: tuple[int, ...] | None = None
    format: str = "0.5"
    resume: bool = True
    """Whether to go on with unfinished work instead of starting over."""
    overwrite: bool = False
    """Whether to replace an existing store at the destination."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A build that can start, with the image and the choice that it is for."""

    image: LayerImage
    choice: Choice
    build: Build

    @classmethod
    def of(cls, image: LayerImage, choice: Choice) -> Plan:
        """Plan the pyramid of level 0 of `image`.

        Raises
        ------
        SpecError, DestinationError
            If the choice does not fit the image, nothing can be stored at the destination, or
            another build left unfinished work there.
        """
        if choice.destination == "":
            raise SpecError("choose where to store the pyramid")
        build = plan_build(image.levels[0], choice.destination, **_options(image, choice))
        build.check()
        if build.unfinished is not None and build.unfinished.refusal is not None:
            raise build.unfinished.refusal
        return cls(image, choice, build)

    def is_of(self, image: LayerImage, choice: Choice) -> bool:
        """Return whether a plan for `image` and `choice` would be the same."""
        ours, theirs = self.image.levels, image.levels
        return (
            self.choice == choice
            and len(ours) == len(theirs)
            and all(a is b for a, b in zip(ours, theirs, strict=True))
            and replace(self.image, levels=()) == replace(image, levels=())
        )

    def rows(self) -> list[tuple[str, ...]]:
        """One row per level under `COLUMNS`."""
        return [
            (
                level.path,
                _by(level.shape),
                format_bytes(level.nbytes),
                f"{level.n_files:,}",
                _by(level.chunks),
                _by(f"{s:.4g}" for s in level.scale),
            )
            for level in self.build.spec.levels
        ]

    def summary(self) -> str:
        """Return in words what will be written: levels, bytes, files, and the memory needed."""
        build, n_now = self.build, len(self.image.levels)
        already = (
            f"It has {n_now} levels already; Build makes new ones of level 0. " if n_now > 1 else ""
        )
        if len(build.spec.levels) == 1 and self.choice.n_levels is None:
            return (
                f"{already}Small enough as it is: one level shows all of it at once. "
                "Choose a number of levels to build more."
            )
        n_new = len(build.written_levels) - len(build.spec.residuals)
        residuals = " and their residuals" * bool(build.spec.residuals)
        return (
            f"{already}{n_new} level{'s' * (n_new != 1)}{residuals} to write: "
            f"{format_bytes(build.nbytes)} before compression, at most {build.n_files:,} files; "
            f"{format_bytes(build.peak_memory)} of memory{self._going_on()}"
        )

    def _going_on(self) -> str:
        left = self.build.unfinished
        if left is None or left.action != "resume":
            return ""
        done = f"{left.done:,} of {left.total:,} regions done"
        return f". Goes on where an earlier build stopped: {done}"


def _options(image: LayerImage, choice: Choice) -> dict[str, Any]:
    chosen: Mapping[str, Any] = {
        "method": choice.method,
        "n_levels": choice.n_levels,
        "chunks": choice.chunks,
        "resume": choice.resume,
        "overwrite": choice.overwrite,
    }
    place = {"in_place": True} if choice.destination is None else {"format": choice.format}
    return {
        **image.build_options,
        **place,
        **{k: v for k, v in chosen.items() if v is not None},
    }


def _by(values: Any) -> str:
    return "×".join(str(v) for v in values)


def layer_image_of(image: Image) -> LayerImage:
    """Return an image of a store as the `LayerImage` of a layer that shows it."""
    first = image.levels[0]
    ndim = len(first.array.shape)
    return LayerImage(
        image.name,
        tuple(level.array for level in image.levels),
        image.kind,
        image.axes or default_axes(ndim),
        first.scale or (1.0,) * ndim,
        first.translation or (0.0,) * ndim,
        image.channels,
        image.label_colors,
        image.label_properties,
    )


def in_place_directory(image: LayerImage) -> Path | None:
    """Return the directory of the image's only level, or None.

    None if there are several levels, or the level is not a zarr array on this machine's disk.
    """
    return directory_of(image.levels[0]) if len(image.levels) == 1 else None


def suggested_destination(name: str, source: str | None) -> str:
    """Return a free path for a new store.

    The path is beside `source` if that is a local path outside of this package, else in the home
    folder.
    """
    beside = Path.home()
    if source and "://" not in source and Path(source).exists():
        folder = Path(source).absolute().parent
        beside = (
            beside if folder.is_relative_to(_PACKAGE) or not os.access(folder, os.W_OK) else folder
        )
    stem = re.sub(r"[^\w.\-]+", "_", name).strip("._") or "image"
    candidate, n = beside / f"{stem}.ome.zarr", 2
    while candidate.exists():
        candidate, n = beside / f"{stem}_{n}.ome.zarr", n + 1
    return str(candidate)
