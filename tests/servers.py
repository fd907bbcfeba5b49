"""Servers on loopback that imitate what public hosts do, and count requests.

Nothing here needs the internet.
"""

from __future__ import annotations

import logging
import mmap
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = [
    "SECRET",
    "Request",
    "Rules",
    "S3Bucket",
    "WebServer",
    "find_nginx",
    "nginx_server",
    "rounds",
    "s3_client",
    "s3_server",
    "web_server",
]

HTML = b"<!DOCTYPE html>\n<html><head><title>Not here</title></head><body>Nothing.</body></html>\n"
MAPPED = 2**20
"""Size in bytes from which a file is not read whole for a part of it."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was answered."""

    method: str
    path: str
    """Decoded, without the query string."""
    query: str
    range: str | None
    status: int
    start: float
    """Seconds; when the request arrived."""
    end: float
    """Seconds; when the answer was sent."""


@dataclass(slots=True)
class Rules:
    """What a server does otherwise than a friendly one."""

    missing: int | Literal["html"] = 404
    """Status for a missing key, or a page of HTML with status 200."""
    every: int | None = None
    """Status for every request, whatever it asks for."""
    query: str | None = None
    """Query string that each request must have; 403 without it."""
    basic: str | None = None
    """``Authorization`` that each request must have; 401 without it."""
    html_type: str = "text/html; charset=utf-8"
    content_type: str = "application/octet-stream"
    ranges: bool = True
    suffixes: bool = True
    """Whether "the last n bytes" may be asked for."""
    http: Literal["1.0", "1.1"] = "1.1"
    length: Literal["sent", "chunked", "closed"] = "sent"
    """How the client learns where a body ends."""
    dated: bool = False
    """Whether answers have a date and a tag, as those of Google and Azure have."""
    head: bool = True
    lists: bool = False
    """Whether a directory is answered with an index page of links."""
    redirect: str | None = None
    """A prefix of paths that is answered with a redirect to the same path without it."""
    fail_every: int = 0
    """Each n-th request fails, but no path twice in a row unless all fail; 0 for none."""
    fail_with: int | Literal["drop", "cut", "stall"] = 503
    """A status, no answer, half of a body, or silence until the client gives up."""
    fail_path: str = ""
    """Only requests whose path contains this fail."""
    latency: float = 0.0
    """Seconds before each answer."""
    together: int = 0
    """Requests that must be under way at the same time before any is answered; 30 s at most."""


