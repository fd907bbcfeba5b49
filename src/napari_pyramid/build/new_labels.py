"""Create a label image for a stored image: all levels, with no chunk in them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_pyramid.axes import default_axes
from napari_pyramid.build.prepare import prepare_job
from napari_pyramid.build.progress import Progress, Steps
from napari_pyramid.build.request import Request
from napari_pyramid.build.run import Run
from napari_pyramid.build.undo import recover
from napari_pyramid.build.workspace_base import TileJournal
from napari_pyramid.errors import DestinationError, Remedy, SpecError
from napari_pyramid.image import Image, pick_image
from napari_pyramid.layouts import open_images
from napari_pyramid.plan.options import SpecOptions
from napari_pyramid.pyramid import Pyramid
from napari_pyramid.storage.address import disk_path, parse_address
from napari_pyramid.storage.destination import is_anonymous, open_destination
from napari_pyramid.storage.folder import Folder, Place
from napari_pyramid.storage.hierarchy import is_array, is_zarr
from napari_pyramid.storage.store_objects import place_of

__all__ = ["create_labels", "place_for_labels"]


def create_labels(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str] | Place | None = None,
    *,
    image: str | None = None,
    dtype: npt.DTypeLike = np.uint32,
    storage_options: Mapping[str, Any] | None = None,
) -> Pyramid:
    """Create an empty label image for the image at `source`, and return it.

    It has the axes, shape, scale, translation and levels of the image, without its channels. No
    chunk is written: the store takes a few kilobytes whatever the size of the image. Coarser levels
    are made with ``ignore_background``, so that what is painted in one plane stays visible.

    Parameters
    ----------
    source
        Path or URL of anything that can be opened.
    destination
        Directory or URL of the new label image; None for `place_for_labels`.
    image
        Name or path of the image, where `source` holds several; None takes the first.
    dtype
        Integer type of the labels.
    storage_options
        Credentials and the like for a URL: see `napari_pyramid.storage.url_options.OPTIONS`.

    Returns
    -------
    Pyramid
        The label image, to be edited with `edit_pyramid`.

    Raises
    ------
    LayoutError
        If nothing can be opened at `source`.
    SpecError
        If the image cannot have labels: it has no axes in space, or the dtype has no integers.
    DestinationError
        If the destination is taken, or cannot be written.
    """
    recover(source)
    images = open_images(source, storage_options=storage_options)
    found = pick_image(images, image, place_of(source))
    place = (
        place_for_labels(source, found, storage_options=storage_options)
        if destination is None
        else open_destination(destination, storage_options)
    )
    if np.dtype(dtype).kind not in "iu":
        raise SpecError(f"labels are integers, not {np.dtype(dtype)}: choose uint32, for example")
    blank, options = _blank_like(found, np.dtype(dtype))
    job = prepare_job(
        Request(source=blank, destination=place, options=options, storage_options=storage_options)
    )
    with closing(Steps(_Creation(job).steps())) as steps:
        for _ in steps:
            pass
        return steps.result


def place_for_labels(
    source: str | os.PathLike[str],
    image: Image,
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> Place:
    """Return a place for the labels of an image at which nothing exists.

    It is ``labels/labels`` in an OME-Zarr image that can be written, else a store beside `source`.

    Raises
    ------
    SpecError
        If `source` is on a web server.
    DestinationError
        If it is in a bucket for which there are no credentials.
    """
    store = _writable_place(source, storage_options)
    group = store / image.path if image.path and is_zarr(store / image.path) else store
    is_group = is_zarr(group) and not is_array(group)
    may_write = isinstance(group, Folder) or os.access(group, os.W_OK)
    if image.is_writable and is_group and may_write:
        places: Iterator[Place] = (group / "labels" / f"labels{n}" for n in _numbers())
    else:
        stem = store.name.removesuffix(".zarr").removesuffix(".ome").partition(".")[0] or "image"
        places = (store.parent / f"{stem}-labels{n}.ome.zarr" for n in _numbers())
    return next(place for place in places if not _is_taken(place))


def _writable_place(source: str | os.PathLike[str], options: Mapping[str, Any] | None) -> Place:
    if (path := disk_path(source)) is not None:
        return Path(os.path.abspath(path))
    if parse_address(os.fspath(source)).is_http:
        raise SpecError(
            f"{place_of(source)} is on a web server, which cannot be written to: give a "
            "destination for the labels"
        )
    place = open_destination(os.fspath(source), options)
    if isinstance(place, Folder) and is_anonymous(place):
        raise DestinationError(
            f"no credentials to write to {place}",
            remedies=[Remedy.CREDENTIALS, Remedy.NEW_NAME],
        )
    return place


def _is_taken(place: Place) -> bool:
    return place.exists() if isinstance(place, Folder) else os.path.lexists(place)


def _numbers() -> Iterator[str]:
    yield ""
    n = 2
    while True:
        yield f"-{n}"
        n += 1


class _Creation(Run):
    """A run that fills nothing: the chunks of its levels are all absent."""

    def _compile(self) -> Iterator[Progress]:
        return iter(())

    def _fill_all(self, journals: Sequence[TileJournal]) -> Iterator[Progress]:
        return iter(())


class _Blank:
    """A stand-in for the pixels, which are not read."""

    fill_value = 0

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], chunks: Any) -> None:
        self.shape, self.dtype, self.chunks, self.ndim = shape, dtype, chunks, len(shape)

    def __getitem__(self, key: Any) -> Any:
        raise NotImplementedError("these pixels are never read")


def _blank_like(image: Image, dtype: np.dtype[Any]) -> tuple[_Blank, SpecOptions]:
    """Return the pixels of the labels of an image, and the options of their spec."""
    arrays = [level.array for level in image.levels]
    ndim = len(arrays[0].shape)
    axes = image.axes or default_axes(ndim - image.rgb)
    kept = [i for i, axis in enumerate(axes) if axis.type != "channel"]
    if len(kept) < 2:
        raise SpecError(f"{image.name!r} has no two axes in space: it cannot have labels")
    level = image.levels[0]
    chunks = getattr(arrays[0], "chunks", None)
    shapes = [tuple(a.shape[i] for i in kept) for a in arrays]
    # What is painted in one plane would be outvoted by the background of its neighbours.
    options = SpecOptions(
        axes=[axes[i] for i in kept], labels=True, shards=None, ignore_background=True
    )
    if level.scale is not None:
        options["scale"] = [level.scale[i] for i in kept]
    if level.translation is not None:
        options["translation"] = [level.translation[i] for i in kept]
    steps = [
        tuple(max(1, round(n / m)) for n, m in zip(fine, coarse, strict=True))
        for fine, coarse in pairwise(shapes)
    ]
    if steps:
        options |= SpecOptions(factors=steps, n_levels=len(shapes))
    blank = _Blank(shapes[0], dtype, chunks and tuple(chunks[i] for i in kept))
    return blank, options
