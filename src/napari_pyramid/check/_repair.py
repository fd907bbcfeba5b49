"""Repair metadata that other metadata decide: transforms, omero, labels, consolidated copies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from zarr.storage import LocalStore

from napari_pyramid.check._documents import (
    check_consolidated,
    check_labels,
    groups_above,
    has_sound_base,
    is_repairable,
    listed_node,
    omero_problems,
)
from napari_pyramid.check._geometry import wrong_transforms
from napari_pyramid.errors import DestinationError, LayoutError
from napari_pyramid.image import Image
from napari_pyramid.layouts import open_images
from napari_pyramid.layouts.transforms import compose, diagonal, is_axis_aligned
from napari_pyramid.metadata.consolidated import rewrite_consolidated
from napari_pyramid.metadata.group import Attributes
from napari_pyramid.storage import stores
from napari_pyramid.storage.address import is_remote, public_url
from napari_pyramid.storage.hierarchy import store_root
from napari_pyramid.storage.json_values import objects
from napari_pyramid.storage.layout_warnings import collected_warnings
from napari_pyramid.storage.node import Node
from napari_pyramid.storage.ome_keys import ome_part

__all__ = ["Repair", "repair_store"]


@dataclass(frozen=True, slots=True)
class Repair:
    """The repairs of a store."""

    backup: str | None
    """Directory with the files as they were, or None when nothing was changed."""
    actions: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the repairs as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        if self.backup is None:
            return "nothing could be repaired"
        return "\n".join(
            [
                *(f"repaired {action}" for action in self.actions),
                f"the files as they were: {self.backup}",
            ]
        )


def repair_store(path: str | os.PathLike[str]) -> Repair:
    """Repair the faults of a store that other metadata decide.

    The files that change are copied first, to a directory beside the outermost store. Pixels are
    never changed.

    Raises
    ------
    DestinationError
        If the store is not a directory on this machine.
    LayoutError
        If nothing is there, or no layout recognises it.
    """
    with collected_warnings():  # check_store reports them
        root = None if is_remote(os.fspath(path)) else stores.open_root(path)
        if root is None or not isinstance(root.store, LocalStore):
            raise DestinationError(
                f"{public_url(os.fspath(path))}: only zarr directories on this machine "
                "can be repaired; unpack or copy it first"
            )
        images = open_images(path)
        backup = _Backup(Path(os.path.abspath(root.store.root)))
        actions = [
            action
            for image in images
            if is_repairable(image)
            for action in _repair_image(root, image, backup)
        ]
        actions += [
            action
            for image in images
            for action in _repair_labels(root.child(image.path) if image.path else root, backup)
        ]
        actions += _repair_consolidated(path, images, backup)
    return Repair(os.fspath(backup.directory) if actions else None, tuple(actions))


class _Backup:
    """Copies of files from before the first change.

    They are beside the outermost store, since readers would find an image in a copy inside the
    store.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        """What was opened, which may be a group inside a store."""
        self._store = store_root(root)
        self.directory = self._store.with_name(
            f"{self._store.name}.backup-{datetime.now():%Y%m%d-%H%M%S}"
        )

    def attributes(self, path: str) -> Attributes:
        """Return the attributes of a group, and keep a copy of their file."""
        attributes = Attributes(self.root / path)
        self.keep(Path(path) / (".zattrs" if attributes.zarr_format == 2 else "zarr.json"))
        return attributes

    def keep(self, file: Path) -> None:
        found = self.root / file
        copy = self.directory / found.relative_to(self._store)
        if copy.exists() or not found.exists():
            return
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(found, copy)


def _repair_image(root: Node, image: Image, backup: _Backup) -> Iterator[str]:
    node = root.child(image.path) if image.path else root
    if node is None or node.kind != "group":
        return
    wrong = (
        list(wrong_transforms(image)) if has_sound_base(ome_part(node.attributes), image) else []
    )
    if wrong:
        attributes = backup.attributes(image.path)
        _set_transforms(image, objects(attributes.ome.get("multiscales")), node)
        attributes.save()
        yield from (f"{entry.level.path or '/'}: {entry.message}" for entry in wrong)
    omero = ome_part(node.attributes).get("omero")
    n_channels = (
        1 if image.channel_axis is None else image.levels[0].array.shape[image.channel_axis]
    )
    if isinstance(omero, dict) and (problems := list(omero_problems(omero, n_channels))):
        attributes = backup.attributes(image.path)
        _set_channels(attributes.ome, n_channels)
        attributes.save()
        yield from (f"{image.path or '/'}: {key}: {message}" for key, message in problems)


