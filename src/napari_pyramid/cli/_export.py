"""Export a region from the command line: parse it, draw the progress, and stop on Ctrl-C."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import typer

from napari_pyramid.build.progress import Steps
from napari_pyramid.cli._terminal import INTERRUPTED, Interrupt, progress_bar, say
from napari_pyramid.export import Compression, plan_export
from napari_pyramid.export.region import ExportSource
from napari_pyramid.image import pick_image
from napari_pyramid.layouts import open_images
from napari_pyramid.metadata.image_attributes import Version
from napari_pyramid.storage.address import local_path, public_url

__all__ = ["parse_region", "run"]

_RANGE = re.compile(r"\s*([^=]+?)\s*=\s*(\d*)\s*(:?)\s*(\d*)\s*")


def parse_region(text: str | None) -> dict[str, slice]:
    """Return the ranges in ``z=10:20,y=:512,t=3``, in which one number stands for one sample.

    Raises
    ------
    BadParameter
        If the text does not have this form, or names an axis twice.
    """
    found: dict[str, slice] = {}
    for part in text.split(",") if text else ():
        match = _RANGE.fullmatch(part)
        if match is None or match[1] in found or not (match[2] or match[3]):
            raise typer.BadParameter(
                f"--region {part.strip()!r}: expected one range per axis, such as z=10:20,y=0:512"
            )
        start = int(match[2]) if match[2] else None
        if match[3]:
            found[match[1]] = slice(start, int(match[4]) if match[4] else None)
        else:
            assert start is not None
            found[match[1]] = slice(start, start + 1)
    return found


def run(
    source: str,
    destination: str,
    *,
    region: str | None,
    level: int,
    image: str | None,
    format: Version | None,
    compression: Compression,
    overwrite: bool,
    storage_options: Mapping[str, Any] | None,
    quiet: bool,
) -> Path:
    """Export the region and return the path of the new pyramid or file.

    Ctrl-C removes what was written and ends the process with status 130.
    """
    ranges = parse_region(region)
    images = open_images(source, storage_options=storage_options)
    found = ExportSource.of_stored(pick_image(images, image, public_url(source)))
    cut = found.cut(found.region(ranges), level)
    export = plan_export(
        cut, destination, overwrite=overwrite, format=format, compression=compression
    )
    steps = Steps(export.steps())
    with Interrupt() as interrupt, progress_bar(quiet=quiet) as show, closing(steps):
        for step in steps:
            show(step)
            if interrupt.asked:
                break
        else:
            return Path(local_path(destination))
    say("interrupted; what was written is removed")
    sys.exit(INTERRUPTED)
