"""Units that napari accepts, from the units that stores write."""

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
"""Known to be fine: spares those who read without napari the import of pint."""


def napari_unit(axis: Axis, where: str) -> str:
    """The unit of an axis as napari takes it; one that pint does not know becomes pixel, with a warning.

    napari hands units to pint, and an unknown one makes the whole store fail to open.
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
    """Axes of the images of one store; those without a unit take that of the first axis of the same name with one.

    Layers that disagree (pixel and micrometer) make napari warn at every redraw and hide the scale bar's unit.
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
