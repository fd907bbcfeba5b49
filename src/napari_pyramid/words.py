"""Word numbers and sentences of messages and tables: ``3 levels``, ``20×30×40``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["by", "capitalized", "counted"]


def capitalized(text: str) -> str:
    """Return a sentence with a capital letter, unless it begins with a path or a URL."""
    first = text.partition(" ")[0]
    return f"{text[:1].upper()}{text[1:]}" if first.isalpha() else text


def counted(n: int, noun: str) -> str:
    """Return a number with its noun: ``"1 level"``, ``"2,000 levels"``."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


def by(values: Iterable[Any], sign: str = "×") -> str:
    """Return values with a sign between them; floats in at most six digits."""
    return sign.join(f"{v:g}" if isinstance(v, float) else str(v) for v in values)
