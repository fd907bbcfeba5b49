"""The "multiscales" convention of zarr-conventions: an object with a "layout" of assets, arrays or groups.

Source: zarr-conventions/multiscales and zarr-conventions/spatial, README of version 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari_pyramid.image import Image
from napari_pyramid.layouts._candidates import (
    Candidate,
    Vector,
    axes_named,
    checked_levels,
    find,
    image_name,
    shape_ratio,
    texts,
)
from napari_pyramid.layouts._dataset import data_variables, placed, variable_axes
from napari_pyramid.layouts._geo import Grid
from napari_pyramid.storage.node import Node, warn

__all__ = ["NAME", "read"]

NAME = "zarr-conventions multiscales"
_REFERENCE_SYSTEM_KEYS = ("proj:code", "proj:epsg", "proj:wkt2", "proj:projjson")


@dataclass(frozen=True, slots=True)
class _Asset:
    """One entry of the layout and the arrays it stands for, by variable name ("" for an asset that is an array)."""

    path: str
    entry: Mapping[str, Any]
    group: Node
    variables: Mapping[str, Node]


def read(node: Node) -> Sequence[Image] | None:
    """A group whose "multiscales" is an object with "layout". Groups give one image per variable."""
    described = node.attributes.get("multiscales")
    layout = described.get("layout") if isinstance(described, dict) else None
    if layout is None or node.kind != "group":
        return None
    assets = _assets(node, layout)
    if not assets:
        warn(
            f"{node.location}: multiscales: layout names no array and no group with arrays; ignored"
        )
        return None
    metadata = {
        key: node.attributes[key] for key in _REFERENCE_SYSTEM_KEYS if key in node.attributes
    }
    names = dict.fromkeys(name for asset in assets for name in asset.variables)
    images = []
    for name in names:
        present = {asset.path: asset for asset in assets if name in asset.variables}
        candidates = {
            asset.variables[name].path: candidate
            for asset, candidate in _placed(node, name, present)
        }
        levels = checked_levels(node, candidates.values(), "multiscales: layout")
        if levels:
            first = candidates[levels[0].path].node
            group = next(
                asset.group for asset in present.values() if asset.variables[name] is first
            )
            axes = variable_axes(group, first) or axes_named(
                texts(node.attributes.get("spatial:dimensions"), 2), None, first.ndim
            )
            images.append(
                Image(
                    name or image_name(node), levels, NAME, node.path, axes=axes, metadata=metadata
                )
            )
    return images or None


def _assets(node: Node, layout: Any) -> list[_Asset]:
    found = []
    for entry in layout if isinstance(layout, list) else []:
        path = entry.get("asset") if isinstance(entry, dict) else None
        asset = find(node, path, "multiscales: layout: asset")
        if asset is None or not isinstance(path, str):
            continue
        variables = (
            {"": asset}
            if asset.kind == "array"
            else {variable.name: variable for variable in data_variables(asset)}
        )
        found.append(_Asset(path, entry, asset if asset.kind == "group" else node, variables))
    return found


def _placed(node: Node, name: str, assets: Mapping[str, _Asset]) -> list[tuple[_Asset, Candidate]]:
    """One variable of every asset, with the geographic transform, the coordinates, or else the factors of its level."""
    totals = _totals(name, assets)
    dimensions = node.attributes.get("spatial:dimensions")
    centred = node.attributes.get("spatial:registration") == "node"
    base = next(iter(assets.values()))
    outer = Grid.from_transform(
        node.attributes.get("spatial:transform"), f"{node.location}: spatial:transform"
    )
    outer = outer or Grid.from_box(node.attributes.get("spatial:bbox"), base.variables[name].shape)
    found = []
    for path, asset in assets.items():
        variable, total = asset.variables[name], totals[path]
        grid = Grid.from_transform(
            asset.entry.get("spatial:transform"), f"{node.location}: spatial:transform of {path!r}"
        )
        if grid is None and outer is not None and len(total) >= 2:
            grid = outer.scaled(
                total[-2] / totals[base.path][-2], total[-1] / totals[base.path][-1]
            )
        candidate = (
            grid.place(variable, dimensions, node_registered=centred)
            if grid
            else placed(asset.group, variable)
        )
        if (
            candidate.scale is None
            and len(total) <= variable.ndim
            and any(_scale(a.entry) for a in assets.values())
        ):
            candidate = Candidate(variable, (1.0,) * (variable.ndim - len(total)) + total)
        found.append((asset, candidate))
    return found


def _totals(name: str, assets: Mapping[str, _Asset]) -> dict[str, Vector]:
    """Factors of every asset to the first one.

    The text of the convention makes "scale" relative to "derived_from", three of its own examples make it relative to
    the first level: the reading that fits the shapes is taken.
    """
    first = next(iter(assets.values()))
    shape = first.variables[name].shape
    ratios = {
        path: shape_ratio(shape, a.variables[name].shape)
        if a.variables[name].ndim == len(shape)
        else ()
        for path, a in assets.items()
    }
    readings = [_composed(assets, ratios, relative=relative) for relative in (True, False)]
    return min(
        readings,
        key=lambda totals: sum(
            _misfit(totals[path], totals[first.path], ratio) for path, ratio in ratios.items()
        ),
    )


def _composed(
    assets: Mapping[str, _Asset], ratios: Mapping[str, Vector], *, relative: bool
) -> dict[str, Vector]:
    totals: dict[str, Vector] = {}
    for path, asset in assets.items():
        scale = _scale(asset.entry)
        parent = totals.get(str(asset.entry.get("derived_from")))
        if scale is None:
            totals[path] = ratios[path]
        elif relative and parent is not None and len(parent) == len(scale):
            totals[path] = tuple(p * s for p, s in zip(parent, scale, strict=True))
        else:
            totals[path] = scale
    return totals


def _misfit(total: Vector, first: Vector, ratio: Vector) -> float:
    """How far a total is from the ratio of the shapes, in octaves, over the axes that all of them have."""
    per_axis = zip(total[::-1], first[::-1], ratio[::-1], strict=False)
    return sum(abs(math.log2(t / f / r)) for t, f, r in per_axis if min(t, f, r) > 0)


def _scale(entry: Mapping[str, Any]) -> Vector | None:
    transform = entry.get("transform")
    scale = transform.get("scale") if isinstance(transform, dict) else None
    if not isinstance(scale, list) or not scale:
        return None
    good = all(
        isinstance(s, (int, float)) and not isinstance(s, bool) and 1e-9 < s < 1e9 for s in scale
    )
    return tuple(float(s) for s in scale) if good else None
