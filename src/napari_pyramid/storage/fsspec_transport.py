"""Request objects through fsspec, for schemes that obstore does not serve."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from napari_pyramid.storage.transport import Answer, RefusedError, Span, TransportError

__all__ = ["FsspecTransport"]


class FsspecTransport:
    """Requests through fsspec, for schemes that obstore does not serve."""

    def __init__(self, file_system: Any, prefix: str) -> None:
        self.system = file_system
        self.prefix = prefix

    async def get(self, key: str, span: Span | None = None) -> Answer:
        """Return an object, or a part of it."""
        start, end = (None, None) if span is None else (span.start, span.end)
        content = await self._call("cat_file", self._path(key), start=start, end=end)
        info = {} if span is None else await self._call("info", self._path(key))
        return Answer(bytes(content), size=info.get("size", len(content)))

    async def get_ranges(self, key: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return several parts of an object, given as first byte and end."""
        answers = await asyncio.gather(*(self.get(key, Span(*span)) for span in spans))
        return [answer.content for answer in answers]

    async def names(self, directory: str) -> list[tuple[str, bool]]:
        """Return the name of each entry of a directory, and whether it is a directory itself."""
        entries = await self._call("ls", self._path(directory), detail=True)
        return [
            (entry["name"].rstrip("/").rpartition("/")[2], entry["type"] == "directory")
            for entry in entries
        ]

    def _path(self, key: str) -> str:
        return f"{self.prefix}/{key}".rstrip("/")

    async def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        try:
            if getattr(self.system, "asynchronous", False):
                return await getattr(self.system, f"_{method}")(*args, **kwargs)
            return await asyncio.to_thread(getattr(self.system, method), *args, **kwargs)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise FileNotFoundError("not found") from None
        except PermissionError:
            raise RefusedError(403) from None
        # Not narrower: file systems of fsspec raise the errors of the libraries behind them.
        except Exception as error:
            raise TransportError(f"{type(error).__name__}: {str(error)[:200]}") from error
