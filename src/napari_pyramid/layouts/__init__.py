"""The layouts of multiscale stores on disk: one module each, and the table that says in which order they are asked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
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
from napari_pyramid.layouts.ome_zarr_document import find_document, prefetch_levels
from napari_pyramid.storage import stores
from napari_pyramid.storage.address import is_remote
from napari_pyramid.storage.node import Node
from napari_pyramid.storage.store_objects import open_object

__all__ = ["LAYOUTS", "Layout", "open_images", "read_node"]


class Layout(Protocol):
    """A way of writing multiscale images into a zarr hierarchy. Each is a module with these two names."""

    NAME: str
    """For people: "OME-Zarr"."""

    def read(self, node: Node, /) -> Sequence[Image] | None:
        """The images of a node, or None when the node is not of this layout.

        A node that is almost of this layout is None too, after a `LayoutWarning` that names file and key,
        so that the next layout is asked.

        Raises
        ------
        LayoutError
            If the node is of this layout beyond doubt, but cannot be read.
        """


class Opener(Protocol):
    """A format that is no zarr store. Each is a module with these two names."""

    NAME: str

    def open_path(self, path: str, /) -> Sequence[Image] | None:
        """The images of a file or directory, or None, quickly and silently, when it is of another format.

        Raises
        ------
        LayoutError
            If it is of this format, but cannot be read, or its optional dependency is not installed.
        """


# First hit wins, so what says more comes first: a plate may also be a bioformats2raw collection, and a store that keeps
# several conventions side by side (they exist) is shown once.
LAYOUTS: tuple[Layout, ...] = (
    # module              recognised by
    xcube,  #             a directory named *.levels
    hcs,  #               "plate" or "well", in "ome" or beside it
    bioformats2raw,  #    "bioformats2raw.layout"
    zarr_conventions,  #  "multiscales", an object with "layout"
    geozarr,  #           "multiscales", an object with "tile_matrix_set"
    ndpyramid,  #         "multiscales", a list, whose datasets are groups
    ome_zarr,  #          "ome": multiscales, scene, labels; or "multiscales" as OME-Zarr 0.1 to 0.4 write it
    cosem,  #             "multiscales" or "multiscale" with "transform" or "gridSpacing" per level, or arrays with "transform"
    multiscales_v01,  #   "multiscales", a list, as in zarr-specs issue 50: any rank
    multiscale_dict,  #   "multiscale", an object with "datasets"
    itk,  #               "_MULTISCALE_LEVELS"
    paintera,  #          "painteraData"
    n5,  #                s0, s1, ... and "downsamplingFactors", "scales", "resolution" or "pixelResolution"
    summary,  #           arrays with "summary_of" or "summarized_by"
    xarray_groups,  #     scale0, scale1, ... with coordinates, or variables with coordinates
    bdv,  #               setup0/timepoint0/s0
    webknossos,  #        a file "datasource-properties.json"
    bare,  #              names only: base + sub-resolutions, s0 s1 s2, an array with arrays in it, a single array
)

SPECIAL_OPENERS: tuple[Opener, ...] = (tiff, precomputed, bdv)
"""Files that are no zarr store, or name one, asked before `LAYOUTS`."""


def open_images(
    path: str | os.PathLike[str] | object, *, storage_options: Mapping[str, Any] | None = None
) -> tuple[Image, ...]:
    """Return all images and label images of a store, in the store's order. Reads metadata, no pixels.

    Parameters
    ----------
    path
        Directory, zip file or URL of a store, or of a group or array in one; or an opened store, see `open_object`.
    storage_options
        Credentials and the like for a URL: see `napari_pyramid.storage.connect.OPTIONS`.

    Raises
    ------
    LayoutError
        If nothing is there, or no layout recognises it; the message names the file.
    """
    if not isinstance(path, str | os.PathLike):
        return _images_of(open_object(path))
    path = os.fspath(path)
    if is_remote(path):
        found = stores.look_at(path, storage_options)
        for file_layout in (tiff, precomputed):
            if (special := file_layout.open_remote(found)) is not None:
                return tuple(special)
        root = stores.root_of(found)
    else:
        for opener in SPECIAL_OPENERS:
            if (special := opener.open_path(path)) is not None:
                return tuple(special)
        root = stores.open_root(path)
    return _images_of(root)


def _images_of(root: Node) -> tuple[Image, ...]:
    images = read_node(root)
    if images is None:
        images = collection.walk(root, read_node)
    if not images:
        raise LayoutError(
            stores.withheld(root)
            or f"{root.location}: there is no image that can be read; looked for {', '.join(x.NAME for x in LAYOUTS)}"
        )
    return _once(root, images)


def _once(root: Node, images: Sequence[Image]) -> tuple[Image, ...]:
    """Return the images without those that are the same arrays as one before, under another path: metadata may name links."""
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
    """Return what is equal for the same part of the same array in the store, and for nothing else."""
    if isinstance(array, Crop):
        return _pixels(root, path, array.array), array.start, array.shape
    if isinstance(array, zarr.Array) and array.store is root.store:
        return root.folder_at(path)
    return id(array)


def read_node(node: Node) -> Sequence[Image] | None:
    """The images of one group or array by the first layout that recognises it; None when none does."""
    if node.is_far and (document := find_document(node)) is not None:
        prefetch_levels(node, document)  # before a layout asks for one level after another
    for layout in LAYOUTS:
        if (images := layout.read(node)) is not None:
            return images
    return None
