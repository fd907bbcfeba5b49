"""Guard the use of private names of napari: if one of them has changed, nothing is installed.

In napari 0.9 a layer's slicing state makes a request (a frozen dataclass) for each slice, from the
class in its ``_slice_request_class``. Calling the request, on the main thread or on napari's
slicing thread, returns a response.
"""

from __future__ import annotations

import dataclasses
import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from napari import current_viewer

__all__ = [
    "Slicer",
    "announce_task",
    "around_insert",
    "before_confirmed_close",
    "camera_of",
    "can_slice",
    "create_layer",
    "duplicate_with",
    "keep_thumbnail_lazy",
    "largest_texture",
    "main_window",
    "open_viewers",
    "set_loaded",
    "slice_from",
    "unwrapped",
    "view_corners",
]

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
    """Source of a layer's slices, in place of the arrays in ``layer.data``."""

    def level(self, level: int, point: Sequence[float], *, thumbnail: bool) -> Any:
        """Return an array in place of ``layer.data[level]``.

        Parameters
        ----------
        point
            Position of the slice along hidden axes, in samples of level 0; NaN for displayed axes.
        """

    def level_to_show(self, level: int, point: Sequence[float]) -> int:
        """Return the level to slice at `point` where napari has chosen `level`."""

    def offsets(self, level: int) -> Sequence[float]:
        """Return the position of a level's first sample along each axis, in samples of level 0."""


def slice_from(layer: Any, slicer: Slicer) -> bool:
    """Have napari slice a multiscale layer from `slicer`; return whether this worked.

    If napari's private names have changed, nothing is changed and False is returned. `slicer` is
    held by a weak reference; when it has been collected, the layer is sliced by napari alone.
    """
    known: Any = _request_class(layer)
    if known is None:
        return False
    reference = weakref.ref(slicer)

    class Request(known):  # type: ignore[misc]  # the base class is found at run time
        def __call__(self) -> Any:
            found = reference()
            if found is None or not self.multiscale:
                return known.__call__(self)
            point = self.data_slice.point
            level = found.level_to_show(self.data_level, point)
            changed = dataclasses.replace(
                self,
                data_level=level,
                data_at_data_level=found.level(level, point, thumbnail=False),
                data_at_thumbnail_level=found.level(self.thumbnail_level, point, thumbnail=True),
            )
            response = known.__call__(changed)
            return _moved(response, found.offsets(level), self.slice_input.displayed)

    layer._slicing_state._slice_request_class = Request
    return True


def can_slice() -> bool:
    """Return whether `slice_from` works with this napari."""
    from napari.layers import Image

    return _request_class(Image(np.zeros((1, 1)), contrast_limits=(0, 1))) is not None


def _request_class(layer: Any) -> Any:
    """Return the class of a layer's slice requests, or None if it is not as expected."""
    known: Any = getattr(getattr(layer, "_slicing_state", None), "_slice_request_class", None)
    if not (isinstance(known, type) and dataclasses.is_dataclass(known)):
        return None
    names = (field.name for field in dataclasses.fields(known))
    return known if _FIELDS.issubset(names) else None


def _moved(response: Any, offsets: Sequence[float], displayed: Sequence[int]) -> Any:
    """Move the slice of a response to the position of its samples.

    napari assumes that the first samples of all levels have the same position.
    """
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


def keep_thumbnail_lazy(layer: Any) -> None:
    """Have napari slice the thumbnail of a 2-D layer like the thumbnail of any other layer.

    Otherwise napari reads the whole coarsest level for it.
    """
    if getattr(layer, "_level_materializer", None) is not None:
        layer._level_materializer = None


def set_loaded(layer: Any, loaded: bool) -> None:
    """Show or hide napari's sign for a layer that is being read, in the list of layers."""
    setter = getattr(getattr(layer, "_slicing_state", None), "_set_loaded", None)
    if callable(setter):
        setter(loaded)


def around_insert(layers: Any, before: Callable[[Any], None], after: Callable[[Any], None]) -> None:
    """Have `before` and `after` called with each layer that is inserted into a list of layers.

    The event of an inserted layer comes too late for `before`: napari's own callbacks come first,
    and slice and draw the layer.
    """
    insert = layers.insert

    def insert_between(index: int, value: Any) -> None:
        before(value)
        insert(index, value)
        after(value)

    layers.insert = insert_between


