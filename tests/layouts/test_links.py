"""Links inside stores: a folder is visited once, however it is reached."""

from __future__ import annotations

import json
import os
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore as ts
import zarr

from napari_pyramid.errors import LayoutError, LayoutWarning
from napari_pyramid.layouts import open_images
from napari_pyramid.metadata.consolidated import refresh_consolidated

pytestmark = pytest.mark.posix("links, which Windows makes only with a right that users lack")


def link(path: Path, target: str) -> None:
    """Make a link to a folder; `target` is relative to the folder of the link."""
    path.symlink_to(target, target_is_directory=True)


def paths(store: Path) -> list[str]:
    """Return the paths of the images, opened without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return [image.path for image in open_images(store)]


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("target", ["..", ".", "../..", "../../.."])
def test_a_link_to_a_folder_above_shows_each_image_once(
    new_store: Callable, zarr_format: int, target: str
) -> None:
    store = new_store(zarr_format).group().image("a", (6, 8)).group("g").image("g/b", (6, 8))
    link(store.root / "g" / "back", target)
    assert paths(store.root) == ["a", "g/b"]


def test_links_that_lead_to_each_other(new_store: Callable) -> None:
    store = new_store(3).group().group("g").image("g/a", (6, 8)).group("h").image("h/b", (6, 8))
    link(store.root / "g" / "h", "../h")
    link(store.root / "h" / "g", "../g")
    link(store.root / "nowhere", "nothing")
    link(store.root / "round", "about")
    link(store.root / "about", "round")
    assert paths(store.root) == ["g/a", "h/b"]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_folder_goes_before_the_links_to_it(new_store: Callable, zarr_format: int) -> None:
    store = new_store(zarr_format).group().group("z").image("z/img", (6, 8)).image("m", (6, 8))
    link(store.root / "a", "z/img")
    link(store.root / "b", "m")
    link(store.root / "n", "z")
    link(store.root / "level", "m/0")
    assert paths(store.root) == ["m", "z/img"]


def test_links_to_other_places_are_followed_once(new_store: Callable, tmp_path: Path) -> None:
    store = new_store(3).group().image("own", (6, 8))
    new_store(3, "far.zarr").group().image("there", (6, 8))
    link(store.root / "first", "../far.zarr")
    link(store.root / "second", "../far.zarr/there")
    assert paths(store.root) == ["first/there", "own"]
    assert paths(tmp_path) == ["far.zarr/there", "x.zarr/own"]


def test_a_link_to_the_folder_that_holds_the_opened_one(new_store: Callable) -> None:
    store = new_store(3).group().image("own", (6, 8))
    new_store(3, "far.zarr").group().image("there", (6, 8))
    link(store.root / "up", "..")
    assert paths(store.root) == ["own"]


def test_the_opened_path_may_be_a_link(new_store: Callable, tmp_path: Path) -> None:
    store = new_store(2).group().image("a", (6, 8))
    link(store.root / "back", ".")
    link(tmp_path / "link.zarr", "x.zarr")
    assert paths(tmp_path / "link.zarr") == ["a"]


def test_levels_that_have_a_second_name(new_store: Callable) -> None:
    store = new_store(2).group()
    for k, n in enumerate((16, 8, 4)):
        store.array(str(k), (n, n))
        link(store.root / f"s{k}", str(k))
    link(store.root / "back", ".")
    (image,) = open_images(store.root)
    assert [level.path for level in image.levels] == ["0", "1", "2"]


def write_n5(path: Path, shape: tuple[int, ...], **attributes: Any) -> None:
    """Write an array by TensorStore; N5 has its first axis last."""
    spec = {"driver": "n5", "kvstore": f"file://{path}"}
    metadata = {
        "dimensions": list(shape[::-1]),
        "blockSize": [4] * len(shape),
        "dataType": "uint8",
        "compression": {"type": "raw"},
        **attributes,
    }
    ts.open({**spec, "metadata": metadata}, create=True).result().write(1).result()


def test_n5(tmp_path: Path) -> None:
    root = tmp_path / "x.n5"
    for name in ("em", "pred"):
        for k in range(2):
            write_n5(root / name / f"s{k}", (8 >> k, 8 >> k))
    link(root / "back", ".")
    link(root / "em" / "up", "..")
    link(root / "again", "pred")
    assert paths(root) == ["em", "pred"]


def test_setups_of_bdv_are_shown_once_and_timepoints_as_often_as_they_are_there(
    tmp_path: Path,
) -> None:
    """A timepoint is a place in time: a link stands for an image that did not change."""
    root = tmp_path / "x.n5"
    write_n5(root / "setup0" / "timepoint0" / "s0", (4, 6, 8))
    link(root / "setup0" / "timepoint1", "timepoint0")
    link(root / "setup1", "setup0")
    link(root / "setup0" / "timepoint2", "..")
    (image,) = open_images(root)
    assert image.levels[0].array.shape == (2, 4, 6, 8)
    assert (image.levels[0].array[...] == 1).all()


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_plate(new_store: Callable, zarr_format: int, tmp_path: Path) -> None:
    plate = {"rows": [{"name": "A"}], "columns": [{"name": "1"}], "wells": [{"path": "A/1"}]}
    store = new_store(zarr_format, "plate.zarr").group(plate=plate).group("A")
    store.group("A/1", well={"images": [{"path": "0"}]}).image("A/1/0", (6, 8))
    link(store.root / "A" / "1" / "back", "../..")
    link(store.root / "B", "A")
    link(tmp_path / "other.zarr", "plate.zarr")
    assert [i.levels[0].array.shape for i in open_images(store.root)] == [(6, 8)]
    assert paths(tmp_path) == ["plate.zarr"]


@pytest.mark.parametrize("listed", [True, False])
def test_series_of_bioformats2raw(new_store: Callable, listed: bool) -> None:
    store = new_store(2).group(**{"bioformats2raw.layout": 3})
    store.image("0", (6, 8)).image("1", (6, 8))
    store.group("OME", **({"series": ["0", "1", "2"]} if listed else {}))
    link(store.root / "2", "0")
    link(store.root / "OME" / "3", "..")
    assert paths(store.root) == ["0", "1"]


def test_labels(new_store: Callable) -> None:
    store = new_store(3).image("", (6, 8), axes="yx")
    store.group("labels", labels=["a", "b", "c"]).image("labels/a", (6, 8), **{"image-label": {}})
    link(store.root / "labels" / "b", "a")
    link(store.root / "labels" / "c", "..")
    link(store.root / "labels" / "d", "a")
    link(store.root / "labels" / "a" / "labels", "..")
    with pytest.warns(LayoutWarning, match="'c', a link to a folder above"):
        images = open_images(store.root)
    assert [(i.path, i.kind) for i in images] == [
        ("", "image"),
        ("labels/a", "labels"),
    ]


@pytest.mark.parametrize("box", [[8, 6, 4], [7, 5, 3]], ids=["whole", "cropped"])
def test_layers_of_webknossos(new_store: Callable, box: list[int]) -> None:
    store = new_store(3).group()
    store.array("color/1", (8, 6, 4))
    link(store.root / "again", "color")
    size = dict(zip(("width", "height", "depth"), box, strict=True))
    layers = [
        {
            "name": name,
            "category": "color",
            "boundingBox": {"topLeft": [0, 0, 0], **size},
            "mags": [{"mag": [1, 1, 1], "path": f"./{name}/1"}],
        }
        for name in ("color", "again")
    ]
    (store.root / "datasource-properties.json").write_text(json.dumps({"dataLayers": layers}))
    assert [i.levels[0].array.shape for i in open_images(store.root)] == [tuple(box)]


def test_xcube_levels(tmp_path: Path) -> None:
    root = tmp_path / "x.levels"
    for k in range(2):
        group = zarr.create_group(root / f"{k}.zarr")
        group.create_array("v", data=np.ones((8 >> k, 8 >> k)), dimension_names=["y", "x"])
        link(root / f"{k}.zarr" / "back", "..")
    (image,) = open_images(root)
    assert [level.path for level in image.levels] == ["0.zarr/v", "1.zarr/v"]


def test_nothing_but_links_is_an_error(new_store: Callable) -> None:
    store = new_store(3).group()
    link(store.root / "back", ".")
    with pytest.raises(LayoutError, match="there is no image"):
        open_images(store.root)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """A server that lists folders and follows links, as most do."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=os.fspath(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_server_that_follows_a_link_to_a_folder_above(new_store: Callable, served: str) -> None:
    store = new_store(3).group().group("g").image("g/a", (6, 8)).image("b", (6, 8))
    link(store.root / "g" / "back", "..")
    assert [image.path for image in open_images(f"{served}/x.zarr")] == ["b", "g/a"]


