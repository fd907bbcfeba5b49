"""A program that ends right after it has closed the viewer ends in order, whatever was running."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

PROGRAM = """
import sys
import time
import napari
from qtpy.QtWidgets import QApplication
from napari_pyramid.build.fill import TileFiller

fill = TileFiller.fill
TileFiller.fill = lambda filler, number: time.sleep(0.2) or fill(filler, number)
source, destination = sys.argv[1:]
viewer = napari.Viewer()
_, widget = viewer.window.add_plugin_dock_widget("napari-pyramid", "Build pyramid")
widget.source.value = "path"
widget.path.value = source
handle = QApplication.processEvents
while not (widget.is_settled and widget.chooser.planned.plans):
    handle()
widget.destination.set_value(destination)
widget.chunks.value = "8, 8, 8"
while not (widget.is_settled and widget.chooser.planned.plans):
    handle()
widget.start()
while widget.queue.current is None or widget.queue.current.step is None:
    handle()
viewer.close()
print("closed")
"""


@pytest.mark.slow
def test_program_may_end_while_it_builds(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 99, (40, 41, 43), "u2")
    zarr.create_array(tmp_path / "a.zarr", data=values, chunks=(8, 8, 8))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "a.zarr"), str(tmp_path / "b.ome.zarr")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (0, "closed\n"), done.stderr
    work = tmp_path / ".b.ome.zarr.building"
    assert (work / "state.json").is_file()  # kept, to be resumed
