"""Find the wells, fields and acquisitions of OME-Zarr plates (high-content screening)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from napari_pyramid.errors import LayoutError
from napari_pyramid.image import Image
from napari_pyramid.layouts.hcs_mosaic import Field, Position, Well, stitch
from napari_pyramid.layouts.ome_zarr_document import find_document
from napari_pyramid.storage.json_values import objects
from napari_pyramid.storage.layout_warnings import brief, warn
from napari_pyramid.storage.node import Kind, Node, prefetch_nodes
from napari_pyramid.storage.paths import as_path

NAME = "OME-Zarr plate"


def read(node: Node) -> Sequence[Image] | None:
    """Return the stitched fields of a plate or well: one image per acquisition, and its labels."""
    document = find_document(node)
    if document is None:
        return None
    plate, well = (document.content.get(key) for key in ("plate", "well"))
    where = f"{node.location}/{document.where}"
    if isinstance(plate, Mapping):
        return _images(node, list(_wells_of_plate(node, plate, where)), plate, {"plate": plate})
    if isinstance(well, Mapping):
        return _images(node, [Well((0, 0), _fields(node, well, where))], {}, {"well": well})
    for key, found in (("plate", plate), ("well", well)):
        if found is not None:
            warn(f"{where}: {key} is {brief(found)}, expected an object; ignored")
    return None


def _images(
    node: Node, wells: Sequence[Well], plate: Mapping[str, Any], metadata: Mapping[str, Any]
) -> list[Image] | None:
    given = plate.get("name")
    name = given if isinstance(given, str) and given else node.title
    acquisitions = sorted({field.acquisition for well in wells for field in well.fields})
    images = []
    for acquisition in acquisitions:
        full_name = (
            f"{name} {_acquisition_name(plate, acquisition)}" if len(acquisitions) > 1 else name
        )
        for image in stitch(
            [
                replace(w, fields=tuple(f for f in w.fields if f.acquisition == acquisition))
                for w in wells
            ]
        ):
            own_name = full_name if image.kind == "image" else f"{full_name} {image.name}"
            layout = image.layout.replace("OME-Zarr", NAME)
            images.append(
                replace(
                    image,
                    name=own_name,
                    path=node.path,
                    layout=layout,
                    metadata={**image.metadata, **metadata},
                )
            )
    if not images:
        warn(f"{node.location}: no field of the {next(iter(metadata))} can be read")
    return images or None


def _acquisition_name(plate: Mapping[str, Any], number: int) -> str:
    names = [a.get("name") for a in objects(plate.get("acquisitions")) if a.get("id") == number]
    return str(names[0]) if names and isinstance(names[0], str) else f"acquisition {number}"


def _wells_of_plate(node: Node, plate: Mapping[str, Any], where: str) -> Iterator[Well]:
    names = [[e.get("name") for e in objects(plate.get(key))] for key in ("rows", "columns")]
    listed = plate.get("wells")
    if not isinstance(listed, list):
        warn(f"{where}: plate.wells is {brief(listed)}, expected a list; ignored")
        return
    paths = [entry.get("path") if isinstance(entry, Mapping) else entry for entry in listed]
    node.prefetch(groups=paths)
    _prefetch_fields(node, paths)
    seen = set()
    for number, entry in enumerate(listed):
        path = entry.get("path") if isinstance(entry, Mapping) else entry
        if str(path) in seen:
            continue  # the first entry of a well decides its position
        seen.add(str(path))
        try:
            well = node.child(path)
        except LayoutError as error:
            warn(f"{where}: plate.wells[{number}]: {error}")
            continue
        document = find_document(well) if well is not None else None
        content = document.content.get("well") if document is not None else None
        if well is None or document is None or not isinstance(content, Mapping):
            warn(f"{where}: plate.wells[{number}]: there is no well at {brief(path)}; left out")
        else:
            yield Well(
                _position(entry, well, names, number),
                _fields(well, content, f"{well.location}/{document.where}"),
            )


def _prefetch_fields(node: Node, wells: Sequence[object]) -> None:
    """Read the metadata of all fields of a plate in parallel, if the store is on another host."""
    wanted: list[tuple[Node, object, Kind | None]] = []
    for path in wells if node.is_far else ():
        try:
            well = node.child(path)
        except LayoutError:
            continue  # warned of when the well is read
        document = find_document(well) if well is not None else None
        content = document.content.get("well") if document is not None else None
        if well is not None and isinstance(content, Mapping):
            wanted += [(well, e.get("path"), "group") for e in objects(content.get("images"))]
    prefetch_nodes(wanted)


def _position(entry: object, well: Node, names: Sequence[Sequence[Any]], number: int) -> Position:
    """Return row and column of a well.

    They are the indices of the entry (0.4), else follow from the path "row/column" (0.1 to 0.3).
    Without either, wells are put in one row, in the order of the list.
    """
    indices = (
        [entry.get(key) for key in ("rowIndex", "columnIndex")]
        if isinstance(entry, Mapping)
        else []
    )
    numbers = [i for i in indices if isinstance(i, int) and 0 <= i < 10_000]
    if len(numbers) == 2:
        return numbers[0], numbers[1]
    row, _, column = well.path.rpartition("/")
    row = row.rpartition("/")[2]
    if row in names[0] and column in names[1]:
        return names[0].index(row), names[1].index(column)
    return 0, number


def _fields(well: Node, content: Mapping[str, Any], where: str) -> tuple[Field, ...]:
    fields = []
    for entry in {
        str(entry.get("path")): entry for entry in objects(content.get("images"))
    }.values():
        try:
            node = well.child(as_path(entry.get("path")))
        except LayoutError as error:
            warn(f"{where}: well.images: {error}")
            continue
        acquisition = entry.get("acquisition")
        if node is None:
            warn(f"{where}: well.images: there is no image at {brief(entry.get('path'))}; left out")
        else:
            fields.append(Field(node, acquisition if isinstance(acquisition, int) else 0))
    return tuple(fields)
