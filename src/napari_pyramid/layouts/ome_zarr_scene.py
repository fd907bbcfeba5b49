"""Read scenes of OME-Zarr 0.6: images that transforms place in one coordinate system.

`own_systems` and `placed_in` do the same for the coordinate systems of a single image.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_pyramid.errors import LayoutError
from napari_pyramid.image import Affine, Image
from napari_pyramid.layouts.coordinate_systems import intrinsic_system
from napari_pyramid.layouts.entry import Entry
from napari_pyramid.layouts.ome_zarr_document import Document, find_document
from napari_pyramid.layouts.ome_zarr_multiscales import (
    multiscales_of,
    without_channel,
)
from napari_pyramid.layouts.transforms import parse_transform
from napari_pyramid.storage.json_values import objects
from napari_pyramid.storage.layout_warnings import brief, warn
from napari_pyramid.storage.node import Node

__all__ = ["own_systems", "placed_in", "read_scene", "scene_entries"]

_System = tuple[str, str]
"""A coordinate system: path of its image ("" for systems of the scene), and its name."""


@dataclass(frozen=True, slots=True)
class _Edge:
    """A transform from one system to another, of the scene or one of its images."""

    source: _System
    target: _System
    transform: Mapping[str, Any]


def read_scene(
    node: Node, document: Document, read: Callable[[Node], Sequence[Image] | None]
) -> list[Image]:
    """Return the images of a scene, each with the affine from its own system to the shown system.

    The shown system is the first system of the scene; without one, the output of the first
    transform. An image that cannot be transformed (displacements, no chain of transforms) is shown
    in its own system, with a warning.

    Parameters
    ----------
    read
        Function that reads one image group.
    """
    scene = _Scene.of(node, document)
    return [image for one in scene.nodes for image in scene.images(one, read, scene.goal)]


def scene_entries(
    node: Node, document: Document, read: Callable[[Node], Sequence[Image] | None]
) -> list[Entry]:
    """Return the images of a scene, each with its labels, without opening them.

    They can be placed in any system of the scene; see `read_scene`.
    """
    scene = _Scene.of(node, document)

    def entry(image_node: Node) -> Entry:
        def read_in(system: str | None) -> Sequence[Image]:
            return scene.images(image_node, read, scene.goal if system is None else ("", system))

        return Entry(
            _relative(image_node, node), image_node.path, read_in, systems=scene.system_names
        )

    return [entry(image_node) for image_node in scene.nodes]


def own_systems(node: Node, document: Document) -> tuple[str, ...]:
    """Return the names of the coordinate systems of an image; its own system is first."""
    multiscales = multiscales_of(node, document)
    own = intrinsic_system(multiscales[0]) if multiscales else None
    listed = multiscales[0].get("coordinateSystems") if own is not None else None
    names = [s["name"] for s in objects(listed) if isinstance(s.get("name"), str)]
    return (own, *(name for name in names if name != own)) if own is not None else ()


def placed_in(image: Image, node: Node, system: str) -> Image:
    """Return an image with the affine from its own system to another one of its systems.

    Raises
    ------
    LayoutError
        If no chain of transforms with matrices leads to `system`.
    """
    document = find_document(node)
    own = own_systems(node, document) if document is not None else ()
    if not own or own[0] == system:
        return image
    axes = [axis.name for axis in image.axes or ()]
    ndim = image.levels[0].array.ndim
    matrix = _path_matrix(("", own[0]), ("", system), _own_edges(node, ""), ndim, node, axes)
    return replace(image, affine=without_channel(matrix, image.axes))


@dataclass(frozen=True, slots=True)
class _Scene:
    """The images of a scene and the transforms between them."""

    node: Node
    where: str
    nodes: Sequence[Node]
    edges: list[_Edge]
    goal: _System | None
    system_names: tuple[str, ...]

    @classmethod
    def of(cls, node: Node, document: Document) -> _Scene:
        scene = document.content["scene"]
        where = f"{node.location}/{document.where}.scene"
        edges = _edges(scene.get("coordinateTransformations"), where)
        nodes = _image_nodes(node, edges, where)
        for image_node in nodes:
            edges += _own_edges(image_node, _relative(image_node, node))
        names = [s.get("name") for s in objects(scene.get("coordinateSystems"))]
        used = [system[1] for e in edges for system in (e.target, e.source) if not system[0]]
        known = dict.fromkeys(name for name in (*names, *used) if isinstance(name, str))
        return cls(node, where, nodes, edges, _goal(scene, edges), tuple(known))

    def images(
        self,
        image_node: Node,
        read: Callable[[Node], Sequence[Image] | None],
        goal: _System | None,
    ) -> list[Image]:
        """Return an image and its labels, placed in the system `goal`."""
        path = _relative(image_node, self.node)
        found = [
            replace(i, name=path) if i.name == image_node.title else i
            for i in read(image_node) or ()
        ]
        placed = [_placed(i, image_node, path, self.edges, goal, self.where) for i in found]
        return [_placed_like(placed[0], i) if _is_label_of(image_node, i) else i for i in placed]


def _edges(transforms: object, where: str, path: str = "") -> list[_Edge]:
    if transforms is not None and not isinstance(transforms, list):
        warn(f"{where}.coordinateTransformations is {brief(transforms)}, expected a list; ignored")
    edges = []
    for transform in transforms if isinstance(transforms, list) else ():
        given = transform if isinstance(transform, Mapping) else {}
        start, end = (_system(given.get(side), path) for side in ("input", "output"))
        if start is None or end is None:
            warn(
                f"{where}.coordinateTransformations: {brief(transform)} "
                "leads from no system to another; ignored"
            )
        else:
            edges.append(_Edge(start, end, transform))
    return edges


def _system(end: object, path: str) -> _System | None:
    """Return the system of one side of a transform; None if it is not valid.

    A side is an object with a name and, for an image's system, the path of the image; 0.6.dev1 to
    dev3 wrote the name alone.
    """
    if isinstance(end, str):
        end = {"name": end}
    if not isinstance(end, Mapping):
        return None
    name, own = end.get("name", ""), end.get("path")
    own = path if own is None else own  # 0.6, "scene": "MAY be omitted or null"
    return (own.strip("/"), name) if isinstance(name, str) and isinstance(own, str) else None


def _image_nodes(node: Node, edges: list[_Edge], where: str) -> list[Node]:
    """Return the image groups that transforms name, then the other children that are images."""
    nodes: dict[str, Node] = {}
    for path in dict.fromkeys(
        system[0] for edge in edges for system in (edge.source, edge.target) if system[0]
    ):
        try:
            found = node.child(path)
        except LayoutError as error:
            warn(f"{where}: {error}")
            continue
        if found is None:
            warn(f"{where}: there is no image at {brief(path)}; left out")
        elif find_document(found) is not None:
            nodes[found.path] = found
    named = {found.folder for found in nodes.values()}
    for child in node.children():
        if child.folder not in named and find_document(child) is not None:
            nodes[child.path] = child
    return list(nodes.values())


def _own_edges(node: Node, path: str) -> list[_Edge]:
    """Return the transforms of an image between its own systems."""
    document = find_document(node)
    if document is None or not isinstance(document.content.get("multiscales"), list):
        return []
    own = [
        m
        for m in document.content["multiscales"]
        if isinstance(m, Mapping) and "coordinateSystems" in m
    ]
    return [e for m in own for e in _edges(m.get("coordinateTransformations"), node.location, path)]


def _goal(scene: Mapping[str, Any], edges: list[_Edge]) -> _System | None:
    systems = scene.get("coordinateSystems")
    names = (
        [s.get("name") for s in systems if isinstance(s, Mapping)]
        if isinstance(systems, list)
        else []
    )
    if names and isinstance(names[0], str):
        return "", names[0]
    return edges[0].target if edges else None


def _placed(
    image: Image, node: Node, path: str, edges: list[_Edge], goal: _System | None, where: str
) -> Image:
    document = find_document(node)
    multiscales = multiscales_of(node, document) if document is not None else []
    name = intrinsic_system(multiscales[0]) if multiscales else None
    if goal is None or name is None or _is_label_of(node, image):
        return image
    axes = [axis.name for axis in image.axes or ()]
    try:
        matrix = _path_matrix((path, name), goal, edges, image.levels[0].array.ndim, node, axes)
    except LayoutError as error:
        warn(f"{where}: {path!r} is shown in its own coordinates: {error}")
        return image
    if np.array_equal(matrix, np.eye(len(matrix))):
        return image
    return replace(image, affine=without_channel(matrix, image.axes))


def _is_label_of(node: Node, image: Image) -> bool:
    return image.kind == "labels" and image.path != node.path


def _placed_like(image: Image, labels: Image) -> Image:
    """Return labels with the affine of their image, reduced to the axes of the labels.

    Labels have the coordinate system of their image.
    """
    if image.affine is None:
        return labels
    theirs, own = _placed_axes(image), _placed_axes(labels)
    pairs = [(i, theirs.index(name)) for i, name in enumerate(own) if name in theirs] + [
        (len(own), len(theirs))
    ]
    matrix = np.eye(len(own) + 1)
    rows, sources = ([pair[side] for pair in pairs] for side in (0, 1))
    matrix[np.ix_(rows, rows)] = image.affine[np.ix_(sources, sources)]
    return replace(labels, affine=matrix)


def _placed_axes(image: Image) -> list[str]:
    """Return the names of the axes of an affine; numbers for axes without names."""
    if image.axes is None:
        return [str(i) for i in range(image.levels[0].array.ndim)]
    drop = next((i for i, axis in enumerate(image.axes) if axis.type == "channel"), None)
    return [axis.name for i, axis in enumerate(image.axes) if i != drop]


def _path_matrix(
    start: _System, goal: _System, edges: list[_Edge], ndim: int, node: Node, axes: Sequence[str]
) -> Affine:
    """Return the matrix of the shortest chain of transforms, some of which may be inverted.

    Raises
    ------
    LayoutError
        If no chain of transforms with matrices leads from `start` to `goal`; the message has the
        reason.
    """
    reached = {start: np.eye(ndim + 1)}
    queue = deque([start])
    reason = f"no transform leads from {start[1]!r} to {goal[1]!r}"
    while queue and goal not in reached:
        here = queue.popleft()
        for edge in edges:
            backwards = edge.target == here
            there = edge.source if backwards else edge.target
            if here not in (edge.source, edge.target) or there in reached:
                continue
            try:
                step = _step(edge.transform, backwards, ndim, node, axes)
            except LayoutError as error:
                reason = str(error)
                continue
            reached[there] = step @ reached[here]
            queue.append(there)
    if goal not in reached:
        raise LayoutError(reason)
    return reached[goal]


def _step(
    transform: Mapping[str, Any], backwards: bool, ndim: int, node: Node, axes: Sequence[str]
) -> Affine:
    if backwards and transform.get("type") == "bijection":
        return parse_transform(transform.get("inverse"), ndim, node, axes)
    matrix = parse_transform(transform, ndim, node, axes)
    if not backwards:
        return matrix
    try:
        return np.asarray(np.linalg.inv(matrix), dtype=np.float64)
    except np.linalg.LinAlgError:
        raise LayoutError("a transform that is to be taken backwards has no inverse") from None


def _relative(child: Node, parent: Node) -> str:
    return child.path.removeprefix(parent.path).lstrip("/")
