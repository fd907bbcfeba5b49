"""Find the OME-Zarr document of a group, wherever its version keeps it, without interpreting it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from napari_pyramid.errors import LayoutError
from napari_pyramid.storage.layout_warnings import brief, warn
from napari_pyramid.storage.node import Node
from napari_pyramid.storage.ome_keys import has_ome_keys, ome_part

__all__ = ["Document", "find_document", "is_ome", "layout_name", "prefetch_levels"]

_MOST = 64
"""Limit of the multiscales whose versions are read."""
_IN_ZARR_V2 = re.compile(r"0\.[1-4](\D.*)?$")
"""Versions of zarr v2; 0.5 and all later ones are of zarr v3."""
_IN_BOTH = "0.5-dev"
"""Drafts of transformations that were written into zarr v2 before 0.5 chose v3."""
_KNOWN_VERSION = re.compile(r"0\.[1-6](\D.*)?$|0\.9\.dev")
"""0.1 to 0.6 with drafts ("0.5-dev-spatialdata", "0.6rc0"), and ngff-zarr's draft of the next."""


@dataclass(frozen=True, slots=True)
class Document:
    """OME-Zarr metadata of a group."""

    content: Mapping[str, Any]
    """The object that holds "multiscales" and the like: "ome" since 0.5, all attributes before."""
    where: str
    """The file and key of `content`, for messages."""
    in_ome: bool
    """Whether `content` is the object "ome"."""

    @property
    def version(self) -> str | None:
        """Version of the document (0.5) or of its first part (0.1 to 0.4), as written, or None."""
        return next(self.versions(), None)

    def versions(self) -> Iterator[str]:
        """Yield the versions that the document and its parts claim."""
        parts = [self.content.get(key) for key in ("multiscales", "plate", "well", "image-label")]
        for part in [self.content, *parts]:
            for entry in part[:_MOST] if isinstance(part, list) else [part]:
                version = entry.get("version") if isinstance(entry, Mapping) else None
                if isinstance(version, (str, float)):
                    yield str(version)


_found: WeakKeyDictionary[Node, Document | None] = WeakKeyDictionary()
"""Documents by node: several layouts use the document, but its warnings must appear once."""


def find_document(node: Node) -> Document | None:
    """Return the document of a group, or None; "ome" overrides the same keys beside it."""
    if node not in _found:
        _found[node] = _find_document(node) if node.kind == "group" else None
    return _found[node]


def _find_document(node: Node) -> Document | None:
    attributes = node.attributes
    file = "zarr.json: attributes" if node.zarr_format == 3 else ".zattrs"
    ome = attributes.get("ome")
    if ome is not None and not isinstance(ome, dict):
        warn(f'{node.location}/{file}: "ome" is not an object but {brief(ome)}; ignored')
    content = ome_part(attributes)
    if not has_ome_keys(content):
        return None
    if content is attributes:
        return _checked(Document(attributes, file, in_ome=False), node)
    return _checked(Document(content, f"{file}.ome", in_ome=True), node)


def layout_name(ome_version: str | None) -> str:
    """Return the name of the layout; None as version stands for the ancestor of OME-Zarr."""
    return "multiscales 0.1" if ome_version is None else f"OME-Zarr {ome_version}".rstrip()


def is_ome(node: Node, document: Document) -> bool:
    """Return whether multiscales are OME-Zarr's.

    Multiscales of zarr-specs issue 50 have the same key, but arrays of any rank and no axes.
    """
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
    """Return whether the first array has five axes.

    OME-Zarr 0.1: "all image arrays must be 5-dimensional".
    """
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
    where = f"{node.location}/{document.where}"
    version = document.version
    if version is not None and not _KNOWN_VERSION.match(version):
        warn(f"{where}: version {version!r} is not known; guessed from its structure")
    for claimed in dict.fromkeys(document.versions()):
        needed = 2 if _IN_ZARR_V2.match(claimed) else 3
        if (
            _KNOWN_VERSION.match(claimed)
            and not claimed.startswith(_IN_BOTH)
            and node.zarr_format != needed
            and node.is_zarr
            and _is_of_ome(node, document)
            and node.is_first_to_say(f"{claimed} in zarr v{node.zarr_format}")
        ):
            warn(
                f"{where}: version {claimed!r} of OME-Zarr cannot be in zarr v{node.zarr_format}, "
                f"only in zarr v{needed}; guessed from its structure"
            )
    return document


def _is_of_ome(node: Node, document: Document) -> bool:
    """Return whether the version is OME-Zarr's.

    Other conventions have "multiscales" with versions of their own.
    """
    found = document.content.get("multiscales")
    if isinstance(found, Mapping) and "datasets" not in found:
        return document.in_ome
    if found is None:
        return document.in_ome or any(
            isinstance(document.content.get(key), Mapping) for key in ("plate", "well")
        )
    return is_ome(node, document)
