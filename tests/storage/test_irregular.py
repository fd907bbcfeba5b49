"""Arrays whose chunks differ in size.

Read as any other where zarr can, else refused in one line.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

from napari_pyramid import (
    DestinationError,
    LayoutError,
    SourceError,
    build_pyramid,
    iter_build,
    open_pyramid,
    plan_build,
)
from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.cli import app

EDGES = ((5, 8, 7), (10, 20, 1))
PIXELS = np.arange(620, dtype="<u2").reshape(20, 31)
CAN_READ = hasattr(zarr.Array, "read_chunk_sizes")
"""zarr 3.2 and newer."""


def write(path: Path) -> None:
    """The array as the zarr extension "rectilinear" has it, without zarr.

    Raw samples, chunk 1, 0 left out.
    """
    document = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(PIXELS.shape),
        "data_type": "uint16",
        "chunk_grid": {
            "name": "rectilinear",
            "configuration": {"kind": "inline", "chunk_shapes": [list(e) for e in EDGES]},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": 9,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "attributes": {},
    }
    path.mkdir(parents=True)
    (path / "zarr.json").write_text(json.dumps(document))
    starts = [list(itertools.accumulate(e, initial=0)) for e in EDGES]
    for i, j in itertools.product(range(3), range(3)):
        if (i, j) != (1, 0):
            (y, x), (ny, nx) = (starts[0][i], starts[1][j]), (EDGES[0][i], EDGES[1][j])
            (path / f"c.{i}.{j}").write_bytes(PIXELS[y : y + ny, x : x + nx].tobytes())


@pytest.fixture
def expected() -> np.ndarray:
    pixels = PIXELS.copy()
    pixels[5:13, :10] = 9
    return pixels


@pytest.fixture
def irregular(tmp_path: Path) -> Path:
    write(tmp_path / "a.zarr")
    return tmp_path / "a.zarr"


@pytest.fixture
def enabled() -> Iterator[None]:
    with zarr.config.set({"array.rectilinear_chunks": True}):
        yield


def test_says_what_to_do_where_zarr_does_not_read_them(irregular: Path) -> None:
    with pytest.raises(LayoutError, match="chunks differ in size") as raised:
        open_pyramid(irregular)
    message = str(raised.value)
    assert str(irregular / "zarr.json") in message
    assert "ZARR_ARRAY__RECTILINEAR_CHUNKS=True" in message
    assert zarr.__version__ in message
    assert "\n" not in message


if CAN_READ:

    def test_opens_lazily(irregular: Path, expected: np.ndarray, enabled: None) -> None:
        (irregular / "c.2.2").write_bytes(b"damaged")
        view = open_pyramid(irregular).lazy_levels[0]
        assert view.chunks == (8, 20)
        np.testing.assert_array_equal(np.asarray(view[:8, 7:20]), expected[:8, 7:20])
        np.testing.assert_array_equal(np.asarray(view[12::-3, 4:6]), expected[12::-3, 4:6])
        with pytest.raises(SourceError, match="cannot read"):
            np.asarray(view[19, 30])

    def test_array_that_is_given_can_be_viewed(
        irregular: Path, expected: np.ndarray, enabled: None
    ) -> None:
        view = LazyArray(zarr.open_array(irregular, mode="r"))
        np.testing.assert_array_equal(np.asarray(view[3:, ::2]), expected[3:, ::2])

    @pytest.mark.parametrize("source", [Path, zarr.open_array], ids=["path", "array"])
    def test_pyramid_is_built_of_it(
        source: Any,
        irregular: Path,
        expected: np.ndarray,
        tmp_path: Path,
        enabled: None,
        read_level: Any,
        downsampled: Any,
    ) -> None:
        build_pyramid(source(irregular), tmp_path / "x.zarr", n_levels=2, chunks=(6, 9))
        np.testing.assert_array_equal(read_level(tmp_path / "x.zarr" / "0"), expected)
        np.testing.assert_array_equal(
            read_level(tmp_path / "x.zarr" / "1"), downsampled(expected, (2, 2), "mean")
        )

    def test_stopped_build_goes_on(
        irregular: Path, tmp_path: Path, enabled: None, read_level: Any, expected: np.ndarray
    ) -> None:
        options: dict[str, Any] = {"n_levels": 1, "chunks": (6, 9), "max_workers": 1}
        assert plan_build(irregular, tmp_path / "x.zarr", **options).can_resume
        steps = iter_build(irregular, tmp_path / "x.zarr", **options)
        next(step for step in steps if step.done)
        steps.close()
        assert next(iter_build(irregular, tmp_path / "x.zarr", **options)).done > 0
        build_pyramid(irregular, tmp_path / "x.zarr", **options)
        np.testing.assert_array_equal(read_level(tmp_path / "x.zarr" / "0"), expected)

    def test_it_is_not_overwritten(irregular: Path, enabled: None) -> None:
        view = open_pyramid(irregular).lazy_levels[0]
        before = {path.name: path.read_bytes() for path in irregular.iterdir()}
        for source in (irregular, zarr.open_array(irregular, mode="r"), view):
            with pytest.raises(DestinationError, match="is the source"):
                build_pyramid(source, irregular, overwrite=True)
        assert {path.name: path.read_bytes() for path in irregular.iterdir()} == before

    def test_levels_beside_it_are_refused(irregular: Path, enabled: None) -> None:
        with pytest.raises(DestinationError, match="chunks are of one size"):
            build_pyramid(irregular, in_place=True, n_levels=2)

    def test_info_describes_it(irregular: Path, enabled: None) -> None:
        result = CliRunner().invoke(app, ["info", str(irregular)])
        assert result.exit_code == 0
        assert "20 x 31" in result.stdout


else:

    def test_zarr_that_cannot_read_them_is_named(irregular: Path, enabled: None) -> None:
        with pytest.raises(LayoutError, match=f"zarr reads since version 3.2.*{zarr.__version__}"):
            open_pyramid(irregular)
