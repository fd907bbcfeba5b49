"""Read layers for napari: the npe2 reader.

Imports nothing heavy, since napari asks every reader about every path.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from napari_pyramid.storage.file_names import METADATA_FILES

if TYPE_CHECKING:
    from napari_pyramid.layer_image import LayerTuple

__all__ = ["get_reader", "read"]

_METADATA_FILES = (*METADATA_FILES, ".zlevels", "info", "datasource-properties.json")
_MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of zip files, and of TIFF and BigTIFF in either byte order."""
_START = 1024
"""Bytes of an XML file in which BigDataViewer's root element is, after its declaration."""
_SUFFIXES = (".zarr", ".n5", ".levels")
_URL_SUFFIXES = (
    *_SUFFIXES,
    *(".ozx", ".zip", ".tif", ".tiff", ".btf", ".tf8"),
    *(".svs", ".ndpi", ".scn", ".bif", ".qptiff", ".ptif", ".ptiff"),
)
"""Last parts of URLs with any other suffix are not ours: pictures, tables, pages."""
_FEW = 64
"""Number of entries to examine in a folder without metadata: the first ones show a pyramid."""


def get_reader(
    path: str | Sequence[str],
) -> Callable[[str | Sequence[str]], list[LayerTuple] | list[tuple[None]]] | None:
    """Return the function that reads `path`, or None if it is certainly not a store of ours.

    The answer follows from names and a few bytes; nothing is printed or raised. If several paths
    are given, all of them must be readable.
    """
    paths = [path] if isinstance(path, str) else list(path)
    return read if paths and all(_may_be_ours(os.fspath(p)) for p in paths) else None


def read(path: str | Sequence[str]) -> list[LayerTuple] | list[tuple[None]]:
    """Return layer data tuples of all images and labels in the store at `path`.

    Reads metadata and, if the store has no contrast limits, a part of the coarsest level.

    While a window handles its events, and for the command ``napari PATH``, a store with many images
    opens in the browser, and a URL in the background: then the result is ``[(None,)]``, which
    stands for no layers. Calls from a script always return layers.

    Raises
    ------
    LayoutError
        If no layout recognises the store, or napari cannot show any of its images.
    """
    from napari_pyramid._napari._from_image import layers_of
    from napari_pyramid.layouts import open_images
    from napari_pyramid.storage.address import public_url

    paths = [path] if isinstance(path, str) else list(path)
    options: dict[str, dict[str, str] | None] = dict.fromkeys(paths)
    virtual_levels = False
    if "qtpy" in sys.modules and "napari" in sys.modules:
        from napari_pyramid._napari._opening import open_for_window
        from napari_pyramid._napari._preferences import options_for
        from napari_pyramid._napari._progressive import watch_viewers

        virtual_levels = watch_viewers()
        if len(paths) == 1:
            taken = open_for_window(_store_of(paths[0]))
            if taken is not None:
                source = public_url(paths[0])
                if not taken:
                    return [(None,)]
                return layers_of(taken, source, virtual_levels=virtual_levels)
        options = {p: options_for(p) for p in paths}
    return [
        layer
        for p in paths
        for layer in layers_of(
            open_images(_store_of(p), storage_options=options[p]),
            public_url(p),
            virtual_levels=virtual_levels,
        )
    ]


def _may_be_ours(path: str) -> bool:
    if "://" in path:
        return _may_be_our_url(path)
    if os.path.isdir(path):
        return (
            path.rstrip("/\\").lower().endswith(_SUFFIXES)
            or _has_metadata(path)
            or _holds_a_node(path)
        )
    if os.path.basename(path) in _METADATA_FILES:
        return os.path.isfile(path)
    try:
        with open(path, "rb") as file:
            start = file.read(_START)
    except OSError:
        return False
    return start[:4] in _MAGIC or (path.lower().endswith(".xml") and b"<SpimData" in start)


def _may_be_our_url(url: str) -> bool:
    """Return whether a URL may lead to a store, from its text alone.

    A request would keep napari waiting.
    """
    from napari_pyramid.errors import LayoutError
    from napari_pyramid.storage.address import is_remote, parse_address

    if not is_remote(url):
        return True
    try:
        address = parse_address(url)
    except LayoutError:
        return False
    if not address.is_http or address.format is not None:
        return True
    suffix = re.search(r"\.[a-z][a-z0-9]{0,7}$", address.name.lower())
    folders = f"/{address.path.lower()}/"
    return (
        suffix is None
        or suffix[0] in _URL_SUFFIXES
        or any(mark in folders for mark in (".zarr/", ".n5/", "/zarr/"))
    )


def _store_of(path: str) -> str:
    """Return the store of a path: its folder if `path` is a metadata file.

    File > Open cannot select folders.
    """
    is_file = os.path.basename(path) in _METADATA_FILES and not os.path.isdir(path)
    return os.path.dirname(path) or "." if is_file else path


def _has_metadata(folder: str) -> bool:
    return any(os.path.isfile(os.path.join(folder, name)) for name in _METADATA_FILES)


def _holds_a_node(folder: str) -> bool:
    """Return whether one of the first subfolders has metadata.

    Plain collections and bare N5 containers have no metadata in their own folder.
    """
    try:
        with os.scandir(folder) as entries:
            few = [entry for entry, _ in zip(entries, range(_FEW), strict=False)]
            return any(_has_metadata(entry.path) for entry in few if entry.is_dir())
    except OSError:
        return False
