"""The manifest: valid, complete, and offered where it should be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from npe2 import PluginManager, PluginManifest

import napari_pyramid
from napari_pyramid._napari.reader import get_reader
from napari_pyramid.layouts import LAYOUTS, SPECIAL_OPENERS

KNOWN = (*SPECIAL_OPENERS, *LAYOUTS)
PACKAGE = Path(napari_pyramid.__file__).parent
TOP = Path(__file__).parents[2]


@pytest.fixture
def manifest() -> PluginManifest:
    return PluginManifest.from_distribution("napari-pyramid")


@pytest.fixture
def plugins(manifest: PluginManifest) -> PluginManager:
    manager = PluginManager()
    manager.register(manifest)
    return manager


def test_npe2_says_valid() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "npe2", "validate", "napari-pyramid"],
        check=True,
        capture_output=True,
    )
    assert b"valid" in done.stdout + done.stderr


def test_every_command_can_be_imported(manifest: PluginManifest, qapp: Any) -> None:
    manifest.validate_imports()


def test_top_of_the_repository_has_the_same_manifest() -> None:
    top = TOP / "napari.yaml"
    found = top.read_text(encoding="utf-8")
    if "\n" not in found:  # git without links, as on Windows, writes where the link leads
        found = (TOP / found).read_text(encoding="utf-8")
    assert found == (PACKAGE / "napari.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path",
    [
        "a.ozx",
        "a.zarr.zip",
        "a.ome.ZARR.zip",
        "https://host/a.ome.zarr",
        "https://host/a.zarr/",
        "https://host/a.ome.zarr?signature=1",
        "s3://bucket/a.zarr",
        "https://host/a.n5",
        "folder/a.zarr/zarr.json",
        "folder/a.zarr/.zattrs",
        "folder/a.n5/attributes.json",
        "slide.svs",
        "slide.ome.tiff",
        "https://host/a.zarr/A/1/0",
        "https://host/a.zarr/recon-1/em/fibsem-uint8",
        "https://host/a.n5/em/s",
        "https://host/zarr/1b7e8e3a-9ea5-4b0f-8f2b-6f3f0d5a8e61/",
        "https://host/zarr/1b7e8e3a-9ea5-4b0f-8f2b-6f3f0d5a8e61",
        "https://host/data/fafb_v14_clahe",
        "https://host/v0.5/96x0",
        "https://host/a (b) c.zarr/0",
        "https://host/cells?sig=1",
        "https://host/a.ozx?sig=1",
        "https://host/cog.tif",
        "s3://bucket/path/to/x",
        "gs://h01-release/data/20210601/c3",
        "az://container/x",
        "precomputed://gs://bucket/em",
        "zarr://https://host/x",
        "n5://s3://bucket/x",
        "https://host/x/|zarr3:",
        "https://hms-dbmi.github.io/vizarr/?source=https://host/a.zarr",
        "https://ome.github.io/ome-ngff-validator/?source=https://host/a.zarr",
        "https://neuroglancer-demo.appspot.com/#!%7B%22layers%22%3A%5B%5D%7D",
    ],
)
def test_reader_is_offered(plugins: PluginManager, path: str) -> None:
    assert [r.command for r in plugins.iter_compatible_readers(path)] == ["napari-pyramid.read"]


@pytest.mark.parametrize("pattern", ["*.zarr*", "*.zarr/", "*.n5*", "*.levels*"])
def test_preferences_offer_the_reader_for_a_pattern(plugins: PluginManager, pattern: str) -> None:
    """Preferences > Plugins offers readers that match what is typed, as if it were a path."""
    offered = plugins.iter_compatible_readers(pattern)
    assert "napari-pyramid.read" in [reader.command for reader in offered]


@pytest.mark.parametrize(
    "path",
    [
        "a.tif",
        "a.png",
        "a.zip",
        "package.json",
        "a.csv",
        "https://host/a.png",
        "https://host/folder.zarr.d/a.csv",
        "https://host/page.html",
        "https://host/v1/a.npy",
    ],
)
def test_reader_stays_out_of_the_way(plugins: PluginManager, path: str) -> None:
    """napari asks the user wherever two readers are offered."""
    assert list(plugins.iter_compatible_readers(path)) == []


@pytest.mark.parametrize("suffix", [s for x in KNOWN for s in getattr(x, "SUFFIXES", ())])
def test_suffix_of_a_layout_is_offered(plugins: PluginManager, suffix: str) -> None:
    for path in (f"a{suffix}", f"https://host/a{suffix}"):
        assert [r.command for r in plugins.iter_compatible_readers(path)] == ["napari-pyramid.read"]


@pytest.mark.parametrize("name", [name for x in KNOWN for name in getattr(x, "FILES", ())])
def test_folder_with_a_file_of_a_layout_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}")
    assert get_reader(str(tmp_path)) is not None
    assert get_reader(str(tmp_path / name)) is not None


def test_folder_is_offered(plugins: PluginManager, tmp_path: Path) -> None:
    assert [r.command for r in plugins.iter_compatible_readers(str(tmp_path))] == [
        "napari-pyramid.read"
    ]


@pytest.mark.parametrize(
    "layers",
    [["image"], ["labels"], ["image", "image"], ["image", "labels"], ["labels", "labels", "image"]],
)
@pytest.mark.parametrize("name", ["a.ome.zarr", "a.zarr"])
def test_writer_is_offered_once(plugins: PluginManager, layers: list[str], name: str) -> None:
    assert [w.command for w in plugins.iter_compatible_writers(layers)] == [
        "napari-pyramid.write_layers"
    ]
    writer, path = plugins.get_writer(name, layers)
    assert writer is not None
    assert (writer.command, path) == ("napari-pyramid.write_layers", name)


@pytest.mark.parametrize("layers", [["points"], ["image", "shapes"]])
def test_other_layers_are_not_promised(plugins: PluginManager, layers: list[str]) -> None:
    assert plugins.get_writer("a.zarr", layers)[0] is None
