"""Parse addresses of stores: URLs, links to viewers, and the schemes of Neuroglancer.

An address has a public part for messages and metadata, and secrets for requests only: the query
string (presigned URLs, SAS tokens) and a user's name and password. This module sends no requests.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from napari_pyramid.errors import LayoutError
from napari_pyramid.storage.file_names import METADATA_FILES

__all__ = [
    "BUCKET_SCHEMES",
    "Address",
    "disk_path",
    "is_remote",
    "is_url",
    "local_path",
    "parse_address",
    "public_url",
]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_FORMATS = ("zarr", "zarr2", "zarr3", "n5", "precomputed")
"""Schemes of Neuroglancer that name a format, and are followed by a URL."""
_PIPE = re.compile(r"^(.*?)\|([a-z0-9_-]+):.*$", re.DOTALL)
"""Neuroglancer's newer spelling: ``https://host/x/|zarr2:``."""
_LINK_KEYS = ("source", "url", "image", "images", "image_url", "zarr", "fileToLoad")
"""Parameters that hold the address of a store in links to viewers.

The viewers: vizarr, the OME-Zarr validator, Avivator, itk-vtk-viewer.
"""
_SAME = {"gcs": "gs", "s3a": "s3", "azure": "az", "abfss": "abfs", "adl": "az"}
BUCKET_SCHEMES = ("s3", "gs", "az", "abfs", *_SAME)
"""Schemes of objects in buckets, with all of their names."""
_UNESCAPED = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SAFE = "/%:@!$&'()*+,;=~-._"


@dataclass(frozen=True, slots=True)
class Address:
    """The location of a store, with secrets for its server only."""

    scheme: str
    """Lower case: "https", "s3", "gs", "az", or any that fsspec knows."""
    host: str
    """Host and port, or the bucket."""
    path: str
    """Without slashes at either end. Percent-encoded for http and https, as it is for buckets."""
    query: str = ""
    credentials: str = ""
    """``name:password``."""
    format: str | None = None
    """Format in the address: "zarr", "n5" or "precomputed"; else None."""

    def __repr__(self) -> str:
        return f"Address({self.public!r})"

    @property
    def public(self) -> str:
        """Readable address without secrets, for messages, names and metadata."""
        path = unquote(self.path) if self.is_http else self.path
        return f"{self.scheme}://{self.host}/{path}" if path else f"{self.scheme}://{self.host}"

    @property
    def is_http(self) -> bool:
        """Whether the scheme is ``http`` or ``https``."""
        return self.scheme in ("http", "https")

    @property
    def name(self) -> str:
        """Last part of the path, decoded; the host or bucket if the path is empty."""
        return self.public.rpartition("/")[2]

    @property
    def key(self) -> str:
        """Last part of the path, as a key of the store above; "" for a root."""
        last = self.path.rpartition("/")[2]
        return unquote(last) if self.is_http else last

    @property
    def parent(self) -> Address:
        """Address of the folder above."""
        return replace(self, path=self.path.rpartition("/")[0])

    def below(self, key: str) -> Address:
        """Return the address of a key below this one."""
        added = quote(key, safe=_SAFE.replace("%", "")) if self.is_http else key
        return replace(self, path=f"{self.path}/{added}".strip("/"))

    @property
    def requested(self) -> str:
        """URL with its query, for requests; credentials go into a header."""
        url = f"{self.scheme}://{self.host}/{self.path}"
        return f"{url}?{self.query}" if self.query else url


def is_url(path: str) -> bool:
    """Return whether `path` begins with a scheme ("https://"); a drive letter is not one."""
    return _URL.match(path) is not None


def is_remote(path: str) -> bool:
    """Return whether `path` is a URL of something that is not a file of this machine."""
    return is_url(path) and not path.lower().startswith("file://")


