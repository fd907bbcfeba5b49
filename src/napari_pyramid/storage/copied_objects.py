"""Copy and delete many objects of one store at the same time, until the caller stops it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from zarr.storage import ObjectStore

from napari_pyramid.storage.objects import Objects, StoreError

__all__ = ["copy_objects", "delete_objects"]

T = TypeVar("T")

_AT_ONCE = 16
"""Requests that are under way at once."""
_IN_MEMORY = 8
"""Objects that are held in memory at once."""
_HEARTBEAT = 0.1
"""Longest time between two steps in seconds."""
_COPY_AT_ONCE = ("S3Store", "GCSStore", "MemoryStore", "LocalStore")
"""Object stores of obstore whose copies are complete when they answer."""


def copy_objects(objects: Objects, pairs: Iterable[tuple[str, str]]) -> Generator[int, None, None]:
    """Copy objects over others of the same store; each is replaced whole.

    A bucket copies its objects itself, so that no bytes travel. An object is read and written
    elsewhere, where a bucket does not copy (S3 copies at most 5 GB), and at Azure, which may answer
    before it has copied.

    Close the generator to stop: the copies that are under way are finished, and no other begins.

    Parameters
    ----------
    pairs
        Key of each object, and key of its copy.

    Yields
    ------
    int
        Number of objects copied since the last step, at least every 0.1 seconds.

    Raises
    ------
    StoreError
        If an object is missing, or cannot be read or written.
    """
    room = threading.BoundedSemaphore(_IN_MEMORY)

    def copy(pair: tuple[str, str]) -> None:
        if not _copied_by_the_bucket(objects, *pair):
            with room:
                _copy_through_memory(objects, *pair)

    yield from _together(copy, pairs)


def delete_objects(objects: Objects, keys: Iterable[str]) -> Generator[int, None, None]:
    """Delete objects, if they exist; steps are as in `copy_objects`.

    Raises
    ------
    StoreError
        If one of them cannot be deleted.
    """
    yield from _together(objects.delete, keys)


def _together(call: Callable[[T], None], items: Iterable[T]) -> Generator[int, None, None]:
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="napari-pyramid") as pool:
        pending = {pool.submit(call, item) for item in items}
        try:
            while pending:
                done, pending = wait(pending, _HEARTBEAT, FIRST_EXCEPTION)
                for future in done:
                    future.result()
                yield len(done)
        finally:
            for future in pending:
                future.cancel()


def _copied_by_the_bucket(objects: Objects, source: str, target: str) -> bool:
    if not isinstance(objects.store, ObjectStore):
        return False
    bucket = objects.store.store
    if type(bucket).__name__ not in _COPY_AT_ONCE:
        return False
    import obstore

    try:
        obstore.copy(bucket, source, target)
    # Not narrower: what is wrong, if anything is, shows when the object is read and written.
    except Exception:
        return False
    return True


def _copy_through_memory(objects: Objects, source: str, target: str) -> None:
    (content,) = objects.get_all([source])
    if content is None:
        raise StoreError(f"{objects.root}: {source} is missing")
    objects.put(target, content)
