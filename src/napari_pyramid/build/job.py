"""Combine source, spec, target and passes into a job, and derive values from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import zarr

from napari_pyramid import __version__
from napari_pyramid.arrays.chunked_source import forget_stored
from napari_pyramid.build.fill import TileFiller
from napari_pyramid.build.reader import Reader
from napari_pyramid.build.source import BuildSource, images_at
from napari_pyramid.build.state import BuildState, UnreadableRegion
from napari_pyramid.build.targets import Target
from napari_pyramid.build.verify import Comparer
from napari_pyramid.build.workspace_base import fingerprint
from napari_pyramid.contrast import channel_windows
from napari_pyramid.downsample import downsampled_shape
from napari_pyramid.image import Channel
from napari_pyramid.metadata.image_attributes import Description
from napari_pyramid.plan.comparison import compared_block, comparer_bytes
from napari_pyramid.plan.level import Level
from napari_pyramid.plan.memory import OVERHEAD, peak_of
from napari_pyramid.plan.passes import Pass
from napari_pyramid.plan.schedule import PassPlan, SourceChunks
from napari_pyramid.plan.spec import PyramidSpec
from napari_pyramid.pyramid import Pyramid
from napari_pyramid.storage.object_blocks import blocks_to_write

__all__ = ["Job", "chunks_of"]

PIXELS_VERSION = 1
"""Part of the fingerprint: increase it whenever the same recipe gives other bytes.

