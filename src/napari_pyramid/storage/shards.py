"""Put the chunks of a stored shard in C order, so that its bytes do not depend on threads.

Source: zarr v3, sharding-indexed codec 1.0: chunks anywhere in the file, and an index of offset and
length of each, in C order, here at the end and closed by a checksum.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr

__all__ = ["has_plain_index", "put_in_order"]

_MISSING = np.uint64(2**64 - 1)
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


def put_in_order(shard: Path, n_chunks: int) -> None:
    """Rewrite a shard whose chunks are not in C order; an empty shard has no file.

    Parameters
    ----------
    n_chunks
        Chunks that a shard has room for.
    """
    try:
        stored = shard.read_bytes()
    except FileNotFoundError:
        return
    end = len(stored) - _CHECKSUM_BYTES
    index = np.frombuffer(stored[end - 16 * n_chunks : end], "<u8").reshape(n_chunks, 2).copy()
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
        file.write(google_crc32c.value(index.tobytes()).to_bytes(_CHECKSUM_BYTES, "little"))
