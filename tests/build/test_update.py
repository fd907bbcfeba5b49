"""Rebuilding only what depends on given regions of level 0.

The same bytes as a full build, and nothing else written.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from helpers import digest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_pyramid import DestinationError, SpecError, build_pyramid, iter_build
from napari_pyramid.build.prepare import prepare_job
from napari_pyramid.build.request import Request
from napari_pyramid.check import check_store

SHAPE = (18, 50, 61)
OPTIONS: dict[str, Any] = {"n_levels": 3, "factors": 2}


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


@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    data=st.data(),
    method=st.sampled_from(["mean", "mode", "max", "stride", "gaussian", "laplacian"]),
    value=st.sampled_from([0, 7]),
)
def test_the_same_bytes_as_a_full_build(
    data: st.DataObject, method: str, value: int, built: Any, tmp_path_factory: Any
) -> None:
    starts = [data.draw(st.integers(0, n - 1)) for n in SHAPE]
    region = tuple(
        slice(a, data.draw(st.integers(a + 1, n))) for a, n in zip(starts, SHAPE, strict=True)
    )
    tmp = tmp_path_factory.mktemp("edit")
    for name in ("some", "all"):
        shutil.copytree(built(method), tmp / name / "x.zarr")
        edit(tmp / name / "x.zarr", region, value)
    build_pyramid(
        tmp / "some" / "x.zarr", in_place=True, method=method, regions=[region], **OPTIONS
    )
    build_pyramid(tmp / "all" / "x.zarr", in_place=True, method=method, overwrite=True, **OPTIONS)
    assert digest(tmp / "some" / "x.zarr") == digest(tmp / "all" / "x.zarr")


def test_only_tiles_that_depend_on_the_regions_are_filled(tmp_path: Path) -> None:
    make(tmp_path / "x.zarr", "mean")
    whole = list(
        iter_build(
            tmp_path / "x.zarr",
            in_place=True,
            method="mean",
            overwrite=True,
            memory_limit=40 * 2**20,
            **OPTIONS,
        )
    )[-1]
    region = (slice(0, 8), slice(24, 32), slice(0, 8))
    some = list(
        iter_build(
            tmp_path / "x.zarr",
            in_place=True,
            method="mean",
            regions=[region],
            memory_limit=40 * 2**20,
            **OPTIONS,
        )
    )[-1]
    assert 0 < some.bytes_written < whole.bytes_written


def test_chunks_that_have_become_empty_are_removed(tmp_path: Path) -> None:
    make(tmp_path / "x.zarr", "mean")
    everything = tuple(slice(0, n) for n in SHAPE)
    edit(tmp_path / "x.zarr", everything, 0)
    build_pyramid(
        tmp_path / "x.zarr", in_place=True, method="mean", regions=[everything], **OPTIONS
    )
    assert not [p for k in "12" for p in (tmp_path / "x.zarr" / k / "c").rglob("*") if p.is_file()]


def test_negative_and_open_slices_are_those_of_numpy(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make(tmp_path / name / "x.zarr", "mean")
        edit(tmp_path / name / "x.zarr", (slice(-8, None), slice(None), slice(None, 8)), 5)
    build_pyramid(
        tmp_path / "a" / "x.zarr",
        in_place=True,
        method="mean",
        regions=[(slice(-8, None), slice(None), slice(None, 8))],
        **OPTIONS,
    )
    build_pyramid(
        tmp_path / "b" / "x.zarr",
        in_place=True,
        method="mean",
        regions=[(slice(10, 18), slice(0, 50), slice(0, 8))],
        **OPTIONS,
    )
    assert digest(tmp_path / "a" / "x.zarr") == digest(tmp_path / "b" / "x.zarr")


REGION = (slice(0, 8), slice(24, 40), slice(0, 8))


def test_what_is_left_out_is_as_it_was_built(tmp_path: Path) -> None:
    """Chunks, number of levels, factors and method follow the existing levels."""
    recipe: dict[str, Any] = {
        "method": "max",
        "n_levels": 3,
        "factors": [(1, 2, 2), (2, 2, 2)],
        "chunks": (4, 16, 16),
        "codec": "zstd-3",
    }
    for name in ("some", "all"):
        path = tmp_path / name / "x.zarr"
        zarr.create_group(path).create_array(
            "0",
            data=np.random.default_rng(0).integers(0, 99, SHAPE).astype("uint16"),
            chunks=(8, 8, 8),
        )
        build_pyramid(path, in_place=True, **recipe)
        edit(path, REGION, 1000)
    build_pyramid(tmp_path / "some" / "x.zarr", in_place=True, regions=[REGION])
    build_pyramid(tmp_path / "all" / "x.zarr", in_place=True, overwrite=True, **recipe)
    assert digest(tmp_path / "some") == digest(tmp_path / "all")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"method": "min"},
            r"was built with method mean, not min: leave it out, or overwrite all levels",
        ),
        ({"n_levels": 2}, r"has 3 levels, not 2: leave their number out"),
        (
            {"factors": 3},
            (
                r"level 1 of .* is \(9, 25, 31\), uint16, not \(6, 17, 21\), uint16: ask for "
                r"what was built"
            ),
        ),
        ({"chunks": (4, 4, 4)}, r"level 1 of .*\(8, 8, 8\), None, not .*\(4, 4, 4\), None"),
        (
            {"verify": True},
            r"verify and skip_unreadable are for whole builds: leave them out with regions",
        ),
        ({"skip_unreadable": True}, r"are for whole builds"),
    ],
)
def test_another_recipe_is_not_mixed_in(
    asked: dict[str, Any], message: str, tmp_path: Path
) -> None:
    make(tmp_path / "x.zarr", "mean")
    before = digest(tmp_path / "x.zarr")
    with pytest.raises(SpecError, match=message):
        build_pyramid(tmp_path / "x.zarr", in_place=True, regions=[REGION], **asked)
    assert digest(tmp_path / "x.zarr") == before


def test_there_must_be_levels(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "x.zarr").create_array(
        "0", shape=SHAPE, chunks=(8, 8, 8), dtype="uint8"
    )
    with pytest.raises(
        DestinationError, match="no levels whose regions could be rebuilt: build them first"
    ):
        build_pyramid(tmp_path / "x.zarr", in_place=True, regions=[REGION])


def test_unfinished_work_is_not_removed_by_an_update(tmp_path: Path) -> None:
    make(tmp_path / "x.zarr", "mean")
    steps = iter_build(
        tmp_path / "x.zarr",
        in_place=True,
        method="max",
        overwrite=True,
        memory_limit=40 * 2**20,
        **OPTIONS,
    )
    next(step for step in steps if step.done)
    steps.close()
    kept = digest(tmp_path)
    with pytest.raises(
        DestinationError, match="holds unfinished work: repeat the earlier call to finish it"
    ):
        build_pyramid(tmp_path / "x.zarr", in_place=True, regions=[REGION])
    assert {
        k: v for k, v in digest(tmp_path).items() if not k.endswith(("owner.json", "lock"))
    } == {k: v for k, v in kept.items() if not k.endswith(("owner.json", "lock"))}


@pytest.mark.parametrize("failing", ["Update._refuse_unfinished", "Meter"])
def test_an_update_that_fails_before_its_first_tile_holds_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    make(tmp_path / "x.zarr", "mean")
    steps = iter_build(tmp_path / "x.zarr", in_place=True, regions=[REGION])

    def fail(*args: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(f"napari_pyramid.build.update.{failing}", fail)
        with pytest.raises(MemoryError) as kept:  # with its traceback, as a window keeps it
            next(steps)
    build_pyramid(tmp_path / "x.zarr", in_place=True, regions=[REGION])
    assert kept.value is not None


def test_progress_ends_at_its_total(tmp_path: Path) -> None:
    make(tmp_path / "x.zarr", "mean")
    last = list(
        iter_build(tmp_path / "x.zarr", in_place=True, regions=[REGION], memory_limit=40 * 2**20)
    )[-1]
    assert last.done == last.total > 0


# ---- levels that are not as a build of ours records them -----------------------------------------


PLANE = np.random.default_rng(1).integers(0, 99, (32, 48)).astype("uint16")
PART = (slice(4, 9), slice(16, 31))


def largest_2x2(plane: np.ndarray) -> np.ndarray:
    """The maximum of whole 2 x 2 windows, in plain NumPy."""
    return plane.reshape(plane.shape[0] // 2, 2, plane.shape[1] // 2, 2).max((1, 3))


def foreign(path: Path, levels: list[np.ndarray], **said: Any) -> Path:
    """An OME-Zarr 0.5 image as another program writes it."""
    group = zarr.create_group(path)
    for k, level in enumerate(levels):
        group.create_array(str(k), data=level, chunks=(8, 8))
    datasets = [
        {"path": str(k), "coordinateTransformations": [{"type": "scale", "scale": [2.0**k] * 2}]}
        for k in range(len(levels))
    ]
    axes = [{"name": name, "type": "space"} for name in "yx"]
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{"name": "image", "axes": axes, "datasets": datasets, **said}],
    }
    return path


@pytest.mark.parametrize(
    "said", [{}, {"type": "max", "metadata": {"method": "skimage.measure.block_reduce"}}]
)
def test_levels_of_other_programs_are_not_computed_by_a_guessed_method(
    said: dict[str, Any], tmp_path: Path
) -> None:
    path = foreign(tmp_path / "x.zarr", [PLANE, largest_2x2(PLANE)], **said)
    edited = PLANE.copy()
    edited[PART] = 1000
    edit(path, PART, 1000)
    before = digest(path)
    with pytest.raises(
        SpecError,
        match="nothing says how its levels were made: name the method, or overwrite all levels",
    ):
        build_pyramid(path, regions=[PART])
    assert digest(path) == before
    build_pyramid(path, regions=[PART], method="max")
    np.testing.assert_array_equal(zarr.open_array(path / "1")[:], largest_2x2(edited))


@pytest.mark.parametrize("recorded", [{"method": "mean"}, {"factors": [[2, 2]]}, "mean", None])
def test_half_a_record_says_nothing(recorded: Any, tmp_path: Path) -> None:
    path = foreign(
        tmp_path / "x.zarr",
        [PLANE, largest_2x2(PLANE)],
        metadata={"method": "napari_pyramid.downsample", "kwargs": recorded},
    )
    with pytest.raises(SpecError, match="nothing says how its levels were made"):
        build_pyramid(path, regions=[PART])


def test_levels_that_were_kept_are_not_taken_for_means(tmp_path: Path) -> None:
    build_pyramid([PLANE, largest_2x2(PLANE)], tmp_path / "x.zarr", chunks=(8, 8))
    before = digest(tmp_path / "x.zarr")
    with pytest.raises(SpecError, match="nothing says how its levels were made"):
        build_pyramid(tmp_path / "x.zarr", regions=[PART])
    assert digest(tmp_path / "x.zarr") == before
    report = check_store(tmp_path / "x.zarr", pixels=True)
    assert (report.findings, [note.partition(", ")[0] for note in report.notes]) == (
        (),
        ["1 pixels: max of the level above"],
    )


@pytest.mark.parametrize(
    ("method", "lost"), [("mean", "1"), ("mean", "2"), ("laplacian", "laplacian/2")]
)
def test_a_level_that_is_named_but_missing_is_reported(
    method: str, lost: str, built: Any, tmp_path: Path
) -> None:
    shutil.copytree(built(method), tmp_path / "x.zarr")
    shutil.rmtree(tmp_path / "x.zarr" / lost)
    before = digest(tmp_path)
    with pytest.raises(
        DestinationError,
        match=rf"x\.zarr/{lost} is named as a level, but cannot be opened .*: overwrite all levels",
    ) as caught:
        build_pyramid(zarr.open_array(tmp_path / "x.zarr" / "0", mode="r"), regions=[REGION])
    assert "\n" not in str(caught.value)
    assert digest(tmp_path) == before


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_another_codec_is_not_mixed_in(dtype: str, zarr_format: Any, tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "x.zarr", zarr_format=zarr_format).create_array(
        "0", data=PLANE.astype(dtype), chunks=(8, 8)
    )
    build_pyramid(tmp_path / "x.zarr", in_place=True, n_levels=2, codec="gzip-5")
    before = digest(tmp_path)
    for other in ("gzip-4", "zstd-5", "none"):
        with pytest.raises(
            SpecError,
            match=f"was built with another codec than {other}: leave it out, or overwrite all "
            "levels",
        ):
            build_pyramid(tmp_path / "x.zarr", regions=[PART], codec=other)
    build_pyramid(tmp_path / "x.zarr", regions=[PART], codec="gzip-5")
    assert digest(tmp_path) == before


def test_defaults_of_a_methods_keywords_tell_it_from_another(tmp_path: Path) -> None:
    """Else unfinished work of the one would be gone on with by the other."""
    zarr.create_array(tmp_path / "s.zarr", data=PLANE, chunks=(8, 8))
    fingerprints = set()
    for default in (50, 60):
        module: dict[str, Any] = {"__name__": "methods"}
        exec(f"def percentile(block, factors, *, q={default}): ...", module)
        request = Request(
            source=tmp_path / "s.zarr",
            destination=tmp_path / "x.zarr",
            options={"method": module["percentile"], "n_levels": 2},
        )
        job = prepare_job(request)
        assert job.keeps_work
        fingerprints.add(job.fingerprint)
    assert len(fingerprints) == 2
