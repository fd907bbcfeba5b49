"""Read the XML file beside BigDataViewer's datasets: names, voxel sizes, times, registrations."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from zarr.storage import LocalStore

from napari_pyramid.errors import LayoutError
from napari_pyramid.image import Affine
from napari_pyramid.storage.chunk_places import inner_store
from napari_pyramid.storage.layout_warnings import warn
from napari_pyramid.storage.node import Node

__all__ = [
    "BdvXml",
    "Setup",
    "View",
    "affine_zyx",
    "container",
    "described",
    "parse_xml",
    "read_xml",
    "views",
]

_MAX_BYTES = 64 * 2**20
_MAX_TIMEPOINTS = 100_000


@dataclass(frozen=True, slots=True)
class Setup:
    """Metadata of one setup; vectors and matrices are in the order z, y, x."""

    name: str | None = None
    unit: str | None = None
    voxel_size: tuple[float, ...] | None = None
    registrations: Mapping[int, Affine] = field(default_factory=dict)
    """(4, 4) matrices from pixels of level 0 to the world, by timepoint."""


View = tuple[int, int]
"""Setup and timepoint."""


@dataclass(frozen=True, slots=True)
class BdvXml:
    """Setups and timepoints of an XML file; empty without a file."""

    setups: Mapping[int, Setup] = field(default_factory=dict)
    timepoints: tuple[int, ...] = ()


def read_xml(root: Node) -> BdvXml:
    """Return the contents of the XML file beside the container: "data.xml" for "data.n5".

    Empty if the container is not on this machine, or there is no such file. It is the only file
    outside the opened store that is read, because BigDataViewer keeps half of the metadata in it.
    """
    inner = inner_store(root.store)
    if root.path or not isinstance(inner, LocalStore):
        return BdvXml()
    path = Path(os.path.realpath(inner.root)).with_suffix(".xml")
    try:
        tree = parse_xml(path)
    except LayoutError as error:
        warn(f"{error}; names, units and registrations are left out")
        return BdvXml()
    return described(tree) if tree is not None else BdvXml()


def parse_xml(path: Path) -> ElementTree.Element | None:
    """Return the root of a BigDataViewer XML file; None if the file is missing or of another kind.

    Raises
    ------
    LayoutError
        If the file is not XML, or larger than 64 MiB.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise LayoutError(f"{path}: larger than {_MAX_BYTES} bytes; not read")
        tree = ElementTree.fromstring(path.read_bytes())
    except OSError:
        return None
    except (ElementTree.ParseError, ValueError) as error:
        raise LayoutError(f"{path}: not XML ({error})") from error
    return tree if tree.tag == "SpimData" else None


def described(tree: ElementTree.Element) -> BdvXml:
    """Return the setups and timepoints of an XML tree."""
    registrations = _registrations(tree)
    numbered = [(_integer(element.findtext("id")), element) for element in tree.iter("ViewSetup")]
    setups = {
        number: _setup(element, registrations.get(number, {}))
        for number, element in numbered
        if number is not None
    }
    return BdvXml(setups, _timepoints(tree.find(".//Timepoints")))


def container(tree: ElementTree.Element, folder: Path) -> Path:
    """Return the container that the XML describes: N5 or zarr, in or below the folder of the XML.

    Raises
    ------
    LayoutError
        If the container has another format, or is outside the folder of the XML.
    """
    loader = tree.find(".//ImageLoader")
    kind = loader.get("format", "") if loader is not None else ""
    named = (
        next((loader.findtext(tag) for tag in ("n5", "zarr") if loader.findtext(tag)), None)
        if loader is not None
        else None
    )
    if not named:
        raise LayoutError(
            f"its ImageLoader {kind!r} names no N5 or zarr container: "
            "save it as N5 or OME-Zarr in BigDataViewer or BigStitcher first"
        )
    path = Path(os.path.realpath(folder / named.strip()))
    if not path.is_relative_to(os.path.realpath(folder)):
        raise LayoutError(
            f"its container {named.strip()[:200]!r} is not in the folder of the XML; "
            "open the container itself"
        )
    return path


