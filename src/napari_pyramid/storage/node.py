"""Read the metadata of the groups and arrays of an opened store, of zarr v2 and v3."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from zarr.abc.store import Store

from napari_pyramid.errors import LayoutError, one_line
from napari_pyramid.image import ArrayLike
from napari_pyramid.storage._files import Files, files_of
from napari_pyramid.storage.layout_warnings import brief, warn
from napari_pyramid.storage.node_description import NodeDescription
from napari_pyramid.storage.node_metadata import Kind, read_json, read_metadata
from napari_pyramid.storage.open_array import open_array
from napari_pyramid.storage.paths import UNSAFE_PATH, as_path, is_in, join, natural_key
from napari_pyramid.storage.prefetch import Expected, prefetch

__all__ = ["Node", "prefetch_nodes", "root_node"]

_NO_FOLDERS = ("c", "__MACOSX")
"""Directories that are not nodes: chunks of zarr v3, and files that macOS adds to zips."""
_BATCH = 64
"""Number of nodes whose metadata `Node.below` reads at once from another host."""


class Node(NodeDescription):
    """A group or array of an opened store. Metadata are read once, pixels never.

    Attributes
    ----------
    path
        Path inside the store, "" for the root.
    kind
        "group" or "array". A directory without metadata is a group with `is_implicit`: the root, or
        one of `folders`.
    attributes
        The user's attributes: ".zattrs", or "attributes" of "zarr.json". Always a dict.
    location
        Path or URL of the root, "/" and the path in the store: for messages.
    """

    def __init__(
        self,
        store: Store,
        path: str,
        metadata: dict[str, Any],
        *,
        files: Files,
        opened: str,
    ) -> None:
        self.store = store
        super().__init__(path, metadata, opened=opened)
        self._files = files
        self._said: set[str] = set()
        self._known: dict[str, Node | None] = {}
        self._array: ArrayLike | None = None

    @property
    def is_far(self) -> bool:
        """Whether the store is on another host, so that each read takes a round trip."""
        return self._files.is_far

    @cached_property
    def folder(self) -> str:
        """Identity of the node, whichever links lead to it.

        The real path of its directory, or the path inside a zip or below a URL.
        """
        return self.folder_at("")

    def folder_at(self, path: str) -> str:
        """Return the `folder` of the node at a relative path, which need not exist."""
        return self._files.folder(join(self.path, path) if path else self.path)

    @cached_property
    def is_link(self) -> bool:
        """Whether the last part of the path is a link to a folder with another name or parent."""
        above, _, name = self.path.rpartition("/")
        return bool(name) and self.folder != join(self._files.folder(above), name)

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """The user's attributes, always a dict."""
        if self.zarr_format == 3:
            file, found = "zarr.json", self.metadata.get("attributes")
        else:
            file, found = ".zattrs", self._read_attributes()
        if found is None:
            return {}
        if not isinstance(found, dict):
            warn(
                f"{self.location}/{file}: attributes are not an object but {brief(found)}; ignored"
            )
            return {}
        return found

    @cached_property
    def dimension_names(self) -> tuple[str, ...] | None:
        """Names of the array's axes as zarr v3 or xarray write them, or None."""
        names = self.metadata.get("dimension_names") if self.zarr_format == 3 else None
        names = names or self.attributes.get("_ARRAY_DIMENSIONS")
        if (
            isinstance(names, list)
            and len(names) == len(self.shape)
            and all(isinstance(n, str) for n in names)
        ):
            return tuple(names)
        return None

    @property
    def is_zarr(self) -> bool:
        """Whether the store holds zarr, not another format that it presents as zarr v3."""
        return not hasattr(self.store, "inner")

    def is_first_to_say(self, what: str) -> bool:
        """Return whether no node of the opened store has asked for `what` before.

        Used to warn once of a fault that thousands of wells share.
        """
        is_first = what not in self._said
        self._said.add(what)
        return is_first

    def child(self, path: object) -> Node | None:
        """Return the node at a relative path, or None.

        None if nothing exists at the path, or if its metadata cannot be read (with a warning).

        Parameters
        ----------
        path
            Any value from the metadata of the store.

        Raises
        ------
        LayoutError
            If the path is not a string or would leave the store: "..", absolute, a URL, "." or "".
        """
        path = path.removeprefix("./") if isinstance(path, str) else path
        if not isinstance(path, str) or UNSAFE_PATH.search(path):
            raise LayoutError(
                f"{self.location}: path {brief(path)} is not a path inside the store; not followed"
            )
        path = "/".join(part for part in path.split("/") if part)
        if path not in self._known:
            self._known[path] = self._load(join(self.path, path))
        return self._known[path]

    def prefetch(
        self,
        *,
        arrays: Iterable[object] = (),
        groups: Iterable[object] = (),
        nodes: Iterable[object] = (),
        names: bool = False,
    ) -> None:
        """Read the metadata of many nodes below in parallel, if the store is on another host.

        Paths may be any values from the metadata of the store; invalid paths are skipped.

        Parameters
        ----------
        arrays, groups
            Paths of expected arrays and groups, which need fewer requests. A node of the other kind
            is found as well.
        nodes
            Paths where there may be an array, a group or nothing.
        names
            Read the names in this group as well, for `children`.
        """
        kinds: tuple[tuple[Iterable[object], Kind | None], ...] = (
            (arrays, "array"),
            (groups, "group"),
            (nodes, None),
        )
        wanted = [(self, path, kind) for paths, kind in kinds for path in paths]
        prefetch_nodes(wanted, listed=[self] if names else [])

    def _new_path(self, path: object) -> str | None:
        """Return the path in the store for a relative path, or None if invalid or known."""
        path = as_path(path)
        path = path.removeprefix("./") if isinstance(path, str) else path
        if not isinstance(path, str) or UNSAFE_PATH.search(path):
            return None
        clean = "/".join(part for part in path.split("/") if part)
        return None if clean in self._known else join(self.path, clean)

    @cached_property
    def _children(self) -> tuple[Node, ...]:
        names = self.candidate_names
        self.prefetch(nodes=names)
        found = [node for name in names if (node := self.child(name)) is not None]
        above = self.folders_above()
        return tuple(node for node in found if not any(is_in(f, node.folder) for f in above))

    @cached_property
    def _distinct_children(self) -> tuple[Node, ...]:
        # a folder comes before the links to it, so that its own name is shown
        by_folder: dict[str, Node] = {}
        for node in sorted(self._children, key=lambda node: node.is_link):
            by_folder.setdefault(node.folder, node)
        return tuple(node for node in self._children if by_folder[node.folder] is node)

    def children(self, *, distinct: bool = True) -> tuple[Node, ...]:
        """Return the nodes directly below, in natural order (10 after 9).

        Directories of chunks and links to a folder above are left out.

        Parameters
        ----------
        distinct
            Leave out all names but one of a folder that has several by links.
        """
        return self._distinct_children if distinct else self._children

    def folders(self) -> tuple[Node, ...]:
        """Return the directories below without metadata, in natural order, as implicit groups.

        TensorStore writes arrays without metadata for the groups above them. Names of chunks are
        left out. Empty for stores that list files as well: asking a server about each file would
        take too long.
        """
        if not self._files.lists_folders_only:
            return ()
        nodes = {node.name for node in self._children}
        names = sorted(
            name for name in self._candidates() if name not in nodes and self._may_be_folder(name)
        )
        found = [self._node(join(self.path, name), {}) for name in sorted(names, key=natural_key)]
        above = self.folders_above()
        return tuple(node for node in found if not any(is_in(f, node.folder) for f in above))

    @cached_property
    def candidate_names(self) -> tuple[str, ...]:
        """Names in the folder, in natural order, that may be nodes; none of them is loaded."""
        return tuple(sorted(self._candidates(), key=natural_key))

    def below(self) -> Iterator[Node]:
        """Yield the nodes of `children` and `folders` together, each loaded when it is reached.

        Several names of one folder are all yielded.
        """
        above = self.folders_above()
        names = self.candidate_names
        for start in range(0, len(names), _BATCH):
            batch = names[start : start + _BATCH]
            self.prefetch(nodes=batch)
            for name in batch:
                node = self.child(name)
                if node is None and self._may_be_folder(name):
                    node = self._node(join(self.path, name), {})
                if node is not None and not any(is_in(f, node.folder) for f in above):
                    yield node

    def _may_be_folder(self, name: str) -> bool:
        return self._files.lists_folders_only and not name.isdecimal() and name not in _NO_FOLDERS

    def folders_above(self) -> set[str]:
        """Return the identities of the folders of the node and of all groups above it."""
        parts = self.path.split("/") if self.path else []
        return {self._files.folder("/".join(parts[:i])) for i in range(len(parts) + 1)}

    def child_names(self) -> tuple[str, ...]:
        """Return the names of the nodes directly below, in natural order."""
        return tuple(node.name for node in self._distinct_children)

    def array(self) -> ArrayLike:
        """Return the array, opened without reading a chunk.

        Raises
        ------
        LayoutError
            If the node is a group, or its codec, data type or shape cannot be understood; the
            message names the file.
        """
        if self.kind != "array":
            raise LayoutError(f"{self.location} is a group, not an array")
        if self._array is None:
            self._array = open_array(self.store, self, guess_separator=self._guess_separator)
        return self._array

    def read_bytes(self, name: str) -> bytes | None:
        """Return a small file beside the metadata (XML, JSON); None if missing or unreadable.

        Raises
        ------
        LayoutError
            If the name would leave the store.
        """
        if UNSAFE_PATH.search(name):
            raise LayoutError(
                f"{self.location}: {brief(name)} is not a file inside the store; not read"
            )
        key = join(self.path, name)
        try:
            return self._files.read(key)
        except OSError as error:
            warn(f"{self.opened}/{key} cannot be read: {one_line(error)}")
            return None

    def _candidates(self) -> list[str]:
        try:
            listed = {name.rstrip("/") for name in self._files.names(self.path)}
            return [name for name in listed if not UNSAFE_PATH.search(name)]
        except OSError as error:
            warn(f"{self.location} cannot be listed: {one_line(error)}")
            return []

    def _load(self, path: str) -> Node | None:
        try:
            above = None if self.is_implicit else self.zarr_format
            metadata = read_metadata(self._files, path, above=above)
        except LayoutError as error:
            warn(f"{self.opened}/{error}; left out")
            return None
        return None if metadata is None else self._node(path, metadata)

    def _node(self, path: str, metadata: dict[str, Any]) -> Node:
        node = Node(
            self.store,
            path,
            metadata,
            files=self._files,
            opened=self.opened,
        )
        node._said = self._said
        return node

    def _read_attributes(self) -> Any:
        try:
            return read_json(self._files, join(self.path, ".zattrs"))
        except LayoutError as error:
            warn(f"{self.opened}/{error}; ignored")
            return None

    def _guess_separator(self) -> Literal[".", "/"]:
        """Return the separator of chunk keys from the file names.

        Before zarr-python 2.8, nested stores ("0/0" instead of "0.0") did not record it.
        """
        nested = self.ndim > 1 and any(
            name.isdecimal() and self.child(name) is None for name in self._candidates()
        )
        return "/" if nested else "."


