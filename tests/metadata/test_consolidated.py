"""Consolidated metadata after something changed below them.

zarr-python reads the truth from them.
"""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_pyramid.metadata.consolidated import has_consolidated, refresh_consolidated


@pytest.fixture(params=[2, 3], ids=["zarr v2", "zarr v3"])
def nested(request: Any, tmp_path: Path) -> Path:
    root = zarr.create_group(tmp_path / "x.zarr", zarr_format=request.param)
    root.create_group("inner").create_array("0", data=np.zeros((4, 4)))
    return tmp_path / "x.zarr"


def consolidate(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "not part of the zarr v3 specification yet"
        zarr.consolidate_metadata(str(path))


def test_groups_above_are_written_again(nested: Path) -> None:
    consolidate(nested)
    assert has_consolidated(nested)
    assert not has_consolidated(nested / "inner")
    zarr.open_group(nested, use_consolidated=False)["inner"].create_array(
        "1", data=np.zeros((2, 2))
    )
    assert "inner/1" not in zarr.open_consolidated(str(nested))
    refresh_consolidated(nested / "inner")
    assert "inner/1" in zarr.open_consolidated(str(nested))
    assert not has_consolidated(nested / "inner"), "none are made where there were none"


def test_they_say_what_zarr_itself_would_write(nested: Path, tmp_path: Path) -> None:
    """Read by zarr from the consolidated copy alone.

    The same nodes, with the same metadata and attributes.
    """
    zarr.open_group(nested)["inner"].attrs["stage"] = [1, 2]
    zarr.open_group(nested).create_group("empty").create_group("deeper")
    shutil.copytree(nested, tmp_path / "theirs.zarr")
    consolidate(nested)
    consolidate(tmp_path / "theirs.zarr")
    refresh_consolidated(nested)
    ours, theirs = (
        dict(zarr.open_consolidated(str(path)).members(max_depth=None))
        for path in (nested, tmp_path / "theirs.zarr")
    )
    assert sorted(ours) == sorted(theirs) == ["empty", "empty/deeper", "inner", "inner/0"]
    assert {path: dict(node.attrs) for path, node in ours.items()} == {
        path: dict(node.attrs) for path, node in theirs.items()
    }
    assert ours["inner/0"].metadata == theirs["inner/0"].metadata


def test_no_warning_filter_is_touched(nested: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They belong to the whole process, and builds run in threads."""
    consolidate(nested)
    monkeypatch.setattr(warnings, "catch_warnings", None)
    refresh_consolidated(nested)


def test_without_any_nothing_is_written(nested: Path) -> None:
    before = {p: p.read_bytes() for p in nested.rglob("*") if p.is_file()}
    refresh_consolidated(nested / "inner")
    assert {p: p.read_bytes() for p in nested.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"consolidated_metadata": null}'])
def test_documents_that_are_no_groups_have_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "zarr.json").write_text(text)
    assert not has_consolidated(tmp_path)


def test_levels_in_folders_without_metadata_are_listed(nested: Path) -> None:
    """A level at "scale/0" needs no group "scale".

    The hidden folder of a build is not a node.
    """
    consolidate(nested)
    for path in ("inner/scale/0", "inner/.building/1"):
        shutil.copytree(nested / "inner" / "0", nested / path)
    refresh_consolidated(nested)
    if (nested / ".zmetadata").exists():
        listed = {*json.loads((nested / ".zmetadata").read_text())["metadata"]}
    else:
        document = json.loads((nested / "zarr.json").read_text())
        listed = {f"{path}/zarr.json" for path in document["consolidated_metadata"]["metadata"]}
    assert listed & {"inner/scale/0/.zarray", "inner/scale/0/zarr.json"}
    assert not [name for name in listed if "building" in name]
