"""Makes a job from the arguments of `iter_build`: everything is checked here, before anything is written."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_pyramid.errors import DestinationError, SpecError
from napari_pyramid.build.in_place import InPlace, level_paths, undo_unfinished
from napari_pyramid.build.job import Job
from napari_pyramid.layouts import open_images
from napari_pyramid.image import Channel
from napari_pyramid.storage.node import UNSAFE_PATH
from napari_pyramid.metadata.ome_zarr import ZARR_FORMAT, Version
from napari_pyramid.plan.level import format_bytes
from napari_pyramid.plan.memory import default_limit
from napari_pyramid.build.new_store import NewStore, is_label_place
from napari_pyramid.plan.schedule import Source, plan_passes, planned_passes
from napari_pyramid.build.source import BuildSource, directory_of, reordered, resolve_source
from napari_pyramid.plan.spec import PyramidSpec
from napari_pyramid.build.update import stored_pyramid
from napari_pyramid.build.targets import Target

__all__ = ["prepare_job"]


def prepare_job(
    source: Any,
    destination: Any = None,
    spec: PyramidSpec | None = None,
    *,
    in_place: bool = False,
    format: Version | None = None,
    image: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
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
    for what, path in (("source", source), ("destination", destination)):
        if isinstance(path, str) and not path:
            raise SpecError(f"an empty path is no {what}: name it")
    if in_place and not only_plan and isinstance(source, str | os.PathLike):
        undo_unfinished(Path(source))
    found = resolve_source(source, name=image, storage_options=storage_options)
    if format is not None and format not in ZARR_FORMAT:
        raise SpecError(f"format {format!r} cannot be written: use 0.5 (zarr v3) or 0.4 (zarr v2)")
    if spec is None:
        found, options = reordered(found, {**found.options(), **_given(options)})
    elif options:
        raise SpecError(
            f"{', '.join(sorted(options))}: given beside a spec; put them into the spec"
        )
    target: Target
    if in_place or updates:
        if destination is not None:
            raise SpecError("a destination and in_place: give one of them")
        if updates and (verify or skip_unreadable):
            raise SpecError("regions, with verify or skip_unreadable: those are for whole builds")
        target = InPlace.beside(
            found,
            codec=spec.codec if spec else options.get("codec"),
            series=series,
            overwrite=overwrite or updates,
        )
        target, spec = (
            stored_pyramid(found, target, spec, options)
            if updates
            else (target, _spec_beside(found, target, spec, options))
        )
    else:
        if destination is None and not only_plan:
            raise SpecError("no destination: give a path, or build in place")
        target, spec = _new_store(
            found, destination, spec, options, _version(format, destination), overwrite=overwrite
        )
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
        label_colors=label_colors
        if label_colors is not None
        else (known.label_colors if known is not None else None),
        label_properties=tuple(label_properties)
        or (known.label_properties if known is not None else ()),
        resume=resume,
        verify=verify,
        skip_unreadable=skip_unreadable,
        updates=updates,
    )
    if verify:
        _check_verifiable(job, memory_limit if memory_limit is not None else default_limit())
    unfinished = target.workspace.state if resume else {}
    if (
        unfinished.get("fingerprint") == job.fingerprint
        and unfinished.get("plan", job.plan) != job.plan
    ):
        # the tiles that are done stay done, whatever workers and memory there are now
        job = replace(
            job,
            passes=planned_passes(
                spec,
                unfinished["plan"],
                sources,
                max_workers=max_workers,
                memory_limit=memory_limit,
            ),
        )
        if unfinished["phase"] == "pixels":
            _check_still_fits(job, memory_limit if memory_limit is not None else default_limit())
    for level in spec.levels[target.first :]:
        target.template.of_level(level, ())  # refuses shards in zarr v2
    if not only_plan and not updates and not target.workspace.state:
        job.refuse_existing()
    return job


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that say something; None means what it means when left out (but for shards, where it means none)."""
    return {k: v for k, v in options.items() if v is not None or k == "shards"}


def _new_store(
    source: BuildSource,
    destination: Any,
    spec: PyramidSpec | None,
    options: Mapping[str, Any],
    version: Version,
    *,
    overwrite: bool,
) -> tuple[NewStore, PyramidSpec]:
    """The store and the spec of the levels in it, named after it; without a destination one to plan with."""
    if destination is None:
        spec = spec or _spec_of(source, options, version)
        return NewStore.planned(spec, version, source), spec
    if _is_same_store(destination, source):
        raise DestinationError(
            f"{destination} is the source: build in place (--in-place), or choose a destination elsewhere"
        )
    if is_label_place(Path(destination)):
        options = {
            **_of_labelled_image(destination, source),
            **options,
            "labels": True,
        }  # an averaging method is then refused
    spec = spec or _spec_of(source, options, version)
    if is_label_place(Path(destination)) and spec.kind != "labels":
        raise SpecError(
            f"{destination} is the place of a label image: make the spec with labels=True"
        )
    target = NewStore.at(Path(destination), spec, version, source, overwrite=overwrite)
    return target, spec if spec.name else replace(spec, name=_stem(target.directory))