def root_node(
    store: Store, opened: str, *, fetched: Mapping[str, bytes | None] | None = None
) -> Node:
    """Return the root of a store, a group without attributes when it holds no metadata.

    Parameters
    ----------
    fetched
        As in `files_of`.

    Raises
    ------
    LayoutError
        If there are metadata, but they cannot be read; the message names the file.
    """
    files = files_of(store, fetched)
    try:
        metadata = read_metadata(files, "")
    except LayoutError as error:
        raise LayoutError(f"{opened}/{error}") from error
    return Node(store, "", metadata or {}, files=files, opened=opened)


def prefetch_nodes(
    wanted: Sequence[tuple[Node, object, Kind | None]], *, listed: Sequence[Node] = ()
) -> None:
    """Read the metadata of nodes of one store in parallel, if it is on another host.

    Parameters
    ----------
    wanted
        A node, the path of another below it, and the expected kind; see `Node.prefetch`.
    listed
        Groups whose names are read, too.
    """
    nodes = [node for node, _, _ in wanted] + list(listed)
    if not nodes or not nodes[0]._files.is_far:
        return
    expected = [
        Expected(place, kind, is_v3=node.zarr_format == 3 and not node.is_implicit)
        for node, path, kind in wanted
        if (place := node._new_path(path)) is not None
    ]
    prefetch(
        nodes[0]._files,
        expected,
        directories=[node.path for node in listed],
        zarr_format=nodes[0].zarr_format,
    )
