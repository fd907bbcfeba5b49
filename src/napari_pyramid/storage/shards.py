"""Parse the index of a stored shard, and put the chunks of a shard in C order.

Source: zarr v3, sharding-indexed codec 1.0: chunks anywhere in the file, and an index of offset and
length of each, in C order, here at the end and closed by a checksum.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
import zarr

__all__ = ["Places", "has_plain_index", "index_nbytes", "parse_index", "part_of", "put_in_order"]

Places = npt.NDArray[np.uint64]
"""Offset and length of each chunk of a shard, shape (n_chunks, 2)."""

_MISSING = 2**64 - 1
_CHECKSUM_BYTES = 4


def has_plain_index(array: zarr.Array[Any]) -> bool:
    """Return whether the shards of an array have the usual form.

    The usual form: no codec around the shard, and a little-endian index with a checksum at the end.
    """
    codecs: Any = array.metadata.to_dict()["codecs"]
    if len(codecs) != 1 or codecs[0]["name"] != "sharding_indexed":
        return False
    configuration = codecs[0]["configuration"]
    index = [
        codec if isinstance(codec, dict) else codec.to_dict()
        for codec in configuration["index_codecs"]
    ]
    names = [codec["name"] for codec in index]
    is_little = (
        names == ["bytes", "crc32c"] and index[0].get("configuration", {}).get("endian") == "little"
    )
    return (
        is_little
        and str(getattr(configuration["index_location"], "value", configuration["index_location"]))
        == "end"
    )


def index_nbytes(n_chunks: int) -> int:
    """Return the number of bytes of a shard's index with its checksum."""
    return 16 * n_chunks + _CHECKSUM_BYTES


def parse_index(stored: bytes, n_chunks: int) -> Places:
    """Return offset and length of each chunk of a shard, from the last bytes of the shard.

    Raises
    ------
    ValueError
        If the checksum or the number of bytes is wrong.
    """
    entries, checksum = stored[:-_CHECKSUM_BYTES], stored[-_CHECKSUM_BYTES:]
    if len(stored) != index_nbytes(n_chunks) or _checksum(entries) != checksum:
        raise ValueError("the index of the shard is damaged")
    return np.frombuffer(entries, "<u8").reshape(n_chunks, 2)


def part_of(places: Places, number: int) -> tuple[int, int] | None:
    """Return offset and length of one chunk of a shard; None if the chunk is not stored."""
    offset, length = map(int, places[number])
    return None if offset == length == _MISSING else (offset, length)


def put_in_order(shard: Path, n_chunks: int) -> None:
    """Rewrite a shard whose chunks are not in C order, so that its bytes do not depend on threads.

    An empty shard has no file.

    Parameters
    ----------
    n_chunks
        Chunks that a shard has room for.
    """
    try:
        stored = shard.read_bytes()
    except FileNotFoundError:
        return
    index = parse_index(stored[-index_nbytes(n_chunks) :], n_chunks).copy()
    present = index[:, 0] != _MISSING
    offsets, lengths = index[present].T
    ordered = (
        np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype("<u8") if lengths.size else lengths
    )
    if np.array_equal(offsets, ordered):
        return
    index[present, 0] = ordered
    chunks = memoryview(stored)
    with shard.open("wb") as file:
        for offset, length in zip(offsets.tolist(), lengths.tolist(), strict=True):
            file.write(chunks[offset : offset + length])
        file.write(index.tobytes())
        file.write(_checksum(index.tobytes()))


def _checksum(entries: bytes) -> bytes:
    return int(google_crc32c.value(entries)).to_bytes(_CHECKSUM_BYTES, "little")
