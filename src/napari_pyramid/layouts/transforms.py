"""Parse coordinate transformations of OME-Zarr 0.4 to 0.6 into matrices, and compose them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_pyramid.errors import LayoutError, one_line
from napari_pyramid.image import Affine
from napari_pyramid.storage.json_values import is_number
from napari_pyramid.storage.layout_warnings import brief, warn
from napari_pyramid.storage.node import Node

__all__ = ["compose", "diagonal", "is_axis_aligned", "parse_transform"]

_MAX_DEPTH = 16
"""Limit of nested sequences, against documents that exhaust the recursion limit."""

_MAX_NUMBERS = 4096
"""Numbers of the largest matrix that is read: enough for images of a few dozen axes."""


def compose(transforms: object, ndim: int, node: Node, axes: Sequence[str] = ()) -> Affine:
    """Return the matrix of a list of transformations, of which the first is applied first.

    Parameters
    ----------
    transforms
        The list from the metadata, unchecked.
    ndim
        Number of axes on both sides.
    node
        The group whose metadata have the list: parameters may be stored in arrays below it.
    axes
        Names of the axes, for transformations that refer to them.

    Returns
    -------
    ndarray, shape (ndim + 1, ndim + 1)

    Raises
    ------
    LayoutError
        If `transforms` is not a list, or one of its transformations cannot be understood.
    """
    if not isinstance(transforms, list):
        raise LayoutError(f"coordinateTransformations are not a list but {brief(transforms)}")
    matrix = np.eye(ndim + 1)
    with np.errstate(all="ignore"):  # numbers that overflow are refused below
        for transform in transforms:
            matrix = parse_transform(transform, ndim, node, axes) @ matrix
    if not np.isfinite(matrix).all() or not np.abs(matrix[:-1, :-1]).sum(axis=1).all():
        raise LayoutError(
            "coordinateTransformations multiply up to numbers that are infinite or zero"
        )
    return matrix


def parse_transform(
    transform: object, ndim: int, node: Node, axes: Sequence[str] = (), depth: int = 0
) -> Affine:
    """Return the matrix of one transformation; see `compose`.

    Numbers that are zero, NaN, infinite or not numbers are replaced with a warning: by 1 in a
    scale, by 0 in a translation (where zero is valid).

    Raises
    ------
    LayoutError
        If the type of the transformation is unknown, or needs more than a matrix (displacements,
        coordinates), or the parameters do not fit the number of axes.
    """
    if not isinstance(transform, Mapping) or depth > _MAX_DEPTH:
        raise LayoutError(
            f"a coordinate transformation is {brief(transform)}, expected an object with a type"
        )
    kind = transform.get("type")
    if kind == "identity":
        return np.eye(ndim + 1)
    if kind == "scale":
        return _scaling(_vector(transform, "scale", ndim, node, 1.0))
    if kind == "translation":
        return _translating(_vector(transform, "translation", ndim, node, 0.0))
    if kind == "sequence":
        matrix = np.eye(ndim + 1)
        for step in _list(transform, "transformations"):
            matrix = parse_transform(step, ndim, node, axes, depth + 1) @ matrix
        return matrix
    if kind == "bijection":
        return parse_transform(transform.get("forward"), ndim, node, axes, depth + 1)
    if kind == "mapAxis":
        return _axis_mapping(transform.get("mapAxis"), ndim, axes)
    if kind == "affine":
        return _matrix(transform, "affine", (ndim, ndim + 1), node)
    if kind == "rotation":
        return _matrix(transform, "rotation", (ndim, ndim), node)
    if kind == "byDimension":
        return _by_dimension(transform, ndim, node, axes, depth)
    raise LayoutError(
        f"coordinate transformation of type {brief(kind)} is not one that can be shown"
    )


def is_axis_aligned(matrix: Affine) -> bool:
    """Return whether the matrix only scales and translates."""
    linear = matrix[:-1, :-1]
    return bool(np.array_equal(linear, np.diag(np.diag(linear))))


def diagonal(matrix: Affine) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return scale and translation of an axis-aligned matrix."""
    return tuple(np.diag(matrix)[:-1].tolist()), tuple(matrix[:-1, -1].tolist())


def _vector(
    transform: Mapping[str, Any], key: str, ndim: int, node: Node, default: float
) -> list[float]:
    """Return one number per axis; numbers that cannot be used become `default`."""
    values = _numbers(transform, key, node)
    if not isinstance(values, list) or len(values) != ndim:
        count = f"{len(values)} values" if isinstance(values, list) else brief(values)
        raise LayoutError(f"{key} has {count}, the array has {ndim} axes")
    return [float(v) if _usable(v, key) else _replaced(v, key, node, default) for v in values]


def _usable(value: Any, key: str) -> bool:
    return is_number(value) and not (key == "scale" and abs(value) < 1e-300)


