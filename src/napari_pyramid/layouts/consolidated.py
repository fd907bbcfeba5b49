"""Consolidated metadata: keeps those of a group and the groups above it true after a change below them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import zarr
from zarr.storage import LocalStore

__all__ = ["has_consolidated", "refresh_consolidated"]


def has_consolidated(group: Path) -> bool:
    """Whether a group's own metadata list what is below it (``.zmetadata``, or ``consolidated_metadata`` in v3)."""
    if (group / ".zmetadata").is_file():
        return True
    try:
        document = json.loads((group / "zarr.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("consolidated_metadata") is not None


def refresh_consolidated(group: Path) -> None:
    """Writes the consolidated metadata of `group` and of every zarr group above it anew, where there are any."""
    for directory in (group, *group.parents):
        if not any((directory / name).is_file() for name in ("zarr.json", ".zgroup")):
            return
        if has_consolidated(directory):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "not part of the zarr v3 specification yet": they were there before
                zarr.consolidate_metadata(LocalStore(directory), zarr_format=3 if (directory / "zarr.json").is_file() else 2)
