"""Stitches the fields of wells into one image: wells in their grid, fields in their places, all read when looked at.

Opening reads the metadata of fields, and for their shapes those of their largest level; no array is opened but the
first field's. The other arrays are opened when their part of the mosaic is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from napari_pyramid.arrays.virtual import Mosaic, MosaicTile
from napari_pyramid.errors import LayoutError, one_line
from napari_pyramid.image import ArrayLike, Channel, Image, StoredLevel
from napari_pyramid.layouts.ome_zarr_document import find_document, prefetch_levels
from napari_pyramid.layouts.ome_zarr_labels import read_labels, warn_of_labels_left_out
from napari_pyramid.layouts.ome_zarr_multiscales import multiscales_of, read_multiscales
from napari_pyramid.storage.json_values import objects
from napari_pyramid.storage.node import Node, prefetch_nodes, warn

__all__ = ["Field", "Position", "Well", "stitch"]

Position = tuple[int, int]
"""Row and column, or height and width."""


@dataclass(frozen=True, slots=True)
class Field:
    """One image of a well."""

    node: Node
    acquisition: int = 0


@dataclass(frozen=True, slots=True)
class Well:
    """Fields at a place in the grid of the plate."""

    position: Position
    fields: tuple[Field, ...]


def stitch(wells: Sequence[Well]) -> list[Image]:
    """The fields side by side as one image like the first of them, and its labels likewise; [] when none can be read.

    The fields of a well stand where their translations say, when these differ and leave no large gaps; else in rows of
    a square, in the order of the list. Fields of another rank or data type are left out with a warning. What no field
    covers is 0. Axes before the last two are as long as the longest of any field. The labels are those that the first
    field has; their values mean what they mean in each field. A mosaic is where its first field's translation says.
    """
    sample = next(
        (
            image
            for well in wells
            for field in well.fields
            if (image := _read(field.node)) is not None
        ),
        None,
    )
    if sample is None or sample.levels[0].array.ndim < 2:
        return []
    fields = [field.node for well in wells for field in well.fields]
    first = next(node for node in fields if node.path == sample.path)
    numbers = [_number_of(first, level) for level in sample.levels]
    grid = _FieldGrid.of(sample, first, wells, numbers[0])
    if grid is None:
        return []
    places = {placed.node.path: grid.corner(placed, grid.full, grid.full) for placed in grid.fields}
    image = replace(
        _stitched(grid, sample, numbers), metadata={**sample.metadata, "fields": places}
    )
    warn_of_labels_left_out(first, [field.node for field in grid.fields])
    return [replace(image, channels=_channels(image)), *_labels(grid, first, sample)]


def _channels(image: Image) -> tuple[Channel, ...]:
    """Those of the first field, and one for each that only others have."""
    axis = image.channel_axis
    missing = (
        image.levels[0].array.shape[axis] - len(image.channels)
        if image.channels and axis is not None
        else 0
    )
    return image.channels + (Channel(),) * missing


def _labels(grid: _FieldGrid, first: Node, sample: Image) -> Iterator[Image]:
    """The labels of the first field, beside those of the same name in the others."""
    group = first.child("labels")
    if group is None or group.kind == "array":
        return
    for labels in read_labels(group, sample.ome_version, sample):
        below = labels.path.removeprefix(f"{first.path}/")
        node = first.child(below)
        numbers = [_number_of(node, level) for level in labels.levels] if node is not None else []
        stored = _array_node(node, numbers[0]) if node is not None else None
        if (
            stored is None
            or stored.shape[-2:] != grid.full
            or stored.ndim != labels.levels[0].array.ndim
        ):
            warn(f"{group.location}: {labels.name!r} has another shape than the field; left out")
            continue
        yield _stitched(grid, labels, numbers, below)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A field whose shape and data type fit the others."""

    node: Node
    well: Position
    origin: Position
    """In pixels of level 0, from the well's corner."""


