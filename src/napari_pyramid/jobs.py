"""Prepares a build: source, spec, target and passes, checked against each other before anything is written."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from napari_pyramid.blocks import Blocks
from napari_pyramid.contrast import channel_windows
from napari_pyramid.downsample import gaussian_radius, is_gaussian, method_name
from napari_pyramid.errors import DestinationError, SpecError
from napari_pyramid.layouts import open_images
from napari_pyramid.layouts._image import Channel
from napari_pyramid.layouts.ome_zarr_write import ZARR_FORMAT, Description, Version
from napari_pyramid.memory import peak_of
from napari_pyramid.pyramid import Pyramid
from napari_pyramid.regions import Pass, Region
from napari_pyramid.schedule import Source, plan_passes
from napari_pyramid.sources import BuildSource, reordered, resolve_source
from napari_pyramid.spec import PyramidSpec
from napari_pyramid.targets import InPlace, NewStore, Target, level_paths, open_level
from napari_pyramid.worker import Reader, ResidualFiller, TileFiller
from napari_pyramid.workspace import fingerprint, is_zarr

__all__ = ["Job", "prepare_job"]

PIXELS_VERSION = 1
"""Changes whenever the same recipe would give other bytes: older unfinished work is then not continued."""


@dataclass(frozen=True)
class Job:
    """A build that can be begun."""

    source: BuildSource
    spec: PyramidSpec
    target: Target
    passes: tuple[Pass, ...]
    channels: tuple[Channel, ...] = ()
    label_colors: Mapping[int, tuple[int, int, int, int]] | None = None
    label_properties: tuple[Mapping[str, Any], ...] = ()
    resume: bool = True
    verify: bool = False
    skip_unreadable: bool = False
    updates: bool = False
    """Levels that exist are changed where they are."""

    @property
    def n_tiles(self) -> int:
        return sum(p.n_tiles for p in self.passes)

    @property
    def peak_memory(self) -> int:
        """Predicted bytes at the peak, beyond the interpreter."""
        blocks = [Source.of(a).block or (1,) * self.spec.ndim for a in self.source.arrays]
        return peak_of(self.passes, self.spec, blocks)

    @property
    def recipe(self) -> dict[str, Any]:
        """What is recorded of how the levels were made; the same for every run of the same build."""
        recipe: dict[str, Any] = {"method": method_name(self.spec.method), "version": version("napari-pyramid")}
        if not self.keeps_levels:
            recipe["factors"] = [list(level.factors) for level in self.spec.levels[1:]]
        if self.spec.ignore_background:
            recipe["ignore_background"] = True
        return recipe

    @property
    def keeps_levels(self) -> bool:
        """The levels are copied from those of an existing pyramid."""
        return len(self.source.arrays) > 1

    @property
    def can_resume(self) -> bool:
        """Whether the source can be told from another: arrays in memory cannot."""
        return self.source.identity is not None and not (callable(self.spec.method) and "<" in method_name(self.spec.method))

    @cached_property
    def fingerprint(self) -> str:
        levels = [[v.path, v.shape, v.factors, v.scale, v.translation, v.chunks, v.shards, str(v.dtype)] for v in self.spec.levels]
        return fingerprint(
            {
                "pixels": PIXELS_VERSION,
                "recipe": self.recipe,
                "levels": levels,
                "axes": [repr(a) for a in self.spec.axes],
                "name": self.spec.name,
                "kind": self.spec.kind,
                "target": self.target.identity(),
                "source": self.source.identity,
                "passes": [[p.first, p.last, p.tile] for p in self.passes],
                "skip_unreadable": self.skip_unreadable,
            }
        )

    # ---- pixels ------------------------------------------------------------------------------------------------------

    def reader(self, p: Pass, check: Callable[[], None]) -> Reader:
        array = self.source.arrays[p.source] if p.source is not None else open_level(self.level_directory(p.reads), writable=False)
        return Reader(array, codec_threads=p.codec_threads, check=check)

    def filler(self, p: Pass, check: Callable[[], None]) -> TileFiller | ResidualFiller:
        """What fills the tiles of one pass."""
        if p.residual:
            residual = open_level(self.target.residual_directory(self.spec, p.first), writable=True)
            return ResidualFiller(p, self.reader(p, check), Blocks(residual, codec_threads=1 if residual.shards else p.codec_threads, check=check))
        opened = {k: open_level(self.level_directory(k), writable=True) for k in range(p.first, p.last + 1)}
        return TileFiller(
            p,
            self.reader(p, check),
            # several threads put the chunks of a shard in the order in which they end: never the same bytes twice
            {k: Blocks(a, codec_threads=1 if a.shards else p.codec_threads, check=check) for k, a in opened.items()},
            method=self.spec.method,
            ignore_background=self.spec.ignore_background,
            rereads=not self.target.template.is_lossless,
            skip_unreadable=self.skip_unreadable,
            skips_absent=not self.updates,
            check=check,
        )

    def level_directory(self, k: int) -> Path:
        if self.updates:
            return self.target.directory / self.spec.levels[k].path
        return self.target.level_directory(self.spec, k)

    def is_intact(self) -> bool:
        return self.updates or self.target.workspace.is_intact()

    def affected(self, region: Region, p: Pass) -> Region:
        """What `region` of level 0 changes in the level that a pass reads, as far as the method looks."""
        out = []
        for axis, s in enumerate(region):
            start, stop, _ = s.indices(self.spec.levels[0].shape[axis])
            for k in range(1, p.reads + 1):
                f = self.spec.levels[k].factors[axis]
                reach = gaussian_radius(f) if is_gaussian(self.spec.method) else 0
                start, stop = (start - reach) // f, -(-(stop + reach) // f)
            reach = self._reach(p, axis)
            out.append(slice(max(0, start - reach), min(self.spec.levels[p.reads].shape[axis], stop + reach)))
        return tuple(out)

    def _reach(self, p: Pass, axis: int) -> int:
        """How far beyond a sample of the level read a pass looks."""
        k = p.first if p.residual else p.reads + 1
        return gaussian_radius(self.spec.levels[k].factors[axis]) if is_gaussian(self.spec.method) and k <= p.last else 0

    # ---- metadata ----------------------------------------------------------------------------------------------------

    def refuse_existing(self) -> None:
        self.target.refuse_existing()
        if isinstance(self.target, InPlace):
            self.target.refuse_taken([level.path for level in (*self.spec.levels[1:], *self.spec.residuals)])

    def describe(self, unreadable: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """All that the metadata will say and that has to be computed, as JSON: kept until it is published."""
        recipe = {**self.recipe, **({"unreadable": list(unreadable)} if unreadable else {})}
        if self.spec.kind == "labels":
            return {"recipe": recipe, "channels": [], "ranges": []}
        coarsest = open_level(self.level_directory(len(self.spec.levels) - 1), writable=False)
        windows, ranges = channel_windows(coarsest, self.spec.axes)
        given = self.channels or tuple(Channel() for _ in windows)
        channels = [replace(c, window=c.window or w) for c, w in zip(given, windows, strict=False)]
        return {"recipe": recipe, "channels": [[c.name, c.color, c.window, c.visible] for c in channels], "ranges": [list(r) for r in ranges]}

    def publish(self, described: Mapping[str, Any]) -> None:
        """Makes the pyramid visible; can be repeated."""
        description = Description(
            recipe=described["recipe"],
            channels=tuple(Channel(name, color, tuple(window) if window else None, visible) for name, color, window, visible in described["channels"]),
            ranges=tuple((low, high) for low, high in described["ranges"]),
            label_colors=self.label_colors or {},
            label_properties=self.label_properties,
        )
        self.target.publish(self.spec, description)

    def opened(self) -> Pyramid:
        """The published pyramid."""
        images = open_images(self.target.directory)
        paths = [level.path for level in self.spec.levels]
        return Pyramid(next((i for i in images if [level.path for level in i.levels] == paths), images[0]))


def prepare_job(
    source: Any,
    destination: Any = None,
    spec: PyramidSpec | None = None,
    *,
    in_place: bool = False,
    format: Version | None = None,
    image: str | None = None,
    series: str | None = None,
    overwrite: bool = False,
    resume: bool = True,
    max_workers: int | None = None,
    memory_limit: int | None = None,
    channels: Sequence[Channel] = (),
    label_colors: Mapping[int, tuple[int, int, int, int]] | None = None,
    label_properties: Sequence[Mapping[str, Any]] = (),
    verify: bool = False,
    skip_unreadable: bool = False,
    updates: bool = False,
    only_plan: bool = False,
    **options: Any,
) -> Job:
    """A job from the arguments of `iter_build`, which see; nothing is written.

    Raises
    ------
    SpecError, LayoutError, DestinationError
        If the arguments do not fit each other, the source, or what is at the destination.
    """
    found = resolve_source(source, name=image)
    if format is not None and format not in ZARR_FORMAT:
        raise SpecError(f"format {format!r} cannot be written: use 0.5 (zarr v3) or 0.4 (zarr v2)")
    if spec is None:
        found, options = reordered(found, {**found.options(), **_given(options)})
    elif options:
        raise SpecError(f"{', '.join(sorted(options))}: given beside a spec; put them into the spec")
    target: Target
    if in_place or updates:
        if destination is not None:
            raise SpecError("a destination and in_place: give one of them")
        target = InPlace.beside(found, codec=spec.codec if spec else options.get("codec"), series=series, overwrite=overwrite or updates)
        spec = _spec_beside(found, target, spec, options)
    else:
        if destination is None and not only_plan:
            raise SpecError("no destination: give a path, or build in place")
        if destination is not None and _is_same_store(destination, found):
            raise DestinationError(f"{destination} is the source: build in place (--in-place), or choose a destination elsewhere")
        spec = spec or _spec_of(found, {**_of_labelled_image(destination, found), **options}, format or "0.5")
        target = NewStore.at(Path(destination or "plan.ome.zarr"), spec, format or "0.5", found, overwrite=overwrite)
    if not spec.name and isinstance(target, NewStore):
        spec = replace(spec, name=_stem(target.directory))
    _check_fit(spec, found)
    sources = [Source.of(a, is_level_0=isinstance(target, InPlace)) for a in found.arrays]
    passes = plan_passes(spec, sources, max_workers=max_workers, memory_limit=memory_limit)
    known = found.image
    job = Job(
        source=found,
        spec=spec,
        target=target,
        passes=passes,
        channels=tuple(channels) or (known.channels if known is not None else ()),
        label_colors=label_colors if label_colors is not None else (known.label_colors if known is not None else None),
        label_properties=tuple(label_properties) or (known.label_properties if known is not None else ()),
        resume=resume,
        verify=verify,
        skip_unreadable=skip_unreadable,
        updates=updates,
    )
    for level in spec.levels[target.first :]:
        target.template.of_level(level, ())  # refuses shards in zarr v2
    if not only_plan and not updates and not (resume and target.workspace.state):
        job.refuse_existing()
    return job


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that say something; None means what it means when left out (but for shards, where it means none)."""
    return {k: v for k, v in options.items() if v is not None or k == "shards"}


