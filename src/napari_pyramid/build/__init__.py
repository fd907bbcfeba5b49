"""Builds pyramids: the public face of `running`, which see for how it is done.

`iter_build` is the one mechanism: everything is checked before it returns, work is done as it is iterated, and closing
it stops the work.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

from napari_pyramid.build import executors
from napari_pyramid.build.prepare import prepare_job
from napari_pyramid.build.progress import Progress
from napari_pyramid.build.run import Run
from napari_pyramid.errors import SpecError
from napari_pyramid.plan.passes import Pass
from napari_pyramid.plan.spec import PyramidSpec
from napari_pyramid.pyramid import Pyramid
from napari_pyramid.regions import Region

__all__ = ["Progress", "build_pyramid", "iter_build", "plan_build"]


def iter_build(
    source: Any, destination: Any = None, spec: PyramidSpec | None = None, **options: Any
) -> Generator[Progress, None, Pyramid]:
    """Builds a pyramid step by step.

    Everything is checked and nothing is built until the first step. Closing the generator (leaving the loop) stops the
    build as soon as the chunks or shards under way are done; unfinished work is kept for the next run of the same build,
    or removed when `resume` is False, or when nothing can tell that the next run is of the same build: for arrays in
    memory, URLs, and methods that are no plain function of a module. No reader sees the pyramid before it is whole.

    Parameters
    ----------
    source
        A path or URL of anything that can be opened; anything with ``shape``, ``dtype`` and ``__getitem__`` (numpy,
        zarr, dask, h5py, ...), read region by region, each once where memory allows (gaussian: with margins); or a list
        of levels, largest first, that are kept as they are.
    destination
        Directory of the new store; ``IMAGE.ome.zarr/labels/NAME`` adds a label image to an existing image.
    spec
        What to build; None: made from `source` and those of the options that `PyramidSpec.from_array` takes.
    in_place : bool
        Add the levels beside the array that `source` is or holds, instead of a destination.
    format : {"0.5", "0.4"}
        Version of OME-Zarr for a new store.
    name : str
        Of the image; `series` below is another thing.
    series : str, optional
        In place: add a second series of levels under this name, sharing level 0.
    overwrite : bool
        Replace what is at the destination, once the new is complete.
    resume : bool
        Continue unfinished work of the same recipe and source.
    max_workers : int, optional
        Threads; the number of processors if left out.
    memory_limit : int, optional
        Bytes; a quarter of what is free, at most 4 GiB, if left out.
    channels, label_colors, label_properties
        What is said of the image besides its levels; contrast windows that are missing are taken from the coarsest level.
    executor : concurrent.futures.Executor, optional
        Where tiles are filled instead of in threads of our own: a process pool, a dask client's executor.
    verify : bool
        Recompute every level from the one above before anything is published.
    skip_unreadable : bool
        Take blocks of the source that cannot be read as fill value, and list them in the metadata.
    regions : sequence of tuple of slice, optional
        Only what depends on these regions of level 0 is computed anew, in an existing pyramid and in place. Method,
        factors and chunks are those that it was built with.
    **options
        As in `PyramidSpec.from_array`.

    Yields
    ------
    Progress

    Returns
    -------
    Pyramid
        What was built, opened for reading (the value of StopIteration, or the result of `build_pyramid`).

    Raises
    ------
    SpecError, LayoutError, DestinationError
        At once, if the pyramid cannot be described, the source not opened or the destination not used.
    SourceError, DestinationError
        While iterating, if a region cannot be read or written.
    BuildInProgressError
        At the first step, if another build is writing there.
    """
    regions = options.pop("regions", None)
    executor = options.pop("executor", None)
    job = prepare_job(source, destination, spec, updates=regions is not None, **options)
    executors.check_executor(executor, job)
    return (
        Run(job, executor).steps()
        if regions is None
        else Run(job, executor).update(_checked(regions, job.spec.ndim))
    )


def _checked(regions: Any, ndim: int) -> list[Region]:
    """
    Raises
    ------
    SpecError
        If they are not regions: a slice without a step for each axis.
    """
    found = list(regions)
    for region in found:
        if (
            not isinstance(region, tuple)
            or len(region) != ndim
            or not all(isinstance(s, slice) and s.step in (None, 1) for s in region)
        ):
            raise SpecError(
                f"{region!r} is no region of an array of {ndim} axes: give tuples of {ndim} slices without steps"
            )
    return found


def build_pyramid(
    source: Any,
    destination: Any = None,
    spec: PyramidSpec | None = None,
    *,
    progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> Pyramid:
    """Builds a pyramid and returns it; see `iter_build` for everything but `progress`, which is called at every step."""
    with closing(iter_build(source, destination, spec, **options)) as steps:
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                pyramid: Pyramid = end.value
                return pyramid
            if progress is not None:
                progress(step)


def plan_build(
    source: Any, destination: Any = None, spec: PyramidSpec | None = None, **options: Any
) -> tuple[PyramidSpec, tuple[Pass, ...], int]:
    """What `iter_build` with the same arguments would do: the spec, the passes, and the peak memory in bytes.

    Nothing is written. Without a destination, and not in place, a new store is assumed.
    """
    options.pop("executor", None)
    job = prepare_job(source, destination, spec, only_plan=True, **options)
    return job.spec, job.passes, job.peak_memory
