"""Measure reading behind HTTP, with latency: regions of arrays beside TensorStore, and plates.

    python benchmarks/remote.py [--results docs/benchmarks/remote.md]

The server is a process of its own, so that it does not wait for the interpreter's lock of the
client. Both share the machine; compare the columns of a row, not rows of different runs. Reads by
us and by TensorStore take turns, and who reads first alternates. Each read is by a newly opened
array; connections to the server stay open between reads, on both sides.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import tensorstore
import zarr

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from servers import Rules, web_server

from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.layouts import open_images

SHAPE = (128, 1024, 1024)
ARRAYS = {
    "v2": {"zarr_format": 2, "chunks": (64, 64, 64)},
    "v3": {"zarr_format": 3, "chunks": (64, 64, 64)},
    "v3 in shards": {"zarr_format": 3, "chunks": (64, 64, 64), "shards": (128, 256, 256)},
}
ZIPPED = {"v3 in a zip": "v3", "v3 in shards in a zip": "v3 in shards"}
"""Arrays that are read from a zip, and the arrays that it holds."""
REGIONS = {
    "plane": (slice(50, 51), slice(0, 1024), slice(0, 1024)),
    "tile": (slice(50, 51), slice(70, 250), slice(70, 250)),
    "block": (slice(0, 128), slice(0, 256), slice(0, 256)),
}
LATENCIES = (0.0, 0.02, 0.1)
PLATE = (16, 24, 9)
"""Rows, columns and fields of a well."""
PLATE_LATENCY = 0.05
_SETTLED = 0.05
"""Seconds after which the server has counted an answer whose last byte the client has read."""


def main() -> None:
    """Measure everything, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        values = np.random.default_rng(0).poisson(100, SHAPE).astype("u2")
        for name, options in ARRAYS.items():
            zarr.create_array(root / _file_of(name), data=values, **options)
        for name, inside in ZIPPED.items():
            _zip(root / _file_of(inside), root / _file_of(name))
        rows = []
        for latency in LATENCIES:
            with _server(root, latency) as server:
                rows += [
                    row for name in (*ARRAYS, *ZIPPED) for row in _rows(server, name, given.repeats)
                ]
        _write_plate(root / "plate.zarr")
        with _server(root, PLATE_LATENCY) as server:
            opening = [_opening(server, given.repeats)]
    text = "\n".join([*_head(), *rows, *opening]) + "\n"
    if given.results is None:
        print(text)
    else:
        given.results.write_text(text)


def _file_of(name: str) -> str:
    return f"{name.replace(' ', '-')}.{'zip' if name in ZIPPED else 'zarr'}"


def _zip(directory: Path, archive: Path) -> None:
    """Put a directory into a zip without compression, with its path names sorted."""
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(directory.rglob("*")):
            file.write(path, path.relative_to(directory))


