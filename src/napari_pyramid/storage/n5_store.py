"""Present N5 containers as read-only zarr v3 stores.

N5 names axes and blocks with the fastest axis first, NumPy and zarr with the slowest: shapes, chunk
shapes and chunk keys are reversed here, so that ``array[z, y, x]`` of zarr is N5's x, y, z.
Attributes stay as they are written: the layouts know whether they are in the order of N5.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store
from zarr.buffer import default_buffer_prototype

from napari_pyramid.errors import LayoutError
from napari_pyramid.storage.n5_codec import CODEC_NAME, COMPRESSIONS
from napari_pyramid.storage.read_only import ReadOnlyStore

if TYPE_CHECKING:
    from zarr.abc.buffer import Buffer, BufferPrototype

__all__ = ["N5Store", "block_key"]

ATTRIBUTES = "attributes.json"
_METADATA = "zarr.json"
_OF_ZARR_2 = (".zarray", ".zgroup", ".zattrs", ".zmetadata")
_ARRAY_KEYS = ("dimensions", "blockSize", "dataType", "compression", "compressionType")
_INTEGERS = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")
_DATA_TYPES = (*_INTEGERS, "float32", "float64")
_MAX_NDIM = 32


class N5Store(ReadOnlyStore):
    """An N5 container as a zarr v3 store: ``zarr.open(N5Store(LocalStore("cells.n5")))``.

    Every directory is a group, with or without ``attributes.json``, as in N5. Missing blocks are
    zero.

    Parameters
    ----------
    store
        Store of the N5 container, on disk, in a zip or behind a URL. It is only read.

    Raises
    ------
    LayoutError
        On reading a ``zarr.json`` whose ``attributes.json`` cannot be understood: not JSON, invalid
        sizes, an unknown data type or compression, a label multiset. The message names file and
        key.
    """

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._inner = store
        self._attributes: dict[str, Mapping[str, Any] | None] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, N5Store) and self._inner == other._inner

    def __repr__(self) -> str:
        return f"N5Store({self._inner!r})"

    @property
    def inner(self) -> Store:
        """Store of the N5 container."""
        return self._inner

    def block_key(self, key: str) -> str:
        """Return the key in the container of a chunk's key in this store."""
        return block_key(key)

    # ---- reading ----

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the bytes of a key, or of a range of it; None if the key is missing."""
        path, _, name = key.rpartition("/")
        if name in _OF_ZARR_2:
            return None  # a container of N5 has none, and a request for it would be in vain
        if name != _METADATA:
            return await self._inner.get(block_key(key), prototype, byte_range)
        attributes = await self._attributes_of(path)
        if attributes is None:
            return None
        document = json.dumps(_zarr_metadata(attributes, _attributes_key(path))).encode()
        return prototype.buffer.from_bytes(_cut(document, byte_range))

    async def exists(self, key: str) -> bool:
        """Return whether a key exists."""
        path, _, name = key.rpartition("/")
        if name == _METADATA:
            return await self._attributes_of(path) is not None
        return await self._inner.exists(block_key(key))

    async def getsize(self, key: str) -> int:
        """Return the number of bytes of a key."""
        if key.rpartition("/")[2] == _METADATA:
            return await super().getsize(key)
        return await self._inner.getsize(block_key(key))

    async def _attributes_of(self, path: str) -> Mapping[str, Any] | None:
        """Return the contents of ``attributes.json``.

        ``{}`` for a directory without that file; None if there is no directory.
        """
        if path not in self._attributes:
            key = _attributes_key(path)
            data = await self._inner.get(key, default_buffer_prototype())
            if data is not None:
                self._attributes[path] = _parse(data.to_bytes(), key)
            else:
                self._attributes[path] = None if path and await self._inner.is_empty(path) else {}
        return self._attributes[path]

    # ---- listing ----

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys that begin with `prefix`."""
        # directories of blocks nest in reverse order: a prefix within them lists the whole array
        directory = (
            f"/{prefix}".partition("/c/")[0].lstrip("/")
            if _is_block_key(f"{prefix}0")
            else prefix.rstrip("/")
        )
        async for key in self._inner.list_prefix(f"{directory}/" if directory else ""):
            listed = await self._zarr_key(key)
            if listed.startswith(prefix):
                yield listed

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names of the entries of a directory."""
        path = prefix.strip("/")
        yield _METADATA
        if _is_array(await self._attributes_of(path)):
            yield "c"
            return
        async for name in self._inner.list_dir(path):
            if name != ATTRIBUTES:
                yield name

    async def _zarr_key(self, key: str) -> str:
        """Return the key of zarr for a file of the container."""
        path, _, name = key.rpartition("/")
        if name == ATTRIBUTES:
            return f"{path}/{_METADATA}".lstrip("/")
        parts = key.split("/")
        numeric = next(
            (i for i, part in enumerate(reversed(parts)) if not part.isdecimal()), len(parts)
        )
        for n in range(numeric, 0, -1):
            attributes = await self._attributes_of("/".join(parts[:-n]))
            if (
                attributes is not None
                and _is_array(attributes)
                and len(attributes["dimensions"]) == n
            ):
                return "/".join([*parts[:-n], "c", *reversed(parts[-n:])])
        return key

    @property
    def supports_listing(self) -> bool:
        """Whether keys can be listed."""
        return self._inner.supports_listing

    def close(self) -> None:
        """Close the inner store too."""
        self._inner.close()
        super().close()


# ---- keys ----


def _attributes_key(path: str) -> str:
    return f"{path}/{ATTRIBUTES}" if path else ATTRIBUTES


def _is_block_key(key: str) -> bool:
    """Return whether a key is the key of a chunk: ``path/c/0/1/2``."""
    _, c, indices = f"/{key}".rpartition("/c/")
    return bool(c) and all(part.isdecimal() for part in indices.split("/"))


def block_key(key: str) -> str:
    """Return the file of a chunk, ``path/c/0/1/2`` -> ``path/2/1/0``; other keys unchanged."""
    if not _is_block_key(key):
        return key
    path, _, indices = f"/{key}".rpartition("/c/")
    return "/".join([path, *reversed(indices.split("/"))]).lstrip("/")


def _cut(data: bytes, byte_range: ByteRequest | None) -> bytes:
    if byte_range is None:
        return data
    if isinstance(byte_range, RangeByteRequest):
        return data[byte_range.start : byte_range.end]
    if isinstance(byte_range, OffsetByteRequest):
        return data[byte_range.offset :]
    return data[-byte_range.suffix :]


# ---- metadata ----


def _parse(data: bytes, key: str) -> Mapping[str, Any]:
    try:
        attributes = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise LayoutError(f"{key}: not JSON ({error})") from None
    if not isinstance(attributes, dict):
        raise LayoutError(f"{key}: a JSON object is expected, not {type(attributes).__name__}")
    return attributes


def _is_array(attributes: Mapping[str, Any] | None) -> bool:
    # setups of BigDataViewer are groups with a dataType: the other keys decide
    return (
        attributes is not None
        and isinstance(attributes.get("dimensions"), list)
        and "blockSize" in attributes
    )


def _zarr_metadata(attributes: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the ``zarr.json`` of an N5 group or dataset; `key` names its file in messages."""
    if not _is_array(attributes):
        return {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}
    if attributes.get("isLabelMultiset") is True:
        raise LayoutError(
            f"{key}: isLabelMultiset: a label multiset is not an array of numbers; "
            "convert it to plain labels"
        )
    data_type = attributes.get("dataType")
    if data_type not in _DATA_TYPES:
        raise LayoutError(
            f"{key}: dataType {str(data_type)[:80]!r} is not one of {', '.join(_DATA_TYPES)}"
        )
    shape = _sizes(attributes, "dimensions", key, least=0)
    chunks = _sizes(attributes, "blockSize", key, least=1)
    if len(shape) != len(chunks):
        raise LayoutError(
            f"{key}: dimensions {shape[::-1]} and blockSize {chunks[::-1]} differ in length"
        )
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": data_type,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [
            {"name": CODEC_NAME, "configuration": {"compression": _compression(attributes, key)}}
        ],
        "attributes": {
            name: value for name, value in attributes.items() if name not in _ARRAY_KEYS
        },
    }


def _sizes(attributes: Mapping[str, Any], name: str, key: str, *, least: int) -> list[int]:
    """Return sizes per axis in NumPy order."""
    sizes = attributes[name]
    if (
        not isinstance(sizes, list)
        or not 0 < len(sizes) <= _MAX_NDIM
        or not all(
            isinstance(size, int) and not isinstance(size, bool) and least <= size < 2**63
            for size in sizes
        )
    ):
        raise LayoutError(
            f"{key}: {name} must be a list of integers of at least {least}, not {str(sizes)[:80]}"
        )
    return sizes[::-1]


def _compression(attributes: Mapping[str, Any], key: str) -> str:
    """Return the type of the compression; N5 1.0 wrote it as ``compressionType``."""
    given = attributes.get("compression", attributes.get("compressionType"))
    name = given.get("type") if isinstance(given, dict) else given
    if not isinstance(name, str) or name not in COMPRESSIONS:
        raise LayoutError(
            f"{key}: compression {str(name)[:80]!r} is not supported, "
            f"only {', '.join(COMPRESSIONS)}"
        )
    return name
