"""Read BigDataViewer's N5: setup0/timepoint0/s0, with an XML file beside the container.

Every setup (channel, angle, tile) is one image; its timepoints are stacked along an axis t, and
missing timepoints are empty. The XML file holds names, units and registrations.

Source: bigdataviewer/bigdataviewer-core, "BDV N5 format.md".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from napari_pyramid.arrays.virtual import Stack
from napari_pyramid.axes import Axis, clean_unit
from napari_pyramid.errors import LayoutError
from napari_pyramid.image import Affine, Image, StoredLevel
from napari_pyramid.layouts import n5
from napari_pyramid.layouts._bdv_xml import (
    BdvXml,
    Setup,
    View,
    container,
    described,
    parse_xml,
    read_xml,
    views,
)
from napari_pyramid.layouts._candidates import (
    checked_levels,
    image_name,
    numbered_arrays,
)
from napari_pyramid.layouts._levels import LevelEntry
from napari_pyramid.layouts.entry import Entry
from napari_pyramid.storage import stores
from napari_pyramid.storage.layout_warnings import warn
from napari_pyramid.storage.node import Node

__all__ = ["NAME", "SUFFIXES", "entries", "list_path", "open_path", "read"]

NAME = "BigDataViewer N5"
SUFFIXES = (".xml",)
_SETUP = re.compile(r"setup(\d+)")
_TIMEPOINT = re.compile(r"timepoint(\d+)")
_LEVEL = re.compile(r"s\d+")

Times = Mapping[int, Node]
"""Groups of one setup's timepoints, by number."""


def open_path(path: str) -> Sequence[Image] | None:
    """Return the images of the container that a BigDataViewer XML names; None for any other file.

    Raises
    ------
    LayoutError
        If the container is neither N5 nor zarr, is not in the folder of the XML, or cannot be read.
    """
    if not path.lower().endswith(SUFFIXES) or (tree := parse_xml(Path(path))) is None:
        return None
    from napari_pyramid.layouts import open_images  # the table of layouts imports this module

    try:
        found = container(tree, Path(path).parent)
    except LayoutError as error:
        raise LayoutError(f"{path}: {error}") from error
    xml = described(tree)
    images = _images_of_setups(stores.open_root(found), xml) if found.is_dir() else None
    return images or _described_images(open_images(found), xml, views(tree))


def list_path(path: str) -> Iterator[Entry] | None:
    """Return the setups and timepoints of the N5 container that a BigDataViewer XML names.

    None for any other file, and for a container of another format.
    """
    if not path.lower().endswith(SUFFIXES) or (tree := parse_xml(Path(path))) is None:
        return None
    try:
        found = container(tree, Path(path).parent)
        return _entries(stores.open_root(found), described(tree)) if found.is_dir() else None
    except LayoutError:
        return None  # opening the file reports the error


def entries(node: Node) -> Iterator[Entry] | None:
    """Return the setups and timepoints of a group of setups, or None for any other node."""
    if node.kind != "group" or not any(map(_SETUP.fullmatch, node.candidate_names)):
        return None
    return _entries(node, read_xml(node))


def _entries(node: Node, xml: BdvXml) -> Iterator[Entry] | None:
    """Return the setups below `node`, then the timepoints of each one; None without setups."""
    groups = {int(m[1]): child for child in node.children() if (m := _SETUP.fullmatch(child.name))}
    setups = {number: times for number, child in groups.items() if (times := _timepoints(child))}
    if not setups:
        return None
    all_times = sorted({t for times in setups.values() for t in times} | set(xml.timepoints))

    def entry(number: int, only: int | None = None) -> Entry:
        group, setup, times = groups[number], xml.setups.get(number, Setup()), setups[number]
        name = setup.name or image_name(group)
        shown = times if only is None else {only: times[only]}

        def read_one(system: str | None) -> Sequence[Image]:
            image = _image(group, shown, all_times if only is None else [only], setup)
            if image is None:
                raise LayoutError(f"{group.location}: no level can be read")
            return [image if only is None else replace(image, name=f"{name} t{only}")]

        if only is None:
            return Entry(name, group.path, read_one)
        return Entry(f"{name}, timepoint {only}", times[only].path, read_one, is_alternative=True)

    whole = [entry(number) for number in sorted(setups)]
    single = (entry(n, t) for n in sorted(setups) for t in sorted(setups[n]))
    return chain(whole, single if len(all_times) > 1 else ())


