"""Sample data: the bundled brain, opened by the reader as any pyramid is."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from napari_pyramid._napari.reader import read

if TYPE_CHECKING:
    from napari_pyramid.layer_image import LayerTuple

__all__ = ["brain"]


def brain() -> list[LayerTuple]:
    """The MNI152 average T1 brain, 1 mm, three levels; licence beside the file."""
    with as_file(files("napari_pyramid") / "data" / "brain.ozx") as path:
        return read(str(path))
