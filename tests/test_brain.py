"""The brain that comes with the package: conforming, complete, and with its notice."""

from __future__ import annotations

import json
import zipfile
from importlib.metadata import distribution
from importlib.resources import files

import yaozarrs

from napari_pyramid import open_pyramid

BRAIN = str(files("napari_pyramid") / "data" / "brain.ozx")


def test_it_is_a_zip_as_rfc_9_wants_it() -> None:
    """ome/ngff RFC-9: not compressed, and the comment says that zarr.json files come first.

    The root's zarr.json is first, and all others are before any chunk.
    """
    with zipfile.ZipFile(BRAIN) as archive:
        names = archive.namelist()
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert json.loads(archive.comment)["ome"] == {
            "version": "0.5",
            "zipFile": {"centralDirectory": {"jsonFirst": True}},
        }
    assert names[0] == "zarr.json"
    is_json = [name.endswith("zarr.json") for name in names]
    assert is_json == sorted(is_json, reverse=True)


def test_its_metadata_are_valid_to_another_program() -> None:
    with zipfile.ZipFile(BRAIN) as archive:
        ome = json.loads(archive.read("zarr.json"))["attributes"]["ome"]
    image = yaozarrs.validate_ome_object(ome)
    assert [axis.unit for axis in image.multiscales[0].axes] == ["millimeter"] * 3


def test_it_is_the_volume_of_the_template() -> None:
    """197 x 233 x 189 voxels of 1 mm in the NIfTI file, which stores x, y, z."""
    brain = open_pyramid(BRAIN)
    assert [level.shape for level in brain] == [(189, 233, 197), (95, 117, 99), (48, 59, 50)]
    assert brain.scale == (1.0, 1.0, 1.0)


def test_its_notice_travels_with_it() -> None:
    notice = (files("napari_pyramid") / "data" / "brain.LICENSE.txt").read_text()
    assert "Louis Collins, McConnell Brain Imaging Centre" in notice
    assert "above copyright notice appear in all copies" in " ".join(notice.split())
    licences = distribution("napari-pyramid").metadata.get_all("License-File") or []
    assert any(name.endswith("brain.LICENSE.txt") for name in licences)
