"""Buckets of S3, Google and Azure on loopback.

Anonymous where there are no credentials, else with those of the usual places.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr
from servers import Rules, s3_client, s3_server, web_server
from typer.testing import CliRunner

from napari_pyramid import open_pyramid
from napari_pyramid.cli import app
from napari_pyramid.errors import LayoutError
from napari_pyramid.layouts import open_images

PIXELS = np.arange(23 * 31, dtype="u2").reshape(23, 31)
PUBLIC = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": "*",
            "Action": ["s3:GetObject"],
            "Resource": "arn:aws:s3:::public/*",
        }
    ],
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bucket")
    zarr.create_array(path / "a b (c).zarr", data=PIXELS, chunks=(8, 8), shards=(16, 16))
    return path


@pytest.fixture(scope="module")
def s3(stored: Path) -> Iterator[str]:
    """A server with the buckets "private" and "public"."""
    with s3_server() as endpoint:
        client = s3_client(endpoint)
        for bucket in ("private", "public"):
            client.create_bucket(Bucket=bucket)
            for file in stored.rglob("*"):
                if file.is_file():
                    key = file.relative_to(stored).as_posix()
                    client.put_object(Bucket=bucket, Key=key, Body=file.read_bytes())
        client.put_bucket_policy(Bucket="public", Policy=json.dumps(PUBLIC))
        yield endpoint


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """None in the environment or in files, and no profile but those that a test writes."""
    import os

    for name in [n for n in os.environ if n.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def _check(url: str, **options: object) -> None:
    pyramid = open_pyramid(url, storage_options=options)
    assert pyramid.name == "a b (c)"
    np.testing.assert_array_equal(np.asarray(pyramid[0][...]), PIXELS)


def test_a_public_bucket_needs_no_credentials(s3: str) -> None:
    _check("s3://public/a b (c).zarr", endpoint=s3)


def test_a_private_bucket_says_what_it_needs(s3: str) -> None:
    with pytest.raises(LayoutError, match=r"s3://private/a b \(c\)\.zarr: .*403.*profile=NAME"):
        open_images("s3://private/a b (c).zarr", storage_options={"endpoint": s3})


@pytest.mark.parametrize(
    "options",
    [
        {"access_key_id": "someone", "secret_access_key": "secret"},
        {"key": "someone", "secret": "secret"},
    ],
)
def test_credentials_are_options(s3: str, options: dict[str, str]) -> None:
    _check("s3://private/a b (c).zarr", endpoint=s3, **options)


def test_credentials_and_endpoint_are_in_the_environment(
    s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3)
    _check("s3://private/a b (c).zarr")


@pytest.mark.parametrize("by_environment", [True, False])
def test_a_profile_has_credentials_region_and_endpoint(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_environment: bool
) -> None:
    (tmp_path / "config").write_text(f"[profile lab]\nregion = eu-west-1\nendpoint_url = {s3}\n")
    (tmp_path / "credentials").write_text(
        "[lab]\naws_access_key_id = someone\naws_secret_access_key = secret\n"
    )
    if by_environment:
        monkeypatch.setenv("AWS_PROFILE", "lab")
        _check("s3://private/a b (c).zarr")
    else:
        _check("s3://private/a b (c).zarr", profile="lab")


def test_a_profile_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(LayoutError, match="no AWS profile 'lab': there are none"):
        open_images("s3://public/x.zarr", storage_options={"profile": "lab"})


def test_the_command_line_has_storage_options(s3: str) -> None:
    options = ["--storage-option", f"endpoint={s3}", "--storage-option", "anonymous=true"]
    result = CliRunner().invoke(app, ["info", "s3://public/a b (c).zarr", *options])
    assert result.exit_code == 0
    assert "23 x 31" in result.output or "23 × 31" in result.output
    refused = CliRunner().invoke(app, ["info", "s3://public/x", "--storage-option", "profile"])
    assert refused.exit_code == 2


@pytest.mark.parametrize("missing", [404, 403])
def test_google_is_asked_anonymously(stored: Path, missing: int) -> None:
    with web_server(stored.parent, Rules(missing=missing, dated=True)) as web:
        _check(f"gs://{stored.name}/a b (c).zarr", endpoint=web.url)


@pytest.mark.parametrize("spelling", ["az://box/a b (c).zarr", "az://lab/box/a b (c).zarr"])
def test_azure_is_asked_anonymously(stored: Path, tmp_path: Path, spelling: str) -> None:
    (tmp_path / "box").symlink_to(stored)
    options = {"account_name": "lab"} if "lab" not in spelling else {}
    with web_server(tmp_path, Rules(dated=True)) as web:
        _check(spelling, endpoint=web.url, **options)
