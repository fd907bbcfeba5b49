"""A plugin that hides the private names of zarr and zarrs.

``python -m pytest -p tests.hide_private_names``.

The tests then run on the public fallbacks, but for the module that compares both.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from types import SimpleNamespace

import pytest

from napari_pyramid.storage import private_names


def pytest_configure() -> None:
    for name in ("sync", "ChunkItem", "CodecPipelineImpl"):
        assert getattr(private_names, name) is not None
        setattr(private_names, name, None)
    # zarr's own codec writes the time into what it compresses: two builds would not be equal
    gzip.time = SimpleNamespace(time=lambda: 0)  # type: ignore[attr-defined]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if collection_path.name == "test_private_names.py" else None
