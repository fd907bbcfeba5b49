"""Write links that open a store in viewers on the web; `storage.address` parses the same links."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from napari_pyramid.errors import LayoutError
from napari_pyramid.image import Image
from napari_pyramid.storage.address import Address, is_remote, parse_address

__all__ = ["Format", "Link", "SharedImage", "format_for_others", "links_to_images", "viewer_links"]

Format = Literal["ome-zarr", "zarr", "n5", "precomputed", "other"]

_VIZARR = "https://hms-dbmi.github.io/vizarr/"
_VALIDATOR = "https://ome.github.io/ome-ngff-validator/"
_NEUROGLANCER = "https://neuroglancer-demo.appspot.com/"
_SCHEMES = {"ome-zarr": "zarr", "zarr": "zarr", "n5": "n5", "precomputed": "precomputed"}
"""Neuroglancer's names of the formats; ``zarr`` stands for versions 2 and 3."""
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, slots=True)
class Link:
    """A link that opens an image in one viewer."""

    viewer: str
    url: str
    note: str = ""
    """A condition under which the viewer shows the image; empty if there is no condition."""


@dataclass(frozen=True, slots=True)
class SharedImage:
    """An image of a store, with its links."""

    name: str
    url: str
    """Address of the image itself."""
    links: tuple[Link, ...]


def viewer_links(
    url: str,
    path: str = "",
    *,
    format: Format = "ome-zarr",
    kind: Literal["image", "labels"] = "image",
) -> tuple[Link, ...]:
    """Return the links for vizarr, Neuroglancer and the OME-Zarr validator.

    vizarr and the validator open OME-Zarr only, and not in a zip file; Neuroglancer also opens zip
    files, arrays of zarr and N5, and precomputed volumes. There are no links for other formats.

    Parameters
    ----------
    url
        Address of a store; anything that `parse_address` takes. Buckets (s3, gs) become their
        public web addresses where a viewer knows no buckets.
    path
        Path of the image in the store.
    kind
        Neuroglancer shows labels as a segmentation.

    Raises
    ------
    LayoutError
        If the address is not on the web, or holds a signature or password, which each link would
        give away.
    """
    store = _public_address(url)
    if format == "other":
        return ()
    zipped, note = _is_zip(store), _note(store)
    address = store if zipped else store.below(path)
    web = quote(_web_url(address), safe=":/")
    where = address.requested if address.is_http else address.public
    scheme = _SCHEMES[format]
    source = f"{where}|zip:{path}|{scheme}:" if zipped else f"{scheme}://{where}"
    neuroglancer = Link("Neuroglancer", _neuroglancer(source, path or store.name, kind), note)
    if format != "ome-zarr" or zipped:
        return (neuroglancer,)
    return (
        Link("vizarr", f"{_VIZARR}?source={web}", note),
        neuroglancer,
        Link("OME-Zarr validator", f"{_VALIDATOR}?source={web}", note),
    )


def links_to_images(store: str, images: Sequence[Image]) -> tuple[SharedImage, ...]:
    """Return the links to each image of a store.

    Parameters
    ----------
    store
        URL that the store has for others.
    images
        Images that a layout found in the store.

    Raises
    ------
    LayoutError
        As `viewer_links`.
    """
    address = _public_address(store)
    shared = []
    for image in images:
        is_ome = image.ome_version is not None
        known, path = format_for_others(image.layout, image.path, image.levels[0].path, is_ome)
        links = viewer_links(store, path, format=known, kind=image.kind)
        shared.append(SharedImage(image.name, address.below(path).requested, links))
    return tuple(shared)


def format_for_others(layout: str, path: str, level: str, is_ome: bool) -> tuple[Format, str]:
    """Return how other programs see an image, and the path in the store that they must open.

    Only OME-Zarr and precomputed volumes are known to other viewers as a whole; of other layouts
    they can show the array of level 0.

    Parameters
    ----------
    layout
        Name of the layout, as in `Image.layout`.
    path, level
        Paths in the store of the image, and of its level 0.
    """
    if is_ome:
        return "ome-zarr", path
    if layout.lower().endswith("precomputed"):
        return "precomputed", path
    if "TIFF" in layout:
        return "other", path
    return ("n5" if "N5" in layout else "zarr"), level


def _public_address(url: str) -> Address:
    if not is_remote(url):
        raise LayoutError(f"{url} is on this machine: serve it first")
    address = parse_address(url)
    if address.query or address.credentials:
        raise LayoutError(
            f"the address of {address.public} holds a signature or password, which a link would "
            "give away: share an address that is public"
        )
    return address


def _web_url(address: Address) -> str:
    """Return the address for a program that knows no buckets."""
    if address.is_http:
        return address.requested
    path = quote(address.path, safe="/")
    if address.scheme == "s3":
        # The certificate of Amazon does not fit a bucket whose name has dots.
        dotted = "." in address.host
        host = f"s3.amazonaws.com/{address.host}" if dotted else f"{address.host}.s3.amazonaws.com"
        return f"https://{host}/{path}"
    if address.scheme == "gs":
        return f"https://storage.googleapis.com/{address.host}/{path}"
    raise LayoutError(
        f"viewers on the web cannot open {address.scheme}:// addresses: "
        f"share the https address of {address.public}"
    )


def _is_zip(address: Address) -> bool:
    return address.name.lower().endswith((".zip", ".ozx"))


def _neuroglancer(source: str, name: str, kind: str) -> str:
    layer = {
        "type": "segmentation" if kind == "labels" else "image",
        "source": source,
        "name": name,
    }
    return f"{_NEUROGLANCER}#!{quote(json.dumps({'layers': [layer]}, separators=(',', ':')))}"


def _note(address: Address) -> str:
    host = re.sub(r":\d+$", "", address.host)
    if address.scheme != "http":
        return ""
    if host in _LOOPBACK:
        return "The links work on this machine only. Safari blocks them, and Chrome asks once."
    return "Browsers block http:// addresses in these viewers: share an https:// address."
