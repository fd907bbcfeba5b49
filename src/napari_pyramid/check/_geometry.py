"""Compare the shapes of an image's levels with their scales and translations."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import zarr

from napari_pyramid.check._finding import Finding
from napari_pyramid.half_pixel import centre_shift
from napari_pyramid.image import Image, StoredLevel

__all__ = ["WrongTransforms", "check_geometry", "step_factors", "wrong_transforms"]

_UNSHIFTED = ("stride", "nearest", "pick", "subsample", "decimate", "zoom")
"""Words for methods that keep samples where they are: no half-pixel translation."""
_LARGEST_FACTOR = 1024
"""From one level to the next: beyond, the shapes are no pyramid's."""
_TOLERANCE = 1e-3
"""Of a voxel: writers round their numbers."""


def _has_own_transforms(image: Image) -> bool:
    """Return whether the store gives scale and translation of every level, as OME-Zarr 0.4 does.

    The transforms of a stitched plate are ours.
    """
    version = re.match(r"0\.(\d+)", image.ome_version or "")
    since_0_4 = version is not None and int(version[1]) >= 4
    return since_0_4 and all(isinstance(level.array, zarr.Array) for level in image.levels)


def check_geometry(image: Image, *, repairable: bool) -> Iterator[Finding]:
    """Yield faults in order, shapes, scales and translations of the levels.

    Parameters
    ----------
    repairable
        Whether wrong transforms can be repaired.
    """
    where = image.path
    shapes = [level.array.shape for level in image.levels]
    factors = _total_factors(image)
    if factors is None:
        for (a, n), (b, m) in itertools.pairwise(
            zip((level.path for level in image.levels), shapes, strict=True)
        ):
            if step_factors(n, m) is None:
                yield Finding(
                    where,
                    "",
                    f"level {b!r} of shape {m} is not a reduction by integer factors "
                    f"of level {a!r} of shape {n}",
                )
        return
    if any(n == m for n, m in itertools.pairwise(shapes)):
        yield Finding(where, "", f"levels of equal shape: {', '.join(map(str, shapes))}")
    for wrong in wrong_transforms(image):
        name = wrong.level.path.removeprefix(f"{image.path}/")
        yield Finding(where, f"dataset {name!r}", wrong.message, is_repairable=repairable)


@dataclass(frozen=True, slots=True)
class WrongTransforms:
    """A level whose scale or translation does not follow from level 0, with the right values."""

    level: StoredLevel
    message: str
    scale: tuple[float, ...]
    translation: tuple[float, ...]


def wrong_transforms(image: Image) -> Iterator[WrongTransforms]:
    """Yield the levels whose scale or translation is given, but does not follow from level 0."""
    factors = _total_factors(image)
    if factors is None or not _has_own_transforms(image):
        return
    for level, (scale, translation) in zip(
        image.levels, _expected_transforms(image, factors), strict=True
    ):
        found = level.translation or (0.0,) * len(scale)
        if level.scale is None:
            yield WrongTransforms(level, "no scale", scale, translation)
        elif image.levels[0].scale is None:
            continue  # nothing to compare with
        elif not _close(level.scale, scale, scale):
            yield WrongTransforms(
                level,
                f"scale is {_text(level.scale)}, the shapes say {_text(scale)}",
                scale,
                translation,
            )
        elif not _close(found, translation, scale):
            stated = _text(found) if any(found) else "missing"
            yield WrongTransforms(
                level,
                f"translation is {stated}, half-pixel correct is {_text(translation)}",
                scale,
                translation,
            )


def _expected_transforms(
    image: Image, factors: Sequence[tuple[int, ...]]
) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
    """Return the scale and translation that each level should have, derived from level 0.

    See `centre_shift`; strided samples stay where they were.
    """
    base = image.levels[0].scale or (1.0,) * image.levels[0].array.ndim
    origin = image.levels[0].translation or (0.0,) * len(base)
    method = str(image.metadata.get("type", "")).lower()
    stays = any(word in method for word in _UNSHIFTED)
    scales = [
        _expected_scale(image, base, level, total)
        for level, total in zip(image.levels, factors, strict=True)
    ]
    shifts = [(0.0,) * len(base) if stays else centre_shift(base, scale) for scale in scales]
    return [
        (scale, tuple(t + d for t, d in zip(origin, shift, strict=True)))
        for scale, shift in zip(scales, shifts, strict=True)
    ]


