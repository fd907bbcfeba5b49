"""The private names of napari that the viewer side uses, guarded: where one is not as known, nothing is installed.

Known from napari 0.9: a layer's slicing state makes a request (a frozen dataclass) for each slice, from the class in its
``_slice_request_class``; calling the request, on the main thread or on napari's slicing thread, gives a response.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol

__all__ = ["Slicer", "before_insert", "largest_texture", "main_window", "set_loaded", "slice_from"]

_FIELDS = {
    "data_at_data_level",
    "data_at_thumbnail_level",
    "data_level",
    "thumbnail_level",
    "data_slice",
    "multiscale",
    "slice_input",
}
"""Fields of a request that are read or replaced."""


class Slicer(Protocol):
    """What slices the levels of a layer in place of the arrays in ``layer.data``."""

    def level(self, level: int, point: Sequence[float], *, thumbnail: bool) -> Any:
        """Return an array in place of ``layer.data[level]``.

        Parameters
        ----------
        point
            Where the hidden axes are sliced, in samples of level 0; NaN for displayed axes.
        """

    def offsets(self, level: int) -> Sequence[float]:
        """Return the position of the first sample of a level along each axis, in samples of level 0."""


def slice_from(layer: Any, slicer: Slicer) -> bool:
    """Have napari slice a multiscale layer from `slicer`; return False, and change nothing, if napari is not as known.

    `slicer` is held weakly; when it is gone, the layer is sliced as ever.
    """
    state: Any = getattr(layer, "_slicing_state", None)
    known: Any = getattr(state, "_slice_request_class", None)
    if not (isinstance(known, type) and dataclasses.is_dataclass(known)):
        return False
    if not _FIELDS.issubset(field.name for field in dataclasses.fields(known)):
        return False
    reference = weakref.ref(slicer)

    class Request(known):  # type: ignore[misc]
        def __call__(self) -> Any:
            found = reference()
            if found is None or not self.multiscale:
                return known.__call__(self)
            point = self.data_slice.point
            changed = dataclasses.replace(
                self,
                data_at_data_level=found.level(self.data_level, point, thumbnail=False),
                data_at_thumbnail_level=found.level(self.thumbnail_level, point, thumbnail=True),
            )
            response = known.__call__(changed)
            return _moved(response, found.offsets(self.data_level), self.slice_input.displayed)

    state._slice_request_class = Request
    return True


def _moved(response: Any, offsets: Sequence[float], displayed: Sequence[int]) -> Any:
    """Move a slice to where its samples are: napari puts the first sample of every level on the first of level 0."""
    transform = response.tile_to_data
    translate = [float(t) for t in transform.translate]
    for axis in displayed:
        translate[axis] += offsets[axis]
    if response.empty or translate == [float(t) for t in transform.translate]:
        return response
    moved = type(transform)(
        name=transform.name, scale=transform.scale, translate=translate, ndim=len(translate)
    )
    return dataclasses.replace(response, tile_to_data=moved)


def set_loaded(layer: Any, loaded: bool) -> None:
    """Show in the list of layers, by napari's own sign, whether all of a layer has been read."""
    setter = getattr(getattr(layer, "_slicing_state", None), "_set_loaded", None)
    if callable(setter):
        setter(loaded)


def before_insert(layers: Any, call: Callable[[Any], None]) -> None:
    """Have `call` called with each layer before it comes into a list of layers.

    The event of an inserted layer is of no use: napari's own callbacks come first, and slice and draw the layer.
    """
    insert = layers.insert

    def insert_after_call(index: int, value: Any) -> None:
        call(value)
        insert(index, value)

    layers.insert = insert_after_call


def largest_texture() -> int:
    """Return the largest side of a 3-D texture; 2048 where napari does not say."""
    try:
        from napari._vispy.utils.gl import get_max_texture_sizes

        return int(get_max_texture_sizes()[1] or 2048)
    except (ImportError, TypeError, IndexError):
        return 2048


def main_window(viewer: Any) -> Any:
    """Return the Qt window of a viewer, or None."""
    return getattr(getattr(viewer, "window", None), "_qt_window", None)
