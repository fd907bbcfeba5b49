"""Describe a group or array by its metadata document alone, without reading anything."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

from napari_pyramid.storage.node_metadata import Kind

__all__ = ["NodeDescription"]

_SUFFIXES = re.compile(r"(\.(ome|zarr|zip|ozx|n5|levels))+$", re.IGNORECASE)


class NodeDescription:
    """Facts in the metadata document of a group or array, and its names."""

    def __init__(self, path: str, metadata: dict[str, Any], *, opened: str) -> None:
        self.path = path
        self.metadata: Mapping[str, Any] = metadata
        """Contents of "zarr.json", or of ".zarray" or ".zgroup"; empty if implicit."""
        self.zarr_format: Literal[2, 3] = 3 if metadata.get("zarr_format") == 3 else 2
        is_array = (
            metadata.get("node_type") == "array" if self.zarr_format == 3 else "shape" in metadata
        )
        self.kind: Kind = "array" if is_array else "group"
        self.is_implicit = not metadata
        self.opened = opened
        """Path or URL of the root, as the user opened it."""

    def __repr__(self) -> str:
        return f"Node({self.location!r}, {self.kind})"

    @property
    def location(self) -> str:
        """Path or URL of the root, "/" and the path in the store: for messages."""
        return f"{self.opened}/{self.path}" if self.path else self.opened

    @property
    def name(self) -> str:
        """Last part of the path, "" for the root."""
        return self.path.rpartition("/")[2]

    @property
    def title(self) -> str:
        """Name for an image at this node, if its metadata do not name it.

        The path; for the root, the name of the opened store without the suffixes of zarr and N5.
        """
        return self.path or _SUFFIXES.sub("", re.split(r"[/\\]", self.opened)[-1]) or self.opened

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array from its metadata; () for a group or an invalid shape."""
        shape = self.metadata.get("shape") if self.kind == "array" else None
        if isinstance(shape, list) and all(
            isinstance(n, int) and not isinstance(n, bool) for n in shape
        ):
            return tuple(shape)
        return ()

    @property
    def ndim(self) -> int:
        """Number of axes of the array."""
        return len(self.shape)

    @property
    def data_type(self) -> Any:
        """The data type as the metadata spell it, to compare arrays without opening them."""
        return self.metadata.get("data_type" if self.zarr_format == 3 else "dtype")

    @property
    def metadata_file(self) -> str:
        """Path or URL of the document of an array."""
        return f"{self.location}/{'zarr.json' if self.zarr_format == 3 else '.zarray'}"
