"""The real peak of builds, with threads and codecs, against the prediction and the limit.

Each build has its own process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from helpers import Array

from napari_pyramid import PyramidSpec, SpecError, build_pyramid
from napari_pyramid.plan import memory
from napari_pyramid.plan.memory import available_memory, default_limit

MB = 2**20
SLACK = 24 * MB
"""What the interpreter and its allocator keep besides pixels."""

SCRIPT = """
import json, sys
import numpy as np
from napari_pyramid.build import build_pyramid, plan_build

def peak(reset=False):
    if reset:
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))

source, destination, options = json.loads(sys.argv[1])
small = np.arange(40 * 40 * 40).reshape(40, 40, 40).astype(options.pop("dtype"))
method = options.get("method", "mean")
build_pyramid(small, destination + ".warm.zarr", chunks=(8, 8, 8), n_levels=2, method=method)
predicted = plan_build(source, destination, **options).peak_memory
before = peak(reset=True)
build_pyramid(source, destination, **options)
print(json.dumps([predicted, peak() - before]))
"""


def measured(
    tmp_path: Path,
    shape: tuple[int, ...],
    source_chunks: tuple[int, ...],
    *,
    dtype: str = "uint16",
    **options: Any,
) -> tuple[int, int]:
    """Predicted and real peak of a build of noise, in bytes."""
    source = zarr.create_array(tmp_path / "s.zarr", shape=shape, chunks=source_chunks, dtype=dtype)
    rng = np.random.default_rng(0)
    for start in range(0, shape[0], source_chunks[0]):
        source[start : start + source_chunks[0]] = rng.integers(
            0, 200, (min(source_chunks[0], shape[0] - start), *shape[1:])
        )
    arguments = json.dumps(
        [str(tmp_path / "s.zarr"), str(tmp_path / "x.ome.zarr"), {"dtype": dtype, **options}]
    )
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    predicted, real = json.loads(ended.stdout)
    return predicted, real


needs_proc = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the peak is read from /proc"
)


@needs_proc
@pytest.mark.parametrize(
    ("shape", "chunks", "options"),
    [
        ((64, 256, 256), (32, 64, 64), {}),
        pytest.param((256, 512, 512), (32, 64, 64), {}, marks=pytest.mark.slow),
        ((6, 3001, 2900), (1, 3001, 2900), {"chunks": (8, 64, 64)}),
        pytest.param(
            (12, 4000, 4000), (1, 4000, 4000), {"chunks": (16, 64, 64)}, marks=pytest.mark.slow
        ),
        pytest.param(
            (130, 500, 500),
            (64, 64, 64),
            {"chunks": (32, 32, 32), "shards": (128, 256, 256)},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            (101, 431, 389), (37, 83, 101), {"chunks": (24, 50, 60)}, marks=pytest.mark.slow
        ),
        ((1, 3000, 3000), (1, 3000, 3000), {"chunks": (1, 500, 500), "verify": True}),
        pytest.param((64, 512, 512), (32, 64, 64), {"method": "gaussian"}, marks=pytest.mark.slow),
        pytest.param(
            (64, 512, 512),
            (32, 64, 64),
            {"method": "gaussian", "verify": True},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            (1, 8000, 8000),
            (1, 4000, 4000),
            {"verify": True, "dtype": "float64"},
            marks=pytest.mark.slow,
        ),
        pytest.param((64, 512, 512), (32, 64, 64), {"method": "mode"}, marks=pytest.mark.slow),
        pytest.param(
            (64, 512, 512),
            (32, 64, 64),
            {"method": "median", "dtype": "float32"},
            marks=pytest.mark.slow,
        ),
        pytest.param((64, 512, 512), (32, 64, 64), {"dtype": "float16"}, marks=pytest.mark.slow),
        pytest.param(
            (128, 512, 512), (32, 64, 64), {"memory_limit": 48 * MB}, marks=pytest.mark.slow
        ),
    ],
)
def test_the_real_peak_is_at_most_the_predicted(
    shape: tuple[int, ...], chunks: tuple[int, ...], options: dict[str, Any], tmp_path: Path
) -> None:
    predicted, real = measured(
        tmp_path, shape, chunks, **{"n_levels": 4, "max_workers": 2, "factors": 2, **options}
    )
    assert real <= predicted + SLACK, f"{real / MB:.0f} MiB, predicted {predicted / MB:.0f} MiB"
    if "memory_limit" in options:
        assert predicted <= options["memory_limit"]


@needs_proc
@pytest.mark.slow
def test_the_peak_of_an_array_16_times_as_large_is_the_same(tmp_path: Path) -> None:
    options = {"n_levels": 4, "max_workers": 2, "factors": 2, "memory_limit": 128 * MB}
    (tmp_path / "small").mkdir()
    (tmp_path / "large").mkdir()
    _, small = measured(tmp_path / "small", (64, 512, 512), (32, 64, 64), **options)
    _, large = measured(tmp_path / "large", (256, 1024, 1024), (32, 64, 64), **options)
    assert large <= 1.1 * small + SLACK


@pytest.mark.parametrize("limit", [40 * MB, 64 * MB, 256 * MB, 2**30])
@pytest.mark.parametrize("workers", [1, 2, 16])
@pytest.mark.parametrize("method", ["mean", "gaussian", "mode"])
def test_the_prediction_never_passes_the_limit(limit: int, workers: int, method: str) -> None:
    spec = PyramidSpec.from_array(
        Array((2048, 2048, 2048)), chunks=(16, 32, 32), shards=None, method=method
    )
    assert spec.peak_memory(max_workers=workers, memory_limit=limit) <= limit


@pytest.mark.parametrize(("n", "m"), [(1024, 4096), (2048, 8192)])
def test_the_prediction_does_not_grow_with_the_array(n: int, m: int) -> None:
    small, large = (
        PyramidSpec.from_array(Array((s, s, s)), chunks=(64, 64, 64), shards=None) for s in (n, m)
    )
    assert large.peak_memory(2, 2**30) <= 1.1 * small.peak_memory(2, 2**30)


def test_one_worker_with_one_codec_thread_is_tried_before_giving_up() -> None:
    spec = PyramidSpec.from_array(Array((64, 1024, 1024)), chunks=(32, 256, 256), n_levels=2)
    least = spec.peak_memory(max_workers=1)
    assert spec.peak_memory(max_workers=32, memory_limit=least) <= least


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        ((512, 1024, 1024), "level 0 with shards (512, 1024, 1024)"),
        (None, "level 0 with chunks (512, 1024, 512)"),
    ],
)
def test_what_cannot_fit_is_refused_before_anything_is_written(
    shards: Any, message: str, tmp_path: Path
) -> None:
    source = zarr.create_array(
        tmp_path / "s.zarr", shape=(512, 1024, 1024), chunks=(64, 64, 64), dtype="uint16"
    )
    chunks = (64, 64, 64) if shards else (512, 1024, 512)
    with pytest.raises(
        SpecError,
        match=r"needs .* of memory, but the limit is 256.0 MiB: choose smaller (shards|chunks) or "
        r"a higher memory limit",
    ) as caught:
        build_pyramid(
            source,
            tmp_path / "x.ome.zarr",
            chunks=chunks,
            shards=shards,
            n_levels=3,
            memory_limit=256 * MB,
        )
    assert message in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["s.zarr"]


@pytest.mark.parametrize(
    ("free_kib", "container", "available", "limit"),
    [
        (8 * 2**20, None, 8 * 2**30, 2 * 2**30),
        (64 * 2**20, None, 64 * 2**30, 4 * 2**30),
        (2**19, None, 2**29, 2**28),
        (8 * 2**20, ("max", "0", "file 0"), 8 * 2**30, 2 * 2**30),
        # 4 GiB for the container; 3 are used, but 2 of them by files that can be read again
        (
            8 * 2**20,
            (str(4 * 2**30), str(3 * 2**30), f"anon 5\nfile {2 * 2**30}\nfile_mapped 7"),
            3 * 2**30,
            3 * 2**28,
        ),
        # 0.5 of the 2 GiB are shared memory, which counts as files, but is not on disk
        (
            8 * 2**20,
            (
                str(4 * 2**30),
                str(3 * 2**30),
                f"anon 5\nfile {2 * 2**30}\nshmem {2**29}\nfile_mapped 7",
            ),
            5 * 2**29,
            5 * 2**27,
        ),
    ],
)
def test_the_default_limit_is_a_quarter_of_what_is_free(
    free_kib: int,
    container: Any,
    available: int,
    limit: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "meminfo").write_text(
        f"MemTotal: 99999999 kB\nMemFree: 5 kB\nMemAvailable:   {free_kib} kB\n"
    )
    for name, text in zip(
        ("memory.max", "memory.current", "memory.stat"), container or (), strict=False
    ):
        (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(memory, "_MEMINFO", str(tmp_path / "meminfo"))
    monkeypatch.setattr(memory, "_CGROUP", str(tmp_path))
    assert available_memory() == available
    assert default_limit() == limit
