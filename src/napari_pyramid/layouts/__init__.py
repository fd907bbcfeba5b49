"""Recognise the layouts of multiscale stores, one module per layout, in the order of `LAYOUTS`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import zarr

from napari_pyramid.arrays.virtual import Crop
from napari_pyramid.errors import LayoutError
from napari_pyramid.image import ArrayLike, Image
from napari_pyramid.layouts import (
    bare,
    bdv,
    bioformats2raw,
    collection,
    cosem,
    geozarr,
    hcs,
    itk,
    multiscale_dict,
    multiscales_v01,
    n5,
    ndpyramid,
    ome_zarr,
    paintera,
    precomputed,
    summary,
    tiff,
    webknossos,
    xarray_groups,
    xcube,
    zarr_conventions,
)
from napari_pyramid.layouts.entry import Entry, entry_of
from napari_pyramid.layouts.ome_zarr_document import find_document, prefetch_levels
from napari_pyramid.storage import stores
from napari_pyramid.storage.address import is_remote, local_path
from napari_pyramid.storage.moves import finish_killed_moves
from napari_pyramid.storage.node import Node
from napari_pyramid.storage.store_objects import open_object

__all__ = [
    "LAYOUTS",
    "SPECIAL_OPENERS",
    "Layout",
    "images_of",
    "list_node",
    "open_images",
    "open_source",
    "read_node",
]


class Layout(Protocol):
    """A convention for multiscale images in a zarr hierarchy: a module with these names.

    A layout whose images can be listed without opening them also has ``entries``: a function of a
    node that returns an iterator of `Entry`, or None.

    A layout whose stores have names of their own also has ``FILES``, the names of files in the
    store's folder, or ``SUFFIXES``, the ends of the store's name. napari must know them before this
    package is imported, so that ``_napari/reader.py`` and ``napari.yaml`` repeat them; a test
    compares the three.
    """

    NAME: str
    """Name of the layout in messages, such as "OME-Zarr"."""

    def read(self, node: Node, /) -> Sequence[Image] | None:
        """Return the images of a node, or None if the node does not have this layout.

        Also None, after a `LayoutWarning` with file and key, for a node with broken metadata of
        this layout, so that the next layout is tried.

        Raises
        ------
        LayoutError
            If the node certainly has this layout, but cannot be read.
        """


class Opener(Protocol):
    """A file format other than zarr: a module with these names; see `Layout`."""

    NAME: str
    """Name of the format in messages, such as "TIFF"."""

    def open_path(self, path: str, /) -> Sequence[Image] | None:
        """Return the images of a file or directory, or None if it has another format.

        The check is quick and gives no warning, since it runs for every path that is opened.

        Raises
        ------
        LayoutError
            If it has this format, but cannot be read, or an optional dependency is not installed.
        """


# The first layout that fits is used, so layouts with more information come first: a plate may also
# be a bioformats2raw collection, and a store may follow several conventions at once.
LAYOUTS: tuple[Layout, ...] = (
    # module              recognised by
    xcube,  #             a directory named *.levels
    hcs,  #               "plate" or "well", in "ome" or beside it
    bioformats2raw,  #    "bioformats2raw.layout"
    zarr_conventions,  #  "multiscales", an object with "layout"
    geozarr,  #           "multiscales", an object with "tile_matrix_set"
    ndpyramid,  #         "multiscales", a list, whose datasets are groups
    ome_zarr,  #          "ome": multiscales, scene, labels; or "multiscales" of OME-Zarr 0.1 to 0.4
    cosem,  #             "transform" or "gridSpacing" in "multiscale(s)", or "transform" in arrays
    multiscales_v01,  #   "multiscales", a list, as in zarr-specs issue 50: any rank
    multiscale_dict,  #   "multiscale", an object with "datasets"
    itk,  #               "_MULTISCALE_LEVELS"
    paintera,  #          "painteraData"
    n5,  #                s0, s1, ... and "downsamplingFactors", "scales" or a resolution
    summary,  #           arrays with "summary_of" or "summarized_by"
    xarray_groups,  #     scale0, scale1, ... with coordinates, or variables with coordinates
    bdv,  #               setup0/timepoint0/s0
    webknossos,  #        a file "datasource-properties.json"
    bare,  #              names: base + sub-resolutions, s0 s1 s2, arrays in an array, one array
)

SPECIAL_OPENERS: tuple[Opener, ...] = (tiff, precomputed, bdv)
"""Formats of files that are not zarr stores, or that refer to one; tried before `LAYOUTS`."""


def open_images(
    path: str | os.PathLike[str] | object, *, storage_options: Mapping[str, Any] | None = None
) -> tuple[Image, ...]:
    """Return all images and label images of a store, in the store's order, without reading pixels.

    Parameters
    ----------
    path
        Directory, zip file or URL of a store, or of a group or array in one; or an opened store,
        see `open_object`.
    storage_options
        Credentials and the like for a URL: see `napari_pyramid.storage.url_options.OPTIONS`.

    Raises
    ------
    LayoutError
        If nothing exists at `path`, or no layout recognises it; the message names the file.
    """
    if not isinstance(path, str | os.PathLike):
        return images_of(open_object(path))
    opened = open_source(os.fspath(path), storage_options)
    return images_of(opened) if isinstance(opened, Node) else opened


def open_source(
    path: str, storage_options: Mapping[str, Any] | None = None
) -> Node | tuple[Image, ...]:
    """Return the root of the store at a path or URL, or the images of a file that is not a store.

    See `open_images`, which raises the same errors.
    """
    if is_remote(path):
        found = stores.look_at(path, storage_options)
        for file_layout in (tiff, precomputed):
            if (special := file_layout.open_remote(found)) is not None:
                return tuple(special)
        return stores.root_of(found)
    path = local_path(path)
    finish_killed_moves(path)  # else chunks of two saves would be mixed
    for opener in SPECIAL_OPENERS:
        if (special := opener.open_path(path)) is not None:
            return tuple(special)
    return stores.open_root(path)


def images_of(root: Node) -> tuple[Image, ...]:
    """Return all images and label images of an opened store.

    Raises
    ------
    LayoutError
        If no layout recognises the store.
    """
    images = read_node(root)
    if images is None:
        images = collection.walk(root, read_node)
    if not images:
        raise LayoutError(
            stores.withheld(root)
            or f"{root.location}: there is no image that can be read: expected OME-Zarr, N5, "
            "xarray or another known layout of zarr; choose the folder of an image, or of images"
        )
    return _once(root, images)


def _once(root: Node, images: Sequence[Image]) -> tuple[Image, ...]:
    """Return the images, each only once if several paths lead to the same arrays through links."""
    first_path: dict[object, str] = {}
    kept = []
    for image in images:
        levels = tuple(
            (_pixels(root, level.path, level.array), level.scale, level.translation)
            for level in image.levels
        )
        affine = None if image.affine is None else image.affine.tobytes()
        pixels = (image.kind, image.axes, affine, levels)
        if first_path.setdefault(pixels, image.path) == image.path:
            kept.append(image)
    return tuple(kept)


def _pixels(root: Node, path: str, array: ArrayLike) -> object:
    """Return a key that is equal only for the same part of the same array in the store."""
    if isinstance(array, Crop):
        return _pixels(root, path, array.array), array.start, array.shape
    if isinstance(array, zarr.Array) and array.store is root.store:
        return root.folder_at(path)
    return id(array)


def read_node(node: Node) -> Sequence[Image] | None:
    """Return the images of a group or array by the first layout that recognises it, or None."""
    if node.is_far and (document := find_document(node)) is not None:
        prefetch_levels(node, document)  # before a layout asks for one level after another
    for layout in LAYOUTS:
        if (images := layout.read(node)) is not None:
            return images
    return None


def list_node(node: Node) -> Iterable[Entry] | None:
    """Return the entries of a group or array by the first layout that recognises it, or None.

    Images are opened only if their layout cannot list them otherwise.
    """
    for layout in LAYOUTS:
        listing = getattr(layout, "entries", None)
        if listing is not None and (entries := listing(node)) is not None:
            found: Iterable[Entry] = entries
            return found
        # bdv.read also recognises a single setup, which has nothing to choose from.
        if (images := layout.read(node)) is not None:
            return [entry_of(image) for image in images]
    return None
