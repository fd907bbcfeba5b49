"""The lock of a build in a bucket, which a thread renews."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from zarr.storage import MemoryStore

from napari_pyramid.build import object_lock
from napari_pyramid.build.object_lock import ObjectLock
from napari_pyramid.storage.folder import Folder
from napari_pyramid.storage.objects import Objects


class SlowStore(MemoryStore):
    """A store that writes an object, other than a new one, when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.is_writing, self.may_write = threading.Event(), threading.Event()

    async def set(self, key: str, value: Any, byte_range: Any = None) -> None:
        self.is_writing.set()
        await asyncio.to_thread(self.may_write.wait, 60)
        await super().set(key, value, byte_range)


def test_a_lock_that_is_being_renewed_stays_released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_lock, "BEAT", 0.01)
    store = SlowStore()
    lock = ObjectLock(Folder(Objects(store, "box"), ".x.building"))
    before = {*threading.enumerate()}
    lock.acquire()
    (renewing,) = {t for t in threading.enumerate() if "lock" in t.name} - before
    assert store.is_writing.wait(60)
    releasing = threading.Thread(target=lock.release)
    releasing.start()
    releasing.join(0.1)  # a release that does not wait for the renewal has ended by then
    store.may_write.set()
    releasing.join(60)
    renewing.join(60)
    assert not store._store_dict
