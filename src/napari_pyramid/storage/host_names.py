"""Find at once that a URL cannot be reached because its host's name is unknown."""

from __future__ import annotations

import os
import socket
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from napari_pyramid.errors import LayoutError
from napari_pyramid.storage.address import Address, is_remote, parse_address
from napari_pyramid.storage.aws import aws_session, aws_settings
from napari_pyramid.storage.url_options import UrlOptions

__all__ = ["refuse_unknown_host"]


def refuse_unknown_host(url: str, options: Mapping[str, Any] | None = None) -> None:
    """Raise if the name of a host has no address, as without a network connection.

    obstore asks for it seven times, which takes 9 seconds; a program that nobody waits for may
    prefer that. Hosts behind a proxy are not looked up, and neither are hosts of Azure.

    Parameters
    ----------
    options
        Storage options, of which an endpoint and an AWS profile may name another host.

    Raises
    ------
    LayoutError
        If the name is unknown, or `url` is not a URL, or there is no such AWS profile.
    """
    if not is_remote(url) or urllib.request.getproxies():
        return
    address = parse_address(url)
    host = _host(address, UrlOptions.of(options or {}))
    if host is None:
        return
    try:
        socket.getaddrinfo(host, None)
    except socket.gaierror:
        raise LayoutError(
            f"the host's name is unknown (is there a network connection?): {address.public}"
        ) from None
    except (OSError, UnicodeError):
        return  # what is wrong is said when it is opened


def _host(address: Address, options: UrlOptions) -> str | None:
    """Return the name of the host that requests go to; None if it is not known."""
    if address.is_http:
        return None if address.host.startswith("[") else address.host.partition(":")[0]
    settings = dict(options.others)
    if address.scheme == "s3" and "AWS_ENDPOINT" not in os.environ:
        settings = {**aws_settings(aws_session(options.profile, address)), **settings}
        own = f"s3.{settings.get('region', 'us-east-1')}.amazonaws.com"
    elif address.scheme == "gs" and not any(name.endswith("BASE_URL") for name in os.environ):
        own = "storage.googleapis.com"
    else:
        return None
    ends = ("endpoint", "endpoint_url", "base_url")
    endpoints = [value for name, value in settings.items() if name.lower().endswith(ends)]
    return urlsplit(str(endpoints[-1])).hostname if endpoints else own
