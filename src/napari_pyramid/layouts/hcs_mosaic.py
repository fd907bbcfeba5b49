"""Stitch the fields of wells into one image, whose parts are read when they are looked at.

Opening reads the metadata of each field and of its largest level, for the shape. Only the arrays of
the first field are opened; the other arrays are opened when their part of the mosaic is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from napari_pyramid.arrays.virtual import Mosaic, MosaicTile
from napari_pyramid.errors import one_line
from napari_pyramid.image import ArrayLike, Channel, Image, StoredLevel
from napari_pyramid.layouts.hcs_grid import FieldGrid, Well, leading_axes, reduced_lengths
from napari_pyramid.layouts.hcs_levels import array_node, number_of, read_field
from napari_pyramid.layouts.ome_zarr_labels import read_labels, warn_of_labels_left_out
from napari_pyramid.storage.layout_warnings import warn
from napari_pyramid.storage.node import Node

__all__ = ["stitch"]


def stitch(wells: Sequence[Well]) -> list[Image]:
    """Return the fields side by side as one image, and its labels; [] if no field can be read.

    Axes and levels are as in the first readable field. The fields of a well are placed by their
    translations if these differ and leave no large gaps; else in rows of a square, in listed order.
    Fields of another rank or data type are left out with a warning. Pixels without a field are 0.
    Axes before the last two are as long as the longest of any field. Only labels that the first
    field has are stitched; their values are kept, so equal values in two fields are different
    objects. The translation of the first field places the mosaic.
    """
    sample = next(
        (
            image
            for well in wells
            for field in well.fields
            if (image := read_field(field.node)) is not None
        ),
        None,
    )
    if sample is None or sample.levels[0].array.ndim < 2:
        return []
    fields = [field.node for well in wells for field in well.fields]
    first = next(node for node in fields if node.path == sample.path)
    numbers = [number_of(first, level) for level in sample.levels]
    grid = FieldGrid.of(sample, first, wells, numbers[0])
    if grid is None:
        return []
    places = {placed.node.path: grid.corner(placed, grid.full, grid.full) for placed in grid.fields}
    image = replace(
        _stitched(grid, sample, numbers), metadata={**sample.metadata, "fields": places}
    )
    warn_of_labels_left_out(first, [field.node for field in grid.fields])
    return [replace(image, channels=_channels(image)), *_labels(grid, first, sample)]


def _channels(image: Image) -> tuple[Channel, ...]:
    """Return the first field's channels, plus an unnamed one for each that only others have."""
    axis = image.channel_axis
    missing = (
        image.levels[0].array.shape[axis] - len(image.channels)
        if image.channels and axis is not None
        else 0
    )
    return image.channels + (Channel(),) * missing


def _labels(grid: FieldGrid, first: Node, sample: Image) -> Iterator[Image]:
    """Yield the labels of the first field, stitched with the others' labels of the same name."""
    group = first.child("labels")
    if group is None or group.kind == "array":
        return
    for labels in read_labels(group, sample.ome_version, sample):
        below = labels.path.removeprefix(f"{first.path}/")
        node = first.child(below)
        numbers = [number_of(node, level) for level in labels.levels] if node is not None else []
        stored = array_node(node, numbers[0]) if node is not None else None
        if (
            stored is None
            or stored.shape[-2:] != grid.full
            or stored.ndim != labels.levels[0].array.ndim
        ):
            warn(f"{group.location}: {labels.name!r} has another shape than the field; left out")
            continue
        yield _stitched(grid, labels, numbers, below)


def _stitched(grid: FieldGrid, image: Image, numbers: Sequence[int], below: str = "") -> Image:
    """Return the sample image, or labels of it, with each level stitched."""
    lengths = [grid.longest.get(axis, axis[1]) for axis in leading_axes(image)]
    largest = image.levels[0]
    scale = largest.scale or (1.0,) * largest.array.ndim
    shift = (*(0.0,) * len(lengths), *(o * s for o, s in zip(grid.origin, scale[-2:], strict=True)))
    levels = []
    for level, number in zip(image.levels, numbers, strict=True):
        leading = reduced_lengths(lengths, largest.array.shape[:-2], level.array.shape[:-2])
        # Builds read the largest level: an error there must not become an image with a hole.
        whole = _level(
            grid,
            level,
            leading,
            [_Opener(field.node, number, below) for field in grid.fields],
            fills=level is not largest,
        )
        levels.append(_moved_back(whole, shift))
    return replace(image, levels=tuple(levels))


def _moved_back(level: StoredLevel, shift: Sequence[float]) -> StoredLevel:
    """Return a level moved from the first field to the corner of the mosaic."""
    if not any(shift):
        return level
    translation = level.translation or (0.0,) * len(shift)
    return replace(level, translation=tuple(t - s for t, s in zip(translation, shift, strict=True)))


def _level(
    grid: FieldGrid,
    level: StoredLevel,
    leading: Sequence[int],
    openers: Sequence[_Opener],
    *,
    fills: bool,
) -> StoredLevel:
    reduced = (level.array.shape[-2], level.array.shape[-1])
    height, width = reduced_lengths(grid.well_shape, grid.full, reduced)
    plane = (grid.n_wells[0] * height, grid.n_wells[1] * width)
    corners = [grid.corner(field, grid.full, reduced) for field in grid.fields]
    tiles = [
        MosaicTile(corner, opener, opener.warn_of_damage if fills else None)
        for corner, opener in zip(corners, openers, strict=True)
    ]
    tile_height, tile_width = reduced_lengths(grid.field_shape, grid.full, reduced)
    return replace(
        level, array=Mosaic(tiles, (*leading, *plane), level.array, (tile_height, tile_width))
    )


@dataclass(slots=True)
class _Opener:
    """Callable that opens a level of a field, when its part of the mosaic is read."""

    field: Node
    number: int
    below: str = ""
    """Path of the labels below the field; empty for the field itself."""
    has_warned: bool = False
    """Whether the user was warned: parts are read many times, by any thread."""

    def __call__(self) -> ArrayLike | None:
        image = self.field.child(self.below) if self.below else self.field
        if image is None:  # not every field has the labels of the first one
            return None
        node = array_node(image, self.number)
        if node is None:
            self._warn_once("is missing")
            return None
        return node.array()

    def warn_of_damage(self, error: Exception) -> None:
        """Warn once that the level cannot be read."""
        self._warn_once(f"cannot be read: {one_line(error)}")

    def _warn_once(self, problem: str) -> None:
        if not self.has_warned:
            self.has_warned = True
            warn(
                f"{self.field.location}{self.below and '/'}{self.below}: "
                f"level {self.number} {problem}; shown as empty"
            )
