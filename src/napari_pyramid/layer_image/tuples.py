"""Read layer data tuples, and the origin of the pixels that this package keeps in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from napari_pyramid.arrays.edited import EditedArray
from napari_pyramid.arrays.virtual_level import stored_levels

__all__ = ["METADATA_KEY", "LayerTuple", "levels_of", "origin_of_layer"]

LayerTuple = tuple[Any, dict[str, Any], str]
"""Data, metadata and type of a layer, as ``Layer.as_layer_data_tuple()`` returns them."""
METADATA_KEY = "pyramid"
"""Key of ``layer.metadata`` for the origin of the pixels and what napari cannot show."""


def levels_of(data: Any, meta: Mapping[str, Any]) -> Sequence[Any]:
    """Return the arrays of a layer, largest first; one for a layer that is not multiscale.

    Virtual levels are left out: nobody has stored them, and computing one reads the whole image.
    So are coarser levels without the unsaved edits of level 0.
    """
    levels = stored_levels(list(data)) if meta.get("multiscale") else [data]
    first = levels[0]
    if not isinstance(first, EditedArray):
        return levels
    return [first] if first.edits else [first.stored, *levels[1:]]


def origin_of_layer(meta: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the origin of the pixels as recorded by our reader; empty for other layers."""
    found = (meta.get("metadata") or {}).get(METADATA_KEY)
    return found if isinstance(found, Mapping) else {}
