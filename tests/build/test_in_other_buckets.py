"""Builds whose destination is a bucket of Google or a container of Azure, on loopback.

Expected bytes are those of the same build in a directory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import obstore
import pytest
import zarr
from helpers import digest
from object_servers import azure_server, find_azurite, google_server
from obstore.store import AzureStore, GCSStore

from napari_pyramid import (
    DestinationError,
    LayoutError,
    build_pyramid,
    edit_pyramid,
    iter_build,
    open_pyramid,
    plan_build,
)

DATA = np.random.default_rng(0).integers(1, 900, (21, 45, 37)).astype("uint16")
OPTIONS: dict[str, Any] = {"n_levels": 3, "chunks": (8, 16, 16), "factors": 2}
AZURE = pytest.param(
    "az",
    marks=[
        pytest.mark.slow,
        pytest.mark.skipif(find_azurite() is None, reason="Azurite is not installed"),
    ],
)


class Box:
    """A bucket or container called ``box``, and the storage options that give access to it."""

    def __init__(self, scheme: str, options: dict[str, str]) -> None:
        self.scheme, self.options = scheme, options

    def url(self, path: str) -> str:
        return f"{self.scheme}://box/{path}"

    def files(self, folder: str) -> dict[str, bytes]:
        """The objects below a folder, as obstore alone reads them."""
        http: Any = {"client_options": {"allow_http": True}}
        config: Any = dict(self.options)
        if self.scheme == "gs":
            config["base_url"] = config.pop("endpoint")
            store: Any = GCSStore("box", config=config, **http)
        else:
            store = AzureStore("box", config=config, **http)
        paths = [found["path"] for found in obstore.list(store, folder).collect()]
        return {p.removeprefix(f"{folder}/"): bytes(obstore.get(store, p).bytes()) for p in paths}


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A function that returns the box of a scheme, and starts its server if needed."""
    started: dict[str, Box] = {}
    with ExitStack() as stack:

        def box(scheme: str) -> Box:
            if scheme not in started:
                if scheme == "gs":
                    options = stack.enter_context(google_server()).options
                else:
                    folder = tmp_path_factory.mktemp("azurite")
                    options = stack.enter_context(azure_server(folder, "box"))
                started[scheme] = Box(scheme, options)
            return started[scheme]

        yield box


@pytest.fixture(params=["gs", AZURE])
def box(request: pytest.FixtureRequest, boxes: Any) -> Box:
    found: Box = boxes(request.param)
    return found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    zarr.create_group(tmp_path / "s.zarr").create_array("0", data=DATA, chunks=(8, 16, 16))
    return tmp_path / "s.zarr"


def test_a_bucket_gets_the_bytes_of_a_directory(box: Box, source: Path, tmp_path: Path) -> None:
    """The path has characters that URLs escape. A stop in the middle changes no byte."""
    url, access = box.url("a (b)/ü.zarr"), {"storage_options": box.options}
    steps = iter_build(source, url, **OPTIONS, **access)
    while not next(steps).done:
        pass
    steps.close()
    with pytest.raises(LayoutError):
        open_pyramid(url, **access)
    plan = plan_build(source, url, **OPTIONS, **access)
    assert plan.unfinished is not None
    assert plan.unfinished.done > 0
    plan.run()
    build_pyramid(source, tmp_path / "ü.zarr", **OPTIONS)
    expected = {k: (tmp_path / "ü.zarr" / k).read_bytes() for k in digest(tmp_path / "ü.zarr")}
    assert box.files("a (b)/ü.zarr") == expected
    assert not [name for name in box.files("a (b)") if ".building" in name]
    assert np.array_equal(open_pyramid(url, **access)[0][:], DATA)


def test_edits_give_the_bytes_of_building_from_the_edited_pixels(box: Box, tmp_path: Path) -> None:
    url, access = box.url("e (b)/ü.zarr"), {"storage_options": box.options}
    build_pyramid(DATA, url, **OPTIONS, labels=True, **access)
    editor, wanted = edit_pyramid(url, **access), DATA.copy()
    editor[3:9, 10:30, 10:30] = wanted[3:9, 10:30, 10:30] = 7
    editor[:, 32:, 32:] = wanted[:, 32:, 32:] = 0  # whole chunks vanish
    editor.save()
    build_pyramid(wanted, tmp_path / "ü.zarr", **OPTIONS, labels=True)
    expected = {k: (tmp_path / "ü.zarr" / k).read_bytes() for k in digest(tmp_path / "ü.zarr")}
    assert box.files("e (b)/ü.zarr") == expected
    assert not [name for name in box.files("e (b)") if ".building" in name]


def test_levels_are_replaced_in_place(box: Box, source: Path) -> None:
    url, access = box.url("x.zarr"), {"storage_options": box.options}
    build_pyramid(source, url, **OPTIONS, **access)
    with pytest.raises(DestinationError, match="exists already"):
        build_pyramid(source, url, **OPTIONS, **access)
    before = box.files("x.zarr/0")
    pyramid = build_pyramid(url, in_place=True, n_levels=2, overwrite=True, **access)
    assert len(pyramid) == 2
    assert {k.partition("/")[0] for k in box.files("x.zarr")} == {"zarr.json", "0", "1-2"}
    assert box.files("x.zarr/0") == before


def test_without_a_key_a_line_says_what_is_needed(box: Box) -> None:
    secret = {"service_account_key", "account_key"}
    options = {k: v for k, v in box.options.items() if k not in secret}
    wanted = {"gs": "service_account=PATH", "az": "account_key=KEY"}[box.scheme]
    with pytest.raises(LayoutError, match=f"403.*{wanted}"):
        open_pyramid(box.url("private.zarr"), storage_options=options)
