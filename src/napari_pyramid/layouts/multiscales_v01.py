"""Read multiscales 0.1 of zarr-specs issue 50, the ancestor of OME-Zarr: arrays of any rank."""

from __future__ import annotations

from collections.abc import Sequence

from napari_pyramid.image import Image
from napari_pyramid.layouts.ome_zarr_document import find_document, is_ome, layout_name
from napari_pyramid.layouts.ome_zarr_multiscales import read_multiscales
from napari_pyramid.storage.node import Node

__all__ = ["NAME", "read"]

NAME = layout_name(None)


def read(node: Node) -> Sequence[Image] | None:
    """Return one image per multiscale of the group; all but the first are hidden.

    Multiscales may share levels, so the others show the same pixels in another way.
    """
    document = find_document(node)
    if document is None or "multiscales" not in document.content or is_ome(node, document):
        return None
    return read_multiscales(node, document, None) or None
