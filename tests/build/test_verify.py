"""Levels recomputed from the ones above.

Silence where they are right, the place where they are not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr

from napari_pyramid import SpecError, VerificationError, build_pyramid, iter_build, open_pyramid
from napari_pyramid.build import plan_build
from napari_pyramid.build.job import Job
from napari_pyramid.build.reader import Reader
from napari_pyramid.build.verify import Comparer, Difference
from napari_pyramid.downsample import METHODS, Reduction, reduction_of

DATA = np.random.default_rng(0).integers(0, 900, (45, 61)).astype("uint16")


def found(
    root: Path,
    coarse: str,
    fine: str,
    factors: tuple[int, ...],
    reduction: Reduction,
) -> list[Difference | None]:
    """What comparing all of a stored level says, region by region."""
    above, stored = (
        Reader(zarr.open_array(root / path, mode="r"), check=lambda: None)
        for path in (fine, coarse)
    )
    comparer = Comparer(above, stored, factors, reduction, (7, 9))
    return [comparer.compare(region) for region in comparer.regions()]


def residual_by(factors: tuple[int, ...]) -> Reduction:
    """What makes the residual of a level that was reduced by these factors."""
    residual = reduction_of("laplacian").residual
    assert residual is not None
    return residual.of(factors)


@pytest.mark.parametrize("method", METHODS)
def test_what_was_built_verifies(method: str, tmp_path: Path) -> None:
    root = tmp_path / "x.ome.zarr"
    build_pyramid(DATA, root, method=method, chunks=(8, 8), factors=[(2, 3), (1, 2)], verify=True)
    for k, factors in enumerate([(2, 3), (1, 2)]):
        regions = found(root, str(k + 1), str(k), factors, reduction_of(method))
        assert len(regions) > 1
        assert not any(regions)
    if method == "laplacian":
        assert not any(found(root, "laplacian/1", "1", (1, 1), residual_by((2, 3))))


def test_float_images_with_nan_verify(tmp_path: Path) -> None:
    data = np.where(DATA % 7, DATA / 3, np.nan).astype("float32")
    build_pyramid(data, tmp_path / "x.ome.zarr", factors=2, n_levels=3, verify=True)


@pytest.mark.parametrize("value", [77, float("nan")])
def test_one_wrong_pixel_is_found_and_placed(value: float, tmp_path: Path) -> None:
    root = tmp_path / "x.ome.zarr"
    build_pyramid(DATA.astype("float32") + 1000, root, chunks=(8, 8), factors=2, n_levels=2)
    level = zarr.open_array(root / "1")
    right = level[13, 20]
    level[13, 20] = value
    (difference,) = filter(None, found(root, "1", "0", (2, 2), reduction_of("mean")))
    assert difference.n_pixels == 1
    assert difference.region[0].start <= 13 < difference.region[0].stop
    assert difference.region[1].start <= 20 < difference.region[1].stop
    np.testing.assert_equal(difference.largest, abs(value - right))


def test_a_wrong_residual_is_found(tmp_path: Path) -> None:
    root = tmp_path / "x.ome.zarr"
    build_pyramid(DATA, root, chunks=(8, 8), factors=2, n_levels=2, method="laplacian")
    zarr.open_array(root / "laplacian" / "1")[3, 4] += 1
    (difference,) = filter(None, found(root, "laplacian/1", "1", (1, 1), residual_by((2, 2))))
    assert difference.n_pixels == 1


@pytest.fixture
def spoiled(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes every build from now on write one wrong pixel in a level; in none again for level 0."""
    plain, wrong = Job.filler, 0

    def filler(self: Job, p: Any, *args: Any, **options: Any) -> Any:
        real = plain(self, p, *args, **options)
        fill = real.fill

        def fill_and_spoil(number: int) -> Any:
            done = fill(number)
            if p.first <= wrong <= p.last and wrong:
                self.target.open_level(p.levels[wrong], writable=True)[0, 0] = 12345
            return done

        real.fill = fill_and_spoil
        return real

    def spoil(level: int) -> None:
        nonlocal wrong
        wrong = level

    monkeypatch.setattr(Job, "filler", filler)
    return spoil


