"""Choose the metadata files of expected nodes, and read them in parallel from another host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from napari_pyramid.storage._files import Files
from napari_pyramid.storage.file_names import NODE_FILES
from napari_pyramid.storage.node_metadata import Kind
from napari_pyramid.storage.paths import join

__all__ = ["Expected", "prefetch"]

_FILES_OF: Mapping[Kind | None, tuple[str, ...]] = {
    "array": (".zarray",),
    # In zarr v2, attributes alone identify an expected group: half the requests of a plate.
    "group": (".zattrs",),
    None: (*NODE_FILES, ".zattrs"),
}


@dataclass(frozen=True, slots=True)
class Expected:
    """A node that may exist."""

    path: str
    """Path in the store."""
    kind: Kind | None
    """Kind that other metadata give it; None if it is unknown, or if there may be no node."""
    is_v3: bool
    """Whether the group above it is of zarr v3."""

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files to request first."""
        return ("zarr.json",) if self.is_v3 else _FILES_OF[self.kind]


def prefetch(
    files: Files,
    expected: Iterable[Expected],
    *,
    directories: Iterable[str] = (),
    zarr_format: Literal[2, 3],
) -> None:
    """Read the metadata of expected nodes, and then of nodes that are of another kind.

    Parameters
    ----------
    directories
        Paths of the groups whose names are read, too.
    zarr_format
        Format of the nodes that are not found where they are expected.
    """
    expected = list(expected)
    files.expected_groups.update(e.path for e in expected if e.kind == "group" and not e.is_v3)
    files.prefetch(
        [join(e.path, name) for e in expected for name in e.files], directories=directories
    )
    known = [e for e in expected if e.kind is not None]
    others = [e.path for e in known if not files.has(join(e.path, e.files[0]))]
    rest = ("zarr.json",) if zarr_format == 3 else NODE_FILES
    files.prefetch(join(place, name) for place in others for name in rest)
