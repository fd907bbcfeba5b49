"""Read the source from the form, as a function that finds its images in a worker thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from napari_pyramid._napari._candidates import (
    Candidate,
    candidate_at,
    candidate_of_channels,
    candidate_of_layer,
    candidates_in,
)
from napari_pyramid._napari._form import BuildForm
from napari_pyramid._napari._outcome import origin_path
from napari_pyramid.image import Image

__all__ = ["Find", "chosen_layers", "finder", "source_key", "title_of"]

Find = Callable[[], tuple[Sequence[Candidate], Sequence[str]]]
"""Finds the images to build, and sentences on what was left out."""


def chosen_layers(form: BuildForm) -> tuple[Any, ...]:
    """Return the layers that are to be built, which the pyramid will replace."""
    if form.source.value == "layer":
        return () if form.layer.value is None else (form.layer.value,)
    if form.source.value == "channels":
        chosen = form.layers.value
        return tuple(layer for layer in form.layers.choices if layer in chosen)
    return ()


def source_key(form: BuildForm) -> tuple[Any, ...]:
    """Return a value that changes when the form names another source."""
    kind = form.source.value
    layers = tuple(id(layer) for layer in chosen_layers(form))
    place = {"path": form.path.text, "folder": form.folder.text}.get(kind, "")
    return kind, layers, place


def finder(form: BuildForm, images: Sequence[Image]) -> Find | None:
    """Return the function that finds what the form names; None if it names nothing yet.

    Parameters
    ----------
    images
        The images that were opened at the path in the form.
    """
    kind, layers = form.source.value, chosen_layers(form)
    if kind == "folder":
        folder = form.folder.text
        return (lambda: candidates_in(folder)) if folder else None
    if kind == "path":
        if not images:
            return None
        image, path = images[form.image.value or 0], form.path.text
        return lambda: ([candidate_at(image, path)], [])
    if not layers or (kind == "channels" and len(layers) < 2):
        return None
    tuples, origin = [layer.as_layer_data_tuple() for layer in layers], origin_path(layers[0])
    if kind == "channels":
        return lambda: ([candidate_of_channels(tuples, origin)], [])
    return lambda: ([candidate_of_layer(tuples[0], origin)], [])


def title_of(image: Image) -> str:
    """Return the words for an image in the list of images."""
    shape = "×".join(str(n) for n in image.levels[0].array.shape)
    return f"{image.name or image.path or '(no name)'} ({image.kind}, {shape})"
