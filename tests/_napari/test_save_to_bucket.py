"""Saving layers to a bucket: a URL given to napari, or typed into its file dialog."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtWidgets import QFileDialog, QLineEdit
from servers import s3_client, s3_server

from napari_pyramid import DestinationError, open_pyramid
from napari_pyramid._napari._saving import destination, save_steps
from napari_pyramid._napari.writer import write_layers
from napari_pyramid.layer_image import images_of_layers

PIXELS = np.random.default_rng(0).integers(0, 200, (40, 600)).astype("u2")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A client of a server that holds the empty bucket "lab", with credentials by environment."""
    with s3_server() as endpoint:
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        client = s3_client(endpoint)
        client.create_bucket(Bucket="lab")
        yield client
        for key in keys(client):  # all servers of a process share their buckets
            client.delete_object(Bucket="lab", Key=key)


def keys(client: Any) -> list[str]:
    return [found["Key"] for found in client.list_objects_v2(Bucket="lab").get("Contents", ())]


def test_layers_are_saved_to_a_url(viewer: Any, bucket: Any) -> None:
    viewer.add_image(PIXELS, name="cells")
    viewer.add_labels((PIXELS > 100).astype("u1"), name="nuclei")
    written = viewer.layers.save("s3://lab/cells.ome.zarr", plugin="napari-pyramid")
    assert written == ["s3://lab/cells.ome.zarr"]
    saved = open_pyramid("s3://lab/cells.ome.zarr")
    assert np.array_equal(saved[0][:], PIXELS)
    assert len(saved) == 2
    assert open_pyramid("s3://lab/cells.ome.zarr/labels/nuclei").kind == "labels"
    assert not [key for key in keys(bucket) if ".building" in key]


@pytest.mark.parametrize("scheme", ["s3", "s3a", "S3"])
def test_a_url_typed_into_the_file_dialog_is_one(qapp: Any, tmp_path: Path, scheme: str) -> None:
    """Qt puts the folder that it shows before the text."""
    dialog = QFileDialog(None, "save", str(tmp_path))
    dialog.setOption(QFileDialog.Option.DontUseNativeDialog, True)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setFileMode(QFileDialog.FileMode.AnyFile)
    edit = dialog.findChild(QLineEdit)
    assert edit is not None
    edit.setText(f"{scheme}://lab/deep/cells")
    chosen = dialog.selectedFiles()[0]
    dialog.deleteLater()
    assert chosen != f"{scheme}://lab/deep/cells"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_pyramid.storage.folder.Folder.exists", lambda _: False)
        assert str(destination(chosen)) == "s3://lab/deep/cells.ome.zarr"


@pytest.mark.slow
def test_several_images_become_a_series_in_a_bucket(bucket: Any) -> None:
    layers = [(PIXELS, {"name": name}, "image") for name in ("a", "b")]
    write_layers("s3://lab/both.zarr", layers)
    for name in ("0", "1"):
        assert np.array_equal(open_pyramid(f"s3://lab/both.zarr/{name}")[0][:], PIXELS)
    assert "both.zarr/OME/zarr.json" in keys(bucket)


@pytest.mark.slow
def test_a_save_that_is_stopped_leaves_nothing_in_the_bucket(bucket: Any) -> None:
    layers = [(PIXELS, {"name": name}, "image") for name in ("a", "b")]
    steps = save_steps(destination("s3://lab/both.zarr"), images_of_layers(layers))
    for _ in steps:
        if any("both.zarr/0/zarr.json" in key for key in keys(bucket)):
            break
    steps.close()
    assert keys(bucket) == []


def test_an_existing_store_is_not_replaced(bucket: Any) -> None:
    bucket.put_object(Bucket="lab", Key="x.zarr/zarr.json", Body=b"{}")
    with pytest.raises(DestinationError, match=r"s3://lab/x\.zarr exists"):
        write_layers("s3://lab/x.zarr", [(PIXELS, {}, "image")])