def duplicate_with(layer: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Have napari's command "Duplicate Layer" pass the state of `layer` through `change`.

    The command creates the copy, which slices itself, before anybody can see it. All other callers
    get the state as it is.
    """
    from napari.layers import _layer_actions

    command = getattr(getattr(_layer_actions, "_duplicate_layer", None), "__code__", None)
    reference = weakref.ref(layer)

    def as_layer_data_tuple() -> tuple[Any, dict[str, Any], str]:
        found: Any = reference()
        data, state, kind = type(found).as_layer_data_tuple(found)
        is_duplicated = sys._getframe(1).f_code is command
        return data, change(state) if is_duplicated else state, kind

    if command is not None:
        layer.as_layer_data_tuple = as_layer_data_tuple


def create_layer(data: Any, state: dict[str, Any], kind: str, path: str) -> Any:
    """Return a new layer that names `path` and this plugin as its source, as readers' layers do."""
    from napari.layers import Layer

    try:
        from napari.layers._source import layer_source
    except ImportError:
        return Layer.create(data, state, kind)
    with layer_source(path=path, reader_plugin="napari-pyramid"):
        return Layer.create(data, state, kind)


def largest_texture() -> int:
    """Return the largest side of a 3-D texture in samples; 2048 if napari does not know it."""
    try:
        from napari._vispy.utils.gl import get_max_texture_sizes

        return int(get_max_texture_sizes()[1] or 2048)
    except (ImportError, TypeError, IndexError):
        return 2048


def main_window(viewer: Any) -> Any:
    """Return the Qt window of a viewer, or None."""
    return getattr(getattr(unwrapped(viewer), "window", None), "_qt_window", None)


def open_viewers() -> list[Any]:
    """Return all viewers with a window, or the current one if napari does not know the others."""
    try:
        from napari._qt.qt_main_window import _QtMainWindow

        found = [window._qt_viewer.viewer for window in _QtMainWindow._instances]
    except (ImportError, AttributeError):
        found = []
    current = current_viewer()
    return found or ([] if current is None else [current])


def unwrapped(viewer: Any) -> Any:
    """Return the viewer itself for the proxy that napari gives to widgets and commands.

    Several proxies of one viewer come and go, so that none of them can stand for it.
    """
    return getattr(viewer, "__wrapped__", viewer)


def camera_of(viewer: Any) -> Any:
    """Return the camera of a viewer, from wherever this version of napari keeps it."""
    return viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera


def view_corners(viewer: Any) -> Any:
    """Return the world coordinates of two opposite corners of the 2-D view, shape (2, ndim).

    None if this version of napari does not know them.
    """
    canvas = getattr(getattr(main_window(viewer), "_qt_viewer", None), "canvas", None)
    return getattr(canvas, "_viewbox_corners_in_world", None)


def before_confirmed_close(window: Any, allow: Callable[[Callable[[], None]], bool]) -> None:
    """Have `allow` called before a window is closed from the menu; the window stays open on False.

    `allow` gets a function that closes the window after all. A script that closes a viewer is not
    asked.
    """
    reference, close = weakref.ref(window), type(window).close

    def close_if_allowed(quit_app: bool = False, confirm_need: bool = False) -> Any:
        found = reference()
        if confirm_need and not allow(lambda: close(found, quit_app, False)):
            return None
        return close(found, quit_app, confirm_need)

    window.close = close_if_allowed


def announce_task(description: str, cancel: Callable[[], None]) -> Callable[[], None]:
    """Have napari ask before a window is closed while something runs, and call `cancel` if it is.

    Returns
    -------
    callable
        Ends the announcement. If napari's private names have changed, nobody is asked.
    """
    window = getattr(unwrapped(current_viewer()), "window", None)
    register = getattr(window, "_register_task_status", None)
    update = getattr(window, "_update_task_status", None)
    try:
        from napari.utils.task_status import Status
    except ImportError:
        return lambda: None
    if register is None or update is None:
        return lambda: None
    task = register("Image pyramids", Status.BUSY, description, cancel)
    return lambda: update(task, Status.COMPLETED)
