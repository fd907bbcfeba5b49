"""Everything that the README and the pages in docs/ tell people to type works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
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
ELSEWHERE = "on a cluster"
"""Title of the blocks that no test can run."""
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]


def blocks(page: Path, language: str, title: str = "") -> list[str]:
    """Return the blocks that can be run, or the blocks with a title, which cannot."""
    head = f'```{language} title="{title}"' if title else f"```{language}"
    return re.findall(rf"^{head}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a reader of the README has: a stack, a pyramid of it, an image of one resolution."""
    monkeypatch.chdir(tmp_path)
    stack = np.random.default_rng(0).integers(0, 4000, (24, 70, 80)).astype(np.uint16)
    tifffile.imwrite("embryo.tif", stack)
    group = zarr.create_group("single.ome.zarr")
    group.create_array("0", data=np.zeros((900, 800), np.uint8), chunks=(256, 256))
    return tmp_path


def build_embryo() -> None:
    """Build what the pages beside the README take for granted."""
    words = ["build", "embryo.tif", "embryo.ome.zarr", "--levels", "2"]
    assert CliRunner().invoke(app, words).exit_code == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_of_a_kind_that_is_run(page: Path) -> None:
    heads = re.findall(r"^```(.*)$", page.read_text(), re.MULTILINE)[::2]
    assert {head.removesuffix(f' title="{ELSEWHERE}"') for head in heads} <= {"bash", "python"}
    for block in blocks(page, "python", ELSEWHERE):
        compile(block, page.name, "exec")


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name
)
def test_python_blocks_run(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, make_napari_viewer: Any
) -> None:
    monkeypatch.setattr("napari.Viewer", make_napari_viewer)
    if page.name != "README.md":
        build_embryo()
    exec(compile("\n".join(blocks(page, "python")), page.name, "exec"), {"__name__": "page"})


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "bash")], ids=lambda page: page.name
)
def test_commands_run(page: Path, folder: Path) -> None:
    if page.name != "README.md":
        build_embryo()
    for line in "".join(blocks(page, "bash")).splitlines():
        check_command(shlex.split(line))


def check_command(words: list[str]) -> None:
    match words:
        case ["napari-pyramid", "serve", *arguments]:
            command = [sys.executable, "-m", "napari_pyramid.cli", "serve", *arguments]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
                try:
                    assert server.stdout is not None
                    assert any("http://127.0.0.1" in line for line in server.stdout), words
                finally:
                    server.terminate()
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


def test_readme_of_the_package_has_absolute_links_only() -> None:
    tool = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]
    text = (TOP / "README.md").read_text()
    for rule in tool["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    own = "napari-pyramid/napari-pyramid"
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert pictures
    for target in pictures:
        base, _, path = target.partition("/main/")
        assert base == f"https://raw.githubusercontent.com/{own}"
        assert (TOP / path).is_file(), target
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert target.startswith("https://"), target


def test_citation_names_the_version_of_the_package() -> None:
    citation = (TOP / "CITATION.cff").read_text()
    assert f"\nversion: {PROJECT['version']}\n" in citation
    assert f"\nlicense: {PROJECT['license']}\n" in citation


def test_pictures_are_all_shown_and_small() -> None:
    shown = {
        Path(target).name
        for page in PAGES
        for target in re.findall(r"!\[[^]]*\]\((?:docs/)?images/([^)]+)\)", page.read_text())
    }
    pictures = {path.name: path.stat().st_size for path in (TOP / "docs" / "images").iterdir()}
    assert set(pictures) == shown
    assert sum(pictures.values()) < 3_000_000
    assert pictures["build.gif"] < 1_500_000


def test_command_line_page_names_every_option() -> None:
    from napari_pyramid.cli._options import Recipe

    page = (TOP / "docs" / "command-line.md").read_text()
    for field in Recipe.__dataclass_fields__:
        assert f"`--{field.replace('_', '-')}" in page, field
