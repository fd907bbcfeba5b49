"""Warn of what is left out or replaced when a store is opened."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from napari_pyramid.errors import LayoutWarning

__all__ = ["brief", "collected_warnings", "warn"]

_collected: ContextVar[list[LayoutWarning] | None] = ContextVar("collected", default=None)


def warn(message: str, category: type[LayoutWarning] = LayoutWarning) -> None:
    """Warn that something in a store is left out or replaced.

    The message is one line that names file and key.
    """
    collected = _collected.get()
    if collected is None:
        warnings.warn(message, category, stacklevel=3)
    else:
        collected.append(category(message))


@contextmanager
def collected_warnings() -> Iterator[list[LayoutWarning]]:
    """Collect the warnings of `warn` in a list within this context, instead of showing them.

    `warnings.catch_warnings` would silence all other threads and all other packages, too.
    """
    collected: list[LayoutWarning] = []
    token = _collected.set(collected)
    try:
        yield collected
    finally:
        _collected.reset(token)


def brief(value: object) -> str:
    """Return a short representation of a value, for messages."""
    text = repr(value) if not isinstance(value, (dict, list)) else type(value).__name__
    return text if len(text) <= 60 else f"{text[:57]}..."
