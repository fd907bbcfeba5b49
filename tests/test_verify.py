"""Levels recomputed from the ones above: silence where they are right, the place where they are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_pyramid import PyramidError, build_pyramid, open_pyramid
from napari_pyramid.jobs import Job
from napari_pyramid.verify import block_of, differences

DATA = np.random.default_rng(0).integers(0, 900, (45, 61)).astype("uint16")


@pytest.mark.parametrize("method", ["mean", "median", "mode", "min", "max", "stride", "gaussian"])
def test_what_was_built_verifies(method: str, tmp_path: Path) -> None:
    built = build_pyramid(DATA, tmp_path / "x.ome.zarr", method=method, chunks=(8, 8), factors=[(2, 3), (1, 2)], verify=True)
    for fine, coarse, factors in [(built[0], built[1], (2, 3)), (built[1], built[2], (1, 2))]:
        found = list(differences(fine, coarse, factors, method))
        assert found
        assert not any(found)


def test_float_images_with_nan_verify(tmp_path: Path) -> None:
    data = np.where(DATA % 7, DATA / 3, np.nan).astype("float32")
    build_pyramid(data, tmp_path / "x.ome.zarr", factors=2, n_levels=3, verify=True)


@pytest.mark.parametrize("value", [77, float("nan")])
def test_one_wrong_pixel_is_found_and_placed(value: float, tmp_path: Path) -> None:
    data = DATA.astype("float32") + 1000
    build_pyramid(data, tmp_path / "x.ome.zarr", chunks=(8, 8), factors=2, n_levels=2)
    levels = [zarr.open_array(tmp_path / "x.ome.zarr" / str(k)) for k in range(2)]
    right = levels[1][13, 20]
    levels[1][13, 20] = value
    (found,) = [d for d in differences(*levels, (2, 2), "mean") if d is not None]
    assert found.n_pixels == 1
    assert found.region[0].start <= 13 < found.region[0].stop
    assert found.region[1].start <= 20 < found.region[1].stop
    np.testing.assert_equal(found.largest, abs(value - right))


def test_only_given_regions_are_compared(tmp_path: Path) -> None:
    build_pyramid(DATA, tmp_path / "x.ome.zarr", chunks=(8, 8), factors=2, n_levels=2)
    levels = [zarr.open_array(tmp_path / "x.ome.zarr" / str(k)) for k in range(2)]
    levels[1][0, 0] += 1
    assert list(differences(*levels, (2, 2), "mean", regions=iter([(slice(8, 16), slice(0, 8))]))) == [None]


def test_blocks_are_whole_chunks(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "a", shape=(100, 5000, 5000), chunks=(7, 100, 100), dtype="u1")
    block = block_of(array)
    assert all(b % c == 0 for b, c in zip(block, array.chunks, strict=True))


def test_a_build_that_does_not_verify_publishes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Job.filler

    def spoiling(self: Job, p: Any, *args: Any, **options: Any) -> Any:
        filler = plain(self, p, *args, **options)
        fill = filler.fill

        def spoiled(number: int) -> Any:
            found = fill(number)
            if p.last == len(self.spec.levels) - 1:
                zarr.open_array(self.level_directory(p.last))[0, 0] = 12345
            return found

        filler.fill = spoiled
        return filler

    monkeypatch.setattr(Job, "filler", spoiling)
    with pytest.raises(PyramidError, match=r"level 1 differs from the level above in 1 pixels of region \[0:\d+, 0:\d+\]; build it again"):
        build_pyramid(DATA, tmp_path / "x.ome.zarr", chunks=(64, 64), factors=2, n_levels=2, verify=True)
    assert list(tmp_path.iterdir()) == []


def test_verify_of_an_overwritten_pyramid_looks_at_the_new_one(tmp_path: Path) -> None:
    for method in ("mean", "max"):
        build_pyramid(DATA, tmp_path / "x.ome.zarr", method=method, factors=2, n_levels=3, verify=True, overwrite=True)
    assert open_pyramid(tmp_path / "x.ome.zarr")[1].shape == (23, 31)