class _Server:
    """A web server in another process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.url, self.latency = connection.recv()

    def take_count(self) -> int:
        """Return the number of requests since the last call."""
        time.sleep(_SETTLED)
        self._connection.send("count")
        return self._connection.recv()


@contextmanager
def _server(root: Path, latency: float) -> Iterator[_Server]:
    processes = multiprocessing.get_context("spawn")
    ours, theirs = processes.Pipe()
    process = processes.Process(target=_serve, args=(root, latency, theirs))
    process.start()
    try:
        yield _Server(ours)
    finally:
        ours.send("stop")
        process.join()


def _serve(root: Path, latency: float, connection: Connection) -> None:
    with web_server(root, Rules(latency=latency)) as web:
        connection.send((web.url, latency))
        while connection.recv() == "count":
            connection.send(len(web.requests))
            web.requests.clear()


def _rows(server: _Server, name: str, repeats: int) -> list[str]:
    url = f"{server.url}/{_file_of(name)}"
    kvstore = _kvstore(server.url, name)
    found = []
    for region_name, region in REGIONS.items():
        sides = {"ours": lambda: _ours(url), "theirs": lambda: _tensorstore(kvstore, name)}
        best = {side: (float("inf"), 0) for side in sides}
        for turn in range(repeats):
            for side, make in list(sides.items())[:: 1 if turn % 2 else -1]:
                seconds, n_requests = _measure(server, make, region)
                best[side] = min(best[side][0], seconds), n_requests
        (ours, n_ours), (theirs, n_theirs) = best["ours"], best["theirs"]
        found.append(
            f"| {server.latency * 1000:.0f} ms | {name} | {region_name} "
            f"| {ours:.3f} | {theirs:.3f} | {ours / theirs:.2f} | {n_ours} | {n_theirs} |"
        )
        print(found[-1], file=sys.stderr)
    return found


def _measure(
    server: _Server, make: Callable[[], Callable], region: tuple[slice, ...]
) -> tuple[float, int]:
    """Return the seconds and the requests of a read by a reader that has read nothing."""
    read = make()
    server.take_count()
    start = time.perf_counter()
    read(region)
    return time.perf_counter() - start, server.take_count()


def _ours(url: str) -> Callable:
    (image,) = open_images(url)
    view = LazyArray(image.levels[0].array)
    return lambda region: np.asarray(view[region])


def _kvstore(url: str, name: str) -> object:
    """Return where TensorStore reads an array."""
    if name == "v3 in a zip":
        return {"driver": "zip", "base": f"{url}/{_file_of(name)}"}
    # TensorStore 0.1.86 never finishes reading shards in a zip: it reads the same shards outside.
    return f"{url}/{_file_of(ZIPPED.get(name, name))}/"


def _tensorstore(kvstore: object, name: str) -> Callable:
    driver = "zarr" if name == "v2" else "zarr3"
    spec = {"driver": driver, "kvstore": kvstore}
    opened = tensorstore.open(spec, context=tensorstore.Context(), open=True).result()
    return lambda region: np.asarray(opened[region].read().result())


def _write_plate(root: Path) -> None:
    """Write a plate of OME-Zarr 0.4 without consolidated metadata, with the pixels of one field."""
    n_rows, n_columns, n_fields = PLATE
    rows, columns = [chr(65 + i) for i in range(n_rows)], [str(i + 1) for i in range(n_columns)]
    fields = [str(i) for i in range(n_fields)]
    wells = [
        {"path": f"{row}/{column}", "rowIndex": i, "columnIndex": j}
        for i, row in enumerate(rows)
        for j, column in enumerate(columns)
    ]
    names = [[{"name": name} for name in part] for part in (rows, columns)]
    plate = {"version": "0.4", "rows": names[0], "columns": names[1], "wells": wells}
    _write_group(root, {"plate": plate})
    field = _write_field(root / "A" / "1" / "0")
    for well in wells:
        images = [{"path": path} for path in fields]
        _write_group(root / well["path"], {"well": {"version": "0.4", "images": images}})
        for path in fields:
            if (directory := root / well["path"] / path) != field:
                shutil.copytree(field, directory, ignore=shutil.ignore_patterns("0.*"))


def _write_field(directory: Path) -> Path:
    for level, size in enumerate((128, 64)):
        values = np.ones((size, size), "u2")
        zarr.create_array(directory / str(level), data=values, zarr_format=2)
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [{"type": "scale", "scale": [2**level, 2**level]}],
        }
        for level in range(2)
    ]
    axes = [{"name": name, "type": "space"} for name in "yx"]
    multiscale = {"version": "0.4", "axes": axes, "datasets": datasets}
    _write_group(directory, {"multiscales": [multiscale]})
    return directory


def _write_group(directory: Path, attributes: dict[str, object]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / ".zgroup").write_text('{"zarr_format": 2}')
    (directory / ".zattrs").write_text(json.dumps(attributes))


def _opening(server: _Server, repeats: int) -> str:
    best, n_requests = float("inf"), 0
    for _ in range(repeats):
        server.take_count()
        start = time.perf_counter()
        open_images(f"{server.url}/plate.zarr")
        best, n_requests = min(best, time.perf_counter() - start), server.take_count()
    n_rows, n_columns, n_fields = PLATE
    return (
        f"\nOpening a plate of {n_rows * n_columns} wells with {n_fields} fields each, without "
        f"consolidated\nmetadata, at {server.latency * 1000:.0f} ms: {best:.1f} s, "
        f"{n_requests} requests."
    )


def _head() -> list[str]:
    return [
        "# Reading over HTTP",
        "",
        "Seconds to read a plane (256 chunks), a tile (9 chunks) and a block (32 chunks) of a",
        "128 x 1024 x 1024 uint16 array with chunks of 64 x 64 x 64, in shards of",
        "128 x 256 x 256 or none, from a server in another process of the same machine",
        f"({os.cpu_count()} processors), by a reader that has read nothing before. The latency is",
        "added by the server before each answer. Opening is not measured. Both sides keep their",
        "connections to the server between reads, but no pixels and no shard indexes; TensorStore",
        "keeps no decoded chunks either, napari-pyramid does. Best of the repeats. Shards in a zip",
        "are compared with TensorStore's time for the same shards outside of the zip, because",
        "TensorStore 0.1.86 never finishes reading them in a zip.",
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
