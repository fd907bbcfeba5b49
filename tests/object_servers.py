"""Servers on loopback that store objects as Google's and Microsoft's do.

Google's is imitated here: the few calls of its XML interface that obstore makes. Microsoft's is
Azurite, its own emulator, where scripts/fetch-azurite.sh has unpacked it.
"""

from __future__ import annotations

import base64
import email.utils
import hashlib
import hmac
import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

__all__ = ["ACCOUNT", "KEY", "GoogleServer", "azure_server", "find_azurite", "google_server"]

ACCOUNT = "devstoreaccount1"
"""Account of every emulator of Azure; Microsoft's documentation gives it, and its key."""
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


# ---- Google --------------------------------------------------------------------------------------


@dataclass
class GoogleServer:
    """One bucket, ``box``; anonymous requests may read below ``public/`` only."""

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    """Content by ``bucket/key``."""
    requests: list[str] = field(default_factory=list)
    """Method and path of each request, in order."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def options(self) -> dict[str, str]:
        """The storage options with which everything may be read and written."""
        # obstore signs its requests with the key, and asks nobody for a token.
        key = {
            "client_email": "someone@example.org",
            "private_key": _private_key(),
            "private_key_id": "1",
        }
        return {"endpoint": self.url, "service_account_key": json.dumps(key)}


@cache
def _private_key() -> str:
    made = rsa.generate_private_key(65537, 2048)
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return made.private_bytes(serialization.Encoding.PEM, *form).decode()


class _Google(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    """Headers and content are sent at once: clients wait for acknowledgements between them."""
    google: GoogleServer

    def log_message(self, *_: object) -> None:
        pass

    def setup(self) -> None:
        super().setup()
        self.google = self.server.google  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        path, query = self._target()
        if "list-type" in query:
            self._list(path, query)
            return
        content = self.google.objects.get(path)
        if not self._is_allowed(path):
            self._send(403)
        elif content is None:
            self._send(404)
        elif (span := re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))) is None:
            self._send(200, content, path=path)
        else:
            start = int(span[1]) if span[1] else len(content) - int(span[2])
            stop = int(span[2]) + 1 if span[1] and span[2] else len(content)
            part = content[start:stop]
            about = f"bytes {start}-{start + len(part) - 1}/{len(content)}"
            self._send(206, part, path=path, content_range=about)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        path, _ = self._target()
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if copied := self.headers.get("x-goog-copy-source"):
            content = self.google.objects[unquote(copied).lstrip("/")]
        if not self._is_allowed(path, writes=True):
            self._send(403)
            return
        with self.google.lock:
            must_be_new = self.headers.get("x-goog-if-generation-match") == "0"
            if must_be_new and path in self.google.objects:
                self._send(412)
                return
            self.google.objects[path] = content
        self._send(200, path=path)

    def do_DELETE(self) -> None:
        path, _ = self._target()
        if not self._is_allowed(path, writes=True):
            self._send(403)
        else:
            self._send(404 if self.google.objects.pop(path, None) is None else 204)

    def _target(self) -> tuple[str, dict[str, list[str]]]:
        parts = urlsplit(self.path)
        self.google.requests.append(f"{self.command} {unquote(parts.path)}")
        return unquote(parts.path).lstrip("/"), parse_qs(parts.query)

    def _is_allowed(self, path: str, *, writes: bool = False) -> bool:
        is_public = path.startswith("box/public/") and not writes
        return is_public or "Authorization" in self.headers

    def _list(self, bucket: str, query: dict[str, list[str]]) -> None:
        prefix, delimiter = (query.get(k, [""])[0] for k in ("prefix", "delimiter"))
        if not self._is_allowed(f"{bucket}/{prefix}"):
            self._send(403)
            return
        found, folders = [], set()
        for path, content in sorted(self.google.objects.items()):
            key = path.removeprefix(f"{bucket}/")
            if key == path or not key.startswith(prefix):
                continue
            head, cut, _ = key[len(prefix) :].partition(delimiter or "\0")
            if cut:
                folders.add(prefix + head + cut)
                continue
            found.append(
                f"<Contents><Key>{escape(key)}</Key><Size>{len(content)}</Size>"
                "<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>x</ETag></Contents>"
            )
        found += [
            f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>"
            for folder in sorted(folders)
        ]
        listed = f"<ListBucketResult>{''.join(found)}</ListBucketResult>"
        self._send(200, listed.encode())

    def _send(
        self, status: int, content: bytes = b"", *, path: str = "", content_range: str = ""
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Last-Modified", email.utils.formatdate(0, usegmt=True))
        self.send_header("ETag", f'"{len(self.google.objects.get(path, b""))}"')
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def google_server() -> Iterator[GoogleServer]:
    """A server that answers as Google Cloud Storage does."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Google)
    google = GoogleServer(f"http://127.0.0.1:{server.server_address[1]}")
    server.google = google  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield google
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# ---- Microsoft -----------------------------------------------------------------------------------


def find_azurite() -> str | None:
    """The command of Azurite: an installed one, or the one of scripts/fetch-azurite.sh."""
    name = "azurite-blob"
    fetched = Path(__file__).parents[1] / "build" / "azurite" / "node_modules" / ".bin" / name
    return shutil.which(name) or (str(fetched) if fetched.exists() else None)


@contextmanager
def azure_server(folder: Path, container: str) -> Iterator[dict[str, str]]:
    """The storage options of Azurite, which has one empty container and keeps it in `folder`."""
    command = find_azurite()
    assert command is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Without telemetry: tests need no internet, and tell nobody that they run.
    quiet = ["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence"]
    server = subprocess.Popen([command, "--blobPort", str(port), *quiet], cwd=folder)
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    try:
        while True:
            assert server.poll() is None
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        _create_container(endpoint, container)
        yield {"account_name": ACCOUNT, "account_key": KEY, "endpoint": endpoint}
    finally:
        server.terminate()
        server.wait()


def _create_container(endpoint: str, name: str) -> None:
    """Create a container; obstore has no call for it."""
    date, version = email.utils.formatdate(usegmt=True), "2021-08-06"
    about = f"x-ms-date:{date}\nx-ms-version:{version}\n"
    signed = f"PUT{chr(10) * 12}{about}/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    digest = hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()
    request = urllib.request.Request(
        f"{endpoint}/{name}?restype=container",
        method="PUT",
        headers={
            "x-ms-date": date,
            "x-ms-version": version,
            "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
            "Content-Length": "0",
        },
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 201
