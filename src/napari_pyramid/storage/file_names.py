"""List the names of the files in which zarr and N5 keep metadata."""

from __future__ import annotations

__all__ = ["ARRAY_FILES", "GROUP_FILES", "METADATA_FILES", "NODE_FILES", "ZARR_FILES"]

NODE_FILES = ("zarr.json", ".zarray", ".zgroup")
"""One of these makes a folder an array or a group of zarr."""
ARRAY_FILES = ("zarr.json", ".zarray")
"""One of these describes an array of zarr; a zarr.json may also be of a group."""
GROUP_FILES = ("zarr.json", ".zgroup", ".zattrs", ".zmetadata")
"""All files of zarr that a group may have."""
ZARR_FILES = (*NODE_FILES, ".zattrs", ".zmetadata")
"""All files of zarr with metadata."""
METADATA_FILES = (*ZARR_FILES, "attributes.json")
"""All files of zarr and N5 with metadata."""
