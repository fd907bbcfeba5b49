"""Share helpers that are not fixtures between test modules.

Stand-ins, references in plain NumPy, digests of stores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


class Array:
    """Something with a shape and a dtype, and further attributes as given; it has no pixels."""

    def __init__(self, shape: tuple[int, ...], dtype: npt.DTypeLike = "uint16", **more: Any):
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.__dict__.update(more)


def digest(root: Path) -> dict[str, str]:
    """The digest of every file in a folder, by its path there."""
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


def plain_mean(block: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Means of windows over the samples that exist, in plain NumPy.

    Of integers (32 bits at most) half to even.
    """
    missing = [(0, -n % f) for n, f in zip(block.shape, factors, strict=True)]
    padded = np.pad(block.astype(float), missing, constant_values=np.nan)
    pairs = [(n // f, f) for n, f in zip(padded.shape, factors, strict=True)]
    windows = padded.reshape([n for pair in pairs for n in pair])
    means = np.nanmean(windows, axis=tuple(range(1, windows.ndim, 2)))
    return (means if block.dtype.kind == "f" else np.rint(means)).astype(block.dtype)


def write_n5(
    path: Path,
    values: np.ndarray,
    compression: dict[str, Any] | None = None,
    *,
    block: tuple[int, ...],
) -> None:
    """Write an N5 dataset whose x-first samples are `values`, by TensorStore."""
    import tensorstore  # kill_builds.py must not load it: it starts threads

    metadata = {
        "compression": compression or {"type": "raw"},
        "dataType": values.dtype.name,
        "dimensions": values.shape,
        "blockSize": block,
    }
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": str(path)}, "metadata": metadata}
    tensorstore.open(spec, create=True).result()[...] = values
