"""Coordinate transformations.

Composition against matrices written out by hand from the specification's formulas.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from napari_pyramid.errors import LayoutError, LayoutWarning
from napari_pyramid.layouts.transforms import compose, diagonal, is_axis_aligned
from napari_pyramid.storage.node import Node
from napari_pyramid.storage.stores import open_root


@pytest.fixture
def node(new_store: Callable) -> Node:
    return open_root(new_store(2).group().root)


def scale(*values: Any) -> dict[str, Any]:
    return {"type": "scale", "scale": list(values)}


def translation(*values: Any) -> dict[str, Any]:
    return {"type": "translation", "translation": list(values)}


@pytest.mark.parametrize(
    ("transforms", "expected"),
    [
        pytest.param([], ((1, 1), (0, 0)), id="none"),
        pytest.param([{"type": "identity"}], ((1, 1), (0, 0)), id="identity"),
        pytest.param([scale(2, 3), translation(5, 7)], ((2, 3), (5, 7)), id="0.4: scale, then translation"),
        pytest.param([translation(5, 7), scale(2, 3)], ((2, 3), (10, 21)), id="n5-universe st: the translation is scaled"),
        pytest.param([scale(2, 3), scale(5, 7)], ((10, 21), (0, 0)), id="n5-universe ss"),
        pytest.param([translation(2, 3), translation(5, 7)], ((1, 1), (7, 10)), id="n5-universe tt"),
        pytest.param([{"type": "sequence", "transformations": [scale(2, 3), translation(5, 7)]}], ((2, 3), (5, 7)), id="0.6: sequence"),
        pytest.param([scale(-2, 3)], ((-2, 3), (0, 0)), id="negative scale"),
        pytest.param([{"type": "affine", "affine": [[2, 0, 5], [0, 3, 7]]}], ((2, 3), (5, 7)), id="affine without rotation"),
        pytest.param(
            [{"type": "byDimension", "transformations": [
                {"transformation": translation(5), "inputAxes": [0], "outputAxes": [0]},
                {"transformation": scale(3), "inputAxes": [1], "outputAxes": [1]},
            ]}], ((1, 3), (5, 0)), id="0.6: byDimension"),
        pytest.param(
            [{"type": "byDimension", "transformations": [{"transformation": scale(3), "input_axes": ["x"], "output_axes": ["x"]}]}],
            ((1, 3), (0, 0)), id="0.6.dev: byDimension with names"),
        pytest.param([{"type": "bijection", "forward": scale(2, 3), "inverse": scale(0.5, 1 / 3)}], ((2, 3), (0, 0)), id="bijection"),
    ],
)  # fmt: skip
def test_composition(node: Node, transforms: list[Any], expected: tuple[Any, Any]) -> None:
    matrix = compose(transforms, 2, node, ["y", "x"])
    assert is_axis_aligned(matrix)
    assert diagonal(matrix) == expected


def test_map_axis_takes_input_axis_i_for_output_i(node: Node) -> None:
    """0.6: "mapAxis": [1, 2, 0] of the point (a, b, c) is (b, c, a)."""
    matrix = compose([{"type": "mapAxis", "mapAxis": [1, 2, 0]}], 3, node)
    np.testing.assert_array_equal(matrix @ [10, 20, 30, 1], [20, 30, 10, 1])


def test_map_axis_by_names_of_the_first_draft(node: Node) -> None:
    matrix = compose([{"type": "mapAxis", "mapAxis": {"y": "x", "x": "y"}}], 2, node, ["y", "x"])
    np.testing.assert_array_equal(matrix @ [10, 20, 1], [20, 10, 1])


def test_rotation_and_translation(node: Node) -> None:
    matrix = compose(
        [{"type": "rotation", "rotation": [[0, -1], [1, 0]]}, translation(5, 7)], 2, node
    )
    np.testing.assert_array_equal(matrix, [[0, -1, 5], [1, 0, 7], [0, 0, 1]])
    assert not is_axis_aligned(matrix)


@pytest.mark.parametrize("bad", [0, 0.0, float("nan"), float("inf"), "2", None, True, 10**400, [1]])
def test_scale_that_is_no_scale_is_replaced_by_one(node: Node, bad: Any) -> None:
    with pytest.warns(LayoutWarning, match="scale .* is replaced by 1"):
        matrix = compose([scale(bad, 3)], 2, node)
    assert diagonal(matrix)[0] == (1, 3)


def test_translation_that_is_no_number_is_replaced_by_zero(node: Node) -> None:
    with pytest.warns(LayoutWarning, match="translation 'a' is replaced by 0"):
        matrix = compose([translation("a", 3)], 2, node)
    assert diagonal(matrix)[1] == (0, 3)


def test_parameters_in_an_array(new_store: Callable) -> None:
    """0.4, "coordinateTransformations".

    Scale and translation may be given as the path of an array.
    """
    store = new_store(2).group()
    store.array("parameters", np.array([2.0, 3.0]))
    assert diagonal(
        compose([{"type": "scale", "path": "parameters"}], 2, open_root(store.root))
    ) == ((2, 3), (0, 0))


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        pytest.param({"type": "identity"}, "not a list", id="not a list"),
        pytest.param(["identity"], "expected an object", id="not an object"),
        pytest.param([{"type": "displacements", "path": "a"}], "displacements", id="field"),
        pytest.param([scale(1, 2, 3)], "scale has 3 values, the array has 2 axes", id="length"),
        pytest.param([{"type": "scale"}], "scale has None", id="missing"),
        pytest.param([{"type": "scale", "path": "../a"}], "not a path inside", id="path outside"),
        pytest.param([{"type": "scale", "path": "a"}], "not a small array", id="path without array"),
        pytest.param([{"type": "affine", "affine": [[1, 2], [3]]}], "not a matrix", id="ragged"),
        pytest.param([{"type": "affine", "affine": [[1, 0, float("nan")], [0, 1, 0]]}], "finite", id="NaN in a matrix"),
        pytest.param([{"type": "affine", "affine": [[0, 0, 1], [0, 1, 0]]}], "zero", id="flattening"),
        pytest.param([scale(1e299, 1)] * 3, "infinite", id="overflow"),
        pytest.param([{"type": "mapAxis", "mapAxis": [0, 0]}], "not an order", id="not a permutation"),
        pytest.param([{"type": "byDimension", "transformations": [{"transformation": scale(1), "inputAxes": [4], "outputAxes": [0]}]}],
                     "do not fit", id="no such axis"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_an_error(node: Node, transforms: Any, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        compose(transforms, 2, node, ["y", "x"])


def test_sequences_in_sequences_end(node: Node) -> None:
    transform: dict[str, Any] = {"type": "identity"}
    for _ in range(100):
        transform = {"type": "sequence", "transformations": [transform]}
    with pytest.raises(LayoutError):
        compose([transform], 2, node)


def test_integers_beyond_64_bits_are_numbers(node: Node) -> None:
    """JSON knows no largest integer."""
    assert diagonal(compose([scale(2**64, 1), translation(-(2**70), 0)], 2, node)) == (
        (2.0**64, 1),
        (-(2.0**70), 0),
    )


@pytest.mark.parametrize(
    "values", [np.array([True, True]), np.array([1j, 2]), np.array(["1", "2"], dtype="<U1")]
)
def test_parameters_in_an_array_are_numbers(new_store: Callable, values: np.ndarray) -> None:
    store = new_store(2).group()
    store.array("parameters", values)
    with pytest.raises(LayoutError, match="expected numbers"):
        compose([{"type": "affine", "path": "parameters"}], 2, open_root(store.root))
