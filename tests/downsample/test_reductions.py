"""What the table says of each reduction method is true of what the method computes."""

from __future__ import annotations

import itertools
import re
import tracemalloc
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from napari_pyramid import PyramidSpec, SpecError
from napari_pyramid.downsample import (
    METHODS,
    REDUCTIONS,
    MethodName,
    Reduction,
    default_method,
    downsampled_shape,
    methods_for,
    reduction_of,
)
from napari_pyramid.regions import shape_of, with_halo

DOCS = Path(__file__).parents[2] / "docs"


def residual(factors: tuple[int, ...]) -> Reduction:
    """The only method that is not in the table: the residuals of a level."""
    beside = reduction_of("laplacian").residual
    assert beside is not None
    return beside.of(factors)


def own(block: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """A user's method: the number of samples in a window that are not 0."""
    found = reduction_of("mean").reduce((block != 0).astype(np.float64), factors)
    return (found * np.prod(factors)).astype(block.dtype)


EVERY = [*REDUCTIONS, reduction_of("mode", ignore_background=True), reduction_of(own)]
every = pytest.mark.parametrize("reduction", EVERY, ids=lambda reduction: reduction.name)


@every
@pytest.mark.parametrize(
    "fill", [np.uint8(0), np.uint8(7), np.int64(-(2**63)), np.float32(0), np.float32(0.1)], ids=repr
)
def test_a_constant_that_is_kept_is_kept_bit_for_bit(reduction: Reduction, fill: Any) -> None:
    for factors in itertools.product((1, 2, 3), repeat=2):
        result = reduction.reduce(np.full((7, 11), fill), factors)
        if reduction.keeps_constant(fill):
            assert (result == fill).all(), factors


def test_type_checkers_know_the_methods_of_the_table() -> None:
    assert get_args(MethodName) == METHODS


def test_residuals_keep_zeros_only() -> None:
    reduction = residual((2, 3))
    assert [reduction.keeps_constant(np.float32(v)) for v in (0, 0.1)] == [True, False]
    assert (reduction.reduce(np.zeros((7, 11), "u1"), (1, 1)) == 0).all()


@every
def test_methods_for_labels_give_values_of_their_window(reduction: Reduction) -> None:
    block = np.random.default_rng(0).integers(0, 60_000, (9, 14)).astype(np.uint16)
    result = reduction.reduce(block, (2, 3))
    chosen = all(
        result[i, j] in block[2 * i : 2 * i + 2, 3 * j : 3 * j + 3] for i, j in np.ndindex(5, 5)
    )
    assert chosen or reduction.invents_values or reduction.function is not None


@every
def test_a_region_with_its_halo_gives_what_the_whole_gives(reduction: Reduction) -> None:
    block = np.random.default_rng(0).integers(0, 1000, (31, 40)).astype(np.float32)
    check_halo(reduction, block, (2, 3))


def test_a_residual_with_its_halo_is_that_of_the_whole() -> None:
    block = np.random.default_rng(0).integers(0, 1000, (31, 40)).astype(np.uint16)
    check_halo(residual((2, 3)), block, (1, 1))


def check_halo(reduction: Reduction, block: np.ndarray, factors: tuple[int, ...]) -> None:
    whole = reduction.reduce(block, factors)
    for rows, columns in [((0, 6), (0, 12)), ((12, 18), (9, 30)), ((24, 31), (30, 40))]:
        region = (slice(*rows), slice(*columns))
        around, margins = with_halo(region, reduction.halo(factors), block.shape)
        place = tuple(
            slice(s.start // f, -(-s.stop // f)) for s, f in zip(region, factors, strict=True)
        )
        np.testing.assert_allclose(
            reduction.reduce(block[around], factors, margins), whole[place], rtol=1e-6
        )


@pytest.mark.parametrize("reduction", REDUCTIONS, ids=lambda reduction: reduction.name)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
def test_the_bytes_that_are_predicted_suffice(reduction: Reduction, dtype: str) -> None:
    block = np.random.default_rng(0).integers(0, 200, (64, 64, 64)).astype(dtype)
    check_bytes(reduction, block, (2, 2, 2))


def test_the_bytes_that_are_predicted_for_a_residual_suffice() -> None:
    check_bytes(residual((2, 2, 2)), np.zeros((64, 64, 64), np.uint16), (1, 1, 1))


def check_bytes(reduction: Reduction, block: np.ndarray, factors: tuple[int, ...]) -> None:
    """The block stands for the region and its margins: it is smaller than what is predicted."""
    reduction.reduce(block[:4, :4, :4], factors)  # compiles
    result = np.prod(downsampled_shape(block.shape, factors)) * max(block.dtype.itemsize, 4)
    tracemalloc.start()
    try:
        reduction.reduce(block, factors)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    predicted = reduction.block_bytes(block.shape, factors, block.dtype) - block.nbytes
    assert peak <= predicted + result + 2**16


@pytest.mark.parametrize(("method", "shift"), [("mean", 0.5), ("gaussian", 0.5), ("stride", 0.0)])
def test_samples_are_placed_where_a_ramp_has_their_value(method: str, shift: float) -> None:
    ramp = np.arange(60.0)
    level = PyramidSpec.from_array(ramp, axes="x", method=method, factors=3, n_levels=2).levels[1]
    assert level.translation == (shift * 2,)
    inner = reduction_of(method).reduce(ramp, (3,))[5:-5]
    np.testing.assert_allclose(inner, (np.arange(20) * level.scale[0] + level.translation[0])[5:-5])


def test_halo_is_cut_at_the_ends_of_the_array() -> None:
    around, margins = with_halo((slice(0, 4), slice(6, 9)), (2, 3), (5, 20))
    assert around == (slice(0, 5), slice(3, 12))
    assert margins == ((0, 1), (3, 3))
    assert shape_of(around) == (5, 9)


def test_labels_and_masks_get_a_method_that_invents_nothing() -> None:
    assert default_method("image", np.dtype("u2")) == "mean"
    assert default_method("labels", np.dtype("u2")) == "mode"
    assert default_method("image", np.dtype(bool)) == "mode"
    assert not any(reduction.invents_values for reduction in methods_for("labels"))


def test_a_user_s_function_is_named_and_distinguished_from_others() -> None:
    reduction = reduction_of(own)
    assert reduction.name == "own"
    assert reduction.identity not in (None, "own")
    assert reduction_of(lambda block, factors: block).identity is None
    assert [reduction_of(method).identity for method in METHODS] == list(METHODS)


def test_an_unknown_method_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(SpecError, match=f"'average' is not known: use one of {', '.join(METHODS)}"):
        reduction_of("average")


def test_every_method_is_explained_in_the_docs() -> None:
    page = (DOCS / "pixels.md").read_text()
    section = page.split("## Methods")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")][2:]
    assert tuple(itertools.chain(*(re.split(r",\s*", row.strip()) for row in rows))) == METHODS
