"""Puts the levels that were built in the place of a layer: same place in the list, same look, same sliders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.arrays.virtual import Transpose
from napari_pyramid.axes import ome_order
from napari_pyramid.layer_image import METADATA_KEY, LayerImage
from napari_pyramid.pyramid import Pyramid

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

__all__ = ["group_of", "levels_as", "replace_layer"]


def replace_layer(
    viewer: napari.viewer.Viewer, old: Layer, levels: list[Any], origin: dict[str, Any]
) -> Layer:
    """The new layer of `levels`, in `viewer` where `old` was.

    napari cannot give a single-scale layer several levels (``layer.data = levels`` breaks it), so a new one takes over
    all of the old one's state. Lost are what no state holds: links, event connections, and the undo history of labels.

    Parameters
    ----------
    levels
        Largest first.
    origin
        Where the levels are stored, for ``layer.metadata``.
    """
    from napari.layers import Layer

    _, state, kind = old.as_layer_data_tuple()
    state |= {
        "multiscale": len(levels) > 1,
        "metadata": {**state["metadata"], METADATA_KEY: origin},
    }
    new = Layer.create(levels if len(levels) > 1 else levels[0], state, kind)
    if hasattr(old, "contrast_limits_range"):  # not in the state, and would clip the limits
        new.contrast_limits_range = old.contrast_limits_range
        new.contrast_limits = old.contrast_limits
    old.name = f"{old.name} (before)"  # or else the new one would be numbered
    step, index, active = (
        viewer.dims.current_step,
        viewer.layers.index(old),
        viewer.layers.selection.active,
    )
    # First in, then out: with no layer of its extent the sliders would jump to the middle.
    viewer.layers.insert(index, new)
    viewer.layers.remove(old)
    viewer.dims.current_step = step
    if active is None or active not in viewer.layers:
        viewer.layers.selection.active = new
    return new


def group_of(pyramid: Pyramid) -> str:
    """The directory of the group that levels were added to."""
    level_0: Any = pyramid.levels[0]  # in place it is always a zarr array in a directory
    return str(level_0.store.root)


def levels_as(image: LayerImage, pyramid: Pyramid) -> list[LazyArray]:
    """The levels with their axes in the order that the layer has: OME-Zarr keeps time and channels first."""
    order = ome_order(image.axes)
    back = tuple(order.index(i) for i in range(len(order)))
    return [
        LazyArray(v if order == back == tuple(range(len(order))) else Transpose(v, back))
        for v in pyramid.levels
    ]
