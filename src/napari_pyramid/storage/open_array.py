"""Open the array of a node without reading a chunk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import zarr
from zarr.abc.store import Store
from zarr.storage import StorePath

from napari_pyramid.errors import LayoutError, one_line
from napari_pyramid.image import ArrayLike
from napari_pyramid.storage.imagecodecs import provide_codecs
from napari_pyramid.storage.irregular import why_unreadable, with_regular_chunks
from napari_pyramid.storage.node_description import NodeDescription

__all__ = ["open_array"]


def open_array(
    store: Store, node: NodeDescription, *, guess_separator: Callable[[], Literal[".", "/"]]
) -> ArrayLike:
    """Return the array that a node describes.

    Parameters
    ----------
    guess_separator
        Called for the separator of chunk keys if metadata of zarr v2 do not give it.

    Raises
    ------
    LayoutError
        If the codec, data type or shape cannot be understood; the message names the file.
    """
    try:
        provide_codecs(node.metadata)
        metadata: Any = _complete(node, guess_separator)  # one overload for each zarr format
        stored = zarr.Array(zarr.AsyncArray(metadata, StorePath(store, node.path)))
        array: ArrayLike = with_regular_chunks(stored)
        if not all(n > 0 for n in array.chunks):
            raise ValueError(f"chunks are {array.chunks}")
        return array
    # Not narrower: metadata are other people's data, and zarr, numcodecs and numpy react to
    # invalid values with whatever their code runs into (KeyError, AttributeError,
    # AssertionError, ...).
    except Exception as error:
        reason = why_unreadable(node.metadata) or one_line(error)
        raise LayoutError(f"{node.metadata_file}: cannot open the array: {reason}") from error


def _complete(
    node: NodeDescription, guess_separator: Callable[[], Literal[".", "/"]]
) -> dict[str, Any]:
    if node.zarr_format == 3:
        return {**node.metadata, "attributes": {}}
    separator = node.metadata.get("dimension_separator") or guess_separator()
    return {**node.metadata, "dimension_separator": separator, "attributes": {}}
