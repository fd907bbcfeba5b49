"""Check, join and sort the paths of groups and arrays in a store."""

from __future__ import annotations

import re

__all__ = ["UNSAFE_PATH", "as_path", "is_in", "join", "natural_key"]

UNSAFE_PATH = re.compile(r"^$|^/|^[A-Za-z]:|://|\\|(^|/)\.{1,2}(/|$)|\0")
"""Paths that leave the store or name the node itself.

Empty, absolute, with a drive, a URL, with a backslash, or with "." or "..".
"""


def join(path: str, name: str) -> str:
    """Return the path of `name` below `path`, which is "" for the root."""
    return f"{path}/{name}" if path else name


def is_in(inner: str, outer: str) -> bool:
    """Return whether `inner` is the folder `outer`, or below it."""
    return f"{inner}/".startswith(f"{outer.rstrip('/')}/")


def as_path(value: object) -> object:
    """Return a non-negative integer as a string, and any other value unchanged.

    Some writers give paths such as 0 as numbers.
    """
    is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return str(value) if is_number else value


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key that puts "level_10" after "level_9"."""
    return tuple(
        (0, int(part), "") if part.isdecimal() else (1, 0, part)
        for part in re.split(r"(\d+)", name)
        if part
    )
