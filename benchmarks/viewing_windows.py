"""Run ``windows/look.py`` for each plugin and each store, and write its figures as tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import environments
import zarr
from report import markdown_table
from workloads import HERE, WORK

from napari_pyramid import build_pyramid

sys.path.insert(0, str(HERE.parent / "tests"))
from servers import Rules, web_server

__all__ = ["measure_windows", "window_page"]

PLUGINS = ("napari-pyramid", "napari-ome-zarr", "napari", "memory")
"""Readers that are compared; "napari" are its builtins."""
OURS = PLUGINS[0]
STORES = {"local": None, "shards": None, "50 ms": 0.05, "100 ms": 0.1}
"""Stores, with the latency in seconds of the server that they are behind."""
REMOTE_SLABS = 6
LOOKING = """\
A pyramid of {side}^3 uint16 with 5 levels in chunks of 64^3 (zstd), local, in shards of 256^3, or \
behind a server on the same machine that answers after a latency; in a window of 1200 x 900 under \
Xvfb, OpenGL in software. The slider steps from slab to slab: until something of the new plane is \
drawn, until it is exact, over the time in which TensorStore reads the displayed part without a \
cache, and then to the next plane of each slab. "Second visit" is the time until something of such \
a plane is drawn: for the last 6 slabs (128 MiB each), which are in the cache of 1 GiB, and for \
the slabs before them, most of which have left it. The gaps are times in which the event loop did \
nothing else, while it stepped, played, panned and zoomed. "Played" is the part of the frames that \
appear at 10 per second over slabs seen before. "memory" is the same pyramid as NumPy arrays."""
MOVING = """\
{moves} random moves of slider, camera and zoom by napari-pyramid: resident memory before, after \
half of the moves, and at the end; the cache of decoded chunks, and its budget. Then the dock \
widget builds the pyramid of the layer while the slider moves."""
WINDOW = environments.ROOT / "scripts" / "in-window.sh"
HEADER = ["store", "plugin", "open s", "something ms", "exact ms", "over TensorStore"]
HEADER += ["gap p99 ms", "gap max ms", "second visit ms", "not in cache ms", "played"]


def measure_windows(array: zarr.Array[Any], side: int, moves: int) -> list[dict[str, Any]]:
    """Return a row for each store and each plugin that looks at it."""
    script = HERE / "windows" / "look.py"
    python = environments.make(script)
    rows = []
    for store, latency in STORES.items():
        truth = _pyramid(array, side, in_shards=store == "shards")
        with _address(truth, latency) as path:
            for plugin in PLUGINS:
                if plugin == "memory" and store != "local":
                    continue
                command = [str(WINDOW), str(python), str(script), plugin, path, str(truth)]
                if latency is not None:
                    command += ["--slabs", str(REMOTE_SLABS)]
                if plugin == OURS and store == "local":
                    command += ["--moves", str(moves), "--build"]
                row = {"store": store, "plugin": plugin, **_figures(command)}
                print(
                    store, plugin, row.get("cannot") or f"{row['exact'] * 1e3:.0f} ms until exact"
                )
                rows.append(row)
    return rows


def _figures(command: list[str]) -> dict[str, Any]:
    """Return what the command prints, or in words why there is nothing."""
    with tempfile.TemporaryDirectory() as folder:
        # Neither the settings of whoever measures, nor the builds that they have not finished.
        own = {"NAPARI_CONFIG": f"{folder}/settings.yaml", "XDG_STATE_HOME": folder}
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                timeout=1800,
                env=os.environ | own,
            )
        except subprocess.TimeoutExpired:
            return {"cannot": "not done after 30 minutes"}
    if done.returncode:
        return {"cannot": (done.stderr.strip().splitlines() or ["failed"])[-1][:120]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _pyramid(array: zarr.Array[Any], side: int, *, in_shards: bool) -> Path:
    path = WORK / "viewing" / f"pyramid-{side}{'-shards' * in_shards}.ome.zarr"
    if not path.exists():
        shards = (min(256, side),) * 3 if in_shards else None
        factors = [(2, 2, 2)] * 4
        build_pyramid(array, path, axes="zyx", chunks=(64,) * 3, factors=factors, shards=shards)
    return path


@contextmanager
def _address(path: Path, latency: float | None) -> Iterator[str]:
    if latency is None:
        yield str(path)
        return
    with web_server(path.parent, Rules(latency=latency)) as web:
        yield f"{web.url}/{path.name}"


def window_page(rows: list[dict[str, Any]], side: int, moves: int) -> list[str]:
    """Return the paragraphs and tables of the page."""
    lines = ["## In a window", LOOKING.format(side=side)]
    lines.append(markdown_table(HEADER, [_cells(row) for row in rows]))
    ours = next((row for row in rows if "build_p99" in row), None)
    if ours is not None:
        before, middle, after = (n / 2**20 for n in ours["memory"])
        kept, budget = (n / 2**20 for n in ours["cache"])
        table = markdown_table(
            ["memory MiB", "cache MiB", "budget MiB", "build: gap p99 ms", "build: gap max ms"],
            [
                [
                    f"{before:.0f}, {middle:.0f}, {after:.0f}",
                    f"{kept:.0f}",
                    f"{budget:.0f}",
                    f"{ours['build_p99'] * 1e3:.0f}",
                    f"{ours['build_max'] * 1e3:.0f}",
                ]
            ],
        )
        lines += ["### Memory, and looking while it builds", MOVING.format(moves=moves), table]
    return lines


def _cells(row: dict[str, Any]) -> list[str]:
    if "cannot" in row:
        return [row["store"], row["plugin"], row["cannot"], *[""] * (len(HEADER) - 3)]
    milliseconds = {k: f"{row[k] * 1e3:.0f}" for k in row if isinstance(row[k], float)}
    return [
        row["store"],
        row["plugin"],
        f"{row['open']:.2f}",
        milliseconds["something"],
        milliseconds["exact"],
        f"**{row['exact'] / row['tensorstore']:.2f}**",
        milliseconds["gap_p99"],
        milliseconds["gap_max"],
        milliseconds["again"],
        milliseconds.get("back", ""),
        f"{row['played']:.0%}",
    ]
