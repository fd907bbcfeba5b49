"""Make a job from a request: resolve the source, choose the target, plan the passes, check."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from napari_pyramid.build.capacity import limits_for
from napari_pyramid.build.choose_target import choose_target
from napari_pyramid.build.job import Job, chunks_of
from napari_pyramid.build.request import Request
from napari_pyramid.build.resume import with_unfinished_tiles
from napari_pyramid.build.source import BuildSource, reordered, resolve_source
from napari_pyramid.build.targets import Target
from napari_pyramid.errors import Remedy, SpecError
from napari_pyramid.plan.level import format_bytes
from napari_pyramid.plan.options import SpecOptions
from napari_pyramid.plan.schedule import plan_passes
from napari_pyramid.plan.spec import PyramidSpec
from napari_pyramid.plan.workers import Limits
from napari_pyramid.storage.paths import UNSAFE_PATH

__all__ = ["prepare_job"]


def prepare_job(request: Request) -> Job:
    """Return a job that can begin, from the arguments of `plan_build`.

    Raises
    ------
    SpecError, LayoutError, DestinationError
        If the arguments do not fit each other, the source, or the destination.
    """
    request.check()
    source, options = _resolve(request)
    target = choose_target(source, options, request)
    _check_fit(target.spec, source)
    limits = limits_for(request.executor, request.max_workers, request.memory_limit)
    job = with_unfinished_tiles(_plan(source, target, request, limits), request, limits)
    if request.verify:
        _check_verifiable(job, limits.memory)
    for level in target.spec.levels[target.first :]:
        target.template.of_level(level, ())  # raises if zarr v2 is given shards
    return job


def _resolve(request: Request) -> tuple[BuildSource, SpecOptions]:
    """Return the opened source, and the options of its spec with what the source knows itself."""
    source = resolve_source(
        request.source, name=request.image, storage_options=request.storage_options
    )
    if request.spec is not None:
        return source, {}
    source, options = reordered(source, {**source.options(), **_given(request.options)})
    return source, cast("SpecOptions", options)


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are not None, and shards, where None stands for no shards."""
    return {k: v for k, v in options.items() if v is not None or k == "shards"}


def _plan(source: BuildSource, target: Target, request: Request, limits: Limits) -> Job:
    """Return the job, with values of the source's image for what the request leaves out."""
    known = source.image
    colors, properties = request.label_colors, tuple(request.label_properties)
    if known is not None:
        colors = known.label_colors if colors is None else colors
        properties = properties or known.label_properties
    return Job(
        source=source,
        target=target,
        passes=plan_passes(
            target.spec,
            chunks_of(source, target),
            max_workers=limits.workers,
            memory_limit=limits.memory,
            processes=limits.processes,
        ),
        memory_limit=limits.memory,
        channels=tuple(request.channels) or (known.channels if known is not None else ()),
        label_colors=colors,
        label_properties=properties,
        resume=request.resume,
        verify=request.verify,
        skip_unreadable=request.skip_unreadable,
    )


def _check_fit(spec: PyramidSpec, source: BuildSource) -> None:
    """Raise if a spec does not fit the source.

    Raises
    ------
    SpecError
        If the spec was made for another array, a level is not smaller than the level before (no
        reader shows it), or the path of a level leads out of the store.
    """
    for level in spec.levels:
        if UNSAFE_PATH.search(level.path):
            raise SpecError(
                f"level path {level.path!r} leads out of the store, or names nothing in it: "
                "use names such as 0 or scale/0"
            )
    for array, level in zip(source.arrays, spec.levels, strict=False):
        if tuple(array.shape) != level.shape or np.dtype(array.dtype) != spec.dtype:
            raise SpecError(
                f"the spec is of {level.shape} {spec.dtype}, but the source is "
                f"{tuple(array.shape)} {array.dtype}: make the spec from it"
            )
    for k, (fine, coarse) in enumerate(itertools.pairwise(spec.levels), start=1):
        if len(source.arrays) == 1 and coarse.shape == fine.shape:
            raise SpecError(
                f"level {k} would be no smaller than level {k - 1}: "
                f"factors {coarse.factors} do not reduce {fine.shape}; ask for fewer levels"
            )


def _check_verifiable(job: Job, limit: int) -> None:
    """Raise if the levels of a job cannot be verified.

    Raises
    ------
    SpecError
        If the codec of the levels is lossy, or comparing them needs more memory than the limit.
    """
    if not job.target.template.is_lossless:
        raise SpecError(
            f"levels in the codec of {job.target.directory} change when they are stored, and "
            "cannot be verified",
            remedies=[Remedy.NO_VERIFY],
        )
    if job.peak_memory > limit:
        raise SpecError(
            f"comparing the levels needs {format_bytes(job.peak_memory)} of memory, but the limit "
            f"is {format_bytes(limit)}: choose smaller chunks or a higher memory limit"
        )
