"""npe2 writer: layers become an OME-Zarr store, in the background where there is a window to keep alive."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from napari_pyramid._napari._saving import destination, save_steps
from napari_pyramid.build.progress import Steps
from napari_pyramid.errors import PyramidError
from napari_pyramid.layer_image import LayerTuple, images_of_layers, losses

__all__ = ["write_layers"]


def write_layers(path: str, layers: Sequence[LayerTuple]) -> list[str]:
    """Saves Image and Labels layers to a new ``.ome.zarr`` store and returns its path.

    A single-scale layer gets a pyramid, a multiscale one keeps its levels. Channels of one image are one image again,
    labels go into the image, several images become a series.

    Raises
    ------
    DestinationError
        If `path` exists or cannot be written.
    PyramidError
        If the user cancelled, or a layer cannot be stored or read; nothing is left then.
    """
    target = destination(path)
    for message in losses(layers):
        _tell(message)
    steps = save_steps(target, images_of_layers(layers))
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


def _tell(message: str) -> None:
    """File > Save swallows warnings, so with a window they are shown as notifications."""
    if _has_window():
        from napari.utils.notifications import show_warning

        show_warning(message)
    else:
        warnings.warn(message, stacklevel=4)


def _has_window() -> bool:
    try:
        from napari_pyramid._napari._worker_thread import in_gui_thread
    except ImportError:  # neither napari nor Qt need be there to write from a script
        return False
    return in_gui_thread()
