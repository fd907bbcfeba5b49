"""The preferences of the plugin: each is offered by napari, and each has its effect."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from build_dock import set_fields, settle, show_build_widget
from napari.layers import Layer
from servers import Rules, web_server

from napari_pyramid._napari import _preferences, writer
from napari_pyramid._napari._form import BuildForm
from napari_pyramid._napari._progressive import watch
from napari_pyramid._napari._saving import save_steps
from napari_pyramid._napari.reader import read
from napari_pyramid.arrays import chunked_source
from napari_pyramid.arrays.chunk_cache import ChunkCache, default_budget
from napari_pyramid.errors import LayoutError
from napari_pyramid.layer_image import images_of_layers

LAYER = (np.arange(700 * 650, dtype="u2").reshape(700, 650), {"name": "a"}, "image")


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChunkCache]:
    cache = ChunkCache(1 << 20)
    monkeypatch.setattr(chunked_source, "CACHE", cache)
    return cache


def test_defaults_of_the_manifest_are_those_of_the_functions(settings: Any) -> None:
    found = (
        _preferences.browse_above(),
        _preferences.read_ahead(),
        _preferences.storage_options(),
        _preferences.build_defaults(),
        _preferences.volume_bytes(),
    )
    nothing = SimpleNamespace()  # what a napari without plugin settings has
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari.settings.get_plugin_settings", lambda name: nothing)
        without = (
            _preferences.browse_above(),
            _preferences.read_ahead(),
            _preferences.storage_options(),
            _preferences.build_defaults(),
            _preferences.volume_bytes(),
        )
    assert found == without == (8, 0.25, {}, _preferences.build_defaults(), found[4])


def test_cache_has_the_size_that_is_preferred(settings: Any, cache: ChunkCache) -> None:
    settings.viewing.cache_megabytes = 3
    _preferences.use_cache_size()
    assert cache.budget == 3 * 2**20
    settings.viewing.cache_megabytes = 0
    _preferences.use_cache_size()
    assert cache.budget == default_budget()


def test_a_layer_that_is_not_shown_progressively_uses_the_size_of_the_cache_too(
    settings: Any,
    cache: ChunkCache,
    viewer_of_widget: Any,
    ome_zarr: Callable[..., Path],
) -> None:
    settings.viewing.update({"cache_megabytes": 5, "progressive": False})
    watch(viewer_of_widget)
    (layer,) = read(str(ome_zarr(np.ones((9, 11), "u1"), "yx")))
    viewer_of_widget.add_layer(Layer.create(*layer))
    assert cache.budget == 5 * 2**20


def test_smaller_cache_drops_what_was_not_used_lately() -> None:
    cache = ChunkCache(100)
    for i in range(4):
        cache.put(0, {(i,): np.zeros(20, "u1")})
    cache.get(0, (0,))
    cache.resize(40)
    assert [(i,) for i in range(4) if (0, (i,)) in cache] == [(0,), (3,)]
    assert cache.nbytes <= cache.budget == 40


def test_largest_volume_is_the_preferred_one(settings: Any) -> None:
    settings.viewing.volume_megabytes = 7
    assert _preferences.volume_bytes() == 7 * 2**20


@pytest.mark.parametrize(("percent", "share"), [(0, 0.0), (10, 0.1), (50, 0.5)])
def test_read_ahead_is_a_part_of_the_cache(settings: Any, percent: int, share: float) -> None:
    settings.viewing.read_ahead = percent
    assert _preferences.read_ahead() == share


def test_saved_layers_have_codec_and_format(settings: Any, tmp_path: Path) -> None:
    settings.building.codec, settings.building.format = "gzip-5", "0.4"
    writer.write_layers(str(tmp_path / "a.zarr"), [LAYER])
    array = json.loads((tmp_path / "a.zarr" / "0" / ".zarray").read_text())
    assert array["compressor"] == {"id": "gzip", "level": 5}
    group = json.loads((tmp_path / "a.zarr" / ".zattrs").read_text())
    assert group["multiscales"][0]["version"] == "0.4"


def test_saved_series_have_the_format(settings: Any, tmp_path: Path) -> None:
    settings.building.format = "0.4"
    other = (LAYER[0][:99], {"name": "b"}, "image")
    writer.write_layers(str(tmp_path / "a.zarr"), [LAYER, other])
    assert json.loads((tmp_path / "a.zarr" / ".zattrs").read_text()) == {"bioformats2raw.layout": 3}


def test_saving_uses_the_threads(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.building.workers = 3
    given: list[Any] = []
    from napari_pyramid._napari import _saving

    plan = _saving.plan_build
    monkeypatch.setattr(
        _saving, "plan_build", lambda *a, **k: given.append(k["max_workers"]) or plan(*a, **k)
    )
    list(save_steps(tmp_path / "a.zarr", images_of_layers([LAYER]), _preferences.build_defaults()))
    assert given == [3]


def test_urls_are_opened_with_the_storage_options(
    settings: Any, tmp_path: Path, ome_zarr: Callable[..., Path]
) -> None:
    import napari.viewer  # noqa: F401  # preferences are read if napari is there

    path = ome_zarr(np.ones((9, 11), "u1"), "yx", name="secret.zarr")
    with web_server(path.parent, Rules(basic="Bearer 7")) as server:
        with pytest.raises(LayoutError, match="401"):
            read(f"{server.url}/secret.zarr")
        settings.remote.storage_options = (
            "headers.Authorization=Bearer 7, retries=1, access_key_id=me, endpoint=http://minio"
        )
        (layer,) = read(f"{server.url}/secret.zarr")
    assert layer[0][0].shape == (9, 11)


@pytest.mark.parametrize(
    ("url", "fitting"),
    [
        ("s3://box/x.zarr", "key region retries"),
        ("gs://box/x.zarr", "service_account retries"),
        ("abfs://box/x.zarr", "account_key retries"),
        ("https://host/x.zarr", "retries"),
        ("zarr://https://host/x.zarr", "retries"),
        ("https://viewer.org/?source=s3://box/x.zarr", "key region retries"),
        ("/a/path", None),
    ],
)
def test_a_url_gets_the_options_of_its_scheme(settings: Any, url: str, fitting: str) -> None:
    names = "key, region, retries, service_account, account_key"
    settings.remote.storage_options = ", ".join(f"{name}=1" for name in names.split(", "))
    found = _preferences.options_for(url)
    assert found == (None if fitting is None else dict.fromkeys(fitting.split(), "1"))


def test_the_form_starts_from_the_preferences(settings: Any, qapp: Any) -> None:
    settings.building.codec, settings.building.format = "gzip-5", "0.4"
    settings.building.workers = 3
    form = BuildForm()
    choice, _ = form.choice()
    assert (choice.codec, choice.format, choice.workers) == ("gzip-5", "0.4", 3)
    assert form.codec.native.currentText() == "auto (gzip-5)"
    form.codec.value = "none"
    assert form.choice()[0].codec == "none"


@pytest.mark.usefixtures("nothing_is_measured")
def test_an_open_form_follows_the_preferences_where_nothing_was_chosen(
    settings: Any, viewer_of_widget: Any, qtbot: Any
) -> None:
    viewer_of_widget.add_image(LAYER[0])
    widget = show_build_widget(viewer_of_widget, qtbot)
    set_fields(widget, qtbot, workers=2)
    settings.building.update({"codec": "gzip-5", "format": "0.4", "workers": 99})
    settle(widget, qtbot)
    [plan] = widget.chooser.planned.plans
    assert (plan.choice.codec, plan.choice.format, plan.choice.workers) == ("gzip-5", "0.4", 2)
    assert widget.codec.native.currentText() == "auto (gzip-5)"
    widget.workers.value = 99
    settings.building.workers = 0  # so 99 is the preferred number no more, and not offered
    assert widget.workers.value == 0
    widget.codec.value = "none"
    settings.building.codec = "zstd-9"
    assert widget.form.choice()[0].codec == "none"


def test_preferred_codec_is_not_for_levels_beside_others(settings: Any, qapp: Any) -> None:
    settings.building.codec = "gzip-5"
    form = BuildForm()
    form.place.value = "in place"
    assert form.choice()[0].codec is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        (" anonymous = true ", {"anonymous": "true"}),
        ("a=1,b=x=y,\nc=", {"a": "1", "b": "x=y", "c": ""}),
    ],
)
def test_options_are_names_and_values(text: str, expected: dict[str, str]) -> None:
    assert _preferences.parse_options(text) == expected


@pytest.mark.parametrize("text", ["anonymous", "=1", "a=1, b"])
def test_option_without_a_value_raises(text: str) -> None:
    with pytest.raises(LayoutError, match="not of the form name=value"):
        _preferences.parse_options(text)
