"""Every script in examples/ runs as it is."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.stem)
def test_example_runs(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(tmp_path)
    if "napari.Viewer" in script.read_text():
        viewer: Any = request.getfixturevalue("make_napari_viewer")
        monkeypatch.setattr("napari.Viewer", viewer)
        monkeypatch.setattr("napari.run", lambda: None)
    runpy.run_path(str(script), run_name="__main__")
