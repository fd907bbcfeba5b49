"""Add a box at full resolution as a new layer: the command "Full resolution here".

The box is around the centre of the view, or the bounding box of a drawn rectangle. Its data are a
view of the finest level that fits, read when they are displayed; contrast limits, colormap and
gamma follow the original layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Labels, Shapes
from napari.utils.notifications import show_warning
from napari.viewer import Viewer

from napari_pyramid._napari._part_layer import part_layer
from napari_pyramid._napari._preferences import volume_bytes
from napari_pyramid._napari._private import camera_of, unwrapped
from napari_pyramid._napari._view_region import rectangle_in
from napari_pyramid.arrays.edited import EditedArray
from napari_pyramid.arrays.grid import Grid
from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.regions import Region

__all__ = ["box_of", "full_resolution_here"]

_LINKED = ("contrast_limits", "colormap", "gamma", "blending", "opacity")


def full_resolution_here(viewer: Viewer) -> None:
    """Add a box of the active layer at full resolution.

    The box is around the centre of the view, or around the selected shape of an active Shapes
    layer (else around its last one).
    """
    viewer = unwrapped(viewer)  # commands get a proxy, whose layers are proxies too
    active = viewer.layers.selection.active
    drawn = None
    if isinstance(active, Shapes):
        drawn = active
        active = next((v for v in reversed(viewer.layers) if _has_levels(v) and v.visible), None)
    if active is None or not _has_levels(active):
        show_warning("Select an image with several resolutions, or a rectangle drawn over one.")
        return
    _add_box(viewer, active, drawn)


def _add_box(viewer: Any, layer: Any, drawn: Any = None) -> Any:
    """Add the box to `viewer` and return its layer; see `full_resolution_here`."""
    from napari.experimental import link_layers

    from napari_pyramid._napari._progressive_layer import grids_of_layer

    views: list[LazyArray] = list(layer.data)
    displayed = [a - viewer.dims.ndim + layer.ndim for a in viewer.dims.displayed]
    displayed = [a for a in displayed if a >= 0]
    centre, size = _wanted(viewer, layer, drawn)
    level, region = box_of(views, grids_of_layer(layer), centre, size, displayed, volume_bytes())
    view = views[level][region]
    grid = grids_of_layer(layer)[level]
    axes = [i for i, r in enumerate(views[0].ranges) if isinstance(r, range)][: layer.ndim]
    factors = np.array([grid.factors[a] for a in axes])
    start = np.array([s.start for s in region[: layer.ndim]]) * factors
    start += [grid.offsets[a] for a in axes]
    name = f"{layer.name} (level {level}, box)"
    box = part_layer(layer, view, start=start, factors=factors, name=name)
    viewer.add_layer(box)
    if isinstance(layer, Image):
        link_layers([layer, box], _LINKED)
    return box


def box_of(
    views: Sequence[LazyArray],
    grids: Sequence[Grid],
    centre: npt.ArrayLike,
    size: Sequence[float] | None,
    displayed: Sequence[int],
    budget: int,
) -> tuple[int, Region]:
    """Return the finest level whose box fits into `budget` bytes, and the box in it.

    Parameters
    ----------
    views
        The levels.
    centre
        Centre of the box in samples of level 0, one number per axis.
    size
        Side of the box along each axis in samples of level 0. If None, the box has as many samples
        of level 0 as fit into the budget.
    displayed
        Axes along which the box is cut; along the others it is as long as the level.
    budget
        Bytes of one displayed part of the box, as 4-byte samples.
    """
    origin_axes = [i for i, r in enumerate(views[0].ranges) if isinstance(r, range)]
    side = max(1, int((budget / 4) ** (1 / max(1, len(displayed))) + 1e-9))
    middle = np.asarray(centre, float)
    for level, view in enumerate(views):
        region = []
        for axis, length in enumerate(view.shape):
            if axis not in displayed:
                region.append(slice(0, length))
                continue
            factor = grids[level].factors[origin_axes[axis]]
            wanted = side if size is None else math.ceil(size[axis] / factor)
            n = min(length, max(1, wanted))
            first = round(middle[axis] / factor - n / 2)
            first = min(max(0, first), length - n)
            region.append(slice(first, first + n))
        lengths = [s.stop - s.start for a, s in enumerate(region) if a in displayed]
        if math.prod(lengths) * 4 <= budget or level == len(views) - 1:
            return level, tuple(region)
    raise AssertionError("no level")


def _has_levels(layer: Any) -> bool:
    return (
        isinstance(layer, Image | Labels)
        and bool(layer.multiscale)
        and all(isinstance(view, LazyArray | EditedArray) for view in layer.data)
    )


def _wanted(
    viewer: Any, layer: Any, drawn: Any
) -> tuple[npt.NDArray[np.float64], Sequence[float] | None]:
    """Return the centre and size of the box in samples of level 0.

    They belong to the shape that was drawn. Without one, the centre is the centre of the view, and
    the size is None.
    """
    shape = rectangle_in(drawn)
    if shape is not None:
        corners = np.array([drawn.data_to_world(corner) for corner in shape])
        inside = np.array([layer.world_to_data(c) for c in corners])
        low, high = inside.min(0), inside.max(0)
        size = np.maximum(high - low, 1)
        flat = size <= 1  # a rectangle has no depth: make the box as deep as it is wide
        size[flat] = size.max()
        return (low + high) / 2, size.tolist()
    point = np.asarray(viewer.dims.point, float)
    shown = list(viewer.dims.displayed)
    point[shown] = camera_of(viewer).center[-len(shown) :]
    return np.asarray(layer.world_to_data(point)), None
