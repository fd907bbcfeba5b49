"""``napari-pyramid serve``: links on stdout, files on loopback, status 130 after Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from servers import web_server
from typer.testing import CliRunner

from napari_pyramid.build import build_pyramid
from napari_pyramid.cli import app
from napari_pyramid.storage.address import parse_address


@pytest.fixture
def store(tmp_path: Path) -> Path:
    build_pyramid(np.ones((30, 41), np.uint16), tmp_path / "x.ome.zarr", axes="yx")
    return tmp_path / "x.ome.zarr"


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let processes be interrupted, also where a shell runs the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.posix("sends an interrupt to a process")
@pytest.mark.usefixtures("interruptible")
def test_serves_until_interrupted(store: Path) -> None:
    command = [sys.executable, "-m", "napari_pyramid.cli", "serve", str(store), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = []
        while not lines or lines[-1] != "}\n":
            lines.append(process.stdout.readline())
        found = json.loads("".join(lines))
        with urllib.request.urlopen(f"{found['url']}/zarr.json") as answer:
            assert answer.read() == (store / "zarr.json").read_bytes()
        for link in found["images"][0]["links"].values():
            assert parse_address(link).requested == found["url"]
        while "until Ctrl-C" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate()


def test_url_needs_no_server(store: Path) -> None:
    with web_server(store.parent) as web:
        result = CliRunner().invoke(app, ["serve", f"{web.url}/x.ome.zarr"])
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines() if "source=" in line]
    assert len(lines) == 2
    assert all(parse_address(line[-1]).requested == f"{web.url}/x.ome.zarr" for line in lines)


def test_signed_url_is_refused_in_one_line(store: Path) -> None:
    with web_server(store.parent) as web:
        result = CliRunner().invoke(app, ["serve", f"{web.url}/x.ome.zarr?sig=secret"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert "would give away" in result.stderr
    assert "secret" not in result.stderr


@pytest.mark.parametrize("arguments", [["absent.zarr"], ["{store}/zarr.json/no"]])
def test_failure_is_one_line(store: Path, arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["serve", *(a.format(store=store) for a in arguments)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "does not exist" in result.stderr
    assert result.stderr.count("\n") == 1
