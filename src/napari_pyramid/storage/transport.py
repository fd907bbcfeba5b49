"""Request objects of a bucket or web server through obstore, urllib or fsspec.

urllib serves answers that obstore does not accept, fsspec serves other schemes. This module handles
bytes and statuses; `remote_store` decides whether a refused object is a missing one.
"""

from __future__ import annotations

import asyncio
import html
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote, urljoin, urlsplit

from napari_pyramid.storage.address import Address

__all__ = [
    "Answer",
    "BeyondEndError",
    "FsspecTransport",
    "ObstoreTransport",
    "RangeIgnoredError",
    "RefusedError",
    "Span",
    "Transport",
    "TransportError",
    "UnusualAnswerError",
    "UrllibTransport",
    "translated",
]

_STATUS = re.compile(r"status code: (\d{3})(?: ([A-Za-z][A-Za-z -]*))?")
_HREF = re.compile(r"""<a\s[^>]*?href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))""", re.IGNORECASE)
_REASONS = (
    ("dns error", "the host's name is unknown"),
    ("ConnectionRefused", "the host refuses connections"),
    ("certificate", "the host's certificate is not trusted"),
    ("Timeout", "the host does not answer in time"),
    ("TimedOut", "the host does not answer in time"),
    ("Interrupted", "the connection was closed in the middle of the answer"),
    ("IncompleteMessage", "the connection was closed without an answer"),
    ("ConnectionReset", "the connection was closed without an answer"),
)
"""Words in errors of obstore, and the messages for the user.

The text of obstore holds the whole URL with its secrets.
"""


class TransportError(OSError):
    """A request that failed, also when it was repeated; the message does not name the key."""

    def __init__(self, message: str, *, again: bool = False) -> None:
        super().__init__(message)
        self.again = again
        """Whether the same request may succeed at once, because the answer was cut short."""


class RefusedError(TransportError):
    """A request that the server refuses: a status of 400 to 499 that is not "not found"."""

    def __init__(self, status: int, reason: str = "") -> None:
        usual = f"{status} {reason or http.client.responses.get(status, '')}".strip()
        super().__init__(usual if status >= 400 else reason)
        self.status = status


class RangeIgnoredError(TransportError):
    """A server that answers a request for a part of an object with all of it."""


class BeyondEndError(TransportError):
    """A request for a part that begins behind the object's last byte."""


class UnusualAnswerError(TransportError):
    """An answer that obstore does not accept: without length, or a redirect it cannot follow."""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of an object: ``start`` to ``end``, or its last ``-start`` bytes.

    ``end`` is exclusive; None means to the last byte.
    """

    start: int
    end: int | None = None

    @property
    def header(self) -> str:
        """Value of the header ``Range``."""
        if self.start < 0:
            return f"bytes={self.start}"
        return f"bytes={self.start}-{'' if self.end is None else self.end - 1}"


@dataclass(frozen=True, slots=True)
class Answer:
    """The bytes of an object, or of a part of it."""

    content: bytes
    kind: str = ""
    """Content-Type, where the server gives one."""
    size: int | None = None
    """Bytes of the whole object, or None if the server does not send the size."""


class Transport(Protocol):
    """Access to the objects of one bucket or host.

    Keys begin at the root of the bucket or of the store. All methods raise FileNotFoundError for a
    missing object, `RefusedError`, `RangeIgnoredError` or `TransportError`.
    """

    async def get(self, key: str, span: Span | None = None) -> Answer:
        """Return an object, or a part of it."""
        ...

    async def get_ranges(self, key: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Several parts, given as first byte and end; near ones may share a request."""
        ...

    async def names(self, directory: str) -> list[tuple[str, bool]]:
        """Name of each entry of a directory, and whether it is a directory itself."""
        ...


