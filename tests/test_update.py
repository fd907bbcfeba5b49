"""Rebuilding only what depends on given regions of level 0: the same bytes as a full build, and nothing else written."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_pyramid import build_pyramid, iter_build

SHAPE = (18, 50, 61)
OPTIONS: dict[str, Any] = {"n_levels": 3, "factors": 2}


def digest(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(root.rglob("*")) if p.is_file()}


def make(path: Path, method: str, **options: Any) -> None:
    data = np.random.default_rng(0).integers(0, 99, SHAPE).astype("uint16")
    data[:, :20] = 0
    zarr.create_group(path).create_array("0", data=data, chunks=(8, 8, 8), **options)
    build_pyramid(path, in_place=True, method=method, **OPTIONS)


def edit(path: Path, region: tuple[slice, ...], value: int) -> None:
    zarr.open_array(path / "0")[region] = value


@pytest.fixture(scope="module")
def built(tmp_path_factory: Any) -> Any:
    kept: dict[str, Path] = {}

    def get(method: str) -> Path:
        if method not in kept:
            kept[method] = tmp_path_factory.mktemp(method) / "x.zarr"
            make(kept[method], method)
        return kept[method]

    return get


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data(), method=st.sampled_from(["mean", "mode", "max", "stride", "gaussian"]), value=st.sampled_from([0, 7]))
def test_the_same_bytes_as_a_full_build(data: st.DataObject, method: str, value: int, built: Any, tmp_path_factory: Any) -> None:
    starts = [data.draw(st.integers(0, n - 1)) for n in SHAPE]
    region = tuple(slice(a, data.draw(st.integers(a + 1, n))) for a, n in zip(starts, SHAPE, strict=True))
    tmp = tmp_path_factory.mktemp("edit")
    for name in ("some", "all"):
        shutil.copytree(built(method), tmp / name / "x.zarr")
        edit(tmp / name / "x.zarr", region, value)
    build_pyramid(tmp / "some" / "x.zarr", in_place=True, method=method, regions=[region], **OPTIONS)
    build_pyramid(tmp / "all" / "x.zarr", in_place=True, method=method, overwrite=True, **OPTIONS)
    assert digest(tmp / "some" / "x.zarr") == digest(tmp / "all" / "x.zarr")


def test_only_tiles_that_depend_on_the_regions_are_filled(tmp_path: Path) -> None:
    make(tmp_path / "x.zarr", "mean")
    whole = list(iter_build(tmp_path / "x.zarr", in_place=True, method="mean", overwrite=True, memory_limit=40 * 2**20, **OPTIONS))[-1]
    region = (slice(0, 8), slice(24, 32), slice(0, 8))
    some = list(iter_build(tmp_path / "x.zarr", in_place=True, method="mean", regions=[region], memory_limit=40 * 2**20, **OPTIONS))[-1]
    assert 0 < some.bytes_written < whole.bytes_written


def test_chunks_that_have_become_empty_are_removed(tmp_path: Path) -> None:
    make(tmp_path / "x.zarr", "mean")
    everything = tuple(slice(0, n) for n in SHAPE)
    edit(tmp_path / "x.zarr", everything, 0)
    build_pyramid(tmp_path / "x.zarr", in_place=True, method="mean", regions=[everything], **OPTIONS)
    assert not [p for k in "12" for p in (tmp_path / "x.zarr" / k / "c").rglob("*") if p.is_file()]


def test_negative_and_open_slices_are_those_of_numpy(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make(tmp_path / name / "x.zarr", "mean")
        edit(tmp_path / name / "x.zarr", (slice(-8, None), slice(None), slice(None, 8)), 5)
    build_pyramid(tmp_path / "a" / "x.zarr", in_place=True, method="mean", regions=[(slice(-8, None), slice(None), slice(None, 8))], **OPTIONS)
    build_pyramid(tmp_path / "b" / "x.zarr", in_place=True, method="mean", regions=[(slice(10, 18), slice(0, 50), slice(0, 8))], **OPTIONS)
    assert digest(tmp_path / "a" / "x.zarr") == digest(tmp_path / "b" / "x.zarr")
