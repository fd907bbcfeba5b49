"""OME-TIFF of a region: pixels and metadata as tifffile, Pillow and other readers find them."""

from __future__ import annotations

import dataclasses
import sys
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
import zarr
from helpers import Array
from PIL import Image as Pillow

from napari_pyramid.arrays.grid import Grid
from napari_pyramid.axes import Axis
from napari_pyramid.build.progress import Steps
from napari_pyramid.errors import DestinationError, PyramidError, SourceError, SpecError
from napari_pyramid.export import COMPRESSIONS, plan_export
from napari_pyramid.export.region import ExportSource
from napari_pyramid.export.tiff import TiffExport
from napari_pyramid.image import Channel
from napari_pyramid.layer_image import RGBA, LayerImage
from napari_pyramid.pyramid import open_pyramid

UNITS = {"space": "micrometer", "time": "second"}


def source_of(pixels: Any, axes: str, **more: Any) -> ExportSource:
    ndim = len(axes)
    named = [Axis.named(name) for name in axes]
    typed = tuple(dataclasses.replace(a, unit=UNITS.get(a.type or "")) for a in named)
    scale = tuple(0.5 * (i + 1) for i in range(ndim))
    image = LayerImage("cells", (pixels,), "image", typed, scale, (0.0,) * ndim)
    return ExportSource(dataclasses.replace(image, **more), (Grid((1.0,) * ndim, (0.0,) * ndim),))


def write(path: Path, source: ExportSource, **region: slice) -> Path:
    steps = Steps(plan_export(source.cut(source.region(region)), path).steps())
    done = [step.done / step.total for step in steps]
    assert done[-1] == 1
    assert steps.result == path
    assert list(path.parent.iterdir()) == [path]
    return path


def pixels_of(xml: str) -> ElementTree.Element:
    [found] = [e for e in ElementTree.fromstring(xml).iter() if e.tag.endswith("}Pixels")]
    return found


def random(shape: tuple[int, ...], dtype: str = "u2") -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 256, shape)
    return values.astype(dtype)


def test_five_axes_with_units_names_and_colours(tmp_path: Path) -> None:
    pixels = random((2, 3, 4, 31, 45))
    channels = (Channel("DAPI", "#0000FF"), Channel("GFP", "#00FF00"), Channel(None, None))
    source = source_of(pixels, "tczyx", channels=channels, translation=(0.0, 0.0, 7.0, 20.0, 30.0))
    path = write(tmp_path / "a.ome.tif", source, c=slice(0, 2), z=slice(1, 4), x=slice(5, 44))
    expected = pixels[:, :2, 1:4, :, 5:44]
    with tifffile.TiffFile(path) as file:
        assert not file.is_bigtiff
        [series] = file.series
        assert series.axes == "TCZYX"
        np.testing.assert_array_equal(series.asarray(), expected)
        found = pixels_of(file.ome_metadata or "")
    given = {k: v for k, v in found.attrib.items() if k.startswith(("Physical", "Time"))}
    assert given == {
        "PhysicalSizeX": "2.5",
        "PhysicalSizeY": "2.0",
        "PhysicalSizeZ": "1.5",
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeYUnit": "µm",
        "PhysicalSizeZUnit": "µm",
        "TimeIncrement": "0.5",
        "TimeIncrementUnit": "s",
    }
    described = [e.attrib for e in found if e.tag.endswith("}Channel")]
    # OME-XML: red, green, blue, alpha in a signed 32-bit integer
    assert [(c["Name"], int(c["Color"])) for c in described] == [
        ("DAPI", 0x0000FFFF),
        ("GFP", 0x00FF00FF),
    ]
    places = [e.attrib for e in found if e.tag.endswith("}Plane")]
    assert len(places) == 12
    assert [float(p["PositionZ"]) for p in places[:4]] == [8.5, 10.0, 11.5, 8.5]
    assert {(float(p["PositionY"]), float(p["PositionX"])) for p in places} == {(20.0, 42.5)}
    with Pillow.open(path) as picture:  # another reader: plane 4 is t 0, c 1, z 1
        picture.seek(4)
        np.testing.assert_array_equal(np.asarray(picture), expected[0, 1, 1])


def test_our_reader_finds_the_same_image(tmp_path: Path) -> None:
    channels = (Channel("DAPI", "#0000FF"), Channel("GFP", "#00FF00"))
    source = source_of(random((2, 9, 11)), "cyx", channels=channels)
    found = open_pyramid(write(tmp_path / "a.ome.tif", source))
    assert (found.scale[1:], found.channels) == (source.image.scale[1:], channels)
    assert [(a.name, a.unit) for a in found.axes] == [
        ("c", None),
        ("y", "micrometer"),
        ("x", "micrometer"),
    ]
    assert np.array_equal(found[0][...], source.image.levels[0])