def test_a_build_that_does_not_verify_publishes_nothing_and_can_be_run_again(
    tmp_path: Path, spoiled: Callable[[int], None]
) -> None:
    zarr.create_group(tmp_path / "s.zarr").create_array("0", data=DATA, chunks=(64, 64))
    options: dict[str, Any] = {"chunks": (64, 64), "factors": 2, "n_levels": 2, "verify": True}
    spoiled(1)
    with pytest.raises(
        VerificationError,
        match=r"level 1 differs .* in 1 pixels of region \[0:\d+, 0:\d+\], by up to \d+: what was "
        r"built is removed",
    ):
        build_pyramid(tmp_path / "s.zarr", tmp_path / "x.ome.zarr", **options)
    assert [p.name for p in tmp_path.iterdir()] == ["s.zarr"]
    spoiled(0)
    built = build_pyramid(tmp_path / "s.zarr", tmp_path / "x.ome.zarr", **options)
    np.testing.assert_array_equal(built[0][:], DATA)


def test_comparing_is_part_of_the_progress(tmp_path: Path) -> None:
    (plain, *_, last) = iter_build(
        DATA, tmp_path / "x.ome.zarr", chunks=(8, 8), factors=2, n_levels=3, verify=True
    )
    without = plan_build(DATA, chunks=(8, 8), factors=2, n_levels=3).passes
    assert plain.total == last.total == last.done > sum(p.n_tiles for p in without)
    assert last.remaining == 0


def test_what_needs_too_much_memory_to_compare_is_refused(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "s.zarr").create_array(
        "0", shape=(4096, 4096), chunks=(2048, 2048), dtype="uint16"
    )
    options: dict[str, Any] = {
        "in_place": True,
        "chunks": (256, 256),
        "factors": 2,
        "n_levels": 2,
        "max_workers": 1,
    }
    plain, verified = (
        plan_build(tmp_path / "s.zarr", verify=verify, **options).peak_memory
        for verify in (False, True)
    )
    assert plain < verified
    build_pyramid(tmp_path / "s.zarr", memory_limit=verified, verify=True, **options)
    with pytest.raises(
        SpecError, match=r"comparing the levels needs .* of memory, but the limit is"
    ):
        build_pyramid(
            tmp_path / "s.zarr", memory_limit=verified - 1, verify=True, overwrite=True, **options
        )


def test_levels_that_change_when_they_are_stored_are_not_verified(tmp_path: Path) -> None:
    rounded = numcodecs.FixedScaleOffset(offset=0, scale=0.1, dtype="<f4", astype="u1")
    group = zarr.create_group(tmp_path / "s.zarr", zarr_format=2)
    group.create_array("0", shape=(32, 32), chunks=(8, 8), dtype="f4", filters=[rounded])[...] = (
        np.arange(1024).reshape(32, 32)
    )
    with pytest.raises(SpecError, match="change when they are stored"):
        build_pyramid(tmp_path / "s.zarr", in_place=True, n_levels=2, verify=True)


def test_verify_of_an_overwritten_pyramid_looks_at_the_new_one(tmp_path: Path) -> None:
    for method in ("mean", "max"):
        build_pyramid(
            DATA,
            tmp_path / "x.ome.zarr",
            method=method,
            factors=2,
            n_levels=3,
            verify=True,
            overwrite=True,
        )
    largest = (
        np.pad(DATA, [(0, n % 2) for n in DATA.shape], mode="edge")
        .reshape(23, 2, 31, 2)
        .max((1, 3))
    )
    np.testing.assert_array_equal(open_pyramid(tmp_path / "x.ome.zarr")[1][:], largest)


def test_a_small_image_in_place_has_nothing_to_compare(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "s.zarr").create_array("0", data=DATA)
    assert len(build_pyramid(tmp_path / "s.zarr", in_place=True, verify=True)) == 1
