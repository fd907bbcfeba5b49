"""The samples that come with the package: they open without a network, and are small."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np
import pytest

from napari_pyramid import open_pyramids
from napari_pyramid._napari import sample_data
from napari_pyramid.check import check_store

DATA = files("napari_pyramid") / "data"
SAMPLES = {
    "nuclei": [("DNA", "image", "yx"), ("nuclei", "labels", "yx")],
    "channels": [("cells", "image", "cyx")],
    "development": [("development", "image", "tzyx"), ("nuclei", "labels", "tzyx")],
}


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_is_small_and_conforms(name: str) -> None:
    path = DATA / f"{name}.ozx"
    assert len(path.read_bytes()) < 300_000
    found = open_pyramids(str(path))
    assert [(p.name, p.kind, "".join(a.name for a in p.axes)) for p in found] == SAMPLES[name]
    assert all(len(p) > 1 for p in found)
    assert not check_store(str(path)).findings


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_opens_in_the_viewer(viewer: Any, qtbot: Any, name: str) -> None:
    layers = viewer.open_sample("napari-pyramid", name)
    kinds = [type(layer).__name__ for layer in layers]
    assert kinds == (["Image"] * 3 if name == "channels" else ["Image", "Labels"])
    qtbot.wait(50)


def test_labels_of_the_series_are_where_the_nuclei_are() -> None:
    image, labels = (layer[0][0] for layer in sample_data.development())
    pixels, values = np.asarray(image), np.asarray(labels)
    assert pixels[values > 0].mean() > 20 * pixels[values == 0].mean()
    numbers = [len(np.unique(v)) - 1 for v in values]
    assert numbers[0] < numbers[-1]


def test_licence_of_the_samples_travels_with_them() -> None:
    assert "CC0" in (DATA / "samples.LICENSE.txt").read_text()
