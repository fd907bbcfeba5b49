"""Links for viewers lead back to the store, and never hold a signature."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pytest

from napari_pyramid.build import build_pyramid
from napari_pyramid.errors import LayoutError
from napari_pyramid.layouts import open_images
from napari_pyramid.share.links import links_to_images, viewer_links
from napari_pyramid.storage.address import parse_address

PLAIN = [
    "https://host/cells.ome.zarr",
    "https://host:8080/a b/ce%20lls (1).zarr",
    "https://host/100%/é&source=https%3A.zarr",
    "http://127.0.0.1:81/word/cells.zarr",
]


@pytest.mark.parametrize("url", PLAIN)
def test_every_link_leads_back_to_the_store(url: str) -> None:
    links = viewer_links(url)
    assert [link.viewer for link in links] == ["vizarr", "Neuroglancer", "OME-Zarr validator"]
    for link in links:
        found, wanted = parse_address(link.url), parse_address(url)
        assert (found.public, found.requested) == (wanted.public, wanted.requested)


@pytest.mark.parametrize(
    ("bucket", "web"),
    [
        ("s3://cells/a b/x.zarr", "https://cells.s3.amazonaws.com/a%20b/x.zarr"),
        ("s3://data.cells/x.zarr", "https://s3.amazonaws.com/data.cells/x.zarr"),
        ("gs://cells/x.zarr", "https://storage.googleapis.com/cells/x.zarr"),
    ],
)
def test_buckets_have_web_addresses(bucket: str, web: str) -> None:
    vizarr, neuroglancer, validator = viewer_links(bucket)
    for link in (vizarr, validator):
        assert parse_qs(urlsplit(link.url).query)["source"] == [web]
    assert parse_address(neuroglancer.url).public == bucket


@pytest.mark.parametrize(
    ("format", "kind", "source", "type"),
    [
        ("ome-zarr", "labels", "zarr://https://host/x/labels/nuclei", "segmentation"),
        ("n5", "image", "n5://https://host/x/labels/nuclei", "image"),
        ("precomputed", "image", "precomputed://https://host/x/labels/nuclei", "image"),
    ],
)
def test_state_of_neuroglancer(format: str, kind: str, source: str, type: str) -> None:
    links = {
        link.viewer: link.url
        for link in viewer_links("https://host/x", "labels/nuclei", format=format, kind=kind)
    }  # type: ignore[arg-type]  # parametrized words are str
    state = json.loads(unquote(links["Neuroglancer"].partition("#!")[2]))
    assert state == {"layers": [{"type": type, "source": source, "name": "labels/nuclei"}]}
    assert ("vizarr" in links) == (format == "ome-zarr")


def test_image_in_a_zip_is_for_neuroglancer_only() -> None:
    [link] = viewer_links("https://host/x.ozx", "labels/nuclei")
    state = json.loads(unquote(link.url.partition("#!")[2]))
    assert state["layers"][0]["source"] == "https://host/x.ozx|zip:labels/nuclei|zarr:"
    assert parse_address(link.url).requested == "https://host/x.ozx"


@pytest.mark.parametrize(
    "url",
    [
        "https://host/x.zarr?X-Amz-Signature=secret",
        "https://me:secret@host/x.zarr",
        "https://viewer/?source=https%3A%2F%2Fhost%2Fx.zarr%3Fsig%3Dsecret",
    ],
)
def test_signature_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(LayoutError, match=r"https://host/x\.zarr .* would give away") as caught:
        viewer_links(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [("/data/x.zarr", "serve it first"), ("file:///x.zarr", "serve it"), ("az://c/x", "https")],
)
def test_what_no_viewer_on_the_web_can_open(url: str, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        viewer_links(url)


def test_images_and_labels_of_a_store_each_have_links(tmp_path: Path) -> None:
    pixels = np.zeros((30, 41), np.uint16)
    build_pyramid(pixels, tmp_path / "x.ome.zarr", axes="yx", chunks=(16, 16))
    build_pyramid(pixels, tmp_path / "x.ome.zarr/labels/nuclei", axes="yx", labels=True)
    shared = links_to_images("https://host/x.ome.zarr", open_images(tmp_path / "x.ome.zarr"))
    assert [v.url for v in shared] == [
        "https://host/x.ome.zarr",
        "https://host/x.ome.zarr/labels/nuclei",
    ]
    assert [len(v.links) for v in shared] == [3, 3]
