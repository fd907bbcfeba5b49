"""Request objects of a bucket or web server through obstore."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from napari_pyramid.storage.transport import (
    Answer,
    BeyondEndError,
    RangeIgnoredError,
    RefusedError,
    Span,
    TransportError,
    UnusualAnswerError,
)

__all__ = ["ObstoreTransport", "translated"]

_STATUS = re.compile(r"status code: (\d{3})(?: ([A-Za-z][A-Za-z -]*))?")
_REASONS = (
    ("dns error", "the host's name is unknown (is there a network connection?)"),
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

    def get_now(self, key: str, span: Span | None = None) -> tuple[memoryview, str]:
        """Return content and type of what `get` returns, from a thread that may wait.

        The content is not copied.
        """
        import obstore

        try:
            result = obstore.get(self.store, self.prefix + key, options=_get_options(span))
            return memoryview(result.bytes()), _kind(result)
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

    def get_ranges_now(self, key: str, spans: Sequence[tuple[int, int]]) -> list[memoryview]:
        """Return what `get_ranges` returns, from a thread that may wait.

        Parts that shared a request share memory.
        """
        import obstore

        starts, ends = zip(*spans, strict=True)
        try:
            parts = obstore.get_ranges(self.store, self.prefix + key, starts=starts, ends=ends)
        except Exception as error:
            raise translated(error) from None
        return [memoryview(part) for part in parts]

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
    return Answer(bytes(content), _kind(result), result.meta["size"])


def _kind(result: Any) -> str:
    return str(result.attributes.get("Content-Type", ""))


def translated(error: Exception) -> Exception:
    """Return an error of obstore as one of `transport`, without the URL that its text holds."""
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
    """Return in words how often obstore repeated a request; empty if it did not."""
    repeats = re.search(r"after (\d+) retries", text)
    return f", also when asked {repeats[1]} times more" if repeats else ""
