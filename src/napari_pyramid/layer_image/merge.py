"""Find the layers that are channels of one image, so that they are stored as one image again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_pyramid.layer_image.tuples import LayerTuple, levels_of, origin_of_layer

__all__ = ["channel_label", "grouped_by_image", "is_numbered"]


def grouped_by_image(layers: Sequence[LayerTuple]) -> list[list[LayerTuple]]:
    """Return the layers in groups: channels of one image together, other layers alone.

    The groups are in the order of their first layers. Channels that our reader has split are in the
    order that they have in the store, all others in the order of the layers.
    """
    groups: list[list[LayerTuple]] = []
    for layer in layers:
        matching = next((group for group in groups if _belongs(layer, group)), None)
        if matching is None:
            groups.append([layer])
        else:
            matching.append(layer)
    return [_in_order(group) for group in groups]


def channel_label(meta: Mapping[str, Any]) -> str:
    """Return the name of a channel: the layer's name without the image's name before it."""
    name = str(meta.get("name", ""))
    return name.partition(": ")[2] or name


def is_numbered(meta: Mapping[str, Any], first: Mapping[str, Any]) -> bool:
    """Return whether napari made a layer's name from `first`'s by a number: ``cells [1]``."""
    numbered = re.escape(str(first.get("name"))) + r" \[\d+\]"
    return re.fullmatch(numbered, str(meta.get("name", ""))) is not None


def _in_order(group: list[LayerTuple]) -> list[LayerTuple]:
    if len(group) > 1 and "channel" in origin_of_layer(group[0][1]):
        return sorted(group, key=lambda layer: origin_of_layer(layer[1])["channel"])
    return group


def _belongs(layer: LayerTuple, group: Sequence[LayerTuple]) -> bool:
    """Return whether a layer is another channel of the image in `group`."""
    (data, meta, kind), (other, first, other_kind) = layer, group[0]
    if kind != "image" or other_kind != "image" or meta.get("rgb") or first.get("rgb"):
        return False
    key = _channel_key(meta)
    alike = key is not None and key == _channel_key(first)
    if not (alike or _is_split_off(layer, group[0])) or any(
        _is_same_channel(meta, m) for _, m, _ in group
    ):
        return False
    arrays = levels_of(data, meta), levels_of(other, first)
    shapes = [[tuple(v.shape) for v in levels] for levels in arrays]
    same_place = all(
        np.array_equal(meta.get(k, ()), first.get(k, ())) for k in ("scale", "translate")
    )
    return shapes[0] == shapes[1] and arrays[0][0].dtype == arrays[1][0].dtype and same_place


def _channel_key(meta: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Return a key that channels of one image share: origin, or the name's part before ": "."""
    known = origin_of_layer(meta)
    if "channel" in known:
        return (known.get("source"), known.get("path"), known.get("image"))
    image, colon, _ = str(meta.get("name", "")).partition(": ")
    return (image,) if colon else None


def _is_same_channel(meta: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two layers are the same channel.

    napari numbers the names of a store that is opened twice, so the index of the channel decides.
    """
    indexes = [origin_of_layer(m).get("channel") for m in (meta, other)]
    return channel_label(meta) == channel_label(other) or (
        indexes[0] is not None and indexes[0] == indexes[1]
    )


def _is_split_off(layer: LayerTuple, first: LayerTuple) -> bool:
    """Return whether a layer looks like a channel that napari split from the array of `first`.

    ``add_image(..., channel_axis=...)`` blends all but the first layer additively. The layers have
    the names of the channels and are views of one array, or have one name, which napari numbers.
    A file that was opened twice has numbered names too, but no additive blending.
    """
    (data, meta, _), (other, of_first, _) = layer, first
    ours = any(origin_of_layer(m) for m in (meta, of_first))
    if ours or meta.get("blending") != "additive":
        return False
    return is_numbered(meta, of_first) or _is_view_of_same_array(
        levels_of(data, meta)[0], levels_of(other, of_first)[0]
    )


def _is_view_of_same_array(one: Any, other: Any) -> bool:
    """Return whether two arrays are views of the same memory, or parts of the same dask array."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.base is not None and one.base is other.base
    return not _dask_layers(one).isdisjoint(_dask_layers(other))


def _dask_layers(array: Any) -> set[Any]:
    """Return the names of the arrays that a dask array is made of; empty for other arrays."""
    layers = getattr(getattr(array, "dask", None), "layers", None)
    return set(layers) if isinstance(layers, Mapping) else set()
