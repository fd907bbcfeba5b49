"""List the options that describe a pyramid as typed keywords, and refuse unknown names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from typing import Literal, TypedDict

from napari_pyramid.axes import Axis
from napari_pyramid.downsample import Method
from napari_pyramid.plan.factors import Factors

__all__ = ["SpecOptions", "refuse_unknown"]


class SpecOptions(TypedDict, total=False):
    """Keywords of `PyramidSpec.from_array`, for ``**options: Unpack[SpecOptions]``."""

    axes: str | Sequence[str | Axis] | None
    scale: Sequence[float] | None
    translation: Sequence[float] | None
    unit: str | Sequence[str | None] | None
    method: Method | None
    factors: Factors | None
    n_levels: int | None
    chunks: Sequence[int] | None
    shards: Sequence[int] | Literal["auto"] | None
    codec: str | None
    labels: bool
    name: str | None
    paths: Sequence[str] | None
    ignore_background: bool


def refuse_unknown(
    given: Iterable[str], known: Collection[str] = SpecOptions.__optional_keys__
) -> None:
    """Refuse option names that are not known.

    Parameters
    ----------
    given
        Names that a caller used.
    known
        Names that the called function takes.

    Raises
    ------
    TypeError
        If a name is unknown. The message offers the nearest known name.
    """
    for name in given:
        if name in known:
            continue
        near = get_close_matches(name, sorted(known), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(sorted(known))}"
        raise TypeError(f"{name!r} is not an option: {hint}")
