"""TIFF files and precomputed volumes behind a URL.

Read by ranges, equal to what their own libraries read from disk.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import tifffile
from servers import Rules, web_server

from napari_pyramid.errors import LayoutError, LayoutNotice
from napari_pyramid.layouts import open_images

PIXELS = np.random.default_rng(0).integers(0, 255, (611, 703), "u1")
SHARDING = {
    "@type": "neuroglancer_uint64_sharded_v1",
    "preshift_bits": 1,
    "hash": "identity",
    "minishard_bits": 2,
    "shard_bits": 1,
    "minishard_index_encoding": "gzip",
    "data_encoding": "gzip",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files")
    tiled: dict[str, Any] = {"tile": (64, 64), "compression": "zlib"}
    with tifffile.TiffWriter(path / "cog.tif") as tiff:
        tiff.write(PIXELS, subifds=1, **tiled)
        tiff.write(PIXELS[::2, ::2], subfiletype=1, **tiled)
    stack = np.stack([PIXELS, PIXELS[::-1], PIXELS // 2])
    tifffile.imwrite(path / "stack.ome.tif", stack, metadata={"axes": "ZYX"}, **tiled)
    return path


@pytest.mark.parametrize("ranges", [True, False])
def test_a_pyramidal_tiff_is_read_by_ranges(root: Path, ranges: bool) -> None:
    with web_server(root, Rules(ranges=ranges, query="sig=1")) as web:
        with warnings.catch_warnings():
            warnings.simplefilter("error" if ranges else "ignore", LayoutNotice)
            (image,) = open_images(f"{web.url}/cog.tif?sig=1")
        n_opened = len(web.requests)
        assert [level.array.shape for level in image.levels] == [(611, 703), (306, 352)]
        region = image.levels[0].array[100:300, 200:333]
        np.testing.assert_array_equal(region, PIXELS[100:300, 200:333])
        assert len(web.requests) <= n_opened + 2  # the tiles are near each other in the file
        np.testing.assert_array_equal(image.levels[1].array[...], PIXELS[::2, ::2])


def test_an_ome_tiff_is_read_by_ranges(root: Path) -> None:
    with web_server(root, Rules(missing=403)) as web:
        (image,) = open_images(f"{web.url}/stack.ome.tif")
        np.testing.assert_array_equal(image.levels[0].array[1, 500:, :99], PIXELS[::-1][500:, :99])
        assert all(r.range for r in web.requests if r.status == 206)
    assert image.name == "stack"
    assert [axis.name for axis in image.axes or ()] == ["z", "y", "x"]


def test_a_file_of_another_kind_is_refused_by_name(root: Path) -> None:
    (root / "notes.txt").write_text("no image")
    with web_server(root) as web, pytest.raises(LayoutError, match=r"notes\.txt is a file, but"):
        open_images(f"{web.url}/notes.txt?sig=1")


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("scheme", ["", "precomputed://"])
def test_a_precomputed_volume_is_read(tmp_path: Path, scheme: str, sharded: bool) -> None:
    values = np.random.default_rng(1).integers(0, 2**16, (41, 53, 31, 1), "u2")
    scale: dict[str, Any] = {"size": [41, 53, 31], "resolution": [4, 4, 40], "encoding": "raw"}
    scale |= {"chunk_size": [16, 16, 16], **({"sharding": SHARDING} if sharded else {})}
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": str(tmp_path / "em")},
        "multiscale_metadata": {"type": "image", "data_type": "uint16", "num_channels": 1},
        "scale_metadata": scale,
    }
    tensorstore.open(spec, create=True).result().write(values).result()
    with web_server(tmp_path, Rules(query="sig=1")) as web:
        (image,) = open_images(f"{scheme}{web.url}/em?sig=1")
        expected = values[..., 0].T
        np.testing.assert_array_equal(image.levels[0].array[3:20, 5:, :], expected[3:20, 5:])
    assert image.name == "em"
    assert image.levels[0].scale == (40, 4, 4)