def _replaced(value: object, key: str, node: Node, default: float) -> float:
    warn(f"{node.location}: {key} {brief(value)} is replaced by {default:g}")
    return default


def _numbers(transform: Mapping[str, Any], key: str, node: Node) -> Any:
    """Return the parameters from the metadata, or from the array that "path" names."""
    if key in transform or "path" not in transform:
        return transform.get(key)
    stored = node.child(transform["path"])
    if (
        stored is None
        or stored.kind != "array"
        or not 0 < np.prod(stored.shape, dtype=float) <= _MAX_NUMBERS
    ):
        raise LayoutError(
            f"{key} should be in {brief(transform['path'])}, which is not a small array"
        )
    try:
        values = np.asarray(stored.array()[...])
    # Every exception: codecs raise errors of their own on a damaged chunk.
    except Exception as error:
        raise LayoutError(
            f"{key} in {stored.location} cannot be read: {one_line(error)}"
        ) from error
    if values.dtype.kind not in "iuf":
        raise LayoutError(f"{key} in {stored.location} is of type {values.dtype}, expected numbers")
    return values.tolist()


def _matrix(transform: Mapping[str, Any], key: str, shape: tuple[int, int], node: Node) -> Affine:
    values = _numbers(transform, key, node)
    try:
        block = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise LayoutError(f"{key} is not a matrix of numbers but {brief(values)}") from None
    if block.shape == (shape[0] + 1, shape[0] + 1):
        block = block[: shape[0], : shape[1]]  # written with its last row, 0 ... 0 1
    if block.shape != shape or not np.isfinite(block).all():
        raise LayoutError(f"{key} has the shape {block.shape}, expected {shape} finite numbers")
    matrix = np.eye(shape[0] + 1)
    matrix[: shape[0], : shape[1]] = block
    return matrix


def _axis_mapping(mapping: object, ndim: int, axes: Sequence[str]) -> Affine:
    """Return the matrix that gives output axis i the values of input axis ``mapping[i]``.

    0.6.dev1 wrote an object from output names to input names.
    """
    if isinstance(mapping, Mapping):
        mapping = [mapping.get(name) for name in axes]
    order = [_axis(a, axes) for a in mapping] if isinstance(mapping, list) else []
    if sorted(order) != list(range(ndim)):
        raise LayoutError(f"mapAxis {brief(mapping)} is not an order of {ndim} axes")
    matrix = np.eye(ndim + 1)
    matrix[:-1] = matrix[order]
    return matrix


def _by_dimension(
    transform: Mapping[str, Any], ndim: int, node: Node, axes: Sequence[str], depth: int
) -> Affine:
    """Return the matrix of transformations of some axes each; all other axes stay as they are."""
    matrix = np.eye(ndim + 1)
    for part in _list(transform, "transformations"):
        if not isinstance(part, Mapping):
            raise LayoutError(f"a part of byDimension is {brief(part)}, expected an object")
        inner = part.get("transformation", part)
        inputs, outputs = (_axes(part, side, axes) for side in ("input", "output"))
        if len(inputs) != len(outputs) or not all(0 <= a < ndim for a in (*inputs, *outputs)):
            raise LayoutError("byDimension names axes that do not fit")
        block = parse_transform(
            inner, len(inputs), node, [axes[i] for i in inputs if i < len(axes)], depth + 1
        )
        for row, output in enumerate(outputs):
            matrix[output] = 0
            matrix[output, [*inputs, ndim]] = block[row]
    return matrix


def _axes(part: Mapping[str, Any], side: str, axes: Sequence[str]) -> list[int]:
    """Return the axes of one side: "inputAxes" in 0.6, "input_axes" or "input" before."""
    names = next((part[key] for key in (f"{side}Axes", f"{side}_axes", side) if key in part), None)
    if not isinstance(names, list):
        raise LayoutError(f"byDimension has no {side}Axes")
    return [_axis(name, axes) for name in names]


def _axis(axis: object, axes: Sequence[str]) -> int:
    """Return the position of an axis given by number or name; -1 if there is no such axis."""
    if isinstance(axis, int) and not isinstance(axis, bool):
        return axis
    return axes.index(axis) if isinstance(axis, str) and axis in axes else -1


def _list(transform: Mapping[str, Any], key: str) -> list[Any]:
    steps = transform.get(key)
    if not isinstance(steps, list):
        raise LayoutError(f"{brief(transform.get('type'))} has no list of {key}")
    return steps


def _scaling(scale: Sequence[float]) -> Affine:
    return np.diag([*scale, 1.0])


def _translating(translation: Sequence[float]) -> Affine:
    matrix = np.eye(len(translation) + 1)
    matrix[:-1, -1] = translation
    return matrix
