"""Describe the levels of an existing pyramid, to rebuild parts of them by the same recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import zarr

from napari_pyramid.build.in_place import Base
from napari_pyramid.build.source import BuildSource
from napari_pyramid.build.targets import open_level
from napari_pyramid.errors import STORAGE_ERRORS, DestinationError, SpecError, one_line
from napari_pyramid.metadata.array import ArrayTemplate
from napari_pyramid.metadata.group import Attributes, find_multiscale, named_paths
from napari_pyramid.plan.level import Level
from napari_pyramid.plan.options import SpecOptions
from napari_pyramid.plan.spec import PyramidSpec

__all__ = ["recorded_options", "spec_of_stored_levels", "template_of_stored_levels"]


def spec_of_stored_levels(
    source: BuildSource, base: Base, spec: PyramidSpec | None, options: SpecOptions
) -> PyramidSpec:
    """Return the spec of the levels beside `base`: as `spec` or `options` say, else as recorded.

    Raises
    ------
    DestinationError
        If there are no levels yet, or a level that the metadata name cannot be opened.
    SpecError
        If `spec` or `options` contradict the levels, or nothing records how the levels were made:
        bytes that a full build would not write would be mixed in.
    """
    entry = find_multiscale(Attributes(base.group), base.path, base.series)
    paths = [] if entry is None else named_paths(entry)
    if entry is None or len(paths) < 2:
        raise DestinationError(
            f"{base.group}: there are no levels whose regions could be rebuilt: build them first"
        )
    n_levels = len(spec.levels) if spec is not None else options.get("n_levels", len(paths))
    if n_levels != len(paths):
        raise SpecError(
            f"{base.group} has {len(paths)} levels, not {n_levels}: "
            "leave their number out, or overwrite them all"
        )
    recorded = recorded_options(entry)
    if spec is None:
        if not recorded and "method" not in options:
            raise SpecError(
                f"{base.group}: nothing says how its levels were made: "
                "name the method, or overwrite all levels"
            )
        spec = PyramidSpec.from_array(
            source.arrays[0], **{**recorded, **options, "n_levels": n_levels}
        )
    _refuse_other_recipe(base, spec, recorded)
    asked_chunks = "chunks" in options or "shards" in options
    levels = [
        _as_stored(base, level, path, asked_chunks=asked_chunks and k > 0)
        for k, (level, path) in enumerate(zip(spec.levels, paths, strict=True))
    ]
    spec = replace(spec, levels=tuple(levels))
    for residual in spec.residuals:
        _opened(base, residual.path)
    return spec


def _refuse_other_recipe(base: Base, spec: PyramidSpec, recorded: Mapping[str, Any]) -> None:
    for key, asked in (
        ("method", spec.reduction.name),
        ("ignore_background", spec.ignore_background),
    ):
        if recorded and recorded.get(key, False) != asked:
            raise SpecError(
                f"{base.group} was built with {key} {recorded.get(key, False)}, not {asked}: "
                "leave it out, or overwrite all levels"
            )


def template_of_stored_levels(base: Base, spec: PyramidSpec, codec: str | None) -> ArrayTemplate:
    """Return the metadata template of the stored levels.

    Raises
    ------
    SpecError
        If `codec` is another codec than the levels have.
    """
    path = base.group / spec.levels[1].path
    stored, asked = (ArrayTemplate.like(path, codec=c) for c in (None, codec))
    if _compression(asked) != _compression(stored):
        raise SpecError(
            f"{base.group} was built with another codec than {codec}: "
            "leave it out, or overwrite all levels"
        )
    return stored


def _compression(template: ArrayTemplate) -> Any:
    """Return the codecs that a user can choose.

    The codec ``bytes`` is left out: it has several spellings that mean the same.
    """
    if template.zarr_format == 2:
        return template.metadata.get("compressor")
    return [codec for codec in template.metadata["codecs"] if codec["name"] != "bytes"]


def recorded_options(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return method, factors and background as a build has recorded them.

    Empty if another program made the levels, or if they were kept as they were given.
    """
    metadata = entry.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("method") != "napari_pyramid.downsample":
        return {}
    kwargs = metadata.get("kwargs")
    if not isinstance(kwargs, dict) or not {"method", "factors"} <= kwargs.keys():
        return {}
    return {k: v for k, v in kwargs.items() if k in ("method", "factors", "ignore_background")}


def _opened(base: Base, path: str) -> zarr.Array[Any]:
    try:
        array = open_level(base.group / path, writable=False)
        _ = array.chunks, array.shards  # raises if the chunks differ in size
        return array
    except STORAGE_ERRORS as error:
        raise DestinationError(
            f"{base.group / path} is named as a level, but cannot be opened "
            f"({one_line(error)}): overwrite all levels"
        ) from error


def _as_stored(base: Base, level: Level, path: str, *, asked_chunks: bool) -> Level:
    stored = _opened(base, path)
    found: tuple[Any, ...] = (stored.shape, stored.dtype)
    asked: tuple[Any, ...] = (level.shape, level.dtype)
    if asked_chunks:
        found, asked = (*found, stored.chunks, stored.shards), (*asked, level.chunks, level.shards)
    if found != asked:
        raise SpecError(
            f"level {path} of {base.group} is {_listed(found)}, not {_listed(asked)}: "
            "ask for what was built, or overwrite all levels"
        )
    return replace(level, path=path, chunks=stored.chunks, shards=stored.shards)


def _listed(geometry: tuple[Any, ...]) -> str:
    return ", ".join(str(part) for part in geometry)
