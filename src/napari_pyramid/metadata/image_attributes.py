"""Make the OME-Zarr attributes of an image: multiscales, channels, colours of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from napari_pyramid.axes import Axis
from napari_pyramid.image import Channel
from napari_pyramid.plan.spec import PyramidSpec

__all__ = [
    "ZARR_FORMAT",
    "Description",
    "Version",
    "dataset_entry",
    "image_attributes",
    "provenance",
    "residual_entry",
]

Version = Literal["0.4", "0.5"]
ZARR_FORMAT: Mapping[str, int] = {"0.4": 2, "0.5": 3}
_DEFAULT_COLORS = ("#FFFFFF",), ("#00FF00", "#FF00FF", "#00FFFF", "#FF0000", "#FFFF00", "#0000FF")


@dataclass(frozen=True, slots=True)
class Description:
    """Metadata of an image besides its levels: recipe, channels, colours of labels."""

    recipe: Mapping[str, Any]
    """How the levels were made, as recorded in ``multiscales.metadata``.

    Without a method, the levels are kept as they were given.
    """
    channels: tuple[Channel, ...] = ()
    ranges: tuple[tuple[float, float], ...] = ()
    """Lowest and highest pixel of each channel, or of its dtype: ends of the contrast slider."""
    label_colors: Mapping[int, tuple[int, int, int, int]] = field(default_factory=dict)
    label_properties: tuple[Mapping[str, Any], ...] = ()


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
        "datasets": [
            dataset_entry(level.path, level.scale, level.translation) for level in spec.levels
        ],
        **provenance(spec, description.recipe),
    }
    out: dict[str, Any] = {"multiscales": [entry, *residual_entry(entry, spec)]}
    if spec.kind == "labels":
        out["image-label"] = _image_label(description, version)
    elif description.channels:
        out["omero"] = _omero(description, version, spec.name)
    return out


def residual_entry(entry: Mapping[str, Any], spec: PyramidSpec) -> list[dict[str, Any]]:
    """Return a second multiscale, of the residuals and the base of the first, if there are some.

    Source of the layout: zarr-specs issue 50.
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


def dataset_entry(
    path: str, scale: Sequence[float], translation: Sequence[float]
) -> dict[str, Any]:
    """Return the entry of a level in ``datasets``."""
    transforms: list[dict[str, Any]] = [{"type": "scale", "scale": list(scale)}]
    if any(translation):
        transforms.append({"type": "translation", "translation": list(translation)})
    return {"path": path, "coordinateTransformations": transforms}


def provenance(spec: PyramidSpec, recipe: Mapping[str, Any]) -> dict[str, Any]:
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
