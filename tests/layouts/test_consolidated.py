"""Consolidated metadata after something changed below them: zarr-python reads the truth from them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_pyramid.layouts.consolidated import has_consolidated, refresh_consolidated


@pytest.fixture(params=[2, 3], ids=["zarr v2", "zarr v3"])
def nested(request: Any, tmp_path: Path) -> Path:
    root = zarr.create_group(tmp_path / "x.zarr", zarr_format=request.param)
    root.create_group("inner").create_array("0", data=np.zeros((4, 4)))
    return tmp_path / "x.zarr"


def consolidate(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "not part of the zarr v3 specification yet"
        zarr.consolidate_metadata(str(path))


def test_groups_above_are_written_anew(nested: Path) -> None:
    consolidate(nested)
    assert has_consolidated(nested)
    assert not has_consolidated(nested / "inner")
    zarr.open_group(nested, use_consolidated=False)["inner"].create_array("1", data=np.zeros((2, 2)))
    assert "inner/1" not in zarr.open_consolidated(str(nested))
    refresh_consolidated(nested / "inner")
    assert "inner/1" in zarr.open_consolidated(str(nested))
    assert not has_consolidated(nested / "inner"), "none are made where there were none"


def test_without_any_nothing_is_written(nested: Path) -> None:
    before = {p: p.read_bytes() for p in nested.rglob("*") if p.is_file()}
    refresh_consolidated(nested / "inner")
    assert {p: p.read_bytes() for p in nested.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"consolidated_metadata": null}'])
def test_documents_that_are_no_groups_have_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "zarr.json").write_text(text)
    assert not has_consolidated(tmp_path)
