"""Rebuild what depends on edited regions of level 0, in the existing levels."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from napari_pyramid.build.progress import Meter, Progress
from napari_pyramid.build.run import Run
from napari_pyramid.errors import DestinationError, Remedy, SourceError
from napari_pyramid.plan.passes import Pass
from napari_pyramid.plan.spec import PyramidSpec
from napari_pyramid.pyramid import Pyramid
from napari_pyramid.regions import Region

__all__ = ["Update"]


class Update(Run):
    """A run that rebuilds parts of the levels of an existing pyramid."""

    def update(self, regions: Sequence[Region]) -> Generator[Progress, None, Pyramid]:
        """Recompute what depends on `regions` of level 0, and write it into the existing levels."""
        workspace = self.job.target.workspace
        workspace.acquire()
        leave = workspace.release
        try:
            self._refuse_unfinished()
            leave = workspace.discard
            yield from self._rebuild(regions)
        finally:
            self._stop.set()
            leave()
        yield self._meter.progress(len(self.job.spec.levels) - 1)
        return self.job.opened()

    def _rebuild(self, regions: Sequence[Region]) -> Generator[Progress, None, None]:
        job = self.job
        numbers = [
            sorted({n for region in regions for n in p.touching(_affected(job.spec, region, p))})
            for p in job.passes
        ]
        self._meter = Meter(job.passes, [len(touched) for touched in numbers])
        try:
            yield from self._compile()
            for i, (p, touched) in enumerate(zip(job.passes, numbers, strict=True)):
                yield from self._fill_pass(i, p, iter(touched), None)
        except (OSError, DestinationError, SourceError) as exc:
            raise self._explained(exc) from exc

    def _refuse_unfinished(self) -> None:
        """Raise if a stopped build has left work: its levels would change during the update.

        Raises
        ------
        DestinationError
            If there is unfinished work.
        """
        workspace = self.job.target.workspace
        state = workspace.state
        if state is not None and state.phase != "done":
            raise DestinationError(
                f"{workspace.directory} holds unfinished work",
                remedies=[Remedy.FINISH, Remedy.START_OVER],
            )


def _affected(spec: PyramidSpec, region: Region, p: Pass) -> Region:
    """Return what `region` of level 0 changes in the level that a pass reads.

    The halos of the methods are part of it.
    """
    spans = [s.indices(n)[:2] for s, n in zip(region, spec.levels[0].shape, strict=True)]
    for level in p.levels[1 : p.reads + 1]:
        halo = spec.reduction.halo(level.factors)
        spans = [
            ((start - h) // f, -(-(stop + h) // f))
            for (start, stop), h, f in zip(spans, halo, level.factors, strict=True)
        ]
    halo = (0,) * len(spans)
    if p.last > p.reads:
        below = p.levels[p.reads + 1]
        halo = spec.reduction_for(below).halo(below.factors)
    return tuple(
        slice(max(0, start - h), min(n, stop + h))
        for (start, stop), h, n in zip(spans, halo, spec.levels[p.reads].shape, strict=True)
    )
