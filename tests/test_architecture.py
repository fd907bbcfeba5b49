"""The code is as docs/architecture.md draws it: folders, imports and the place of each module."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import napari_pyramid

PACKAGE = Path(napari_pyramid.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
MODULES = sorted(PACKAGE.rglob("*.py"))
ROWS = [
    ("_napari", "cli"),
    ("share", "export", "check", "info"),
    ("layer_image", "build"),
    ("pyramid", "catalog"),
    ("layouts", "metadata", "contrast"),
    ("arrays",),
    ("plan",),
    ("storage", "downsample"),
    ("image",),
    ("axes",),
    ("errors", "regions", "half_pixel", "thread_priority", "words"),
]
"""The folders and modules of the drawing, from top to bottom."""


def test_the_page_names_every_module_and_no_other() -> None:
    named = set(re.findall(r"`((?:\w+/)*\w+\.py)`", PAGE.read_text(encoding="utf-8")))
    modules = {file.relative_to(PACKAGE).as_posix() for file in MODULES}
    assert {name for name in modules if not name.endswith("__init__.py")} <= named
    rest = {name for name in named - modules if not name.startswith(("tests/", "scripts/"))}
    assert rest == set()


def test_imports_point_down_and_private_modules_stay_in_their_folder() -> None:
    row = {name: n for n, names in enumerate(ROWS) for name in names}
    wrong = []
    for file in MODULES:
        home, *inner = file.relative_to(PACKAGE).with_suffix("").parts
        if home == "__init__":
            continue  # it imports the public names when they are first used
        for folder, module in imported(file):
            is_private = module.startswith("_") and not (inner and folder == home)
            if is_private or (folder != home and row[folder] <= row[home]):
                wrong.append(f"{file.relative_to(PACKAGE)} imports {folder}.{module}")
    assert not wrong


def imported(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the folder, or module, and the module in it, of each import from the package."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("napari_pyramid."):
            folder, _, module = str(node.module).removeprefix("napari_pyramid.").partition(".")
            for alias in node.names:
                yield folder, module or alias.name
