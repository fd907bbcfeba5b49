"""Refuse to write to a zarr store: the base class of the stores that are only read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, Store

__all__ = ["ReadOnlyStore"]


class ReadOnlyStore(Store):
    """A zarr store that can list its keys and refuses to change them.

    Subclasses define ``get``, ``exists``, ``list_prefix`` and ``list_dir``.
    """

    def __init__(self) -> None:
        super().__init__(read_only=True)
        self._is_open = True  # nothing has to be opened, also after unpickling

    @property
    def supports_listing(self) -> bool:
        """Whether keys can be listed."""
        return True

    @property
    def supports_writes(self) -> bool:
        """False: the store is read-only."""
        return False

    @property
    def supports_deletes(self) -> bool:
        """False: the store is read-only."""
        return False

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return the bytes of several keys or ranges of keys; None for each that is missing."""
        return list(
            await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges))
        )

    async def list(self) -> AsyncIterator[str]:
        """Yield all keys."""
        async for key in self.list_prefix(""):
            yield key

    async def set(self, key: str, value: Buffer) -> None:
        """Raise ValueError: the store is read-only."""
        raise ValueError(f"{key} cannot be written: {self} is read-only")

    async def delete(self, key: str) -> None:
        """Raise ValueError: the store is read-only."""
        raise ValueError(f"{key} cannot be deleted: {self} is read-only")
