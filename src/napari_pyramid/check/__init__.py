"""Find faults in a store, in its levels, transforms and other metadata, and repair some of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from napari_pyramid.check._documents import check_consolidated, check_documents, groups_above
from napari_pyramid.check._finding import Finding
from napari_pyramid.check._geometry import check_geometry
from napari_pyramid.check._repair import repair_store
from napari_pyramid.errors import LayoutError, LayoutNotice, one_line
from napari_pyramid.image import Image, StoredLevel
from napari_pyramid.layouts import open_images
from napari_pyramid.storage import stores
from napari_pyramid.storage.address import public_url
from napari_pyramid.storage.layout_warnings import collected_warnings
from napari_pyramid.words import counted

__all__ = ["Finding", "Report", "check_store", "repair_store"]

_LARGEST_PROBE = 2**30
"""Bytes of one chunk beyond which it is not read just to see whether it can be."""


@dataclass(frozen=True, slots=True)
class Report:
    """The images of a store that were checked, and their faults."""

    path: str
    n_images: int
    n_levels: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    """Facts that are not faults: the method that the pixels fit, levels stored elsewhere."""

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        n_repairable = sum(finding.is_repairable for finding in self.findings)
        verdict = (
            f"{counted(len(self.findings), 'thing')} wrong" if self.findings else "nothing wrong"
        )
        hint = f", of which --repair repairs {n_repairable}" if n_repairable else ""
        size = f"{counted(self.n_images, 'image')} with {counted(self.n_levels, 'level')}"
        last = f"{self.path}: {size}: {verdict}{hint}"
        return "\n".join([*map(str, self.findings), *self.notes, last])


def check_store(
    path: str | os.PathLike[str],
    *,
    pixels: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Report:
    """Return the faults of a store of any known layout.

    The checks: each level is there and can be read; order and shapes of the levels; scales and
    translations of OME-Zarr 0.4 and later against the factors between the shapes; consolidated
    metadata against the files; omero channels against the array; listed labels against the groups;
    and the warnings of the reader.

    Parameters
    ----------
    pixels
        Also recompute samples of each level from the level above; see `check_pixels`.
    storage_options
        Credentials and the like for a URL: see `napari_pyramid.storage.url_options.OPTIONS`.

    Raises
    ------
    LayoutError
        If there is nothing at the path.
    """
    path = os.fspath(path)
    with collected_warnings() as warned:
        try:
            images = open_images(path, storage_options=storage_options)
        except LayoutError as error:
            if "://" not in path and not os.path.exists(path):
                raise
            path = public_url(path)
            return Report(path, 0, 0, (Finding(path, "", str(error)),))
        findings = [
            finding
            for image in images
            for level in image.levels
            for finding in _unreadable(image, level)
        ]
        findings += _metadata_findings(path, images, storage_options)
        notes = _check_pixels(images, findings) if pixels else []
    path = public_url(path)
    notes += [str(w) for w in warned if isinstance(w, LayoutNotice)]
    warnings_found = [Finding(path, "", str(w)) for w in warned if not isinstance(w, LayoutNotice)]
    n_levels = sum(len(image.levels) for image in images)
    return Report(
        path,
        len(images),
        n_levels,
        tuple(dict.fromkeys([*warnings_found, *findings])),
        tuple(notes),
    )


def _metadata_findings(
    path: str, images: Sequence[Image], storage_options: Mapping[str, Any] | None
) -> Iterator[Finding]:
    try:
        root = stores.open_root(path, storage_options=storage_options)
    except LayoutError:  # TIFF and the like: no zarr metadata to look at
        yield from (
            finding for image in images for finding in check_geometry(image, repairable=False)
        )
        return
    levels = {level.path for image in images for level in image.levels}
    for group in (root.child(above) if above else root for above in groups_above(images)):
        yield from check_consolidated(group, levels) if group is not None else ()
    for image in images:
        yield from check_documents(root, image)


def _check_pixels(images: Sequence[Image], findings: list[Finding]) -> list[str]:
    from napari_pyramid.check._pixels import check_pixels

    notes: list[str] = []
    for image in images:
        wrong, facts = check_pixels(image)
        findings += wrong
        notes += facts
    return notes


def _unreadable(image: Image, level: StoredLevel) -> Iterator[Finding]:
    """Yield a fault if the middle sample of a level cannot be read.

    One sample is enough to know that the codec is installed and the chunk is complete.
    """
    array = level.array
    if int(np.prod(array.chunks, dtype=object)) * array.dtype.itemsize > _LARGEST_PROBE:
        return
    try:
        np.asarray(array[tuple(slice(n // 2, n // 2 + 1) for n in array.shape)])
    # Every exception: codecs raise whatever their authors chose when the bytes are not their own.
    except Exception as error:
        yield Finding(level.path or image.path, "", f"level cannot be read: {one_line(error)}")
