"""Show a pyramid that was built in the viewer, in place of the layers that it was built from."""

from __future__ import annotations

import os
from typing import Any

from napari_pyramid._napari._from_image import layers_of, origin_of
from napari_pyramid._napari._opening import add_unread
from napari_pyramid._napari._plan import Plan
from napari_pyramid._napari._progressive import watch_viewers
from napari_pyramid._napari._replace import levels_as, replace_layer
from napari_pyramid._napari._units import napari_unit
from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.layer_image import METADATA_KEY
from napari_pyramid.pyramid import Pyramid
from napari_pyramid.storage.address import public_url
from napari_pyramid.words import counted

__all__ = ["origin_path", "show_built"]


def show_built(
    viewer: Any, plan: Plan, layers: tuple[Any, ...], pyramid: Pyramid
) -> tuple[list[Any], str]:
    """Replace the layers that a pyramid was built from, or add new ones.

    Returns
    -------
    layers
        The new layers.
    sentence
        What was built, and where.
    """
    where = str(plan.build.destination)
    watch_viewers()
    origin = origin_of(pyramid.image, where)
    present = [layer for layer in layers if layer in viewer.layers]
    if not present or len(present) != len(layers):
        # The store is not opened again: it may also hold residuals or other images.
        new = [add_unread(viewer, made, where) for made in layers_of([pyramid.image], where)]
    elif len(layers) == 1:
        levels = levels_as(plan.image, pyramid)
        new = [replace_layer(viewer, layers[0], levels, origin, _placement(plan, where))]
    else:
        new = _replace_channels(viewer, plan, layers, pyramid, origin)
    built = f"Built {_abbreviated(where)}: {counted(len(pyramid), 'level')}"
    return new, built


def _replace_channels(
    viewer: Any, plan: Plan, layers: tuple[Any, ...], pyramid: Pyramid, origin: dict[str, Any]
) -> list[Any]:
    """Give each layer its channel of the pyramid."""
    levels = levels_as(plan.image, pyramid)
    axis = next(i for i, a in enumerate(plan.image.axes) if a.type == "channel")
    placement = _placement(plan, origin["source"])
    for key, values in placement.items():
        placement[key] = [*values[:axis], *values[axis + 1 :]]
    new = []
    for i, layer in enumerate(layers):
        views: list[LazyArray] = [level[(slice(None),) * axis + (i,)] for level in levels]
        own = {**origin, "channel": i, "channel_axis": axis}
        new.append(replace_layer(viewer, layer, views, own, placement))
    return new


def _abbreviated(where: str) -> str:
    """Return a path with ``~`` for the home folder."""
    home = os.path.join(os.path.expanduser("~"), "")
    return os.path.join("~", where.removeprefix(home)) if where.startswith(home) else where


def _placement(plan: Plan, where: str) -> dict[str, Any]:
    """Return scale, axis labels and units that were corrected before building, for a layer."""
    given, image = plan.candidate.image, plan.image
    rgb = len(image.channels) > 1 and image.axes[-1].type == "channel"
    shown = len(image.axes) - rgb
    if (given.axes, given.scale) == (image.axes, image.scale):
        return {}
    return {
        "scale": list(image.scale[:shown]),
        "axis_labels": [a.name for a in image.axes[:shown]],
        "units": [napari_unit(a, where) for a in image.axes[:shown]],
    }


def origin_path(layer: Any) -> str | None:
    """Return the path or URL that a layer was read from, if that is known."""
    known = layer.metadata.get(METADATA_KEY, {}).get("source") or layer.source.path
    if known is not None and layer.source.path and public_url(str(layer.source.path)) == str(known):
        known = layer.source.path  # with the query string that the server asks for
    return None if known is None else str(known)
