"""Measure planes, tiles and blocks of arrays behind HTTP, with latency, beside TensorStore.

    python benchmarks/remote.py [--results docs/benchmarks/remote.md]

Server and clients share the machine; compare the columns of a row, not rows of different runs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorstore
import zarr

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from servers import Rules, WebServer, web_server

from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.layouts import open_images

SHAPE = (128, 256, 256)
ARRAYS = {
    "v2": {"zarr_format": 2, "chunks": (32, 32, 32)},
    "v3": {"zarr_format": 3, "chunks": (32, 32, 32)},
    "v3 in shards": {"zarr_format": 3, "chunks": (32, 32, 32), "shards": (64, 128, 128)},
}
REGIONS = {
    "plane": (slice(50, 51), slice(0, 256), slice(0, 256)),
    "tile": (slice(50, 51), slice(35, 125), slice(35, 125)),
    "block": (slice(0, 64), slice(0, 128), slice(0, 128)),
}
LATENCIES = (0.0, 0.02, 0.1)


def main() -> None:
    """Measure everything, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        values = np.random.default_rng(0).poisson(100, SHAPE).astype("u2")
        for name, options in ARRAYS.items():
            zarr.create_array(root / f"{name.replace(' ', '-')}.zarr", data=values, **options)
        rows = []
        for latency in LATENCIES:
            with web_server(root, Rules(latency=latency)) as web:
                rows += [row for name in ARRAYS for row in _rows(web, name, given.repeats)]
    text = "\n".join([*_head(), *rows]) + "\n"
    if given.results is None:
        print(text)
    else:
        given.results.write_text(text)


def _rows(web: WebServer, name: str, repeats: int) -> list[str]:
    url = f"{web.url}/{name.replace(' ', '-')}.zarr"
    found = []
    for region_name, region in REGIONS.items():
        ours = _measure(web, lambda: _ours(url), region, repeats)
        theirs = _measure(web, lambda: _tensorstore(url, name), region, repeats)
        latency = f"{web.rules.latency * 1000:.0f} ms"
        ratios = f"{ours[0] / theirs[0]:.2f} | {ours[1]} | {theirs[1]}"
        times = f"{ours[0]:.3f} | {theirs[0]:.3f}"
        found.append(f"| {latency} | {name} | {region_name} | {times} | {ratios} |")
        print(found[-1], file=sys.stderr)
    return found


def _measure(
    web: WebServer, make: Callable[[], Callable], region: tuple[slice, ...], repeats: int
) -> tuple[float, int]:
    """Shortest time in seconds of a read by a reader that has read nothing, and its requests."""
    best, n_requests = float("inf"), 0
    for _ in range(repeats):
        read = make()
        web.requests.clear()
        start = time.perf_counter()
        read(region)
        best = min(best, time.perf_counter() - start)
        n_requests = len(web.requests)
    return best, n_requests


def _ours(url: str) -> Callable:
    (image,) = open_images(url)
    view = LazyArray(image.levels[0].array)
    return lambda region: np.asarray(view[region])


def _tensorstore(url: str, name: str) -> Callable:
    driver = "zarr" if name == "v2" else "zarr3"
    spec = {"driver": driver, "kvstore": f"{url}/"}
    opened = tensorstore.open(spec, context=tensorstore.Context(), open=True).result()
    return lambda region: np.asarray(opened[region].read().result())


def _head() -> list[str]:
    return [
        "# Reading over HTTP",
        "",
        "Seconds to read a plane, a tile and a block of a 128 x 256 x 256 uint16 array",
        "with chunks of 32 x 32 x 32, from a",
        f"server on the same machine ({os.cpu_count()} processors, shared with other work),",
        "by a reader that has read nothing",
        "before. The latency is added by the server before each answer. Best of the repeats.",
        "",
        "    python benchmarks/remote.py --results docs/benchmarks/remote.md",
        "",
        (
            "| latency | array | region | napari-pyramid (s) | TensorStore (s) | ratio "
            "| requests | TensorStore's requests |"
        ),
        "|---|---|---|---|---|---|---|---|",
    ]


if __name__ == "__main__":
    main()
