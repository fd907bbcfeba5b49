"""Find at once that a URL cannot be reached because its host's name is unknown."""

from __future__ import annotations

import socket
import urllib.request

from napari_pyramid.errors import LayoutError
from napari_pyramid.storage.address import is_remote, parse_address

__all__ = ["refuse_unknown_host"]


def refuse_unknown_host(url: str) -> None:
    """Raise if the name of a host has no address, as without a network connection.

    obstore asks for it seven times, which takes 9 seconds. Hosts behind a proxy are not looked up,
    nor are buckets: settings of this machine may give them another host.

    Raises
    ------
    LayoutError
        If the name is unknown, or `url` is not a URL.
    """
    if not is_remote(url) or urllib.request.getproxies():
        return
    address = parse_address(url)
    if not address.is_http or address.host.startswith("["):
        return
    try:
        socket.getaddrinfo(address.host.partition(":")[0], None)
    except socket.gaierror:
        raise LayoutError(
            f"the host's name is unknown (is there a network connection?): {address.public}"
        ) from None
    except (OSError, UnicodeError):
        return  # what is wrong is said when it is opened
