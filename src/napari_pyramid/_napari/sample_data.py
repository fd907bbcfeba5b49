"""Open the bundled sample data with the reader."""

from __future__ import annotations

import sys
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from napari_pyramid._napari._from_image import layers_of
from napari_pyramid.layouts import open_images

if TYPE_CHECKING:
    from napari_pyramid.layer_image import LayerTuple

__all__ = ["brain", "channels", "development", "nuclei"]


def brain() -> list[LayerTuple]:
    """Return the layers of the MNI152 average T1 brain: 1 mm, three levels.

    Its licence is beside the file.
    """
    return _sample("brain.ozx")


def nuclei() -> list[LayerTuple]:
    """Return the layers of synthetic nuclei and their labels: 2-D, 0.5 µm, three levels."""
    return _sample("nuclei.ozx")


def channels() -> list[LayerTuple]:
    """Return the layers of synthetic cells in three channels: 2-D, 0.25 µm, three levels."""
    return _sample("channels.ozx")


def development() -> list[LayerTuple]:
    """Return the layers of a synthetic 4-D series of dividing nuclei, with labels."""
    return _sample("development.ozx")


def _sample(name: str) -> list[LayerTuple]:
    virtual_levels = False
    if "qtpy" in sys.modules and "napari" in sys.modules:
        from napari_pyramid._napari._progressive import watch_viewers

        virtual_levels = watch_viewers()
    with as_file(files("napari_pyramid") / "data" / name) as path:
        return layers_of(open_images(path), str(path), virtual_levels=virtual_levels)
