"""Recognize a web page that a server sends, with status 200, instead of an object."""

from __future__ import annotations

from napari_pyramid.storage.transport import Answer, Span

__all__ = ["PAGE_START", "WEB_PAGE", "is_page", "may_be_page"]

WEB_PAGE = "a web page"
"""Refusal by a server that answered with a page of HTML."""
PAGE_START = 512
"""Bytes at the start of an object by which `is_page` recognizes a page."""
_BEFORE_TAG = b"\xef\xbb\xbf \t\r\n"


def may_be_page(key: str, span: Span | None, answer: Answer) -> bool:
    """Return whether the answer for `span` of an object has to be looked at with `is_page`."""
    if key.endswith((".html", ".htm")):
        return False
    if span is not None and span.start != 0:
        return answer.kind.startswith("text/html")
    return answer.content[:PAGE_START].lstrip(_BEFORE_TAG).startswith(b"<")


def is_page(key: str, answer: Answer) -> bool:
    """Return whether an answer that begins at the first byte is a page of HTML."""
    start = answer.content[:PAGE_START].lstrip(_BEFORE_TAG).lower()
    if not start.startswith(b"<") or key.endswith((".html", ".htm")):
        return False
    if b"<!doctype html" in start or b"<html" in start:
        return True
    return answer.kind.startswith("text/html") and not start.startswith(b"<?xml")
