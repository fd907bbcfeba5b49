"""Show the levels of a plan as lines of text with aligned columns."""

from __future__ import annotations

from collections.abc import Sequence

from napari_pyramid.plan.level import Level, format_bytes
from napari_pyramid.words import by

__all__ = ["level_table"]

_SIGN = " x "
"""Between numbers: a terminal may not have ×."""


def level_table(levels: Sequence[Level]) -> list[str]:
    """Return a line of names, and one line for each level."""
    rows = [
        ("path", "shape", "factors", "voxel size", "chunks", "shards", "files", "bytes"),
        *map(_row, levels),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(v.ljust(w) for v, w in zip(r, widths, strict=True)).rstrip() for r in rows]


def _row(level: Level) -> tuple[str, ...]:
    return (
        level.path,
        by(level.shape, _SIGN),
        by(level.factors, _SIGN),
        by(level.scale, _SIGN),
        by(level.chunks, _SIGN),
        by(level.shards, _SIGN) if level.shards else "-",
        f"{level.n_files:,}",
        format_bytes(level.nbytes),
    )
