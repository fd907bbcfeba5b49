"""Finds the OME-Zarr document of a group, wherever its version keeps it. Does not interpret it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from napari_pyramid.errors import LayoutError
from napari_pyramid.storage.node import Node, brief, warn

__all__ = ["Document", "find_document", "is_ome", "prefetch_levels"]

_KEYS = ("multiscales", "plate", "well", "labels", "series", "scene", "bioformats2raw.layout")
_KNOWN_VERSION = re.compile(r"0\.[1-6](\D.*)?$|0\.9\.dev")
"""0.1 to 0.6 with their drafts ("0.5-dev-spatialdata", "0.6rc0"), and ngff-zarr's draft of what follows."""


@dataclass(frozen=True, slots=True)
class Document:
    """What OME-Zarr says about a group."""

    content: Mapping[str, Any]
    """The object that holds "multiscales" and the like: "ome" since 0.5, all attributes before."""
    where: str
    """The file and key of `content`, for messages."""
    in_ome: bool
    """Whether it is in "ome"."""

    @property
    def version(self) -> str | None:
        """The version as written, in the document (0.5) or in its first part (0.1 to 0.4); None when nowhere."""
        parts = [self.content, *(self.content.get(key) for key in ("multiscales", "plate", "well"))]
        for part in parts:
            part = part[0] if isinstance(part, list) and part else part
            version = part.get("version") if isinstance(part, Mapping) else None
            if isinstance(version, (str, float)):
                return str(version)
        return None


_found: WeakKeyDictionary[Node, Document | None] = WeakKeyDictionary()
"""Several layouts ask for the document of a node; what is wrong with it is told once."""


def find_document(node: Node) -> Document | None:
    """The document of a group, None when there is none. "ome" goes before keys that are doubled beside it."""
    if node not in _found:
        _found[node] = _find_document(node) if node.kind == "group" else None
    return _found[node]


def _find_document(node: Node) -> Document | None:
    attributes = node.attributes
    file = "zarr.json: attributes" if node.zarr_format == 3 else ".zattrs"
    ome = attributes.get("ome")
    if isinstance(ome, dict) and any(key in ome for key in _KEYS):
        return _checked(Document(ome, f"{file}.ome", in_ome=True), node)
    if ome is not None and not isinstance(ome, dict):
        warn(f'{node.location}/{file}: "ome" is no object but {brief(ome)}; ignored')
    if any(key in attributes for key in _KEYS):
        return _checked(Document(attributes, file, in_ome=False), node)
    return None


def is_ome(node: Node, document: Document) -> bool:
    """Whether multiscales are OME-Zarr's, not those of zarr-specs issue 50: the same key, but of any rank and without axes."""
    if document.in_ome or "omero" in document.content or "image-label" in document.content:
        return True
    found = document.content.get("multiscales")
    entries = [m for m in (found if isinstance(found, list) else [found]) if isinstance(m, Mapping)]
    return any(_has_ome_keys(m) or _is_5d(node, m) for m in entries)


def _has_ome_keys(multiscale: Mapping[str, Any]) -> bool:
    version = multiscale.get("version")
    return (
        any(key in multiscale for key in ("axes", "coordinateSystems", "coordinateTransformations"))
        or any(
            isinstance(d, Mapping) and "coordinateTransformations" in d
            for d in _datasets(multiscale)
        )
        or (version is not None and str(version) != "0.1")
    )


def _is_5d(node: Node, multiscale: Mapping[str, Any]) -> bool:
    """OME-Zarr 0.1: "all image arrays must be 5-dimensional"."""
    paths = [d.get("path") for d in _datasets(multiscale) if isinstance(d, Mapping)]
    try:
        first = node.child(paths[0]) if paths else None
    except LayoutError:
        return False
    return first is not None and first.ndim == 5


def _datasets(multiscale: Mapping[str, Any]) -> list[Any]:
    datasets = multiscale.get("datasets")
    return datasets if isinstance(datasets, list) else []


def prefetch_levels(node: Node, document: Document) -> None:
    """Read what an image's document names in one round trip, where the store is on another host."""
    multiscales = document.content.get("multiscales")
    listed = multiscales if isinstance(multiscales, list) else [multiscales]
    datasets = [d for m in listed if isinstance(m, Mapping) for d in _datasets(m)]
    if datasets:
        paths = [d.get("path") if isinstance(d, Mapping) else d for d in datasets]
        is_label_image = "labels" in node.path.split("/") or "image-label" in document.content
        node.prefetch(arrays=paths, nodes=[] if is_label_image else ["labels"])


def _checked(document: Document, node: Node) -> Document:
    version = document.version
    if version is not None and not _KNOWN_VERSION.match(version):
        warn(
            f"{node.location}/{document.where}: version {version!r} is not known; read as its structure suggests"
        )
    return document
