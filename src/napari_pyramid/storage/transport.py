"""Declare how objects of a bucket or web server are requested, and what can go wrong.

Transports handle bytes and statuses; `remote_store` decides whether a refused object is a missing
one. `obstore_transport` is the usual transport, `urllib_transport` accepts answers that obstore
does not accept, and `fsspec_transport` serves other schemes.
"""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = [
    "Answer",
    "BeyondEndError",
    "RangeIgnoredError",
    "RefusedError",
    "Span",
    "Transport",
    "TransportError",
    "UnusualAnswerError",
]


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
        """Return several parts, given as first byte and end; near ones may share a request."""
        ...

    async def names(self, directory: str) -> list[tuple[str, bool]]:
        """Return the name of each entry of a directory, and whether it is a directory itself."""
        ...
