"""Everything that the README and the pages in docs/ tell people to type works."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from typer.testing import CliRunner

from napari_pyramid.cli import app

TOP = Path(__file__).parents[1]
PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a reader of the README has: a stack, a pyramid of it, an image of one resolution."""
    monkeypatch.chdir(tmp_path)
    stack = np.random.default_rng(0).integers(0, 4000, (12, 70, 80)).astype(np.uint16)
    tifffile.imwrite("embryo.tif", stack)
    group = zarr.create_group("single.ome.zarr")
    group.create_array("0", data=np.zeros((900, 800), np.uint8), chunks=(256, 256))
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_of_a_kind_that_is_run(page: Path) -> None:
    languages = re.findall(r"^```(\w*)$", page.read_text(), re.MULTILINE)[::2]
    assert set(languages) <= {"bash", "python"}


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name
)
def test_python_blocks_run(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, make_napari_viewer: Any
) -> None:
    monkeypatch.setattr("napari.Viewer", make_napari_viewer)
    exec(compile("\n".join(blocks(page, "python")), page.name, "exec"), {"__name__": "page"})


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "bash")], ids=lambda page: page.name
)
def test_commands_run(page: Path, folder: Path) -> None:
    if page.name != "README.md":
        assert CliRunner().invoke(app, ["build", "embryo.tif", "embryo.ome.zarr"]).exit_code == 0
    for line in "".join(blocks(page, "bash")).splitlines():
        check_command(shlex.split(line))


def check_command(words: list[str]) -> None:
    match words:
        case ["napari-pyramid", *arguments]:
            result = CliRunner().invoke(app, arguments)
            assert result.exit_code == 0, (words, result.output)
        case ["make", target]:
            assert re.search(rf"^{target}:", (TOP / "Makefile").read_text(), re.MULTILINE), target
        case ["pip", "install", requirement]:
            name, *extras = re.split(r"[\[\],]", requirement.rstrip("]"))
            assert name in (PROJECT["name"], ".")
            assert set(extras) <= set(PROJECT["optional-dependencies"])
        case _:
            pytest.fail(f"nothing runs this line: {' '.join(words)}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_command_line_page_names_every_option() -> None:
    from napari_pyramid.cli._options import Recipe

    page = (TOP / "docs" / "command-line.md").read_text()
    for field in Recipe.__dataclass_fields__:
        assert f"`--{field.replace('_', '-')}" in page, field
