"""Builds from and to buckets with the dock widget, with the credentials of the preferences."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from build_dock import click, open_build_dock, settle, wait_for_states
from helpers import plain_mean
from napari.utils.notifications import notification_manager
from servers import s3_client, s3_server, web_server

from napari_pyramid import open_pyramid
from napari_pyramid._napari._unfinished import records_file
from napari_pyramid._napari.widget import BuildPyramid

SECRET = "hush-hush"
PIXELS = np.random.default_rng(0).integers(1, 1000, (40, 41, 43), dtype=np.uint16)


class Lab:
    """The bucket "lab" of an S3 server, to which the preferences have the keys."""

    def __init__(self, endpoint: str) -> None:
        self.client = s3_client(endpoint)
        self.client.create_bucket(Bucket="lab")
        self.options = {
            "endpoint": endpoint,
            "access_key_id": "someone",
            "secret_access_key": SECRET,
        }

    def objects(self) -> list[str]:
        listed = self.client.list_objects_v2(Bucket="lab")
        return [found["Key"] for found in listed.get("Contents", ())]

    def let_all_read(self) -> None:
        allowed = {"Effect": "Allow", "Principal": "*", "Resource": "arn:aws:s3:::lab/*"}
        policy = {"Version": "2012-10-17", "Statement": [{**allowed, "Action": ["s3:GetObject"]}]}
        self.client.put_bucket_policy(Bucket="lab", Policy=json.dumps(policy))

    def upload(self, folder: Path) -> None:
        for file in (f for f in folder.rglob("*") if f.is_file()):
            key = file.relative_to(folder.parent).as_posix()
            self.client.put_object(Bucket="lab", Key=key, Body=file.read_bytes())


@pytest.fixture
def lab(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Lab]:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("napari_pyramid._napari._estimating.is_cheap_to_read", lambda plan: False)
    with s3_server() as endpoint:
        lab = Lab(endpoint)
        settings.remote.storage_options = ", ".join(f"{k}={v}" for k, v in lab.options.items())
        yield lab
        for key in lab.objects():  # all servers of a process share their buckets
            lab.client.delete_object(Bucket="lab", Key=key)
        lab.client.delete_bucket_policy(Bucket="lab")
    notification_manager.records.clear()


def set_fields(widget: BuildPyramid, qtbot: Any, **fields: Any) -> None:
    for name, value in fields.items():
        getattr(widget, name).value = value
        settle(widget, qtbot)


def test_layer_is_built_into_a_bucket(viewer: Any, qtbot: Any, lab: Lab) -> None:
    viewer.add_image(PIXELS, name="cells")
    widget = open_build_dock(viewer)
    settle(widget, qtbot)
    set_fields(widget, qtbot, destination="s3://lab/cells.ome.zarr", n_levels=2)
    assert widget.form.problems().get("destination") is None
    click(widget.build)
    wait_for_states(widget, qtbot, "done")
    built = open_pyramid("s3://lab/cells.ome.zarr", storage_options=lab.options)
    np.testing.assert_array_equal(built[1][:], plain_mean(PIXELS, (2, 2, 2)))
    assert not [key for key in lab.objects() if ".building" in key]
    assert viewer.layers["cells"].multiscale


@pytest.mark.slow
def test_store_in_a_bucket_gets_its_levels_in_place(
    viewer: Any, qtbot: Any, lab: Lab, tmp_path: Path
) -> None:
    zarr.create_group(tmp_path / "x.zarr").create_array("0", data=PIXELS, chunks=(16, 16, 16))
    lab.upload(tmp_path / "x.zarr")
    widget = open_build_dock(viewer)
    settle(widget, qtbot)
    set_fields(widget, qtbot, source="path", path="s3://lab/x.zarr")
    assert widget.place.enabled
    set_fields(widget, qtbot, place="in place", n_levels=2)
    click(widget.build)
    wait_for_states(widget, qtbot, "done")
    built = open_pyramid("s3://lab/x.zarr", storage_options=lab.options)
    np.testing.assert_array_equal(built[1][:], plain_mean(PIXELS, (2, 2, 2)))


def test_image_in_a_bucket_gets_a_free_place_beside_it(
    viewer: Any, qtbot: Any, lab: Lab, tmp_path: Path
) -> None:
    zarr.create_group(tmp_path / "x.ome.zarr").create_array("0", data=PIXELS, chunks=(16, 16, 16))
    lab.upload(tmp_path / "x.ome.zarr")
    widget = open_build_dock(viewer)
    settle(widget, qtbot)
    set_fields(widget, qtbot, source="path", path="s3://lab/x.ome.zarr", n_levels=2)
    assert widget.destination.text == "s3://lab/x_2.ome.zarr"
    click(widget.build)
    wait_for_states(widget, qtbot, "done")
    built = open_pyramid("s3://lab/x_2.ome.zarr", storage_options=lab.options)
    np.testing.assert_array_equal(built[1][:], plain_mean(PIXELS, (2, 2, 2)))


def test_in_place_without_credentials_says_what_is_missing(
    viewer: Any, qtbot: Any, lab: Lab, settings: Any, tmp_path: Path
) -> None:
    store = tmp_path / "x.zarr"
    zarr.create_group(store).create_array("0", data=PIXELS[0], chunks=(41, 43))
    lab.upload(store)
    lab.let_all_read()
    endpoint = lab.options["endpoint"]
    settings.remote.storage_options = f"endpoint={endpoint}, anonymous=true"
    widget = open_build_dock(viewer)
    settle(widget, qtbot)
    set_fields(widget, qtbot, source="path", path="s3://lab/x.zarr")
    assert not widget.place.enabled
    said = widget.form.problems()["place"]
    assert "needs credentials" in said
    assert "Preferences > Image pyramids" in said  # where napari shows the preferences
    assert Path(widget.destination.text).parent == Path.home()
    with web_server(store.parent) as server:
        set_fields(widget, qtbot, path=f"{server.url}/x.zarr/0?signature={SECRET}")
        assert "web server" in widget.form.problems()["place"]
        assert SECRET not in widget.form.problems()["place"]


@pytest.fixture
def stopped(
    viewer: Any, qtbot: Any, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> BuildPyramid:
    """A widget whose build from a bucket to a bucket was stopped after its first tile."""
    from napari_pyramid.build.fill import TileFiller

    zarr.create_group(tmp_path / "s.zarr").create_array("0", data=PIXELS, chunks=(16, 16, 16))
    lab.upload(tmp_path / "s.zarr")
    widget = open_build_dock(viewer)
    settle(widget, qtbot)
    chosen = {"path": "s3://lab/s.zarr", "destination": "s3://lab/x.ome.zarr"}
    set_fields(widget, qtbot, source="path", **chosen, n_levels=2, chunks="16, 16, 16", workers=1)
    fill, filled = TileFiller.fill, []

    def fill_and_cancel(self: TileFiller, number: int) -> Any:
        result = fill(self, number)
        filled.append(number)
        job = widget.queue.job
        if job is not None:
            job.cancel()
        return result

    with monkeypatch.context() as patch:
        patch.setattr(TileFiller, "fill", fill_and_cancel)
        click(widget.build)
        wait_for_states(widget, qtbot, "stopped")
    settle(widget, qtbot)
    assert filled
    return widget


@pytest.mark.slow
def test_unfinished_build_in_a_bucket_is_offered_again(
    stopped: BuildPyramid, viewer: Any, qtbot: Any, lab: Lab
) -> None:
    remembered = records_file().read_text()
    assert "s3://lab/x.ome.zarr" in remembered
    assert SECRET not in remembered
    viewer.window.remove_dock_widget(stopped)
    widget = open_build_dock(viewer)
    settle(widget, qtbot)
    wait_for_states(widget, qtbot, "stopped")
    assert widget.queue_view.rows[0].text.text().startswith("Unfinished")
    click(widget.queue_view.rows[0].buttons["Resume"])
    wait_for_states(widget, qtbot, "done")
    built = open_pyramid("s3://lab/x.ome.zarr", storage_options=lab.options)
    np.testing.assert_array_equal(built[1][:], plain_mean(PIXELS, (2, 2, 2)))
    assert "x.ome.zarr" not in records_file().read_text()


@pytest.mark.slow
def test_discarding_removes_the_unfinished_work_from_the_bucket(
    stopped: BuildPyramid, qtbot: Any, lab: Lab
) -> None:
    assert any("x.ome.zarr" in key for key in lab.objects())
    click(stopped.queue_view.rows[0].buttons["Discard"])
    wait_for_states(stopped, qtbot)
    assert not [key for key in lab.objects() if "x.ome.zarr" in key]