def local_path(path: str) -> str:
    """Return the path on this machine that a ``file://`` URL is; other text as it is.

    ``file:///data/a%20b.zarr`` is ``/data/a b.zarr``, and on Windows ``file:///C:/a.zarr`` is
    the path of drive C.
    "?" and "#" belong to the path, because many programs do not encode them.
    """
    if not path.lower().startswith("file://"):
        return path
    from urllib.request import url2pathname  # only such URLs pay for it

    host, slash, rest = path[len("file://") :].partition("/")
    above = "" if host.lower() in ("", "localhost") else f"//{host}"
    return url2pathname(f"{above}{slash}{rest}")


def disk_path(given: str | os.PathLike[str]) -> Path | None:
    """Return the path on this machine that is given, also as ``file://``; None for other URLs."""
    text = os.fspath(given)
    return None if is_remote(text) else Path(local_path(text))


def public_url(path: str) -> str:
    """Return a path as it is, and a URL without its query string and credentials."""
    if not is_remote(path):
        return path
    try:
        return parse_address(path).public
    except LayoutError:
        return re.sub(r"//[^/@]*@", "//", path.partition("?")[0])


def parse_address(text: str) -> Address:
    """Return the address of the store in a URL or in a link to a viewer.

    Parameters
    ----------
    text
        ``https://host/x.zarr?signature``, ``s3://bucket/key``, ``precomputed://gs://bucket/key``,
        ``https://host/x/|zarr3:``, ``https://viewer/?source=https://host/x.zarr``, or a link of
        Neuroglancer with its state behind ``#!``.

    Raises
    ------
    LayoutError
        If the text is not such a URL, or has no host.
    """
    text = text.strip()
    kind = None
    if (piped := _PIPE.match(text)) and is_url(text) and "#!" not in text:
        text, kind = piped[1], piped[2]
    scheme, _, rest = text.partition("://")
    if scheme.lower() in _FORMATS:
        kind, text = scheme.lower(), rest
        if not is_url(text):
            text = f"https://{text}"
    linked = _linked(text)
    if linked is not None:
        return parse_address(linked)
    address = _plain_address(text, _format_of(kind))
    return address.parent if address.name in METADATA_FILES else address


def _format_of(kind: str | None) -> str | None:
    """Return the format of Neuroglancer's word for it; a zip holds any format."""
    if kind is None or kind == "zip":
        return None
    return "zarr" if kind in ("zarr2", "zarr3") else kind.split("-")[-1]


def _plain_address(text: str, kind: str | None) -> Address:
    scheme, _, rest = text.partition("://")
    scheme = _SAME.get(scheme.lower(), scheme.lower())
    if scheme not in ("http", "https"):
        host, _, path = rest.partition("/")
        if not host:
            raise LayoutError(f"{scheme}:// is given without a bucket or host")
        return Address(scheme, host, path.strip("/"), format=kind)
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise LayoutError(f"{text.partition('?')[0]} is not a URL: {error}") from None
    if not host:
        raise LayoutError(f"{scheme}:// is given without a host")
    credentials, at, _ = parts.netloc.rpartition("@")
    path = quote(_UNESCAPED.sub("%25", parts.path), safe=_SAFE).strip("/")
    return Address(
        scheme, f"{host}{port}", path, parts.query, unquote(credentials) if at else "", kind
    )


def _linked(text: str) -> str | None:
    """Return the address of the store in a link to a viewer, or None for other addresses."""
    if not text.lower().startswith(("http://", "https://")):
        return None
    before, _, fragment = text.partition("#")
    if fragment.startswith("!"):
        return _in_neuroglancer(unquote(fragment[1:]))
    # The part behind "?" may be in the fragment: viewers with a router of their own put it there.
    for query in (before.partition("?")[2], fragment.partition("?")[2]):
        given = dict(parse_qsl(query))
        for key in _LINK_KEYS:
            if is_url(given.get(key, "")):
                return given[key]
    return None


def _in_neuroglancer(state: str) -> str | None:
    """Return the address of the first layer with an address in a state of Neuroglancer."""
    try:
        layers = json.loads(state)["layers"]
        sources: list[Any] = [layer["source"] for layer in layers if "source" in layer]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    for source in sources:
        first = source[0] if isinstance(source, list) and source else source
        url = first.get("url") if isinstance(first, dict) else first
        if isinstance(url, str) and is_url(url):
            return url
    return None