@pytest.mark.parametrize(
    ("axes", "shape", "letters", "order"),
    [
        ("xyz", (5, 7, 9), "ZYX", (2, 1, 0)),
        ("zcyx", (2, 3, 7, 9), "CZYX", (1, 0, 2, 3)),
        ("yxt", (7, 9, 4), "TYX", (2, 0, 1)),
    ],
)
def test_axes_in_another_order(
    tmp_path: Path, axes: str, shape: tuple[int, ...], letters: str, order: tuple[int, ...]
) -> None:
    pixels = random(shape)
    with tifffile.TiffFile(write(tmp_path / "a.tif", source_of(pixels, axes))) as file:
        assert file.series[0].axes == letters
        np.testing.assert_array_equal(file.asarray(), pixels.transpose(order))


def test_unknown_axis_of_one_sample_is_left_out(tmp_path: Path) -> None:
    source = source_of(random((3, 7, 9)), "ayx")
    with pytest.raises(SpecError, match="'a' has 3 samples, but an OME-TIFF has the axes t, c"):
        plan_export(source.cut(source.region(None)), tmp_path / "a.tif")
    path = write(tmp_path / "a.tif", source, a=slice(1, 2))
    np.testing.assert_array_equal(tifffile.imread(path), source.image.levels[0][1])


@pytest.mark.parametrize("n", [3, 4])
def test_colour_picture(tmp_path: Path, n: int) -> None:
    pixels = random((31, 45, n), "u1")
    channels = tuple(Channel(name, color) for name, color in RGBA[:n])
    source = source_of(pixels, "yxc", channels=channels)
    path = write(tmp_path / "a.tif", source, x=slice(3, 40))
    with tifffile.TiffFile(path) as file:
        assert file.pages.first.photometric.name == "RGB"
        assert file.series[0].axes == "YXS"
    np.testing.assert_array_equal(np.asarray(Pillow.open(path)), pixels[:, 3:40])


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        ("u1", "u1"),
        (">u2", "u2"),
        ("i4", "i4"),
        ("f4", "f4"),
        ("f8", "f8"),
        ("i8", "i4"),
        ("u8", "u4"),
        ("f2", "f4"),
        ("?", "u1"),
    ],
)
def test_data_types(tmp_path: Path, dtype: str, stored: str) -> None:
    pixels = random((7, 9), dtype)
    found = tifffile.imread(write(tmp_path / "a.tif", source_of(pixels, "yx")))
    assert found.dtype == np.dtype(stored)
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize(("value", "dtype"), [(2**31, "i8"), (-(2**31) - 1, "i8"), (2**32, "u8")])
def test_integer_that_does_not_fit_is_refused(tmp_path: Path, value: int, dtype: str) -> None:
    source = source_of(np.full((7, 9), value, dtype), "yx")
    with pytest.raises(SourceError, match=f"value {value} does not fit"):
        write(tmp_path / "a.tif", source)
    assert not list(tmp_path.iterdir())


