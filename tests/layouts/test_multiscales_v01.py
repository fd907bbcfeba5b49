"""Multiscales of zarr-specs issue 50: any rank, several to a group, paths in any spelling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from napari_pyramid.catalog import open_catalog
from napari_pyramid.layouts import open_images


@pytest.mark.parametrize("shape", [(12, 8), (4, 12, 8), (2, 4, 12, 8)])
def test_any_rank_and_no_axes(new_store: Callable, shape: tuple[int, ...]) -> None:
    store = new_store(2)
    store.array("base", shape)
    store.array("half", tuple(n // 2 for n in shape))
    store.group(
        multiscales=[
            {
                "datasets": [{"path": "base"}, {"path": "half"}],
                "type": "gaussian",
                "metadata": {"method": "m"},
            }
        ]
    )
    (image,) = open_images(store.root)
    assert (image.layout, image.axes, [level.path for level in image.levels]) == (
        "multiscales 0.1",
        None,
        ["base", "half"],
    )
    assert image.metadata == {"type": "gaussian", "metadata": {"method": "m"}}


def test_axes_of_the_arrays_are_used(new_store: Callable) -> None:
    """tifffile's store names the axes of its arrays; axes of levels have a number."""
    store = new_store(2)
    store.array("0", (12, 8), attributes={"_ARRAY_DIMENSIONS": ["Y", "X"]})
    store.array("1", (6, 4), attributes={"_ARRAY_DIMENSIONS": ["Y1", "X1"]})
    store.group(multiscales=[{"version": "0.1", "datasets": [{"path": "0"}, {"path": "1"}]}])
    (image,) = open_images(store.root)
    assert [a.name for a in image.axes] == ["Y", "X"]


def test_several_multiscales_share_a_level_and_the_first_is_shown(new_store: Callable) -> None:
    """The sample code of the issue: a gaussian and a laplacian pyramid of one base, in colour."""
    store = new_store(2)
    for name, n in {"base": 16, "G1": 8, "L1": 8}.items():
        store.array(name, np.zeros((n, n, 3)))
    listed = [
        {"name": name, "datasets": [{"path": "base"}, {"path": other}]}
        for name, other in (("gaussian", "G1"), ("laplacian", "L1"))
    ]
    store.group(multiscales=listed)
    gaussian, laplacian = open_images(store.root)
    assert (gaussian.name, laplacian.name) == ("gaussian", "laplacian")
    assert gaussian.rgb
    assert gaussian.channels == ()
    assert [c.visible for c in laplacian.channels] == [False]
    first, second = open_catalog(store.root).entries
    assert (first.is_alternative, second.is_alternative) == (False, True)
    (chosen,) = second.read(None)
    assert [c.visible for c in chosen.channels] == [True]


def test_paths_below_groups(new_store: Callable) -> None:
    store = new_store(2)
    store.array("a/x", (12, 8))
    store.array("b/y", (6, 4))
    store.group(multiscales=[{"datasets": [{"path": "a/x"}, {"path": "b/y"}]}])
    (image,) = open_images(store.root)
    assert [level.path for level in image.levels] == ["a/x", "b/y"]
