"""Pictures: what a set of layers is on disk, the channels of one image merged again. Imports no napari and writes nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from napari_pyramid._napari._arrays import ChannelStack, plain_source
from napari_pyramid._napari._features import label_rows
from napari_pyramid._napari._from_image import HEX_OF, METADATA_KEY, RGBA, LayerTuple
from napari_pyramid.axes import Axis, default_axes, parse_axes
from napari_pyramid.image import Channel

__all__ = ["Picture", "lost_transforms", "picture_of", "pictures_of"]

Rgba = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Picture:
    """One image or label image to be stored; sequences have one entry per array axis."""

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

    @property
    def extent(self) -> tuple[float, ...]:
        """Size along the spatial axes, in their units: labels belong to the image with the same one."""
        return tuple(
            n * s
            for n, s, a in zip(self.levels[0].shape, self.scale, self.axes, strict=True)
            if a.is_spatial
        )


def pictures_of(layers: Sequence[LayerTuple]) -> list[Picture]:
    """The pictures in `layers`, in their order; channels of one image become one picture where the first of them stood."""
    groups: list[list[LayerTuple]] = []
    for layer in layers:
        home = next((g for g in groups if _belongs(layer, g)), None)
        if home is None:
            groups.append([layer])
        else:
            home.append(layer)
    return [picture_of(g[0]) if len(g) == 1 else _merged(g) for g in groups]


def picture_of(layer: LayerTuple) -> Picture:
    """One layer as a picture; the colours of an RGB layer are its channels (the engine puts them before space).

    Raises
    ------
    SpecError
        If axes or units do not fit, or the features of labels cannot be stored.
    """
    data, meta, kind = layer
    levels = tuple(plain_source(level) for level in (data if meta.get("multiscale") else [data]))
    axes, scale, translation = _placement(meta, len(levels[0].shape) - bool(meta.get("rgb")))
    name = str(meta.get("name") or kind)
    if kind == "labels":
        return Picture(
            name,
            levels,
            "labels",
            axes,
            scale,
            translation,
            (),
            _label_colors(meta),
            tuple(label_rows(meta.get("features"), name)),
        )
    if not meta.get("rgb"):
        known = any(a.type == "channel" for a in axes)
        return Picture(
            name,
            levels,
            "image",
            axes,
            scale,
            translation,
            () if known else (_channel(meta, name),),
        )
    top = float(np.iinfo(levels[0].dtype).max) if levels[0].dtype.kind in "iu" else 1.0
    channels = tuple(
        Channel(label, color, (0.0, top), label != "alpha")
        for label, color in RGBA[: levels[0].shape[-1]]
    )
    return Picture(
        name,
        levels,
        "image",
        (*axes, Axis.named("c")),
        (*scale, 1.0),
        (*translation, 0.0),
        channels,
    )


def lost_transforms(meta: Mapping[str, Any]) -> list[str]:
    """Names of the transforms of a layer that OME-Zarr 0.4 and 0.5 cannot hold."""
    lost = []
    for key in ("rotate", "affine"):
        matrix = np.asarray(
            getattr(meta.get(key), "affine_matrix", meta.get(key, 0.0)), dtype=float
        )
        if matrix.any() and not (matrix.ndim == 2 and np.allclose(matrix, np.eye(*matrix.shape))):
            lost.append(key)
    shear = np.asarray(meta.get("shear", 0.0), dtype=float)
    if np.any(shear if shear.ndim < 2 else shear - np.eye(*shear.shape)):
        lost.append("shear")
    return lost


def _belongs(layer: LayerTuple, group: Sequence[LayerTuple]) -> bool:
    """Whether a layer is a further channel of the image that `group` holds."""
    (data, meta, kind), (other, first, other_kind) = layer, group[0]
    if kind != "image" or other_kind != "image" or meta.get("rgb") or first.get("rgb"):
        return False
    key = _channel_key(meta)
    alike = key is not None and key == _channel_key(first)
    if not (alike or _is_split_off(meta, first)) or any(
        _is_same_channel(meta, m) for _, m, _ in group
    ):
        return False
    shapes = [
        [tuple(v.shape) for v in (d if m.get("multiscale") else [d])]
        for d, m in ((data, meta), (other, first))
    ]
    dtypes = [(d[0] if m.get("multiscale") else d).dtype for d, m in ((data, meta), (other, first))]
    same_place = all(
        np.array_equal(meta.get(k, ()), first.get(k, ())) for k in ("scale", "translate")
    )
    return shapes[0] == shapes[1] and dtypes[0] == dtypes[1] and same_place


def _channel_key(meta: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """What the channels of one image have in common: where they were read from, or the name before ": "."""
    known = meta.get("metadata", {}).get(METADATA_KEY, {})
    if "channel" in known:
        return (known.get("source"), known.get("path"), known.get("image"))
    image, colon, _ = str(meta.get("name", "")).partition(": ")
    return (image,) if colon else None


def _is_same_channel(meta: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two layers are one channel: napari numbers the names of a store that is opened twice, the index tells."""
    indexes = [m.get("metadata", {}).get(METADATA_KEY, {}).get("channel") for m in (meta, other)]
    return _channel_label(meta) == _channel_label(other) or (
        indexes[0] is not None and indexes[0] == indexes[1]
    )


