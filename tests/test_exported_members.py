"""The public names are what ``__all__`` says, and importing them stays cheap."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from functools import cache
from pathlib import Path
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


def test_what_other_modules_import_is_exported() -> None:
    """``__all__`` is what a module promises to others; a module's own helpers are not in it."""
    package = Path(napari_pyramid.__file__).parent
    missing = []
    for file in package.rglob("*.py"):
        for node in ast.walk(parsed(file)):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith(
                "napari_pyramid."
            ):
                continue
            source = package.joinpath(*str(node.module).split(".")[1:])
            source = source / "__init__.py" if source.is_dir() else source.with_suffix(".py")
            exported = exported_by(source)
            missing += [
                f"{node.module}.{alias.name}, for {file.relative_to(package)}"
                for alias in node.names
                if alias.name not in exported and not is_module(source, alias.name)
            ]
    assert not missing


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def exported_by(source: Path) -> set[str]:
    """The names in ``__all__``, or else of what the module defines; and what it imports as itself.

    ``from x import y as y`` is how a type is passed on that is not there when the program runs.
    """
    module = parsed(source)
    passed_on = {
        alias.name
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }
    for node in module.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return passed_on | set(ast.literal_eval(node.value))
    return passed_on.union(*map(defined_by, module.body))


def defined_by(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Assign):
        return [ast.unparse(target) for target in node.targets]
    return [node.name] if isinstance(node, ast.FunctionDef | ast.ClassDef) else []


def is_module(source: Path, name: str) -> bool:
    """Whether a name that is imported from a package is a module in it."""
    return source.name == "__init__.py" and (
        (source.parent / f"{name}.py").exists() or (source.parent / name).is_dir()
    )


def test_the_module_downsample_is_not_hidden_by_its_function() -> None:
    import napari_pyramid.downsample as module

    assert "downsample" not in napari_pyramid.__all__
    assert isinstance(module, ModuleType)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="frobnicate"):
        _ = napari_pyramid.frobnicate  # type: ignore[attr-defined]  # the point of the test


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
