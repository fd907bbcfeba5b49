# /// script
# requires-python = ">=3.11"
# dependencies = ["{root}[remote]", "tensorstore>=0.1.70", "scipy>=1.14", "numcodecs>=0.16"]
# ///
"""Measures what looking at a pyramid costs.

Reading beside TensorStore, and a window beside other plugins.

    python benchmarks/viewing.py [--quick] [--side 1024] [--repeat 9] [--moves 1000]
                                 [--only reading | window]

A volume of uint16 in chunks of 64 x 64 x 64, in each of the usual codecs, as zarr v2, v3 and v3 in
shards of 256^3; read through `LazyArray` with a cold cache of decoded chunks, through TensorStore
without a cache, and through zarr-python as it is. The page cache is warm. The reads of one cell
take turns, and the best of several counts. Then a pyramid is looked at in a real window under Xvfb,
by ``windows/look.py``, through each plugin in turn: a local store, one in shards, and one behind a
server with latency. Writes ``viewing.md`` and ``viewing.json`` to ``docs/benchmarks``
(``benchmarks/.work/quick``, with small data, with ``--quick``); a half that is left out keeps its
earlier results.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import environments
from report import machine, markdown_table
from workloads import RESULTS, WORK

if __name__ == "__main__":
    python = environments.make(Path(__file__).resolve())
    if Path(sys.prefix).resolve() != python.parents[1].resolve():
        os.execv(python, [str(python), *sys.argv])

import numcodecs
import numpy as np
import tensorstore
import zarr
from scipy import ndimage
from viewing_windows import measure_windows, window_page
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

from napari_pyramid.arrays.lazy import LazyArray

V3 = {
    "blosc": BloscCodec(cname="zstd", clevel=5),
    "zstd": ZstdCodec(level=3),
    "gzip": GzipCodec(level=5),
    "none": None,
}
V2 = {
    "blosc": numcodecs.Blosc("zstd", 5),
    "zstd": numcodecs.Zstd(3),
    "gzip": numcodecs.GZip(5),
    "none": None,
}
CHUNK, SHARD, TILE = 64, 256, 128
READING = """\
A volume of {side}^3 uint16 in chunks of {chunk}^3, page cache warm, cache of decoded chunks cold; \
the quickest of several
reads that take turns. LazyArray keeps the chunks that it decodes; TensorStore does not."""


def options() -> dict[str, dict[str, Any]]:
    """What is stored: a name, and how zarr makes the array."""
    found: dict[str, dict[str, Any]] = {}
    for codec in V3:
        found[f"v2 {codec}"] = {"zarr_format": 2, "compressors": V2[codec]}
        found[f"v3 {codec}"] = {"compressors": V3[codec]}
        found[f"v3 {codec}, shards"] = {"compressors": V3[codec], "shards": (SHARD,) * 3}
    return found


def regions(side: int) -> dict[str, tuple[slice | int, ...]]:
    """What is read: a plane, a tile that begins and ends within chunks, and a box."""
    return {
        "plane": (side // 5,),
        "tile": (side // 5, slice(side // 8, 5 * side // 8), slice(side // 8, 5 * side // 8)),
        "box": (slice(70, 200), slice(100, 228), slice(130, 260)),
    }


def pixels() -> np.ndarray:
    """Smooth structures with noise, as a camera gives them, 128^3: zstd halves them."""
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(TILE,) * 3).astype("f4"), 3)
    smooth = (smooth - smooth.min()) / np.ptp(smooth) * 2000
    return np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, None).astype("u2")


def stored(name: str, side: int) -> zarr.Array[Any]:
    """The array as it is stored, made when it is not there."""
    path = WORK / "viewing" / f"{name.replace(', ', '-').replace(' ', '-')}-{side}.zarr"
    if not (path / "done").exists():
        print(f"data of {name}", flush=True)
        array = zarr.create_array(
            path,
            shape=(side,) * 3,
            chunks=(CHUNK,) * 3,
            dtype="u2",
            overwrite=True,
            **options()[name],
        )
        tiles = np.tile(pixels(), (2, 2, side // TILE))
        for z in range(0, side, SHARD):
            for y in range(0, side, SHARD):
                array[z : z + SHARD, y : y + SHARD] = tiles
        (path / "done").touch()
    return zarr.open_array(path, mode="r")


def by_tensorstore(array: zarr.Array[Any]) -> tensorstore.TensorStore:
    driver = "zarr3" if array.metadata.zarr_format == 3 else "zarr"
    path = str(array.store_path).removeprefix("file://")
    return tensorstore.open(
        {"driver": driver, "kvstore": {"driver": "file", "path": path}}
    ).result()


def best(reads: dict[str, Callable[[], Any]], repeat: int) -> dict[str, float]:
    """Seconds of the quickest call of each, which take turns.

    The pixels of all of them are the same.
    """
    found = dict.fromkeys(reads, float("inf"))
    first = {name: np.asarray(read()) for name, read in reads.items()}
    assert len({array.tobytes() for array in first.values()}) == 1
    for _ in range(repeat):
        for name, read in reads.items():
            start = time.perf_counter()
            read()
            found[name] = min(found[name], time.perf_counter() - start)
    return found


def measure_reading(side: int, repeat: int) -> list[dict[str, Any]]:
    """A row for each way of storing and each region."""
    rows = []
    for name in options():
        array = stored(name, side)
        view, other = LazyArray(array), by_tensorstore(array)
        for region, key in regions(side).items():

            def cold(key: Any = key, view: LazyArray = view) -> np.ndarray:
                view.chunked_source.forget()
                return np.asarray(view[key])

            seconds = best(
                {
                    "tensorstore": lambda key=key, other=other: other[key].read().result(),
                    "lazy": cold,
                    "zarr": lambda key=key, array=array: array[key],
                },
                repeat,
            )
            seconds |= best({"warm": lambda key=key, view=view: np.asarray(view[key])}, repeat)
            rows.append({"stored": name, "region": region, **seconds})
            ratio = seconds["lazy"] / seconds["tensorstore"]
            print(f"{name:18} {region:6} {ratio:5.2f} x TensorStore", flush=True)
    return rows


def reading_table(rows: list[dict[str, Any]]) -> str:
    header = [
        "stored",
        "region",
        "TensorStore ms",
        "LazyArray ms",
        "ratio",
        "zarr-python ms",
        "seen before ms",
    ]
    return markdown_table(
        header,
        [
            [
                row["stored"],
                row["region"],
                f"{row['tensorstore'] * 1e3:.1f}",
                f"{row['lazy'] * 1e3:.1f}",
                f"**{row['lazy'] / row['tensorstore']:.2f}**",
                f"{row['zarr'] * 1e3:.1f}",
                f"{row['warm'] * 1e3:.1f}",
            ]
            for row in rows
        ],
    )


def page(results: dict[str, Any]) -> str:
    """The results as they are published."""
    lines = ["# Viewing", f"{machine()}. `python benchmarks/viewing.py`."]
    if "reading" in results:
        lines += [
            "## Reading",
            READING.format(side=results["side"], chunk=CHUNK),
            reading_table(results["reading"]),
        ]
    if "window" in results:
        lines += window_page(results["window"], results["side"], results["moves"])
    return "\n\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--side", type=int)
    parser.add_argument("--repeat", type=int)
    parser.add_argument("--moves", type=int)
    parser.add_argument("--only", choices=["reading", "window"])
    given = parser.parse_args()
    side = given.side or (256 if given.quick else 1024)
    moves = given.moves or (60 if given.quick else 1000)
    folder = WORK / "quick" if given.quick else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    written = folder / "viewing.json"
    results = json.loads(written.read_text()) if given.only and written.exists() else {}
    results |= {"side": side, "moves": moves}
    if given.only != "window":
        results["reading"] = measure_reading(side, given.repeat or (3 if given.quick else 9))
    if given.only != "reading":
        results["window"] = measure_windows(stored("v3 zstd", side), side, moves)
    written.write_text(json.dumps(results, indent=1))
    (folder / "viewing.md").write_text(page(results))


if __name__ == "__main__":
    main()