@dataclass(frozen=True, slots=True)
class _FieldGrid:
    """Where the fields stand, in pixels of level 0."""

    full: Position
    """Shape of the sample field."""
    origin: Position
    """Of the sample field in its well."""
    fields: tuple[_Placed, ...]
    n_wells: Position
    well_shape: Position
    field_shape: Position
    """Shape of the largest field."""
    longest: Mapping[tuple[str, int], int]
    """Name and length of each of the sample's other axes -> the most that a field has there."""

    @classmethod
    def of(
        cls, sample: Image, first: Node, wells: Sequence[Well], number: int
    ) -> _FieldGrid | None:
        """The grid of the fields that fit each other; None when there are none."""
        like = _array_node(first, number) or first
        _prefetch_arrays([well.fields[0].node for well in wells if well.fields], number)
        fitting = [(well.position, _fitting(well, like, number)) for well in wells]
        lengths = [
            max(axis)
            for axis in zip(
                *(array.shape for _, arrays in fitting for _, array in arrays), strict=True
            )
        ]
        if not lengths:
            return None
        shape = (lengths[-2], lengths[-1])
        n_columns = math.ceil(math.sqrt(max(len(arrays) for _, arrays in fitting)))
        placed = []
        for position, arrays in fitting:
            nodes = [node for node, _ in arrays]
            rows = [
                (i // n_columns * shape[0], i % n_columns * shape[1]) for i in range(len(nodes))
            ]
            origins = _stage_origins(nodes, sample, shape) or rows
            placed += [
                _Placed(node, position, origin) for node, origin in zip(nodes, origins, strict=True)
            ]
        n_wells = (1 + max(p.well[0] for p in placed), 1 + max(p.well[1] for p in placed))
        well_shape = (
            shape[0] + max(p.origin[0] for p in placed),
            shape[1] + max(p.origin[1] for p in placed),
        )
        full = sample.levels[0].array.shape[-2:]
        longest = dict(zip(_leading(sample), lengths[:-2], strict=True))
        origin = next((p.origin for p in placed if p.node.path == first.path), (0, 0))
        return cls((full[0], full[1]), origin, tuple(placed), n_wells, well_shape, shape, longest)

    def corner(self, field: _Placed, full: Position, reduced: Position) -> Position:
        """Row and column of the field's first pixel where a field of the shape `full` has the shape `reduced`."""
        well = _reduced(self.well_shape, full, reduced)
        origin = _reduced(field.origin, full, reduced)
        return field.well[0] * well[0] + origin[0], field.well[1] * well[1] + origin[1]


def _leading(image: Image) -> list[tuple[str, int]]:
    """Name (or number) and length of all axes but the last two."""
    lengths = image.levels[0].array.shape[:-2]
    names = (
        [axis.name for axis in image.axes] if image.axes else [str(i) for i in range(len(lengths))]
    )
    return list(zip(names, lengths, strict=False))


def _stitched(grid: _FieldGrid, image: Image, numbers: Sequence[int], below: str = "") -> Image:
    """The image of the sample, or its labels, with each level in the grid."""
    lengths = [grid.longest.get(axis, axis[1]) for axis in _leading(image)]
    largest = image.levels[0]
    scale = largest.scale or (1.0,) * largest.array.ndim
    shift = (*(0.0,) * len(lengths), *(o * s for o, s in zip(grid.origin, scale[-2:], strict=True)))
    levels = []
    for level, number in zip(image.levels, numbers, strict=True):
        leading = _reduced(lengths, largest.array.shape[:-2], level.array.shape[:-2])
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
    """From where its first field begins to where the mosaic does."""
    if not any(shift):
        return level
    translation = level.translation or (0.0,) * len(shift)
    return replace(level, translation=tuple(t - s for t, s in zip(translation, shift, strict=True)))


def _level(
    grid: _FieldGrid,
    level: StoredLevel,
    leading: Sequence[int],
    openers: Sequence[_Opener],
    *,
    fills: bool,
) -> StoredLevel:
    reduced = (level.array.shape[-2], level.array.shape[-1])
    height, width = _reduced(grid.well_shape, grid.full, reduced)
    plane = (grid.n_wells[0] * height, grid.n_wells[1] * width)
    corners = [grid.corner(field, grid.full, reduced) for field in grid.fields]
    tiles = [
        MosaicTile(corner, opener, opener.tell_damage if fills else None)
        for corner, opener in zip(corners, openers, strict=True)
    ]
    tile_height, tile_width = _reduced(grid.field_shape, grid.full, reduced)
    return replace(
        level, array=Mosaic(tiles, (*leading, *plane), level.array, (tile_height, tile_width))
    )


def _reduced(
    lengths: Sequence[int], full: Sequence[int], reduced: Sequence[int]
) -> tuple[int, ...]:
    """Lengths of level 0 at a coarser level; fields that touch at level 0 do so at every level."""
    return tuple(
        length // f * r + math.ceil(length % f * r / f)
        for length, f, r in zip(lengths, full, reduced, strict=True)
    )


def _fitting(well: Well, like: Node, number: int) -> list[tuple[Node, Node]]:
    """Fields and their largest arrays, of those that can stand beside each other."""
    found = []
    first: Node | None = None
    for field in well.fields:
        # On another host, the fields of a well are taken to be like its first: a request for each would double the time.
        is_taken = first is not None and field.node.is_far and number < len(_datasets(field.node))
        array = first if is_taken else _array_node(field.node, number)
        first = first or array
        if array is None:
            warn(f"{field.node.location} is left out: level {number} is missing")
        elif (
            array.ndim != like.ndim
            or array.data_type != like.data_type
            or not all(n > 0 for n in array.shape)
        ):
            warn(
                f"{field.node.location} is left out: {array.shape} {array.data_type} beside {like.shape} {like.data_type}"
            )
        else:
            found.append((field.node, array))
    return found


def _stage_origins(fields: Sequence[Node], sample: Image, shape: Position) -> list[Position] | None:
    """The places of fields by their translations; None when these say nothing, or would leave more gaps than image."""
    scale = sample.levels[0].scale
    translations = [_translation(field) for field in fields]
    if (
        scale is None
        or len(fields) < 2
        or None in translations
        or len(set(translations)) < len(translations)
    ):
        return None
    pixels = [
        [round(t / s) for t, s in zip(at, scale[-2:], strict=True)]
        for at in translations
        if at is not None
    ]
    low = [min(axis) for axis in zip(*pixels, strict=True)]
    high = [max(axis) for axis in zip(*pixels, strict=True)]
    if any(b - a > 2 * n * len(fields) for a, b, n in zip(low, high, shape, strict=True)):
        return None
    return [(y - low[0], x - low[1]) for y, x in pixels]


def _translation(field: Node) -> Position | tuple[float, float] | None:
    """Translation of the largest level along the last two axes, as the field's metadata write it."""
    first = next(iter(_datasets(field)), None)
    steps = objects(first.get("coordinateTransformations") if isinstance(first, Mapping) else None)
    steps += [inner for step in steps for inner in objects(step.get("transformations"))]
    vectors = [t.get("translation") for t in steps if t.get("type") == "translation"]
    last = vectors[-1][-2:] if vectors and isinstance(vectors[-1], list) else []
    if len(last) != 2 or not all(isinstance(v, (int, float)) and abs(v) < 1e15 for v in last):
        return None
    return last[0], last[1]


@dataclass(slots=True)
class _Opener:
    """Opens a level of a field when its part of the mosaic is read."""

    field: Node
    number: int
    below: str = ""
    """Path of the labels below the field; not every field has them."""
    is_told: bool = False
    """Whether the user knows what is wrong: parts are read again and again, by any thread."""

    def __call__(self) -> ArrayLike | None:
        image = self.field.child(self.below) if self.below else self.field
        if image is None:
            return None
        node = _array_node(image, self.number)
        if node is None:
            self._warn_once("is missing")
            return None
        return node.array()

    def tell_damage(self, error: Exception) -> None:
        self._warn_once(f"cannot be read: {one_line(error)}")

    def _warn_once(self, problem: str) -> None:
        if not self.is_told:
            self.is_told = True
            warn(
                f"{self.field.location}{self.below and '/'}{self.below}: level {self.number} {problem}; shown as empty"
            )


def _read(field: Node) -> Image | None:
    document = find_document(field)
    if document is None:
        return None
    prefetch_levels(field, document)
    images = read_multiscales(field, document, document.version or "")
    return images[0] if images else None


def _number_of(field: Node, level: StoredLevel) -> int:
    """Position in the field's list of datasets of a level that was found there."""
    arrays = [_array_node(field, number) for number in range(len(_datasets(field)))]
    return next(
        (i for i, array in enumerate(arrays) if array is not None and array.path == level.path), 0
    )


def _prefetch_arrays(fields: Sequence[Node], number: int) -> None:
    """Read the metadata of one level of the fields side by side, where the store is on another host."""
    paths = [
        (field, datasets[number]) for field in fields if number < len(datasets := _datasets(field))
    ]
    prefetch_nodes([(field, _path(dataset), "array") for field, dataset in paths])


def _array_node(field: Node, number: int) -> Node | None:
    """The array of a level by the field's own metadata, without opening it."""
    datasets = _datasets(field)
    try:
        array = field.child(_path(datasets[number])) if number < len(datasets) else None
    except LayoutError:
        return None
    return array if array is not None and array.kind == "array" else None


def _path(dataset: object) -> object:
    """The path of a level as `read_multiscales` takes it, which has warned of numbers."""
    path = dataset.get("path") if isinstance(dataset, Mapping) else dataset
    return str(path) if isinstance(path, int) and not isinstance(path, bool) else path


def _datasets(field: Node) -> list[object]:
    document = find_document(field)
    multiscales = multiscales_of(field, document) if document is not None else []
    return list(multiscales[0]["datasets"]) if multiscales else []