def views(tree: ElementTree.Element) -> dict[str, list[View]]:
    """Return the views of each image of an OME-Zarr container, by the path of the image.

    A view is in the attributes "setup", "tp" and "path"; the first version of the format has the
    attribute "timepoint" and an element "path".
    """
    found: dict[str, list[View]] = {}
    for element in tree.iter("zgroup"):
        setup, timepoint = (
            _integer(element.get("setup")),
            _integer(element.get("tp", element.get("timepoint"))),
        )
        path = element.get("path") or element.findtext("path") or ""
        if setup is not None and timepoint is not None:
            found.setdefault(path.strip().strip("/"), []).append((setup, timepoint))
    return found


def _setup(element: ElementTree.Element, registrations: Mapping[int, Affine]) -> Setup:
    size = _floats(element.findtext("voxelSize/size"), 3)
    usable = size is not None and all(v > 0 for v in size)
    return Setup(
        element.findtext("name") or None,
        (element.findtext("voxelSize/unit") or "").strip() or None,
        tuple(size[::-1]) if size is not None and usable else None,
        registrations,
    )


def _registrations(tree: ElementTree.Element) -> dict[int, dict[int, Affine]]:
    """Return the matrices by setup and timepoint.

    The file lists the transforms of a view in reverse: the one applied last comes first.
    """
    found: dict[int, dict[int, Affine]] = {}
    for element in tree.iter("ViewRegistration"):
        setup, timepoint = _integer(element.get("setup")), _integer(element.get("timepoint"))
        listed = [_affine(text.text) for text in element.iter("affine")]
        matrices = [matrix for matrix in listed if matrix is not None]
        if (
            setup is not None
            and timepoint is not None
            and matrices
            and len(matrices) == len(listed)
        ):
            found.setdefault(setup, {})[timepoint] = reduce(np.matmul, matrices)
    return found


def _affine(text: str | None) -> Affine | None:
    """Return `affine_zyx` of a text of twelve numbers; None for any other text."""
    values = _floats(text, 12)
    return affine_zyx(values) if values is not None else None


def affine_zyx(values: Sequence[float]) -> Affine | None:
    """Return twelve numbers, the rows of x, y and z, as a matrix in the order z, y, x.

    Returns
    -------
    ndarray, shape (4, 4)
        None if the matrix is singular.
    """
    matrix = np.eye(4)
    matrix[:3] = np.reshape(values, (3, 4))
    order = [2, 1, 0, 3]
    matrix = matrix[np.ix_(order, order)]
    return matrix if abs(np.linalg.det(matrix)) > 1e-12 else None


def _timepoints(element: ElementTree.Element | None) -> tuple[int, ...]:
    """Return the timepoints of an element "Timepoints".

    Its type is "range" (first, last), "list" (t) or "pattern" ("0-3,7,10-20:5").
    """
    if element is None:
        return ()
    if element.get("type") == "range":
        parts: Iterable[str] = [f"{element.findtext('first')}-{element.findtext('last')}"]
    else:
        parts = re.split(
            r"[,\s]+",
            " ".join(
                filter(
                    None, [element.findtext("integerpattern"), *(t.text for t in element.iter("t"))]
                )
            ).strip(),
        )
    found: set[int] = set()
    for part in parts:
        match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9})(?::(\d{1,9}))?)?", part)
        if match and len(found) < _MAX_TIMEPOINTS:
            first = int(match[1])
            found.update(
                range(
                    first,
                    min(int(match[2] or first), first + _MAX_TIMEPOINTS) + 1,
                    int(match[3] or 1) or 1,
                )
            )
    return tuple(sorted(found))


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"\s*\d{1,9}\s*", text) else None


def _floats(text: str | None, n: int) -> list[float] | None:
    try:
        values = [float(v) for v in (text or "").split()]
    except ValueError:
        return None
    return values if len(values) == n and np.isfinite(values).all() else None
