"""The names of hosts are looked up before a URL is opened where somebody waits."""

from __future__ import annotations

import os
from typing import Any

import pytest

from napari_pyramid.errors import LayoutError
from napari_pyramid.storage import host_names


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names that were looked up; none has an address, as without a network connection."""
    names: list[str] = []

    def unknown(host: str, port: object) -> None:
        names.append(host)
        raise host_names.socket.gaierror

    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setattr(host_names.urllib.request, "getproxies", dict)
    monkeypatch.setattr(host_names.socket, "getaddrinfo", unknown)
    return names


@pytest.mark.parametrize(
    ("url", "options", "host"),
    [
        ("https://host.org:8080/a.zarr", {}, "host.org"),
        ("s3://box/a.zarr", {}, "s3.us-east-1.amazonaws.com"),
        ("s3://box/a.zarr", {"region": "eu-west-1"}, "s3.eu-west-1.amazonaws.com"),
        ("s3://box/a.zarr", {"endpoint": "http://minio.lab:9000"}, "minio.lab"),
        ("gs://box/a.zarr", {}, "storage.googleapis.com"),
        ("gs://box/a.zarr", {"endpoint": "https://google.lab"}, "google.lab"),
    ],
)
def test_unknown_host_is_refused_with_the_address(
    asked: list[str], url: str, options: dict[str, Any], host: str
) -> None:
    with pytest.raises(LayoutError, match=f"host's name is unknown .*: {url}$"):
        host_names.refuse_unknown_host(url, options)
    assert asked == [host]


def test_endpoint_of_the_environment_is_looked_up(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio.lab")
    with pytest.raises(LayoutError, match="unknown"):
        host_names.refuse_unknown_host("s3://box/a.zarr")
    assert asked == ["minio.lab"]


def test_hosts_that_only_a_proxy_or_a_library_knows_are_left_to_it(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    host_names.refuse_unknown_host("az://account/box/a.zarr")
    host_names.refuse_unknown_host("/a/path.zarr")
    monkeypatch.setattr(host_names.urllib.request, "getproxies", lambda: {"https": "proxy:80"})
    host_names.refuse_unknown_host("s3://box/a.zarr")
    assert asked == []