def _of_labelled_image(destination: Any, source: BuildSource) -> dict[str, Any]:
    """Axes and transform of the image that a label image is added to, if it has the label image's shape but for channels."""
    labels = Path(destination or "").parent
    if labels.name != "labels" or not is_zarr(labels.parent):
        return {}
    image = next((i for i in open_images(labels.parent) if i.kind == "image" and not i.path), None)
    if image is None or image.axes is None or image.levels[0].scale is None:
        return {}
    level = image.levels[0]
    shown = [i for i, a in enumerate(image.axes) if a.type != "channel"]
    if tuple(level.array.shape[i] for i in shown) != tuple(source.arrays[0].shape):
        return {}
    known = {"scale": level.scale, "translation": level.translation}
    return {"axes": [image.axes[i] for i in shown], **{k: [v[i] for i in shown] for k, v in known.items() if v is not None}}


def _stem(directory: Path) -> str:
    """Name of a store without its suffixes."""
    name = directory.name
    for suffix in (".zarr", ".ome"):
        name = name.removesuffix(suffix)
    return name


def _is_same_store(destination: Any, source: BuildSource) -> bool:
    """The destination is the group that level 0 sits in."""
    return any(d is not None and Path(destination).resolve() in (d.resolve(), d.resolve().parent) for d in map(_directory, source.arrays))