def test_groups_that_look_alike_one_in_the_other_are_all_shown(new_store: Callable) -> None:
    """In a zip, where nothing tells of links: only what repeats without end is one."""
    store = new_store(3)
    for k in range(4):
        store.group("/".join(["g"] * k)).array("/".join(["g"] * k + ["data"]), (6, 8))
    packed = shutil.make_archive(os.fspath(store.root), "zip", store.root)
    assert paths(Path(packed)) == ["data", "g/data", "g/g/data", "g/g/g/data"]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_consolidated_metadata_of_a_store_with_a_link_to_a_folder_above(
    new_store: Callable, zarr_format: int
) -> None:
    store = new_store(zarr_format).group().group("g").image("g/a", (6, 8))
    link(store.root / "g" / "back", "..")
    link(store.root / "second", "g/a")
    file = store.root / (".zmetadata" if zarr_format == 2 else "zarr.json")
    group = {"zarr_format": 3, "node_type": "group"} if zarr_format == 3 else {}
    file.write_text(json.dumps({**group, "consolidated_metadata": {}, "metadata": {}}))
    refresh_consolidated(store.root)
    found = json.loads(file.read_text())
    listed = found["metadata"] if zarr_format == 2 else found["consolidated_metadata"]["metadata"]
    nodes = {key.rpartition("/.z")[0] if zarr_format == 2 else key for key in listed} - {""}
    assert nodes == {"g", "g/a", "g/a/0", "second", "second/0"}
