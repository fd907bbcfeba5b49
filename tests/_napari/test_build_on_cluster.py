"""The address of a dask scheduler in the form: the cluster builds, and the window shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from cluster import dask_cluster
from helpers import digest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_pyramid import build_pyramid

PATIENCE = 120_000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # dask leaves sockets to the collector
]


def test_workers_of_the_cluster_build_what_this_machine_builds(
    viewer: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).integers(0, 1000, (40, 41, 43), dtype=np.uint16)
    zarr.create_group(tmp_path / "s.zarr").create_array("0", data=values, chunks=(16, 16, 16))
    build_pyramid(tmp_path / "s.zarr", tmp_path / "here" / "x.ome.zarr", n_levels=2)

    def refuse(*_: Any) -> None:
        raise AssertionError("a tile was filled in the process of the window")

    monkeypatch.setattr("napari_pyramid.build.fill.TileFiller.fill", refuse)
    monkeypatch.setattr("napari_pyramid._napari._estimating.is_cheap_to_read", lambda plan: False)
    _, widget = viewer.window.add_plugin_dock_widget("napari-pyramid", "Build pyramid")
    with dask_cluster(tmp_path) as cluster:
        for name, value in {
            "source": "path",
            "path": tmp_path / "s.zarr",
            "destination": tmp_path / "there" / "x.ome.zarr",
            "n_levels": 2,
            "scheduler": cluster.address,
        }.items():
            getattr(widget, name).value = value
            qtbot.waitUntil(lambda: widget.is_settled, timeout=PATIENCE)
        QTest.mouseClick(widget.build, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(
            lambda: [task.state for task in widget.queue.tasks] in (["done"], ["failed"]),
            timeout=PATIENCE,
        )
        assert widget.queue.tasks[0].error is None
    for level in ("0", "1"):  # the group has the name that the widget gives the image
        built = digest(tmp_path / "there" / "x.ome.zarr" / level)
        assert built == digest(tmp_path / "here" / "x.ome.zarr" / level)
