"""Find the wells, fields and acquisitions of OME-Zarr plates (high-content screening).

A plate is read as one stitched image per acquisition. `read_plate` and `entries` list its wells
from the metadata of the plate alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from napari_pyramid.errors import LayoutError
from napari_pyramid.image import Image
from napari_pyramid.layouts import ome_zarr
from napari_pyramid.layouts.entry import Entry, Plate
from napari_pyramid.layouts.hcs_grid import Field, Position, Well
from napari_pyramid.layouts.hcs_mosaic import stitch
from napari_pyramid.layouts.ome_zarr_document import find_document
from napari_pyramid.storage.json_values import objects
from napari_pyramid.storage.layout_warnings import brief, warn
from napari_pyramid.storage.node import Node, prefetch_nodes
from napari_pyramid.storage.node_metadata import Kind
from napari_pyramid.storage.paths import UNSAFE_PATH, as_path

__all__ = ["NAME", "entries", "read", "read_plate"]

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
        return _images_of_well(node, well, where, {})
    for key, found in (("plate", plate), ("well", well)):
        if found is not None:
            warn(f"{where}: {key} is {brief(found)}, expected an object; ignored")
    return None


def _images_of_well(
    node: Node, well: Mapping[str, Any], where: str, named: Mapping[str, Any]
) -> list[Image] | None:
    return _images(node, [Well((0, 0), _fields(node, well, where))], named, {"well": well})


def read_plate(node: Node) -> Plate | None:
    """Return the grid of wells of a plate, or None for any other node; reads no well."""
    document = find_document(node)
    plate = document.content.get("plate") if document is not None else None
    if document is None or not isinstance(plate, Mapping):
        return None
    listed = plate.get("wells")
    wells: dict[Position, Entry] = {}
    listings: dict[Position, object] = {}
    names = _names(plate)
    for number, listing in enumerate(listed if isinstance(listed, list) else ()):
        path = listing.get("path") if isinstance(listing, Mapping) else listing
        if not isinstance(path, str) or UNSAFE_PATH.search(path):
            continue
        position = _position(listing, path, names, number)
        if position not in wells:  # the first entry of a well decides, as when it is read
            wells[position] = _well_entry(node, path, position)
            listings[position] = listing
    if not wells:
        return None
    where = f"{node.location}/{document.where}"

    def stitch_wells(chosen: Sequence[Entry]) -> Sequence[Image]:
        part = {**plate, "wells": [listings[w.position] for w in chosen if w.position is not None]}
        placed = _moved(_wells_of_plate(node, part, where))
        return _images(node, placed, plate, {"plate": plate}) or ()

    given = plate.get("name")
    return Plate(
        given if isinstance(given, str) and given else node.title,
        _headers(names[0], [row for row, _ in wells], _letters),
        _headers(names[1], [column for _, column in wells], lambda i: str(i + 1)),
        tuple(wells[position] for position in sorted(wells)),
        stitch_wells,
    )


def entries(node: Node) -> Iterator[Entry] | None:
    """Return the wells of a plate or the fields of a well, or None for any other node."""
    if (plate := read_plate(node)) is not None:
        return iter(plate.wells)
    fields = _field_entries(node)
    return iter(fields) if fields else None


def _well_entry(plate: Node, path: str, position: Position) -> Entry:
    name = "".join(path.split("/")[-2:])

    def well() -> Node:
        found = plate.child(path)
        if found is None:
            raise LayoutError(f"{plate.location}: there is no well at {brief(path)}")
        return found

    def read_well(system: str | None) -> Sequence[Image]:
        node = well()
        document = find_document(node)
        content = document.content.get("well") if document is not None else None
        if document is None or not isinstance(content, Mapping):
            raise LayoutError(f"{node.location}: there is no well")
        where = f"{node.location}/{document.where}"
        return _images_of_well(node, content, where, {"name": name}) or ()

    return Entry(
        name,
        f"{plate.path}/{path}".strip("/"),
        read_well,
        "well",
        position=position,
        fields=lambda: _field_entries(well()),
    )


def _field_entries(well: Node) -> list[Entry]:
    """Return the fields of a well; [] if the node has no metadata of a well."""
    document = find_document(well)
    content = document.content.get("well") if document is not None else None
    if document is None or not isinstance(content, Mapping):
        return []
    well_name = "".join(well.path.split("/")[-2:])

    def entry(field: Node) -> Entry:
        name = f"{well_name} field {field.name}".strip()

        def read_field(system: str | None) -> Sequence[Image]:
            images = ome_zarr.read(field) or ()
            return [replace(i, name=name) if i.name == field.title else i for i in images]

        return Entry(name, field.path, read_field)

    return [
        entry(field.node) for field in _fields(well, content, f"{well.location}/{document.where}")
    ]


def _moved(wells: Iterator[Well]) -> list[Well]:
    """Return wells with the first row and column that any of them has as row and column 0."""
    found = list(wells)
    row, column = (min((w.position[axis] for w in found), default=0) for axis in (0, 1))
    return [replace(w, position=(w.position[0] - row, w.position[1] - column)) for w in found]


def _names(plate: Mapping[str, Any]) -> list[list[Any]]:
    """Return the names of the rows and of the columns, as the metadata give them."""
    return [[e.get("name") for e in objects(plate.get(key))] for key in ("rows", "columns")]


def _headers(
    given: Sequence[Any], used: Sequence[int], name: Callable[[int], str]
) -> tuple[str, ...]:
    """Return a name for each row or column; those without a name are counted."""
    n = max(len(given), max(used) + 1)
    known = [str(v) if isinstance(v, str | int) else None for v in given]
    return tuple((known[i] if i < len(known) else None) or name(i) for i in range(n))


def _letters(i: int) -> str:
    """Return the name of a row: A to Z, then AA, AB, ..."""
    return (_letters(i // 26 - 1) if i >= 26 else "") + chr(ord("A") + i % 26)


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
    names = _names(plate)
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
                _position(entry, well.path, names, number),
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


def _position(entry: object, path: str, names: Sequence[Sequence[Any]], number: int) -> Position:
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
    row, _, column = path.rpartition("/")
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
