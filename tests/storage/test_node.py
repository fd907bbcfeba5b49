"""Nodes of zarr v2 and v3: what they say, what they refuse, what they survive."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_pyramid.errors import LayoutError, LayoutNotice, LayoutWarning
from napari_pyramid.storage.layout_warnings import collected_warnings, warn
from napari_pyramid.storage.paths import natural_key
from napari_pyramid.storage.stores import open_root


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_group_and_array_of_both_formats(new_store: Callable, zarr_format: int) -> None:
    store = new_store(zarr_format).group(raw={"name": "x"})
    values = store.array("a/b", (3, 5))
    root = open_root(store.root)
    assert (root.path, root.kind, root.zarr_format, root.attributes) == (
        "",
        "group",
        zarr_format,
        {"name": "x"},
    )
    array = root.child("a/b")
    assert (array.path, array.name, array.kind, array.shape) == ("a/b", "b", "array", (3, 5))
    assert array.location == f"{store.root}/a/b"
    np.testing.assert_array_equal(array.array()[...], values)


def test_v3_goes_before_v2_beside_it(new_store: Callable) -> None:
    new_store(2).group(raw={"from": 2})
    store = new_store(3).group(raw={"from": 3})
    assert open_root(store.root).attributes == {"from": 3}


def test_children_are_in_natural_order(new_store: Callable) -> None:
    store = new_store(2).group()
    for name in ("s10", "s9", "s1", "a", "S2"):
        store.array(name, (2, 2))
    assert open_root(store.root).child_names() == ("S2", "a", "s1", "s9", "s10")


def test_natural_order_compares_texts_with_numbers() -> None:
    assert sorted(["10", "9", "a1", "1a", "²"], key=natural_key) == ["1a", "9", "10", "a1", "²"]


def test_chunk_directories_are_no_children(new_store: Callable) -> None:
    store = new_store(2).group()
    store.array("a", (4, 4), chunks=(2, 2), chunk_key_encoding={"name": "v2", "separator": "/"})
    assert (store.root / "a" / "0").is_dir()
    assert open_root(store.root).child("a").children() == ()


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "..",
        "../x",
        "a/../../x",
        "/etc",
        "C:/x",
        "https://host/x",
        "a\\b",
        "a\0b",
        3,
        None,
        ["a"],
    ],
)
def test_paths_that_leave_the_store_are_refused(new_store: Callable, path: object) -> None:
    with pytest.raises(LayoutError, match="not a path inside the store"):
        open_root(new_store(2).group().root).child(path)


def test_missing_child_is_none(new_store: Callable) -> None:
    assert open_root(new_store(2).group().root).child("a/b") is None


@pytest.mark.parametrize(
    "content",
    ['{"shape": [', "[1, 2]", "\0", '{"a":' * 100_000],
    ids=["truncated", "list", "binary", "deep"],
)
def test_unreadable_child_is_none_with_a_warning_that_names_the_file(
    new_store: Callable, content: str
) -> None:
    store = new_store(2).group()
    (store.root / "a").mkdir()
    (store.root / "a" / ".zarray").write_text(content)
    with pytest.warns(LayoutWarning, match=r"a/\.zarray"):
        assert open_root(store.root).child("a") is None


def test_collected_warnings_are_reported_to_nobody_else() -> None:
    with collected_warnings() as outer:
        warn("one")
        with collected_warnings() as inner:
            warn("two", LayoutNotice)
        warn("three")
    assert [(type(w), str(w)) for w in outer] == [(LayoutWarning, "one"), (LayoutWarning, "three")]
    assert [(type(w), str(w)) for w in inner] == [(LayoutNotice, "two")]
    with pytest.warns(LayoutWarning, match="four"):
        warn("four")


def test_warnings_of_other_threads_are_not_collected() -> None:
    with (
        ThreadPoolExecutor(1) as other,
        collected_warnings() as warned,
        pytest.warns(LayoutWarning, match="elsewhere"),
    ):
        other.submit(warn, "elsewhere").result()
    assert warned == []


def test_unreadable_root_is_an_error_that_names_the_file(new_store: Callable) -> None:
    store = new_store(3).group()
    (store.root / "zarr.json").write_text("{")
    with pytest.raises(LayoutError, match=r"zarr\.json cannot be read"):
        open_root(store.root)


@pytest.mark.parametrize("attributes", [[1], "text", 7])
def test_attributes_that_are_no_object_are_ignored_with_a_warning(
    new_store: Callable, attributes: object
) -> None:
    root = open_root(new_store(2).group(raw=attributes).root)
    with pytest.warns(LayoutWarning, match=r"\.zattrs"):
        assert root.attributes == {}


def test_unknown_codec_is_an_error_that_names_it(new_store: Callable) -> None:
    store = new_store(2).group()
    store.array("a", (4, 4))
    file = store.root / "a" / ".zarray"
    file.write_text(json.dumps({**json.loads(file.read_text()), "compressor": {"id": "nonesuch"}}))
    with pytest.raises(LayoutError, match=r"a/\.zarray.*nonesuch"):
        open_root(store.root).child("a").array()


def test_nested_chunks_without_dimension_separator(new_store: Callable) -> None:
    """NestedDirectoryStore before zarr-python 2.8 wrote "0/0" and did not say so.

    Read with "." all is fill.
    """
    store = new_store(2).group()
    values = store.array(
        "a", (4, 6), chunks=(2, 3), chunk_key_encoding={"name": "v2", "separator": "/"}
    )
    file = store.root / "a" / ".zarray"
    metadata = json.loads(file.read_text())
    del metadata["dimension_separator"]
    file.write_text(json.dumps(metadata))
    np.testing.assert_array_equal(open_root(store.root).child("a").array()[...], values)


def test_flat_chunks_without_dimension_separator(new_store: Callable) -> None:
    store = new_store(2).group()
    values = store.array("a", (4, 6), chunks=(2, 3))
    file = store.root / "a" / ".zarray"
    metadata = json.loads(file.read_text())
    metadata.pop("dimension_separator", None)
    file.write_text(json.dumps(metadata))
    np.testing.assert_array_equal(open_root(store.root).child("a").array()[...], values)


def test_dimension_names_of_v3_and_of_xarray(new_store: Callable) -> None:
    v3, v2 = new_store(3, "v3.zarr").group(), new_store(2, "v2.zarr").group()
    v3.array("a", (2, 3), dimension_names=("y", "x"))
    v2.array("a", (2, 3), attributes={"_ARRAY_DIMENSIONS": ["y", "x"]})
    v2.array("b", (2, 3), attributes={"_ARRAY_DIMENSIONS": ["y"]})
    assert open_root(v3.root).child("a").dimension_names == ("y", "x")
    assert open_root(v2.root).child("a").dimension_names == ("y", "x")
    assert open_root(v2.root).child("b").dimension_names is None


def test_read_bytes_stays_inside(new_store: Callable, tmp_path: Path) -> None:
    root = open_root(new_store(2).group().root)
    (tmp_path / "secret").write_text("s")
    (tmp_path / "x.zarr" / "note.xml").write_text("<a/>")
    assert root.read_bytes("note.xml") == b"<a/>"
    assert root.read_bytes("missing.xml") is None
    with pytest.raises(LayoutError):
        root.read_bytes("../secret")


def test_stale_consolidated_metadata_are_not_trusted(new_store: Callable) -> None:
    store = new_store(2).group()
    store.array("a", (2, 2))
    store.array("b", (2, 2))
    zarr.consolidate_metadata(store.root, zarr_format=2)
    for file in (store.root / "b").iterdir():
        file.unlink()
    assert open_root(store.root).child_names() == ("a",)
    assert open_root(store.root).child("b") is None


def test_shape_of_an_array_is_known_without_opening_it(new_store: Callable) -> None:
    store = new_store(2).group()
    store.array("a", (4, 4))
    file = store.root / "a" / ".zarray"
    file.write_text(
        json.dumps(
            {
                **json.loads(file.read_text()),
                "shape": [10**12, 10**12],
                "compressor": {"id": "nonesuch"},
            }
        )
    )
    assert open_root(store.root).child("a").shape == (10**12, 10**12)
