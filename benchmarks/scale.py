"""Measures what a build costs besides its pixels, and computes what large builds take.

    python benchmarks/scale.py [--seconds 10] [--quick]

Tiles per second are those of dry runs of a petabyte, whose tiles are empty: with the scheduling,
the window and the journals of a build. Writes ``scale.md`` and ``scale.json`` to
``docs/benchmarks`` (``benchmarks/.work/quick`` with ``--quick``).
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from report import machine, markdown_table
from workloads import WORK

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "benchmarks"
SIZES = {
    "1 TB": (2**13, 2**13, 2**13),
    "100 TB": (2**15, 2**15, 3 * 2**14),
    "1 PB": (2**17, 2**16, 2**16),
}
GRIDS: dict[str, dict[str, Any]] = {
    "chunks 64³": {"chunks": (64,) * 3, "shards": None},
    "chunks 128³": {"chunks": (128,) * 3, "shards": None},
    "shards 256³": {"chunks": (128,) * 3, "shards": (256,) * 3},
    "shards 512³": {"chunks": (128,) * 3, "shards": (512,) * 3},
    "shards 1024³": {"chunks": (128,) * 3, "shards": (1024,) * 3},
}
WORKERS = (1, 32, 1000)
GROUPS = (1, 64)
ROOM = 16 * 2**30
"""Memory limit of a worker: three shards of 1024³ and what is reduced from them."""
PRICES = {"PUT": 5.0, "GET": 0.4}
"""Dollars per million requests: the list price of S3 Standard in us-east-1."""


@dataclass(frozen=True)
class Rate:
    """Empty tiles per second."""

    name: str
    group: int
    """Most tiles of one call."""
    pending: int
    """Most pending calls."""
    tiles: float


@dataclass(frozen=True)
class Journal:
    """What the journal of a pass costs."""

    tiles: int
    nbytes: int
    mark: float
    """Seconds to record a tile."""
    resume: float
    """Seconds to open the journal and to find the only tile that is left, the last one."""


@dataclass(frozen=True)
class Cost:
    """What a build of one size on one grid takes, whatever the number of workers."""

    size: str
    grid: str
    passes: list[tuple[int, float]]
    """Tiles of each pass, and GiB that it reads."""
    gets: int
    puts: int
    plan: float
    """Seconds to plan it."""
    memory: int
    """Bytes that a worker of one thread takes."""

    @property
    def tiles(self) -> int:
        return sum(n for n, _ in self.passes)

    @property
    def dollars(self) -> float:
        return (self.gets * PRICES["GET"] + self.puts * PRICES["PUT"]) / 1e6

    def hours(self, seconds_per_gib: float, calls_per_second: float, workers: int) -> float:
        """Pass by pass, of the work or of the scheduling, whichever takes longer."""
        times = (
            max(busy(n, gib * seconds_per_gib, workers, calls_per_second)) for n, gib in self.passes
        )
        return sum(times) / 3600

    def most_workers(self, seconds_per_gib: float, calls_per_second: float) -> int:
        """Workers that the longest pass keeps busy: there are tiles, and the scheduler keeps up."""
        n, gib = max(self.passes)
        workers = 1
        while 2 * workers <= n:
            work, scheduling = busy(n, gib * seconds_per_gib, 2 * workers, calls_per_second)
            if scheduling > work:
                break
            workers *= 2
        return workers


def busy(
    n_tiles: int, seconds: float, workers: int, calls_per_second: float
) -> tuple[float, float]:
    """Seconds that the workers and the scheduler take for a pass."""
    from napari_pyramid.build.capacity import Pace

    pace = Pace(Executor(), workers, n_tiles)
    pace.add(seconds / n_tiles)
    work = math.ceil(n_tiles / workers) * seconds / n_tiles
    return work, n_tiles / pace.tiles / calls_per_second


class Paper:
    """An array without pixels."""

    def __init__(self, shape: tuple[int, ...], chunks: tuple[int, ...]) -> None:
        self.shape, self.dtype, self.chunks = shape, np.dtype("uint16"), chunks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.seconds = 1
    folder = WORK / "quick" if options.quick else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    WORK.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=WORK) as scratch:
        rates = list(measured_rates(Path(scratch), options.seconds))
        journals = [measured_journal(Path(scratch), n) for n in (10**5, 10**6, 10**7)]
        whole = measured_dry_run(Path(scratch), quick=options.quick)
        per_gib = measured_pixels(Path(scratch), 128 if options.quick else 512)
    costs = [cost(size, grid) for size in SIZES for grid in GRIDS]
    found = {
        "machine": machine(),
        "command": shlex.join(["python", *sys.argv]),
        "rates": [asdict(r) for r in rates],
        "journals": [asdict(j) for j in journals],
        "dry run of 1 PB": whole,
        "seconds per GiB": per_gib,
        "costs": [asdict(c) for c in costs],
    }
    (folder / "scale.json").write_text(json.dumps(found, indent=1) + "\n")
    text = page(found, rates, journals, costs)
    (folder / "scale.md").write_text(text)
    print(text)


# ---- what is measured ----------------------------------------------------------------------------


def measured_rates(scratch: Path, seconds: float) -> Iterator[Rate]:
    source = zarr.create_array(
        scratch / "petabyte.zarr", shape=SIZES["1 PB"], dtype="uint16", **GRIDS["chunks 128³"]
    )
    yield rate("threads", None, Paper(source.shape, source.chunks), scratch, seconds)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for group in GROUPS:
            yield rate("processes", pool, source, scratch, seconds, group)
    for threads in (1, 16, 500):
        with dask(threads) as client:
            for group in GROUPS:
                yield rate("dask", client, source, scratch, seconds, group)


def rate(
    name: str, executor: Any, source: Any, scratch: Path, seconds: float, group: int = 1
) -> Rate:
    from napari_pyramid.build import capacity, plan_build

    capacity.LARGEST_GROUP = group
    build = plan_build(
        source, executor=executor, memory_limit=ROOM, axes="zyx", **GRIDS["chunks 128³"]
    )
    pending = capacity.Window(build._request.executor, build.passes[0].workers).size
    with closing(build.dry_run(scratch)) as steps:
        # The first tiles wait for workers that import the package.
        first = next(s for s in steps if s.done > pending)
        last = next(s for s in steps if s.elapsed - first.elapsed > seconds)
    tiles = (last.done - first.done) / (last.elapsed - first.elapsed)
    for path in scratch.glob(".dry-run*"):
        path.rename(scratch / f"{name}-{pending}-{group}")  # the next dry run begins from the start
    print(f"{name}, {group} a call, {pending} pending: {tiles:.0f} tiles per second", flush=True)
    return Rate(name, group, pending, tiles)


@contextmanager
def dask(threads: int) -> Iterator[Any]:
    """The client of a scheduler and two workers, each a process."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=threads, dashboard_address=None, memory_limit=None
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def measured_journal(scratch: Path, tiles: int) -> Journal:
    from napari_pyramid.build.journal import Journal as File

    path = scratch / f"journal-{tiles}"
    journal, some = File(path, tiles), 10**5
    began = time.perf_counter()
    for number in range(some):
        journal.mark(number)
    mark = (time.perf_counter() - began) / some
    journal.close()
    path.write_bytes(b"\x01" * (tiles - 1) + b"\0")
    began = time.perf_counter()
    journal = File(path, tiles)
    assert list(journal.left()) == [tiles - 1]
    resume = time.perf_counter() - began
    journal.close()
    return Journal(tiles, path.stat().st_size, mark, resume)


