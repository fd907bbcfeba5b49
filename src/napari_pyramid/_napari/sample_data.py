"""Open the bundled sample data with the reader."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from napari_pyramid._napari.reader import read

if TYPE_CHECKING:
    from napari_pyramid.layer_image import LayerTuple

__all__ = ["brain"]


def brain() -> list[LayerTuple]:
    """Return the layers of the MNI152 average T1 brain: 1 mm, three levels.

    Its licence is beside the file.
    """
    with as_file(files("napari_pyramid") / "data" / "brain.ozx") as path:
        return read(str(path))