def _expected_scale(
    image: Image, base: Sequence[float], level: StoredLevel, total: Sequence[int]
) -> tuple[float, ...]:
    """Return the scale that a level should have: the scale of level 0 times the integer factors.

    The ratio of the shapes counts instead where the factors do not divide level 0 and the level's
    own scale is that ratio: ome-zarr-py resizes 5 planes to 2 of 2.5 planes each, while other
    writers leave the fifth out, and the shapes are the same.
    """
    full, shape = image.levels[0].array.shape, level.array.shape
    stated = level.scale or (math.nan,) * len(base)
    ratios = [b * n / m for b, n, m in zip(base, full, shape, strict=True)]
    resized = [
        m * f < n and abs(s - r) <= _TOLERANCE * abs(r)
        for n, m, f, s, r in zip(full, shape, total, stated, ratios, strict=True)
    ]
    return tuple(
        r if is_resized else b * f
        for r, is_resized, b, f in zip(ratios, resized, base, total, strict=True)
    )


def _total_factors(image: Image) -> list[tuple[int, ...]] | None:
    """Return the factors of each level relative to level 0, or None if the shapes show none."""
    totals = [(1,) * image.levels[0].array.ndim]
    for above, level in itertools.pairwise(image.levels):
        step = step_factors(above.array.shape, level.array.shape, _stated_factors(above, level))
        if step is None:
            return None
        totals.append(tuple(a * b for a, b in zip(totals[-1], step, strict=True)))
    return totals


def _stated_factors(above: StoredLevel, level: StoredLevel) -> tuple[float, ...] | None:
    if above.scale is None or level.scale is None or 0 in above.scale:
        return None
    return tuple(b / a for a, b in zip(above.scale, level.scale, strict=True))


def step_factors(
    shape: Sequence[int], coarser: Sequence[int], stated: Sequence[float] | None = None
) -> tuple[int, ...] | None:
    """Return the integer factors between two shapes, by rounding up or down, or None.

    Small shapes allow several factors: then the factor from the scales counts, else the factor of
    other axes, else the smallest.
    """
    allowed = [_allowed(n, m) for n, m in zip(shape, coarser, strict=True)]
    if not all(allowed):
        return None
    hints = stated or (math.nan,) * len(allowed)
    unique = [a[0] for a in allowed if len(a) == 1 and a[0] > 1]
    return tuple(
        _choose(a, hint, unique, n) for a, hint, n in zip(allowed, hints, shape, strict=True)
    )


def _allowed(n: int, m: int) -> list[int]:
    """Return the factors f with m = floor(n / f) or m = ceil(n / f)."""
    if not 0 < m <= n:
        return []
    candidates = (
        range(max(1, n // (m + 1)), n // max(m - 1, 1) + 2)
        if n // m < 64
        else range(n // m, n // m + 2)
    )
    return [f for f in candidates if m in (n // f, -(-n // f)) and f <= _LARGEST_FACTOR]


def _choose(allowed: list[int], hint: float, others: list[int], n: int) -> int:
    if n == 1:  # a single plane shows nothing: the scale is believed
        return round(hint) if math.isfinite(hint) and hint >= 1 else 1
    near = [f for f in allowed if abs(f - hint) < _TOLERANCE]
    shared = [f for f in others if f in allowed]
    return (near or shared or allowed)[0]


def _close(found: Sequence[float], expected: Sequence[float], voxel: Sequence[float]) -> bool:
    return len(found) == len(expected) and all(
        abs(a - b) <= _TOLERANCE * abs(v) for a, b, v in zip(found, expected, voxel, strict=True)
    )


def _text(values: Sequence[float]) -> str:
    return ", ".join(f"{v:g}" for v in values)
