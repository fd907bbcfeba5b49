"""Present a folder of a zarr store by the methods of `pathlib.Path` that builds use.

With them, metadata are read and written by the same code on a disk and in a bucket.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from zarr.storage import StorePath

from napari_pyramid.storage.objects import Objects, StoreError

__all__ = ["Folder", "Place", "is_below", "path_below"]


class Folder:
    """A folder or object of a zarr store; it exists if an object has its key or is below it.

    Parameters
    ----------
    path
        Key without slashes at its ends; empty for the root.
    """

    def __init__(self, objects: Objects, path: str = "") -> None:
        self.objects = objects
        self.path = path.strip("/")

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Folder) and self.path == other.path and self.objects == other.objects
        )

    def __hash__(self) -> int:
        return hash((self.objects, self.path))

    def __str__(self) -> str:
        return f"{self.objects.root}/{self.path}" if self.path else self.objects.root

    def __repr__(self) -> str:
        return f"Folder({str(self)!r})"

    # ---- names ----

    @property
    def name(self) -> str:
        """Last part of the key; of the root, last part of the address of the store."""
        return str(self).rpartition("/")[2]

    @property
    def parent(self) -> Folder:
        """The folder above; of the root, the root itself."""
        return Folder(self.objects, self.path.rpartition("/")[0])

    @property
    def parents(self) -> tuple[Folder, ...]:
        """The folders above, the nearest first."""
        if not self.path:
            return ()
        return tuple(
            Folder(self.objects, "" if str(p) == "." else str(p))
            for p in PurePosixPath(self.path).parents
        )

    def __truediv__(self, path: str) -> Folder:
        return Folder(self.objects, f"{self.path}/{path}")

    def relative_to(self, other: Folder) -> PurePosixPath:
        """Return the path from a folder above; ValueError if it is not above."""
        return PurePosixPath(self.path).relative_to(PurePosixPath(other.path))

    def resolve(self) -> Folder:
        """Return the folder itself: stores have no links."""
        return self

    def is_relative_to(self, other: Folder) -> bool:
        """Return whether the folder is another one, or below it."""
        return self == other or other in self.parents

    # ---- contents ----

    def exists(self) -> bool:
        """Return whether an object has the key, or is below it."""
        return self.is_dir() or self.is_file()

    def is_file(self) -> bool:
        """Return whether an object has the key."""
        return bool(self.path) and self.objects.get(self.path) is not None

    def is_dir(self) -> bool:
        """Return whether an object is below the folder."""
        return self.objects.has_below(self.path)

    def iterdir(self) -> Iterator[Folder]:
        """Yield the objects and folders directly below."""
        for name in self.objects.names(self.path):
            yield self / name

    def read_bytes(self) -> bytes:
        """Return the object; FileNotFoundError if it is missing."""
        found = self.objects.get(self.path) if self.path else None
        if found is None:
            raise FileNotFoundError(f"{self}: not found")
        return found

    def read_start(self, most: int) -> bytes:
        """Return the first bytes of the object, at most `most`; none if it is missing."""
        try:
            return self.objects.get(self.path, most) or b""
        except StoreError:  # a store of another package may read whole objects only
            return (self.objects.get(self.path) or b"")[:most]

    def write_bytes(self, content: bytes) -> None:
        """Write the whole object."""
        self.objects.put(self.path, content)

    def create(self, content: bytes) -> bool:
        """Write the object if it does not exist, and return whether it was written."""
        return self.objects.create(self.path, content)

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the object."""
        if not missing_ok and not self.is_file():
            raise FileNotFoundError(f"{self}: not found")
        self.objects.delete(self.path)

    def remove(self) -> None:
        """Delete the object, or all objects below the folder."""
        if self.is_file():
            self.objects.delete(self.path)
        self.objects.delete_below(self.path)

    def with_objects(self, objects: Objects) -> Folder:
        """Return the same folder as other objects of the store show it."""
        return Folder(objects, self.path)

    @property
    def store_path(self) -> StorePath:
        """The folder for zarr, in the store that was given."""
        return StorePath(self.objects.given, self.path)


Place: TypeAlias = Path | Folder
"""Where a node of a zarr hierarchy is: a directory, or a folder of a store."""


def is_below(above: Place, place: Place) -> bool:
    """Return whether a place is another one, or in it."""
    if isinstance(place, Folder):
        return isinstance(above, Folder) and place.is_relative_to(above)
    return isinstance(above, Path) and place.is_relative_to(above)


def path_below(above: Place, place: Place) -> str:
    """Return the path from a place to another one in it, with slashes; empty for itself.

    A directory may also be outside of the other one.
    """
    if isinstance(place, Folder):
        assert isinstance(above, Folder)
        path = place.relative_to(above).as_posix()
    else:
        assert not isinstance(above, Folder)
        path = Path(os.path.relpath(place, above)).as_posix()
    return "" if path == "." else path
