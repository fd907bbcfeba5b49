"""TIFF written by tifffile; expected pixels are the arrays that were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from napari_pyramid.errors import LayoutError, LayoutWarning
from napari_pyramid.layouts import open_images
from napari_pyramid.layouts.tiff import open_path

RGB = np.random.default_rng(0).integers(0, 255, (97, 131, 3), dtype="uint8")
GREY = np.random.default_rng(1).integers(0, 9999, (2, 3, 37, 41), dtype="uint16")


def pixels(image: Any, level: int = 0) -> np.ndarray:
    return np.asarray(image.levels[level].array[...])


def pyramid(path: Path, values: np.ndarray, **options: Any) -> Path:
    """Three levels in SubIFDs, as OME-TIFF has them."""
    with tifffile.TiffWriter(path) as file:
        file.write(values, subifds=2, tile=(32, 32), **options)
        for step in (2, 4):
            file.write(
                values[::step, ::step],
                subfiletype=1,
                tile=(32, 32),
                photometric=options.get("photometric"),
            )
    return path


def test_ome_tiff(tmp_path: Path) -> None:
    size = {
        "PhysicalSizeX": 0.5,
        "PhysicalSizeY": 0.6,
        "PhysicalSizeZ": 2,
        "PhysicalSizeZUnit": "nm",
    }
    metadata = {
        "axes": "CZYX",
        **size,
        "Channel": {"Name": ["DAPI", "GFP"], "Color": [-16776961, 0x00FF00FF]},
    }
    tifffile.imwrite(
        tmp_path / "cells.ome.tif", GREY, tile=(16, 16), compression="zlib", metadata=metadata
    )
    (image,) = open_images(tmp_path / "cells.ome.tif")
    assert image.name == "cells"
    assert [(axis.name, axis.unit) for axis in image.axes or ()] == [
        ("c", None),
        ("z", "nanometer"),
        ("y", "micrometer"),
        ("x", "micrometer"),
    ]
    assert image.levels[0].scale == (1, 2, 0.6, 0.5)
    assert [(channel.name, channel.color) for channel in image.channels] == [
        ("DAPI", "#FF0000"),
        ("GFP", "#00FF00"),
    ]
    assert image.levels[0].array.chunks == (1, 1, 16, 16)
    np.testing.assert_array_equal(pixels(image), GREY)


def test_pyramidal_rgb(tmp_path: Path) -> None:
    """Sides that do not divide: the scale of a level is the true ratio of the shapes."""
    path = pyramid(
        tmp_path / "slide.ome.tif",
        RGB,
        photometric="rgb",
        metadata={"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25},
    )
    (image,) = open_images(path)
    assert image.rgb
    assert [level.array.shape for level in image.levels] == [(97, 131, 3), (49, 66, 3), (25, 33, 3)]
    assert image.levels[1].scale == pytest.approx((0.25 * 97 / 49, 0.25 * 131 / 66, 1), rel=1e-5)
    for k, step in enumerate((1, 2, 4)):
        np.testing.assert_array_equal(pixels(image, k), RGB[::step, ::step])


def test_imagej(tmp_path: Path) -> None:
    tables = [
        np.array([ramp * np.arange(256) for ramp in on], "uint8") for on in ((1, 0, 0), (0, 1, 0))
    ]
    metadata = {
        "axes": "CZYX",
        "spacing": 2.5,
        "unit": "um",
        "Ranges": (1.0, 200.0, 3.0, 100.0),
        "LUTs": tables,
        "mode": "composite",
    }
    values = np.moveaxis(GREY, 0, 1)
    tifffile.imwrite(
        tmp_path / "ij.tif",
        values,
        imagej=True,
        resolution=(1 / 0.25, 1 / 0.5),
        metadata={**metadata, "axes": "ZCYX"},
    )
    (image,) = open_images(tmp_path / "ij.tif")
    assert [axis.name for axis in image.axes or ()] == ["z", "c", "y", "x"]
    assert image.levels[0].scale == (2.5, 1, 0.5, 0.25)
    assert [(c.color, c.window) for c in image.channels] == [
        ("#FF0000", (1, 200)),
        ("#00FF00", (3, 100)),
    ]
    np.testing.assert_array_equal(pixels(image), values)


def test_cloud_optimised_geotiff(tmp_path: Path) -> None:
    """Overviews are pages of the same file.

    The tie point is the outer corner of the first pixel.
    """
    keys = [
        (33550, "d", 3, (10.0, 10.0, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, 500.0, 900.0, 0.0), True),
        (34735, "H", 8, (1, 1, 0, 1, 1025, 0, 1, 1), True),
    ]
    values = RGB[:96, :128, 0]
    with tifffile.TiffWriter(tmp_path / "cog.tif") as file:
        file.write(values, tile=(32, 32), extratags=keys)
        file.write(values[::2, ::2], tile=(32, 32), subfiletype=1)
    (image,) = open_images(tmp_path / "cog.tif")
    assert [level.scale for level in image.levels] == [(-10, 10), (-20, 20)]
    assert [level.translation for level in image.levels] == [(895, 505), (890, 510)]
    np.testing.assert_array_equal(pixels(image, 1), values[::2, ::2])


def test_svs_without_its_label(tmp_path: Path) -> None:
    described = (
        "Aperio Image Library v11.2.1 \r\n131x97 (32x32) JPEG/RGB Q=30|AppMag = 20|MPP = 0.4990"
    )
    options: dict[str, Any] = {"photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(tmp_path / "s.svs") as file:
        file.write(RGB, tile=(32, 32), description=described, **options)
        file.write(RGB[::8, ::8], description=described, **options)
        file.write(RGB[::4, ::4], tile=(32, 32), description=described, **options)
        file.write(
            RGB[:20, :30],
            description="Aperio Image Library v11.2.1 \r\nlabel 30x20",
            subfiletype=1,
            **options,
        )
    (image,) = open_images(tmp_path / "s.svs")
    assert image.levels[0].scale == (0.499, 0.499, 1)
    assert [axis.unit for axis in image.axes or ()][:2] == ["micrometer"] * 2
    assert len(image.levels) == 2


@pytest.mark.parametrize("compression", ["lzw", "zstd", "jpeg2000", "packbits"])
def test_compressions(tmp_path: Path, compression: str) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", RGB, tile=(32, 32), compression=compression, photometric="rgb"
    )
    np.testing.assert_array_equal(pixels(open_images(tmp_path / "a.tif")[0]), RGB)


@pytest.mark.parametrize(
    "options", [{"byteorder": ">"}, {"bigtiff": True}, {"rowsperstrip": 5}], ids=str
)
def test_kinds_of_files(tmp_path: Path, options: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY[0, 0], **options)
    (image,) = open_images(tmp_path / "a.tif")
    assert [axis.name for axis in image.axes or ()] == ["y", "x"]
    assert image.levels[0].scale is None
    np.testing.assert_array_equal(pixels(image), GREY[0, 0])


def test_a_stack_without_names_has_no_axes(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY[0], photometric="minisblack")
    (image,) = open_images(tmp_path / "a.tif")
    assert image.axes is None
    assert image.levels[0].array.chunks == (1, 37, 41)


def test_series_are_images(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "two.ome.tif") as file:
        file.write(GREY[0, 0], metadata={"axes": "YX", "Name": "first", "PhysicalSizeX": 0.5})
        file.write(GREY[0], metadata={"axes": "ZYX", "Name": "second"}, photometric="minisblack")
    first, second = open_images(tmp_path / "two.ome.tif")
    assert [first.name, second.name] == ["two first", "two second"]
    assert (first.levels[0].scale, second.levels[0].scale) == ((1, 0.5), None)


def test_opening_reads_no_tile(tmp_path: Path) -> None:
    """A file whose tiles are all damaged opens; reading them is an error."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, tile=(32, 32), compression="zlib", photometric="rgb")
    with tifffile.TiffFile(path) as file:
        spans = list(
            zip(file.pages.first.dataoffsets, file.pages.first.databytecounts, strict=True)
        )
    with path.open("r+b") as raw:
        for offset, n_bytes in spans:
            raw.seek(offset)
            raw.write(b"\xff" * n_bytes)
    (image,) = open_images(path)
    assert image.levels[0].array.shape == RGB.shape
    with pytest.raises(imagecodecs.DeflateError):
        pixels(image)


