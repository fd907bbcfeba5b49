"""Write layers to an OME-Zarr store: the npe2 writer.

If there is a window, the store is written in the background.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

from napari_pyramid._napari._preferences import build_defaults
from napari_pyramid._napari._saving import destination, save_steps
from napari_pyramid.build.progress import Steps
from napari_pyramid.errors import PyramidError
from napari_pyramid.layer_image import LayerTuple, images_of_layers, losses

__all__ = ["write_layers"]


def write_layers(path: str, layers: Sequence[LayerTuple]) -> list[str]:
    """Save Image and Labels layers to a new ``.ome.zarr`` store, and return its path.

    A single-scale layer gets a pyramid; a multiscale layer keeps its levels. The channels of an
    image become one image again, labels are stored in their image, and several images become a
    series. Codec, format and threads come from the preferences.

    Raises
    ------
    DestinationError
        If `path` exists or cannot be written.
    PyramidError
        If the user cancelled, or a layer cannot be stored or read; nothing is left then.
    """
    target = destination(path)
    for message in losses(layers):
        _warn(message)
    # A script without napari has no preferences.
    defaults = build_defaults() if "napari" in sys.modules else None
    steps = save_steps(target, images_of_layers(layers), defaults)
    if not _has_window():
        saving = Steps(steps)
        for _ in saving:
            pass
        return saving.result
    from napari_pyramid._napari._remedies import worded
    from napari_pyramid._napari._worker_thread import run_in_background

    outcome = run_in_background(steps, f"Saving {target.name}")
    if isinstance(outcome.error, PyramidError):
        raise type(outcome.error)(worded(outcome.error)) from outcome.error
    if outcome.error is not None:
        raise outcome.error
    if not outcome.complete:
        raise PyramidError(f"{target}: saving was cancelled, nothing is left of it")
    written: list[str] = outcome.result
    return written


def _warn(message: str) -> None:
    """Show a warning: as a notification if there is a window, since File > Save drops warnings."""
    if _has_window():
        from napari.utils.notifications import show_warning

        show_warning(message)
    else:
        warnings.warn(message, stacklevel=4)


def _has_window() -> bool:
    try:
        from napari_pyramid._napari._worker_thread import in_gui_thread
    except ImportError:  # a script can write without napari and Qt
        return False
    return in_gui_thread()
