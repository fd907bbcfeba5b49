"""Hold a pyramid that is planned and checked, and run its build."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from napari_pyramid.build import executors
from napari_pyramid.build.dask_executor import dashboard_of
from napari_pyramid.build.dry_run import dry_run
from napari_pyramid.build.job import Job
from napari_pyramid.build.prepare import prepare_job
from napari_pyramid.build.progress import Progress, Steps
from napari_pyramid.build.request import Request
from napari_pyramid.build.resume import refusal
from napari_pyramid.build.run import Run
from napari_pyramid.build.undo import recover
from napari_pyramid.build.unfinished import discard_work
from napari_pyramid.build.update import Update
from napari_pyramid.errors import DestinationError, SpecError
from napari_pyramid.plan.level import Level, format_bytes
from napari_pyramid.plan.passes import Pass
from napari_pyramid.plan.spec import PyramidSpec
from napari_pyramid.pyramid import Pyramid
from napari_pyramid.regions import Region
from napari_pyramid.storage.folder import Place

__all__ = ["Build", "Unfinished", "plan"]


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Work that an earlier build left at the destination."""

    directory: Place
    """Directory of the work, beside the store."""
    done: int
    """Regions that are written."""
    total: int
    """Regions that the earlier build had to write; 0 if it had not started to write."""
    action: Literal["resume", "refuse", "discard"]
    """Action of a build on the work: it resumes work of the same recipe and source, and refuses
    to begin beside other work; without `resume`, or if the source cannot be recognised, it
    discards the work."""
    refusal: DestinationError | None = None
    """Error that a run raises, if it refuses to begin."""

    def __str__(self) -> str:
        how_far = f"{self.done:,} of {self.total:,} regions done" if self.total else "just started"
        if self.refusal is not None:
            return f"{self.refusal.message} ({how_far})"
        return f"{self.action}s the unfinished work in {self.directory} ({how_far})"