class ObstoreTransport:
    """Requests through obstore.

    Parameters
    ----------
    store
        An object store of obstore.
    prefix
        Put before every key, with its slash.
    """

    def __init__(self, store: Any, prefix: str = "") -> None:
        self.store = store
        self.prefix = prefix

    async def get(self, key: str, span: Span | None = None) -> Answer:
        """Return an object, or a part of it."""
        import obstore

        try:
            result = await obstore.get_async(
                self.store, self.prefix + key, options=_get_options(span)
            )
            return _answer(result, await result.bytes_async())
        except Exception as error:
            raise translated(error) from None

    def get_now(self, key: str, span: Span | None = None) -> Answer:
        """Return what `get` returns, from a thread that may wait."""
        import obstore

        try:
            result = obstore.get(self.store, self.prefix + key, options=_get_options(span))
            return _answer(result, result.bytes())
        except Exception as error:
            raise translated(error) from None

    async def get_ranges(self, key: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return several parts of an object, given as first byte and end."""
        import obstore

        starts, ends = zip(*spans, strict=True)
        try:
            parts = await obstore.get_ranges_async(
                self.store, self.prefix + key, starts=starts, ends=ends
            )
        except Exception as error:
            raise translated(error) from None
        return [bytes(part) for part in parts]

    def get_ranges_now(self, key: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return what `get_ranges` returns, from a thread that may wait."""
        import obstore

        starts, ends = zip(*spans, strict=True)
        try:
            parts = obstore.get_ranges(self.store, self.prefix + key, starts=starts, ends=ends)
        except Exception as error:
            raise translated(error) from None
        return [bytes(part) for part in parts]

    async def names(self, directory: str) -> list[tuple[str, bool]]:
        """Return the name of each entry of a directory, and whether it is a directory itself."""
        import obstore

        prefix = f"{self.prefix}{directory}".rstrip("/")
        prefix = f"{prefix}/" if prefix else ""
        try:
            found = await obstore.list_with_delimiter_async(self.store, prefix)
        except Exception as error:
            raise translated(error) from None
        directories = [(p.rstrip("/").rpartition("/")[2], True) for p in found["common_prefixes"]]
        return directories + [(o["path"].rpartition("/")[2], False) for o in found["objects"]]


def _get_options(span: Span | None) -> Any:
    if span is None:
        return None
    if span.start < 0:
        return {"range": {"suffix": -span.start}}
    return {"range": {"offset": span.start} if span.end is None else (span.start, span.end)}


def _answer(result: Any, content: Any) -> Answer:
    kind = str(result.attributes.get("Content-Type", ""))
    return Answer(bytes(content), kind, result.meta["size"])


def translated(error: Exception) -> Exception:
    """Return an error of obstore as one of this module, without the URL that its text holds."""
    from obstore import exceptions

    if isinstance(error, FileNotFoundError):
        return FileNotFoundError("not found")
    if isinstance(error, exceptions.NotSupportedError):
        return RangeIgnoredError("the server does not send parts of an object")
    text = str(error)
    status = _STATUS.search(text)
    if status is not None:
        number, reason = int(status[1]), (status[2] or "").strip()
        if number in (404, 410):
            return FileNotFoundError("not found")
        if number == 416:
            return BeyondEndError("the part that was asked for is behind the end of the object")
        if 400 <= number < 500 and number not in (408, 429):
            return RefusedError(number, reason)
        if 300 <= number < 400:
            return UnusualAnswerError(f"the server answers {number} {reason}".strip())
        return TransportError(f"the server answers {number} {reason}".strip() + _repeats(text))
    if isinstance(error, exceptions.PermissionDeniedError):
        return RefusedError(403)
    if isinstance(error, exceptions.UnauthenticatedError):
        return RefusedError(401)
    if "MissingContentLength" in text or "Content-Length Header missing" in text:
        return UnusualAnswerError("the server does not send the length of its answers")
    if "redirect" in text.lower():
        return UnusualAnswerError("the server answers with a redirect to nowhere")
    reason = next((message for word, message in _REASONS if word in text), "the request failed")
    if reason == "the request failed" and "://" not in text:
        reason = " ".join(text.partition("\n")[0].split())[:200]
    return TransportError(reason + _repeats(text), again="Interrupted" in text)


def _repeats(text: str) -> str:
    """How often obstore made the same request again."""
    repeats = re.search(r"after (\d+) retries", text)
    return f", also when asked {repeats[1]} times more" if repeats else ""


class UrllibTransport:
    """Requests through Python's own HTTP client: slower, and content with nearly any server."""

    def __init__(self, address: Address, headers: dict[str, str], timeout: float) -> None:
        self._address = address
        self._headers = headers
        self._timeout = timeout

    async def get(self, key: str, span: Span | None = None) -> Answer:
        """Return an object, or a part of it."""
        url = (self._address.below(key) if key else self._address).requested
        return await asyncio.to_thread(self._get, url, span)

    async def get_ranges(self, key: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return several parts of an object, given as first byte and end."""
        answers = await asyncio.gather(*(self.get(key, Span(*span)) for span in spans))
        return [answer.content for answer in answers]

    async def names(self, directory: str) -> list[tuple[str, bool]]:
        """Return the links of an index page, as Apache, nginx and others make for a directory."""
        at = self._address.below(directory) if directory else self._address
        parts = urlsplit(at.requested)
        url = parts._replace(path=f"{parts.path.rstrip('/')}/").geturl()
        answer = await asyncio.to_thread(self._get, url, None)
        return _links(answer.content.decode("utf-8", "replace"), url) if _is_html(answer) else []

    def _get(self, url: str, span: Span | None) -> Answer:
        request = urllib.request.Request(url, headers=self._headers)
        if span is not None:
            request.add_header("Range", span.header)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:
                if span is not None and response.status != 206:
                    raise RangeIgnoredError("the server does not send parts of an object")
                content, total = response.read(), response.headers.get("Content-Range", "")
                size = total.rpartition("/")[2] if span is not None else str(len(content))
                kind = response.headers.get("Content-Type", "")
                return Answer(content, kind, int(size) if size.isdecimal() else None)
        except urllib.error.HTTPError as error:
            with error:
                raise _of_status(error.code, error.reason) from None
        except (http.client.IncompleteRead, ConnectionError) as error:
            raise TransportError("the connection was closed", again=True) from error
        except TimeoutError as error:
            raise TransportError("the host does not answer in time", again=True) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, TransportError):
                raise
            raise TransportError(f"the request failed: {type(error).__name__}") from None


def _of_status(status: int, reason: str) -> OSError:
    if status in (404, 410):
        return FileNotFoundError("not found")
    if status in (408, 429) or status >= 500:
        return TransportError(f"the server answers {status} {reason}", again=True)
    if status == 416:
        return BeyondEndError("the part that was asked for is behind the end of the object")
    return RefusedError(status, reason)


def _is_html(answer: Answer) -> bool:
    return "html" in answer.kind or b"<a " in answer.content[:4096].lower()


def _links(page: str, url: str) -> list[tuple[str, bool]]:
    """Return the entries directly below a URL that a page links to."""
    base = urlsplit(url)
    found: dict[str, bool] = {}
    for quoted, single, bare in _HREF.findall(page):
        target = urlsplit(urljoin(url, html.unescape(quoted or single or bare)))
        if target.netloc != base.netloc or not target.path.startswith(base.path):
            continue
        name = unquote(target.path[len(base.path) :])
        if name.strip("/") and "/" not in name.rstrip("/"):
            found[name.rstrip("/")] = name.endswith("/")
    return list(found.items())


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
