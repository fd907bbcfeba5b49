"""Parse what a user writes into the lines of the form: numbers for each axis, bytes. No Qt."""

from __future__ import annotations

import re

from napari_pyramid.errors import SpecError
from napari_pyramid.plan.level import parse_bytes

__all__ = ["in_bytes", "numbers", "whole_numbers"]

_BETWEEN = re.compile(r"[\s,;×x]+")
"""Separators of numbers: 2, 0.5, 0.5 or 64×128×128."""


def whole_numbers(what: str, text: str) -> tuple[int, ...]:
    """Return the whole numbers in a text, one for each axis.

    Raises
    ------
    SpecError
        If something else is written there.
    """
    parts = _parts(text)
    if not all(part.isdecimal() for part in parts):
        raise SpecError(
            f"{what} {text!r} are not whole numbers: write one per axis, such as 64, 128, 128"
        )
    return tuple(int(part) for part in parts)


def numbers(what: str, text: str) -> tuple[float, ...]:
    """Return the numbers in a text, one for each axis, with a point before decimals.

    Raises
    ------
    SpecError
        If something else is written there.
    """
    try:
        return tuple(float(part) for part in _parts(text))
    except ValueError:
        raise SpecError(
            f"{what} {text!r} is not made of numbers: write one per axis, such as 2, 0.5, 0.5"
        ) from None


def in_bytes(text: str) -> int:
    """Return the bytes that a text such as ``"2 GB"`` stands for.

    Raises
    ------
    SpecError
        If it is no number of bytes.
    """
    try:
        return parse_bytes(text)
    except ValueError:
        raise SpecError(f"memory {text!r} is not a size: write 500 MB, 2 GB or 1.5 GiB") from None


def _parts(text: str) -> list[str]:
    return [part for part in _BETWEEN.split(text.strip()) if part]
