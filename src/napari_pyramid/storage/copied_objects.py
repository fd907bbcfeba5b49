"""Copy and delete many objects of one store at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from zarr.storage import ObjectStore

from napari_pyramid.storage.objects import Objects, StoreError
from napari_pyramid.storage.private_names import run
from napari_pyramid.storage.run_together import run_together

__all__ = ["copy_objects", "delete_objects"]

_AT_ONCE = 16
"""Requests that are under way at once."""
_COPY_AT_ONCE = ("S3Store", "GCSStore", "MemoryStore", "LocalStore")
"""Object stores of obstore whose copies are complete when they answer."""


def copy_objects(objects: Objects, pairs: Sequence[tuple[str, str]]) -> None:
    """Copy objects over others of the same store; each is replaced whole.

    A bucket copies its objects itself, so that no bytes travel. An object is read and written
    elsewhere, where a bucket does not copy (S3 copies at most 5 GB), and at Azure, which may answer
    before it has copied.

    Parameters
    ----------
    pairs
        Key of each object, and key of its copy.

    Raises
    ------
    StoreError
        If an object is missing, or cannot be read or written.
    """
    run_together(lambda pair: _through_memory(objects, *pair), _left(objects, pairs), threads=8)


def _left(objects: Objects, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the pairs that the bucket did not copy itself."""
    if not isinstance(objects.store, ObjectStore):
        return list(pairs)
    bucket = objects.store.store
    if type(bucket).__name__ not in _COPY_AT_ONCE:
        return list(pairs)
    import obstore

    async def copy_each() -> list[BaseException | None]:
        room = asyncio.Semaphore(_AT_ONCE)

        async def copy_one(source: str, target: str) -> None:
            async with room:
                await obstore.copy_async(bucket, source, target)

        return await asyncio.gather(*(copy_one(*pair) for pair in pairs), return_exceptions=True)

    # What is wrong, if anything is, shows when the object is read and written.
    answers = run(copy_each())
    return [pair for pair, answer in zip(pairs, answers, strict=True) if answer is not None]


def _through_memory(objects: Objects, source: str, target: str) -> None:
    (content,) = objects.get_all([source])
    if content is None:
        raise StoreError(f"{objects.root}: {source} is missing")
    objects.put(target, content)


def delete_objects(objects: Objects, keys: Sequence[str]) -> None:
    """Delete objects, if they exist.

    Raises
    ------
    StoreError
        If one of them cannot be deleted.
    """
    run_together(objects.delete, keys, threads=_AT_ONCE)
