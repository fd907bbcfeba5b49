"""Layer data tuples, and the place in them where this package keeps what napari does not show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["METADATA_KEY", "LayerTuple", "levels_of", "origin_of_layer"]

LayerTuple = tuple[Any, dict[str, Any], str]
"""Data, metadata and type of a layer, as ``Layer.as_layer_data_tuple()`` returns them."""
METADATA_KEY = "pyramid"
"""Key of ``layer.metadata`` for where the pixels come from, and for what napari cannot show."""


def levels_of(data: Any, meta: Mapping[str, Any]) -> Sequence[Any]:
    """Return the arrays of a layer, largest first; one for a layer that is not multiscale."""
    return list(data) if meta.get("multiscale") else [data]


def origin_of_layer(meta: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what our reader has said of where the pixels come from; empty for other layers."""
    found = (meta.get("metadata") or {}).get(METADATA_KEY)
    return found if isinstance(found, Mapping) else {}
