"""The spec of a pyramid that is there, so that parts of it can be computed anew by the recipe that it was built with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from napari_pyramid.downsample import method_name
from napari_pyramid.errors import DestinationError, SpecError
from napari_pyramid.in_place import InPlace
from napari_pyramid.layouts._array_metadata import ArrayTemplate
from napari_pyramid.layouts.group_attributes import Attributes, find_multiscale
from napari_pyramid.level import Level
from napari_pyramid.sources import BuildSource
from napari_pyramid.spec import PyramidSpec
from napari_pyramid.targets import open_level

__all__ = ["stored_pyramid"]


def stored_pyramid(source: BuildSource, target: InPlace, spec: PyramidSpec | None, options: Mapping[str, Any]) -> tuple[InPlace, PyramidSpec]:
    """The target with the codec of its levels, and their spec: what `spec` or `options` leave open is as it was built.

    Raises
    ------
    DestinationError
        If there are no levels yet.
    SpecError
        If `spec` or `options` say otherwise than the levels are: other bytes than those of a full build would be mixed in.
    """
    entry = find_multiscale(Attributes(target.directory), target.base, target.series)
    paths = [] if entry is None else [d["path"] for d in entry["datasets"]]
    if entry is None or len(paths) < 2:
        raise DestinationError(f"{target.directory}: there are no levels whose regions could be computed anew: build them first")
    n_levels = len(spec.levels) if spec is not None else options.get("n_levels", len(paths))
    if n_levels != len(paths):
        raise SpecError(f"{target.directory} has {len(paths)} levels, not {n_levels}: leave their number out, or overwrite them all")
    recorded = _recorded(entry)
    if spec is None:
        spec = PyramidSpec.from_array(source.arrays[0], **{**recorded, **options, "n_levels": n_levels})
    for key, asked in (("method", method_name(spec.method)), ("ignore_background", spec.ignore_background)):
        if recorded and recorded.get(key, False) != asked:
            raise SpecError(f"{target.directory} was built with {key} {recorded.get(key, False)}, not {asked}: leave it out, or overwrite all levels")
    asked_chunks = "chunks" in options or "shards" in options
    levels = [_as_stored(target, level, path, asked_chunks=asked_chunks and k > 0) for k, (level, path) in enumerate(zip(spec.levels, paths, strict=True))]
    template = ArrayTemplate.like(target.directory / paths[1], codec=None)
    return replace(target, template=template), replace(spec, levels=tuple(levels))


def _recorded(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Method, factors and the like, as a build records them; empty where another program made the levels."""
    metadata = entry.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("method") != "napari_pyramid.downsample":
        return {}
    kwargs = metadata.get("kwargs")
    return {k: v for k, v in kwargs.items() if k in ("method", "factors", "ignore_background")} if isinstance(kwargs, dict) else {}


def _as_stored(target: InPlace, level: Level, path: str, *, asked_chunks: bool) -> Level:
    stored = open_level(target.directory / path, writable=False)
    found: tuple[Any, ...] = (stored.shape, stored.dtype)
    asked: tuple[Any, ...] = (level.shape, level.dtype)
    if asked_chunks:
        found, asked = (*found, stored.chunks, stored.shards), (*asked, level.chunks, level.shards)
    if found != asked:
        raise SpecError(f"level {path} of {target.directory} is {_told(found)}, not {_told(asked)}: ask for what was built, or overwrite all levels")
    return replace(level, path=path, chunks=stored.chunks, shards=stored.shards)


def _told(geometry: tuple[Any, ...]) -> str:
    return ", ".join(str(part) for part in geometry)
