"""Connect to the dask scheduler whose address was written into the form. No Qt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from napari_pyramid.errors import PyramidError

__all__ = ["connected"]

PATIENCE = 10
"""Seconds to wait for the scheduler."""


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """Yield an executor of the cluster at an address, or None for this machine.

    Raises
    ------
    PyramidError
        If dask.distributed is not installed, or no scheduler answers.
    """
    if address is None:
        yield None
        return
    try:
        distributed: Any = import_module("distributed")  # it has no types
    except ImportError:
        raise PyramidError("a cluster needs dask.distributed: pip install distributed") from None
    try:
        client = distributed.Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise PyramidError(f"no dask scheduler answers at {address}: {error}") from error
    with client:
        yield client.get_executor()
