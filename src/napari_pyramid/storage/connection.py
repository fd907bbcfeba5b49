"""Declare what leads to the objects of a bucket or web server: its address and its transports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from napari_pyramid.storage.address import Address
from napari_pyramid.storage.transport import Transport

__all__ = ["Connection"]


class Connection(Protocol):
    """An address with the means to reach it; can be pickled."""

    @property
    def address(self) -> Address:
        """Address of the store."""
        ...

    @property
    def given(self) -> Mapping[str, Any]:
        """Storage options as the caller gave them."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of every request over HTTP, with credentials."""
        ...

    @property
    def s3_settings(self) -> Mapping[str, Any]:
        """Region, endpoint and kind of credentials of an S3 bucket, as TensorStore spells them."""
        ...

    def transports(self) -> Sequence[Transport]:
        """Return the transports to try in order: with one set of credentials after another."""
        ...

    def fallback(self) -> Transport | None:
        """Return the transport for index pages and for answers that the others do not accept."""
        ...

    def at(self, address: Address) -> Connection:
        """Return the connection to another address of the same host."""
        ...
