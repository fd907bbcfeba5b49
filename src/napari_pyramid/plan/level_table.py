"""Show the levels of a plan as lines of text with aligned columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from napari_pyramid.plan.level import Level, format_bytes

__all__ = ["level_table"]


def level_table(levels: Sequence[Level]) -> list[str]:
    """Return a line of names, and one line for each level."""
    rows = [
        ("path", "shape", "factors", "voxel size", "chunks", "shards", "files", "bytes"),
        *map(_row, levels),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(v.ljust(w) for v, w in zip(r, widths, strict=True)).rstrip() for r in rows]


def _row(level: Level) -> tuple[str, ...]:
    def by(values: Iterable[Any]) -> str:
        return " x ".join(str(v) for v in values)

    return (
        level.path,
        by(level.shape),
        by(level.factors),
        by(f"{s:g}" for s in level.scale),
        by(level.chunks),
        by(level.shards) if level.shards else "-",
        f"{level.n_files:,}",
        format_bytes(level.nbytes),
    )
