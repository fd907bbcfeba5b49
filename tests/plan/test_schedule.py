"""The choice of passes: fused where it pays, within the limit, source chunks read once."""

from __future__ import annotations

import itertools

import pytest
from helpers import Array

from napari_pyramid import PyramidSpec, SpecError
from napari_pyramid.plan.schedule import PassPlan, SourceChunks, plan_passes, planned_passes


def spec_of(shape: tuple[int, ...], **options: object) -> PyramidSpec:
    return PyramidSpec.from_array(
        Array(shape), **{"chunks": (64,) * len(shape), "factors": 2, "shards": None, **options}
    )


def test_levels_are_fused_and_every_one_is_written_once() -> None:
    spec = spec_of((512, 1024, 1024), n_levels=5)
    passes = plan_passes(
        spec, [SourceChunks((64, 64, 64), is_level_0=True)], max_workers=2, memory_limit=2**30
    )
    assert [k for p in passes for k in range(p.first, p.last + 1)] == [1, 2, 3, 4]
    assert len(passes) < 4, "each pass writes more than one level"
    assert all(a.last + 1 == b.first for a, b in itertools.pairwise(passes))


def test_levels_of_a_single_tile_are_one_pass_whose_parts_all_threads_share() -> None:
    spec = spec_of((256, 256, 256), n_levels=4, shards=(128, 128, 128))
    (p,) = plan_passes(
        spec, [SourceChunks((32, 32, 32), is_level_0=True)], max_workers=4, memory_limit=2**30
    )
    assert (p.first, p.last, p.n_tiles, p.workers, p.readers) == (1, 3, 1, 1, 4)
    assert len(list(p.parts(p[0]))) >= 4


def test_level_0_is_written_in_the_pass_that_reduces_it() -> None:
    (first, *_) = plan_passes(
        spec_of((256, 512, 512), n_levels=3),
        [SourceChunks(None)],
        max_workers=2,
        memory_limit=2**30,
    )
    assert first.copies
    assert first.last > 0


def test_gaussian_is_one_level_a_pass() -> None:
    passes = plan_passes(
        spec_of((256, 512, 512), n_levels=4, method="gaussian"),
        [SourceChunks((64, 64, 64))],
        max_workers=2,
        memory_limit=2**30,
    )
    assert all(p.first == p.last for p in passes)


def test_each_residual_is_written_right_after_its_level() -> None:
    spec = spec_of((64, 128, 128), n_levels=3, method="laplacian")
    passes = plan_passes(spec, [SourceChunks((64, 64, 64))], max_workers=2, memory_limit=2**30)
    written = [[level.path for level in p.levels[p.first : p.last + 1]] for p in passes]
    assert written == [["0"], ["1"], ["laplacian/1"], ["2"], ["laplacian/2"]]
    assert [p.levels[p.reads].path for p in passes] == ["0", "0", "1", "1", "2"]
    assert [p.coarsest for p in passes] == [0, 1, 1, 2, 2]


@pytest.mark.parametrize("method", ["mean", "laplacian"])
def test_passes_are_made_again_from_their_plan(method: str) -> None:
    spec = spec_of((64, 128, 128), n_levels=3, method=method)
    options = {"max_workers": 2, "memory_limit": 2**30}
    passes = plan_passes(spec, [SourceChunks((64, 64, 64))], **options)
    again = planned_passes(
        spec, [*map(PassPlan.of, passes)], [SourceChunks((64, 64, 64))], **options
    )
    assert again == passes


def test_the_plan_of_a_residual_has_the_number_of_its_level() -> None:
    """Unfinished work keeps such plans: whatever finishes it must understand them."""
    spec = spec_of((64, 70, 70), n_levels=2, method="laplacian")
    passes = plan_passes(spec, [SourceChunks((64, 64, 64))], max_workers=1, memory_limit=2**30)
    assert PassPlan.of(passes[-1]) == PassPlan(1, 1, None, (32, 35, 35), (32, 35, 35), True)


@pytest.mark.parametrize("block", [(1, 1024, 1024), (64, 64, 64), (50, 70, 90), (512, 16, 1024)])
def test_parts_hold_whole_source_blocks_when_they_fit(block: tuple[int, ...]) -> None:
    spec = spec_of((512, 1024, 1024), n_levels=4)
    (p, *_) = plan_passes(spec, [SourceChunks(block)], max_workers=2, memory_limit=2**32)
    for tile in (p[0], p[p.n_tiles - 1]):
        for part in itertools.islice(p.parts(tile), 50):
            for s, b, n in zip(part, block, spec.levels[0].shape, strict=True):
                assert s.start % b == 0
                assert s.stop % b == 0 or s.stop == n


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_no_more_workers_than_asked_for_or_than_tiles(workers: int) -> None:
    for shape in [(64, 64, 64), (512, 512, 512)]:
        for p in plan_passes(
            spec_of(shape, n_levels=3),
            [SourceChunks((64, 64, 64))],
            max_workers=workers,
            memory_limit=2**32,
        ):
            assert 1 <= p.workers <= min(workers, p.n_tiles)
            assert p.workers * p.codec_threads <= workers


def test_a_pyramid_that_exists_is_copied_level_by_level() -> None:
    spec = spec_of((64, 128), n_levels=3)
    passes = plan_passes(spec, [SourceChunks((8, 8))] * 3, max_workers=2, memory_limit=2**30)
    assert [(p.source, p.first, p.last, p.copies) for p in passes] == [
        (0, 0, 0, True),
        (1, 1, 1, True),
        (2, 2, 2, True),
    ]


@pytest.mark.parametrize("workers", [0, -1])
def test_without_workers_nothing_can_be_built(workers: int) -> None:
    with pytest.raises(
        SpecError, match=rf"{workers} workers cannot build anything: give at least 1"
    ):
        plan_passes(spec_of((64, 64), n_levels=2), [SourceChunks(None)], max_workers=workers)


@pytest.mark.parametrize(
    ("array", "block"),
    [
        (Array((10, 20), chunks=(5, 5)), (5, 5)),
        (
            Array((10, 20), chunks=(5, 5), shards=(10, 10)),
            (5, 5),
        ),  # the chunks of a shard can be read one by one
        (Array((10, 20), chunks=((5, 5), (10, 10))), None),  # dask
        (Array((10, 20), chunks=None), None),  # h5py, contiguous
        (Array((10, 20)), None),
        (Array((10, 20), chunks=(0, 5)), None),
    ],
)
def test_blocks_of_a_source(array: Array, block: tuple[int, ...] | None) -> None:
    assert SourceChunks.of(array).block == block