def measured_dry_run(scratch: Path, *, quick: bool) -> dict[str, float]:
    """What handing out a petabyte in shards of 1024³ takes, by threads."""
    from napari_pyramid.build import plan_build

    grid, began = GRIDS["shards 1024³"], time.perf_counter()
    build = plan_build(Paper(SIZES["1 PB"], grid["chunks"]), memory_limit=ROOM, axes="zyx", **grid)
    planned = time.perf_counter() - began
    before = peak_memory()
    with closing(build.dry_run(scratch)) as steps:
        for last in steps:
            if quick and last.done > 1000:
                break
    return {
        "plan seconds": planned,
        "tiles": last.done,
        "seconds": last.elapsed,
        "MiB more at the peak": (peak_memory() - before) / 2**20,
    }


def peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measured_pixels(scratch: Path, side: int) -> float:
    """Seconds of one thread for each GiB that a build reads: decode, reduce, encode, write."""
    from napari_pyramid.build import build_pyramid, plan_build

    z, y, x = np.ogrid[:side, :side, :side]
    smooth = 2000 + 900 * np.sin(x / 40) * np.sin(y / 50) * np.cos(z / 30)
    data = np.random.default_rng(0).poisson(smooth).astype("uint16")
    recipe: dict[str, Any] = {"max_workers": 1, "axes": "zyx", "codec": "blosc-zstd-5"}
    build_pyramid(
        data, scratch / "source.zarr", n_levels=1, chunks=(128,) * 3, overwrite=True, **recipe
    )
    seconds = []
    for _ in range(3):
        build = plan_build(
            scratch / "source.zarr",
            scratch / "x.zarr",
            n_levels=4,
            chunks=(64,) * 3,
            overwrite=True,
            **recipe,
        )
        began = time.process_time()
        build.run()
        # Processor time: other programs on the machine do not count.
        seconds.append((time.process_time() - began) * 2**30 / sum(map(read_bytes, build.passes)))
    return min(seconds)


