"""Fetch many small files, and names in directories, of a store on another host in parallel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from zarr.abc.store import Store
from zarr.buffer import default_buffer_prototype

from napari_pyramid.errors import LayoutError
from napari_pyramid.storage.private_names import run
from napari_pyramid.storage.remote_store import RemoteStore
from napari_pyramid.storage.run_together import run_together

__all__ = [
    "LARGEST_FILE",
    "answer_of",
    "bounded",
    "collected",
    "fetch_all",
    "fetch_files",
    "names_in",
]

T = TypeVar("T")

LARGEST_FILE = 64 * 2**20
"""Most bytes of a metadata file. Consolidated metadata of a plate may reach tens of megabytes."""

_SIDE_BY_SIDE = 128
"""Requests for small files that are under way at once."""


def fetch_files(store: Store, keys: Iterable[str]) -> dict[str, bytes | None]:
    """Return many small files of a store on another host, read in parallel; None if missing.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    return fetch_all(store, list(keys), is_strict=True)[0]


def fetch_all(
    store: Store,
    keys: Sequence[str],
    directories: Sequence[str] = (),
    *,
    is_strict: bool = False,
) -> tuple[dict[str, bytes | None], dict[str, list[str]]]:
    """Return files, and names in directories.

    Without files and directories that cannot be read, unless `is_strict`: then the error is raised.
    """
    files: dict[str, bytes | None] = {}
    names: dict[str, list[str]] = {}

    def fetch(wanted: tuple[str, bool]) -> None:
        key, is_directory = wanted
        try:
            if is_directory:
                names[key] = answer_of(names_in(store, key))
            else:
                files[key] = _fetched(store, key)
        except Exception:  # a store that presents another format may raise its own errors
            if is_strict:
                raise

    wanted = [(key, False) for key in keys] + [(key, True) for key in directories]
    run_together(fetch, wanted, threads=_SIDE_BY_SIDE)
    return files, names


def _fetched(store: Store, key: str) -> bytes | None:
    if isinstance(store, RemoteStore):
        stored = store.fetch_now(key)
        content = None if stored is None else bytes(stored)
    else:
        buffer = answer_of(store.get(key, default_buffer_prototype()))
        content = None if buffer is None else buffer.to_bytes()
    return None if content is None else bounded(content, key)


def answer_of(request: Coroutine[Any, Any, T]) -> T:
    """Return the answer of a store; exceptions of its library become OSError."""
    try:
        return run(request)
    except (OSError, LayoutError):
        raise
    # Not narrower: zlib and zipfile for damaged archives, aiohttp and botocore for servers have
    # errors of their own.
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


async def names_in(store: Store, directory: str) -> list[str]:
    """Return the names in a directory; only names of directories, if the store knows."""
    # Some stores ask for a running event loop when they begin to list.
    return await collected(getattr(store, "list_directories", store.list_dir)(directory))


async def collected(names: AsyncIterator[str]) -> list[str]:
    """Return the names that a store yields."""
    return [name async for name in names]


def bounded(content: bytes, key: str) -> bytes:
    """Return the bytes of a file.

    Raises
    ------
    OSError
        If there are more than `LARGEST_FILE`.
    """
    if len(content) > LARGEST_FILE:
        raise OSError(f"{key} is larger than {LARGEST_FILE} bytes, too large for metadata")
    return content
