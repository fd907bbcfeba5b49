"""Arrays that stand between layers and the engine: unwrapped views, and channels stacked on demand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_pyramid.arrays.lazy import LazyArray, whole_of

__all__ = ["ChannelStack", "plain_source"]


class ChannelStack:
    """Arrays of one shape along a new axis; a region is read from each only where it is asked for."""

    def __init__(self, parts: Sequence[Any], axis: int) -> None:
        self._parts, self._axis = tuple(parts), axis
        shape = tuple(self._parts[0].shape)
        self.shape = (*shape[:axis], len(self._parts), *shape[axis:])
        self.dtype = np.dtype(self._parts[0].dtype)
        self.ndim = len(self.shape)
        chunks = getattr(self._parts[0], "chunks", None)
        if isinstance(chunks, tuple) and all(isinstance(c, int) for c in chunks):
            self.chunks = (*chunks[:axis], 1, *chunks[axis:])

    @classmethod
    def of(cls, parts: Sequence[Any], axis: int) -> Any:
        """The stack of `parts`; the array itself that they are all the channels of, when they are just that."""
        views = [part for part in parts if isinstance(part, LazyArray)]
        if len(views) == len(parts) and (whole := whole_of(views, axis)) is not None:
            return whole
        return cls(parts, axis)

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        keys = list(key) if isinstance(key, tuple) else [key]
        if Ellipsis in keys:
            at = keys.index(Ellipsis)
            keys[at : at + 1] = [slice(None)] * (self.ndim - len(keys) + 1)
        keys += [slice(None)] * (self.ndim - len(keys))
        which = keys.pop(self._axis)
        rest = tuple(keys)
        if not isinstance(which, slice):
            return np.asarray(self._parts[which][rest])
        planes = [np.asarray(part[rest]) for part in self._parts[which]]
        # An integer index before the new axis has taken its own axis away.
        at = self._axis - sum(not isinstance(k, slice) for k in rest[: self._axis])
        return (
            np.stack(planes, axis=at)
            if planes
            else np.empty(self._empty_shape(rest, at), self.dtype)
        )

    def _empty_shape(self, rest: tuple[Any, ...], at: int) -> tuple[int, ...]:
        shape = [
            len(range(n)[k])
            for n, k in zip(self._parts[0].shape, rest, strict=True)
            if isinstance(k, slice)
        ]
        return (*shape[:at], 0, *shape[at:])

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        values = self[...]
        return values if dtype is None else values.astype(dtype, copy=False)


def plain_source(level: Any) -> Any:
    """The array under a `LazyArray` that shows all of it, else an uncached view of it; any other array as it is.

    The engine then sees the zarr array itself, with its chunks and codecs, and does not flush the viewer's cache.
    """
    if not isinstance(level, LazyArray):
        return level
    return level.source if level.shows_all else level.uncached()
