"""Read GeoZarr's tile matrix sets: "tile_matrix_set" in "multiscales", levels that are groups.

Source: EOPF-Explorer/data-model, eopf_geozarr, multiscales/tms.py; OGC 17-083r4, Two Dimensional
Tile Matrix Set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from napari_pyramid.image import Image, StoredLevel
from napari_pyramid.layouts._candidates import find
from napari_pyramid.layouts._dataset import pyramids
from napari_pyramid.layouts._geo import GeoGrid
from napari_pyramid.layouts._levels import LevelEntry
from napari_pyramid.storage.layout_warnings import warn
from napari_pyramid.storage.node import Node

__all__ = ["NAME", "read"]

NAME = "GeoZarr tile matrix set"


def read(node: Node) -> Sequence[Image] | None:
    """Return the images of a group whose "multiscales" has a tile matrix set.

    The set is an object, or the id of a well-known set.
    """
    described = node.attributes.get("multiscales")
    tiles = described.get("tile_matrix_set") if isinstance(described, dict) else None
    if tiles is None or node.kind != "group":
        return None
    matrices = _matrices(tiles)
    if matrices:
        groups = [
            group
            for name in matrices
            if (group := find(node, name, "multiscales: tileMatrices: id")) is not None
        ]
    else:
        groups = [
            child for child in node.children() if child.kind == "group" and child.name.isdecimal()
        ]
    images = pyramids(node, groups, NAME)
    if not images:
        warn(
            f"{node.location}: multiscales: tile_matrix_set names no group with variables; ignored"
        )
        return None
    crs = tiles.get("crs", tiles.get("supportedCRS")) if isinstance(tiles, dict) else tiles
    return [_in_grid(replace(image, metadata={"crs": crs}), node, matrices) for image in images]


def _matrices(tiles: Any) -> dict[str, dict[str, Any]]:
    """Return the tile matrices by id; empty for the id of a well-known set."""
    matrices = (
        tiles.get("tileMatrices", tiles.get("tileMatrix")) if isinstance(tiles, dict) else None
    )
    return (
        {str(m["id"]): m for m in matrices if isinstance(m, dict) and m.get("id") not in (None, "")}
        if isinstance(matrices, list)
        else {}
    )


def _in_grid(image: Image, node: Node, matrices: dict[str, dict[str, Any]]) -> Image:
    """Return the image with the grid of the tile matrices, unless it has coordinates of its own."""
    if image.levels[0].scale is not None:
        return image
    levels = []
    for level in image.levels:
        path = level.path.removeprefix(f"{node.path}/") if node.path else level.path
        name = path.rpartition("/")[0]
        variable = node.child(path)
        grid = _grid(matrices.get(name, {}))
        levels.append(
            _placed(level, grid.place(variable))
            if grid is not None and variable is not None
            else level
        )
    return replace(image, levels=tuple(levels))


def _placed(level: StoredLevel, entry: LevelEntry) -> StoredLevel:
    return replace(level, scale=entry.scale, translation=entry.translation)


def _grid(matrix: dict[str, Any]) -> GeoGrid | None:
    """Return the grid of a tile matrix: square cells from the point of origin, rows downwards."""
    size, origin = matrix.get("cellSize"), matrix.get("pointOfOrigin")
    if not isinstance(size, (int, float)) or not isinstance(origin, list) or len(origin) != 2:
        return None
    return GeoGrid.from_transform(
        [size, 0, origin[0], 0, -size, origin[1]], "multiscales: tileMatrices"
    )