def _is_split_off(meta: Mapping[str, Any], first: Mapping[str, Any]) -> bool:
    """Whether a layer looks like a further channel that napari split from the array of `first`.

    ``add_image(..., channel_axis=...)`` numbers the names, ``cells``, ``cells [1]``, and blends all but the first
    additively; a file that was opened twice is numbered too, but not blended so.
    """
    number = re.fullmatch(
        re.escape(str(first.get("name"))) + r" \[\d+\]", str(meta.get("name", ""))
    )
    ours = any(METADATA_KEY in m.get("metadata", {}) for m in (meta, first))
    return number is not None and meta.get("blending") == "additive" and not ours


def _channel_label(meta: Mapping[str, Any]) -> str:
    """The name of a channel: that of the layer, without the name of the image before it."""
    return str(meta.get("name", "")).partition(": ")[2] or str(meta.get("name", ""))


def _merged(group: Sequence[LayerTuple]) -> Picture:
    known = group[0][1].get("metadata", {}).get(METADATA_KEY, {})
    if "channel" in known:
        group = sorted(group, key=lambda layer: layer[1]["metadata"][METADATA_KEY]["channel"])
    meta = group[0][1]
    name = str(known.get("image") or str(meta["name"]).partition(": ")[0])
    levels = [
        [plain_source(level) for level in one]
        for one in zip(
            *(data if m.get("multiscale") else [data] for data, m, _ in group), strict=True
        )
    ]
    axes, scale, translation = _placement(meta, len(levels[0][0].shape))
    at = known.get("channel_axis")
    if not isinstance(at, int) or not 0 <= at <= len(axes):
        at = int(bool(axes) and axes[0].type == "time")
    return Picture(
        name,
        tuple(ChannelStack.of(level, at) for level in levels),
        "image",
        (*axes[:at], Axis.named("c"), *axes[at:]),
        (*scale[:at], 1.0, *scale[at:]),
        (*translation[:at], 0.0, *translation[at:]),
        tuple(
            _channel(m, None if _is_split_off(group[-1][1], meta) else _channel_label(m))
            for _, m, _ in group
        ),
    )


def _placement(
    meta: Mapping[str, Any], ndim: int
) -> tuple[tuple[Axis, ...], tuple[float, ...], tuple[float, ...]]:
    """Axes, scale and translation of a layer; its own axis labels unless they are napari's -3, -2, -1."""
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
    return all(re.fullmatch(r"-?\d+", label) for label in labels)


def _floats(values: Any, ndim: int, default: float) -> tuple[float, ...]:
    found = [] if values is None else [float(v) for v in values]
    return tuple([default] * (ndim - len(found)) + found[-ndim:])


def _channel(meta: Mapping[str, Any], name: str | None) -> Channel:
    limits = meta.get("contrast_limits")
    window = None if limits is None else (float(limits[0]), float(limits[1]))
    return Channel(name, _hex(meta.get("colormap")), window, bool(meta.get("visible", True)))


def _hex(colormap: Any) -> str | None:
    """The colour of the brighter end of a colour map, as OME-Zarr keeps it: one colour, black below."""
    if isinstance(colormap, str):
        return colormap.upper() if colormap.startswith("#") else HEX_OF.get(colormap)
    colors = (
        colormap.get("colors")
        if isinstance(colormap, Mapping)
        else getattr(colormap, "colors", None)
    )
    if colors is None or not len(colors):
        return None
    ends = np.asarray([colors[0], colors[-1]], dtype=float)[:, :3]
    red, green, blue = (round(255 * v) for v in ends[ends.sum(axis=1).argmax()])
    return f"#{red:02X}{green:02X}{blue:02X}"


def _label_colors(meta: Mapping[str, Any]) -> dict[int, Rgba]:
    """The colours that were chosen for single labels; napari's own cycle is none of them."""
    colormap = meta.get("colormap")
    chosen = (
        colormap.get("color_dict")
        if isinstance(colormap, Mapping)
        else getattr(colormap, "color_dict", None)
    )
    colors: dict[int, Rgba] = {}
    for label, color in (chosen or {}).items():
        if label:  # neither None (all others) nor the background
            red, green, blue, *alpha = (round(255 * float(v)) for v in color)
            colors[int(label)] = (red, green, blue, alpha[0] if alpha else 255)
    return colors
