"""Scenes of OME-Zarr 0.6: images placed by transforms between coordinate systems."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_pyramid.errors import LayoutWarning
from napari_pyramid.layouts import open_images

YX = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]


def scene(
    new_store: Callable,
    *transforms: dict[str, Any],
    names: tuple[str, ...] = ("a", "b"),
    world: bool = True,
) -> Path:
    store = new_store(3)
    for name in names:
        store.array(f"{name}/0", (6, 8))
        level = {
            "type": "scale",
            "scale": [2, 2],
            "input": {"path": "0"},
            "output": {"name": "physical"},
        }
        dataset = {"path": "0", "coordinateTransformations": [level]}
        own = {
            "type": "scale",
            "scale": [10, 10],
            "input": {"name": "physical"},
            "output": {"name": "stage"},
        }
        multiscale = {
            "coordinateSystems": [{"name": "physical", "axes": YX}],
            "datasets": [dataset],
            "coordinateTransformations": [own],
        }
        store.group(name, version="0.6", multiscales=[multiscale])
    systems = {"coordinateSystems": [{"name": "world", "axes": YX}]} if world else {}
    return store.group(
        version="0.6", scene={"coordinateTransformations": list(transforms), **systems}
    ).root


def step(source: tuple[str, str], target: tuple[str, str], **transform: Any) -> dict[str, Any]:
    ends = [{"name": name, **({"path": path} if path else {})} for path, name in (source, target)]
    return {"input": ends[0], "output": ends[1], **transform}


WORLD = ("", "world")


def test_images_are_placed_in_the_scenes_system(new_store: Callable) -> None:
    path = scene(
        new_store,
        step(("a", "physical"), WORLD, type="translation", translation=[0, 0]),
        step(("b", "physical"), WORLD, type="translation", translation=[0, 348]),
    )
    a, b = open_images(path)
    assert (a.name, a.affine, b.name, b.levels[0].scale) == ("a", None, "b", (2, 2))
    np.testing.assert_array_equal(b.affine, [[1, 0, 0], [0, 1, 348], [0, 0, 1]])


def test_transforms_are_chained_and_taken_backwards(new_store: Callable) -> None:
    """b -> its stage -> a -> world, the second one stored the other way round.

    (10 p - 3) / 2 + 5.
    """
    path = scene(
        new_store,
        step(
            ("a", "physical"),
            ("b", "stage"),
            type="sequence",
            transformations=[
                {"type": "scale", "scale": [2, 2]},
                {"type": "translation", "translation": [3, 3]},
            ],
        ),
        step(("a", "physical"), WORLD, type="translation", translation=[5, 5]),
    )
    _, b = open_images(path)
    np.testing.assert_allclose(b.affine @ [1, 7, 1], [(10 - 3) / 2 + 5, (70 - 3) / 2 + 5, 1])


def test_without_a_system_of_its_own_the_first_target_is_shown(new_store: Callable) -> None:
    path = scene(
        new_store,
        step(("a", "physical"), ("b", "physical"), type="scale", scale=[2, 3]),
        world=False,
    )
    a, b = open_images(path)
    np.testing.assert_array_equal(a.affine, np.diag([2, 3, 1]))
    assert b.affine is None


def test_bijection_has_its_own_way_back(new_store: Callable) -> None:
    forward, inverse = (
        {"type": "displacements", "path": "field"},
        {"type": "scale", "scale": [3, 3]},
    )
    path = scene(
        new_store,
        step(WORLD, ("a", "physical"), type="bijection", forward=forward, inverse=inverse),
        names=("a",),
    )
    (a,) = open_images(path)
    np.testing.assert_array_equal(a.affine, np.diag([3, 3, 1]))


def test_image_that_cannot_be_placed_is_shown_where_it_is(new_store: Callable) -> None:
    path = scene(
        new_store, step(("a", "physical"), WORLD, type="displacements", path="field"), names=("a",)
    )
    with pytest.warns(LayoutWarning, match="'a' is shown in its own coordinates.*displacements"):
        (a,) = open_images(path)
    assert a.affine is None


def test_cycle_of_transforms_ends(new_store: Callable) -> None:
    path = scene(
        new_store,
        step(("a", "physical"), ("b", "physical"), type="identity"),
        step(("b", "physical"), ("a", "physical"), type="identity"),
    )
    with pytest.warns(LayoutWarning, match="no transform leads"):
        assert len(open_images(path)) == 2


def test_path_of_the_scenes_own_system_may_be_null(new_store: Callable) -> None:
    """0.6, "scene": "MAY be omitted or null"."""
    transform = step(("a", "physical"), WORLD, type="translation", translation=[0, 100])
    transform["output"]["path"] = None
    (a,) = open_images(scene(new_store, transform, names=("a",)))
    np.testing.assert_array_equal(a.affine, [[1, 0, 0], [0, 1, 100], [0, 0, 1]])


def test_labels_lie_on_their_image(new_store: Callable) -> None:
    """0.6, "labels": "in the same coordinate system as a corresponding multiscale image".

    Here without its channels and z.
    """
    store = new_store(3)
    axes = [{"name": "c", "type": "channel"}, {"name": "z", "type": "space"}, *YX]
    for path, listed, shape in (("a", axes, (2, 3, 6, 8)), ("a/labels/cells", YX, (6, 8))):
        store.array(f"{path}/0", shape)
        level = {
            "type": "scale",
            "scale": [1] * len(shape),
            "input": {"path": "0"},
            "output": {"name": "physical"},
        }
        dataset = {"path": "0", "coordinateTransformations": [level]}
        multiscale = {
            "coordinateSystems": [{"name": "physical", "axes": listed}],
            "datasets": [dataset],
        }
        store.group(
            path,
            version="0.6",
            multiscales=[multiscale],
            **({"image-label": {}} if listed is YX else {}),
        )
    store.group("a/labels", version="0.6", labels=["cells"])
    affine = [[1, 0, 0, 0, 0], [0, 2, 0, 0, 7], [0, 0, 0, -1, 30], [0, 0, 1, 0, 40]]
    transform = step(("a", "physical"), WORLD, type="affine", affine=affine)
    system = {"name": "world", "axes": axes}
    image, labels = open_images(
        store.group(
            version="0.6",
            scene={"coordinateTransformations": [transform], "coordinateSystems": [system]},
        ).root
    )
    np.testing.assert_array_equal(
        image.affine, [[2, 0, 0, 7], [0, 0, -1, 30], [0, 1, 0, 40], [0, 0, 0, 1]]
    )
    assert (labels.kind, labels.path) == ("labels", "a/labels/cells")
    np.testing.assert_array_equal(labels.affine, [[0, -1, 30], [1, 0, 40], [0, 0, 1]])
