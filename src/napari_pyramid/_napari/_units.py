"""Convert the units that stores write into units that napari accepts."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

from napari_pyramid.axes import Axis

__all__ = ["fill_units", "napari_unit"]

PIXEL = "pixel"
_SURE = frozenset(
    ("micrometer", "nanometer", "millimeter", "angstrom", "meter", "second", "millisecond", PIXEL)
)
"""Units that napari accepts, so that reading without napari rarely needs to import pint."""


def napari_unit(axis: Axis, where: str) -> str:
    """Return the unit of an axis for napari; an unknown unit becomes pixel, with a warning.

    napari passes units to pint, which fails on unknown units: the whole store would not open.
    """
    unit = axis.unit or PIXEL
    if unit in _SURE or _pint_knows(unit):
        return unit
    warnings.warn(
        f"{where}: unit {unit!r} of axis {axis.name!r} is not known; it is shown in pixels",
        stacklevel=2,
    )
    return PIXEL


def fill_units(stores_axes: Sequence[Sequence[Axis]]) -> list[tuple[Axis, ...]]:
    """Return the axes of the images of one store, with missing units filled in.

    An axis without a unit gets the unit of the first axis of the same name that has one: if layers
    differ (pixel and micrometer), napari warns at every redraw and hides the unit of the scale bar.
    """
    known: dict[str, str] = {}
    for axis in (axis for axes in stores_axes for axis in axes):
        if axis.unit is not None:
            known.setdefault(axis.name, axis.unit)
    return [
        tuple(Axis(a.name, a.type, a.unit or known.get(a.name)) for a in axes)
        for axes in stores_axes
    ]


def _pint_knows(unit: str) -> bool:
    # Words only: pint computes expressions, and "9**9**9" in a store's metadata is a trap.
    if not re.fullmatch(r"[^\W\d]{1,64}", unit):
        return False
    try:
        import pint
    except ImportError:
        return False
    try:
        registry: Any = pint.get_application_registry()  # type: ignore[no-untyped-call]  # pint leaves this one out
        quantity = registry.parse_expression(unit)  # as napari does
    except (pint.errors.PintError, AttributeError, ValueError, TypeError):
        return False
    return hasattr(quantity, "units")  # "nan" is a number
