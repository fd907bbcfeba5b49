"""Find out whether stored levels can be edited, and how they were made."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import ZipStore

from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.arrays.virtual import Cast
from napari_pyramid.arrays.virtual_level import unwrapped_array
from napari_pyramid.build.stored_levels import recorded_options
from napari_pyramid.downsample import Reduction, reduction_of
from napari_pyramid.downsample.methods import Method
from napari_pyramid.errors import DestinationError, Remedy, SpecError
from napari_pyramid.metadata.group import Attributes, listed_multiscales
from napari_pyramid.storage.chunk_places import inner_store
from napari_pyramid.storage.destination import is_anonymous, place_of_array
from napari_pyramid.storage.folder import Folder, Place, path_below
from napari_pyramid.storage.n5_store import N5Store
from napari_pyramid.storage.remote_store import RemoteStore
from napari_pyramid.storage.remote_zip import RemoteZipStore

__all__ = [
    "editable_array",
    "editable_places",
    "factors_between",
    "recorded_of",
    "recorded_steps",
    "reduction_for",
    "refuse_unwritable_directory",
]


def editable_array(level: Any) -> zarr.Array[Any]:
    """Return the zarr array that a level shows.

    Raises
    ------
    DestinationError
        If the level is anything else.
    """
    array = level
    while isinstance(array, LazyArray | Cast):
        array = unwrapped_array(array.source) if isinstance(array, LazyArray) else array.array
    if not isinstance(array, zarr.Array):
        raise _refusal(array)
    return array


def editable_places(arrays: Sequence[zarr.Array[Any]]) -> list[Place]:
    """Return the places of the arrays of all levels, at which their chunks can be replaced.

    Raises
    ------
    DestinationError
        If a level can not be written, or if the levels are in several stores.
    """
    places = [_editable_place(array) for array in arrays]
    first = places[0]
    if not isinstance(first, Folder):
        return places
    if not all(isinstance(p, Folder) and p.objects == first.objects for p in places):
        raise DestinationError(
            f"the levels of {first.parent} are not in one store: build a pyramid of them first"
        )
    # One connection for all of them.
    return [Folder(first.objects, place.path) for place in places if isinstance(place, Folder)]


def _editable_place(array: zarr.Array[Any]) -> Place:
    store = inner_store(array.store)
    on_web = isinstance(store, RemoteStore) and store.address.is_http
    place = None if on_web or isinstance(store, ZipStore) else place_of_array(array)
    if place is None:
        raise _refusal(array)
    if isinstance(place, Folder):
        if is_anonymous(place):
            raise DestinationError(
                f"no credentials to write to {place}", remedies=[Remedy.CREDENTIALS]
            )
        return place
    place = Path(os.path.abspath(place))
    refuse_unwritable_directory(place)
    return place


def _refusal(array: Any) -> DestinationError:
    return DestinationError(
        f"{_in_words(array)} cannot be edited: build a pyramid in a local folder or a bucket "
        "first, and edit that"
    )


def _in_words(array: Any) -> str:
    """Return what an array that cannot be written is."""
    if not isinstance(array, zarr.Array):
        return "an image that is not stored as one zarr array"
    store = array.store
    inner = inner_store(store)
    if isinstance(inner, RemoteStore) and inner.address.is_http:
        return "a store on a web server"
    if isinstance(store, N5Store):
        return "an N5 store"
    if isinstance(inner, ZipStore | RemoteZipStore):
        return "a store in a zip file"
    return f"an array in a {type(store).__name__}"


def refuse_unwritable_directory(directory: Path) -> None:
    """Raise if a directory cannot be written.

    Raises
    ------
    DestinationError
        If there is no permission.
    """
    if not os.access(directory, os.W_OK):
        raise DestinationError(
            f"{directory}: no permission to write: change its permissions, or build a pyramid in a "
            "folder of your own and edit that",
        )


def recorded_of(group: Place | None, level_0: Place) -> Mapping[str, Any]:
    """Return method, factors and background as a build has recorded them; empty if it has not."""
    if group is None:
        return {}
    path = path_below(group, level_0)
    entries = (
        entry
        for entry in listed_multiscales(Attributes(group))
        if any(isinstance(d, dict) and d.get("path") == path for d in entry["datasets"])
    )
    return recorded_options(next(entries, {}))


def reduction_for(recorded: Mapping[str, Any], method: Method | None, labels: bool) -> Reduction:
    """Return the method that coarser levels are made with.

    Raises
    ------
    SpecError
        If nothing says which one it is, it is not the recorded one, or it stores residuals.
    """
    known = recorded.get("method")
    if method is None and known is None and not labels:
        raise SpecError("nothing says how the levels were made: name the method")
    chosen = reduction_of(
        method if method is not None else known or "mode",
        ignore_background=bool(recorded.get("ignore_background")),
    )
    if known is not None and chosen.name != known:
        raise SpecError(f"the levels were made with method {known}, not {chosen.name}")
    if chosen.residual is not None:
        raise SpecError(
            f"levels of method {chosen.name} cannot be edited, since they have residuals: "
            "build them again"
        )
    return chosen


def recorded_steps(
    recorded: Mapping[str, Any], arrays: Sequence[zarr.Array[Any]]
) -> list[tuple[int, ...]] | None:
    """Return the recorded factors if they fit the shapes of the levels, else None."""
    steps = [tuple(step) for step in recorded.get("factors") or ()]
    fits = len(steps) == len(arrays) - 1 and all(
        tuple(-(-n // f) for n, f in zip(fine.shape, step, strict=True)) == coarse.shape
        for step, (fine, coarse) in zip(steps, pairwise(arrays), strict=True)
    )
    return steps if fits else None


def factors_between(fine: Sequence[int], coarse: Sequence[int]) -> tuple[int, ...]:
    """Return the factors between two levels, whose lengths may be rounded up or down.

    Raises
    ------
    SpecError
        If no whole factors give the lengths.
    """
    factors = []
    for n, m in zip(fine, coarse, strict=True):
        ratio = n / m
        fitting = (
            f
            for f in (round(ratio), int(ratio), int(ratio) + 1)
            if f >= 1 and m in (-(-n // f), n // f)
        )
        factor = next(fitting, None)
        if factor is None:
            raise SpecError(
                f"a level of shape {tuple(coarse)} does not follow from one of shape "
                f"{tuple(fine)} by whole factors: build the levels again"
            )
        factors.append(factor)
    return tuple(factors)
