"""Find the keys of OME-Zarr in the attributes of a group."""

from __future__ import annotations

from typing import Any

__all__ = ["has_ome_keys", "ome_part"]

_KEYS = ("multiscales", "plate", "well", "labels", "series", "scene", "bioformats2raw.layout")


def ome_part(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the object that holds OME-Zarr's keys: ``"ome"`` since 0.5, all attributes before.

    ``"ome"`` goes before keys that are doubled beside it, but not if it holds none of them.
    """
    ome = attributes.get("ome")
    if isinstance(ome, dict) and (has_ome_keys(ome) or not has_ome_keys(attributes)):
        return ome
    return attributes


def has_ome_keys(part: dict[str, Any]) -> bool:
    """Return whether attributes have a key by which OME-Zarr marks the kind of a group."""
    return any(key in part for key in _KEYS)
