"""Remember the URLs that were opened, without their secrets."""

from __future__ import annotations

from qtpy.QtCore import QSettings

from napari_pyramid.errors import LayoutError
from napari_pyramid.storage.address import parse_address

__all__ = ["MOST", "forget_urls", "remember_url", "remembered_urls"]

MOST = 20
_KEY = "urls"


def remembered_urls() -> list[str]:
    """Return the URLs that were opened, the last one first."""
    found = _settings().value(_KEY, [])
    listed = [found] if isinstance(found, str) else list(found or [])  # one value comes bare
    return [str(url) for url in listed][:MOST]


def remember_url(url: str) -> None:
    """Put a URL first in the history, without its query string and credentials."""
    kept = _kept_form(url)
    if kept:
        others = [other for other in remembered_urls() if other != kept]
        _settings().setValue(_KEY, [kept, *others][:MOST])


def forget_urls() -> None:
    """Remove all URLs from the history."""
    _settings().remove(_KEY)


def _kept_form(url: str) -> str:
    """Return the URL as it is remembered: the address of the store alone; "" if it is no URL.

    Signatures in query strings, names and passwords are left out.
    """
    try:
        address = parse_address(url)
    except LayoutError:
        return ""
    return f"{address.format}://{address.public}" if address.format else address.public


def _settings() -> QSettings:
    return QSettings(
        QSettings.Format.IniFormat, QSettings.Scope.UserScope, "napari-pyramid", "history"
    )
