# /// script
# requires-python = "==3.11.*"
# dependencies = ["numpy>=2"]
# ///
"""Makes the stores in tests/data, each with the released software that it is named for.

    uv run scripts/make_test_data.py

Every writer runs in an environment of its own, with the versions pinned at its function.
tests/test_stores_of_other_software.py expects what is passed to the writers here, and nothing that
came out of them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parents[1] / "tests" / "data"

Write = Callable[[], None]
WRITERS: dict[str, tuple[tuple[str, ...], Write]] = {}
"""Name of the function: the requirements it runs with, and itself."""


def writer(*requirements: str) -> Callable[[Write], Write]:
    """Registers a function that writes stores into DATA, with what it must import."""

    def register(function: Write) -> Write:
        WRITERS[function.__name__] = (requirements, function)
        return function

    return register


def pixels(shape: tuple[int, ...], dtype: str = "uint16") -> np.ndarray:
    """0, 1, 2, ... in C order: no two samples are equal, so a swapped axis shows."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def with_half(image: np.ndarray) -> list[np.ndarray]:
    """Two levels; the second has every other sample along y and x."""
    return [image, image[..., ::2, ::2]]


def placed(*scales: list[float], translation: list[float]) -> list[list[dict[str, Any]]]:
    """OME-Zarr's coordinateTransformations of each level.

    Every other sample of a level begins where the level does.
    """
    return [
        [{"type": "scale", "scale": scale}, {"type": "translation", "translation": translation}]
        for scale in scales
    ]


