"""Recognise basic indexes, and complete them to one integer or slice per axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["is_basic", "out_of_bounds", "written_out"]


def is_basic(key: Any) -> bool:
    """Return whether an index has only integers, slices and Ellipses.

    A bool is an integer to Python, but a mask to NumPy, and so not basic.
    """
    return all(
        not isinstance(k, bool | np.bool_)
        and (isinstance(k, slice | int | np.integer) or k is Ellipsis)
        for k in (key if isinstance(key, tuple) else (key,))
    )


def written_out(key: Any, ndim: int) -> list[Any]:
    """Return one index per axis, with the Ellipsis and missing trailing indexes as full slices.

    Parameters
    ----------
    key
        The index in the brackets: one index, or a tuple of indexes.
    ndim
        Number of axes that are indexed.

    Raises
    ------
    IndexError
        If there are more indexes than axes, or two Ellipses.
    """
    keys = list(key) if isinstance(key, tuple) else [key]
    # Not keys.count or keys.index: they would compare arrays, element by element.
    at = [i for i, k in enumerate(keys) if k is Ellipsis]
    if len(at) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    missing = ndim - (len(keys) - len(at))
    if missing < 0:
        raise IndexError(
            f"too many indices: the array has {ndim} axes, but {ndim - missing} were indexed"
        )
    split = at[0] if at else len(keys)
    return keys[:split] + [slice(None)] * missing + keys[split + len(at) :]


def out_of_bounds(key: Any, shape: Sequence[int]) -> IndexError:
    """Return the error for a basic index that an array of `shape` does not have."""
    keys = key if isinstance(key, tuple) else (key,)
    words = ", ".join(_in_words(k) for k in keys)
    return IndexError(f"index [{words}] is out of bounds for an array of shape {tuple(shape)}")


def _in_words(index: Any) -> str:
    if isinstance(index, slice):
        parts = [index.start, index.stop, *([] if index.step is None else [index.step])]
        return ":".join("" if p is None else str(p) for p in parts)
    return "..." if index is Ellipsis else str(index)