@dataclass(frozen=True, slots=True, eq=False)
class Build:
    """A pyramid that is planned: what will be written, where, and what it takes.

    Made by `plan_build`. Nothing is written before `steps` or `run`. A build can be run more than
    once: the next run resumes what the last one left.
    """

    _request: Request
    _job: Job
    unfinished: Unfinished | None
    """Work of an earlier build at the destination, as of when the build was planned."""

    @property
    def spec(self) -> PyramidSpec:
        """The levels of the pyramid."""
        return self._job.spec

    @property
    def passes(self) -> tuple[Pass, ...]:
        """The passes over the data, in their order."""
        return self._job.passes

    @property
    def peak_memory(self) -> int:
        """Predicted bytes of memory at the peak, beyond what the interpreter takes."""
        return self._job.peak_memory

    @property
    def destination(self) -> Place | None:
        """The group that will hold the levels; None for a request without a destination."""
        return self._job.target.directory if self._request.has_target else None

    @property
    def workspace(self) -> Place:
        """The directory in which a build keeps its work until it is published."""
        directory: Place = self._job.target.workspace.directory
        return directory

    @property
    def written_levels(self) -> tuple[Level, ...]:
        """The levels that will be written, then their residuals. In place, level 0 is not."""
        return (*self.spec.levels[self._job.target.first :], *self.spec.residuals)

    @property
    def n_files(self) -> int:
        """Chunk or shard files that will be written, if every one holds data."""
        return sum(level.n_files for level in self.written_levels)

    @property
    def nbytes(self) -> int:
        """Bytes that will be written, before compression."""
        return sum(level.nbytes for level in self.written_levels)

    @property
    def can_resume(self) -> bool:
        """Whether unfinished work is kept when the build stops.

        The next run must be able to recognise the source and the method: stores and files on this
        machine, built-in methods, and functions of a module.
        """
        return self._job.keeps_work and self._request.regions is None

    @property
    def dashboard(self) -> str | None:
        """URL that shows a dask cluster at work; None for all other executors and for threads."""
        return dashboard_of(self._request.executor)

    def check(self) -> None:
        """Raise if the build could not begin now, although it can be planned.

        Raises
        ------
        SpecError
            If the request did not say where to build.
        DestinationError
            If the destination is taken.
        """
        if not self._request.has_target:
            raise SpecError("no destination: give a path, or build in place")
        target = self._job.target
        if not target.updates and not target.workspace.has_work:
            target.refuse_existing()

    def steps(self, *, gives_way: bool = False) -> Generator[Progress, None, Pyramid]:
        """Return a generator that builds the pyramid and yields its progress.

        Everything is checked at once; pixels are written from the first step on. Close the
        generator (or leave the loop) to stop the build as soon as the chunks or shards under way
        are written. A step follows the last one within about 0.1 seconds.

        Parameters
        ----------
        gives_way
            Let the threads of the build give way to the other threads of this process, such as the
            one that draws a window. Only Linux has such priorities. Threads of an executor keep
            theirs.

        Yields
        ------
        Progress

        Returns
        -------
        Pyramid
            The new pyramid, opened for reading (the value of StopIteration).

        Raises
        ------
        SpecError, DestinationError
            At once, as `check` does.
        SourceError, DestinationError
            While iterating, if a region cannot be read or written.
        BuildInProgressError
            At the first step, if another build is writing to the destination.
        VerificationError
            With `verify`, if a level is not the reduction of the level before.
        """
        request = self._request
        if request.in_place and recover(request.source):
            # What was planned before was planned while half of the new levels were in place.
            return plan(request).steps(gives_way=gives_way)
        self.check()
        if request.regions is not None:
            return Update(self._job, request.executor, gives_way).update(request.regions)
        return Run(self._job, request.executor, gives_way).steps()

    def dry_run(self, directory: str | os.PathLike[str]) -> Generator[Progress, None, None]:
        """Return a generator that runs through every tile of the build without reading or writing.

        The dry run has the threads or executor, the window of pending tiles, the lock and the
        journals of the build, so that it shows what a build costs besides its pixels, how much
        memory the scheduling takes, and whether all workers are reached. The source may be
        anything with a shape and a dtype. The bytes in the progress are the bytes that the
        build would read and write, if no chunk was empty.

        Parameters
        ----------
        directory
            Existing directory for the journals. A dry run that was stopped is resumed from there.
            The journals are removed at the end.

        Yields
        ------
        Progress

        Raises
        ------
        DestinationError
            While iterating, if nothing can be written in `directory`, a worker cannot reach it, or
            it holds the journals of another build.
        """
        return dry_run(self._job, self._request, Path(os.path.abspath(directory)))

    def run(self, progress: Callable[[Progress], None] | None = None) -> Pyramid:
        """Build the pyramid and return it, opened for reading.

        Parameters
        ----------
        progress
            Called with the progress at every step.

        Raises
        ------
        SpecError, SourceError, DestinationError, VerificationError
            As `steps` does.
        """
        with closing(Steps(self.steps())) as steps:
            for step in steps:
                if progress is not None:
                    progress(step)
            return steps.result

    def discard(self) -> bool:
        """Remove the unfinished work at the destination, and return whether there was any.

        What was at the destination before the build stays, or is put back.

        Raises
        ------
        BuildInProgressError
            If a build is running there.
        DestinationError
            If the work cannot be removed, or was complete: it is finished then.
        """
        return self._request.has_target and discard_work(self._job.target.workspace)

    def __str__(self) -> str:
        size, memory = format_bytes(self.nbytes), format_bytes(self.peak_memory)
        files = f"files at most {self.n_files:,}, {size} before compression, {memory} of memory"
        lines = [str(self.spec), f"levels {len(self.spec.levels)}, {files}"]
        if self.unfinished is not None:
            lines.append(str(self.unfinished))
        return "\n".join(lines)


def plan(request: Request) -> Build:
    """Return the build that a request describes, checked; see `plan_build`."""
    job = prepare_job(request)
    executors.check_executor(request.executor, job)
    if request.regions is not None:
        _check_regions(request.regions, job.spec.ndim)
    return Build(request, job, _unfinished(job) if request.has_target else None)


def _unfinished(job: Job) -> Unfinished | None:
    workspace = job.target.workspace
    state = workspace.state
    if state is None or state.phase == "done":
        return None
    done, total = workspace.count_tiles()
    if not job.keeps_work:
        return Unfinished(workspace.directory, done, total, "discard")
    error = refusal(job, state)
    action: Literal["resume", "refuse"] = "resume" if error is None else "refuse"
    return Unfinished(workspace.directory, done, total, action, error)


def _check_regions(regions: Sequence[Region], ndim: int) -> None:
    """Raise if something is not a region.

    Raises
    ------
    SpecError
        If an entry is not a tuple of slices without steps, one per axis.
    """
    for region in regions:
        if (
            not isinstance(region, tuple)
            or len(region) != ndim
            or not all(isinstance(s, slice) and s.step in (None, 1) for s in region)
        ):
            raise SpecError(
                f"{region!r} is not a region of an array of {ndim} axes: "
                f"give tuples of {ndim} slices without steps"
            )