@writer("ome-zarr==0.9.0", "zarr==2.18.7", "numcodecs==0.15.2")
def ome_zarr_on_zarr_2() -> None:
    import zarr
    from ome_zarr.format import FormatV01, FormatV02, FormatV03, FormatV04
    from ome_zarr.io import parse_url
    from ome_zarr.writer import write_multiscale, write_multiscale_labels

    def new_group(name: str, fmt: Any) -> zarr.Group:
        return zarr.group(store=parse_url(DATA / name, mode="w", fmt=fmt).store)

    for fmt in (FormatV01(), FormatV02()):
        levels = with_half(pixels((1, 2, 2, 5, 7)))
        write_multiscale(
            levels, new_group(f"ome-zarr_v{fmt.version}.zarr", fmt), fmt=fmt, name="embryo"
        )

    group = new_group("ome-zarr_v0.3.zarr", FormatV03())
    write_multiscale(
        with_half(pixels((2, 9, 10), "uint8")),
        group,
        fmt=FormatV03(),
        axes=["c", "y", "x"],
        name="embryo",
    )

    group = new_group("ome-zarr_v0.4.ome.zarr", FormatV04())
    space = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    window = {"min": 0, "max": 65535, "start": 5, "end": 250}
    omero = {
        "channels": [
            {"label": "DAPI", "color": "0000FF", "active": True, "window": window},
            {"label": "GFP", "color": "00FF00", "active": False, "window": window},
        ]
    }
    write_multiscale(
        with_half(pixels((2, 2, 5, 7))),
        group,
        axes=[{"name": "c", "type": "channel"}, *space],
        coordinate_transformations=placed(
            [1, 2, 0.5, 0.25], [1, 2, 1, 0.5], translation=[0, 10, -3, 0.5]
        ),
        name="embryo",
        metadata={"omero": omero},
    )
    write_multiscale_labels(
        with_half(pixels((2, 5, 7), "int32") // 30),
        group,
        name="cells",
        axes=space,
        coordinate_transformations=placed([2, 0.5, 0.25], [2, 1, 0.5], translation=[10, -3, 0.5]),
        label_metadata={
            "colors": [
                {"label-value": 1, "rgba": [255, 0, 0, 255]},
                {"label-value": 2, "rgba": [0, 128, 255, 255]},
            ]
        },
    )


@writer("ome-zarr==0.15.0", "zarr==3.1.6")
def ome_zarr_on_zarr_3() -> None:
    import zarr
    from ome_zarr.writer import write_multiscale, write_multiscale_labels

    group = zarr.open_group(DATA / "ome-zarr_v0.5.ome.zarr", mode="w", zarr_format=3)
    axes = [
        {"name": "y", "type": "space", "unit": "nanometer"},
        {"name": "x", "type": "space", "unit": "nanometer"},
    ]
    transforms = placed([325, 162.5], [650, 325], translation=[50, -20])
    write_multiscale(
        with_half(pixels((9, 10), "float32")),
        group,
        axes=axes,
        coordinate_transformations=transforms,
        name="embryo",
    )
    write_multiscale_labels(
        with_half(pixels((9, 10), "uint8") // 30),
        group,
        name="nuclei",
        axes=axes,
        coordinate_transformations=transforms,
    )


@writer("ngff-zarr==0.50.0", "zarr==3.1.6")
def ngff_zarr() -> None:
    import ngff_zarr

    image = ngff_zarr.to_ngff_image(
        pixels((2, 8, 10)),
        dims=("z", "y", "x"),
        scale={"z": 2.0, "y": 0.5, "x": 0.25},
        translation={"z": 10.0, "y": -3.0, "x": 0.5},
        name="embryo",
        axes_units=dict.fromkeys("zyx", "micrometer"),
    )
    levels = ngff_zarr.to_multiscales(
        image, scale_factors=[{"z": 1, "y": 2, "x": 2}], method=ngff_zarr.Methods.DASK_BIN_SHRINK
    )
    ngff_zarr.to_ngff_zarr(str(DATA / "ngff-zarr_v0.5.ozx"), levels, version="0.5")
    ngff_zarr.to_ngff_zarr(str(DATA / "ngff-zarr_v0.6.ome.zarr"), levels, version="0.6")


@writer("bioio-ome-zarr==3.8.1", "zarr==3.1.6")
def bioio() -> None:
    from bioio_ome_zarr.writers import Channel, OMEZarrWriter

    shapes = [(2, 2, 2, 5, 7), (2, 2, 2, 3, 4)]
    OMEZarrWriter(
        str(DATA / "bioio_v0.5.ome.zarr"),
        level_shapes=shapes,
        dtype="uint16",
        chunk_shape=shapes,
        zarr_format=3,
        image_name="embryo",
        channels=[
            Channel(
                label="DAPI",
                color="0000FF",
                window={"min": 0, "max": 65535, "start": 5, "end": 250},
            ),
            Channel(
                label="GFP",
                color="00FF00",
                active=False,
                window={"min": 0, "max": 65535, "start": 10, "end": 99},
            ),
        ],
        axes_names=list("tczyx"),
        axes_types=["time", "channel", "space", "space", "space"],
        axes_units=["second", None, "micrometer", "micrometer", "micrometer"],
        physical_pixel_size=[30, 1, 2, 0.5, 0.25],
    ).write_full_volume(pixels(shapes[0]))


@writer("ome-writers[tensorstore]==0.3.2", "tensorstore==0.1.86")
def ome_writers() -> None:
    """A stream of planes, one shard, no pyramid: what a microscope leaves behind."""
    from ome_writers import AcquisitionSettings, Channel, Dimension, OmeZarrFormat, create_stream

    image = pixels((3, 2, 9, 10))
    sizes = {"chunk_size": 5, "shard_size_chunks": 2, "unit": "micrometer"}
    settings = AcquisitionSettings(
        root_path=str(DATA / "ome-writers_v0.5.ome.zarr"),
        dimensions=[
            Dimension(
                name="t",
                count=3,
                type="time",
                unit="second",
                scale=30,
                chunk_size=1,
                shard_size_chunks=3,
            ),
            Dimension(
                name="c",
                type="channel",
                coords=[
                    Channel(name="DAPI", color="#0000FF"),
                    Channel(name="GFP", color="#00FF00"),
                ],
                chunk_size=1,
                shard_size_chunks=2,
            ),
            Dimension(name="y", count=9, type="space", scale=0.5, **sizes),
            Dimension(name="x", count=10, type="space", scale=0.25, **sizes),
        ],
        dtype="uint16",
        format=OmeZarrFormat(backend="tensorstore"),
    )
    with create_stream(settings) as stream:
        for plane in image.reshape(-1, 9, 10):
            stream.append(plane)


@writer("yaozarrs[write-zarr]==0.3.4", "zarr==3.1.6")
def yaozarrs() -> None:
    """A collection as bioformats2raw writes it.

    Two images in one store, the second listed first.
    """
    from yaozarrs import v05
    from yaozarrs.write.v05 import write_bioformats2raw

    def image(name: str, y: float, x: float) -> v05.Image:
        levels = [
            v05.Dataset(
                path=str(k),
                coordinateTransformations=[v05.ScaleTransformation(scale=[y * 2**k, x * 2**k])],
            )
            for k in (0, 1)
        ]
        axes = [
            v05.SpaceAxis(name="y", unit="micrometer"),
            v05.SpaceAxis(name="x", unit="micrometer"),
        ]
        return v05.Image(multiscales=[v05.Multiscale(name=name, axes=axes, datasets=levels)])

    images = {
        "1": (image("overview", 4, 2), with_half(pixels((4, 5)))),
        "0": (image("detail", 0.5, 0.25), with_half(pixels((9, 10)))),
    }
    write_bioformats2raw(DATA / "yaozarrs_bioformats2raw.zarr", images)


@writer("tifffile==2026.3.3")
def tifffile() -> None:
    import tifffile

    levels = with_half(pixels((2, 9, 10)))
    metadata = {
        "axes": "CYX",
        "UUID": "urn:uuid:00000000-0000-0000-0000-000000000000",
        "PhysicalSizeY": 0.5,
        "PhysicalSizeYUnit": "µm",
        "PhysicalSizeX": 0.25,
        "PhysicalSizeXUnit": "µm",
        "Channel": {"Name": ["DAPI", "GFP"]},
    }
    with tifffile.TiffWriter(DATA / "tifffile.ome.tif", ome=True) as file:
        file.write(
            levels[0],
            subifds=1,
            tile=(16, 16),
            photometric="minisblack",
            compression="zlib",
            metadata=metadata,
        )
        file.write(
            levels[1], subfiletype=1, tile=(16, 16), photometric="minisblack", compression="zlib"
        )


@writer("tensorstore==0.1.86")
def tensorstore_n5() -> None:
    """N5 knows axes from the last array axis to the first, so the arrays are written transposed."""
    import tensorstore

    for k, level in enumerate(with_half(pixels((2, 9, 10)))):
        spec = {
            "driver": "n5",
            "kvstore": {"driver": "file", "path": str(DATA / "tensorstore.n5" / f"s{k}")},
            "metadata": {
                "dataType": "uint16",
                "dimensions": level.T.shape,
                "blockSize": level.T.shape,
                "compression": {"type": "gzip"},
                "axes": ["x", "y", "z"],
                "resolution": [0.25 * 2**k, 0.5 * 2**k, 2],
                "units": ["um", "um", "um"],
            },
        }
        tensorstore.open(spec, create=True).result()[...] = level.T


@writer("pybdv==0.6.0", "z5py==3.0.2")
def pybdv() -> None:
    """BigDataViewer's N5; the XML beside it has the name and the unit."""
    import pybdv

    pybdv.make_bdv(
        pixels((2, 9, 10)),
        str(DATA / "pybdv.n5"),
        downscale_factors=[[1, 2, 2]],
        resolution=[2, 0.5, 0.25],
        unit="micrometer",
        setup_name="DAPI",
        chunks=(2, 9, 10),
    )


@writer("ndpyramid==0.4.0", "zarr==2.18.7", "numcodecs==0.15.2", "xarray==2026.2.0")
def ndpyramid() -> None:
    """Groups of an xarray each, and the coarsest level is the first."""
    import ndpyramid
    import xarray

    coordinates = {
        "y": ("y", 50 - 0.5 * np.arange(8), {"units": "m"}),  # downwards, as latitudes are
        "x": ("x", -3 + 0.25 * np.arange(12), {"units": "m"}),
    }
    field = xarray.DataArray(
        pixels((2, 8, 12), "float32"), coordinates, ("time", "y", "x"), name="temperature"
    )
    tree = ndpyramid.pyramid_coarsen(field.to_dataset(), factors=[4, 2, 1], dims=["y", "x"])
    tree.to_zarr(DATA / "ndpyramid.zarr", consolidated=False, zarr_format=2)


def main() -> None:
    if len(sys.argv) == 2:
        WRITERS[sys.argv[1]][1]()
        return
    for old in DATA.iterdir():
        if old.is_dir():
            shutil.rmtree(old)
        elif old.name != "README.md":
            old.unlink()
    for name, (requirements, _) in WRITERS.items():
        print(name)
        options = [option for requirement in requirements for option in ("--with", requirement)]
        subprocess.run(["uv", "run", *options, "--script", __file__, name], check=True)


if __name__ == "__main__":
    main()
