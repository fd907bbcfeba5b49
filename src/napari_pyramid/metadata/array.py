"""Write the metadata of a pyramid's arrays: new arrays, or arrays like a given one."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_pyramid.errors import SpecError
from napari_pyramid.metadata.codecs import DEFAULT_CODEC, parse_codec
from napari_pyramid.plan.level import Level
from napari_pyramid.storage.folder import Place
from napari_pyramid.storage.json_files import write_json

__all__ = ["ArrayTemplate"]


@dataclass(frozen=True, slots=True)
class ArrayTemplate:
    """Metadata of an array, from which the metadata of each level are made."""

    zarr_format: int
    metadata: dict[str, Any]
    """Parsed ``zarr.json`` or ``.zarray``."""

    @classmethod
    def new(
        cls,
        dtype: np.dtype[Any],
        *,
        zarr_format: int,
        codec: str | None = None,
        fill_value: Any = None,
    ) -> ArrayTemplate:
        """Return the template of little-endian arrays with nested chunk keys and one compressor.

        Parameters
        ----------
        codec
            ``"blosc-CNAME-LEVEL"`` (zstd, lz4, lz4hc, zlib, blosclz; byte shuffle),
            ``"zstd-LEVEL"``, ``"gzip-LEVEL"`` or ``"none"``; None for `DEFAULT_CODEC`.
        fill_value
            Value of the samples of missing chunks; None for 0.

        Raises
        ------
        SpecError
            If the codec's name is not understood.
        """
        name, options = parse_codec(DEFAULT_CODEC if codec is None else codec, dtype.itemsize)
        fill = _json_number(dtype.type(0 if fill_value is None else fill_value).item())
        if zarr_format == 2:
            compressor = {"id": name, **_v2_options(name, options)} if name else None
            metadata = {
                "zarr_format": 2,
                "dtype": dtype.newbyteorder("<").str,
                "compressor": compressor,
                "fill_value": fill,
            }
            return cls(2, {**metadata, "order": "C", "filters": None, "dimension_separator": "/"})
        to_bytes: dict[str, Any] = (
            {"name": "bytes"}
            if dtype.itemsize == 1
            else {"name": "bytes", "configuration": {"endian": "little"}}
        )
        codecs = [to_bytes, {"name": name, "configuration": options}] if name else [to_bytes]
        keys = {"name": "default", "configuration": {"separator": "/"}}
        return cls(
            3,
            {
                "zarr_format": 3,
                "node_type": "array",
                "data_type": dtype.name,
                "chunk_key_encoding": keys,
                "fill_value": fill,
                "codecs": codecs,
            },
        )

    @classmethod
    def like(cls, directory: Place, *, codec: str | None = None) -> ArrayTemplate:
        """Return the template of arrays like the array in `directory`.

        They have its dtype, fill value, chunk keys and codecs, unless a codec is given.
        """
        path = directory / "zarr.json"
        zarr_format = 3 if path.exists() else 2
        metadata = json.loads((path if zarr_format == 3 else directory / ".zarray").read_bytes())
        if zarr_format == 3:
            metadata["codecs"] = _unsharded(metadata["codecs"])
        if codec is not None:
            dtype = np.dtype(metadata["data_type"] if zarr_format == 3 else metadata["dtype"])
            metadata.update(
                {
                    k: v
                    for k, v in cls.new(
                        dtype, zarr_format=zarr_format, codec=codec
                    ).metadata.items()
                    if k in ("codecs", "compressor")
                }
            )
        return cls(zarr_format, metadata)

    def of_level(self, level: Level, dimension_names: tuple[str, ...]) -> dict[str, Any]:
        """Return the metadata of one level.

        Raises
        ------
        SpecError
            If shards are asked for in zarr v2, which has none.
        """
        metadata = copy.deepcopy(self.metadata)
        if self.zarr_format == 2:
            if level.shards:
                raise SpecError(
                    f"shards {level.shards} need zarr v3 (OME-Zarr 0.5): "
                    "build that, or build without shards"
                )
            return {**metadata, "shape": list(level.shape), "chunks": list(level.chunks)}
        metadata.update(
            shape=list(level.shape), attributes={}, dimension_names=list(dimension_names)
        )
        metadata["chunk_grid"] = {
            "name": "regular",
            "configuration": {"chunk_shape": list(level.write_shape)},
        }
        if level.shards:
            metadata["codecs"] = [_sharding(level.chunks, metadata["codecs"])]
        metadata.pop("storage_transformers", None)
        return metadata

    def create(self, directory: Place, level: Level, dimension_names: tuple[str, ...]) -> None:
        """Create the empty array of one level."""
        write_json(
            directory / ("zarr.json" if self.zarr_format == 3 else ".zarray"),
            self.of_level(level, dimension_names),
        )

    @property
    def is_lossless(self) -> bool:
        """Whether all codecs are known to return exactly what was written."""
        if self.zarr_format == 2:
            stages = [self.metadata.get("compressor"), *(self.metadata.get("filters") or ())]
            return all(stage is None or stage.get("id") in _LOSSLESS for stage in stages)
        return all(
            codec["name"].removeprefix("numcodecs.") in _LOSSLESS
            for codec in self.metadata["codecs"]
        )


_LOSSLESS = frozenset(
    (
        "bytes",
        "transpose",
        "blosc",
        "zstd",
        "gzip",
        "zlib",
        "bz2",
        "lzma",
        "lz4",
        "shuffle",
        "packbits",
        "crc32",
        "crc32c",
        "adler32",
        "fletcher32",
    )
)
"""Codecs whose pixels come back bit for bit; not ``delta``, which rounds floats."""


def _json_number(value: Any) -> Any:
    """Return a number as zarr v2 and v3 write it: NaN and infinities as words."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _v2_options(name: str, options: dict[str, Any]) -> dict[str, Any]:
    if name == "blosc":
        return {
            "cname": options["cname"],
            "clevel": options["clevel"],
            "shuffle": 1,
            "blocksize": 0,
        }
    return {"level": options["level"]}


def _sharding(chunks: tuple[int, ...], codecs: list[dict[str, Any]]) -> dict[str, Any]:
    index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    inner = {
        "chunk_shape": list(chunks),
        "codecs": codecs,
        "index_codecs": index,
        "index_location": "end",
    }
    return {"name": "sharding_indexed", "configuration": inner}


def _unsharded(codecs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the codecs of the chunks, whether the array has shards or not."""
    for codec in codecs:
        if codec.get("name") == "sharding_indexed":
            return list(codec["configuration"]["codecs"])
    return codecs
