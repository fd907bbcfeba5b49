"""OME-Zarr images of every version, with metadata as in the specification of the version."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_pyramid.axes import Axis
from napari_pyramid.errors import LayoutError, LayoutWarning
from napari_pyramid.image import Channel, Image
from napari_pyramid.layouts import open_images

YX = [
    {"name": "y", "type": "space", "unit": "micrometer"},
    {"name": "x", "type": "space", "unit": "micrometer"},
]


def scaled(
    path: str, *scale: float, translation: tuple[float, ...] | None = None
) -> dict[str, Any]:
    more = [{"type": "translation", "translation": list(translation)}] if translation else []
    return {
        "path": path,
        "coordinateTransformations": [{"type": "scale", "scale": list(scale)}, *more],
    }


def only(path: Path) -> Image:
    (image,) = open_images(path)
    return image


def shapes(image: Image) -> list[tuple[int, ...]]:
    return [level.array.shape for level in image.levels]


@pytest.mark.parametrize("version", ["0.1", "0.2", None])
def test_axes_of_0_1_and_0_2_are_tczyx_for_five_axes(
    new_store: Callable, version: str | None
) -> None:
    store = new_store(2)
    values = store.array("0", (1, 2, 3, 6, 8))
    store.array("1", (1, 2, 3, 3, 4))
    stated = {} if version is None else {"version": version}
    store.group(
        multiscales=[{**stated, "name": "demo", "datasets": [{"path": "0"}, {"path": "1"}]}]
    )
    image = only(store.root)
    assert [a.name for a in image.axes] == list("tczyx")
    assert image.channel_axis == 1
    assert (image.name, image.levels[0].scale) == ("demo", None)
    np.testing.assert_array_equal(image.levels[0].array[...], values)


def test_axes_of_0_3_are_names(new_store: Callable) -> None:
    store = new_store(2)
    store.array("0", (2, 6, 8))
    store.group(
        multiscales=[{"version": "0.3", "axes": ["c", "y", "x"], "datasets": [{"path": "0"}]}]
    )
    image = only(store.root)
    assert image.axes == (Axis("c", "channel"), Axis("y"), Axis("x"))
    assert (image.layout, image.ome_version, image.is_writable) == ("OME-Zarr 0.3", "0.3", True)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_scale_translation_and_units_of_0_4_and_0_5(new_store: Callable, zarr_format: int) -> None:
    store = new_store(zarr_format)
    for k, shape in enumerate([(6, 8), (3, 4)]):
        store.array(f"s{k}", shape)
    datasets = [
        scaled("s0", 0.5, 0.25, translation=(10, 20)),
        scaled("s1", 1, 0.5, translation=(10.25, 20.125)),
    ]
    described = {"name": "n", "axes": YX, "datasets": datasets}
    if zarr_format == 2:
        store.group(multiscales=[{"version": "0.4", **described}])
    else:
        store.group(version="0.5", multiscales=[described])
    image = only(store.root)
    assert [(level.path, level.scale, level.translation) for level in image.levels] == [
        ("s0", (0.5, 0.25), (10, 20)),
        ("s1", (1, 0.5), (10.25, 20.125)),
    ]
    assert image.axes == (Axis("y", "space", "micrometer"), Axis("x", "space", "micrometer"))


def test_transforms_of_the_multiscale_come_after_those_of_the_level(new_store: Callable) -> None:
    """0.4: "applied after them": scale = S_m * S_d, translation = S_m * T_d + T_m."""
    store = new_store(2)
    store.array("0", (6, 8))
    outer = [{"type": "scale", "scale": [10, 100]}, {"type": "translation", "translation": [1, 2]}]
    store.group(
        multiscales=[
            {
                "version": "0.4",
                "axes": YX,
                "datasets": [scaled("0", 2, 3, translation=(5, 7))],
                "coordinateTransformations": outer,
            }
        ]
    )
    (level,) = only(store.root).levels
    assert (level.scale, level.translation) == ((20, 300), (51, 702))


def test_affine_of_the_multiscale_is_the_images_affine_without_the_channel(
    new_store: Callable,
) -> None:
    store = new_store(2)
    store.array("0", (2, 6, 8))
    axes = [{"name": "c", "type": "channel"}, *YX]
    affine = {"type": "affine", "affine": [[1, 0, 0, 0], [0, 1, 0.5, 3], [0, 0, 1, 4]]}
    store.group(
        multiscales=[
            {
                "axes": axes,
                "datasets": [scaled("0", 1, 2, 2)],
                "coordinateTransformations": [affine],
            }
        ]
    )
    image = only(store.root)
    np.testing.assert_array_equal(image.affine, [[1, 0.5, 3], [0, 1, 4], [0, 0, 1]])
    assert image.levels[0].scale == (1, 2, 2)


def test_of_several_coordinate_systems_of_spatialdata_the_global_one_is_shown(
    new_store: Callable,
) -> None:
    store = new_store(3)
    store.array("0", (6, 8))
    to = [
        {"type": "scale", "scale": [f, f], "input": {"name": "yx"}, "output": {"name": name}}
        for name, f in (("aligned", 7), ("global", 0.5))
    ]
    store.group(
        version="0.5-dev-spatialdata",
        multiscales=[
            {"axes": YX, "datasets": [scaled("0", 1, 1)], "coordinateTransformations": to}
        ],
    )
    assert only(store.root).levels[0].scale == (0.5, 0.5)


@pytest.mark.parametrize("names", ["objects", "strings"])
def test_0_6_shows_the_system_that_levels_lead_to(new_store: Callable, names: str) -> None:
    """0.6: the intrinsic system; transforms of the multiscale lead to others.

    Up to 0.6.dev3 systems were plain strings.
    """
    store = new_store(3)
    store.array("0", (6, 8))

    def system(name: str) -> Any:
        return {"name": name} if names == "objects" else name

    inner = {"type": "sequence", "input": {"path": "0"}, "output": system("physical"), "transformations": [
        {"type": "scale", "scale": [2, 3]}, {"type": "translation", "translation": [5, 7]}]}  # fmt: skip
    outer = {
        "type": "scale",
        "scale": [10, 10],
        "input": system("physical"),
        "output": system("world"),
    }
    systems = [
        {"name": "world", "axes": [{"name": "a"}, {"name": "b"}]},
        {"name": "physical", "axes": YX},
    ]
    multiscale = {
        "coordinateSystems": systems,
        "datasets": [{"path": "0", "coordinateTransformations": [inner]}],
        "coordinateTransformations": [outer],
    }
    store.group(version="0.6", multiscales=[multiscale])
    image = only(store.root)
    assert [a.name for a in image.axes] == ["y", "x"]
    assert (image.levels[0].scale, image.levels[0].translation) == ((2, 3), (5, 7))
    assert image.metadata["coordinateTransformations"] == [outer]


def test_ome_goes_before_a_copy_beside_it(new_store: Callable) -> None:
    """stack-to-chunk writes both."""
    store = new_store(3)
    store.array("0", (6, 8))
    multiscales = [{"axes": YX, "datasets": [scaled("0", 1, 1)]}]
    store.group(
        raw={
            "ome": {"version": "0.5", "multiscales": multiscales},
            "multiscales": [{**multiscales[0], "name": "copy"}],
        }
    )
    assert only(store.root).name == "x"


def test_multiscales_of_0_4_in_a_v3_group(new_store: Callable) -> None:
    store = new_store(3)
    store.array("0", (6, 8))
    store.group(
        raw={"multiscales": [{"version": "0.4", "axes": YX, "datasets": [scaled("0", 1, 2)]}]}
    )
    with pytest.warns(LayoutWarning, match=r"'0\.4' .* zarr v3"):
        assert only(store.root).levels[0].scale == (1, 2)


def test_upper_case_axes_and_untyped_ones(new_store: Callable) -> None:
    store = new_store(2)
    store.array("0", (2, 3, 6, 8))
    axes = [
        {"name": "C", "type": "channel"},
        {"name": "angle", "type": "custom"},
        {"name": "Y"},
        {"name": "X", "unit": None},
    ]
    store.group(
        multiscales=[{"version": "0.4", "axes": axes, "datasets": [scaled("0", 1, 1, 1, 1)]}]
    )
    image = only(store.root)
    assert image.channel_axis == 0
    assert [a.type for a in image.axes] == ["channel", "custom", "space", "space"]


def test_samples_last_are_rgb_unless_channels_have_names(new_store: Callable) -> None:
    axes = [*YX, {"name": "S", "type": "channel"}]
    for name, omero in (
        ("a.zarr", {}),
        ("b.zarr", {"omero": {"channels": [{"label": n} for n in "rgb"]}}),
    ):
        store = new_store(3, name)
        store.array("0", np.zeros((6, 8, 3), np.uint8))
        store.group(
            version="0.5", multiscales=[{"axes": axes, "datasets": [scaled("0", 1, 1, 1)]}], **omero
        )
    assert only(store.root.parent / "a.zarr").rgb
    assert not only(store.root).rgb
    assert only(store.root).channel_axis == 2


def test_name_is_the_multiscales_or_the_files(new_store: Callable) -> None:
    for name, stored, expected in (
        ("a.ome.zarr", {}, "a"),
        ("b.zarr", {"name": "/"}, "b"),
        ("c.zarr", {"name": "/images/he"}, "he"),
        ("d.zarr", {"name": "d 1"}, "d 1"),
    ):
        assert only(new_store(2, name).image("", (6, 8), **stored).root).name == expected


# --- what is wrong is replaced or left out, and reported


def broken(new_store: Callable, **changes: Any) -> Path:
    store = new_store(2)
    for k in range(3):
        store.array(str(k), (32 >> k, 48 >> k))
    multiscale = {
        "version": "0.4",
        "axes": YX,
        "datasets": [scaled(str(k), 2.0**k, 2.0**k) for k in range(3)],
        **changes,
    }
    return store.group(multiscales=[multiscale]).root


@pytest.mark.parametrize(
    ("datasets", "kept", "message"),
    [
        pytest.param(
            [scaled("0", 1, 1), scaled("gone", 2, 2), scaled("2", 4, 4)],
            ["0", "2"],
            "'gone' is left out",
            id="missing",
        ),
        pytest.param(
            [scaled("../x", 1, 1), scaled("1", 2, 2)], ["1"], r"'\.\./x' is left out", id="outside"
        ),
        pytest.param(
            [scaled(".", 1, 1), scaled("2", 4, 4)], ["2"], r"'\.' is left out", id="itself"
        ),
        pytest.param(
            [scaled("2", 4, 4), scaled("1", 2, 2), scaled("0", 1, 1)],
            ["0", "1", "2"],
            "order of levels is smallest first",
            id="reversed",
        ),
        pytest.param(
            [scaled("1", 2, 2), scaled("0", 1, 1), scaled("2", 4, 4)],
            ["0", "1", "2"],
            "order of levels",
            id="shuffled",
        ),
        pytest.param(
            [scaled("0", 1, 1), scaled("0", 2, 2), scaled("1", 2, 2)],
            ["0", "1"],
            "not smaller",
            id="twice",
        ),
        pytest.param(
            [{**scaled("0", 1, 1), "path": 0}, scaled("1", 2, 2)],
            ["0", "1"],
            "path of a dataset is the number 0",
            id="number",
        ),
    ],
)
def test_levels_that_cannot_be_used(
    new_store: Callable, datasets: list[Any], kept: list[str], message: str
) -> None:
    path = broken(new_store, datasets=datasets)
    with pytest.warns(LayoutWarning, match=message):
        image = only(path)
    assert [level.path for level in image.levels] == kept


def test_datasets_as_plain_strings(new_store: Callable) -> None:
    """fibsem-tools wrote them so."""
    assert [level.path for level in only(broken(new_store, datasets=["0", "1"])).levels] == [
        "0",
        "1",
    ]


def test_levels_of_another_type_rank_or_of_no_size_are_left_out(new_store: Callable) -> None:
    store = new_store(2)
    store.array("0", (6, 8))
    store.array("1", np.zeros((3, 4), np.float32))
    store.array("2", (1, 3, 4))
    store.array("3", np.zeros((0, 4), np.uint16))
    store.group("4")
    store.array("5", (2, 3))
    store.group(multiscales=[{"axes": YX, "datasets": [{"path": str(k)} for k in range(6)]}])
    with pytest.warns(LayoutWarning) as warned:
        image = only(store.root)
    assert [level.path for level in image.levels] == ["0", "5"]
    reasons = ["dtype is float32", "has 3 axes", r"shape is (0, 4)", "is a group"]
    assert all(any(reason in str(w.message) for w in warned) for reason in reasons)


def test_scale_and_translation_are_those_of_the_first_level_kept(new_store: Callable) -> None:
    path = broken(
        new_store, datasets=[scaled("gone", 1, 1), scaled("1", 2, 2, translation=(0.5, 0.5))]
    )
    with pytest.warns(LayoutWarning):
        (level,) = only(path).levels
    assert (level.scale, level.translation) == ((2, 2), (0.5, 0.5))


def test_axes_that_do_not_fit_are_ignored(new_store: Callable) -> None:
    with pytest.warns(
        LayoutWarning, match="axes are ignored: 1 axes are listed for arrays of 2 axes"
    ):
        assert only(broken(new_store, axes=YX[:1])).axes is None


def test_scale_of_wrong_length_is_ignored(new_store: Callable) -> None:
    with pytest.warns(LayoutWarning, match="scale of level '0' is ignored: scale has 3 values"):
        assert (
            only(broken(new_store, datasets=[scaled("0", 1, 1, 1), scaled("1", 2, 2)]))
            .levels[0]
            .scale
            is None
        )


def test_unknown_version_is_read_by_its_structure(new_store: Callable) -> None:
    with pytest.warns(LayoutWarning, match=r"version '9\.9'") as warned:
        assert len(only(broken(new_store, version="9.9")).levels) == 3
    assert len(warned) == 1


@pytest.mark.parametrize("version", [0.4, "0.5-dev"])
def test_known_versions_are_read_without_a_word(new_store: Callable, version: object) -> None:
    assert len(only(broken(new_store, version=version)).levels) == 3


@pytest.mark.parametrize("multiscales", ["yes", 3, [], [{}], [{"datasets": []}], [None]])
def test_multiscales_that_are_none_leave_the_names_of_arrays(
    new_store: Callable, multiscales: Any
) -> None:
    path = broken(new_store)
    new_store(2).group(multiscales=multiscales)
    with pytest.warns(LayoutWarning, match="multiscales"):
        assert only(path).layout == "numbered arrays"


def test_no_level_at_all_is_an_error(new_store: Callable) -> None:
    store = new_store(2).group(multiscales=[{"axes": YX, "datasets": [scaled("0", 1, 1)]}])
    with (
        pytest.warns(LayoutWarning, match="'0' is left out"),
        pytest.raises(LayoutError, match=r"x\.zarr: there is no image"),
    ):
        open_images(store.root)


def test_padded_levels_are_cropped_to_what_their_scale_says(new_store: Callable) -> None:
    """WEBKNOSSOS pads levels to whole shards: the second is larger than the first."""
    store = new_store(3)
    store.array("0", (10, 8))
    values = store.array("1", (16, 16), chunks=(4, 4), shards=(16, 16))
    store.group(
        version="0.5",
        multiscales=[{"axes": YX, "datasets": [scaled("0", 1, 1), scaled("1", 2, 2)]}],
    )
    image = only(store.root)
    assert shapes(image) == [(10, 8), (5, 4)]
    np.testing.assert_array_equal(image.levels[1].array[...], values[:5, :4])


def test_no_chunk_is_read(new_store: Callable) -> None:
    path = broken(new_store)
    chunks = [f for f in path.rglob("*") if f.is_file() and not f.name.startswith(".z")]
    assert chunks
    for chunk in chunks:
        chunk.write_bytes(b"damaged")
    assert len(only(path).levels) == 3


# --- omero


def with_omero(new_store: Callable, omero: Any, dtype: str = "uint16") -> tuple[Channel, ...]:
    store = new_store(2)
    store.array("0", np.zeros((2, 6, 8), dtype))
    axes = [{"name": "c", "type": "channel"}, *YX]
    store.group(
        multiscales=[{"version": "0.4", "axes": axes, "datasets": [scaled("0", 1, 1, 1)]}],
        omero=omero,
    )
    return only(store.root).channels


def test_channels(new_store: Callable) -> None:
    window = {"min": 0, "max": 65535, "start": 10, "end": 1000.5}
    first = {"label": "DAPI", "color": "0000ff", "window": window, "active": False}
    assert with_omero(new_store, {"channels": [first, {}]}) == (
        Channel("DAPI", "#0000FF", (10, 1000.5), visible=False),
        Channel(),
    )


def test_greyscale_model_is_grey(new_store: Callable) -> None:
    omero = {
        "channels": [{"color": "FF0000"}, {"color": "00FF00"}],
        "rdefs": {"model": "greyscale"},
    }
    assert [c.color for c in with_omero(new_store, omero)] == ["#FFFFFF", "#FFFFFF"]


@pytest.mark.parametrize(
    ("omero", "message"),
    [("x", "omero is ignored"), ({"channels": "x"}, "omero is ignored")],
)
def test_omero_that_is_none_is_reported(new_store: Callable, omero: Any, message: str) -> None:
    with pytest.warns(LayoutWarning, match=message):
        assert with_omero(new_store, omero) == ()


@pytest.mark.parametrize(
    ("channels", "message", "first"),
    [
        ([{"label": "a"}], "1 entries for 2 channels", Channel("a")),
        ([{"label": "a"}, {}, {}], "3 entries for 2 channels", Channel("a")),
        ([None, {}], r"channels\[0\] is None", Channel()),
        ([{"label": "a", "color": "red"}, {}], r"channels\[0\]\.color 'red'", Channel("a")),
        (
            [{"label": "a", "window": {"start": 5, "end": 5}}, {}],
            r"channels\[0\]\.window",
            Channel("a"),
        ),
        (
            [{"label": "a", "window": {"start": "a", "end": 5}}, {}],
            r"channels\[0\]\.window",
            Channel("a"),
        ),
        (
            [{"label": "a", "window": {"start": 0, "end": 1}}, {}],
            "does not fit uint16",
            Channel("a"),
        ),
        (
            [{"label": "a", "window": {"start": 0, "end": 255}}, {}],
            "does not fit uint16",
            Channel("a"),
        ),
    ],
)
def test_what_cannot_be_used_of_a_channel_is_reported_and_left_out(
    new_store: Callable, channels: list[Any], message: str, first: Channel
) -> None:
    with pytest.warns(LayoutWarning, match=message):
        assert with_omero(new_store, {"channels": channels}) == (first, Channel())


@pytest.mark.parametrize(("dtype", "end"), [("uint8", 255), ("float32", 1)])
def test_windows_that_fit_the_pixels_are_kept(new_store: Callable, dtype: str, end: float) -> None:
    channels = with_omero(
        new_store, {"channels": [{"window": {"start": 0, "end": end}}, {}]}, dtype
    )
    assert channels[0].window == (0, end)


def test_levels_listed_backwards_are_not_cropped(new_store: Callable) -> None:
    """101 samples halved are 50 or 51: neither says that the larger level has 100."""
    store = new_store(2)
    store.array("0", (50, 50))
    values = store.array("1", (101, 101))
    axes = [{"name": name, "type": "space"} for name in "yx"]
    store.group(
        multiscales=[
            {"version": "0.4", "axes": axes, "datasets": [scaled("0", 2, 2), scaled("1", 1, 1)]}
        ]
    )
    with pytest.warns(LayoutWarning, match="smallest first"):
        image = only(store.root)
    assert shapes(image) == [(101, 101), (50, 50)]
    np.testing.assert_array_equal(image.levels[0].array[...], values)


@pytest.mark.parametrize("orders", ["><", "<>"])
def test_levels_of_either_byte_order_are_one_image(new_store: Callable, orders: str) -> None:
    store = new_store(2)
    values = [
        store.array(str(k), np.arange(n * n, dtype=f"{order}u2").reshape(n, n))
        for k, (n, order) in enumerate(zip((8, 4), orders, strict=True))
    ]
    axes = [{"name": name, "type": "space"} for name in "yx"]
    store.group(
        multiscales=[
            {"version": "0.4", "axes": axes, "datasets": [scaled("0", 1, 1), scaled("1", 2, 2)]}
        ]
    )
    image = only(store.root)
    assert {level.array.dtype for level in image.levels} == {values[0].dtype}
    for level, expected in zip(image.levels, values, strict=True):
        np.testing.assert_array_equal(level.array[...], expected)


def test_a_transform_without_a_list_around_it(new_store: Callable) -> None:
    store = new_store(2)
    store.array("0", (6, 8))
    level = {"path": "0", "coordinateTransformations": {"type": "scale", "scale": [2, 3]}}
    store.group(multiscales=[{"version": "0.4", "axes": YX, "datasets": [level]}])
    assert only(store.root).levels[0].scale == (2, 3)


def test_paths_that_begin_with_the_folder_itself(new_store: Callable) -> None:
    store = new_store(2)
    store.array("0", (6, 8))
    store.group(multiscales=[{"version": "0.4", "axes": YX, "datasets": [scaled("./0", 2, 3)]}])
    assert only(store.root).levels[0].scale == (2, 3)


def test_numbers_instead_of_paths(new_store: Callable) -> None:
    """Of series, of labels, and of the fields of a well."""
    series = new_store(2, "series.zarr").group(**{"bioformats2raw.layout": 3})
    series.group("OME", series=[1, 0]).image("0", (6, 8)).image("1", (6, 8))
    assert [image.path for image in open_images(series.root)] == ["1", "0"]
    labelled = new_store(2, "labelled.zarr").image("", (6, 8)).group("labels", labels=[0])
    labelled.image("labels/0", (6, 8))
    assert [image.kind for image in open_images(labelled.root)] == ["image", "labels"]
    well = new_store(2, "well.zarr").group(well={"images": [{"path": 0}]}).image("0", (6, 8))
    assert len(open_images(well.root)) == 1
