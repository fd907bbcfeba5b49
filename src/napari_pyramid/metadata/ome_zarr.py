"""Write OME-Zarr metadata: new images, added levels, labels and series.

New images are of version 0.4 in zarr v2, and of 0.5 in zarr v3.

Every document is replaced in one step, and every key that is not ours is kept as it was.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from napari_pyramid.downsample import RESIDUAL_GROUPS
from napari_pyramid.metadata.group import (
    Attributes,
    find_multiscale,
    listed_multiscales,
    named_paths,
)
from napari_pyramid.metadata.image_attributes import (
    ZARR_FORMAT,
    Description,
    Version,
    dataset_entry,
    image_attributes,
    provenance,
    residual_entry,
)
from napari_pyramid.plan.level import Level
from napari_pyramid.plan.spec import PyramidSpec
from napari_pyramid.storage.folder import Place

__all__ = ["add_levels", "register_label", "surplus_paths", "write_image", "write_series"]

# ---- a new image


def write_image(
    directory: Place, spec: PyramidSpec, description: Description, version: Version
) -> None:
    """Write the metadata of the group `directory`, which holds all levels of an image."""
    attributes = Attributes.create(directory, ZARR_FORMAT[version])
    attributes.ome.update(image_attributes(spec, description, version))
    attributes.save()


# ---- levels added beside level 0


def add_levels(
    directory: Place,
    spec: PyramidSpec,
    description: Description,
    *,
    series: str | None = None,
    staging: Place | None = None,
) -> None:
    """Add the levels after level 0 to the metadata of the group that holds level 0.

    In an OME-Zarr group only ``datasets`` grows, with transforms derived from the transforms of
    level 0 (0.1 to 0.3 have none), and ``type`` and ``metadata`` are set; all else stays. A group
    of plain arrays becomes OME-Zarr 0.4 (zarr v2) or 0.5 (zarr v3).

    Parameters
    ----------
    series
        Name of a second series: the levels become another entry of ``multiscales``, which shares
        level 0.
    staging
        Directory in which the metadata are written first; see `write_json`.

    Raises
    ------
    DestinationError
        If the group's metadata is of a version whose levels cannot be added to.
    """
    attributes = Attributes(directory, staging=staging)
    entry = find_multiscale(attributes, spec.levels[0].path, series)
    if entry is None and find_multiscale(attributes, spec.levels[0].path, None) is None:
        _add_image(attributes, spec, description, series)
        attributes.save()
        return
    if entry is None:
        entry = copy.deepcopy(find_multiscale(attributes, spec.levels[0].path, None)) or {}
        entry["name"] = series
        attributes.ome["multiscales"].append(entry)
    first = next(d for d in entry["datasets"] if d.get("path") == spec.levels[0].path)
    outdated = _residuals_of(attributes, entry)
    entry["datasets"] = [
        first,
        *(_beside(first, spec.levels[0], level) for level in spec.levels[1:]),
    ]
    entry.update(provenance(spec, description.recipe))
    listed = attributes.ome["multiscales"]
    listed[:] = [m for m in listed if not any(m is old for old in outdated)] + residual_entry(
        entry, spec
    )
    attributes.save()


def _add_image(
    attributes: Attributes, spec: PyramidSpec, description: Description, series: str | None
) -> None:
    """Put a new entry of level 0 first in ``multiscales``; entries of other arrays stay.

    A second series gets its own name, and is added last.
    """
    made = image_attributes(spec, description, "0.4" if attributes.zarr_format == 2 else "0.5")
    if series is not None:
        made["multiscales"][0]["name"] = series
    if listed_multiscales(attributes):  # they and all other fields belong to other arrays: kept
        made = {
            **made,
            **attributes.ome,
            "multiscales": [*attributes.ome["multiscales"], *made["multiscales"]],
        }
    attributes.ome.update(made)


def surplus_paths(directory: Place, spec: PyramidSpec, series: str | None = None) -> list[str]:
    """Return the paths of earlier levels and residuals that `add_levels` would not name."""
    attributes = Attributes(directory)
    entry = find_multiscale(attributes, spec.levels[0].path, series)
    if entry is None:
        return []
    replaced = [entry, *_residuals_of(attributes, entry)]
    others = [m for m in listed_multiscales(attributes) if not any(m is r for r in replaced)]
    named = {level.path for level in spec.all_levels} | {
        path for m in others for path in named_paths(m)
    }
    return [path for path in paths_of(attributes, entry) if path not in named]


def paths_of(attributes: Attributes, entry: Mapping[str, Any]) -> list[str]:
    """Return the paths of the levels of an entry of ``multiscales``, and of their residuals."""
    return [path for m in (entry, *_residuals_of(attributes, entry)) for path in named_paths(m)]


def _residuals_of(attributes: Attributes, entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the entries that `residual_entry` made of the levels of an entry."""
    _, *paths = named_paths(entry) or [""]
    return [
        m
        for m in listed_multiscales(attributes)
        if m.get("type") in RESIDUAL_GROUPS
        and paths
        and named_paths(m)[1:] == [f"{m['type']}/{path}" for path in paths]
    ]


def _beside(first: Mapping[str, Any], base: Level, level: Level) -> dict[str, Any]:
    transforms = first.get("coordinateTransformations")
    if transforms is None:
        return {"path": level.path}
    scale, translation = [1.0] * len(base.shape), [0.0] * len(base.shape)
    for t in transforms:  # in list order, as OME-Zarr 0.4 says
        if t.get("type") == "scale":
            scale = [a * b for a, b in zip(scale, t["scale"], strict=True)]
            translation = [a * b for a, b in zip(translation, t["scale"], strict=True)]
        elif t.get("type") == "translation":
            translation = [a + b for a, b in zip(translation, t["translation"], strict=True)]
    coarse = [s * f for s, f in zip(scale, level.total_factors, strict=True)]
    shifts = [
        (t - o) / b for t, o, b in zip(level.translation, base.translation, base.scale, strict=True)
    ]
    return dataset_entry(
        level.path, coarse, [t + n * s for t, n, s in zip(translation, shifts, scale, strict=True)]
    )


# ---- groups above images


def register_label(
    labels: Place, name: str, version: Version, *, staging: Place | None = None
) -> None:
    """List the label image `name` in the group `labels`, which is created if it does not exist.

    Parameters
    ----------
    staging
        Directory in which the metadata are written first; see `write_json`.
    """
    attributes = Attributes.create(labels, ZARR_FORMAT[version], staging=staging)
    listed = attributes.ome.get("labels")
    if not isinstance(listed, list):  # other programs may have put anything there
        listed = attributes.ome["labels"] = []
    if name not in listed:
        listed.append(name)
    attributes.save()


def write_series(path: Place, names: Sequence[str], version: Version = "0.5") -> None:
    """Make `path` a collection of the images in its groups `names`, in this order.

    Source: OME-Zarr, "bioformats2raw.layout" 3.

    Readers that know the transitional layout of bioformats2raw show all of them.
    """
    zarr_format = ZARR_FORMAT[version]
    series = Attributes.create(path / "OME", zarr_format)
    series.ome["series"] = list(names)
    series.save()
    root = Attributes.create(path, zarr_format)
    root.ome["bioformats2raw.layout"] = 3
    root.save()
