"""Serve one folder or file on this machine's loopback, as viewers in a browser need it.

Answers GET and HEAD with byte ranges, and the preflight of browsers (CORS, Private Network
Access). The address holds a random word, so that pages of other origins cannot guess it.
"""

from __future__ import annotations

import email.utils
import os
import re
import secrets
import socket
import stat
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import IO, Any
from urllib.parse import quote, unquote, urlsplit

from napari_pyramid.errors import PyramidError, explained
from napari_pyramid.storage.file_names import ZARR_FILES

__all__ = ["FolderServer"]

HOST = "127.0.0.1"
_OWN_NAMES = ("127.0.0.1", "localhost")
"""Names that a browser may use for this server; others are attempts at DNS rebinding."""
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_FORBIDDEN = re.compile(r"[\\\0:]|^\.{1,2}$") if os.name == "nt" else re.compile(r"\0|^\.{1,2}$")
"""Parts of a path that no request may have: they could lead out of the folder."""
_JSON = {*ZARR_FILES, "info"}
_IDLE = 60.0
"""Seconds after which a silent connection is closed."""
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Accept-Ranges, Content-Length, Content-Range, ETag",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


class FolderServer:
    """A server of one folder or file, on a thread of its own; nothing outside of it is served.

    Symbolic links are followed only if they stay in the folder. Use it as a context manager, or
    call `start` and `stop`.

    Parameters
    ----------
    path
        A folder, or a file such as ``cells.ozx``.
    port
        0 takes any free port.

    Raises
    ------
    PyramidError
        If nothing is at `path`, or the port is taken.
    """

    def __init__(self, path: str | os.PathLike[str], *, port: int = 0) -> None:
        self.path = Path(path).absolute()
        if not self.path.exists():
            raise PyramidError(f"{self.path} does not exist")
        name = self.path.resolve().name or "files"
        self._prefix = f"/{secrets.token_urlsafe(12)}/{name}"
        handler = type("Handler", (_Handler,), {"files": _Files(self.path.resolve(), self._prefix)})
        try:
            self._server = _Server((HOST, port), handler)
        except (OSError, OverflowError) as error:
            raise PyramidError(
                f"port {port} cannot be used ({explained(error)}): choose another"
            ) from error
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._accept, name="napari-pyramid-serve", daemon=True
        )

    @property
    def url(self) -> str:
        """Address of the folder or file."""
        return f"http://{HOST}:{self._server.server_address[1]}{quote(self._prefix)}"

    def start(self) -> None:
        """Begin to answer requests."""
        self._thread.start()

    def stop(self) -> None:
        """Close all connections and end all threads; a second call does nothing."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        if self._thread.is_alive():
            with suppress(OSError):  # a connection wakes the thread, which waits for one
                socket.create_connection((HOST, self._server.server_port), timeout=1).close()
            self._thread.join()
        self._server.server_close()
        self._server.close_connections()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            self._server.handle_request()

    def __enter__(self) -> FolderServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@dataclass(frozen=True, slots=True)
class _Files:
    """The files that may be served."""

    root: Path
    """A folder or file, without symbolic links."""
    prefix: str
    """Decoded path of `root` in the addresses."""

    def find(self, requested: str) -> Path | None:
        """Return the file of a decoded request path; None if it is not there or not served."""
        if requested != self.prefix and not requested.startswith(f"{self.prefix}/"):
            return None
        parts = requested[len(self.prefix) :].strip("/").split("/")
        if any(map(_FORBIDDEN.search, parts)):
            return None
        try:
            found = self.root.joinpath(*parts).resolve(strict=True) if parts != [""] else self.root
        except (OSError, ValueError, RuntimeError):  # absent, or a loop of links
            return None
        return found if found == self.root or self.root in found.parents else None


class _Server(HTTPServer):
    """An HTTP server with a thread per connection, all of which can be ended."""

    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: Any) -> None:
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}
        super().__init__(address, handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # not HTTPServer's, which asks the DNS for this machine's name
        self.server_name, self.server_port = HOST, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self._serve,
            args=(request, client_address),
            name="napari-pyramid-serve",
            daemon=True,
        )
        with self._lock:
            self._open[thread] = request
        thread.start()

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except Exception:
            self.handle_error(request, client_address)
        finally:
            self.shutdown_request(request)
            with self._lock:
                self._open.pop(threading.current_thread(), None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError | TimeoutError | ValueError):
            super().handle_error(request, client_address)

    def close_connections(self) -> None:
        with self._lock:
            still_open = dict(self._open)
        for connection in still_open.values():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in still_open:
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    files: _Files
    protocol_version = "HTTP/1.1"
    timeout = _IDLE
    wbufsize = -1  # head and body in one packet
    disable_nagle_algorithm = True

    def version_string(self) -> str:
        return "napari-pyramid"

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_OPTIONS(self) -> None:
        """Answer a browser that asks whether a page of another origin may read."""
        wanted = self.headers.get("Access-Control-Request-Headers", "Range")
        more = {
            "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
            "Access-Control-Allow-Headers": _one_line(wanted),
            "Access-Control-Max-Age": "7200",
            "Vary": "Access-Control-Request-Headers",
        }
        if self.headers.get("Access-Control-Request-Private-Network") == "true":
            more["Access-Control-Allow-Private-Network"] = "true"
        if self._is_for_us():
            self._head(HTTPStatus.NO_CONTENT, 0, more)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        if not self._is_for_us():
            return
        found = self.files.find(unquote(urlsplit(self.path).path, errors="surrogateescape"))
        try:
            # Before it is opened: opening a pipe would wait for whoever writes into it.
            if found is None or not stat.S_ISREG(found.stat().st_mode):
                raise FileNotFoundError
            file = found.open("rb")
        except (
            FileNotFoundError,
            NotADirectoryError,
        ):  # also if it has been removed since it was found
            self._head(HTTPStatus.NOT_FOUND, 0)
            return
        except OSError:
            self._head(HTTPStatus.FORBIDDEN, 0)
            return
        with file:
            self._send(file, found.name, with_body=with_body)

    def _send(self, file: IO[bytes], name: str, *, with_body: bool) -> None:
        """Send a file, or the part of it that was asked for."""
        known = os.fstat(file.fileno())
        size, tag = known.st_size, f'"{known.st_mtime_ns:x}-{known.st_size:x}"'
        headers = {
            "Content-Type": _type_of(name),
            "Accept-Ranges": "bytes",
            "Cache-Control": "no-cache",  # asked again each time: a store may be rebuilt meanwhile
            "ETag": tag,
            "Last-Modified": email.utils.formatdate(known.st_mtime, usegmt=True),
        }
        if self.headers.get("If-None-Match") == tag:
            self._head(HTTPStatus.NOT_MODIFIED, None, headers)
            return
        status, first, end = HTTPStatus.OK, 0, size
        if (given := self.headers.get("Range")) and self.headers.get("If-Range", tag) == tag:
            span = _span(given, size)
            if span is not None and span[0] >= span[1]:
                headers["Content-Range"] = f"bytes */{size}"
                self._head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, headers)
                return
            if span is not None:
                status, (first, end) = HTTPStatus.PARTIAL_CONTENT, span
                headers["Content-Range"] = f"bytes {first}-{end - 1}/{size}"
        self._head(status, end - first, headers)
        if with_body and end > first:
            self.wfile.flush()
            sent = self.connection.sendfile(file, first, end - first)
            self.close_connection |= sent != end - first  # the file has become shorter

    def _is_for_us(self) -> bool:
        """Return whether the request names this machine; refuse it otherwise."""
        host = self.headers.get("Host", HOST)
        if host.rpartition(":")[0] in _OWN_NAMES or host in _OWN_NAMES:
            return True
        self._head(HTTPStatus.MISDIRECTED_REQUEST, 0)
        return False

    def _head(
        self, status: HTTPStatus, length: int | None, more: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for key, value in {**_CORS, **(more or {})}.items():
            self.send_header(key, value)
        if length is not None and status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(length))
        self.end_headers()


def _span(given: str, size: int) -> tuple[int, int] | None:
    """Return the first byte and the end of a range; None if the whole file must be sent.

    That is several ranges, and anything that is not a range (RFC 9110, section 14.2). An end that
    is not after the first byte stands for a range that cannot be satisfied.
    """
    match = _RANGE.fullmatch(given.replace(" ", ""))
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return max(0, size - int(match[2])), size
    first = int(match[1])
    if match[2] and int(match[2]) < first:
        return None
    return first, min(int(match[2]) + 1, size) if match[2] else size


def _type_of(name: str) -> str:
    is_json = name in _JSON or name.endswith(".json")
    return "application/json" if is_json else "application/octet-stream"


def _one_line(value: str) -> str:
    return re.sub(r"[^A-Za-z0-9,_ -]", "", value) or "Range"
