"""Build, open and save image pyramids (multiscale zarr).

This module has the public names only. Each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_pyramid.arrays.lazy import LazyArray
    from napari_pyramid.axes import Axis
    from napari_pyramid.build import Build, Progress, build_pyramid, iter_build, plan_build
    from napari_pyramid.build.editor import PyramidEditor, edit_pyramid
    from napari_pyramid.build.new_labels import create_labels
    from napari_pyramid.errors import (
        BuildInProgressError,
        DestinationError,
        DestinationNotice,
        LayoutError,
        LayoutNotice,
        LayoutWarning,
        PyramidError,
        Remedy,
        SourceError,
        SpecError,
        VerificationError,
    )
    from napari_pyramid.export import export_region
    from napari_pyramid.image import Channel
    from napari_pyramid.plan.level import Level
    from napari_pyramid.plan.spec import PyramidSpec
    from napari_pyramid.pyramid import Pyramid, open_pyramid, open_pyramids

_HOME = {
    "Axis": "axes",
    "Build": "build",
    "BuildInProgressError": "errors",
    "Channel": "image",
    "DestinationError": "errors",
    "DestinationNotice": "errors",
    "LayoutError": "errors",
    "LayoutNotice": "errors",
    "LayoutWarning": "errors",
    "LazyArray": "arrays.lazy",
    "Level": "plan.level",
    "Progress": "build",
    "Pyramid": "pyramid",
    "PyramidEditor": "build.editor",
    "PyramidError": "errors",
    "PyramidSpec": "plan.spec",
    "Remedy": "errors",
    "SourceError": "errors",
    "SpecError": "errors",
    "VerificationError": "errors",
    "build_pyramid": "build",
    "create_labels": "build.new_labels",
    "edit_pyramid": "build.editor",
    "export_region": "export",
    "iter_build": "build",
    "open_pyramid": "pyramid",
    "open_pyramids": "pyramid",
    "plan_build": "build",
}
__all__ = [
    "Axis",
    "Build",
    "BuildInProgressError",
    "Channel",
    "DestinationError",
    "DestinationNotice",
    "LayoutError",
    "LayoutNotice",
    "LayoutWarning",
    "LazyArray",
    "Level",
    "Progress",
    "Pyramid",
    "PyramidEditor",
    "PyramidError",
    "PyramidSpec",
    "Remedy",
    "SourceError",
    "SpecError",
    "VerificationError",
    "build_pyramid",
    "create_labels",
    "edit_pyramid",
    "export_region",
    "iter_build",
    "open_pyramid",
    "open_pyramids",
    "plan_build",
]
__version__ = version("napari-pyramid")


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used.

    Opening a pyramid must not pay for the imports of building one, nor the reverse.
    """
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
