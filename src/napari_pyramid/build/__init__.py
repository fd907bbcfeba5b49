"""Build pyramids: plan a build, run it at once, or run it step by step."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Generator
from dataclasses import fields
from typing import Any, TypeVar, Unpack, get_type_hints

from napari_pyramid.build.build import Build, Unfinished, plan
from napari_pyramid.build.progress import Progress
from napari_pyramid.build.request import BuildOptions, Request
from napari_pyramid.build.undo import recover
from napari_pyramid.build.unfinished import discard_unfinished, has_unfinished
from napari_pyramid.plan.spec import PyramidSpec
from napari_pyramid.pyramid import Pyramid

__all__ = [
    "Build",
    "BuildOptions",
    "Progress",
    "Unfinished",
    "build_pyramid",
    "discard_unfinished",
    "has_unfinished",
    "iter_build",
    "plan_build",
    "recover",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _listing_options(function: _Function) -> _Function:
    """Let `help` and notebooks show each option of `function`, with its type and default."""
    shown = inspect.signature(function)
    own = [p for p in shown.parameters.values() if p.kind is not p.VAR_KEYWORD]
    defaults = {f.name: f.default for f in fields(Request)} | {
        p.name: p.default for p in inspect.signature(PyramidSpec.from_array).parameters.values()
    }
    options = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name], annotation=hint
        )
        for name, hint in get_type_hints(BuildOptions).items()
    ]
    vars(function)["__signature__"] = shown.replace(parameters=[*own, *options])
    return function


@_listing_options
def plan_build(
    source: Any,
    destination: str | os.PathLike[str] | object | None = None,
    spec: PyramidSpec | None = None,
    **options: Unpack[BuildOptions],
) -> Build:
    """Plan a build and check it. Nothing is written.

    The keywords of `PyramidSpec.from_array`, such as `scale` and `method`, describe the pyramid if
    there is no `spec`.

    Parameters
    ----------
    source
        A path or URL of anything that can be opened; anything with ``shape``, ``dtype`` and
        ``__getitem__`` (numpy, zarr, dask, h5py, ...), read region by region, each region once
        where memory allows (gaussian: with margins); or a list of levels, largest first, which are
        kept as they are.
    destination
        Directory or URL (``s3``, ``gs``, ``az``) of the new store, or any writable zarr store or
        group, see `napari_pyramid.storage.destination.open_destination`;
        ``IMAGE.ome.zarr/labels/NAME`` adds a label image to an existing image. None plans a new
        store without a place; such a build cannot be run.
    spec
        The pyramid; None makes it from `source` and the keywords.
    in_place
        Add the levels beside the array that `source` is or holds, instead of making a new store.
        The source may be in a bucket or in a writable zarr store.
    format
        Version of OME-Zarr of a new store, ``"0.5"`` (zarr v3) or ``"0.4"`` (zarr v2). None means
        0.5, and for a label image the version of its image.
    image
        Name or path of the image to build from, where `source` is a path that holds several; None
        takes the first.
    storage_options
        Credentials and the like for `source` and `destination`, where they are URLs: see
        `napari_pyramid.storage.url_options.OPTIONS`. They are stored nowhere.
    series
        In place: name of a further series of levels that shares level 0.
    overwrite
        Replace what is at the destination, once the new levels are complete.
    resume
        Resume unfinished work of the same recipe and source, and keep unfinished work.
    max_workers
        Number of threads; None means the number of processors. With an `executor` of other
        processes, the number of threads of each of them; None asks the executor.
    memory_limit
        Bytes of memory; None means a quarter of what is free, at most 4 GiB. With an `executor` of
        other processes, the bytes of each of them; None takes half of what a dask worker may use.
    channels
        Names, colours and contrast windows; a window that is missing is computed from the coarsest
        level. Left out, the channels of the image at `source` are taken.
    label_colors
        Colour of each label, as (red, green, blue, alpha) from 0 to 255. None takes the colours of
        the image at `source`.
    label_properties
        Rows with ``"label-value"`` and further columns. Left out, the rows of the image at
        `source` are taken.
    executor
        Where tiles are filled instead of in threads of this process: any
        `concurrent.futures.Executor`, a dask ``Client``, or the address of a dask scheduler, such
        as ``"tcp://host:8786"``. All processes must see the source and the destination.
    verify
        Recompute every level from the level before, and compare, before anything is published.
    skip_unreadable
        Take chunks of the source that cannot be read as fill value, and list them in the metadata.
    regions
        Rebuild only what depends on these regions of level 0, in an existing pyramid and in place.
        A region is a tuple of slices without steps, one per axis. Method, factors and chunks are
        the recorded ones.

    Returns
    -------
    Build

    Raises
    ------
    SpecError
        If the pyramid cannot be described, or does not fit the memory.
    LayoutError
        If the source cannot be opened.
    DestinationError
        If nothing can be written at the destination. Whether something is there already is checked
        by `Build.check`, `Build.steps` and `Build.run`.
    TypeError
        If an option is unknown; the message offers the nearest one.
    """
    return plan(Request.of(source, destination, spec, options))


@_listing_options
def build_pyramid(
    source: Any,
    destination: str | os.PathLike[str] | object | None = None,
    spec: PyramidSpec | None = None,
    *,
    progress: Callable[[Progress], None] | None = None,
    **options: Unpack[BuildOptions],
) -> Pyramid:
    """Build a pyramid and return it, opened for reading.

    The parameters are the parameters of `plan_build`, with `progress`. Unfinished work is kept if
    the build stops, and resumed by the next build of the same recipe and source.

    Parameters
    ----------
    progress
        Called with the progress at every step, about ten times a second.

    Raises
    ------
    SpecError, LayoutError, DestinationError, TypeError
        Before anything is written, as `plan_build` and `Build.check` do.
    SourceError, DestinationError, VerificationError
        While building, as `Build.steps` does.
    """
    if options.get("in_place"):
        recover(source)
    return plan_build(source, destination, spec, **options).run(progress)


@_listing_options
def iter_build(
    source: Any,
    destination: str | os.PathLike[str] | object | None = None,
    spec: PyramidSpec | None = None,
    **options: Unpack[BuildOptions],
) -> Generator[Progress, None, Pyramid]:
    """Build a pyramid step by step.

    Everything is checked at once; nothing is built until the first step. Close the generator (or
    leave the loop) to stop the build. Unfinished work is kept for the next build of the same
    recipe and source, or removed if `resume` is False, or if no later build could recognise the
    source or the method: arrays in memory, and methods that are not functions of a module.
    No reader sees the pyramid before it is complete.

    The parameters are the parameters of `plan_build`.

    Yields
    ------
    Progress

    Returns
    -------
    Pyramid
        The new pyramid, opened for reading (the value of StopIteration).

    Raises
    ------
    SpecError, LayoutError, DestinationError, TypeError
        At once, as `plan_build` and `Build.check` do.
    SourceError, DestinationError, VerificationError
        While iterating, as `Build.steps` does.
    """
    if options.get("in_place"):
        recover(source)
    return plan_build(source, destination, spec, **options).steps()
