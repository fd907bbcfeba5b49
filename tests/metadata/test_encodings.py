"""Metadata of other programs are UTF-8, whatever the encoding of the locale is."""

from __future__ import annotations

import json
import locale
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_pyramid import build_pyramid, create_labels, edit_pyramid

NOTE = {"unité": "µm", "標本": "脳 🧠"}


@pytest.fixture
def ascii_locale() -> Iterator[None]:
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C")
    yield
    locale.setlocale(locale.LC_CTYPE, before)


def write_as_utf8(file: Path) -> None:
    """Write a JSON file as many programs do: with its characters as they are."""
    document = json.loads(file.read_bytes())
    file.write_bytes(json.dumps(document, ensure_ascii=False).encode())


@pytest.mark.usefixtures("ascii_locale")
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_attributes_of_others_keep_their_characters(tmp_path: Path, zarr_format: Any) -> None:
    path = tmp_path / "x.zarr"
    group = zarr.create_group(path, zarr_format=zarr_format, attributes={"note": NOTE})
    group.create_array("0", data=np.ones((33, 47), "u2"), chunks=(16, 16), attributes=NOTE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "not part of the zarr v3 specification yet"
        zarr.consolidate_metadata(str(path))
    for file in [p for p in path.rglob("*") if p.suffix == ".json" or p.name.startswith(".z")]:
        write_as_utf8(file)
    build_pyramid(path, in_place=True, n_levels=2, factors=2)
    create_labels(path)
    editor = edit_pyramid(path / "labels" / "labels")
    editor[3:9, 5:40] = 7
    editor.save()
    for consolidated in (False, True):
        found = zarr.open_group(path, mode="r", use_consolidated=consolidated)
        assert found.attrs["note"] == NOTE
        assert dict(found["0"].attrs) == NOTE
        assert found["1"].shape == (17, 24)
        assert found["labels/labels/0"].shape == (33, 47)
