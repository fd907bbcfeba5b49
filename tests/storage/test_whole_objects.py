"""Objects of servers without ranges are kept in bounded memory, however often they are read."""

from __future__ import annotations

import asyncio

import pytest

from napari_pyramid.storage import whole_objects
from napari_pyramid.storage.transport import Answer
from napari_pyramid.storage.whole_objects import WholeObjects


def read(objects: WholeObjects, key: str, size: int) -> bool:
    """Read a part of an object as a store does, and return whether a request was sent."""
    sent = []

    async def request() -> Answer:
        sent.append(key)
        return Answer(bytes(size), size=size)

    assert asyncio.run(objects.get(key, request)).content == bytes(size)
    objects.note_success(key)
    return bool(sent)


def test_memory_is_bounded_in_every_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_objects, "_MOST_BYTES", 250)
    objects = WholeObjects()
    for _ in range(3):  # only two of the seven objects fit
        assert all(read(objects, key, 99) for key in "abcdefg")
        assert not read(objects, "f", 99)
        assert not read(objects, "g", 99)


def test_the_object_that_is_read_is_kept_whatever_its_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(whole_objects, "_MOST_BYTES", 250)
    objects = WholeObjects()
    assert read(objects, "a", 77)
    assert read(objects, "b", 1001)
    assert not read(objects, "b", 1001)
    assert read(objects, "a", 77)