def _version(asked: Version | None, destination: Any) -> Version:
    """The version asked for, else that which fits the image that a label image is added to, else 0.5."""
    if destination is None or not is_label_place(Path(destination)):
        return asked or "0.5"
    labels = Path(destination).parent
    fitting: Version = "0.5" if (labels.parent / "zarr.json").is_file() else "0.4"
    if asked not in (None, fitting):
        raise SpecError(
            f"format {asked} does not fit {labels.parent}, whose labels must be {fitting}: leave the format out"
        )
    return fitting


def _of_labelled_image(destination: Any, source: BuildSource) -> dict[str, Any]:
    """Axes and transform of the image that a label image is added to, if it has the label image's shape but for channels."""
    labels = Path(destination).parent
    image = next((i for i in open_images(labels.parent) if i.kind == "image" and not i.path), None)
    if image is None or image.axes is None or image.levels[0].scale is None:
        return {}
    level = image.levels[0]
    shown = [i for i, a in enumerate(image.axes) if a.type != "channel"]
    if tuple(level.array.shape[i] for i in shown) != tuple(source.arrays[0].shape):
        return {}
    known = {"scale": level.scale, "translation": level.translation}
    return {
        "axes": [image.axes[i] for i in shown],
        **{k: [v[i] for i in shown] for k, v in known.items() if v is not None},
    }


def _stem(directory: Path) -> str:
    """Name of a store without its suffixes."""
    name = directory.name
    for suffix in (".zarr", ".ome"):
        name = name.removesuffix(suffix)
    return name


def _is_same_store(destination: Any, source: BuildSource) -> bool:
    """The destination is the group that level 0 sits in."""
    return any(
        d is not None and Path(destination).resolve() in (d.resolve(), d.resolve().parent)
        for d in map(directory_of, source.arrays)
    )


def _spec_of(source: BuildSource, options: Mapping[str, Any], version: Version) -> PyramidSpec:
    if version == "0.4":
        options = {"shards": None, **options}
    if len(source.arrays) > 1:
        return PyramidSpec.from_levels(source.arrays, **options)
    return PyramidSpec.from_array(source.arrays[0], **options)


def _spec_beside(
    source: BuildSource, target: InPlace, spec: PyramidSpec | None, options: dict[str, Any]
) -> PyramidSpec:
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
        If a spec was made for another array, has a level that is no smaller than the one before (no reader shows it), or
        one whose path leads out of the store.
    """
    for level in spec.levels:
        if UNSAFE_PATH.search(level.path):
            raise SpecError(
                f"level path {level.path!r} leads out of the store, or names nothing in it: use names such as 0 or scale/0"
            )
    for array, level in zip(source.arrays, spec.levels, strict=False):
        if tuple(array.shape) != level.shape or np.dtype(array.dtype) != spec.dtype:
            raise SpecError(
                f"the spec is of {level.shape} {spec.dtype}, but the source is {tuple(array.shape)} {array.dtype}: make the spec from it"
            )
    for k, (fine, coarse) in enumerate(itertools.pairwise(spec.levels), start=1):
        if len(source.arrays) == 1 and coarse.shape == fine.shape:
            raise SpecError(
                f"level {k} would be no smaller than level {k - 1}: factors {coarse.factors} do not reduce {fine.shape}; ask for fewer levels"
            )


def _check_still_fits(job: Job, limit: int) -> None:
    """
    Raises
    ------
    SpecError
        If unfinished work was planned for more memory than there is now.
    """
    if job.peak_memory > limit:
        raise SpecError(
            f"the unfinished work in {job.target.workspace.directory} was planned for {format_bytes(job.peak_memory)} of memory, but the limit is "
            f"{format_bytes(limit)}: allow as much (--memory), or start over (--no-resume)"
        )


def _check_verifiable(job: Job, limit: int) -> None:
    """
    Raises
    ------
    SpecError
        If levels do not keep the pixels they are given, or comparing them needs more memory than there is.
    """
    if not job.target.template.is_lossless:
        raise SpecError(
            f"levels in the codec of {job.target.directory} change when they are stored, and cannot be verified: build without --verify"
        )
    if job.peak_memory > limit:
        raise SpecError(
            f"comparing the levels (--verify) needs {format_bytes(job.peak_memory)} of memory, but the limit is {format_bytes(limit)}: "
            "choose smaller chunks or a higher memory limit"
        )
