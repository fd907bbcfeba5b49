"""Describe the images that a layout found, with their levels and channels, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from napari_pyramid.axes import Axis
from napari_pyramid.errors import LayoutError

__all__ = ["Affine", "ArrayLike", "Channel", "Image", "StoredLevel", "pick_image"]


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_N = TypeVar("_N", bound=_Named)


class ArrayLike(Protocol):
    """Interface of the pixels of a level: a zarr array, or a virtual array made of several."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples along each axis."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the samples."""

    @property
    def ndim(self) -> int:
        """Number of axes."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """Samples of a chunk along each axis."""

    def __getitem__(self, key: Any, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Channel:
    """One entry along the channel axis; values that the store does not give are None."""

    name: str | None = None
    color: str | None = None
    """``"#RRGGBB"``: the colour of the brightest pixels."""
    window: tuple[float, float] | None = None
    """Contrast limits, in units of the pixels; always ``low < high``."""
    visible: bool = True


@dataclass(frozen=True, slots=True)
class StoredLevel:
    """One level as stored; scale and translation have one entry per axis of the array."""

    path: str
    """Path of the array inside the opened store, ``""`` for the root."""
    array: ArrayLike
    scale: tuple[float, ...] | None = None
    translation: tuple[float, ...] | None = None


Affine = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Image:
    """One multiscale image or label image; levels are largest first, at least one."""

    name: str
    levels: tuple[StoredLevel, ...]
    layout: str
    """Name of the layout for users; code decides on `ome_version` and `is_writable`."""
    path: str = ""
    """Path of the image inside the opened store."""
    kind: Literal["image", "labels"] = "image"
    axes: tuple[Axis, ...] | None = None
    """One per array axis, or None where the store does not name them."""
    channels: tuple[Channel, ...] = ()
    """One per index of the channel axis; empty if the store describes no channels.

    An image without a channel axis may have one.
    """
    rgb: bool = False
    """The last axis is red, green, blue (and alpha)."""
    affine: Affine | None = None
    """(ndim + 1, ndim + 1) matrix that is applied after scale and translation.

    Over all array axes but the channel axis.
    """
    label_colors: Mapping[int, tuple[int, int, int, int]] = field(default_factory=dict)
    label_properties: tuple[Mapping[str, Any], ...] = ()
    """Rows with ``"label-value"`` and further columns."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Metadata of the store that a viewer cannot show."""
    ome_version: str | None = None
    """Version of OME-Zarr as the store writes it, "" where it does not say; None for any other
    layout."""
    is_writable: bool = False
    """Whether levels may be added in place: to OME-Zarr, and beside arrays without metadata."""

    @property
    def channel_axis(self) -> int | None:
        """Index of the channel axis, or None; an RGB axis is not one."""
        if self.axes is None or self.rgb:
            return None
        return next((i for i, axis in enumerate(self.axes) if axis.type == "channel"), None)


def pick_image(images: Sequence[_N], name: str | None, path: object) -> _N:
    """Return the image of that name, or of that path inside the store; the first one for None.

    Parameters
    ----------
    images
        At least one; anything with a `name`, and perhaps a `path`.
    name
        Name or path that the user gave.
    path
        Path of the store, for the message.

    Raises
    ------
    LayoutError
        If no image has the name; the message lists the existing names.
    """
    if name is None:
        return images[0]
    for image in images:
        if name in (image.name, getattr(image, "path", None)):
            return image
    there = ", ".join(repr(image.name) for image in images)
    raise LayoutError(f"{path} has no image {name!r}: it has {there}")
