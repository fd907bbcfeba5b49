"""Find the coordinate systems that the transforms of OME-Zarr 0.6 and spatialdata lead to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["as_list", "axes_of_system", "intrinsic_system", "to_one_system"]


def intrinsic_system(multiscale: Mapping[str, Any]) -> str | None:
    """Return the name of the coordinate system that the levels' transforms lead to (0.6), or None.

    It is the system in which the image is shown.
    """
    for dataset in multiscale.get("datasets", ()):
        for transform in as_list(
            dataset.get("coordinateTransformations") if isinstance(dataset, Mapping) else None
        ):
            if (name := _system_name(transform, "output")) is not None:
                return name
    return None


def _system_name(transform: object, side: str) -> str | None:
    """Return the name of the system on one side of a transform.

    The side is an object since 0.6.dev4, and was a string before.
    """
    end = transform.get(side) if isinstance(transform, Mapping) else None
    end = end.get("name") if isinstance(end, Mapping) else end
    return end if isinstance(end, str) and end else None


def axes_of_system(systems: object, name: str | None) -> object:
    """Return the axes of the named coordinate system, or of the first one without that name."""
    known = [s for s in as_list(systems) if isinstance(s, Mapping)]
    system = next((s for s in known if s.get("name") == name), known[0] if known else {})
    return system.get("axes", [])


def to_one_system(transforms: Sequence[object]) -> list[object]:
    """Return the transforms that are applied one after the other.

    spatialdata writes alternatives instead, one for each of its coordinate systems; its default is
    the system "global".
    """
    outputs = [_system_name(t, "output") for t in transforms]
    if None in outputs or len(transforms) == 1:
        return list(transforms)
    return [transforms[outputs.index("global") if "global" in outputs else 0]]


def as_list(value: object) -> list[Any]:
    """Return a value of the metadata if it is a list, else []."""
    return value if isinstance(value, list) else []
