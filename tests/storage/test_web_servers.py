"""Stores on web servers of every kind, on loopback.

What opens, with how many requests, and what is said when it does not.
"""

from __future__ import annotations

import asyncio
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from servers import Rules, WebServer, find_nginx, nginx_server, rounds, web_server

from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.errors import LayoutError, LayoutNotice, SourceError
from napari_pyramid.layouts import open_images
from napari_pyramid.pyramid import open_pyramid
from napari_pyramid.storage import open_url
from napari_pyramid.storage.address import parse_address
from napari_pyramid.storage.open_url import open_remote
from napari_pyramid.storage.stores import open_root

PIXELS = np.arange(1, 41 * 31 + 1, dtype="u2").reshape(41, 31)
NAMES = ("v2.zarr", "v3.zarr", "sharded.zarr", "a b (c) é [x].zarr")
Serve = Callable[..., WebServer]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_url, "FIRST_PAUSE", timedelta(milliseconds=1))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OME-Zarr images of three levels, a level of one of which has missing chunks."""
    path = tmp_path_factory.mktemp("served")
    for name in NAMES:
        version = 3 if name in ("v3.zarr", "sharded.zarr") else 2
        group = zarr.create_group(path / name, zarr_format=version)
        datasets = []
        for k in range(3):
            pixels = PIXELS[:: 2**k, :: 2**k].copy()
            pixels[:8, :8] = 0  # a chunk that is not stored
            shards = (16, 16) if name == "sharded.zarr" else None
            group.create_array(str(k), data=pixels, chunks=(8, 8), shards=shards)
            scale = {"type": "scale", "scale": [2.0**k, 2.0**k]}
            datasets.append({"path": str(k), "coordinateTransformations": [scale]})
        axes = [{"name": name, "type": "space"} for name in "yx"]
        multiscale = {"axes": axes, "datasets": datasets}
        if version == 2:
            group.attrs["multiscales"] = [{"version": "0.4", **multiscale}]
        else:
            group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}
    return path


@pytest.fixture
def serve(root: Path) -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda **rules: stack.enter_context(web_server(root, Rules(**rules)))


def _expected(k: int = 0) -> np.ndarray:
    pixels = PIXELS[:: 2**k, :: 2**k].copy()
    pixels[:8, :8] = 0
    return pixels


def _check(url: str, **options: Any) -> None:
    """The image at a URL has all its levels and pixels."""
    (image,) = open_images(url, storage_options=options or None)
    assert [level.array.shape for level in image.levels] == [(41, 31), (21, 16), (11, 8)]
    np.testing.assert_array_equal(np.asarray(image.levels[0].array[...]), _expected())
    np.testing.assert_array_equal(np.asarray(image.levels[2].array[3:9, 2:]), _expected(2)[3:9, 2:])


UNUSUAL: dict[str, dict[str, Any]] = {
    "friendly": {},
    "403 for missing": {"missing": 403},
    "400 for missing": {"missing": 400},
    "401 for missing": {"missing": 401},
    "a page for missing": {"missing": "html"},
    "a page without its type": {"missing": "html", "html_type": "application/octet-stream"},
    "all is called a page": {"content_type": "text/html"},
    "HTTP/1.0": {"http": "1.0"},
    "chunked answers": {"length": "chunked"},
    "answers without length": {"length": "closed"},
    "HTTP/1.0 without length": {"http": "1.0", "length": "closed"},
    "no HEAD": {"head": False},
    "no suffixes": {"suffixes": False},
    "every 3rd is busy": {"fail_every": 3, "fail_with": 503},
    "every 3rd too many": {"fail_every": 3, "fail_with": 429},
    "every 3rd fails": {"fail_every": 3, "fail_with": 500},
    "every 3rd dropped": {"fail_every": 3, "fail_with": "drop"},
    "every 3rd cut": {"fail_every": 3, "fail_with": "cut"},
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rules", UNUSUAL.values(), ids=UNUSUAL)
def test_a_store_opens_on_an_unusual_server(serve: Serve, rules: dict[str, Any], name: str) -> None:
    with warnings.catch_warnings():
        if rules.get("fail_with") == "cut":  # half of an answer looks like one without ranges
            warnings.simplefilter("ignore", LayoutNotice)
        _check(f"{serve(**rules).url}/{name}")


@pytest.mark.skipif(find_nginx() is None, reason="nginx is neither installed nor unpacked")
def test_stores_open_on_nginx(root: Path, tmp_path: Path) -> None:
    with nginx_server(root, tmp_path) as url:
        for name in NAMES:
            _check(f"{url}/{name}")
        _check(f"{url}/v3.zarr/?key=%2Fvalue")
        with pytest.raises(LayoutError, match=f"{url}/v4.zarr"):
            open_images(f"{url}/v4.zarr")


def test_a_redirect_is_followed(serve: Serve) -> None:
    web = serve(redirect="/old")
    _check(f"{web.url}/old/v2.zarr")
    _check(f"{web.url}/old/v3.zarr")


@pytest.mark.parametrize("name", ["a%20b%20%28c%29%20%C3%A9%20%5Bx%5D.zarr", "a b (c) é [x].zarr/"])
def test_a_path_is_pasted_quoted_or_not(serve: Serve, name: str) -> None:
    (image,) = open_images(f"{serve().url}/{name}")
    assert image.name == "a b (c) é [x]"


@pytest.mark.parametrize("name", NAMES[:3])
def test_the_query_goes_with_every_request_and_nowhere_else(serve: Serve, name: str) -> None:
    web = serve(query="sig=s3cr%2Ft&se=1", missing=403)
    url = f"{web.url}/{name}?sig=s3cr%2Ft&se=1"
    _check(url)
    assert all(request.query == "sig=s3cr%2Ft&se=1" for request in web.requests)
    (image,) = open_images(url)
    view = LazyArray(image.levels[0].array)
    shown = [repr(image), repr(view), str(view.source), repr(open_root(url)), open_root(url).title]
    web.rules.every = 500
    for what in (
        lambda: np.asarray(view),
        lambda: open_images(url, storage_options={"retries": 1}),
    ):
        with pytest.raises((SourceError, LayoutError)) as raised:
            what()
        shown += [str(raised.value), repr(raised.value.__cause__), repr(raised.value.__context__)]
    assert not [text for text in shown if "s3cr" in text or "sig=" in text]


def test_name_and_password_are_sent_and_not_shown(serve: Serve) -> None:
    web = serve(basic="Basic bWU6c2VjcmV0")
    url = web.url.replace("://", "://me:secret@")
    _check(f"{url}/v3.zarr")
    assert "secret" not in str(open_root(f"{url}/v3.zarr").array)


def test_headers_are_options(serve: Serve) -> None:
    web = serve(basic="Bearer abc")
    _check(f"{web.url}/v2.zarr", headers={"Authorization": "Bearer abc"})
    _check(f"{web.url}/v2.zarr", **{"headers.Authorization": "Bearer abc"})
    with pytest.raises(LayoutError, match="401 Unauthorized: it is private"):
        open_images(f"{web.url}/v2.zarr")


@pytest.mark.parametrize("suffixes", [True, False])
def test_without_ranges_a_shard_is_read_whole_once_with_a_notice(
    serve: Serve, suffixes: bool
) -> None:
    web = serve(ranges=False, suffixes=suffixes)
    (image,) = open_images(f"{web.url}/sharded.zarr")
    web.requests.clear()
    array = image.levels[0].array
    with pytest.warns(LayoutNotice, match=r"/c/\d/\d: the server does not send parts"):
        np.testing.assert_array_equal(np.asarray(array[9:17, 9:17]), _expected()[9:17, 9:17])
    with warnings.catch_warnings(record=True) as warned:
        np.testing.assert_array_equal(np.asarray(array[8:39, 8:30]), _expected()[8:39, 8:30])
    assert not warned
    whole = [r.path for r in web.requests if r.range is None]
    assert len(whole) == len(set(whole)) == 6
    assert len(web.requests) <= 14  # the first shards were asked for their indexes side by side


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            {"every": 403},
            r"v2\.zarr: the server answers 403 Forbidden: .*signed",
        ),
        ({"every": 401}, r"the server answers 401 Unauthorized: .*headers\.NAME"),
        (
            {"fail_every": 1, "fail_with": 403, "fail_path": "/.z"},
            r"v2\.zarr: the server answers 403",
        ),
        ({"missing": "html"}, "the server answers with a web page: give the address of the store"),
    ],
)
def test_a_store_where_everything_is_refused_says_so(
    serve: Serve, rules: dict[str, Any], message: str
) -> None:
    name = "gone.zarr" if "missing" in rules else "v2.zarr"
    with pytest.raises(LayoutError, match=message) as raised:
        open_images(f"{serve(**rules).url}/{name}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("status", [403, "html"])
def test_an_expired_signature_does_not_turn_into_empty_pixels(
    serve: Serve, status: int | str
) -> None:
    web = serve(query="sig=1", missing=status)
    (image,) = open_images(f"{web.url}/v3.zarr?sig=1")
    view = LazyArray(image.levels[0].array)
    assert not np.asarray(view[:8, :8]).any()  # a missing chunk
    web.rules.query = "sig=2"
    with pytest.raises(SourceError, match=r"0/c/2/1: .*no longer gives out"):
        np.asarray(view[16:24, 8:16])


@pytest.mark.parametrize(
    ("fails", "message"),
    [
        (503, "the server answers 503 Service Unavailable, also when asked 2 times more"),
        (429, "the server answers 429 Too Many Requests, also when asked 2 times more"),
        ("drop", "the connection was closed without an answer, also when asked 2 times more"),
        ("cut", "the connection was closed in the middle of the answer"),
        ("stall", "the host does not answer in time"),
    ],
)
def test_a_chunk_that_cannot_be_had_is_named_in_one_line(
    serve: Serve, fails: int | str, message: str
) -> None:
    web = serve()
    options = {"retries": 2 if fails != "stall" else 0, "timeout": 2 if fails == "stall" else 30}
    (image,) = open_images(f"{web.url}/v3.zarr", storage_options=options)
    web.rules.fail_every, web.rules.fail_with, web.rules.fail_path = 1, fails, "0/c/2/1"
    with pytest.raises(SourceError, match=rf"v3\.zarr/0/c/2/1: {message}") as raised:
        np.asarray(LazyArray(image.levels[0].array)[16:24, 8:16])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:1/x.zarr", r"x\.zarr/\S+: the host refuses connections"),
        ("http://no.such.host.invalid/x.zarr", "the host's name is unknown"),
    ],
)
def test_a_host_that_is_not_there_is_reported(url: str, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        open_images(url, storage_options={"retries": 1})


@pytest.mark.parametrize("name", NAMES[:3])
def test_an_image_opens_in_three_round_trips(serve: Serve, name: str) -> None:
    web = serve(latency=0.1)
    open_images(f"{web.url}/{name}")
    assert rounds(web.requests) <= 3


@pytest.mark.parametrize("name", ["v2.zarr", "v3.zarr"])
def test_consolidated_metadata_take_one_round_trip(tmp_path: Path, root: Path, name: str) -> None:
    group = zarr.create_group(tmp_path / name, zarr_format=int(name[1]))
    group.create_array("0", data=PIXELS, chunks=(8, 9))
    scale = {"type": "scale", "scale": [1.0, 1.0]}
    axes = [{"name": a, "type": "space"} for a in "yx"]
    datasets = [{"path": "0", "coordinateTransformations": [scale]}]
    image = {"multiscales": [{"axes": axes, "datasets": datasets}]}
    group.attrs.update(image if name == "v2.zarr" else {"ome": {"version": "0.5", **image}})
    group.create_group("labels", attributes={"labels": []})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        zarr.consolidate_metadata(tmp_path / name)
    with web_server(tmp_path, Rules(latency=0.1)) as web:
        (image,) = open_images(f"{web.url}/{name}")
        assert rounds(web.requests) == 1
        np.testing.assert_array_equal(np.asarray(image.levels[0].array[...]), PIXELS)


def test_a_server_that_lists_directories_shows_what_no_metadata_name(
    tmp_path: Path,
) -> None:
    for name in ("one", "two (2)"):
        group = zarr.create_group(tmp_path / "all" / name)
        group.create_array("a", data=PIXELS, chunks=(8, 9))
    with web_server(tmp_path, Rules(lists=True)) as web:
        names = [image.name for image in open_images(f"{web.url}/all")]
    assert names == ["one/a", "two (2)/a"]


def test_n5_is_known_by_its_attributes(tmp_path: Path) -> None:
    """Without ".n5" in the address."""
    import tensorstore

    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": str(tmp_path / "em" / "s")}}
    tensorstore.open(spec, create=True, dtype="uint8", shape=(9, 8)).result()[...] = 3
    with web_server(tmp_path, Rules(missing=403)) as web:
        (image,) = open_images(f"{web.url}/em/s")
        np.testing.assert_array_equal(np.asarray(image.levels[0].array[...]), np.full((8, 9), 3))


def test_blocks_of_n5_are_fetched_side_by_side(tmp_path: Path) -> None:
    import tensorstore

    spec = {
        "driver": "n5",
        "kvstore": {"driver": "file", "path": str(tmp_path / "a.n5/s")},
        "metadata": {"compression": {"type": "gzip"}, "blockSize": [6, 5]},
    }
    pixels = np.arange(1, 45 * 39 + 1, dtype="u2").reshape(45, 39)
    opened = tensorstore.open(spec, create=True, dtype="uint16", shape=pixels.shape).result()
    opened[...] = pixels
    (tmp_path / "a.n5/s/1/2").unlink()
    pixels[6:12, 10:15] = 0
    with web_server(tmp_path, Rules()) as web:
        (view,) = open_pyramid(f"{web.url}/a.n5/s").lazy_levels
        web.requests.clear()
        web.rules.together = 48
        np.testing.assert_array_equal(np.asarray(view), pixels.T)
        assert len(web.requests) == 8 * 8
        assert web.most_at_once >= 48


def test_labels_at_a_deep_address_are_labels(tmp_path: Path) -> None:
    ome_zarr = zarr.create_group(tmp_path / "x.zarr", zarr_format=2)
    labels = ome_zarr.create_group("labels", attributes={"labels": ["cells"]})
    cells = labels.create_group("cells")
    cells.create_array("0", data=PIXELS, chunks=(8, 9))
    scale = {"type": "scale", "scale": [1.0, 1.0]}
    dataset = {"path": "0", "coordinateTransformations": [scale]}
    axes = [{"name": a, "type": "space"} for a in "yx"]
    cells.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [dataset]}]
    with web_server(tmp_path, Rules(query="sig=1")) as web:
        (image,) = open_images(f"{web.url}/x.zarr/labels/cells?sig=1")
    assert image.kind == "labels"


def test_a_store_can_go_to_another_process(serve: Serve) -> None:
    web = serve(query="sig=1")
    store = open_remote(parse_address(f"{web.url}/v2.zarr?sig=1"))
    copy = pickle.loads(pickle.dumps(store))
    assert copy == store
    assert asyncio.run(copy.fetch("0/.zarray")) is not None


def test_stores_of_one_server_share_its_connections(serve: Serve) -> None:
    web = serve()
    for _ in range(10):
        for key in ("v2.zarr", "v3.zarr"):
            assert open_remote(parse_address(f"{web.url}/{key}")).fetch_now("no such key") is None
    assert len(web.requests) == 20
    assert web.n_connections < 10  # one, but for answers whose connection is not yet free again


@pytest.mark.parametrize("options", [{}, {"headers": {"Authorization": "Basic bWU6c2Vzc2FtZQ=="}}])
def test_stores_of_one_server_do_not_share_headers(serve: Serve, options: dict[str, Any]) -> None:
    web = serve(basic="Basic bTp4")
    address = f"{web.url.replace('://', '://m:x@')}/v2.zarr"
    _check(address)
    with pytest.raises(LayoutError, match="401"):
        open_images(f"{web.url}/v2.zarr", storage_options=options)


def test_unknown_options_are_refused_by_name() -> None:
    with pytest.raises(LayoutError, match="'profil' is not for https: headers, retries"):
        open_images("https://127.0.0.1/x.zarr", storage_options={"profil": "a"})
    with pytest.raises(LayoutError, match="anonymous is 'maybe', expected true or false"):
        open_images("s3://bucket/x.zarr", storage_options={"anonymous": "maybe"})


def test_a_scheme_that_obstore_does_not_serve_goes_through_fsspec(root: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(str(root / "v3.zarr"), "/served/v3.zarr", recursive=True)
    _check("memory://served/v3.zarr")


def test_an_unknown_scheme_is_refused_by_name() -> None:
    with pytest.raises(LayoutError, match=r"nowhere://host/x\.zarr cannot be opened"):
        open_images("nowhere://host/x.zarr")


def test_an_image_with_labels_opens_in_three_round_trips(tmp_path: Path) -> None:
    axes = [{"name": a, "type": "space"} for a in "yx"]
    for path in ("x.zarr", "x.zarr/labels/cells", "x.zarr/labels/spots"):
        group = zarr.open_group(tmp_path / path, mode="a", zarr_format=2)
        for k in range(2):
            group.create_array(str(k), data=PIXELS[:: 2**k, :: 2**k], chunks=(8, 9))
        datasets = [
            {
                "path": str(k),
                "coordinateTransformations": [{"type": "scale", "scale": [2.0**k, 2.0**k]}],
            }
            for k in range(2)
        ]
        group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    zarr.open_group(tmp_path / "x.zarr/labels", mode="a", zarr_format=2).attrs["labels"] = [
        "cells",
        "spots",
    ]
    with web_server(tmp_path, Rules(latency=0.1)) as web:
        images = open_images(f"{web.url}/x.zarr")
    assert [(i.kind, len(i.levels)) for i in images] == [("image", 2), ("labels", 2), ("labels", 2)]
    assert rounds(web.requests) <= 3


@pytest.mark.parametrize("version", [2, 3])
def test_a_plate_opens_in_few_round_trips(tmp_path: Path, version: int) -> None:
    """However many wells and fields: their metadata are read side by side."""
    axes = [{"name": a, "type": "space"} for a in "yx"]
    plate = zarr.create_group(tmp_path / "p.zarr", zarr_format=version)
    wells = [f"{row}/{column}" for row in "AB" for column in "123"]

    def describe(group: zarr.Group, **content: Any) -> None:
        group.attrs.update(content if version == 2 else {"ome": {"version": "0.5", **content}})

    for path in wells[:-1]:  # the last one is listed and missing
        well = plate.create_group(path)
        for number in range(2):
            field = well.create_group(str(number))
            field.create_array("0", data=PIXELS[:16, :16] + number, chunks=(8, 8))
            scale = {"type": "scale", "scale": [1.0, 1.0]}
            dataset = {"path": "0", "coordinateTransformations": [scale]}
            described = {"axes": axes, "datasets": [dataset]}
            describe(field, multiscales=[described])
        describe(well, well={"images": [{"path": "0"}, {"path": "1"}]})
    places = [
        {"path": path, "rowIndex": i // 3, "columnIndex": i % 3} for i, path in enumerate(wells)
    ]
    names = {"rows": [{"name": n} for n in "AB"], "columns": [{"name": n} for n in "123"]}
    describe(plate, plate={"wells": places, **names})
    for _ in range(3):  # on a busy machine requests of one round may come one after another
        with web_server(tmp_path, Rules(latency=0.06)) as web:
            with pytest.warns(UserWarning, match=r"wells\[5\]: there is no well"):
                (image,) = open_images(f"{web.url}/p.zarr")
            n_rounds = rounds(web.requests)
            pixels = np.asarray(image.levels[0].array[...])
        if n_rounds <= 10:
            break
    assert n_rounds <= 10
    assert pixels.shape == (32, 96)
    np.testing.assert_array_equal(pixels[16:, 32:48], PIXELS[:16, :16])
    np.testing.assert_array_equal(pixels[:16, 16:32], PIXELS[:16, :16] + 1)
    assert not pixels[16:, 64:].any()


@pytest.mark.parametrize("name", NAMES[:3])
@pytest.mark.parametrize("rules", [{}, {"missing": 403}, {"ranges": False}, {"suffixes": False}])
def test_views_have_the_pixels_of_the_store(serve: Serve, name: str, rules: dict[str, Any]) -> None:
    web = serve(**rules)
    (image,) = open_images(f"{web.url}/{name}")
    view = LazyArray(image.levels[0].array)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if "ranges" in rules else "error", LayoutNotice)
        for region in ((slice(3, 29), slice(7, 31)), (slice(None), 30), (40, slice(None))):
            np.testing.assert_array_equal(np.asarray(view[region]), _expected()[region])


def test_a_shard_that_is_read_whole_takes_one_request(serve: Serve) -> None:
    web = serve()
    (image,) = open_images(f"{web.url}/sharded.zarr")
    web.requests.clear()
    np.testing.assert_array_equal(np.asarray(LazyArray(image.levels[0].array)), _expected())
    assert len(web.requests) == len(set(web.paths())) == 6  # 3 x 2 shards, of 24 chunks
    assert all(request.range is None for request in web.requests)


@pytest.mark.parametrize(
    "codec",
    [None, zarr.codecs.BloscCodec(), zarr.codecs.GzipCodec(), zarr.codecs.ZstdCodec()],
    ids=lambda codec: type(codec).__name__,
)
def test_a_shard_of_every_usual_codec_is_read_whole(tmp_path: Path, codec: Any) -> None:
    options: dict[str, Any] = {"chunks": (8, 8), "shards": (24, 16), "compressors": codec}
    zarr.create_array(tmp_path / "x.zarr", data=PIXELS, **options)
    with web_server(tmp_path) as web:
        (image,) = open_images(f"{web.url}/x.zarr")
        web.requests.clear()
        np.testing.assert_array_equal(np.asarray(LazyArray(image.levels[0].array)), PIXELS)
    assert len(web.requests) == 4


def test_a_far_server_gets_all_requests_at_once(serve: Serve) -> None:
    web = serve(latency=0.1)
    (image,) = open_images(f"{web.url}/v2.zarr")
    web.requests.clear()
    np.testing.assert_array_equal(np.asarray(LazyArray(image.levels[0].array)), _expected())
    assert len(web.requests) == 24
    assert rounds(web.requests) <= 2


def test_a_part_of_a_shard_takes_a_request_for_the_index_and_one_for_near_chunks(
    serve: Serve,
) -> None:
    web = serve()
    (image,) = open_images(f"{web.url}/sharded.zarr")
    web.requests.clear()
    view = LazyArray(image.levels[0].array)
    np.testing.assert_array_equal(np.asarray(view[:8]), _expected()[:8])
    indexes = [r.path for r in web.requests if (r.range or "").startswith("bytes=-")]
    assert len(indexes) == len(set(indexes)) == 2
    assert len(web.requests) == 4


def test_the_index_of_a_shard_is_read_once(serve: Serve) -> None:
    web = serve()
    (image,) = open_images(f"{web.url}/sharded.zarr")
    view = LazyArray(image.levels[0].array)
    web.requests.clear()
    for row in (0, 8, 16, 24):
        np.testing.assert_array_equal(np.asarray(view[row, 16:24]), _expected()[row, 16:24])
    suffixes = [r.path for r in web.requests if (r.range or "").startswith("bytes=-")]
    assert len(suffixes) == len(set(suffixes)) == 2
    assert len(web.requests) == 6
