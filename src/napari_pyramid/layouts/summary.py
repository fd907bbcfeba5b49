"""Read arrays that "summary_of" or "summarized_by" link to each other (zarr-specs issue 23)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from napari_pyramid.image import Image
from napari_pyramid.layouts._levels import LevelEntry, looks_rgb, open_levels
from napari_pyramid.storage.layout_warnings import brief, warn
from napari_pyramid.storage.node import Node

__all__ = ["NAME", "read"]

NAME = "summary_of"


def read(node: Node) -> Sequence[Image] | None:
    """Return one image per set of linked arrays in a group, with the levels ordered by size."""
    if node.kind == "array":
        return None
    arrays = {child.name: child for child in node.children() if child.kind == "array"}
    links = [link for child in arrays.values() for link in _links(child, arrays)]
    families = _families(arrays, links)
    linked = [family for family in families if len(family) > 1]
    alone = [array for family in families if len(family) == 1 for array in family]
    images = [
        image for family in linked if (image := _image(node, family, links, alone)) is not None
    ]
    if len(images) > 1:
        images = [
            Image(i.levels[0].path, i.levels, NAME, i.path, axes=i.axes, rgb=i.rgb) for i in images
        ]
    return images or None


def _links(child: Node, arrays: Mapping[str, Node]) -> Iterator[tuple[str, str]]:
    """Yield the names of summary and summarised array for each link of an array."""
    up, down = child.attributes.get("summary_of"), child.attributes.get("summarized_by")
    listed = [(key, "summary_of") for key in ([up] if up is not None else [])]
    listed += [
        (key, "summarized_by")
        for key in (down if isinstance(down, list) else [down] if down is not None else [])
    ]
    for entry, attribute in listed:
        name = entry.get("key") if isinstance(entry, Mapping) else entry
        name = name.strip("/").rpartition("/")[2] if isinstance(name, str) else ""
        if name not in arrays:
            warn(
                f"{child.location}: {attribute} names {brief(entry)}, "
                "which is not an array beside it; ignored"
            )
        else:
            yield (child.name, name) if attribute == "summary_of" else (name, child.name)


def _families(arrays: Mapping[str, Node], links: Sequence[tuple[str, str]]) -> list[list[Node]]:
    """Return the sets of arrays that are connected by links, whatever their direction."""
    family_of = {name: {name} for name in arrays}
    for a, b in links:
        if family_of[a] is not family_of[b]:
            family_of[a] |= family_of[b]
            for name in family_of[b]:
                family_of[name] = family_of[a]
    unique = {id(family): family for family in family_of.values()}
    return [[arrays[name] for name in family] for family in unique.values()]


def _image(
    node: Node, family: list[Node], links: Sequence[tuple[str, str]], alone: Sequence[Node]
) -> Image | None:
    if all(any(child.name == summary for summary, _ in links) for child in family):
        # In a cycle no array is the largest level, which may be an array without links.
        warn(f"{node.location}: summary_of goes round in a circle; levels are ordered by size")
        family = family + [
            a for a in alone if a.ndim == family[0].ndim and a.data_type == family[0].data_type
        ]
    by_size = sorted(family, key=lambda array: -math.prod(array.shape))
    levels = open_levels(node, [LevelEntry(child.name) for child in by_size], "summary_of")
    return Image(node.title, levels, NAME, node.path, rgb=looks_rgb(levels)) if levels else None