@pytest.mark.parametrize(
    "content", [b"II*\0", b"II*\0" + b"\x08\0\0\0" + b"\xff" * 64, b"MM\0+garbage"]
)
def test_damaged_files_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.tif").write_bytes(content)
    with pytest.raises(LayoutError, match=r"bad\.tif"):
        open_images(tmp_path / "bad.tif")


def test_other_files_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"PNG")
    assert open_path(str(tmp_path / "a.tif")) is None
    assert open_path(str(tmp_path)) is None
    assert open_path("https://example.org/a.tif") is None


def test_files_named_in_the_xml_stay_in_the_folder(tmp_path: Path) -> None:
    """OME-XML may spread an image over files beside it, never over those elsewhere."""
    (tmp_path / "open").mkdir()
    tifffile.imwrite(tmp_path / "secret.tif", GREY[0, 1])
    pixels_of = (
        '<Pixels ID="P" DimensionOrder="XYZCT" Type="uint16" SizeX="41" SizeY="37" SizeZ="2" '
        'SizeC="1" SizeT="1">'
    )
    own = '<TiffData IFD="0" FirstZ="0" PlaneCount="1"/>'
    other = (
        '<TiffData IFD="0" FirstZ="1" PlaneCount="1"><UUID '
        'FileName="../secret.tif">urn:uuid:2</UUID></TiffData>'
    )
    name_space = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
    xml = (
        f'<?xml version="1.0"?><OME {name_space}><Image ID="I">{pixels_of}{own}{other}'
        "</Pixels></Image></OME>"
    )
    tifffile.imwrite(tmp_path / "open" / "a.ome.tif", GREY[0, 0], description=xml, metadata=None)
    with pytest.warns(LayoutWarning, match=r"names the file '../secret.tif', outside the folder"):
        (image,) = open_images(tmp_path / "open" / "a.ome.tif")
    np.testing.assert_array_equal(pixels(image), GREY[0, 0])


