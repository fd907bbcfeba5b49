"""Find the image of a layer to export from, and the region of it that is in view or drawn."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Shapes

from napari_pyramid._napari._private import view_corners
from napari_pyramid.arrays.grid import Grid, grids_of
from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.errors import SpecError
from napari_pyramid.export.region import ExportSource
from napari_pyramid.layer_image import images_of_layers
from napari_pyramid.layer_image.merge import grouped_by_image
from napari_pyramid.layer_image.tuples import origin_of_layer
from napari_pyramid.regions import Region

__all__ = ["LayerSource", "channels_beside", "rectangle_in"]


@dataclass(frozen=True, slots=True)
class LayerSource:
    """The image of one layer, or of the layers that are its channels."""

    layers: tuple[Any, ...]
    """The layers, in the order of the channels."""
    source: ExportSource
    axis_of: tuple[int | None, ...]
    """Axis of the layer for each axis of the image; None for channels and colours."""

    @classmethod
    def of(cls, layers: Sequence[Any]) -> LayerSource:
        """Return the image of layers that are channels of one image.

        Raises
        ------
        SpecError
            If axes or units do not fit, or the features of labels cannot be stored.
        """
        image = images_of_layers([layer.as_layer_data_tuple() for layer in layers])[0]
        first = layers[0]
        grids = _grids(first)
        extra = len(image.axes) - len(grids[0].factors)
        at = next((i for i, axis in enumerate(image.axes) if axis.type == "channel"), 0)
        if extra == 1:
            grids = [
                Grid(
                    (*g.factors[:at], 1.0, *g.factors[at:]), (*g.offsets[:at], 0.0, *g.offsets[at:])
                )
                for g in grids
            ]
        own = iter(range(first.ndim))
        skipped = (
            at if extra == 1 else len(image.axes) - 1 if getattr(first, "rgb", False) else None
        )
        axis_of = tuple(None if i == skipped else next(own) for i in range(len(image.axes)))
        return cls(tuple(layers), ExportSource(image, tuple(grids)), axis_of)

    @property
    def channel_axis(self) -> int | None:
        """Axis of the image along which the layers are stacked; None for one layer."""
        return self.axis_of.index(None) if len(self.layers) > 1 else None

    @property
    def color_axis(self) -> int | None:
        """Axis of red, green and blue; None for an image without them."""
        return self.axis_of.index(None) if getattr(self.layers[0], "rgb", False) else None

    def in_view(self, viewer: Any, *, all_planes: bool) -> Region:
        """Return the region of level 0 that is in view; in 3-D, all along the displayed axes.

        Parameters
        ----------
        all_planes
            Whether to take all of the axes that are not displayed, instead of what is shown.

        Raises
        ------
        SpecError
            If no sample of the image is in view.
        """
        corners = view_corners(viewer) if viewer.dims.ndisplay == 2 else None
        if corners is None:
            return self._region(viewer, None, all_planes)
        shown = list(viewer.dims.displayed)
        points = np.tile(np.asarray(viewer.dims.point, float), (4, 1))
        points[:, shown] = list(itertools.product(*corners[:, shown].T))
        return self._region(viewer, points, all_planes)

    def in_rectangle(self, viewer: Any, drawn: Any, *, all_planes: bool) -> Region:
        """Return the bounding box of a drawn shape; `all_planes` is as for `in_view`.

        Raises
        ------
        SpecError
            If nothing is drawn, or the shape is beside the image.
        """
        shape = rectangle_in(drawn)
        if shape is None:
            raise SpecError("draw a rectangle in a Shapes layer over the image")
        points = np.tile(np.asarray(viewer.dims.point, float), (len(shape), 1))
        world = np.array([drawn.data_to_world(corner) for corner in shape])
        points[:, points.shape[1] - world.shape[1] :] = world
        return self._region(viewer, points, all_planes)

    def _region(
        self, viewer: Any, points: npt.NDArray[np.float64] | None, all_planes: bool
    ) -> Region:
        """Return the samples around world `points` along displayed axes; None takes all."""
        layer, here = self.layers[0], np.asarray(viewer.dims.point, float)
        position = np.asarray(layer.world_to_data(here))[-layer.ndim :]
        displayed = [axis - viewer.dims.ndim + layer.ndim for axis in viewer.dims.displayed]
        inside = (
            None
            if points is None
            else np.array([layer.world_to_data(p)[-layer.ndim :] for p in points])
        )
        spans = []
        for axis, length in zip(self.axis_of, self.source.shape, strict=True):
            if axis is None or (axis in displayed and inside is None):
                spans.append(slice(0, length))
            elif axis in displayed:
                assert inside is not None
                spans.append(_touched(inside[:, axis], length))
            elif all_planes:
                spans.append(slice(0, length))
            else:
                here_ = int(np.clip(np.floor(position[axis] + 0.5), 0, length - 1))
                spans.append(slice(here_, here_ + 1))
        return tuple(spans)


def _touched(positions: npt.NDArray[np.float64], length: int) -> slice:
    """Return the samples between positions; sample i reaches from i - 0.5 to i + 0.5.

    Raises
    ------
    SpecError
        If none of the samples is there.
    """
    first = max(0, int(np.floor(positions.min() + 0.5)))
    end = min(length, int(np.ceil(positions.max() + 0.5)))
    if first >= end:
        raise SpecError("no part of the image is there: move the view or the rectangle over it")
    return slice(first, end)


def _grids(layer: Any) -> list[Grid]:
    """Return where the samples of each level of a layer are, along the axes of its data."""
    levels = list(layer.data) if layer.multiscale else [layer.data]
    if len(levels) == 1:
        ndim = len(levels[0].shape)
        return [Grid((1.0,) * ndim, (0.0,) * ndim)]
    if not all(isinstance(level, LazyArray) for level in levels):
        return grids_of([level.shape for level in levels])
    known = origin_of_layer({"metadata": layer.metadata}).get("levels") or []
    scales, translations = ([v.get(key) for v in known] for key in ("scale", "translation"))
    axes = [i for i, r in enumerate(levels[0].ranges) if isinstance(r, range)]
    return [
        Grid(tuple(g.factors[a] for a in axes), tuple(g.offsets[a] for a in axes))
        for g in grids_of([v.chunked_source.shape for v in levels], scales, translations)
    ]


def channels_beside(layers: Sequence[Any], layer: Any) -> tuple[Any, ...]:
    """Return the layers that are channels of the same image as `layer`, in their order."""
    if not isinstance(layer, Image):
        return (layer,)
    images = [v for v in layers if isinstance(v, Image)]
    tuples = [v.as_layer_data_tuple() for v in images]
    found = {id(meta): v for v, (_, meta, _) in zip(images, tuples, strict=True)}
    for group in grouped_by_image(tuples):
        members = tuple(found[id(meta)] for _, meta, _ in group)
        if layer in members:
            return members
    return (layer,)


def rectangle_in(drawn: Any) -> Any:
    """Return the corners of the selected shape of a Shapes layer, or of the last one; or None."""
    if not isinstance(drawn, Shapes) or not len(drawn.data):
        return None
    chosen = sorted(drawn.selected_data)
    return np.asarray(drawn.data[chosen[-1] if chosen else -1], float)