@dataclass
class WebServer:
    """A server of the files below `root`; the rules may be changed while it serves."""

    root: Path
    rules: Rules
    requests: list[Request] = field(default_factory=list)
    address: str = ""
    n_connections: int = 0
    """Connections that clients have opened so far."""
    _under_way: int = 0
    _together: threading.Condition = field(default_factory=threading.Condition)
    _count: int = 0
    _failed: set[str] = field(default_factory=set)
    """Paths whose last request failed."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    stopped: threading.Event = field(default_factory=threading.Event)
    most_at_once: int = 0
    """Most requests that have waited at the same time, see `Rules.together`."""

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    def note_connection(self) -> None:
        with self._lock:
            self.n_connections += 1

    def wait_for_others(self) -> None:
        """Hold a request until enough others have come, however long another process takes."""
        if not self.rules.together:
            return
        with self._together:
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
            self._together.notify_all()
            self._together.wait_for(lambda: self.most_at_once >= self.rules.together, timeout=30)
            self._under_way -= 1

    def fails_now(self, path: str) -> bool:
        """Return whether this request fails.

        Among concurrent requests, retries of one path could meet the n-th turn again and again.
        """
        if not self.rules.fail_every or self.rules.fail_path not in path:
            return False
        with self._lock:
            self._count += 1
            if self.rules.fail_every > 1 and path in self._failed:
                self._failed.remove(path)
                return False
            fails = self._count % self.rules.fail_every == 0
            if fails:
                self._failed.add(path)
            return fails


class _Handler(BaseHTTPRequestHandler):
    web: WebServer
    disable_nagle_algorithm = True
    wbufsize = -1  # one packet for head and body: else each answer waits for an acknowledgement

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        self.web.note_connection()
        try:
            super().handle()
        except (ConnectionError, TimeoutError):  # the client gave up
            self.close_connection = True

    def finish(self) -> None:
        with suppress(ConnectionError, ValueError):
            super().finish()

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_PROPFIND(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        start = time.perf_counter()
        rules = self.web.rules
        self._status = 0
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        if rules.latency:
            time.sleep(rules.latency)
        self.web.wait_for_others()
        if self.web.fails_now(path):
            self._fail(path, with_body=with_body)
        else:
            self._serve(path, parts.query, with_body=with_body)
        # Before the client has all of the answer, so that it finds the request counted.
        given = self.headers.get("Range")
        end = time.perf_counter()
        self.web.requests.append(
            Request(self.command, path, parts.query, given, self._status, start, end)
        )
        self.wfile.flush()

    def _fail(self, path: str, *, with_body: bool) -> None:
        how = self.web.rules.fail_with
        if isinstance(how, int):
            self._send(how, b"<html>busy</html>", "text/html", with_body=with_body)
            return
        self.close_connection = True
        if how == "stall":
            self.web.stopped.wait(30)
        elif how == "cut":
            content = self._content(path) or HTML
            self._head(200, len(content), "application/octet-stream")
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def _serve(self, path: str, query: str, *, with_body: bool) -> None:
        rules = self.web.rules
        if rules.every is not None:
            self._send(rules.every, b"<html>no</html>", "text/html", with_body=with_body)
        elif rules.query is not None and not _has(query, rules.query):
            self._send(403, b"<Error/>", "application/xml", with_body=with_body)
        elif rules.basic is not None and self.headers.get("Authorization") != rules.basic:
            self._send(401, b"who are you", "text/plain", with_body=with_body)
        elif self.command == "PROPFIND" or (self.command == "HEAD" and not rules.head):
            self._send(405, b"", "text/plain", with_body=with_body)
        elif rules.redirect is not None and path.startswith(rules.redirect):
            target = self.path.replace(rules.redirect, "", 1)
            self._send(302, b"", "text/plain", with_body=with_body, location=target)
        elif (content := self._content(path)) is not None:
            self._send_part(content, rules.content_type, with_body=with_body)
        elif rules.lists and (page := self._index(path)) is not None:
            self._send(200, page, "text/html", with_body=with_body)
        elif rules.missing == "html":
            self._send_part(HTML, rules.html_type, with_body=with_body)
        else:
            self._send(rules.missing, b"<html>no</html>", "text/html", with_body=with_body)

    def _content(self, path: str) -> bytes | mmap.mmap | None:
        """A file, whose parts can be sent without reading all of it."""
        file = self.web.root / path.lstrip("/")
        if not file.is_file() or path.endswith("/"):
            return None
        if file.stat().st_size < MAPPED:
            return file.read_bytes()
        with file.open("rb") as opened:
            return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)

    def _index(self, path: str) -> bytes | None:
        directory = self.web.root / path.strip("/")
        if not directory.is_dir():
            return None
        names = [f"{p.name}/" if p.is_dir() else p.name for p in sorted(directory.iterdir())]
        links = "\n".join(f'<a href="{name}">{name}</a>' for name in ["../", *names])
        return f"<html><body>{links}</body></html>".encode()

    def _send_part(self, content: bytes | mmap.mmap, kind: str, *, with_body: bool) -> None:
        """As much of a file as the request asks for."""
        given = self.headers.get("Range")
        span = _span(given, len(content)) if given and self.web.rules.ranges else None
        if given and given.startswith("bytes=-") and not self.web.rules.suffixes:
            span = None
        if span is None:
            self._send(200, content, kind, with_body=with_body)
        elif span[0] >= len(content):
            self._send(416, b"", kind, with_body=with_body)
        else:
            first, end = span
            place = f"bytes {first}-{end - 1}/{len(content)}"
            self._send(206, content[first:end], kind, with_body=with_body, content_range=place)

    def _send(
        self,
        status: int,
        content: bytes | mmap.mmap,
        kind: str,
        *,
        with_body: bool,
        location: str | None = None,
        content_range: str | None = None,
    ) -> None:
        length = self.web.rules.length if status in (200, 206) else "sent"
        more = {"Location": location, "Content-Range": content_range}
        if self.web.rules.dated:
            more |= {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "ETag": f'"{len(content)}"'}
        if length == "chunked":
            more["Transfer-Encoding"] = "chunked"
        self._head(status, len(content) if length == "sent" else None, kind, **more)
        if length == "closed":
            self.close_connection = True
        if not with_body:
            return
        if length == "chunked":
            self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content) if content else b"")
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.wfile.write(content)

    def _head(self, status: int, length: int | None, kind: str, **more: str | None) -> None:
        self._status = status
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in more.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()


def _has(query: str, needed: str) -> bool:
    return set(parse_qsl(needed)) <= set(parse_qsl(query))


def _span(given: str, size: int) -> tuple[int, int] | None:
    """First byte and end of a range as a client writes it; None for several ranges."""
    first, _, last = given.removeprefix("bytes=").partition("-")
    if "," in given:
        return None
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(int(last) + 1, size) if last else size


@contextmanager
def web_server(root: Path, rules: Rules | None = None) -> Iterator[WebServer]:
    """A server of the files below `root`, on a port of its own, until the block ends."""
    web = WebServer(root, rules or Rules())
    version = f"HTTP/{web.rules.http}"
    handler = type("Handler", (_Handler,), {"web": web, "protocol_version": version})
    server = _Server(("127.0.0.1", 0), handler)
    web.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield web
    finally:
        web.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256


def rounds(requests: list[Request]) -> int:
    """The most requests of which each began when the one before was answered.

    Round trips in a row.
    """
    count, end = 0, float("-inf")
    for request in sorted(requests, key=lambda r: r.end):
        if request.start >= end:
            count, end = count + 1, request.end
    return count


NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;
events {{}}
http {{
  access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
  fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port}; location / {{ root {root}; autoindex on; }} }}
}}
"""


