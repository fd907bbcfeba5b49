"""Request objects of a web server through urllib, and read its index pages."""

from __future__ import annotations

import asyncio
import html
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Sequence
from urllib.parse import unquote, urljoin, urlsplit

from napari_pyramid.storage.address import Address
from napari_pyramid.storage.transport import (
    Answer,
    BeyondEndError,
    RangeIgnoredError,
    RefusedError,
    Span,
    TransportError,
)

__all__ = ["UrllibTransport"]

_HREF = re.compile(r"""<a\s[^>]*?href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))""", re.IGNORECASE)


class UrllibTransport:
    """Requests through Python's own HTTP client, which is slower, but accepts nearly any server."""

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
