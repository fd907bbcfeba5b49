"""Place the fields of wells side by side: their grid, stage positions and corners."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from napari_pyramid.image import Image
from napari_pyramid.layouts.hcs_levels import array_node, datasets_of, prefetch_arrays
from napari_pyramid.storage.json_values import objects
from napari_pyramid.storage.layout_warnings import warn
from napari_pyramid.storage.node import Node

__all__ = ["Field", "FieldGrid", "Placed", "Position", "Well", "leading_axes", "reduced_lengths"]

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


@dataclass(frozen=True, slots=True)
class Placed:
    """A field whose shape and data type fit the others."""

    node: Node
    well: Position
    origin: Position
    """First pixel, in pixels of level 0 from the corner of the well."""


@dataclass(frozen=True, slots=True)
class FieldGrid:
    """Positions of the fields, in pixels of level 0."""

    full: Position
    """Shape of the sample field."""
    origin: Position
    """First pixel of the sample field in its well."""
    fields: tuple[Placed, ...]
    n_wells: Position
    well_shape: Position
    field_shape: Position
    """Shape of the largest field."""
    longest: Mapping[tuple[str, int], int]
    """Longest length in any field, by name and length of each of the sample's other axes."""

    @classmethod
    def of(cls, sample: Image, first: Node, wells: Sequence[Well], number: int) -> FieldGrid | None:
        """Return the grid of the fields that fit the first one; None without such fields."""
        like = array_node(first, number) or first
        prefetch_arrays([well.fields[0].node for well in wells if well.fields], number)
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
                Placed(node, position, origin) for node, origin in zip(nodes, origins, strict=True)
            ]
        n_wells = (1 + max(p.well[0] for p in placed), 1 + max(p.well[1] for p in placed))
        well_shape = (
            shape[0] + max(p.origin[0] for p in placed),
            shape[1] + max(p.origin[1] for p in placed),
        )
        full = sample.levels[0].array.shape[-2:]
        longest = dict(zip(leading_axes(sample), lengths[:-2], strict=True))
        origin = next((p.origin for p in placed if p.node.path == first.path), (0, 0))
        return cls((full[0], full[1]), origin, tuple(placed), n_wells, well_shape, shape, longest)

    def corner(self, field: Placed, full: Position, reduced: Position) -> Position:
        """Return row and column of the first pixel of a field, at the level with a given shape.

        The sample field has the shape `full` at level 0, and `reduced` at the level.
        """
        well = reduced_lengths(self.well_shape, full, reduced)
        origin = reduced_lengths(field.origin, full, reduced)
        return field.well[0] * well[0] + origin[0], field.well[1] * well[1] + origin[1]


def leading_axes(image: Image) -> list[tuple[str, int]]:
    """Return name (or number) and length of all axes but the last two."""
    lengths = image.levels[0].array.shape[:-2]
    names = (
        [axis.name for axis in image.axes] if image.axes else [str(i) for i in range(len(lengths))]
    )
    return list(zip(names, lengths, strict=False))


def reduced_lengths(
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
        is_taken = first is not None and field.node.is_far and number < len(datasets_of(field.node))
        array = first if is_taken else array_node(field.node, number)
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
    first = next(iter(datasets_of(field)), None)
    steps = objects(first.get("coordinateTransformations") if isinstance(first, Mapping) else None)
    steps += [inner for step in steps for inner in objects(step.get("transformations"))]
    vectors = [t.get("translation") for t in steps if t.get("type") == "translation"]
    last = vectors[-1][-2:] if vectors and isinstance(vectors[-1], list) else []
    if len(last) != 2 or not all(isinstance(v, (int, float)) and abs(v) < 1e15 for v in last):
        return None
    return last[0], last[1]
