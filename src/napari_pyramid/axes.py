"""Describe the axes of an image by name, type and unit, and parse what people write for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from napari_pyramid.errors import SpecError

__all__ = ["Axis", "clean_unit", "default_axes", "ome_order", "parse_axes"]

_TYPE_OF_NAME = {"t": "time", "time": "time", "c": "channel", "channel": "channel"}
_DEFAULT_NAMES = "tczyx"
_RANK = {"time": 0, "channel": 1}
_UNITS = {
    # the spellings people and instruments write -> the names OME-Zarr uses (UDUNITS-2)
    **dict.fromkeys(
        ("um", "µm", "μm", "micron", "microns", "micrometre", "micrometers"), "micrometer"
    ),
    **dict.fromkeys(("nm", "nanometre", "nanometers"), "nanometer"),
    **dict.fromkeys(("mm", "millimetre", "millimeters"), "millimeter"),
    **dict.fromkeys(("cm", "centimetre", "centimeters"), "centimeter"),
    **dict.fromkeys(("m", "metre", "meters"), "meter"),
    **dict.fromkeys(("pm", "picometre", "picometers"), "picometer"),
    **dict.fromkeys(("Å", "\u212b", "A", "angstroms"), "angstrom"),
    **dict.fromkeys(("s", "sec", "secs", "seconds"), "second"),
    **dict.fromkeys(("ms", "msec", "milliseconds"), "millisecond"),
    **dict.fromkeys(("us", "µs", "μs", "microseconds"), "microsecond"),
    **dict.fromkeys(("min", "minutes"), "minute"),
    **dict.fromkeys(("h", "hr", "hours"), "hour"),
    **dict.fromkeys(("px", "pixels", "voxel", "voxels", "", "unit", "none", "None"), None),
    "pixel": None,
}


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of an image."""

    name: str
    type: str | None = "space"
    """``"space"``, ``"time"``, ``"channel"``, another word of the store's, or None."""
    unit: str | None = None
    """A unit name of OME-Zarr (``"micrometer"``), or None for pixels."""

    @classmethod
    def named(cls, name: str, unit: str | None = None) -> Axis:
        """Return an axis of the type that its name implies: t is time, c is channel, else space."""
        return cls(name, _TYPE_OF_NAME.get(name.lower(), "space"), clean_unit(unit))

    @property
    def is_spatial(self) -> bool:
        """Whether the axis is an axis of space."""
        return self.type == "space"


def clean_unit(unit: str | None) -> str | None:
    """Return the OME-Zarr name of a unit; None stays None, and unknown words stay as they are."""
    if unit is None:
        return None
    return _UNITS.get(unit.strip(), unit.strip())


def default_axes(ndim: int) -> tuple[Axis, ...]:
    """Return the trailing `ndim` axes of t, c, z, y, x; t, z, y, x for 4-D.

    Beyond five axes the leading ones are named ``dim_0``, ``dim_1``, ... and have no type.
    """
    names = "tzyx" if ndim == 4 else _DEFAULT_NAMES[-min(ndim, 5) :] if ndim else ""
    extra = tuple(Axis(f"dim_{i}", None) for i in range(ndim - len(names)))
    return extra + tuple(Axis.named(n) for n in names)


def parse_axes(
    axes: str | Iterable[str | Axis] | None,
    ndim: int,
    units: str | Sequence[str | None] | None = None,
) -> tuple[Axis, ...]:
    """Return axes from ``"zyx"``, ``"time,y,x"``, ``["t", "y", "x"]`` or `Axis` objects.

    Parameters
    ----------
    axes
        One entry per array axis; None means `default_axes`.
    ndim
        Number of axes of the array.
    units
        One unit for all spatial axes, or one per axis (None for no unit). Left out, `Axis` objects
        keep theirs.

    Raises
    ------
    SpecError
        If the number of names or units is not `ndim`, or a name is empty or given twice.
    """
    parsed = (
        default_axes(ndim)
        if axes is None
        else tuple(a if isinstance(a, Axis) else Axis.named(a.strip()) for a in _split(axes))
    )
    names = [a.name for a in parsed]
    if len(parsed) != ndim:
        raise SpecError(
            f"axes {','.join(names)!r} names {len(parsed)} axes, but the array has {ndim}: "
            "give one name per array axis"
        )
    if len({n.lower() for n in names}) != ndim or not all(names):
        raise SpecError(
            f"axes {','.join(names)!r} must be different, non-empty names, one per array axis"
        )
    if units is None:
        return parsed
    per_axis = (
        [units if a.is_spatial else a.unit for a in parsed]
        if isinstance(units, str)
        else list(units)
    )
    if len(per_axis) != ndim:
        raise SpecError(
            f"{len(per_axis)} units for {ndim} axes {','.join(names)!r}: "
            "give one per axis, or one for all spatial axes"
        )
    return tuple(Axis(a.name, a.type, clean_unit(u)) for a, u in zip(parsed, per_axis, strict=True))


def ome_order(axes: Sequence[Axis]) -> tuple[int, ...]:
    """Return the positions of the axes in the order that OME-Zarr asks for.

    Time first, then the channel, then all others in the order that they have (OME-Zarr 0.5,
    "axes" metadata).
    """
    return tuple(sorted(range(len(axes)), key=lambda i: _RANK.get(axes[i].type or "", 2)))


def _split(axes: str | Iterable[str | Axis]) -> Iterable[str | Axis]:
    if isinstance(axes, str):
        return axes.split(",") if "," in axes else list(axes)
    return axes
