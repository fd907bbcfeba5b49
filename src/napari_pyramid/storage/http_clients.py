"""Share the clients of obstore between all stores of a web server, and configure clients.

A client keeps its connections open. A client of its own for each store costs a handshake per
connection, and milliseconds of processor time to load the trusted certificates.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any

from napari_pyramid.storage.address import Address
from napari_pyramid.storage.obstore_transport import ObstoreTransport
from napari_pyramid.storage.url_options import UrlOptions

__all__ = ["client_settings", "http_transport"]

_CLIENTS = 16
"""Clients that are kept. An idle client has no open connections after 90 seconds."""


def client_settings(
    options: UrlOptions, headers: Mapping[str, str], pause: timedelta
) -> dict[str, Any]:
    """Return the arguments of a store of obstore that concern its client.

    Parameters
    ----------
    headers
        Headers of every request.
    pause
        Pause before the first repetition of a request. Each further pause is up to twice as long,
        at random.
    """
    return _settings(tuple(headers.items()), options.timeout, options.retries, pause)


def http_transport(
    address: Address, options: UrlOptions, headers: Mapping[str, str], pause: timedelta
) -> ObstoreTransport:
    """Return the transport to an address of a web server; parameters as in `client_settings`."""
    url, prefix = _root(address)
    client = _client(url, tuple(headers.items()), options.timeout, options.retries, pause)
    return ObstoreTransport(client, prefix)


def _root(address: Address) -> tuple[str, str]:
    """Return the URL that a client begins at, and the prefix of keys there.

    The URL is the root of the server if obstore sends the path as it is. It would encode a percent
    sign once more, and does not accept empty parts and dots.
    """
    parts = address.path.split("/")
    if address.query or "%" in address.path or not {"", ".", ".."}.isdisjoint(parts):
        return address.requested, ""
    return f"{address.scheme}://{address.host}/", f"{address.path}/"


@lru_cache(maxsize=_CLIENTS)
def _client(
    url: str,
    headers: tuple[tuple[str, str], ...],
    timeout: float,
    retries: int,
    pause: timedelta,
) -> Any:
    from obstore.store import HTTPStore

    return HTTPStore(url, **_settings(headers, timeout, retries, pause))


def _settings(
    headers: tuple[tuple[str, str], ...], timeout: float, retries: int, pause: timedelta
) -> dict[str, Any]:
    wait = timedelta(seconds=timeout)
    return {
        "client_options": {
            "allow_http": True,
            "connect_timeout": min(wait, timedelta(seconds=10)),
            "read_timeout": wait,
            "timeout": wait * 20,
            "default_headers": dict(headers),
        },
        "retry_config": {
            "max_retries": retries,
            "retry_timeout": wait * (retries + 1),
            "backoff": {"init_backoff": pause, "max_backoff": timedelta(seconds=10), "base": 2},
        },
    }
