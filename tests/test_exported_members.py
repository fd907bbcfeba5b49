"""The public names are what ``__all__`` says, and importing them stays cheap."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

import napari_pyramid

MODULES = [
    m.name
    for m in pkgutil.walk_packages(napari_pyramid.__path__, "napari_pyramid.")
    if "._" not in m.name
]


def test_all_is_sorted_and_without_repeats() -> None:
    assert napari_pyramid.__all__ == sorted(set(napari_pyramid.__all__))


@pytest.mark.parametrize("name", napari_pyramid.__all__)
def test_public_names_exist_and_are_documented(name: str) -> None:
    for (
        module
    ) in MODULES:  # importing one binds its name in the package, which must not hide a public name
        importlib.import_module(module)
    member = getattr(napari_pyramid, name)
    assert not isinstance(member, ModuleType)
    assert member.__doc__


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_does_and_exports_what_it_has(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    for member in getattr(module, "__all__", []):
        assert hasattr(module, member), member


def test_the_module_downsample_is_not_hidden_by_its_function() -> None:
    import napari_pyramid.downsample as module

    assert "downsample" not in napari_pyramid.__all__
    assert isinstance(module, ModuleType)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="frobnicate"):
        _ = napari_pyramid.frobnicate  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        pytest.param(
            "import napari_pyramid",
            ["zarr", "numba", "napari", "qtpy", "magicgui", "dask"],
            id="the package",
        ),
        pytest.param(
            "from napari_pyramid import open_pyramid",
            ["numba", "napari", "qtpy", "magicgui", "dask"],
            id="opening",
        ),
        pytest.param(
            "from napari_pyramid import build_pyramid",
            ["napari", "qtpy", "magicgui", "dask"],
            id="building",
        ),
    ],
)
def test_importing_loads_nothing_that_is_not_needed(statement: str, unwanted: list[str]) -> None:
    code = f"import sys; {statement}; print([m for m in {unwanted} if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
