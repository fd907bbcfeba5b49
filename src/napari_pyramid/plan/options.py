"""List the options that describe a pyramid as typed keywords, and refuse unknown names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


def refuse_unknown(given: Iterable[str], known: Iterable[str] = ()) -> None:
    """Refuse option names that are not in `SpecOptions`.

    Parameters
    ----------
    given
        Names that a caller used.
    known
        Further names that the called function knows, to find the nearest one.

    Raises
    ------
    TypeError
        If a name is unknown. The message offers the nearest known name.
    """
    options = SpecOptions.__optional_keys__
    for name in given:
        if name in options:
            continue
        near = get_close_matches(name, sorted({*options, *known}), n=1)
        hint = (
            f": did you mean {near[0]!r}?"
            if near
            else f": use one of {', '.join(sorted({*options, *known}))}"
        )
        raise TypeError(f"{name!r} is not an option{hint}")
