"""Cut a region out of one level of an image, as an image of its own.

A region is chosen in samples of level 0, by the names of the axes. In a coarser level it becomes
the smallest box whose samples cover it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_pyramid.arrays.grid import Grid, grids_of
from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.axes import Axis
from napari_pyramid.errors import SpecError
from napari_pyramid.image import Image
from napari_pyramid.layer_image import LayerImage, image_of_stored
from napari_pyramid.regions import Region

__all__ = ["Cut", "ExportSource"]

_EPSILON = 1e-9


@dataclass(frozen=True, slots=True)
class Cut:
    """A region of one level, as an image with one level."""

    image: LayerImage
    """The region; its scale, translation and channels belong to the level and the region."""
    level: int
    region: Region
    """The region in samples of the level."""

    @property
    def array(self) -> Any:
        """The pixels, which are read when they are indexed."""
        return self.image.levels[0]

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels in memory."""
        return int(math.prod(self.array.shape) * np.dtype(self.array.dtype).itemsize)


@dataclass(frozen=True, slots=True)
class ExportSource:
    """An image to cut regions from."""

    image: LayerImage
    grids: tuple[Grid, ...]
    """Where the samples of each level are; one per level of `image`."""

    @classmethod
    def of_stored(cls, image: Image) -> ExportSource:
        """Return an image that a layout opened."""
        levels = image.levels
        # Channels that are not stored are not invented: colours of RGB stay samples.
        whole = replace(image_of_stored(image), channels=image.channels)
        grids = grids_of(
            [tuple(level.array.shape) for level in levels],
            [level.scale for level in levels],
            [level.translation for level in levels],
        )
        return cls(whole, tuple(grids))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of level 0."""
        return tuple(self.image.levels[0].shape)

    def region(self, given: Mapping[str, slice] | None) -> Region:
        """Return the region of level 0 that is chosen by the names of axes.

        Parameters
        ----------
        given
            Slices without steps, as NumPy takes them; an axis that is left out is taken whole.

        Raises
        ------
        SpecError
            If there is no such axis, a slice has a step, or a slice holds no sample.
        """
        names = [axis.name for axis in self.image.axes]
        for name in given or ():
            if name not in names:
                raise SpecError(f"there is no axis {name!r}: the image has {', '.join(names)}")
        spans = []
        for name, length in zip(names, self.shape, strict=True):
            wanted = (given or {}).get(name, slice(None))
            if wanted.step not in (None, 1):
                raise SpecError(f"the range of {name} has a step: regions have none")
            start, stop, _ = wanted.indices(length)
            if start >= stop:
                raise SpecError(
                    f"the range {_shown(wanted)} of {name} holds no sample: {name} has {length}"
                )
            spans.append(slice(start, stop))
        return tuple(spans)

    def in_level(self, region: Region, level: int) -> Region:
        """Return the smallest box of a level whose samples cover a region of level 0.

        The box is never empty and never larger than the level.
        """
        grid, shape = self.grids[level], self.image.levels[level].shape
        spans = []
        for axis, (span, length) in enumerate(zip(region, shape, strict=True)):
            factor, offset = grid.factors[axis], grid.offsets[axis]
            # Edges are half a sample from centres, in level 0 and in this level.
            first = math.floor((span.start - 0.5 - offset) / factor + 0.5 + _EPSILON)
            end = math.ceil((span.stop - 0.5 - offset) / factor + 0.5 - _EPSILON)
            first = min(max(0, first), length - 1)
            spans.append(slice(first, min(max(first + 1, end), length)))
        return tuple(spans)

    def cut(self, region: Region, level: int = 0) -> Cut:
        """Return a region of level 0 as an image of the samples of `level`.

        Raises
        ------
        SpecError
            If there is no such level.
        """
        if not 0 <= level < len(self.image.levels):
            raise SpecError(f"there is no level {level}: levels 0 to {len(self.grids) - 1} exist")
        box, grid = self.in_level(region, level), self.grids[level]
        image = self.image
        first = [
            0.0 if axis.type == "channel" else s.start * f + o  # channels are not at places
            for axis, s, f, o in zip(image.axes, box, grid.factors, grid.offsets, strict=True)
        ]
        cut = replace(
            image,
            levels=(_cropped(image.levels[level], box),),
            scale=tuple(s * f for s, f in zip(image.scale, grid.factors, strict=True)),
            translation=tuple(
                t + s * p for t, s, p in zip(image.translation, image.scale, first, strict=True)
            ),
            channels=self._channels(box),
        )
        return Cut(cut, level, box)

    def _channels(self, box: Region) -> tuple[Any, ...]:
        """Return the channels in a box; all of them if they do not follow a channel axis."""
        axes: Sequence[Axis] = self.image.axes
        at = next((i for i, axis in enumerate(axes) if axis.type == "channel"), None)
        channels = self.image.channels
        return channels if at is None else channels[box[at]]


def _cropped(array: Any, region: Region) -> Any:
    """Return a view of a region that reads nothing, and keeps nothing in the viewer's cache."""
    if region == tuple(slice(0, n) for n in array.shape):
        return array
    if isinstance(array, np.ndarray | LazyArray) or hasattr(array, "__dask_graph__"):
        return array[region]
    return LazyArray(array).uncached()[region]


def _shown(span: slice) -> str:
    return ":".join("" if v is None else str(v) for v in (span.start, span.stop))
