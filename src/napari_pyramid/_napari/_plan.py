"""Plan a build from the choices in the dock widget. Reads no pixel and imports no Qt."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, cast

from napari_pyramid._napari._candidates import Candidate
from napari_pyramid._napari._preferences import options_for
from napari_pyramid.axes import Axis, clean_unit, parse_axes
from napari_pyramid.build import Build, BuildOptions, plan_build
from napari_pyramid.errors import DestinationError, PyramidError, SpecError
from napari_pyramid.layer_image import LayerImage
from napari_pyramid.plan.level import format_bytes
from napari_pyramid.words import by, counted

__all__ = ["COLUMNS", "PIXEL", "Choice", "Plan", "Totals", "corrected", "culprit"]

COLUMNS = ("level", "shape", "size", "files", "chunks", "voxel size")
PIXEL = "pixel"


@dataclass(frozen=True, slots=True)
class Choice:
    """The choices in the dock widget; None leaves a choice to the image or the engine."""

    destination: str | None
    """Path or URL of a new store; None for in place."""
    method: str | None = None
    n_levels: int | None = None
    chunks: tuple[int, ...] | None = None
    format: str = "0.5"
    axes: str | None = None
    """Names of the axes, as `parse_axes` takes them."""
    voxel_size: tuple[float, ...] | None = None
    """One number for each axis but the channel axis, see `_sized_axes`."""
    unit: str | None = None
    """Unit of all axes of space; ``"pixel"`` for none."""
    factors: tuple[int, ...] | None = None
    shards: tuple[int, ...] | Literal["auto"] | None = "auto"
    """None for no shards."""
    codec: str | None = None
    workers: int | None = None
    memory: int | None = None
    """Bytes."""
    scheduler: str | None = None
    """Address of a dask scheduler."""
    verify: bool = False
    series: str | None = None
    """In place: name of a further series of levels."""
    labels: bool | None = None
    """Whether the pixels are ids of objects; None leaves it to the image."""
    resume: bool = True
    """Whether to go on with unfinished work instead of starting over."""
    overwrite: bool = False
    """Whether to replace an existing store at the destination."""

    @property
    def build_options(self) -> BuildOptions:
        """Keywords of `plan_build` for what was chosen, but for the image and its destination."""
        chosen = {
            "method": self.method,
            "n_levels": self.n_levels,
            "chunks": self.chunks,
            "factors": self.factors,
            "codec": self.codec,
            "max_workers": self.workers,
            "memory_limit": self.memory,
            "verify": self.verify,
            "labels": self.labels,
            "resume": self.resume,
            "overwrite": self.overwrite,
        }
        shards = {} if self.shards == "auto" else {"shards": self.shards}
        given = {name: value for name, value in chosen.items() if value is not None}
        return cast("BuildOptions", {**given, **shards})


@dataclass(frozen=True, slots=True)
class Totals:
    """Memory, files and bytes that a build takes."""

    nbytes: int
    """Bytes of pixels to write, before compression."""
    n_files: int
    memory: int
    bytes_read: int
    """Bytes of pixels of level 0, which are all read."""
    n_builds: int = 1

    @classmethod
    def of(cls, plans: Iterable[Plan]) -> Totals:
        """Return the sums over builds that run one after the other."""
        builds = [plan.build for plan in plans]
        return cls(
            sum(b.nbytes for b in builds),
            sum(b.n_files for b in builds),
            max((b.peak_memory for b in builds), default=0),
            sum(b.spec.levels[0].nbytes for b in builds),
            len(builds),
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """A build that can start, with the image and the choice that it is for."""

    candidate: Candidate
    """As it was chosen."""
    choice: Choice
    image: LayerImage
    """The image with the axes, voxel size and unit that were chosen."""
    build: Build = field(repr=False)

    @classmethod
    def of(cls, candidate: Candidate, choice: Choice, executor: Any = None) -> Plan:
        """Plan the pyramid of level 0 of an image.

        Raises
        ------
        SpecError, DestinationError, LayoutError
            If the choice does not fit the image, the storage options in the preferences cannot be
            read, nothing can be stored at the destination, or another build left unfinished work
            there.
        """
        if choice.destination == "":
            raise SpecError("choose where to store the pyramid")
        image = corrected(candidate.image, choice)
        build = plan_build(
            candidate.data, choice.destination, executor=executor, **_options(image, choice)
        )
        build.check()
        if build.unfinished is not None and build.unfinished.refusal is not None:
            raise build.unfinished.refusal
        return cls(candidate, choice, image, build)

    def is_of(self, candidate: Candidate, choice: Choice) -> bool:
        """Return whether a plan for `candidate` and `choice` would be the same."""
        return self.choice == choice and self.candidate.is_same(candidate)

    def rows(self) -> list[tuple[str, ...]]:
        """Return one row per level, under `COLUMNS`."""
        return [
            (
                level.path,
                by(level.shape),
                format_bytes(level.nbytes),
                f"{level.n_files:,}",
                by(level.chunks),
                by(f"{s:.4g}" for s in level.scale),
            )
            for level in self.build.spec.levels
        ]

    def row(self) -> tuple[str, ...]:
        """Return one row for the whole pyramid, under `COLUMNS`; its name replaces a level's."""
        first = self.build.spec.levels[0]
        return (
            self.candidate.title,
            by(first.shape),
            format_bytes(self.build.nbytes),
            f"{self.build.n_files:,}",
            by(first.chunks),
            by(f"{s:.4g}" for s in first.scale),
        )

    def remarks(self) -> str:
        """Return remarks on this build in words; its memory and files are in `Totals`."""
        build, n_now = self.build, len(self.candidate.image.levels)
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
        return f"{already}{counted(n_new, 'level')}{residuals} to write{self._going_on()}."

    def summary(self) -> str:
        """Return in one line what will be written: levels, bytes, files, and the memory needed."""
        build = self.build
        return (
            f"{self.remarks().removesuffix('.')}: {format_bytes(build.nbytes)} before compression, "
            f"at most {build.n_files:,} files; {format_bytes(build.peak_memory)} of memory"
        )

    def _going_on(self) -> str:
        left = self.build.unfinished
        if left is None or left.action != "resume":
            return ""
        done = f"{left.done:,} of {left.total:,} regions done"
        return f". Goes on where an earlier build stopped: {done}"