def _set_transforms(image: Image, multiscales: Sequence[Any], node: Node) -> None:
    """Correct the wrong transforms of levels, in each series that has all levels of the image.

    Scale and translation follow from level 0 and the factors.
    """
    expected = {
        wrong.level.path.removeprefix(f"{image.path}/"): wrong for wrong in wrong_transforms(image)
    }
    names = {level.path.removeprefix(f"{image.path}/") for level in image.levels}
    for entry in multiscales:
        datasets = {str(dataset.get("path")): dataset for dataset in objects(entry.get("datasets"))}
        if not names <= datasets.keys():
            continue
        outer_scale, outer_translation = _outer(entry, image.levels[0].array.ndim, node)
        for name, wrong in expected.items():
            inner = [
                (t - u) / o
                for t, u, o in zip(wrong.translation, outer_translation, outer_scale, strict=True)
            ]
            datasets[name]["coordinateTransformations"] = [
                {
                    "type": "scale",
                    "scale": [s / o for s, o in zip(wrong.scale, outer_scale, strict=True)],
                },
                {"type": "translation", "translation": inner},
            ]


def _outer(
    entry: Mapping[str, Any], ndim: int, node: Node
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the scale and translation that apply to all levels after their own transforms.

    Source: OME-Zarr 0.4, "multiscales" metadata.
    """
    try:
        matrix = compose(entry.get("coordinateTransformations") or [], ndim, node)
    except LayoutError:
        matrix = np.eye(ndim + 1)
    return diagonal(matrix if is_axis_aligned(matrix) else np.eye(ndim + 1))


def _set_channels(ome: dict[str, Any], n_channels: int) -> None:
    """Remove windows that a viewer cannot use, so that it chooses its own, and add missing colours.

    OME-Zarr 0.4, "omero" metadata, requires a colour.
    """
    channels = ome["omero"].get("channels")
    if not isinstance(channels, list):
        del ome["omero"]
        return
    kept = [dict(channel) if isinstance(channel, dict) else {} for channel in channels[:n_channels]]
    kept += [{"label": f"Channel {i}", "color": "FFFFFF"} for i in range(len(kept), n_channels)]
    for i, channel in enumerate(kept):
        for key, _ in omero_problems({"channels": [channel]}, 1):
            if key.endswith("window"):
                del channel["window"]
            else:
                channel["color"] = "FFFFFF"
        channel.setdefault("label", f"Channel {i}")
    ome["omero"]["channels"] = kept


def _repair_labels(image: Node | None, backup: _Backup) -> Iterator[str]:
    if image is None or image.kind != "group" or not (wrong := list(check_labels(image))):
        return
    group = image.child("labels")
    if group is None:
        return
    attributes = backup.attributes(group.path)
    listed = attributes.ome.get("labels")
    there = [name for name in group.child_names() if _is_image(group, name)]
    kept = (
        [name for name in listed if listed_node(group, name) is not None]
        if isinstance(listed, list)
        else []
    )
    attributes.ome["labels"] = [*kept, *(name for name in there if name not in kept)]
    attributes.save()
    yield from (f"{group.path}: {finding.key} {finding.message}" for finding in wrong)


def _is_image(group: Node, name: str) -> bool:
    child = group.child(name)
    return (
        child is not None and child.kind == "group" and "multiscales" in ome_part(child.attributes)
    )


def _repair_consolidated(
    path: str | os.PathLike[str], images: Sequence[Image], backup: _Backup
) -> Iterator[str]:
    """Rewrite consolidated metadata, the innermost first, since outer copies hold inner ones.

    This is the last repair, since the others change what is copied.
    """
    root = stores.open_root(path)
    levels = {level.path for image in images for level in image.levels}
    for group in (root.child(above) if above else root for above in reversed(groups_above(images))):
        stale = list(check_consolidated(group, levels)) if group is not None else []
        if group is None or not stale:
            continue
        name = "zarr.json" if group.zarr_format == 3 else ".zmetadata"
        backup.keep(Path(group.path) / name)
        rewrite_consolidated(backup.root / group.path)
        yield f"{group.path or '/'}: consolidated metadata: {len(stale)} stale entries"
