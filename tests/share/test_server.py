"""The server on loopback: what browsers, zarr and TensorStore ask for, and nothing else."""

from __future__ import annotations

import http.client
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import tensorstore
import zarr
from obstore.store import HTTPStore

from napari_pyramid.build import build_pyramid
from napari_pyramid.errors import PyramidError
from napari_pyramid.pyramid import open_pyramid
from napari_pyramid.share.server import FolderServer

CELLS = np.random.default_rng(0).integers(0, 60_000, (7, 130, 141), np.uint16)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A folder with the file names of a store."""
    folder = tmp_path / "a b.ome.zarr"
    (folder / "0").mkdir(parents=True)
    (folder / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    return folder


@pytest.fixture
def server(store: Path) -> Iterator[FolderServer]:
    with FolderServer(store) as served:
        yield served
    assert not [t for t in threading.enumerate() if t.name == "napari-pyramid-serve"]


def ask(
    server: FolderServer, path: str = "", method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body for a path below the served folder; `//` begins at the root."""
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    target = path[1:] if path.startswith("//") else parts.path + path
    names = {key.replace("_", "-"): value for key, value in headers.items()}
    connection.request(method, target, headers=names)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, body


def test_other_programs_read_the_served_store(tmp_path: Path) -> None:
    store = tmp_path / "a b.ome.zarr"
    build_pyramid(CELLS, store, axes="zyx", chunks=(4, 64, 64), n_levels=2)
    with FolderServer(store) as server:
        for level in ("0", "1"):
            expected = zarr.open_array(store / level, mode="r")[...]
            by_obstore = HTTPStore.from_url(server.url, client_options={"allow_http": True})
            objects = zarr.storage.ObjectStore(by_obstore, read_only=True)
            by_zarr = zarr.open_array(objects, path=level, mode="r")[...]
            place = {"driver": "http", "base_url": f"{server.url}/{level}/"}
            opened = tensorstore.open({"driver": "zarr3", "kvstore": place}, read=True).result()
            by_tensorstore = opened.read().result()
            ours = np.asarray(open_pyramid(server.url).lazy_levels[int(level)])
            for found in (by_zarr, by_tensorstore, ours):
                np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(zarr.open_array(store / "0", mode="r")[...], CELLS)


@pytest.mark.parametrize(
    ("given", "status", "span"),
    [
        ("bytes=0-9", 206, (0, 10)),
        ("bytes=5-", 206, (5, 100)),
        ("bytes=-7", 206, (93, 100)),
        ("bytes=-700", 206, (0, 100)),
        ("bytes=90-900", 206, (90, 100)),
        ("bytes=100-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=9-5", 200, (0, 100)),
        ("bytes=0-1,5-6", 200, (0, 100)),
        ("lines=1-2", 200, (0, 100)),
    ],
)
def test_ranges(tmp_path: Path, given: str, status: int, span: tuple[int, int] | None) -> None:
    content = bytes(range(100))
    (tmp_path / "x.ozx").write_bytes(content)
    with FolderServer(tmp_path / "x.ozx") as server:
        found, headers, body = ask(server, Range=given)
        head = ask(server, method="HEAD", Range=given)
    assert found == status
    if span is None:
        assert (headers["content-range"], body) == ("bytes */100", b"")
    else:
        assert body == content[slice(*span)]
        assert headers["content-length"] == str(len(body))
    if status == 206 and span is not None:
        assert headers["content-range"] == f"bytes {span[0]}-{span[1] - 1}/100"
    assert (head[0], head[2]) == (status, b"")
    assert head[1]["content-length"] == headers["content-length"]


def test_browser_may_read_from_a_page_of_another_origin(server: FolderServer) -> None:
    status, headers, body = ask(
        server,
        "/zarr.json",
        "OPTIONS",
        Origin="https://hms-dbmi.github.io",
        Access_Control_Request_Method="GET",
        Access_Control_Request_Headers="range",
        Access_Control_Request_Private_Network="true",
    )
    assert (status, body) == (204, b"")
    assert headers["access-control-allow-origin"] == "*"
    assert "GET" in headers["access-control-allow-methods"]
    assert headers["access-control-allow-headers"] == "range"
    assert headers["access-control-allow-private-network"] == "true"
    # A page must see that a chunk is absent, and not that it may not read the answer.
    for path, expected in (("/zarr.json", 200), ("/0/c/9/9/9", 404)):
        status, headers, _ = ask(server, path, Origin="https://hms-dbmi.github.io")
        assert status == expected
        assert headers["access-control-allow-origin"] == "*"
        assert "Content-Range" in headers["access-control-expose-headers"]