def _options(image: LayerImage, choice: Choice) -> dict[str, Any]:
    place: dict[str, Any] = {"format": choice.format}
    if choice.destination is None:
        place = {"in_place": True, "series": choice.series}
    elif (options := options_for(choice.destination)) is not None:
        place["storage_options"] = options
    return {**image.build_options, **place, **choice.build_options}


def corrected(image: LayerImage, choice: Choice) -> LayerImage:
    """Return the image with the axes, the voxel size and the unit that were chosen.

    Raises
    ------
    SpecError
        If their number is not the number of axes, or a voxel has no size.
    """
    axes, scale = image.axes, image.scale
    if choice.axes is not None:
        units = {a.name: a.unit for a in axes}
        named = parse_axes(choice.axes, len(axes))
        axes = tuple(replace(a, unit=units.get(a.name)) for a in named)
        scale = tuple(1.0 if a.type == "channel" else s for a, s in zip(axes, scale, strict=True))
    if choice.unit is not None:
        unit = clean_unit(choice.unit)
        axes = tuple(replace(a, unit=unit) if a.is_spatial else a for a in axes)
    if choice.voxel_size is not None:
        scale = _scale(axes, choice.voxel_size)
    channels, count = image.channels, _n_channels(axes, image.levels[0].shape)
    if axes != image.axes and len(channels) != count:
        channels = ()
    return replace(image, axes=axes, scale=scale, channels=channels)


def _sized_axes(axes: Sequence[Axis]) -> list[str]:
    """Return the names of the axes that samples have a distance along: all but channels."""
    return [a.name for a in axes if a.type != "channel"]


def _scale(axes: Sequence[Axis], given: Sequence[float]) -> tuple[float, ...]:
    names = _sized_axes(axes)
    if len(given) != len(names):
        raise SpecError(
            f"voxel size {by(f'{v:g}' for v in given)} has {len(given)} numbers: write "
            f"{len(names)}, for {', '.join(names)}"
        )
    if not all(math.isfinite(v) and v > 0 for v in given):
        raise SpecError(f"voxel size {by(f'{v:g}' for v in given)}: each number must be above 0")
    sizes = iter(given)
    return tuple(1.0 if a.type == "channel" else next(sizes) for a in axes)


def _n_channels(axes: Sequence[Axis], shape: Sequence[int]) -> int:
    return next((n for a, n in zip(axes, shape, strict=True) if a.type == "channel"), 1)


_MAY_BE_WRONG = (
    *("axes", "voxel_size", "unit", "codec", "shards", "factors", "chunks", "n_levels", "method"),
    *("memory", "workers", "format", "verify", "series", "labels"),
)
"""Choices that can be left out, in the order in which they are suspected."""


def culprit(candidate: Candidate, choice: Choice, error: PyramidError) -> str | None:
    """Return the field of `Choice` that an error of `Plan.of` is about, or None.

    That is the choice without which the build can be planned, else where the pyramid is stored.
    """
    if choice.destination == "":
        return "destination"
    defaults: dict[str, Any] = {f.name: f.default for f in fields(Choice)}
    for name in _MAY_BE_WRONG:
        if getattr(choice, name) == defaults[name]:
            continue
        try:
            Plan.of(candidate, replace(choice, **{name: defaults[name]}))
        except DestinationError as other:
            if type(error) is DestinationError and str(other) == str(error):
                continue
        except PyramidError:
            continue
        return name
    if not isinstance(error, DestinationError):
        return None
    return "place" if choice.destination is None else "destination"
