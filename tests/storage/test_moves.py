"""Lists of moves that something has damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

from napari_pyramid import open_pyramid
from napari_pyramid.storage.folder import Folder, Place
from napari_pyramid.storage.moves import finish_moves
from napari_pyramid.storage.objects import Objects

WHOLE = {"place": "x.zarr", "fresh": "fresh", "put": [], "removed": []}
DAMAGED = [
    None,
    "",
    {},
    [WHOLE],
    {"version": 1},
    {"version": 1, "arrays": None},
    {"version": 1, "arrays": 7},
    {"version": 1, "arrays": [None]},
    {"version": 1, "arrays": [WHOLE, {"place": "x.zarr"}]},
    {"version": 1, "arrays": [{**WHOLE, "place": 7}]},
    {"version": 1, "arrays": [{**WHOLE, "fresh": None}]},
    {"version": 1, "arrays": [{**WHOLE, "put": [["c", 0]]}]},
    {"version": 1, "arrays": [{**WHOLE, "removed": 3}]},
]


@pytest.mark.parametrize("document", DAMAGED, ids=json.dumps)
def test_a_damaged_list_is_removed_and_the_store_opens(tmp_path: Path, document: Any) -> None:
    values = np.arange(35).reshape(5, 7)
    zarr.create_array(tmp_path / "x.zarr", data=values)
    (tmp_path / ".x.zarr.building").mkdir()
    (tmp_path / ".x.zarr.building" / "moves.json").write_text(json.dumps(document))
    pyramid = open_pyramid(tmp_path / "x.zarr")
    np.testing.assert_array_equal(pyramid[0][...], values)
    assert not (tmp_path / ".x.zarr.building" / "moves.json").exists()


@pytest.mark.parametrize("document", DAMAGED, ids=json.dumps)
def test_a_damaged_list_in_a_bucket_moves_nothing(document: Any) -> None:
    workspace: Place = Folder(Objects(MemoryStore(), "box"), ".x.building")
    (workspace / "moves.json").write_bytes(json.dumps(document).encode())
    assert not finish_moves(workspace)
    assert not workspace.exists()
