"""What people paste: URLs, links of viewers, Neuroglancer's schemes.

And what of it is shown to others.
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from napari_pyramid.errors import LayoutError
from napari_pyramid.storage.address import is_url, local_path, parse_address, public_url

STATE = json.dumps({"layers": [{"name": "a"}, {"source": {"url": "zarr://https://h/x.zarr"}}]})


@pytest.mark.parametrize(
    ("given", "public", "format"),
    [
        ("https://h/x.zarr/", "https://h/x.zarr", None),
        ("https://h/x.zarr/.zattrs?sig=1", "https://h/x.zarr", None),
        ("https://h:81/x.zarr/A/1/0", "https://h:81/x.zarr/A/1/0", None),
        ("HTTPS://H/x.zarr", "https://h/x.zarr", None),
        ("https://h/x.zarr?sig=A%2Fb&se=1#part", "https://h/x.zarr", None),
        ("https://me:secret@h/x.zarr", "https://h/x.zarr", None),
        ("https://h/a%20b (c) é.zarr", "https://h/a b (c) é.zarr", None),
        ("https://h/100%.zarr", "https://h/100%.zarr", None),
        ("s3://bucket/a b%20c.zarr/", "s3://bucket/a b%20c.zarr", None),
        ("gcs://bucket/x", "gs://bucket/x", None),
        (
            "abfss://c@account.dfs.core.windows.net/x",
            "abfs://c@account.dfs.core.windows.net/x",
            None,
        ),
        ("zarr://https://h/x", "https://h/x", "zarr"),
        ("zarr3://s3://bucket/x", "s3://bucket/x", "zarr"),
        ("n5://gs://bucket/x", "gs://bucket/x", "n5"),
        ("precomputed://gs://bucket/x", "gs://bucket/x", "precomputed"),
        ("https://h/x/|zarr2:", "https://h/x", "zarr"),
        ("gs://bucket/x|neuroglancer-precomputed:", "gs://bucket/x", "precomputed"),
        ("https://v.org/vizarr/?source=https://h/x.zarr&viewState=1", "https://h/x.zarr", None),
        ("https://v.org/?source=https%3A%2F%2Fh%2Fx.zarr%3Fsig%3D1", "https://h/x.zarr", None),
        ("https://v.org/app/#/view?source=s3://bucket/x", "s3://bucket/x", None),
        ("https://avivator.org/?image_url=https://h/x.ome.tif", "https://h/x.ome.tif", None),
        (f"https://ng.org/v/#!{quote(STATE)}", "https://h/x.zarr", "zarr"),
        ("https://h/x.zarr?source=none", "https://h/x.zarr", None),
    ],
)
def test_what_is_pasted_leads_to_the_store(given: str, public: str, format: str | None) -> None:
    address = parse_address(given)
    assert (address.public, address.format) == (public, format)


def test_query_and_credentials_are_kept_for_requests_and_shown_to_nobody() -> None:
    address = parse_address("https://me:sec%20ret@h/x.zarr/0?sig=A%2Fb&se=1")
    assert address.below("c/0").requested == "https://h/x.zarr/0/c/0?sig=A%2Fb&se=1"
    assert address.credentials == "me:sec ret"
    for shown in (str(address), repr(address), address.public, address.name):
        assert "sig" not in shown
        assert "sec" not in shown


def test_keys_are_quoted_below_a_web_address_and_not_below_a_bucket() -> None:
    assert parse_address("https://h/a").below("b c/100%").requested == "https://h/a/b%20c/100%25"
    assert parse_address("s3://bucket/a").below("b c/100%").path == "a/b c/100%"


@pytest.mark.parametrize("given", ["https:///x", "https://h:port/x", "s3:///x", "http://[::1"])
def test_what_has_no_host_is_refused(given: str) -> None:
    with pytest.raises(LayoutError):
        parse_address(given)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("https://host/x.zarr", True),
        ("s3://bucket/x", True),
        ("C:/x.zarr", False),
        ("C:\\x", False),
        ("a/b", False),
    ],
)
def test_is_url(path: str, expected: bool) -> None:
    assert is_url(path) is expected


def test_paths_are_public_as_they_are() -> None:
    assert public_url("/a?b/x.zarr") == "/a?b/x.zarr"
    assert public_url("https://h:port/x?sig=1") == "https://h:port/x"


def test_a_file_url_is_a_path_of_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "a b%20c" / "#1 µ?.zarr"
    assert local_path(path.as_uri()) == str(path)
    assert local_path(path.as_uri().replace("file://", "FILE://localhost")) == str(path)
    for other in ("https://h/a%20b", "s3://b/a%20b", "a%20b.zarr", "C:\\a%20b", "/a%20b"):
        assert local_path(other) == other
