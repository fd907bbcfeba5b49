"""The estimate of time and disk, from two parts that are built to measure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_pyramid._napari import _estimate
from napari_pyramid._napari._candidates import Candidate
from napari_pyramid._napari._estimate import Estimate
from napari_pyramid._napari._plan import Choice, Plan, Totals
from napari_pyramid._napari._totals import rounded
from napari_pyramid.axes import parse_axes
from napari_pyramid.layer_image import LayerImage

MB = 10**6


def totals(n_bytes: int, n_builds: int = 1) -> Totals:
    return Totals(n_bytes, 10, 100, n_bytes, n_builds)


def test_time_to_begin_is_not_taken_for_time_per_pixel() -> None:
    """Half a second to begin, then 10 MB a second."""
    estimate = Estimate.from_times((5 * MB, 1.0), (25 * MB, 3.0), 0.5)
    seconds, disk = estimate.of(totals(1000 * MB))
    assert seconds == pytest.approx(100.5)
    assert disk == 500 * MB
    assert estimate.of(totals(1000 * MB, 4))[0] == pytest.approx(102)


@pytest.mark.parametrize("short", [2.9, 4.0, 0.01])
def test_noise_never_makes_more_pixels_free_or_dearer_than_measured(short: float) -> None:
    estimate = Estimate.from_times((5 * MB, short), (25 * MB, 3.0), 0.5)
    seconds, _ = estimate.of(totals(250 * MB))
    assert 15 <= seconds <= 30.01
    assert estimate.fixed >= 0


def test_one_part_for_an_image_of_one_chunk() -> None:
    estimate = Estimate.from_times((5 * MB, 1.0), (5 * MB, 1.0), 0.5)
    assert estimate.of(totals(5 * MB))[0] == pytest.approx(1.0)


def test_more_threads_than_the_parts_had_share_the_pixels() -> None:
    estimate = Estimate.from_times((5 * MB, 1.0), (25 * MB, 3.0), 0.5, spread=2)
    assert estimate.of(totals(1000 * MB))[0] == pytest.approx(50.5)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice("x.ome.zarr", verify=True), {"verify": True}),
        (Choice("x.ome.zarr", factors=(1, 2, 2)), {"factors": (1, 2, 2)}),
        (Choice("x.ome.zarr", chunks=(8, 8, 8), shards=(16, 32, 32)), {"shards": (16, 32, 32)}),
        (Choice(None, verify=True, factors=(2, 2, 2)), {"verify": True, "factors": (2, 2, 2)}),
    ],
)
def test_what_takes_time_in_the_build_takes_time_in_its_parts(
    choice: Choice, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = zarr.create_group(tmp_path / "x.zarr").create_array(
        "0", data=np.ones((20, 40, 50), "u2"), chunks=(10, 20, 20)
    )
    image = LayerImage("x", (array,), "image", parse_axes("zyx", 3), (1.0,) * 3, (0.0,) * 3)
    plan = Plan.of(Candidate(image), replace(choice, n_levels=2))
    given: list[dict[str, Any]] = []

    def plan_build(*where: Any, **options: Any) -> Any:
        given.append(options)
        return real(*where, **options)

    real = _estimate.plan_build
    monkeypatch.setattr(_estimate, "plan_build", plan_build)
    assert _estimate.measured(plan).of(Totals.of([plan]))[0] > 0
    assert expected.items() <= given[-1].items()


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.01, 1), (7.4, 7), (12, 10), (58, 60), (100, 90), (1000, 900), (9000, 9000), (8000, 7200)],
)
def test_a_longer_time_is_rounded_more(seconds: float, shown: int) -> None:
    assert rounded(seconds) == shown
