"""Serve a store until Ctrl-C, and print the links that open it in viewers on the web."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_pyramid.cli._terminal import say
from napari_pyramid.errors import LayoutError
from napari_pyramid.layouts import open_images
from napari_pyramid.share.links import SharedImage, links_to_images
from napari_pyramid.share.server import FolderServer
from napari_pyramid.storage.address import is_remote, local_path

__all__ = ["run"]

_MANY = 12
"""Images whose links are printed; there is an address for all others."""


def run(path: str, port: int, *, as_json: bool) -> None:
    """Print the links to the images at `path`; serve it meanwhile, unless it is a URL already.

    Returns for a URL only; otherwise the command ends with Ctrl-C.

    Raises
    ------
    PyramidError
        If nothing is there, the port is taken, or the URL holds a signature.
    """
    if is_remote(path):
        _print(path, links_to_images(path, open_images(path)), as_json=as_json)
        return
    path = local_path(path)
    with FolderServer(path, port=port) as server:
        _print(server.url, links_to_images(server.url, _images_at(path)), as_json=as_json)
        say(f"serving {server.path} to this machine until Ctrl-C")
        while True:
            time.sleep(3600)  # unlike a lock, this is interrupted by Ctrl-C on Windows too


def _images_at(path: str) -> Sequence[Any]:
    try:
        return open_images(path)
    except LayoutError as error:
        if Path(path).is_dir():
            say(f"no image is recognised, but the files are served: {error}")
            return ()
        raise


def _print(url: str, shared: Sequence[SharedImage], *, as_json: bool) -> None:
    if as_json:
        found = [
            {"name": v.name, "url": v.url, "links": {k.viewer: k.url for k in v.links}}
            for v in shared
        ]
        print(json.dumps({"url": url, "images": found}, indent=2), flush=True)
        return
    lines = [url]
    for image in shared[:_MANY]:
        lines += ["", f"{image.name or image.url}"]
        lines += [f"  {link.viewer:<18} {link.url}" for link in image.links]
        if not image.links:
            lines.append("  no viewer on the web opens this format")
    if len(shared) > _MANY:
        lines += ["", f"... and {len(shared) - _MANY} more images"]
    notes = dict.fromkeys(k.note for v in shared for k in v.links if k.note)
    print("\n".join(lines), flush=True)
    for note in notes:
        say(note)
