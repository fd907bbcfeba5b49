"""Features tables as rows of JSON: what pandas and NumPy hold, and what nobody can store."""

from __future__ import annotations

import json
from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from napari_pyramid.errors import SpecError
from napari_pyramid.layer_image.features import label_rows


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("big", "big"),
        (7, 7),
        (True, True),
        (0.5, 0.5),
        (np.uint64(2**63), 2**63),
        (np.float32(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("big"), "big"),
        (float("inf"), "inf"),
        (pd.Timestamp("2026-11-21 17:46"), "2026-11-21T17:46:00"),
        (datetime(2026, 11, 21, 17, 46), "2026-11-21T17:46:00"),
        (date(2026, 11, 21), "2026-11-21"),
        (time(17, 46), "17:46:00"),
        (np.datetime64("2026-11-21T17:46:00", "ns"), "2026-11-21T17:46:00"),
        (np.datetime64("2026-11-21"), "2026-11-21T00:00:00"),
        (pd.Timedelta(seconds=90), "0 days 00:01:30"),
        (timedelta(seconds=90), "0:01:30"),
        (np.timedelta64(90, "s"), "0:01:30"),
        (np.array([1, 2]), [1, 2]),
        ((1.5, "a"), [1.5, "a"]),
        ({"a": np.int8(1)}, {"a": 1}),
    ],
    ids=lambda value: f"{type(value).__name__} {value}",
)
def test_value_is_stored_as(value: Any, stored: Any) -> None:
    table = pd.DataFrame({"index": [3], "x": pd.Series([value], dtype=object)})
    rows = label_rows(table, "nuclei")
    assert rows == [{"label-value": 3, "x": stored}]
    assert type(rows[0]["x"]) is type(stored)
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows


@pytest.mark.parametrize(
    "nothing",
    [
        None,
        float("nan"),
        np.float32("nan"),
        pd.NA,
        pd.NaT,
        np.datetime64("NaT", "s"),
        np.timedelta64("NaT", "s"),
    ],
    ids=repr,
)
def test_nothing_is_left_out(nothing: Any) -> None:
    table = {"index": [3, 4], "x": [nothing, 1]}
    assert label_rows(table, "nuclei") == [{"label-value": 3}, {"label-value": 4, "x": 1}]


def test_rows_are_numbered_without_an_index() -> None:
    """napari takes the row of a label by its number then."""
    assert label_rows(pd.DataFrame({"x": [5.0, 6.0]}), "nuclei") == [
        {"label-value": 0, "x": 5.0},
        {"label-value": 1, "x": 6.0},
    ]


@pytest.mark.parametrize(
    "features",
    [None, {}, pd.DataFrame(), {"index": [1, 2]}],
    ids=["none", "empty", "empty table", "only index"],
)
def test_nothing_to_say_is_no_rows(features: Any) -> None:
    assert label_rows(features, "nuclei") == []


@pytest.mark.parametrize("label", ["one", pd.NA, None, float("nan"), float("inf")], ids=repr)
def test_index_that_is_no_label_is_refused(label: Any) -> None:
    with pytest.raises(SpecError, match=r"'nuclei': column 'index' .* whole number"):
        label_rows({"index": [1, label], "x": [1, 2]}, "nuclei")


@pytest.mark.parametrize(
    "value",
    [1j, np.complex64(1j), np.clongdouble(1j), b"raw", slice(3), pd.Interval(0, 1), [object()]],
    ids=lambda value: type(value).__name__,
)
def test_value_that_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(SpecError, match=r"'nuclei': column 'x' .* cannot be stored"):
        label_rows({"index": [1], "x": [value]}, "nuclei")
