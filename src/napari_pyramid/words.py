"""Format numbers, times and sentences for messages and tables: ``3 levels``, ``20×30×40``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["by", "capitalized", "counted", "duration", "shortened"]


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


def duration(seconds: float) -> str:
    """Return a time in words: ``"5 s"``, ``"2 min 05 s"``, ``"3 h 10 min"``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def shortened(text: str, most: int) -> str:
    """Return a text of at most `most` letters, with an ellipsis in its middle if it is longer."""
    if len(text) <= most:
        return text
    head, tail = most // 2, (most - 1) // 2
    return f"{text[:head]}…{text[len(text) - tail :]}"
