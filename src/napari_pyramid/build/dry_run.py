"""Rehearse a build: hand out every tile, and fill none."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import zarr

from napari_pyramid.build.capacity import limits_for
from napari_pyramid.build.fill import Filled
from napari_pyramid.build.job import Job
from napari_pyramid.build.progress import Progress
from napari_pyramid.build.request import Request
from napari_pyramid.build.resume import with_unfinished_tiles
from napari_pyramid.build.run import Run
from napari_pyramid.build.state import BuildState
from napari_pyramid.build.targets import Target
from napari_pyramid.build.workspace import Workspace
from napari_pyramid.metadata.array import ArrayTemplate
from napari_pyramid.metadata.image_attributes import Description
from napari_pyramid.plan.level import Level
from napari_pyramid.plan.passes import Pass
from napari_pyramid.plan.spec import PyramidSpec
from napari_pyramid.regions import shape_of

__all__ = ["dry_run"]


def dry_run(job: Job, request: Request, directory: Path) -> Generator[Progress, None, None]:
    """Return a generator that runs a job without pixels, with the lock and the journals of a build.

    Parameters
    ----------
    request
        Request that the job was made for.
    directory
        Directory of the journals. A dry run that was stopped is resumed from there.
    """
    given = {f.name: getattr(job, f.name) for f in fields(Job)}
    destination = directory / "dry-run.zarr"
    target = _NoLevels(job.target, Workspace(destination, in_place=False))
    dry: Job = _DryJob(**{**given, "target": target, "verify": False})
    limits = limits_for(request.executor, request.max_workers, request.memory_limit)
    dry = with_unfinished_tiles(dry, replace(request, destination=destination), limits)
    return Run(dry, request.executor).fill_and_publish()


class _DryJob(Job):
    """A job whose tiles are counted, not filled."""

    @property
    def can_resume(self) -> bool:
        return True

    @property
    def compiled_steps(self) -> set[tuple[int, ...]]:
        return set()

    def filler(self, p: Pass, check: Callable[[], None]) -> Any:
        return _Counter(p, check)

    def publishing(self, state: BuildState) -> BuildState:
        return state.publishing((), (), Description({}))


@dataclass(frozen=True, slots=True)
class _Counter:
    """A stand-in for `TileFiller` that counts the bytes which a tile would read and write."""

    p: Pass
    check: Callable[[], None]

    def fill(self, number: int) -> Filled:
        self.check()
        tile, levels = self.p[number], self.p.levels
        written = sum(
            math.prod(shape_of(region)) * levels[k].dtype.itemsize
            for k, region in enumerate(tile.regions, self.p.first)
        )
        read = math.prod(shape_of(tile.read)) * levels[self.p.reads].dtype.itemsize
        return Filled(number, read, written)


@dataclass(frozen=True, slots=True)
class _NoLevels:
    """A target that has the levels of another one, and creates no array."""

    of: Target
    workspace: Workspace
    overwrite = False
    updates = False

    @property
    def spec(self) -> PyramidSpec:
        return self.of.spec

    @property
    def directory(self) -> Path:
        return self.workspace.destination

    @property
    def template(self) -> ArrayTemplate:
        return self.of.template

    @property
    def first(self) -> int:
        return self.of.first

    def refuse_existing(self) -> None:
        pass

    def open_level(self, level: Level, *, writable: bool) -> zarr.Array[Any]:
        return self.workspace.open_level(level.path, is_new=True, writable=writable)

    def create(self) -> None:
        pass

    def surplus(self) -> list[str]:
        return []

    def undo(self) -> None:
        pass

    def publish(self, description: Description, surplus: Sequence[str] = ()) -> None:
        pass

    def identity(self) -> dict[str, Any]:
        return self.of.identity()
