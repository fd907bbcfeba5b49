"""Versions of OME-Zarr in a zarr format that they cannot have.

0.1 to 0.4 are zarr v2, 0.5 and later zarr v3.

Sources: ome/ngff-spec, version_history.md and index.md of each version, "Storage format".
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

from napari_pyramid.errors import LayoutWarning
from napari_pyramid.layouts import open_images

IN_V2 = ["0.1", "0.2", "0.3", "0.4"]
IN_V3 = ["0.5", "0.6", "0.6rc0", "0.6.dev4", "0.9.dev1"]


def multiscale(version: Any = None, dimensions: str = "tczyx") -> dict[str, Any]:
    said = {} if version is None else {"version": version}
    axes = {} if version in ("0.1", "0.2") else {"axes": list(dimensions)}
    return {"datasets": [{"path": "0"}, {"path": "1"}], **axes, **said}


def levels(store: Any) -> Any:
    store.array("0", (1, 1, 3, 16, 12))
    store.array("1", (1, 1, 3, 8, 6))
    return store


def shapes(store: Any) -> list[tuple[int, ...]]:
    (image,) = open_images(store.root)
    return [level.array.shape for level in image.levels]


@pytest.mark.parametrize("version", [*IN_V2, 0.4])
@pytest.mark.parametrize("in_ome", [False, True])
def test_old_versions_in_zarr_v3(new_store: Callable, version: Any, in_ome: bool) -> None:
    found = {"multiscales": [multiscale(version)]}
    store = levels(new_store(3)).group(raw={"ome": found} if in_ome else found)
    with pytest.warns(LayoutWarning, match=f"'{version}' .* zarr v3") as warned:
        assert shapes(store) == [(1, 1, 3, 16, 12), (1, 1, 3, 8, 6)]
    assert len(warned) == 1


@pytest.mark.parametrize("version", IN_V3)
@pytest.mark.parametrize("place", ["ome", "ome: multiscales", "multiscales"])
def test_new_versions_in_zarr_v2(new_store: Callable, version: str, place: str) -> None:
    inner = multiscale(version if place != "ome" else None)
    ome = {"multiscales": [inner], **({"version": version} if place == "ome" else {})}
    store = levels(new_store(2)).group(raw={"ome": ome} if place.startswith("ome") else ome)
    with pytest.warns(LayoutWarning, match=f"'{version}' .* zarr v2") as warned:
        assert shapes(store) == [(1, 1, 3, 16, 12), (1, 1, 3, 8, 6)]
    assert len(warned) == 1


@pytest.mark.parametrize(
    ("zarr_format", "version"),
    [(2, version) for version in [*IN_V2, "0.4-dev", "0.5-dev", None]]
    + [(3, version) for version in IN_V3],
)
def test_versions_where_they_belong_are_not_mentioned(
    new_store: Callable, zarr_format: int, version: str | None
) -> None:
    found = {"multiscales": [multiscale(version)]}
    raw = found if zarr_format == 2 else {"ome": {"version": version, **found}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(shapes(levels(new_store(zarr_format)).group(raw=raw))) == 2


@pytest.mark.parametrize(("zarr_format", "version"), [(2, "0.5"), (3, "0.4")])
def test_a_plate_says_it_once_for_all_wells(
    new_store: Callable, zarr_format: int, version: str
) -> None:
    names = [str(k) for k in range(1, 4)]
    plate = {
        "version": version,
        "rows": [{"name": "A"}],
        "columns": [{"name": name} for name in names],
        "wells": [{"path": f"A/{name}"} for name in names],
    }
    store = new_store(zarr_format).group(plate=plate).group("A")
    for name in names:
        store.group(f"A/{name}", well={"version": version, "images": [{"path": "0"}]})
        store.image(f"A/{name}/0", (6, 8), version=version)
    with pytest.warns(LayoutWarning, match=f"'{version}' .* zarr v{zarr_format}") as warned:
        (image,) = open_images(store.root)
    assert len(warned) == 1
    assert image.levels[0].array.shape == (6, 24)


def test_labels_with_a_version_of_their_own(new_store: Callable) -> None:
    store = new_store(3).image("", (6, 8), version="0.5").group("labels", labels=["a"])
    store.image("labels/a", (6, 8), **{"image-label": {"version": "0.4"}})
    with pytest.warns(LayoutWarning, match=r"labels/a/.*'0\.4' .* zarr v3"):
        assert [image.kind for image in open_images(store.root)] == ["image", "labels"]


def test_versions_of_other_conventions_are_their_own(new_store: Callable) -> None:
    """zarr-specs issue 50 and zarr-conventions count from 0.1, in any zarr format."""
    specs50 = new_store(3, "a.zarr")
    specs50.array("0", (16, 12))
    specs50.array("1", (8, 6))
    specs50.group(raw={"multiscales": [multiscale("0.1")]})
    conventions = new_store(3, "b.zarr")
    conventions.array("0", (16, 12))
    conventions.group(raw={"multiscales": {"version": "0.1.0", "layout": [{"asset": "0"}]}})
    tables = new_store(3, "c.zarr").group(raw={"labels": [], "version": "0.2"})
    tables.image("img", (6, 8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for store in (specs50, conventions, tables):
            assert len(open_images(store.root)) == 1
