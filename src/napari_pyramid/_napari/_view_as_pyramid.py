"""Show a layer of one resolution with virtual levels: the command "View as pyramid".

The coarser levels are computed as chunks arrive.

Nothing is written; "Build pyramid" makes the levels permanent.
"""

from __future__ import annotations

from typing import Any

from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_warning
from napari.viewer import Viewer

from napari_pyramid._napari._giants import VISIBLE_KEY
from napari_pyramid._napari._private import unwrapped
from napari_pyramid._napari._progressive import is_progressive, watch
from napari_pyramid.arrays.virtual_level import SMALL, with_virtual_levels
from napari_pyramid.layer_image import METADATA_KEY

__all__ = ["view_as_pyramid", "with_coarser_levels"]


def view_as_pyramid(viewer: Viewer) -> None:
    """Show the active layer with virtual levels, beside the layer itself, which is hidden."""
    viewer = unwrapped(viewer)  # commands get a proxy, whose layers are proxies too
    layer = viewer.layers.selection.active
    if not isinstance(layer, Image | Labels) or layer.multiscale:
        show_warning("Select an image or labels layer of one resolution.")
        return
    if max(layer.data.shape[layer.ndim - 2 : layer.ndim]) <= SMALL:
        show_warning(f"{layer.name} is small enough to be shown as it is.")
        return
    if with_coarser_levels(viewer, layer) is None:
        show_warning(
            "This needs the preference to show a coarser image while chunks are read, "
            "and napari 0.9."
        )


def with_coarser_levels(viewer: Any, layer: Any) -> Any:
    """Add a layer with virtual levels above `layer`, which is hidden, and return the new layer.

    Return None if the levels cannot be shown progressively.

    Without progressive slicing napari would read all of `layer` to show its coarsest level.
    """
    watch(viewer)
    axes = (layer.ndim - 2, layer.ndim - 1)
    levels = with_virtual_levels(layer.data, axes, nearest=isinstance(layer, Labels))
    _, state, kind = layer.as_layer_data_tuple()
    known = layer.metadata.get(METADATA_KEY, {})
    origin = {"source": f"{layer.name} (virtual levels)", "levels": [], **known, VISIBLE_KEY: False}
    state |= {
        "multiscale": True,
        "visible": False,  # a hidden layer is not sliced before it is shown progressively
        "name": f"{layer.name} (virtual levels)",
        "metadata": {**state["metadata"], METADATA_KEY: origin},
    }
    new = Layer.create(levels, state, kind)
    index, step = viewer.layers.index(layer), viewer.dims.current_step
    viewer.layers.insert(index + 1, new)
    if not is_progressive(viewer, new):
        viewer.layers.remove(new)
        return None
    layer.visible = False
    viewer.dims.current_step = step
    viewer.layers.selection.active = new
    new.visible = True
    return new
