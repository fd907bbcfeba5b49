"""Multiscales 0.1 as in zarr-specs issue 50: a list of paths, of arrays of any rank. The ancestor of OME-Zarr."""

from __future__ import annotations

from collections.abc import Sequence

from napari_pyramid.image import Image
from napari_pyramid.layouts.ome_zarr_document import find_document, is_ome, layout_name
from napari_pyramid.layouts.ome_zarr_multiscales import read_multiscales
from napari_pyramid.storage.node import Node

NAME = layout_name(None)


def read(node: Node) -> Sequence[Image] | None:
    """One image per multiscale of the group, which may share levels; the first one is the default, the others are hidden."""
    document = find_document(node)
    if document is None or "multiscales" not in document.content or is_ome(node, document):
        return None
    return read_multiscales(node, document, None) or None