def find_nginx() -> str | None:
    """The command of nginx: an installed one, or the one that scripts/fetch-nginx.sh unpacked."""
    unpacked = Path(__file__).parents[1] / "build" / "nginx" / "usr" / "sbin" / "nginx"
    return shutil.which("nginx") or (str(unpacked) if unpacked.exists() else None)


@contextmanager
def nginx_server(root: Path, folder: Path) -> Iterator[str]:
    """The address of nginx, which serves the files below `root`; its own are in `folder`."""
    command = find_nginx()
    assert command is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "conf").write_text(NGINX.format(folder=folder, root=root, port=port))
    errors = ["-e", str(folder / "errors")]
    server = subprocess.Popen([command, *errors, "-p", str(folder), "-c", str(folder / "conf")])
    try:
        while True:
            assert server.poll() is None, (folder / "errors").read_text()
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of an S3 server in memory, which answers anonymous requests by policy.

    It is moto's application for S3 alone. moto's own server would search its services for the one
    that each request is for, and write a log: half of the time of a request.
    """
    from moto.server import create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Handler(WSGIRequestHandler):
        def log_request(self, *given: Any) -> None:
            if logging.getLogger("werkzeug").isEnabledFor(logging.INFO):  # a test reads the log
                super().log_request(*given)

    application = create_backend_app("s3")
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def s3_client(endpoint: str) -> Any:
    """A client that may write to the server's buckets."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="someone",
        aws_secret_access_key="secret",
    )


SECRET = "hush-hush"
"""The secret key in the options of a bucket, which must appear nowhere."""


class S3Bucket:
    """A new bucket, with the storage options that give access to it."""

    def __init__(self, endpoint: str, name: str) -> None:
        self.name, self.client = name, s3_client(endpoint)
        self.client.create_bucket(Bucket=name)
        keys = {"access_key_id": "someone", "secret_access_key": SECRET}
        self.options = {"endpoint": endpoint, **keys}

    def url(self, path: str) -> str:
        return f"s3://{self.name}/{path}"

    def listed(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=prefix
        )
        return [found["Key"] for page in pages for found in page.get("Contents", ())]

    def read(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return content

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=content)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def files(self, folder: str) -> dict[str, bytes]:
        return {key.removeprefix(f"{folder}/"): self.read(key) for key in self.listed(f"{folder}/")}
