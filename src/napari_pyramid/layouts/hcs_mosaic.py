"""Stitch the fields of wells into one image, whose parts are read when they are looked at.

Opening reads the metadata of each field and of its largest level, for the shape. Only the arrays of
the first field are opened; the other arrays are opened when their part of the mosaic is read.
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
from napari_pyramid.storage.layout_warnings import warn
from napari_pyramid.storage.node import Node, prefetch_nodes

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
    """Fields at one position in the grid of the plate."""

    position: Position
    fields: tuple[Field, ...]


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
    """Return the first field's channels, plus an unnamed one for each that only others have."""
    axis = image.channel_axis
    missing = (
        image.levels[0].array.shape[axis] - len(image.channels)
        if image.channels and axis is not None
        else 0
    )
    return image.channels + (Channel(),) * missing


def _labels(grid: _FieldGrid, first: Node, sample: Image) -> Iterator[Image]:
    """Yield the labels of the first field, stitched with the others' labels of the same name."""
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
    """First pixel, in pixels of level 0 from the corner of the well."""


@dataclass(frozen=True, slots=True)
class _FieldGrid:
    """Positions of the fields, in pixels of level 0."""

    full: Position
    """Shape of the sample field."""
    origin: Position
    """First pixel of the sample field in its well."""
    fields: tuple[_Placed, ...]
    n_wells: Position
    well_shape: Position
    field_shape: Position
    """Shape of the largest field."""
    longest: Mapping[tuple[str, int], int]
    """Longest length in any field, by name and length of each of the sample's other axes."""

    @classmethod
    def of(
        cls, sample: Image, first: Node, wells: Sequence[Well], number: int
    ) -> _FieldGrid | None:
        """Return the grid of the fields that fit the first one; None without such fields."""
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
        """Return row and column of the first pixel of a field, at the level with a given shape.

        The sample field has the shape `full` at level 0, and `reduced` at the level.
        """
        well = _reduced(self.well_shape, full, reduced)
        origin = _reduced(field.origin, full, reduced)
        return field.well[0] * well[0] + origin[0], field.well[1] * well[1] + origin[1]


def _leading(image: Image) -> list[tuple[str, int]]:
    """Return name (or number) and length of all axes but the last two."""
    lengths = image.levels[0].array.shape[:-2]
    names = (
        [axis.name for axis in image.axes] if image.axes else [str(i) for i in range(len(lengths))]
    )
    return list(zip(names, lengths, strict=False))


def _stitched(grid: _FieldGrid, image: Image, numbers: Sequence[int], below: str = "") -> Image:
    """Return the sample image, or labels of it, with each level stitched."""
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
    """Return a level moved from the first field to the corner of the mosaic."""
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
        MosaicTile(corner, opener, opener.warn_of_damage if fills else None)
        for corner, opener in zip(corners, openers, strict=True)
    ]
    tile_height, tile_width = _reduced(grid.field_shape, grid.full, reduced)
    return replace(
        level, array=Mosaic(tiles, (*leading, *plane), level.array, (tile_height, tile_width))
    )


def _reduced(
    lengths: Sequence[int], full: Sequence[int], reduced: Sequence[int]
) -> tuple[int, ...]:
    """Return lengths of level 0 at a coarser level.

    Fields that touch at level 0 touch at every level.
    """
    return tuple(
        length // f * r + math.ceil(length % f * r / f)
        for length, f, r in zip(lengths, full, reduced, strict=True)
    )


def _fitting(well: Well, like: Node, number: int) -> list[tuple[Node, Node]]:
    """Return the fields with the rank and data type of `like`, each with its largest array."""
    found = []
    first: Node | None = None
    for field in well.fields:
        # On another host, the fields of a well are assumed to be like its first field, because a
        # request for each would double the time.
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
                f"{field.node.location} is left out: {array.shape} {array.data_type} "
                f"beside {like.shape} {like.data_type}"
            )
        else:
            found.append((field.node, array))
    return found


def _stage_origins(fields: Sequence[Node], sample: Image, shape: Position) -> list[Position] | None:
    """Return the positions of fields from their translations.

    None if the translations are missing or equal, or would leave more gaps than image.
    """
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
    """Return the translation of the largest level along the last two axes, from the metadata."""
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
        node = _array_node(image, self.number)
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


def _read(field: Node) -> Image | None:
    document = find_document(field)
    if document is None:
        return None
    prefetch_levels(field, document)
    images = read_multiscales(field, document, document.version or "")
    return images[0] if images else None


def _number_of(field: Node, level: StoredLevel) -> int:
    """Return the position of a level in the field's list of datasets."""
    arrays = [_array_node(field, number) for number in range(len(_datasets(field)))]
    return next(
        (i for i, array in enumerate(arrays) if array is not None and array.path == level.path), 0
    )


def _prefetch_arrays(fields: Sequence[Node], number: int) -> None:
    """Read the metadata of one level of the fields in parallel, if the store is on another host."""
    paths = [
        (field, datasets[number]) for field in fields if number < len(datasets := _datasets(field))
    ]
    prefetch_nodes([(field, _path(dataset), "array") for field, dataset in paths])


def _array_node(field: Node, number: int) -> Node | None:
    """Return the node of a level's array by the field's metadata, without opening the array."""
    datasets = _datasets(field)
    try:
        array = field.child(_path(datasets[number])) if number < len(datasets) else None
    except LayoutError:
        return None
    return array if array is not None and array.kind == "array" else None


def _path(dataset: object) -> object:
    """Return the path of a level.

    A number counts as a path, as in `read_multiscales`, which warns of it.
    """
    path = dataset.get("path") if isinstance(dataset, Mapping) else dataset
    return str(path) if isinstance(path, int) and not isinstance(path, bool) else path


def _datasets(field: Node) -> list[object]:
    document = find_document(field)
    multiscales = multiscales_of(field, document) if document is not None else []
    return list(multiscales[0]["datasets"]) if multiscales else []
