"""Replace a layer by the levels that were built, with the same position, appearance and sliders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.arrays.virtual import Transpose
from napari_pyramid.axes import ome_order
from napari_pyramid.layer_image import METADATA_KEY, LayerImage
from napari_pyramid.pyramid import Pyramid

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

__all__ = ["levels_as", "replace_layer"]


def replace_layer(
    viewer: napari.viewer.Viewer,
    old: Layer,
    levels: list[Any],
    origin: dict[str, Any],
    placement: Mapping[str, Any] | None = None,
) -> Layer:
    """Replace the layer `old` of `viewer` by a new layer of `levels`, and return the new layer.

    napari cannot give a single-scale layer several levels (``layer.data = levels`` breaks it), so
    the new layer takes over the state of the old one. Links, event connections and the undo history
    of labels are lost, because the state does not hold them.

    Parameters
    ----------
    levels
        Arrays of the levels, largest first.
    origin
        Location of the levels, for ``layer.metadata``.
    placement
        Scale, units and axis labels that differ from the old layer's.
    """
    from napari.layers import Layer

    _, state, kind = old.as_layer_data_tuple()
    state |= {
        "multiscale": len(levels) > 1,
        "metadata": {**state["metadata"], METADATA_KEY: origin},
        **(placement or {}),
    }
    # napari slices visible labels as soon as they are created, in the GUI thread.
    waits = kind == "labels" and state["visible"]
    state["visible"] = state["visible"] and not waits
    new = Layer.create(levels if len(levels) > 1 else levels[0], state, kind)
    # The state lacks the range, and the default would clip the limits.
    if hasattr(old, "contrast_limits_range"):
        new.contrast_limits_range = old.contrast_limits_range
        new.contrast_limits = old.contrast_limits
    old.name = f"{old.name} (before)"  # else napari would number the new name
    step, index, active = (
        viewer.dims.current_step,
        viewer.layers.index(old),
        viewer.layers.selection.active,
    )
    # Insert before removal: without a layer of this extent the sliders would jump to the middle.
    viewer.layers.insert(index, new)
    viewer.layers.remove(old)
    viewer.dims.current_step = step
    new.visible = new.visible or waits
    if active is None or active not in viewer.layers:
        viewer.layers.selection.active = new
    return new


def levels_as(image: LayerImage, pyramid: Pyramid) -> list[LazyArray]:
    """Return the levels with their axes in the order of the layer.

    The order can differ, since OME-Zarr stores time and channels first.
    """
    order = ome_order(image.axes)
    back = tuple(order.index(i) for i in range(len(order)))
    return [
        LazyArray(v if order == back == tuple(range(len(order))) else Transpose(v, back))
        for v in pyramid.levels
    ]
