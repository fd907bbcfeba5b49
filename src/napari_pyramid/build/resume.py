"""Decide whether a stopped build can be resumed, and resume it with the tiles that it had."""

from __future__ import annotations

from dataclasses import replace

from napari_pyramid.build.job import Job
from napari_pyramid.build.request import Request
from napari_pyramid.build.state import BuildState
from napari_pyramid.errors import DestinationError, Remedy, SpecError
from napari_pyramid.plan.level import format_bytes
from napari_pyramid.plan.schedule import planned_passes
from napari_pyramid.plan.workers import Limits

__all__ = ["refusal", "with_unfinished_tiles"]


def refusal(job: Job, state: BuildState) -> DestinationError | None:
    """Return the error to raise if a build cannot resume unfinished work, else None."""
    where = f"{job.target.workspace.directory} holds unfinished work of"
    if not state.is_current:
        return DestinationError(
            f"{where} an older version of napari-pyramid, which cannot be resumed",
            remedies=[Remedy.START_OVER],
        )
    same_tiles = state.plan == job.plan or state.phase == "done"
    took_as_empty = bool(state.unreadable) and not job.skip_unreadable
    if state.fingerprint != job.fingerprint or not same_tiles or took_as_empty:
        return DestinationError(
            f"{where} another recipe or of a source that has changed",
            remedies=[Remedy.START_OVER, Remedy.FINISH],
        )
    return None


def with_unfinished_tiles(job: Job, request: Request, limits: Limits) -> Job:
    """Return the job with the tiles of unfinished work of the same recipe, if there is any.

    Tiles that are done stay done, whatever workers and memory there are now.

    Raises
    ------
    SpecError
        If the unfinished work was planned for more memory than `limits` allow.
    """
    state = job.target.workspace.state if request.resume and request.has_target else None
    if state is None or state.fingerprint != job.fingerprint or state.plan == job.plan:
        return job
    passes = planned_passes(
        job.spec,
        state.plan,
        job.source_chunks,
        max_workers=limits.workers,
        memory_limit=limits.memory,
    )
    job = replace(job, passes=passes)
    if state.phase == "pixels":
        _check_still_fits(job, limits.memory)
    return job


def _check_still_fits(job: Job, limit: int) -> None:
    """Raise if unfinished work does not fit the memory limit of this build.

    Raises
    ------
    SpecError
        If unfinished work was planned for more memory than there is now.
    """
    if job.peak_memory > limit:
        raise SpecError(
            f"the unfinished work in {job.target.workspace.directory} was planned for "
            f"{format_bytes(job.peak_memory)} of memory, but the limit is {format_bytes(limit)}",
            remedies=[Remedy.MORE_MEMORY, Remedy.START_OVER],
        )