def read_bytes(p: Any) -> float:
    level = p.levels[p.reads]
    return float(math.prod(level.shape)) * level.dtype.itemsize


# ---- what is computed ----------------------------------------------------------------------------


def cost(size: str, grid: str) -> Cost:
    """What a build beside the source takes, whose levels all have the source's grid."""
    from napari_pyramid.build import plan_build

    began = time.perf_counter()
    paper = Paper(SIZES[size], GRIDS[grid]["chunks"])
    build = plan_build(paper, max_workers=1, memory_limit=ROOM, axes="zyx", **GRIDS[grid])
    seconds = time.perf_counter() - began
    gets = puts = 0
    for p in build.passes:
        level = p.levels[p.reads]
        # A shard is read whole: one request for its index, one for its chunks.
        gets += level.n_files * (2 if level.shards else 1)
        puts += sum(v.n_files for v in p.levels[p.first : p.last + 1])
    return Cost(
        size,
        grid,
        [(p.n_tiles, read_bytes(p) / 2**30) for p in build.passes],
        gets,
        puts,
        seconds,
        build.peak_memory,
    )


# ---- the page ------------------------------------------------------------------------------------


def page(
    found: dict[str, Any], rates: list[Rate], journals: list[Journal], costs: list[Cost]
) -> str:
    per_gib = found["seconds per GiB"]
    calls = max(r.tiles for r in rates if r.name == "dask" and r.group == 1)
    return PAGE.format(
        machine=found["machine"],
        command=found["command"],
        rates=markdown_table(
            ["", "tiles a call", "pending calls", "tiles per second"],
            [[r.name, str(r.group), f"{r.pending:,}", f"{r.tiles:,.0f}"] for r in rates],
        ),
        whole=found["dry run of 1 PB"],
        journals=markdown_table(
            ["tiles", "size", "to record a tile", "to resume with the last tile left"],
            [
                [
                    f"{j.tiles:,}",
                    f"{j.nbytes / 1e6:g} MB",
                    f"{j.mark * 1e6:.1f} µs",
                    f"{j.resume:.2f} s",
                ]
                for j in journals
            ],
        ),
        per_gib=per_gib,
        calls=calls,
        prices=PRICES,
        requests=markdown_table(
            ["", "", "planned in", "memory of a worker", "tiles", "GET", "PUT", "price"],
            [
                [
                    c.size,
                    c.grid,
                    f"{c.plan:.2f} s",
                    f"{c.memory / 2**20:,.0f} MiB",
                    count(c.tiles),
                    count(c.gets),
                    count(c.puts),
                    f"${c.dollars:,.2f}",
                ]
                for c in costs
            ],
        ),
        hours=markdown_table(
            [
                "",
                "",
                *(f"{n:,} worker{'s' * (n > 1)}" for n in WORKERS),
                "most busy workers",
            ],
            [
                [
                    c.size,
                    c.grid,
                    *(f"{c.hours(per_gib, calls, n):,.2f} h" for n in WORKERS),
                    count(c.most_workers(per_gib, calls)),
                ]
                for c in costs
            ],
        ),
    )


PAGE = """\
# Scale, measured

{machine}. `{command}`.

## Empty tiles per second

Dry runs of 1 PB in chunks of 128³: two threads, two processes, and a dask scheduler with two worker
processes of 1, 16 and 500 threads each, all on this machine. A build hands out one tile a call, or
more where that keeps a scheduler from being the limit, at most 64.

{rates}

A dry run of 1 PB in shards of 1024³ by threads: planned in {whole[plan seconds]:.2f} s, and
{whole[tiles]:,} tiles handed out in {whole[seconds]:.1f} s. The peak of memory rose by
{whole[MiB more at the peak]:.1f} MiB.

## The journal

A byte for each tile, in a local file.

{journals}

## Requests and objects

A new store of uint16 from a zarr array with the same grid, all in a bucket, no chunk empty. Each
object is read by one request, each shard by two, one of them for its index; each object is written
by one request. A million requests cost ${prices[GET]} (GET) and ${prices[PUT]} (PUT), the list
price of S3 Standard in us-east-1. Storage and traffic are not counted.

{requests}

## Hours

Measured: {per_gib:.1f} s of one thread for each GiB that is read, to decode, reduce, encode and
write it; and {calls:,.0f} calls per second through dask, of as many tiles as a build puts into a
call. The hours are the time of the work or of the scheduling, pass by pass, whichever takes longer,
for workers of one thread on a network that is no limit. The last column has the workers, in powers
of two, beyond which the longest pass has no tiles for more, or the scheduler does not keep up.

{hours}
"""


def count(n: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if n >= size:
            return f"{n / size:,.3g} {unit}" if n < 1000 * size else f"{n / size:,.0f} {unit}"
    return f"{n:.0f}"


if __name__ == "__main__":
    main()