def _described_images(
    images: Sequence[Image], xml: BdvXml, views_at: Mapping[str, Sequence[View]]
) -> list[Image]:
    """Return the images of an OME-Zarr container with the metadata of their views in the XML.

    A warning names the images that the XML does not fit.
    """
    found, others = [], []
    for image in images:
        described = _described_image(image, xml, views_at.get(image.path, ()))
        found.append(described or image)
        if described is None and image.kind == "image":
            others.append(image.path or image.name)
    if others and xml.setups:
        warn(
            f"the XML of BigDataViewer does not fit {', '.join(others[:3])}"
            f"{', ...' * (len(others) > 3)}: names, voxel sizes and registrations are left out"
        )
    return found


def _described_image(image: Image, xml: BdvXml, held: Sequence[View]) -> Image | None:
    """Return the image with name, voxel size and registration of its views.

    None if the registrations differ, or the axes of the image do not end in z, y, x.
    """
    setups = [(xml.setups.get(setup, Setup()), timepoint) for setup, timepoint in held]
    matrices = [setup.registrations.get(timepoint) for setup, timepoint in setups]
    given = [matrix for matrix in matrices if matrix is not None]
    if (
        not setups
        or [axis.name for axis in image.axes or ()][-3:] != ["z", "y", "x"]
        or image.affine is not None
    ):
        return None
    if given and not (
        len(given) == len(matrices) and all(np.allclose(matrix, given[0]) for matrix in given)
    ):
        return None
    setup, timepoint = setups[0]
    name = image.name if len(held) > 1 or not setup.name else setup.name
    if name != image.name and len(xml.timepoints) > 1:
        name += f" t{timepoint}"
    axes = tuple(
        Axis(a.name, a.type, a.unit or clean_unit(setup.unit)) if a.is_spatial else a
        for a in image.axes or ()
    )
    named = replace(image, name=name, axes=axes)
    matrix = matrices[0]
    if (
        matrix is None
        and setup.voxel_size is not None
        and (image.levels[0].scale or (1.0,))[-3:] == (1.0,) * 3
    ):
        matrix = np.diag([*setup.voxel_size, 1.0])
    return named if matrix is None else _in_world(named, matrix)


def read(node: Node) -> Sequence[Image] | None:
    """Return the images of a group of setups, or of one setup.

    A single timepoint is left to the layout `n5`.
    """
    if node.kind != "group":
        return None
    if (images := _images_of_setups(node)) is not None:
        return images or None
    times = _timepoints(node)
    image = _image(node, times, sorted(times), Setup()) if times else None
    return None if image is None else (image,)


def _images_of_setups(node: Node, xml: BdvXml | None = None) -> list[Image] | None:
    """Return one image per setup below `node`, with the names, units and registrations of `xml`.

    Without `xml`, the XML file beside the container is read. None if there is no setup.
    """
    groups = {int(m[1]): child for child in node.children() if (m := _SETUP.fullmatch(child.name))}
    setups = {number: times for number, child in groups.items() if (times := _timepoints(child))}
    if not setups:
        return None
    xml = xml if xml is not None else read_xml(node)
    all_times = sorted({t for times in setups.values() for t in times} | set(xml.timepoints))
    found = [
        _image(groups[number], times, all_times, xml.setups.get(number, Setup()))
        for number, times in sorted(setups.items())
    ]
    return [image for image in found if image is not None]


def _timepoints(setup: Node) -> Times:
    if setup.kind != "group":
        return {}
    found = {
        int(m[1]): child
        for child in setup.children(distinct=False)  # timepoints may be links to one group
        if child.kind == "group" and (m := _TIMEPOINT.fullmatch(child.name))
    }
    return {number: child for number, child in found.items() if numbered_arrays(child, _LEVEL)}


