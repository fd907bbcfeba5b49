"""Write OME-Zarr metadata: new images, added levels, labels and series.

New images are of version 0.4 in zarr v2, and of 0.5 in zarr v3.

Every document is replaced in one step, and every key that is not ours is kept as it was.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from napari_pyramid.axes import Axis
from napari_pyramid.downsample import RESIDUAL_GROUPS
from napari_pyramid.image import Channel
from napari_pyramid.metadata.group import (
    Attributes,
    find_multiscale,
    listed_multiscales,
    named_paths,
)
from napari_pyramid.plan.level import Level
from napari_pyramid.plan.spec import PyramidSpec
from napari_pyramid.storage.folder import Place

__all__ = [
    "ZARR_FORMAT",
    "Description",
    "Version",
    "add_levels",
    "image_attributes",
    "register_label",
    "surplus_paths",
    "write_image",
    "write_series",
]

Version = Literal["0.4", "0.5"]
ZARR_FORMAT: Mapping[str, int] = {"0.4": 2, "0.5": 3}
_DEFAULT_COLORS = ("#FFFFFF",), ("#00FF00", "#FF00FF", "#00FFFF", "#FF0000", "#FFFF00", "#0000FF")


@dataclass(frozen=True, slots=True)
class Description:
    """What is said of an image besides its levels."""

    recipe: Mapping[str, Any]
    """How the levels were made, as recorded in ``multiscales.metadata``.

    Without a method, the levels are kept as they were given.
    """
    channels: tuple[Channel, ...] = ()
    ranges: tuple[tuple[float, float], ...] = ()
    """Lowest and highest pixel of each channel, or of its dtype: ends of the contrast slider."""
    label_colors: Mapping[int, tuple[int, int, int, int]] = field(default_factory=dict)
    label_properties: tuple[Mapping[str, Any], ...] = ()


# ---- a new image


def write_image(
    directory: Place, spec: PyramidSpec, description: Description, version: Version
) -> None:
    """Write the metadata of the group `directory`, which holds all levels of an image."""
    attributes = Attributes.create(directory, ZARR_FORMAT[version])
    attributes.ome.update(image_attributes(spec, description, version))
    attributes.save()


def image_attributes(
    spec: PyramidSpec, description: Description, version: Version
) -> dict[str, Any]:
    """Return ``multiscales``, and ``omero`` or ``image-label``, of one image.

    Source: OME-Zarr 0.4 and 0.5, "multiscales" metadata.
    """
    entry = {
        **({"version": version} if version == "0.4" else {}),
        "name": spec.name,
        "axes": [_axis(a) for a in spec.axes],
        "datasets": [_dataset(level.path, level.scale, level.translation) for level in spec.levels],
        **_provenance(spec, description.recipe),
    }
    out: dict[str, Any] = {"multiscales": [entry, *_residual_entry(entry, spec)]}
    if spec.kind == "labels":
        out["image-label"] = _image_label(description, version)
    elif description.channels:
        out["omero"] = _omero(description, version, spec.name)
    return out


def _residual_entry(entry: Mapping[str, Any], spec: PyramidSpec) -> list[dict[str, Any]]:
    """Return a second multiscale, of the residuals and the base of the first, if there are some.

    The layout is that of zarr-specs issue 50.
    """
    residual = spec.reduction.residual
    if residual is None or not spec.residuals:
        return []
    base, *datasets = entry["datasets"]
    return [
        {
            **entry,
            "name": residual.group,
            "datasets": [
                base,
                *({**d, "path": r.path} for d, r in zip(datasets, spec.residuals, strict=True)),
            ],
            "type": residual.group,
            "metadata": {**entry["metadata"], "description": residual.description},
        }
    ]


def _axis(axis: Axis) -> dict[str, str]:
    return {
        "name": axis.name,
        **({"type": axis.type} if axis.type else {}),
        **({"unit": axis.unit} if axis.unit else {}),
    }


def _dataset(path: str, scale: Sequence[float], translation: Sequence[float]) -> dict[str, Any]:
    transforms: list[dict[str, Any]] = [{"type": "scale", "scale": list(scale)}]
    if any(translation):
        transforms.append({"type": "translation", "translation": list(translation)})
    return {"path": path, "coordinateTransformations": transforms}


def _provenance(spec: PyramidSpec, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``type`` and ``metadata``: the method, version and arguments that made the levels.

    The specification says SHOULD of both.
    """
    arguments = {k: v for k, v in recipe.items() if k != "version"}
    if "method" in recipe:
        named = {"type": spec.reduction.type or recipe["method"]}
        description = (
            "Each level is reduced from the one before, as stored; "
            "integer means are rounded half to even."
        )
        method = "napari_pyramid.downsample"
    else:
        named = (
            {} if spec.reduction.centred else {"type": spec.reduction.name}
        )  # tells readers that nothing is shifted by half a pixel
        description, method = (
            "The levels are kept as they were given; what made them is not known.",
            "napari_pyramid.build_pyramid",
        )
    return {
        **named,
        "metadata": {
            "description": description,
            "method": method,
            "version": recipe["version"],
            "kwargs": arguments,
        },
    }


def _omero(description: Description, version: Version, name: str) -> dict[str, Any]:
    count = len(description.channels)
    colors = _DEFAULT_COLORS[0] if count == 1 else _DEFAULT_COLORS[1]
    channels = []
    for i, channel in enumerate(description.channels):
        entry: dict[str, Any] = {
            "label": channel.name or (name if count == 1 and name else f"Channel {i}"),
            "color": (channel.color or colors[i % len(colors)]).lstrip("#"),
            "active": channel.visible,
            "coefficient": 1,
            "family": "linear",
            "inverted": False,
        }
        if channel.window is not None:
            low, high = channel.window
            bottom, top = description.ranges[i] if i < len(description.ranges) else (low, high)
            entry["window"] = {
                "start": low,
                "end": high,
                "min": min(low, bottom),
                "max": max(high, top),
            }
        channels.append(entry)
    model = (
        "color"
        if count > 1 or description.channels[0].color not in (None, "#FFFFFF")
        else "greyscale"
    )
    return {
        "id": 1,
        "name": name,
        "version": version,
        "channels": channels,
        "rdefs": {"defaultT": 0, "defaultZ": 0, "model": model},
    }


def _image_label(description: Description, version: Version) -> dict[str, Any]:
    out: dict[str, Any] = {"version": version, "source": {"image": "../../"}}
    if description.label_colors:
        out["colors"] = [
            {"label-value": value, "rgba": list(rgba)}
            for value, rgba in sorted(description.label_colors.items())
        ]
    if description.label_properties:
        rows = [dict(row) for row in description.label_properties]
        described = {row.get("label-value") for row in rows}
        # ome-zarr-models refuses properties that lack a value which has a color
        out["properties"] = rows + [
            {"label-value": value}
            for value in sorted(description.label_colors)
            if value not in described
        ]
    return out


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
    entry.update(_provenance(spec, description.recipe))
    listed = attributes.ome["multiscales"]
    listed[:] = [m for m in listed if not any(m is old for old in outdated)] + _residual_entry(
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
    if listed_multiscales(attributes):  # of other arrays, and so is what is said besides
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
    """Paths of the levels of an entry of ``multiscales``, and of their residuals."""
    return [path for m in (entry, *_residuals_of(attributes, entry)) for path in named_paths(m)]


def _residuals_of(attributes: Attributes, entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the entries that `_residual_entry` made of the levels of an entry."""
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
    return _dataset(
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
    listed = attributes.ome.setdefault("labels", [])
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
