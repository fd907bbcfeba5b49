"""Measures what painting on labels costs: a stroke in a window, and an update of the pyramid.

    python benchmarks/painting.py [--chunks 1000] [--only strokes | update]

Runs in the environment of the project, with napari. A stroke of the mouse is made on empty labels
of 10^12 voxels (levels as of an image of 10,000^3), near and far, and on a plain NumPy array of the
size of the screen; the sides take turns. What counts is the time that the window's thread takes for
a move of the mouse, without the drawing of the frame. Then a number of chunks is edited in labels
of 10^9 to 10^12 voxels, and saved. The floor is the same chunks of level 0 alone, each read,
changed and written by zarr-python with the same codecs. Writes ``docs/benchmarks/painting.md`` and
``painting.json``; a half that is left out keeps its earlier results.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import zarr
from report import machine, markdown_table
from workloads import HERE, RESULTS

SIDES = (1_000, 3_160, 10_000)
"""Sides of the volumes: 10^9 voxels to 10^12."""
CHUNK, MOVES, ROUNDS = 64, 20, 3
WINDOW = HERE.parent / "scripts" / "in-window.sh"


def image(path: Path, side: int) -> Path:
    """An image of `side`^3 without a chunk, in levels down to 256^3."""
    group = zarr.open_group(path, mode="w")
    datasets: list[dict[str, Any]] = []
    while not datasets or side > 256 * 2 ** (len(datasets) - 1):
        k = len(datasets)
        shape = (-(-side // 2**k),) * 3
        group.create_array(str(k), shape=shape, chunks=(CHUNK,) * 3, dtype="u2")
        scale = {"type": "scale", "scale": [2.0**k] * 3}
        datasets.append({"path": str(k), "coordinateTransformations": [scale]})
    axes = [{"name": a, "type": "space"} for a in "zyx"]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    return path


# ---- strokes, in a process of its own under Xvfb -------------------------------------------------


def strokes() -> dict[str, list[float]]:
    """Milliseconds that each move of the mouse takes, on each side."""
    import napari
    from qtpy.QtCore import QPoint, Qt
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QApplication

    from napari_pyramid import create_labels
    from napari_pyramid._napari import _editing
    from napari_pyramid._napari.reader import read

    viewer = napari.Viewer()
    viewer.window._qt_window.resize(1280, 800)
    app = QApplication.instance()
    canvas = viewer.window._qt_viewer.canvas.native
    plain = viewer.add_labels(np.zeros((3, 1000, 1000), "uint32"), name="plain", visible=False)

    def wait(done: Any) -> None:
        while not done():
            app.processEvents()
            time.sleep(0.01)

    with tempfile.TemporaryDirectory() as folder:
        store = image(Path(folder) / "image.ome.zarr", SIDES[-1])
        create_labels(store)
        ((data, state, _),) = read(str(store / "labels" / "labels"))
        layer = viewer.add_labels(data, **{**state, "visible": False})
        viewer.layers.selection.active = layer
        layer.visible = True
        _editing.edit_labels(viewer)
        wait(lambda: _editing.editing_of(layer) is not None)
        sides = {
            "NumPy array, brush 10": (plain, 10, (1, 500, 500), 1.0),
            "10^12 voxels, near, brush 10": (layer, 10, (5000, 5000, 5000), 1.0),
            "10^12 voxels, near, brush 40": (layer, 40, (5000, 5000, 5000), 1.0),
            "10^12 voxels, far, brush 100": (layer, 100, (5000, 5000, 5000), 0.08),
        }
        found: dict[str, list[float]] = {name: [] for name in sides}
        for turn in range(ROUNDS):
            for name, (painted, brush, centre, zoom) in sides.items():
                for one in (plain, layer):
                    one.visible = one is painted
                viewer.layers.selection.active = painted
                painted.mode, painted.brush_size, painted.selected_label = "paint", brush, turn + 1
                viewer.dims.point = centre
                viewer.scene.camera.center, viewer.scene.camera.zoom = centre, zoom
                wait(lambda painted=painted: painted.loaded)
                y = 150 + 100 * turn
                QTest.mousePress(canvas, Qt.MouseButton.LeftButton, pos=QPoint(100, y))
                for i in range(MOVES):
                    start = time.thread_time()
                    QTest.mouseMove(canvas, QPoint(100 + 20 * i, y + i))
                    took = 1000 * (time.thread_time() - start)
                    app.processEvents()
                    if turn:  # the first stroke compiles
                        found[name].append(took)
                QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=QPoint(480, y + 19))
        viewer.close()
    return found


# ---- updates -------------------------------------------------------------------------------------


def chosen(side: int, n: int) -> list[tuple[int, ...]]:
    """Chunks in the middle of the volume, in a cube of 11 x 11 x 11 chunks, in random order."""
    rng = np.random.default_rng(0)
    first = side // CHUNK // 2 - 5
    places = rng.choice(11**3, n, replace=False)
    return [tuple(first + int(i) for i in np.unravel_index(p, (11, 11, 11))) for p in places]


def update(side: int, n: int) -> dict[str, Any]:
    """Seconds to save `n` edited chunks, beside the floor; and the chunks that were written."""
    from napari_pyramid import create_labels, edit_pyramid

    with tempfile.TemporaryDirectory() as folder:
        made = create_labels(image(Path(folder) / "image.ome.zarr", side))
        store = Path(made.levels[0].store.root)
        rows = []
        for turn in range(ROUNDS):
            chunks = chosen(side, n)
            editor = edit_pyramid(store)
            for index in chunks:
                corner = [CHUNK * i for i in index]
                plane = (corner[0] + turn, *(slice(c + 8, c + 56) for c in corner[1:]))
                editor[plane] = turn + 1
            start = time.perf_counter()
            editor.save()
            saved = time.perf_counter() - start
            floor = zarr.open_array(store / "0")
            start = time.perf_counter()
            for index in chunks:
                box = tuple(slice(CHUNK * i, CHUNK * (i + 1)) for i in index)
                block = floor[box]
                block[turn, 8:56, 8:56] = turn + 1
                floor[box] = block
            rows.append((saved, time.perf_counter() - start))
        files = sum(1 for p in store.rglob("*") if p.is_file() and p.parent.name.isdigit())
        later = rows[1:]  # the first one compiles
        return {
            "voxels": side**3,
            "chunks": n,
            "files": files,
            "saved": min(s for s, _ in later),
            "floor": min(f for _, f in later),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunks", type=int, default=1000)
    parser.add_argument("--only", choices=["strokes", "update", "child"])
    options = parser.parse_args()
    if options.only == "child":
        print("RESULT" + json.dumps(strokes()))
        return
    kept = RESULTS / "painting.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    if options.only != "update":
        command = [str(WINDOW), sys.executable, __file__, "--only", "child"]
        ran = subprocess.run(command, capture_output=True, text=True)
        line = next((v for v in ran.stdout.splitlines() if v.startswith("RESULT")), None)
        if line is None:
            raise SystemExit(ran.stderr)
        results["strokes"] = json.loads(line.removeprefix("RESULT"))
    if options.only != "strokes":
        results["update"] = [update(side, options.chunks) for side in SIDES]
    kept.write_text(json.dumps(results, indent=1) + "\n")
    strokes_table = markdown_table(
        ["", "median ms", "95 % ms", "longest ms"],
        [
            [name, *(f"{v:.1f}" for v in (median(ms), float(np.percentile(ms, 95)), max(ms)))]
            for name, ms in results.get("strokes", {}).items()
        ],
    )
    update_table = markdown_table(
        ["voxels", "edited chunks", "files of all levels", "update s", "floor s", "ratio"],
        [
            [
                f"{r['voxels']:.1e}",
                str(r["chunks"]),
                str(r["files"]),
                f"{r['saved']:.2f}",
                f"{r['floor']:.2f}",
                f"{r['saved'] / r['floor']:.2f}",
            ]
            for r in results.get("update", [])
        ],
    )
    text = f"""# Painting

{machine()}. `python benchmarks/painting.py`.

A stroke: time of the window's thread for each move of the mouse, without the drawing of the frame.

{strokes_table}

An update: edited chunks of {CHUNK}^3 (uint32) near each other, and all that depends on them. The
floor reads, changes and writes the same chunks of level 0 alone, with zarr-python.

{update_table}
"""
    (RESULTS / "painting.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
