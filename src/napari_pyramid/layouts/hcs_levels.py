"""Find the levels of a field by its metadata, without opening their arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from napari_pyramid.errors import LayoutError
from napari_pyramid.image import Image, StoredLevel
from napari_pyramid.layouts.ome_zarr_document import find_document, prefetch_levels
from napari_pyramid.layouts.ome_zarr_multiscales import multiscales_of, read_multiscales
from napari_pyramid.storage.node import Node, prefetch_nodes

__all__ = ["array_node", "datasets_of", "number_of", "prefetch_arrays", "read_field"]


def read_field(field: Node) -> Image | None:
    """Return the first image of a field, or None if it cannot be read."""
    document = find_document(field)
    if document is None:
        return None
    prefetch_levels(field, document)
    images = read_multiscales(field, document, document.version or "")
    return images[0] if images else None


def number_of(field: Node, level: StoredLevel) -> int:
    """Return the position of a level in the field's list of datasets."""
    arrays = [array_node(field, number) for number in range(len(datasets_of(field)))]
    return next(
        (i for i, array in enumerate(arrays) if array is not None and array.path == level.path), 0
    )


def prefetch_arrays(fields: Sequence[Node], number: int) -> None:
    """Read the metadata of one level of the fields in parallel, if the store is on another host."""
    paths = [
        (field, datasets[number])
        for field in fields
        if number < len(datasets := datasets_of(field))
    ]
    prefetch_nodes([(field, _path(dataset), "array") for field, dataset in paths])


def array_node(field: Node, number: int) -> Node | None:
    """Return the node of a level's array by the field's metadata, without opening the array."""
    datasets = datasets_of(field)
    try:
        array = field.child(_path(datasets[number])) if number < len(datasets) else None
    except LayoutError:
        return None
    return array if array is not None and array.kind == "array" else None


def _path(dataset: object) -> object:
    """Return the path of a level.

    A number counts as a path, as in `read_multiscales`, which warns of it.
    """
    path = dataset.get("path") if isinstance(dataset, Mapping) else dataset
    return str(path) if isinstance(path, int) and not isinstance(path, bool) else path


def datasets_of(field: Node) -> list[object]:
    """Return the entries of the levels in the metadata, largest first; [] without an image."""
    document = find_document(field)
    multiscales = multiscales_of(field, document) if document is not None else []
    return list(multiscales[0]["datasets"]) if multiscales else []