Unfinished work of a release with another number is not resumed. The version of the package is not
part of the fingerprint: most releases change no pixel, and dropped work may be days old.
"""


@dataclass(frozen=True)
class Job:
    """A validated build: its source, spec, target and passes."""

    source: BuildSource
    target: Target
    passes: tuple[Pass, ...]
    memory_limit: int
    """Bytes that the passes were planned for, in each process that fills tiles."""
    channels: tuple[Channel, ...] = ()
    label_colors: Mapping[int, tuple[int, int, int, int]] | None = None
    label_properties: tuple[Mapping[str, Any], ...] = ()
    resume: bool = True
    verify: bool = False
    skip_unreadable: bool = False

    @property
    def spec(self) -> PyramidSpec:
        """Spec of the pyramid, which the target holds."""
        return self.target.spec

    @property
    def source_chunks(self) -> list[SourceChunks]:
        """Chunk shapes of the source arrays."""
        return chunks_of(self.source, self.target)

    @property
    def peak_memory(self) -> int:
        """Predicted bytes at the peak, beyond the interpreter."""
        return max(
            self._peak_of_passes,
            OVERHEAD + self.comparing_workers * self._comparer_bytes if self.verify else 0,
        )

    @property
    def _peak_of_passes(self) -> int:
        return peak_of(self.passes, self.spec.reduction_for, self._blocks)

    def worker_bytes(self, p: Pass) -> int:
        """Return the bytes that one worker of a pass holds at its peak."""
        return peak_of([replace(p, workers=1)], self.spec.reduction_for, self._blocks) - OVERHEAD

    @property
    def _blocks(self) -> list[tuple[int, ...]]:
        return [SourceChunks.of(a).block or (1,) * self.spec.ndim for a in self.source.arrays]

    @property
    def _comparer_bytes(self) -> int:
        needed = (comparer_bytes(a, b, self.spec.reduction_for(b)) for a, b in self.computed)
        return max(needed, default=0)

    @property
    def computed(self) -> list[tuple[Level, Level]]:
        """Pairs of levels: the level that is read, and the level that is computed from it."""
        return [(fine, level) for fine, level in self.spec.derivations if level not in self._kept]

    @property
    def _kept(self) -> tuple[Level, ...]:
        """Levels that are copied from an existing pyramid."""
        return self.spec.levels[: len(self.source.arrays)] if self.keeps_levels else ()

    @property
    def n_comparisons(self) -> int:
        """Regions that are compared before publishing."""
        if not self.verify:
            return 0
        return sum(
            math.prod(downsampled_shape(coarse.shape, compared_block(fine, coarse)))
            for fine, coarse in self.computed
        )

    @property
    def comparing_workers(self) -> int:
        """Threads that compare levels: as many as fit in the memory of the passes, at least one."""
        fitting = (self._peak_of_passes - OVERHEAD) // max(1, self._comparer_bytes)
        return max(1, min((fitting, *(p.workers * p.codec_threads for p in self.passes))))

    @property
    def recipe(self) -> dict[str, Any]:
        """Method, factors and version, as the metadata record them; equal for all runs."""
        return {**self._recipe_of_pixels, "version": __version__}

    @property
    def _recipe_of_pixels(self) -> dict[str, Any]:
        """The recipe without the version of this package.

        Empty for levels that are kept: the method that made them is unknown.
        """
        if self.keeps_levels:
            return {}
        recipe: dict[str, Any] = {
            "method": self.spec.reduction.name,
            "factors": [list(level.factors) for level in self.spec.levels[1:]],
        }
        if self.spec.ignore_background:
            recipe["ignore_background"] = True
        return recipe

    @property
    def keeps_levels(self) -> bool:
        """Whether levels are copied from an existing pyramid, at least the first ones."""
        return len(self.source.arrays) > 1

    @property
    def can_resume(self) -> bool:
        """Whether a later run can recognise the source and the method.

        An array in memory has no identity, nor has a user's method unless it is a plain function
        of a module.
        """
        return self.identity is not None and self.spec.reduction.identity is not None

    @cached_property
    def identity(self) -> dict[str, Any] | None:
        """Identity of the source when the job was planned; a remote source is asked only once."""
        return self.source.identity

    @property
    def keeps_work(self) -> bool:
        """Whether unfinished work is kept, and resumed by a later run."""
        return self.resume and self.can_resume and self.target.workspace.is_lasting

    @property
    def plan(self) -> tuple[PassPlan, ...]:
        """The parts of the passes that give the tile numbers in the journals their meaning.

        They depend on workers and memory, which are not part of the fingerprint.
        """
        return tuple(map(PassPlan.of, self.passes))

    @cached_property
    def fingerprint(self) -> str:
        """Digest of recipe, levels, source and target; a run resumes only work with its own."""
        levels = [
            [v.path, v.shape, v.factors, v.scale, v.translation, v.chunks, v.shards, str(v.dtype)]
            for v in self.spec.levels
        ]
        return fingerprint(
            {
                "pixels": PIXELS_VERSION,
                "recipe": self._recipe_of_pixels,
                "method": self.spec.reduction.identity,
                "levels": levels,
                "axes": [repr(a) for a in self.spec.axes],
                "name": self.spec.name,
                "kind": self.spec.kind,
                "target": self.target.identity(),
                "source": self.identity,
            }
        )

    @property
    def compiled_steps(self) -> set[tuple[int, ...]]:
        """Factors that the kernels are compiled for before the first tile."""
        compiled = self.spec.reduction.is_compiled
        return {level.factors for level in self.spec.levels[1:]} if compiled else set()

    # ---- pixels ----------------------------------------------------------------------------------

    def filler(self, p: Pass, check: Callable[[], None]) -> TileFiller:
        """Return the filler of the tiles of one pass."""
        writers = {
            k: blocks_to_write(
                self._open(p.levels[k], writable=True),
                is_new=not self.target.updates,
                codec_threads=p.codec_threads // p.readers if k == p.reads else p.codec_threads,
                check=check,
            )
            for k in range(p.first, p.last + 1)
        }
        return TileFiller(
            p,
            self._reader(p, check),
            writers,
            reduction=self.spec.reduction_for(p.levels[p.last]),
            rereads=not self.target.template.is_lossless,
            skip_unreadable=self.skip_unreadable,
            skips_absent=not self.target.updates,
            check=check,
        )

    def _reader(self, p: Pass, check: Callable[[], None]) -> Reader:
        source = self.source.arrays[p.source] if p.source is not None else None
        array = self._open(p.levels[p.reads]) if source is None else source
        return Reader(array, codec_threads=p.codec_threads // p.readers, check=check)

    def comparers(self, check: Callable[[], None]) -> Iterator[tuple[str, Comparer]]:
        """Yield the path of each computed level, with its comparer."""
        for fine, level in self.computed:
            above, stored = (Reader(self._open(v), check=check) for v in (fine, level))
            comparer = Comparer(
                above,
                stored,
                level.factors,
                self.spec.reduction_for(level),
                compared_block(fine, level),
                skip_unreadable=self.skip_unreadable and fine is self.spec.levels[0],
            )
            yield level.path, comparer

    def _open(self, level: Level, *, writable: bool = False) -> zarr.Array[Any]:
        return self.target.open_level(level, writable=writable)

    def is_intact(self) -> bool:
        """Return False if somebody removed the workspace under the build."""
        return self.target.updates or self.target.workspace.is_intact()

    # ---- metadata --------------------------------------------------------------------------------

    def publishing(self, state: BuildState) -> BuildState:
        """Return the state in which complete levels move into place, with all that is computed.

        Publishing must not depend on the levels: it can be repeated after they were moved.
        """
        levels = [level.path for level in self.spec.all_levels]
        return state.publishing(levels, self.target.surplus(), self._describe(state.unreadable))

    def _describe(self, unreadable: Sequence[UnreadableRegion]) -> Description:
        """Return the part of the metadata that has to be computed from levels."""
        recipe = self.recipe
        if unreadable:
            recipe["unreadable"] = [region.to_json() for region in unreadable]
        if self.spec.kind == "labels":
            return Description(recipe)
        coarsest = self._open(self.spec.levels[-1])
        windows, ranges = channel_windows(coarsest, self.spec.axes)
        given = self.channels or tuple(Channel() for _ in windows)
        channels = [replace(c, window=c.window or w) for c, w in zip(given, windows, strict=False)]
        if self.spec.dtype.kind in "iu" and self.spec.dtype.itemsize <= 2:
            # Other programs that write such pixels give sliders the range of the dtype.
            info = np.iinfo(self.spec.dtype)
            ranges = [(float(info.min), float(info.max))] * len(windows)
        elif self.spec.dtype.kind in "iu":
            # A window of 0 to 255 whose slider ends there is taken for some writer's default.
            ends = [channel.window[1] for channel in channels if channel.window]
            ranges = [(r[0], max(r[1], e + 1)) for r, e in zip(ranges, ends, strict=False)]
        return Description(recipe, tuple(channels), tuple(ranges))

    def publish(self, state: BuildState) -> None:
        """Make the pyramid visible; can be repeated after a crash."""
        assert state.description is not None
        description = replace(
            state.description,
            label_colors=self.label_colors or {},
            label_properties=self.label_properties,
        )
        self.target.publish(description, state.surplus)

    def opened(self) -> Pyramid:
        """Return the published pyramid, and let views that were opened before see its pixels."""
        forget_stored(self.target.directory, replaced=self.target.overwrite)
        images = images_at(self.target.directory)
        paths = [level.path for level in self.spec.levels]
        ours = (i for i in images if [level.path for level in i.levels] == paths)
        return Pyramid(next(ours, images[0]), images)


def chunks_of(source: BuildSource, target: Target) -> list[SourceChunks]:
    """Return the chunk shapes of the source arrays."""
    return [SourceChunks.of(array, is_level_0=target.first == 1) for array in source.arrays]
