"""Read "multiscales" of zarr-conventions: an object with a "layout" of assets, arrays or groups.

Source: zarr-conventions/multiscales and zarr-conventions/spatial, README of version 1.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari_pyramid.errors import LayoutError
from napari_pyramid.image import Image
from napari_pyramid.layouts._candidates import (
    Vector,
    axes_named,
    checked_levels,
    find,
    image_name,
    shape_ratio,
    texts,
)
from napari_pyramid.layouts._dataset import data_variables, placed, variable_axes
from napari_pyramid.layouts._geo import GeoGrid
from napari_pyramid.layouts._levels import LevelEntry
from napari_pyramid.storage.layout_warnings import brief, warn
from napari_pyramid.storage.node import Node

__all__ = ["NAME", "read"]

NAME = "zarr-conventions multiscales"
_MOST = 256
"""Limit of the entries of a layout that are read."""
_REFERENCE_SYSTEM_KEYS = ("proj:code", "proj:epsg", "proj:wkt2", "proj:projjson")


@dataclass(frozen=True, slots=True)
class _Asset:
    """One entry of the layout and its arrays by variable name, "" for an asset that is an array."""

    path: str
    entry: Mapping[str, Any]
    group: Node
    variables: Mapping[str, Node]


def read(node: Node) -> Sequence[Image] | None:
    """Return the images of a group whose "multiscales" has a "layout": one per variable."""
    described = node.attributes.get("multiscales")
    layout = described.get("layout") if isinstance(described, dict) else None
    if layout is None or node.kind != "group":
        return None
    if isinstance(layout, list) and len(layout) > _MOST:
        warn(f"{node.location}: multiscales: layout has {len(layout)} entries; {_MOST} are read")
        layout = layout[:_MOST]
    assets = _assets(node, layout)
    if not assets:
        warn(
            f"{node.location}: multiscales: layout names no array and no group with arrays; ignored"
        )
        return None
    described_layout = _read_layout(node, layout)
    names = dict.fromkeys(name for asset in assets for name in asset.variables)
    images = [
        image
        for name in names
        if (image := _image_of_variable(node, name, assets, described_layout)) is not None
    ]
    return images or None


def _image_of_variable(
    node: Node, name: str, assets: Sequence[_Asset], layout: _Layout
) -> Image | None:
    """Return one variable of all assets as an image; None, with a warning, if it has no level."""
    present = {asset.path: asset for asset in assets if name in asset.variables}
    entries = {
        asset.variables[name].path: entry for asset, entry in _placed(node, name, present, layout)
    }
    levels = checked_levels(node, entries.values(), "multiscales: layout")
    if not levels:
        return None
    largest = next(
        asset for asset in present.values() if asset.variables[name].path == levels[0].path
    )
    first = largest.variables[name]
    axes = variable_axes(largest.group, first) or axes_named(
        texts(node.attributes.get("spatial:dimensions"), 2), None, first.ndim
    )
    metadata = {
        key: node.attributes[key] for key in _REFERENCE_SYSTEM_KEYS if key in node.attributes
    }
    return Image(name or image_name(node), levels, NAME, node.path, axes=axes, metadata=metadata)


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


def _placed(
    node: Node, name: str, assets: Mapping[str, _Asset], layout: _Layout
) -> list[tuple[_Asset, LevelEntry]]:
    """Return one variable of every asset with its place.

    The place follows from the geographic transform, else from coordinates, else from the factors of
    the level.
    """
    totals = _totals(name, assets, layout)
    dimensions = node.attributes.get("spatial:dimensions")
    centred = node.attributes.get("spatial:registration") == "node"
    outer = _grid_of_root(node, name, assets, layout, totals)
    found = []
    for path, asset in assets.items():
        variable, total = asset.variables[name], totals[path]
        grid = GeoGrid.from_transform(
            asset.entry.get("spatial:transform"), f"{node.location}: spatial:transform of {path!r}"
        )
        if grid is None and outer is not None and len(total) >= 2:
            grid = outer.scaled(total[-2], total[-1])
        entry = (
            grid.place(variable, dimensions, node_registered=centred)
            if grid
            else placed(asset.group, variable)
        )
        if (
            entry.scale is None
            and len(total) <= variable.ndim
            and any(_scale(a.entry) for a in assets.values())
        ):
            entry = LevelEntry(variable, (1.0,) * (variable.ndim - len(total)) + total)
        found.append((asset, entry))
    return found


def _grid_of_root(
    node: Node,
    name: str,
    assets: Mapping[str, _Asset],
    layout: _Layout,
    totals: Mapping[str, Vector],
) -> GeoGrid | None:
    """Return the grid of an asset whose total is 1, from the transform or box of the group.

    The transform of the group is for the root of the layout, its box for all assets.
    """
    attributes = node.attributes
    grid = GeoGrid.from_transform(
        attributes.get("spatial:transform"), f"{node.location}: spatial:transform"
    )
    if grid is not None:
        own = layout.scales[layout.root] if layout.root is not None else None
        total = _product(own or (), (1.0, 1.0))
    else:
        path, asset = next(iter(assets.items()))
        grid = GeoGrid.from_box(attributes.get("spatial:bbox"), asset.variables[name].shape)
        total = _product(totals[path], (1.0, 1.0))
    return None if grid is None else grid.scaled(1 / total[-2], 1 / total[-1])


@dataclass(frozen=True, slots=True)
class _Layout:
    """Scales and sources of the entries of a layout, with entries that are missing on disk."""

    scales: Mapping[str, Vector | None]
    """Scale of each entry as stored, usually relative to the entry's source."""
    sources: Mapping[str, str | None]
    """Entry that each entry is derived from; None if it is not derived from an entry."""
    unusable: Collection[str]
    """Entries whose scale cannot be used, since the source is missing or in a cycle."""

    @property
    def root(self) -> str | None:
        """First entry that is not derived from another one; the group's attributes are about it."""
        return next((path for path, source in self.sources.items() if source is None), None)

    def total(self, path: str, *, relative: bool) -> Vector | None:
        """Return the product of the scales from an entry up to its root.

        () for a root without a scale; None if one of the scales is not known.

        Parameters
        ----------
        relative
            Whether scales are relative to the source; if not, all are relative to the root.
        """
        scale, source = self.scales[path], self.sources[path]
        if path in self.unusable:
            return None
        if scale is None:
            return () if path == self.root else None
        if source is None or not relative:
            return scale
        above = self.total(source, relative=True)
        return None if above is None else _product(above, scale)