def _directory(array: Any) -> Path | None:
    from napari_pyramid.sources import directory_of

    return directory_of(getattr(array, "array", array))


def _spec_of(source: BuildSource, options: dict[str, Any], version: Version) -> PyramidSpec:
    if version == "0.4":
        options = {"shards": None, **options}
    if len(source.arrays) > 1:
        return PyramidSpec.from_levels(source.arrays, **options)
    return PyramidSpec.from_array(source.arrays[0], **options)


def _spec_beside(source: BuildSource, target: InPlace, spec: PyramidSpec | None, options: dict[str, Any]) -> PyramidSpec:
    """Spec of the levels beside level 0: with its chunks and shards unless told otherwise, named after it."""
    level_0 = source.arrays[0]
    if spec is None:
        grid = {"chunks": level_0.chunks, "shards": level_0.shards}
        spec = PyramidSpec.from_array(level_0, **{**grid, **options})
    paths = level_paths(target.base, len(spec.levels), target.series)
    levels = [replace(level, path=path) for level, path in zip(spec.levels, paths, strict=True)]
    levels[0] = replace(levels[0], chunks=tuple(level_0.chunks), shards=level_0.shards)
    return replace(spec, levels=tuple(levels))


def _check_fit(spec: PyramidSpec, source: BuildSource) -> None:
    """
    Raises
    ------
    SpecError
        If a spec was made for another array, or has a level that is no smaller than the one before: no reader shows it.
    """
    for array, level in zip(source.arrays, spec.levels, strict=False):
        if tuple(array.shape) != level.shape or np.dtype(array.dtype) != spec.dtype:
            raise SpecError(f"the spec is of {level.shape} {spec.dtype}, but the source is {tuple(array.shape)} {array.dtype}: make the spec from it")
    for k, (fine, coarse) in enumerate(itertools.pairwise(spec.levels), start=1):
        if len(source.arrays) == 1 and coarse.shape == fine.shape:
            raise SpecError(f"level {k} would be no smaller than level {k - 1}: factors {coarse.factors} do not reduce {fine.shape}; ask for fewer levels")


