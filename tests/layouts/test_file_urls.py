"""A ``file://`` URL opens what its path opens, and can be written to, whatever the format is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorstore
import tifffile
import zarr

from napari_pyramid import export_region, iter_build
from napari_pyramid.catalog import open_catalog
from napari_pyramid.layouts import open_images

VALUES = np.random.default_rng(0).integers(0, 999, (5, 67, 99), "u2")


def write(path: Path) -> Path:
    if path.suffix == ".tif":
        tifffile.imwrite(path, VALUES, photometric="minisblack")
    elif path.suffix == ".zarr":
        zarr.create_array(path, data=VALUES)
    else:
        kvstore = {"driver": "file", "path": str(path)}
        volume = {"num_channels": 1, "type": "image", "data_type": "uint16"}
        scale = {"size": VALUES.T.shape, "encoding": "raw", "resolution": [4, 4, 4]}
        tensorstore.open(
            {
                "driver": "neuroglancer_precomputed",
                "kvstore": kvstore,
                "multiscale_metadata": volume,
                "scale_metadata": {**scale, "chunk_size": [32, 32, 4]},
                "create": True,
            }
        ).result()[..., 0] = VALUES.T
    return path


@pytest.mark.parametrize("name", ["a b%20.tif", "a b.zarr", "a b.precomputed"])
def test_images_and_catalogs(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    url = path.as_uri()
    (image,) = open_images(url)
    np.testing.assert_array_equal(np.asarray(image.levels[0].array[:]).squeeze(), VALUES)
    assert image.name == open_images(path)[0].name
    found, expected = open_catalog(url), open_catalog(path)
    assert (found.source, found.name) == (expected.source, expected.name)


def test_destinations_and_resumed_builds(tmp_path: Path) -> None:
    path = write(tmp_path / "a b.tif")
    made = export_region(path.as_uri(), (tmp_path / "c d.tif").as_uri(), region={"z": slice(2, 4)})
    assert made == tmp_path / "c d.tif"
    np.testing.assert_array_equal(tifffile.imread(made), VALUES[2:4])
    steps = iter_build(path.as_uri(), (tmp_path / "e f.zarr").as_uri(), chunks=(1, 33, 33))
    next(step for step in steps if step.done)
    steps.close()
    first = next(iter_build(path, tmp_path / "e f.zarr", chunks=(1, 33, 33)))
    assert first.done > 0