def _image(setup: Node, times: Times, all_times: Sequence[int], described: Setup) -> Image | None:
    pyramids = {
        t: levels
        for t, node in sorted(times.items())
        if (levels := _levels(setup, node, described))
    }
    if not pyramids:
        return None
    first = next(iter(pyramids.values()))
    ndim = first[0].array.ndim
    spatial = (
        tuple(Axis.named(name, described.unit) for name in ("z", "y", "x")[-ndim:])
        if ndim <= 3
        else None
    )
    image = Image(described.name or image_name(setup), first, NAME, setup.path, axes=spatial)
    if ndim == 3:
        image = _registered(image, described, [t for t in all_times if t in pyramids])
    if len(all_times) < 2 or spatial is None:
        return image
    levels = tuple(
        _stacked(setup, level, i, pyramids, all_times) for i, level in enumerate(image.levels)
    )
    affine = image.affine
    return replace(
        image,
        levels=levels,
        axes=(Axis.named("t"), *spatial),
        affine=None if affine is None else n5.beside(affine, 1),
    )


def _levels(setup: Node, timepoint: Node, described: Setup) -> tuple[StoredLevel, ...]:
    """Return the levels of one timepoint.

    The factors are attributes of the levels or, for all timepoints, of the setup.
    """
    arrays = numbered_arrays(timepoint, _LEVEL)
    entries = n5.level_entries(timepoint, arrays, parents=(setup,))
    voxel = described.voxel_size
    if (
        voxel is not None
        and "resolution" not in timepoint.attributes
        and arrays[0].ndim == len(voxel)
    ):
        entries = [_rescaled(entry, voxel) for entry in entries]
    return checked_levels(timepoint, entries, "s0, s1, ...")


def _rescaled(entry: LevelEntry, voxel: Sequence[float]) -> LevelEntry:
    """Return an entry in pixels with the voxel size of the XML applied."""
    if entry.scale is None or entry.translation is None:
        return entry
    scale = tuple(s * v for s, v in zip(entry.scale, voxel, strict=True))
    return replace(
        entry,
        scale=scale,
        translation=tuple(t * v for t, v in zip(entry.translation, voxel, strict=True)),
    )


def _registered(image: Image, described: Setup, times: Sequence[int]) -> Image:
    """Return the image with its registration, if the registration is the same at all timepoints."""
    given = [described.registrations[t] for t in times if t in described.registrations]
    if not given:
        return image
    if not all(np.allclose(matrix, given[0]) for matrix in given):
        warn(f"{image.path}: registrations differ between timepoints; not applied")
        return image
    return _in_world(image, given[0])


def _in_world(image: Image, registration: Affine) -> Image:
    """Return the image at the place that `registration` gives to the pixels of level 0.

    The last axes are z, y, x. A registration without rotation becomes scale and translation, any
    other an affine.
    """
    first = image.levels[0]
    n = first.array.ndim
    pixel = np.diag([*(first.scale or (1.0,) * n)[-3:], 1.0])
    pixel[:3, 3] = (first.translation or (0.0,) * n)[-3:]
    matrix = registration @ np.linalg.inv(pixel)
    if (
        np.allclose(matrix[:3, :3], np.diag(np.diag(matrix))[:3, :3])
        and (np.diag(matrix) > 0).all()
    ):
        levels = tuple(_moved(level, np.diag(matrix)[:3], matrix[:3, 3]) for level in image.levels)
        return replace(image, levels=levels)
    return replace(image, affine=n5.beside(matrix, n - 3 - (image.channel_axis is not None)))


def _moved(level: StoredLevel, stretch: np.ndarray, shift: np.ndarray) -> StoredLevel:
    n = level.array.ndim
    scale, translation = (
        np.array(level.scale or (1.0,) * n),
        np.array(level.translation or (0.0,) * n),
    )
    scale[-3:] *= stretch
    translation[-3:] = translation[-3:] * stretch + shift
    return replace(level, scale=tuple(scale.tolist()), translation=tuple(translation.tolist()))


def _stacked(
    setup: Node,
    level: StoredLevel,
    index: int,
    pyramids: Mapping[int, Sequence[StoredLevel]],
    all_times: Sequence[int],
) -> StoredLevel:
    arrays = []
    for t in all_times:
        array = pyramids[t][index].array if t in pyramids and index < len(pyramids[t]) else None
        if array is not None and (array.shape, array.dtype) != (
            level.array.shape,
            level.array.dtype,
        ):
            warn(
                f"{setup.location}/timepoint{t}: {array.shape} {array.dtype} is not "
                f"{level.array.shape} {level.array.dtype}; left empty"
            )
            array = None
        arrays.append(array)
    scale, translation = level.scale or (1.0,) * 3, level.translation or (0.0,) * 3
    return StoredLevel(level.path, Stack(arrays), (1.0, *scale), (0.0, *translation))
