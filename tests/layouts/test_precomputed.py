"""neuroglancer's precomputed volumes, written by TensorStore."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore

from napari_pyramid.errors import LayoutError, LayoutWarning
from napari_pyramid.layouts import open_images


def write(path: Path, channels: int = 1, kind: str = "image") -> np.ndarray:
    """Two scales of a volume (x, y, z, channel) whose first voxel is at (8, 4, 2)."""
    values = np.random.default_rng(0).integers(0, 999, (20, 12, 6, channels), dtype="uint32")
    for step, key in ((1, "full"), (2, "half")):
        level = values[::step, ::step]
        spec = {
            "driver": "neuroglancer_precomputed",
            "kvstore": {"driver": "file", "path": str(path)},
            "multiscale_metadata": {"type": kind, "data_type": "uint32", "num_channels": channels},
            "scale_metadata": {
                "key": key,
                "size": level.shape[:3],
                "voxel_offset": [8 // step, 4 // step, 2],
                "resolution": [4 * step, 5 * step, 40],
                "chunk_size": [8, 8, 4],
                "encoding": "raw",
            },
        }
        tensorstore.open(spec, create=True).result()[...] = level
    return values


def test_a_volume(tmp_path: Path) -> None:
    values = write(tmp_path / "vol")[..., 0]
    (image,) = open_images(tmp_path / "vol")
    assert (image.name, image.kind) == ("vol", "image")
    assert [level.array.shape for level in image.levels] == [(6, 12, 20), (6, 6, 10)]
    assert [level.scale for level in image.levels] == [(40, 5, 4), (40, 10, 8)]
    assert image.levels[0].translation == (80, 20, 32)
    assert [(axis.name, axis.unit) for axis in image.axes or ()] == [
        (name, "nanometer") for name in "zyx"
    ]
    np.testing.assert_array_equal(image.levels[0].array[...], values.T)
    np.testing.assert_array_equal(
        image.levels[1].array[-1, ::2, 3], values.T[:, ::2, ::2][-1, ::2, 3]
    )


def test_channels_and_segmentations(tmp_path: Path) -> None:
    values = write(tmp_path / "a", channels=2)
    write(tmp_path / "b", kind="segmentation")
    (image,) = open_images(tmp_path / "a")
    assert [axis.name for axis in image.axes or ()] == ["c", "z", "y", "x"]
    np.testing.assert_array_equal(image.levels[0].array[1], values.T[1])
    assert open_images(tmp_path / "b")[0].kind == "labels"


def change(path: Path, **scale: Any) -> Path:
    file = path / "info"
    info = json.loads(file.read_text())
    info["scales"][1].update(scale)
    file.write_text(json.dumps(info))
    return path


def test_a_scale_outside_the_volume_is_left_out(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.warns(LayoutWarning, match=r"info: scales\[1\]: key '../elsewhere'"):
        (image,) = open_images(change(tmp_path, key="../elsewhere"))
    assert len(image.levels) == 1


@pytest.mark.parametrize(
    "scale", [{"key": 3}, {"encoding": "nonsense"}, {"chunk_sizes": []}, {"resolution": "x"}]
)
@pytest.mark.filterwarnings(
    r"ignore:.*info. scales\[\d\]:napari_pyramid.errors.LayoutWarning"
)  # why, for each
def test_an_info_that_tensorstore_refuses_is_named(tmp_path: Path, scale: dict[str, Any]) -> None:
    write(tmp_path)
    with pytest.raises(LayoutError, match="info: none of its scales"):
        open_images(change(tmp_path, **scale))


def test_other_infos_are_no_volume(tmp_path: Path) -> None:
    (tmp_path / "info").write_text('{"@type": "neuroglancer_skeletons"}')
    with pytest.raises(LayoutError, match="no image"):
        open_images(tmp_path)