def test_file_that_has_not_changed_is_not_sent_twice(server: FolderServer) -> None:
    _, headers, body = ask(server, "/zarr.json")
    assert headers["content-type"] == "application/json"
    assert ask(server, "/zarr.json", If_None_Match=headers["etag"])[::2] == (304, b"")
    status, _, part = ask(server, "/zarr.json", Range="bytes=0-3", If_Range='"older"')
    assert (status, part) == (200, body)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/0",
        "/0/",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/0/../../secret.txt",
        "/..%2fsecret.txt",
        "/link.txt",
        "/folder/secret.txt",
        "/pipe",
        "/loop",
        "/%00",
        "//",
        "//secret.txt",
        "//word/a%20b.ome.zarr/zarr.json",
    ],
)
@pytest.mark.posix("makes links and a pipe")
def test_nothing_but_files_below_the_folder(server: FolderServer, store: Path, path: str) -> None:
    outside = store.parent / "outside"
    outside.mkdir()
    for secret in (store.parent / "secret.txt", outside / "secret.txt"):
        secret.write_text("secret")
    (store / "link.txt").symlink_to(store.parent / "secret.txt")
    (store / "folder").symlink_to(outside, target_is_directory=True)
    (store / "loop").symlink_to(store / "loop")
    os.mkfifo(store / "pipe")
    status, _, body = ask(server, path)
    assert (status, body) == (404, b"")


@pytest.mark.posix("makes a link")
def test_link_that_stays_in_the_folder_is_followed(server: FolderServer, store: Path) -> None:
    (store / "same.json").symlink_to(store / "zarr.json")
    assert ask(server, "/same.json")[2] == (store / "zarr.json").read_bytes()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example"])
def test_other_names_of_this_machine_are_refused(server: FolderServer, host: str) -> None:
    assert ask(server, "/zarr.json", Host=host)[0] == 421
    assert ask(server, "/zarr.json", Host="localhost:1234")[0] == 200  # a tunnel


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
def test_nothing_can_be_changed(server: FolderServer, store: Path, method: str) -> None:
    before = (store / "zarr.json").read_bytes()
    assert ask(server, "/zarr.json", method)[0] in (405, 501)
    assert (store / "zarr.json").read_bytes() == before


def test_stop_ends_open_connections_at_once(store: Path) -> None:
    server = FolderServer(store)
    server.start()
    parts = urlsplit(server.url)
    silent = socket.create_connection((parts.hostname, parts.port))
    assert ask(server, "/zarr.json")[0] == 200  # so that the silent one has been accepted
    server.stop()
    server.stop()
    assert silent.recv(1) == b""
    silent.close()
    with pytest.raises(ConnectionRefusedError):
        ask(server, "/zarr.json")
    assert not [t for t in threading.enumerate() if t.name == "napari-pyramid-serve"]


def test_only_this_machine_is_served(server: FolderServer) -> None:
    assert urlsplit(server.url).hostname == "127.0.0.1"


def test_port_that_is_taken_and_path_that_is_absent(server: FolderServer, store: Path) -> None:
    with pytest.raises(PyramidError, match=r"port \d+ .* choose another"):
        FolderServer(store, port=urlsplit(server.url).port or 0)
    with pytest.raises(PyramidError, match="does not exist"):
        FolderServer(store / "absent")


def test_server_never_started_can_be_stopped(store: Path) -> None:
    FolderServer(store).stop()


def test_errors_of_clients_are_not_printed(server: FolderServer, capfd: Any) -> None:
    parts = urlsplit(server.url)
    for sent in (b"nonsense\r\n\r\n", b"GET /" + b"x" * 70_000, b"GET / HTTP/1.1\r\n"):
        with socket.create_connection((parts.hostname, parts.port)) as connection:
            connection.sendall(sent)
    server.stop()
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_removed_while_it_is_asked_for_is_not_found(
    server: FolderServer,
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def find(files: Any, requested: str) -> Path:
        return store / requested.rpartition("/")[2]

    monkeypatch.setattr("napari_pyramid.share.server._Files.find", find)
    assert ask(server, "/zarr.json")[0] == 200
    status, _, body = ask(server, "/removed.json")
    assert (status, body) == (404, b"")
    assert capfd.readouterr().err == ""