def _read_layout(node: Node, layout: Any) -> _Layout:
    """Return scales and sources of a layout, with one warning for all missing or cyclic sources."""
    entries = {
        path: entry
        for entry in (layout if isinstance(layout, list) else [])
        if isinstance(entry, dict) and isinstance(path := entry.get("asset"), str)
    }
    given = {path: entry.get("derived_from") for path, entry in entries.items()}
    known = {path.strip("/"): path for path in entries}
    sources = {
        path: known.get(source.strip("/")) if isinstance(source, str) else None
        for path, source in given.items()
    }
    circles = {path for path in entries if path in _above(path, sources)}
    lost = {
        path: source
        for path, source in given.items()
        if source is not None and sources[path] is None and not _is_there(node, source)
    }
    unusable = circles | lost.keys()
    if unusable:
        named = ", ".join(
            f"{path!r} from {brief(given[path])}" for path in entries if path in unusable
        )
        warn(
            f"{node.location}: multiscales: layout: derived_from names no asset, "
            f"or goes round in a circle: {named};"
            " the sizes of these levels are taken instead of their transforms"
        )
    return _Layout(
        {path: _scale(entry) for path, entry in entries.items()},
        {path: None if path in circles else source for path, source in sources.items()},
        unusable,
    )


def _above(path: str, sources: Mapping[str, str | None]) -> list[str]:
    """Return the sources of an entry, direct and indirect, up to the first that repeats."""
    found: list[str] = []
    source = sources[path]
    while source is not None and source not in found:
        found.append(source)
        source = sources[source]
    return found


def _is_there(node: Node, path: object) -> bool:
    """Return whether a source outside the layout is a node of the group.

    Levels may be derived from arrays that are not levels.
    """
    try:
        return node.child(path) is not None
    except LayoutError:
        return False


def _totals(name: str, assets: Mapping[str, _Asset], layout: _Layout) -> dict[str, Vector]:
    """Return the factors of every asset to the root of the layout.

    "scale" is relative to "derived_from" in the text of the convention, but relative to the first
    level in three of its examples: the interpretation that fits the shapes is used. Unknown scales
    follow from the shapes.
    """
    shapes = {path: asset.variables[name].shape for path, asset in assets.items()}
    readings = [_filled(layout, shapes, relative=relative) for relative in (True, False)]
    first = next(iter(shapes))
    return min(
        readings,
        key=lambda totals: sum(
            _misfit(totals[path], totals[first], shape_ratio(shapes[first], shape))
            for path, shape in shapes.items()
            if len(shape) == len(shapes[first])
        ),
    )


def _filled(
    layout: _Layout, shapes: Mapping[str, tuple[int, ...]], *, relative: bool
) -> dict[str, Vector]:
    """Return the totals of the layout.

    Unknown totals are the first known total, times the ratio of the shapes.
    """
    known = {path: layout.total(path, relative=relative) for path in shapes}
    anchor = next((path for path, total in known.items() if total is not None), next(iter(shapes)))
    ones = (1.0,) * len(shapes[anchor])
    base = _product(known[anchor] or (), ones)
    totals = {}
    for path, shape in shapes.items():
        total = known[path]
        if total is not None:
            totals[path] = _product(total, (1.0,) * len(shape))
        elif len(shape) == len(shapes[anchor]):
            totals[path] = _product(base, shape_ratio(shapes[anchor], shape))
        else:
            totals[path] = (1.0,) * len(shape)
    return totals


def _product(a: Vector, b: Vector) -> Vector:
    """Return the product of two vectors aligned at their ends; the shorter one is padded with 1."""
    n = max(len(a), len(b))
    pairs = zip((1.0,) * (n - len(a)) + a, (1.0,) * (n - len(b)) + b, strict=True)
    return tuple(x * y for x, y in pairs)


def _misfit(total: Vector, first: Vector, ratio: Vector) -> float:
    """Return the distance of a total from the ratio of the shapes, in octaves, over common axes."""
    per_axis = zip(total[::-1], first[::-1], ratio[::-1], strict=False)
    return sum(abs(math.log2(t / f / r)) for t, f, r in per_axis if min(t, f, r) > 0)


def _scale(entry: Mapping[str, Any]) -> Vector | None:
    """Return the scale of an entry: in "transform" or, in two examples of the README, beside it."""
    transform = entry.get("transform")
    scale = transform.get("scale") if isinstance(transform, dict) else entry.get("scale")
    if not isinstance(scale, list) or not scale:
        return None
    good = all(
        isinstance(s, (int, float)) and not isinstance(s, bool) and 1e-9 < s < 1e9 for s in scale
    )
    return tuple(float(s) for s in scale) if good else None
