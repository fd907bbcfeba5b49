"""Check values from JSON metadata: usable numbers, and the objects in a list."""

from __future__ import annotations

from typing import Any, TypeGuard

__all__ = ["is_number", "objects"]

_LARGEST = 1e300
"""Beyond this, products of two numbers overflow."""


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a finite number, and neither a bool nor a huge integer."""
    # An int that float64 cannot hold is compared without converting it; NaN is below nothing.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def objects(values: object) -> list[dict[str, Any]]:
    """Return the dicts in `values` without other items; [] if it is not a list."""
    return [v for v in values if isinstance(v, dict)] if isinstance(values, list) else []