def test_pieces_of_rows_are_put_together(tmp_path: Path) -> None:
    pixels = random((7, 130, 141))
    chunked = zarr.create_array({}, data=pixels, chunks=(4, 64, 32))
    source = source_of(chunked, "zyx")
    cut = source.cut(source.region({"y": slice(3, 120), "x": slice(10, 139)}))
    export = TiffExport(cut, tmp_path / "a.tif", compression="none", block_bytes=4 * 64 * 64 * 2)
    assert len(list(export.steps())) == 12
    np.testing.assert_array_equal(tifffile.imread(export.path), pixels[:, 3:120, 10:139])


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize(
    ("axes", "shape", "dtype"),
    [
        ("tczyx", (2, 1, 3, 300, 530), "u2"),
        ("yxc", (300, 270, 3), "u1"),
        ("zyx", (2, 9, 300), "f4"),
    ],
    ids=["planes", "colours", "floats"],
)
def test_compressed_pixels_are_the_same(
    tmp_path: Path, compression: Any, axes: str, shape: tuple[int, ...], dtype: str
) -> None:
    rows = np.arange(shape[axes.index("y")]).reshape(-1, *[1] * (len(shape) - axes.index("y") - 1))
    pixels = (random(shape, dtype) // 64 + rows).astype(dtype)
    channels = tuple(Channel(*c) for c in RGBA[:3]) if axes == "yxc" else ()
    chunks = tuple(min(n, 70) for n in shape)
    stored = zarr.create_array({}, data=pixels, chunks=chunks)
    source = source_of(stored, axes, channels=channels)
    cut = source.cut(source.region({"y": slice(2, None), "x": slice(1, None)}))
    export = TiffExport(cut, tmp_path / "a.tif", compression=compression, block_bytes=2**18)
    assert (list(export.steps())[-1].total > 1) == (dtype != "f4")
    expected = pixels[2:, 1:] if axes == "yxc" else pixels[..., 2:, 1:]
    with tifffile.TiffFile(export.path) as file:
        tag = {"deflate": "ADOBE_DEFLATE", "zstd": "ZSTD", "none": "NONE"}[compression]
        assert file.pages.first.compression.name == tag
        np.testing.assert_array_equal(file.asarray(), np.squeeze(expected))
        assert pixels_of(file.ome_metadata or "").attrib["PhysicalSizeXUnit"] == "µm"
    if compression == "none":
        assert export.path.stat().st_size > expected.nbytes
    elif dtype != "f4":
        assert export.path.stat().st_size < 0.6 * expected.nbytes
    if compression == "deflate":  # another reader: the last plane, by libtiff
        with Pillow.open(export.path) as picture:
            picture.seek(picture.n_frames - 1)
            last = expected if axes == "yxc" else expected.reshape(-1, *expected.shape[-2:])[-1]
            np.testing.assert_array_equal(np.asarray(picture), last)


def test_compression_that_is_unknown_or_misses_a_package_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(random((7, 9)), "yx")
    cut = source.cut(source.region(None))
    with pytest.raises(ValueError, match="compression 'lzw': expected deflate, zstd, none"):
        plan_export(cut, tmp_path / "a.tif", compression="lzw")  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(PyramidError, match="zstd needs the package imagecodecs: choose deflate"):
        plan_export(cut, tmp_path / "a.tif", compression="zstd")


class Large(Array):
    """Zeros of any size, in chunks."""

    ndim = 3

    def __getitem__(self, key: Any) -> np.ndarray:
        return np.broadcast_to(np.uint16(7), self.shape)[key].copy()


def test_file_beyond_4_gib_is_a_bigtiff_and_smaller_ones_are_not(tmp_path: Path) -> None:
    for n, big in ((2**31, True), (2**30, False)):
        source = source_of(Large((n // 2**20, 1024, 1024), chunks=(64, 64, 64)), "zyx")
        cut = source.cut(source.region(None))
        export = TiffExport(cut, tmp_path / "a.tif", compression="none")
        assert TiffExport(cut, tmp_path / "a.tif").is_big is big
        assert export.is_big is big
        assert export.peak_memory < 100 * 2**20
        export._write_headers(tmp_path / "a.tif")  # sparse: takes no room
        with tifffile.TiffFile(tmp_path / "a.tif") as file:
            assert file.is_bigtiff is big
            assert file.series[0].shape == source.shape


def test_memory_is_bounded(tmp_path: Path) -> None:
    source = source_of(Large((60, 300, 300), chunks=(5, 300, 300)), "zyx")
    export = TiffExport(source.cut(source.region(None)), tmp_path / "a.tif", block_bytes=2**20)
    assert export.nbytes > 5 * export.peak_memory
    tracemalloc.start()
    for _ in export.steps():
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * export.peak_memory
    assert (tifffile.imread(export.path) == 7).all()


def test_cancel_and_failure_leave_nothing(tmp_path: Path) -> None:
    class Broken(Large):
        def __getitem__(self, key: Any) -> np.ndarray:
            if key[0].start:
                raise OSError("the disk is gone")
            return super().__getitem__(key)

    large = Broken((60, 1500, 1500), chunks=(10, 1500, 1500))
    source = source_of(large, "zyx")
    steps = plan_export(source.cut(source.region(None)), tmp_path / "a.tif").steps()
    with closing(steps):
        assert next(steps).done == 0, "an export can be stopped within a block"
        assert [p.suffix for p in tmp_path.iterdir()] == [".part"]
    assert not list(tmp_path.iterdir())
    with pytest.raises(SourceError, match="the disk is gone"):
        write(tmp_path / "a.tif", source)
    assert not list(tmp_path.iterdir())


def test_existing_file_is_kept_unless_it_may_be_replaced(tmp_path: Path) -> None:
    path, source = tmp_path / "a.tif", source_of(random((7, 9)), "yx")
    path.write_text("mine")
    cut = source.cut(source.region(None))
    with pytest.raises(DestinationError, match=r"a\.tif exists"):
        plan_export(cut, path).steps()
    assert path.read_text() == "mine"
    for _ in plan_export(cut, path, overwrite=True).steps():
        assert path.read_text() == "mine"  # until the new one is complete
    np.testing.assert_array_equal(tifffile.imread(path), source.image.levels[0])


def test_disk_without_room_is_refused_before_it_is_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_pyramid.export import tiff

    monkeypatch.setattr(
        tiff.shutil, "disk_usage", lambda path: tiff.shutil._ntuple_diskusage(9, 8, 1)
    )
    source = source_of(random((7, 9)), "yx")
    cut = source.cut(source.region(None))
    with pytest.raises(DestinationError, match=r"takes 126 B, but 1 B are free"):
        plan_export(cut, tmp_path / "a.tif", compression="none").steps()


def test_file_may_fill_more_than_half_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_pyramid.export import tiff

    def usage(folder: Path) -> Any:
        used = sum(file.stat().st_size for file in tmp_path.iterdir())
        return tiff.shutil._ntuple_diskusage(70_000, used, 70_000 - used)

    monkeypatch.setattr(tiff.shutil, "disk_usage", usage)
    source = source_of(random((5, 67, 99)), "zyx")
    export = plan_export(source.cut(source.region(None)), tmp_path / "a.tif", compression="none")
    for _ in export.steps():
        pass
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), source.image.levels[0])


def test_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    path, source = tmp_path / "a.tif", source_of(random((7, 9)), "yx")
    steps = plan_export(source.cut(source.region(None)), path).steps()
    next(steps)
    path.write_text("mine")
    with pytest.raises(DestinationError, match=r"a\.tif exists"):
        list(steps)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["mine"]
