"""Say what a form can offer for the images that are chosen: methods, sizes, places to store.

Looks at the disk, and so runs in a worker thread. Imports no Qt.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np

from napari_pyramid._napari._candidates import Candidate
from napari_pyramid._napari._plan import PIXEL
from napari_pyramid._napari._preferences import options_for
from napari_pyramid.arrays.virtual_level import stored_levels
from napari_pyramid.build import plan_build
from napari_pyramid.downsample import Reduction, default_method, methods_for
from napari_pyramid.errors import DestinationError, PyramidError
from napari_pyramid.layer_image import LayerImage
from napari_pyramid.storage.address import BUCKET_SCHEMES, public_url
from napari_pyramid.storage.destination import is_anonymous, open_destination, place_of_array
from napari_pyramid.storage.folder import Folder
from napari_pyramid.storage.objects import StoreError

__all__ = [
    "Offer",
    "free_destination",
    "suggested_destination",
    "suggested_place",
    "why_not_in_place",
]

_PACKAGE = Path(__file__).parents[1]
"""Folder of the package, which holds the sample data."""
_MIXED = "as it is"
"""Unit that each image keeps; as short as a unit, for the combo box of a narrow dock."""
_IN_BUCKET = re.compile(rf"(?:{'|'.join(BUCKET_SCHEMES)})://[^/]", re.IGNORECASE)
_STORES = (".zarr", ".n5", ".ozx", ".zip")


@dataclass(frozen=True, slots=True)
class Offer:
    """Defaults and possibilities of a form, for one image or several."""

    methods: tuple[Reduction, ...] = ()
    method: str = ""
    """Name of the method that is taken unless another is chosen; empty if the images differ."""
    axes: str = ""
    sized: tuple[str, ...] = ()
    """Names of the axes that samples have a distance along."""
    voxel_size: tuple[float, ...] = ()
    """One number for each of `sized`."""
    unit: str = PIXEL
    """Unit of the axes of space, or `_MIXED`."""
    destination: str = ""
    not_in_place: str = ""
    """Sentence on why levels cannot be added in place; empty if they can."""
    n_levels: int = 1
    """Number of levels that the image has already; of several images, the largest."""
    several: bool = False
    """Whether several images are chosen; then axes and sizes are empty."""
    n_images: int = 1
    """Number of images that are chosen."""
    n_unsized: int = 0
    """Number of images that do not say how large a voxel is."""

    @classmethod
    def of(cls, candidates: Sequence[Candidate]) -> Offer:
        """Return the offer for images that will be built with the same choices."""
        first = candidates[0]
        kinds = {c.image.kind for c in candidates}
        methods = methods_for("labels" if "labels" in kinds else "image")
        auto = {default_method(c.image.kind, np.dtype(c.image.levels[0].dtype)) for c in candidates}
        method = auto.pop() if len(auto) == 1 else ""
        if len(candidates) > 1:
            reasons = [why_not_in_place(c) for c in candidates]
            return cls(
                methods,
                method,
                unit=_MIXED,
                destination=str(_writable_folder(first.path)),
                not_in_place=next((why for why in reasons if why), ""),
                n_levels=max(len(stored_levels(c.image.levels)) for c in candidates),
                several=True,
                n_images=len(candidates),
                n_unsized=sum(_is_unsized(c.image) for c in candidates),
            )
        image = first.image
        names = [a.name for a in image.axes]
        sized, units = _sizes(image), _units(image)
        return cls(
            methods,
            method,
            "".join(names) if all(len(n) == 1 for n in names) else ", ".join(names),
            tuple(name for name, _ in sized),
            tuple(size for _, size in sized),
            units.pop() if len(units) == 1 else _MIXED,
            suggested_place(first.title, first.path),
            why_not_in_place(first),
            len(stored_levels(image.levels)),
            n_unsized=int(_is_unsized(image)),
        )

    @property
    def asks_for_size(self) -> bool:
        """Whether the image does not say how large a voxel is."""
        return not self.several and self.n_unsized > 0


def _sizes(image: LayerImage) -> list[tuple[str, float]]:
    """Return name and distance of samples along each axis but the channels."""
    along = zip(image.axes, image.scale, strict=True)
    return [(axis.name, size) for axis, size in along if axis.type != "channel"]


def _units(image: LayerImage) -> set[str]:
    return {a.unit or PIXEL for a in image.axes if a.is_spatial} or {PIXEL}


def _is_unsized(image: LayerImage) -> bool:
    along = zip(image.axes, image.scale, strict=True)
    return _units(image) == {PIXEL} and {size for axis, size in along if axis.is_spatial} == {1.0}


def why_not_in_place(candidate: Candidate) -> str:
    """Return why levels cannot be added beside an image, as a sentence; empty if they can."""
    image = candidate.image
    try:
        place = place_of_array(image.levels[0])
    except DestinationError:
        return "In place is not possible on a web server, which nothing can be written to."
    if place is None:
        if candidate.path is not None and not Path(candidate.path).is_dir():
            return f"In place needs a zarr store, not {Path(public_url(candidate.path)).name}."
        return "In place needs pixels in a zarr store on a disk or in a bucket."
    if isinstance(place, Folder) and is_anonymous(place):
        return (
            "In place needs credentials for the bucket: put them into Preferences > Image "
            "pyramids, Servers and buckets, and open the image again."
        )
    try:
        plan_build(candidate.data, in_place=True, **image.build_options)
    except DestinationError as error:
        return f"In place is not possible: {error.message}."
    except PyramidError:
        pass  # said when it is planned with the choices
    return ""


def suggested_destination(name: str, source: str | None) -> str:
    """Return a free path for a new store.

    The path is beside `source` if that is a local path outside of this package, else in the home
    folder.
    """
    return free_destination(name, _writable_folder(source))


def suggested_place(name: str, source: str | None) -> str:
    """Return a free path or URL for a new store.

    Beside a `source` in a bucket that there are credentials for, it is in that bucket; else as
    `suggested_destination`. Asks the bucket, and so runs in a worker thread.
    """
    folder = _folder_in_bucket(source) if source is not None else None
    if folder is not None:
        try:
            options = options_for(folder)
            for file in _names(name):
                place = open_destination(f"{folder}/{file}", options)
                if not isinstance(place, Folder) or is_anonymous(place):
                    break
                if not place.exists():
                    return f"{folder}/{file}"
        except (PyramidError, StoreError):
            pass  # no access: what is wrong is said when such a place is chosen
    return suggested_destination(name, source)


def _folder_in_bucket(source: str) -> str | None:
    """Return the URL of the folder around a store in a bucket, None for all other places."""
    if _IN_BUCKET.match(source) is None:
        return None
    bucket, *keys = source.rstrip("/").split("/")[2:]
    of_store = [i for i, key in enumerate(keys) if key.lower().endswith(_STORES)]
    if not keys:
        return None
    above = keys[: of_store[0] if of_store else len(keys) - 1]
    return "/".join([source.partition("://")[0] + ":/", bucket, *above])


def free_destination(name: str, folder: Path) -> str:
    """Return a path in a folder at which nothing is yet, named after an image."""
    return next(str(folder / file) for file in _names(name) if not (folder / file).exists())


def _names(name: str) -> Iterator[str]:
    """Yield names for a store of an image: its own, then with numbers."""
    stem = re.sub(r"[^\w.\-]+", "_", name).strip("._") or "image"
    yield f"{stem}.ome.zarr"
    for n in count(2):
        yield f"{stem}_{n}.ome.zarr"


def _writable_folder(source: str | None) -> Path:
    """Return the folder of a local file outside of this package, else the home folder."""
    if source and "://" not in source and Path(source).exists():
        folder = Path(source).absolute().parent
        if not folder.is_relative_to(_PACKAGE) and os.access(folder, os.W_OK):
            return folder
    return Path.home()
