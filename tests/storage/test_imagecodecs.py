"""Chunks in the codecs of imagecodecs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import imagecodecs.numcodecs as numcodecs
import numpy as np
import pytest

from napari_pyramid.errors import LayoutError
from napari_pyramid.layouts import open_images
from napari_pyramid.storage.imagecodecs import provide_codecs


def encoder(identifier: str) -> Any:
    """Lossless settings, so that the pixels can be compared."""
    return {
        "imagecodecs_jpeg2k": lambda: numcodecs.Jpeg2k(level=0, reversible=True),
        "imagecodecs_jpegxl": lambda: numcodecs.Jpegxl(lossless=True),
        "imagecodecs_lerc": lambda: numcodecs.Lerc(),
        "imagecodecs_png": lambda: numcodecs.Png(),
    }[identifier]()


@pytest.mark.parametrize(
    "identifier",
    ["imagecodecs_jpeg2k", "imagecodecs_jpegxl", "imagecodecs_lerc", "imagecodecs_png"],
)
def test_chunks_are_decoded(tmp_path: Path, identifier: str) -> None:
    values = np.random.default_rng(0).integers(0, 255, (16, 24), dtype="uint8")
    codec = encoder(identifier)
    config = {
        key: value
        for key, value in codec.get_config().items()
        if isinstance(value, (str, int, bool, type(None)))
    }
    metadata = {
        "zarr_format": 2,
        "shape": [16, 24],
        "chunks": [16, 24],
        "dtype": "|u1",
        "compressor": config,
        "fill_value": 0,
        "order": "C",
        "filters": None,
    }
    (tmp_path / ".zarray").write_text(json.dumps(metadata))
    (tmp_path / "0.0").write_bytes(bytes(codec.encode(values)))
    (image,) = open_images(tmp_path)
    np.testing.assert_array_equal(np.asarray(image.levels[0].array[...]), values)


def test_only_the_codec_that_is_asked_for_is_registered() -> None:
    code = (
        "from numcodecs.registry import codec_registry\n"
        "from napari_pyramid.storage.imagecodecs import provide_codecs\n"
        "provide_codecs({'compressor': {'id': 'zlib'}, 'filters': None})\n"
        "before = set(codec_registry)\n"
        "provide_codecs({'compressor': None, 'filters': [{'id': 'imagecodecs_png'}]})\n"
        "print(sorted(set(codec_registry) - before))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "['imagecodecs_png']\n"
    )


def test_a_codec_that_imagecodecs_lacks_is_named() -> None:
    with pytest.raises(LayoutError, match="imagecodecs_nonsense"):
        provide_codecs({"compressor": {"id": "imagecodecs_nonsense"}})


NONSENSE = {"name": "imagecodecs_nonsense"}


@pytest.mark.parametrize(
    "codecs",
    [
        [NONSENSE],
        ["imagecodecs_nonsense"],
        [{"name": "sharding_indexed", "configuration": {"codecs": [NONSENSE]}}],
    ],
)
def test_a_codec_of_zarr_v3_that_imagecodecs_lacks_is_named(codecs: list[Any]) -> None:
    with pytest.raises(LayoutError, match="imagecodecs_nonsense"):
        provide_codecs({"zarr_format": 3, "codecs": codecs})


def test_a_codec_of_zarr_v3_that_others_have_registered_is_left_to_them() -> None:
    """As the entry points of the package imagecodecs-zarr do."""
    code = (
        "from zarr.codecs import GzipCodec\n"
        "from zarr.registry import get_codec_class, register_codec\n"
        "from napari_pyramid.storage.imagecodecs import provide_codecs\n"
        "register_codec('imagecodecs_jpegxl', GzipCodec)\n"
        "provide_codecs({'zarr_format': 3, 'codecs': [{'name': 'bytes'}, {'name': "
        "'imagecodecs_jpegxl'}]})\n"
        "print(get_codec_class('imagecodecs_jpegxl').__name__)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "GzipCodec\n"
    )


def test_a_codec_of_zarr_v3_is_registered_under_its_name() -> None:
    """imagecodecs has codecs for zarr v3 only for Pythons newer than the oldest that we run on.

    A stand-in with its names.
    """
    code = (
        "import sys, types\n"
        "import imagecodecs\n"
        "from zarr.codecs import GzipCodec\n"
        "from zarr.registry import get_codec_class\n"
        "stand_in = sys.modules['imagecodecs.zarr'] = imagecodecs.zarr = "
        "types.ModuleType('imagecodecs.zarr')\n"
        "stand_in.Jpegxl = type('Jpegxl', (GzipCodec,), {})\n"
        "from napari_pyramid.storage.imagecodecs import provide_codecs\n"
        "inner = {'codecs': [{'name': 'imagecodecs_jpegxl'}]}\n"
        "provide_codecs({'zarr_format': 3, 'codecs': [{'name': 'sharding_indexed', "
        "'configuration': inner}]})\n"
        "print(get_codec_class('imagecodecs_jpegxl').__name__)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "Jpegxl\n"
    )


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"compressor": 3, "filters": "x"},
        {"compressor": {"id": 5}, "filters": [None, []]},
        {"zarr_format": 3, "codecs": [3, {"configuration": {"codecs": 4}}, {"name": []}]},
    ],
)
def test_metadata_without_sense_name_nothing(metadata: dict[str, Any]) -> None:
    provide_codecs(metadata)


@pytest.mark.parametrize("codecs", [None, 3, [3, {"configuration": {"codecs": 4}}, {"name": []}]])
def test_metadata_of_zarr_v3_without_sense_name_nothing(codecs: Any) -> None:
    provide_codecs({"zarr_format": 3, "codecs": codecs})