def test_an_image_over_several_files_of_one_folder(tmp_path: Path) -> None:
    beside = '<UUID FileName="{0}.ome.tif">urn:uuid:{0}</UUID>'
    planes = "".join(
        f'<TiffData IFD="0" FirstZ="{z}" PlaneCount="1">{beside.format(z)}</TiffData>'
        for z in (0, 1)
    )
    pixels_of = (
        '<Pixels ID="P" DimensionOrder="XYZCT" Type="uint16" SizeX="41" SizeY="37" SizeZ="2" '
        'SizeC="1" SizeT="1">'
    )
    name_space = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
    for z in (0, 1):
        xml = (
            f'<?xml version="1.0"?><OME {name_space} UUID="urn:uuid:{z}"><Image ID="I">{pixels_of}'
            f"{planes}</Pixels></Image></OME>"
        )
        tifffile.imwrite(tmp_path / f"{z}.ome.tif", GREY[0, z], description=xml, metadata=None)
    (image,) = open_images(tmp_path / "0.ome.tif")
    np.testing.assert_array_equal(pixels(image), GREY[0, :2])


@pytest.mark.parametrize(
    "hostile", ['SizeZ="1000000000"', 'SizeZ="1"><TiffData NumPlanes="1000000000"/']
)
def test_xml_that_promises_a_billion_planes(tmp_path: Path, hostile: str) -> None:
    """A list of so many would take 8 GB."""
    name_space = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
    described = (
        '<Pixels ID="P" DimensionOrder="XYZCT" Type="uint16" SizeX="41" SizeY="37" SizeC="1" '
        f'SizeT="1" {hostile}>'
    )
    xml = f'<?xml version="1.0"?><OME {name_space}><Image ID="I">{described}</Pixels></Image></OME>'
    tifffile.imwrite(tmp_path / "a.ome.tif", GREY[0, 0], description=xml, metadata=None)
    with pytest.warns(LayoutWarning, match="promises more than"):
        (image,) = open_images(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(pixels(image), GREY[0, 0])
