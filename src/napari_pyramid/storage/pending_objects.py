"""Collect changes of many objects, and make them in an order that is safe for readers."""

from __future__ import annotations

from napari_pyramid.storage.objects import Objects, as_folder

__all__ = ["Pending"]


class Pending(Objects):
    """The objects of a store with changes that are kept in memory until `flush`.

    Reading sees the changes. Metadata of many nodes can so be changed step by step, and reach the
    store once each, in an order that is safe.
    """

    def __init__(self, objects: Objects) -> None:
        super().__init__(objects.store, objects.root, objects.options)
        self._below = objects
        self._put: dict[str, bytes] = {}
        self._deleted: list[str] = []

    def get(self, key: str, most: int | None = None) -> bytes | None:
        """Return an object as it will be, or its first bytes; None if it is missing."""
        if key in self._put:
            return self._put[key][:most]
        return None if self._is_deleted(key) else self._below.get(key, most)

    def names(self, prefix: str) -> list[str]:
        """Return the names directly below a prefix as they will be."""
        start = as_folder(prefix)
        stored = (n for n in self._below.names(prefix) if not self._is_deleted(start + n))
        added = (k[len(start) :].partition("/")[0] for k in self._put if k.startswith(start))
        return sorted({*stored, *added})

    def keys(self, prefix: str) -> list[str]:
        """Return the keys below a prefix as they will be."""
        start = as_folder(prefix)
        stored = (key for key in self._below.keys(prefix) if not self._is_deleted(key))
        return sorted({*stored, *(key for key in self._put if key.startswith(start))})

    def has_below(self, prefix: str) -> bool:
        """Return whether there will be any object below a prefix."""
        if any(key.startswith(as_folder(prefix)) for key in self._put):
            return True
        return not self._is_deleted(prefix) and self._below.has_below(prefix)

    def put(self, key: str, content: bytes) -> None:
        """Keep an object for `flush`."""
        self._put[key] = content

    def delete(self, key: str) -> None:
        """Keep for `flush` that an object is deleted."""
        self.delete_below(key)

    def delete_below(self, prefix: str) -> None:
        """Keep for `flush` that an object, or all objects below a prefix, are deleted."""
        self._put = {k: v for k, v in self._put.items() if not _is_in(k, prefix)}
        self._deleted.append(prefix)

    def flush(self) -> None:
        """Write what has changed, deepest objects first, and then delete.

        A group so describes only arrays that exist. In a group, ``.zmetadata`` comes first and
        ``.zgroup`` last. Objects are deleted before folders, since consolidated metadata must not
        outlive the arrays that they name.
        """
        for key in sorted(self._put, key=_by_depth):
            if self._below.get(key) != self._put[key]:
                self._below.put(key, self._put[key])
        single = [key for key in self._deleted if self._below.get(key) is not None]
        for key in single:
            if key not in self._put:
                self._below.delete(key)
        for prefix in self._deleted:
            if prefix not in single:
                self._below.delete_below(prefix)
        self._put, self._deleted = {}, []

    def _is_deleted(self, key: str) -> bool:
        return any(_is_in(key, prefix) for prefix in self._deleted)


def _by_depth(key: str) -> tuple[int, bool, str]:
    return -key.count("/"), not key.endswith(".zmetadata"), key


def _is_in(key: str, prefix: str) -> bool:
    return key == prefix or key.startswith(as_folder(prefix))
