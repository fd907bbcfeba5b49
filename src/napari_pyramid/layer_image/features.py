"""The features table of a Labels layer as rows of JSON, which OME-Zarr keeps as label properties."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, time, timedelta
from typing import Any

import numpy as np

from napari_pyramid.errors import SpecError

__all__ = ["label_rows"]


def label_rows(features: Any, name: str) -> list[dict[str, Any]]:
    """Return a row per label with the values that the table has for it.

    The column "index" says which label a row is about. Dates and times become ISO 8601 text,
    durations and infinities the text that Python has for them, arrays lists.

    Parameters
    ----------
    features
        A pandas table, or anything with columns by name; None if there is no table.
    name
        Name of the layer, for messages.

    Raises
    ------
    SpecError
        If "index" does not hold whole numbers, or JSON has nothing like a value.
    """
    if features is None or not len(features):
        return []
    columns = {str(key): list(features[key]) for key in features}
    n = len(next(iter(columns.values())))
    index = columns.pop("index", None) or range(n)
    rows = [{"label-value": _label(value, name)} for value in index]
    for key, values in columns.items():
        for row, value in zip(rows, values, strict=True):
            try:
                plain = _plain(value)
            except TypeError as error:
                raise SpecError(
                    f"{name!r}: column {key!r} of its features holds a {error}, which cannot be "
                    "stored: make it text or numbers"
                ) from None
            if plain is not None:
                row[key] = plain
    return rows if columns else []


def _label(value: Any, name: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise SpecError(
            f"{name!r}: column 'index' of its features holds {value!r}: it must say which label "
            "each row is about, as a whole number"
        ) from None


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; None for a missing value.

    Raises
    ------
    TypeError
        If JSON has nothing like the value; the message is the name of its type.
    """
    if isinstance(
        value, np.datetime64 | np.timedelta64
    ):  # first: NumPy counts the latter among the integers
        return _plain(
            value.astype(f"{value.dtype.kind}8[us]").item()
        )  # of nanoseconds, item() is a bare number
    if isinstance(value, np.integer | np.bool_ | np.str_):
        return value.item()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float | np.floating):
        return None if math.isnan(value) else float(value) if math.isfinite(value) else str(value)
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if _is_missing(value):
        return None
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    raise TypeError(type(value).__name__)


def _is_missing(value: Any) -> bool:
    """Whether it is NaT, which does not equal itself, or NA, which compared with anything is NA."""
    same = value == value
    return same is False or same is value
