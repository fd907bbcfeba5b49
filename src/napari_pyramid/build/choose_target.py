"""Choose the target of a build: a new store, a label image, or the group of level 0."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import cast

from napari_pyramid.build.in_place import Base, InPlace, level_paths
from napari_pyramid.build.new_store import NewStore
from napari_pyramid.build.request import Request
from napari_pyramid.build.source import BuildSource, images_at
from napari_pyramid.build.source_places import place_compared
from napari_pyramid.build.stored_levels import spec_of_stored_levels, template_of_stored_levels
from napari_pyramid.build.targets import Target
from napari_pyramid.errors import DestinationError, Remedy, SpecError
from napari_pyramid.metadata.array import ArrayTemplate
from napari_pyramid.metadata.image_attributes import Version
from napari_pyramid.plan.options import SpecOptions
from napari_pyramid.plan.spec import PyramidSpec
from napari_pyramid.storage.destination import open_destination
from napari_pyramid.storage.folder import Place
from napari_pyramid.storage.hierarchy import is_label_place

__all__ = ["choose_target"]


def choose_target(source: BuildSource, options: SpecOptions, request: Request) -> Target:
    """Return the target, with the spec of the levels that it will hold.

    Parameters
    ----------
    options
        Options of the spec, with what the source knows of itself; not used if `request` has a spec.

    Raises
    ------
    SpecError, LayoutError, DestinationError
        If source, options and destination do not fit each other.
    """
    if request.in_place or request.regions is not None:
        return _in_place(source, options, request)
    if request.destination is None:
        version = request.format or "0.5"
        spec = request.spec or _spec_of(source, options, version)
        return NewStore.planned(spec, version, source)
    destination = open_destination(request.destination, request.storage_options)
    return _new_store(source, options, request, destination)


# ---- in place ----------------------------------------------------------------------------------


def _in_place(source: BuildSource, options: SpecOptions, request: Request) -> InPlace:
    base = Base.of(source, request.series)
    updates = request.regions is not None
    if updates:
        spec = spec_of_stored_levels(source, base, request.spec, options)
        template = template_of_stored_levels(base, spec, spec.codec)
    else:
        spec = _spec_beside(source, base, request.spec, options)
        template = ArrayTemplate.like(base.group / base.path, codec=spec.codec)
    return InPlace.at(base, spec, template, overwrite=request.overwrite, updates=updates)


def _spec_beside(
    source: BuildSource, base: Base, spec: PyramidSpec | None, options: SpecOptions
) -> PyramidSpec:
    """Return the spec of levels beside level 0, named after it, by default with its chunks."""
    level_0 = source.arrays[0]
    if spec is None:
        grid: SpecOptions = {"chunks": level_0.chunks, "shards": level_0.shards}
        spec = PyramidSpec.from_array(level_0, **cast("SpecOptions", {**grid, **options}))
    paths = level_paths(base.path, len(spec.levels), base.series)
    levels = [replace(level, path=path) for level, path in zip(spec.levels, paths, strict=True)]
    levels[0] = replace(levels[0], chunks=tuple(level_0.chunks), shards=level_0.shards)
    return replace(spec, levels=tuple(levels))


# ---- a new store -------------------------------------------------------------------------------


def _new_store(
    source: BuildSource, options: SpecOptions, request: Request, destination: Place
) -> NewStore:
    """Return the new store, its image named after it unless the image has a name."""
    if _is_group_of_level_0(destination, source):
        raise DestinationError(
            f"{destination} is the source", remedies=[Remedy.IN_PLACE, Remedy.NEW_NAME]
        )
    is_label = is_label_place(destination)
    version = _version(request.format, destination) if is_label else request.format or "0.5"
    if is_label:  # with labels=True an averaging method is refused
        of_image = _of_labelled_image(destination, source)
        options = cast("SpecOptions", {**of_image, **options, "labels": True})
    spec = request.spec or _spec_of(source, options, version)
    if is_label and spec.kind != "labels":
        raise SpecError(
            f"{destination} is the place of a label image, but the spec is of an image",
            remedies=[Remedy.LABELS],
        )
    if not spec.name:
        spec = replace(spec, name=_stem(destination))
    return NewStore.at(destination, spec, version, source, overwrite=request.overwrite)


def _version(asked: Version | None, destination: Place) -> Version:
    """Return the version of OME-Zarr of the image that a label image is added to.

    Raises
    ------
    SpecError
        If another version was asked for.
    """
    labels = destination.parent
    fitting: Version = "0.5" if (labels.parent / "zarr.json").is_file() else "0.4"
    if asked not in (None, fitting):
        raise SpecError(
            f"format {asked} does not fit {labels.parent}, whose labels must be {fitting}: "
            "leave the format out"
        )
    return fitting


def _of_labelled_image(destination: Place, source: BuildSource) -> SpecOptions:
    """Return axes and transform of the labelled image, if the label image has its shape.

    The channel axis of the image does not count.
    """
    labels = destination.parent
    image = next((i for i in images_at(labels.parent) if i.kind == "image" and not i.path), None)
    if image is None or image.axes is None or image.levels[0].scale is None:
        return {}
    level = image.levels[0]
    shown = [i for i, a in enumerate(image.axes) if a.type != "channel"]
    if tuple(level.array.shape[i] for i in shown) != tuple(source.arrays[0].shape):
        return {}
    known: SpecOptions = {
        "axes": [image.axes[i] for i in shown],
        "scale": [image.levels[0].scale[i] for i in shown],
    }
    if level.translation is not None:
        known["translation"] = [level.translation[i] for i in shown]
    return known


def _stem(directory: Place) -> str:
    """Return the name of a store without its suffixes."""
    if isinstance(directory, Path):
        directory = Path(os.path.abspath(directory))
    return directory.name.removesuffix(".zarr").removesuffix(".ome")


def _is_group_of_level_0(destination: Place, source: BuildSource) -> bool:
    there = destination.resolve()
    found = (p.resolve() for p in map(place_compared, source.arrays) if p is not None)
    return any(there in (place, place.parent) for place in found)


def _spec_of(source: BuildSource, options: SpecOptions, version: Version) -> PyramidSpec:
    if version == "0.4":  # zarr v2 has no shards
        options = cast("SpecOptions", {"shards": None, **options})
    if len(source.arrays) > 1:
        return PyramidSpec.from_levels(source.arrays, **options)
    return PyramidSpec.from_array(source.arrays[0], **options)
