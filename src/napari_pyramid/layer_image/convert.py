"""Convert layers into images to build: arrays, axes, transforms, channels and label tables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from napari_pyramid.arrays.lazy import LazyArray, whole_of
from napari_pyramid.arrays.virtual import Stack
from napari_pyramid.arrays.virtual_level import unwrapped_array
from napari_pyramid.axes import Axis, default_axes, parse_axes
from napari_pyramid.errors import SpecError
from napari_pyramid.image import Channel
from napari_pyramid.layer_image.features import label_rows
from napari_pyramid.layer_image.look import Rgba, channel_of, label_colors, rgb_channels
from napari_pyramid.layer_image.merge import channel_label, grouped_by_image, is_numbered
from napari_pyramid.layer_image.tuples import LayerTuple, levels_of, origin_of_layer
from napari_pyramid.plan.factors import continued_steps
from napari_pyramid.words import by

__all__ = [
    "LayerImage",
    "image_of_channels",
    "image_of_layer",
    "images_of_layers",
    "losses",
    "lost_transforms",
]


@dataclass(frozen=True, slots=True)
class LayerImage:
    """An image or label image to build; sequences have one entry per array axis."""

    name: str
    levels: tuple[Any, ...]
    """Arrays, largest first; a single one gets its pyramid when it is built."""
    kind: Literal["image", "labels"]
    axes: tuple[Axis, ...]
    scale: tuple[float, ...]
    translation: tuple[float, ...]
    channels: tuple[Channel, ...] = ()
    label_colors: Mapping[int, Rgba] = field(default_factory=dict)
    label_properties: tuple[Mapping[str, Any], ...] = ()
    ends_early: bool = False
    """Whether napari shows virtual levels after several stored ones, which a build replaces."""

    @property
    def extent(self) -> tuple[float, ...]:
        """Size along the spatial axes, in their units; labels belong to images of equal extent."""
        return tuple(
            n * s
            for n, s, a in zip(self.levels[0].shape, self.scale, self.axes, strict=True)
            if a.is_spatial
        )

    @property
    def source(self) -> Any:
        """Source of a build that keeps the levels: the only array, or all arrays."""
        return self.levels if len(self.levels) > 1 else self.levels[0]

    @property
    def build_options(self) -> dict[str, Any]:
        """Keyword arguments of `iter_build` besides the pixels."""
        missing: dict[str, Any] = {}
        if self.ends_early:
            shapes = [tuple(level.shape) for level in self.levels]
            missing["factors"] = continued_steps(shapes, self.axes, self.scale)
        return {
            **missing,
            "axes": self.axes,
            "scale": self.scale,
            "translation": self.translation,
            "labels": self.kind == "labels",
            "name": self.name,
            "channels": self.channels,
            "label_colors": self.label_colors,
            "label_properties": self.label_properties,
        }


def images_of_layers(layers: Sequence[LayerTuple]) -> list[LayerImage]:
    """Return the images of `layers`; the channels of one image become one image.

    An image has the position of its first channel.

    Raises
    ------
    SpecError
        If axes or units do not fit, or the features of labels cannot be stored.
    """
    groups = grouped_by_image(layers)
    return [image_of_layer(g[0]) if len(g) == 1 else _image_of_channels(g) for g in groups]


def image_of_layer(layer: LayerTuple) -> LayerImage:
    """Return one layer as an image; the colours of an RGB layer become channels on the last axis.

    Raises
    ------
    SpecError
        If axes or units do not fit, or the features of labels cannot be stored.
    """
    data, meta, kind = layer
    rgb = bool(meta.get("rgb"))
    levels = tuple(_source_of(level) for level in levels_of(data, meta))
    axes, scale, translation = _placement(meta, len(levels[0].shape) - rgb)
    name = str(meta.get("name") or kind)
    if kind == "labels":
        return LayerImage(
            name,
            levels,
            "labels",
            axes,
            scale,
            translation,
            label_colors=label_colors(meta),
            label_properties=tuple(label_rows(meta.get("features"), name)),
            ends_early=_ends_early(data, levels),
        )
    if rgb:
        channels = rgb_channels(levels[0].shape[-1], np.dtype(levels[0].dtype))
        axes, scale, translation = (*axes, Axis.named("c")), (*scale, 1.0), (*translation, 0.0)
    else:
        # With a channel axis, the look of the layer is not the look of any one channel.
        has_channels = any(a.type == "channel" for a in axes)
        channels = () if has_channels else (channel_of(meta, name),)
    return LayerImage(
        name,
        levels,
        "image",
        axes,
        scale,
        translation,
        channels,
        ends_early=_ends_early(data, levels),
    )


def image_of_channels(layers: Sequence[LayerTuple]) -> LayerImage:
    """Return layers that a user chose as the channels of one image, in the given order.

    Only the finest level of each layer is taken, since layers may have different coarser levels.

    Raises
    ------
    SpecError
        If the layers are fewer than two, or differ in kind, size, data type or position.
    """
    if len(layers) < 2:
        raise SpecError("choose at least two layers to make channels of one image")
    finest = [
        (levels_of(data, meta)[0], {**meta, "multiscale": False}, kind)
        for data, meta, kind in layers
    ]
    first, of_first, _ = finest[0]
    for array, meta, kind in finest:
        name = meta.get("name")
        if kind != "image" or meta.get("rgb"):
            raise SpecError(f"{name!r} cannot be a channel: choose image layers of one colour")
        for what, ours, theirs in (
            ("size", by(first.shape), by(array.shape)),
            ("data type", str(first.dtype), str(array.dtype)),
            ("voxel size", *(by(m.get("scale", ())) for m in (of_first, meta))),
            ("position", *(by(m.get("translate", ())) for m in (of_first, meta))),
        ):
            if ours != theirs:
                raise SpecError(
                    f"{name!r} has another {what} than {of_first.get('name')!r} ({theirs}, not "
                    f"{ours}): channels of one image have the same"
                )
    return _image_of_channels(finest)


def lost_transforms(meta: Mapping[str, Any]) -> list[str]:
    """Return the names of the transforms of a layer that OME-Zarr 0.4 and 0.5 cannot hold."""
    lost = []
    for key in ("rotate", "affine"):
        value = meta.get(key)
        value = 0.0 if value is None else value
        matrix = np.asarray(getattr(value, "affine_matrix", value), dtype=float)
        if matrix.any() and not (matrix.ndim == 2 and np.allclose(matrix, np.eye(*matrix.shape))):
            lost.append(key)
    shear = meta.get("shear")
    shear = np.asarray(0.0 if shear is None else shear, dtype=float)
    if np.any(shear if shear.ndim < 2 else shear - np.eye(*shear.shape)):
        lost.append("shear")
    return lost


def losses(layers: Sequence[LayerTuple]) -> list[str]:
    """Return a warning for each layer with a transform that cannot be stored."""
    lost = [(meta.get("name"), lost_transforms(meta)) for _, meta, _ in layers]
    return [
        f"{name}: {' and '.join(keys)} cannot be saved in OME-Zarr and is left out"
        for name, keys in lost
        if keys
    ]


def _image_of_channels(group: Sequence[LayerTuple]) -> LayerImage:
    meta = group[0][1]
    known = origin_of_layer(meta)
    name = str(known.get("image") or str(meta["name"]).partition(": ")[0])
    by_level = zip(*(levels_of(data, m) for data, m, _ in group), strict=True)
    levels = [[_source_of(level) for level in one] for one in by_level]
    axes, scale, translation = _placement(meta, len(levels[0][0].shape))
    at = known.get("channel_axis")
    if not isinstance(at, int) or not 0 <= at <= len(axes):
        at = int(bool(axes) and axes[0].type == "time")
    # A number that napari appended to the image's name is not the name of a channel.
    last = group[-1][1]
    nameless = not known and last.get("blending") == "additive" and is_numbered(last, meta)
    return LayerImage(
        name,
        tuple(_stacked(level, at) for level in levels),
        "image",
        (*axes[:at], Axis.named("c"), *axes[at:]),
        (*scale[:at], 1.0, *scale[at:]),
        (*translation[:at], 0.0, *translation[at:]),
        tuple(channel_of(m, None if nameless else channel_label(m)) for _, m, _ in group),
        ends_early=_ends_early(group[0][0], levels),
    )


def _ends_early(data: Any, levels: Sequence[Any]) -> bool:
    """Return whether the data of a layer have virtual levels after several `levels`."""
    return 1 < len(levels) < len(data)


def _source_of(level: Any) -> Any:
    """Return the array under a `LazyArray` that shows all of it, else an uncached view of it.

    The engine then sees the zarr array itself, with its chunks and codecs, and does not flush the
    viewer's cache. Any other array is returned as it is.
    """
    if not isinstance(level, LazyArray):
        return level
    return unwrapped_array(level.source) if level.shows_all else level.uncached()


def _stacked(arrays: Sequence[Any], axis: int) -> Any:
    """Return the channels as one array: the array itself if they are all of its channels."""
    views = [array for array in arrays if isinstance(array, LazyArray)]
    if len(views) == len(arrays) and (whole := whole_of(views, axis)) is not None:
        return whole
    return Stack(arrays, axis)


def _placement(
    meta: Mapping[str, Any], ndim: int
) -> tuple[tuple[Axis, ...], tuple[float, ...], tuple[float, ...]]:
    """Return axes, scale and translation of a layer.

    Labels that napari fills in are not names: "-3", "-2", "-1", and "axis -3" in napari 0.6.
    """
    labels = [str(v) for v in meta.get("axis_labels") or ()]
    named = (
        len(labels) == ndim
        and len({v.lower() for v in labels}) == ndim
        and all(labels)
        and not _numbers(labels)
    )
    axes = parse_axes(labels, ndim) if named else default_axes(ndim)
    units = [str(u) for u in meta.get("units") or ()]
    if len(units) == ndim:
        units_of = parse_axes([a.name for a in axes], ndim, units)
        axes = tuple(
            replace(a, unit=u.unit if u.unit != "dimensionless" else None)
            for a, u in zip(axes, units_of, strict=True)
        )
    return axes, _floats(meta.get("scale"), ndim, 1.0), _floats(meta.get("translate"), ndim, 0.0)


def _numbers(labels: Sequence[str]) -> bool:
    return all(re.fullmatch(r"(axis )?-?\d+", label) for label in labels)


def _floats(values: Any, ndim: int, default: float) -> tuple[float, ...]:
    """Return one number per axis; napari lets leading axes be left out."""
    found = [] if values is None else [float(v) for v in values]
    return tuple([default] * (ndim - len(found)) + found[-ndim:])
