"""What the reader hands to napari: from stores written with plain zarr after the specification."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from servers import web_server

from napari_pyramid import open_pyramid
from napari_pyramid._napari.reader import get_reader, read
from napari_pyramid.arrays.lazy import LazyArray
from napari_pyramid.errors import LayoutError


def ramp(shape: tuple[int, ...], dtype: str = "u2") -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


# ---- whose is it? --------------------------------------------------------------------------------


def test_folder_of_other_things_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"II*\0")
    (tmp_path / "sub").mkdir()
    assert get_reader(str(tmp_path)) is None
    assert get_reader(str(tmp_path / "nothing here")) is None
    assert get_reader([]) is None


def test_zip_is_recognised_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.ozx").write_bytes(b"PK\x03\x04....")
    (tmp_path / "b.ozx").write_bytes(b"<html>")
    assert get_reader(str(tmp_path / "a.ozx")) is read
    assert get_reader(str(tmp_path / "b.ozx")) is None


@pytest.mark.parametrize(
    "name", ["zarr.json", ".zgroup", ".zarray", ".zattrs", "attributes.json", "info"]
)
def test_folder_with_metadata_is_ours(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / name).touch()
    assert get_reader(str(folder)) is read
    assert get_reader(str(tmp_path)) is read  # a collection without metadata of its own


def test_a_group_called_info_is_a_group(ome_zarr: Any) -> None:
    path = ome_zarr(ramp((6, 20, 22)), "zyx", name="x.zarr/info")
    ome_zarr(ramp((6, 20, 22)), "zyx", name="x.zarr/other")
    assert [m["name"] for _, m, _ in read(str(path))] == ["info"]


def test_metadata_file_opens_its_folder(ome_zarr: Any) -> None:
    """File > Open cannot pick folders."""
    path = ome_zarr(ramp((6, 20, 22)), "zyx")
    assert [m["name"] for _, m, _ in read(str(path / "zarr.json"))] == ["image"]


@pytest.mark.parametrize(
    "spelling",
    [
        "{url}/x.zarr",
        "{url}/x.zarr/?signature=1",
        "{url}/x.zarr/zarr.json?signature=1",
        "zarr://{url}/x.zarr",
        "{url}/x.zarr|zarr3:",
        "https://hms-dbmi.github.io/vizarr/?source={url}/x.zarr",
        "https://ome.github.io/ome-ngff-validator/?source={url}/x.zarr",
    ],
)
def test_a_url_is_read_however_it_is_pasted(ome_zarr: Any, spelling: str) -> None:
    path = ome_zarr(ramp((6, 20, 22)), "zyx", name="x.zarr")
    with web_server(path.parent) as web:
        url = spelling.format(url=web.url)
        assert get_reader(url) is read
        ((levels, meta, _),) = read(url)
        np.testing.assert_array_equal(np.asarray(levels[0]), ramp((6, 20, 22)))
    assert meta["name"] == "x"
    assert meta["metadata"]["pyramid"]["source"] == f"{web.url}/x.zarr"


@pytest.mark.parametrize("url", ["https://host/a.png", "https://host/a.csv?x=1", "https:///x"])
def test_a_url_of_something_else_is_declined_without_a_request(url: str) -> None:
    assert get_reader(url) is None


def test_several_paths_are_read_one_after_the_other(ome_zarr: Any) -> None:
    paths = [str(ome_zarr(ramp((6, 20, 22)), "zyx", name=n)) for n in ("a.zarr", "b.zarr")]
    assert get_reader(paths) is read
    assert len(read(paths)) == 2


def test_import_is_light() -> None:
    code = (
        "import sys; import napari_pyramid._napari.reader;assert not [m for m in ('numba', "
        "'napari', 'dask', 'zarr', 'qtpy') if m in sys.modules]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_reading_imports_no_viewer_and_prints_nothing(ome_zarr: Any) -> None:
    path = ome_zarr(ramp((6, 20, 22)), "zyx")
    code = (
        "import sys; from napari_pyramid._napari.reader import read; read(sys.argv[1]);"
        "assert not [m for m in ('numba', 'napari', 'dask', 'qtpy', 'pint') if m in sys.modules]"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(path)], check=True, capture_output=True
    )
    assert done.stdout + done.stderr == b""


# ---- layers --------------------------------------------------------------------------------------


def test_image_has_all_that_napari_would_guess(ome_zarr: Any) -> None:
    values = ramp((6, 20, 22))
    [(levels, meta, kind)] = read(str(ome_zarr(values, "zyx")))
    assert kind == "image"
    assert all(type(level) is LazyArray for level in levels)
    assert [level.shape for level in levels] == [(6, 20, 22), (3, 10, 11)]
    np.testing.assert_array_equal(np.asarray(levels[0][2]), values[2])
    assert (meta["multiscale"], meta["rgb"]) == (True, False)
    assert meta["scale"] == [0.5, 0.5, 0.5]
    assert meta["axis_labels"] == ["z", "y", "x"]
    assert meta["units"] == ["micrometer"] * 3
    low, high = meta["contrast_limits"]
    assert 0 <= low < high <= values.max()


def test_channels_are_layers_without_the_channel_axis(ome_zarr: Any) -> None:
    values = ramp((2, 3, 4, 20, 22))
    omero = {
        "channels": [
            {
                "label": "DAPI",
                "color": "0000FF",
                "window": {"start": 10, "end": 90},
                "active": True,
            },
            {"label": "GFP", "color": "12AB34", "window": {"start": 5, "end": 50}, "active": False},
            {},
        ]
    }
    layers = read(str(ome_zarr(values, "tczyx", omero=omero)))
    assert [m["name"] for _, m, _ in layers] == ["image: DAPI", "image: GFP", "image: 2"]
    assert [m["colormap"] for _, m, _ in layers] == ["blue", "#12ab34", "yellow"]
    assert [m["visible"] for _, m, _ in layers] == [True, False, True]
    assert [m["contrast_limits"] for _, m, _ in layers][:2] == [(10, 90), (5, 50)]
    assert [m["blending"] for _, m, _ in layers] == ["translucent_no_depth", "additive", "additive"]
    for c, (levels, meta, _) in enumerate(layers):
        assert [level.shape for level in levels] == [(2, 4, 20, 22), (2, 2, 10, 11)]
        np.testing.assert_array_equal(np.asarray(levels[0][1, 2]), values[1, c, 2])
        assert meta["axis_labels"] == ["t", "z", "y", "x"]
        assert meta["units"] == ["second", "micrometer", "micrometer", "micrometer"]
        assert meta["scale"] == [1.0, 0.5, 0.5, 0.5]
        assert (
            meta["metadata"]["pyramid"]["channel"],
            meta["metadata"]["pyramid"]["channel_axis"],
        ) == (c, 1)


def test_spectrum_keeps_its_channel_axis(ome_zarr: Any) -> None:
    """A layer per channel would drown the layer list: beyond 32 there is a slider."""
    [(levels, meta, _)] = read(str(ome_zarr(ramp((33, 20, 22)), "cyx")))
    assert levels[0].shape == (33, 20, 22)
    assert meta["axis_labels"] == ["c", "y", "x"]


def test_labels_have_their_colours_and_properties(ome_zarr: Any) -> None:
    path = ome_zarr(ramp((6, 20, 22)), "zyx")
    label = {
        "colors": [{"label-value": 1, "rgba": [255, 0, 0, 128]}],
        "properties": [
            {"label-value": 1, "class": "foo", "area": 12},
            {"label-value": 4, "class": "bar"},
        ],
    }
    ome_zarr(
        ramp((6, 20, 22)) % 5, "zyx", name="image.ome.zarr/labels/nuclei", **{"image-label": label}
    )
    zarr.create_group(path / "labels", attributes={"ome": {"version": "0.5", "labels": ["nuclei"]}})
    _, (_, meta, kind) = read(str(path))
    assert (kind, meta["name"]) == ("labels", "nuclei")
    assert meta["colormap"][1] == (1.0, 0.0, 0.0, 128 / 255)
    assert meta["colormap"][None] is not None  # labels without a colour stay visible
    assert meta["features"] == {"index": [1, 4], "class": ["foo", "bar"], "area": [12, None]}
    assert "contrast_limits" not in meta
    assert "rgb" not in meta


def test_mask_is_shown_as_integers(ome_zarr: Any) -> None:
    path = ome_zarr(np.ones((6, 20, 22), bool), "zyx", **{"image-label": {}})
    [(levels, _, kind)] = read(str(path))
    assert kind == "labels"
    assert levels[0].dtype == np.uint8
    assert np.asarray(levels[0][3]).min() == 1


def test_single_level_is_no_list(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=ramp((5, 6, 7)), chunks=(2, 3, 4))
    [(data, meta, _)] = read(str(tmp_path / "a.zarr"))
    assert type(data) is LazyArray
    assert meta["multiscale"] is False


def test_complex_pixels_are_refused(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=np.zeros((5, 6), "c8"), chunks=(2, 3))
    with pytest.raises(LayoutError, match=r"a\.zarr.*complex64.*real and imaginary"):
        read(str(tmp_path / "a.zarr"))


def test_what_is_no_store_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="nowhere"):
        read(str(tmp_path / "nowhere.zarr"))


def test_unknown_unit_is_pixel_with_a_warning(ome_zarr: Any) -> None:
    path = ome_zarr(ramp((6, 20, 22)), "zyx")
    group = zarr.open_group(path)
    ome = dict(group.attrs["ome"])
    ome["multiscales"][0]["axes"][0]["unit"] = "furlongfortnight"
    group.attrs["ome"] = ome
    with pytest.warns(UserWarning, match="furlongfortnight"):
        [(_, meta, _)] = read(str(path))
    assert meta["units"] == ["pixel", "micrometer", "micrometer"]


# ---- laziness ------------------------------------------------------------------------------------


def spoil(array: Path, *, but: Callable[[str], bool] = lambda key: False) -> None:
    """Makes the chunks of an array undecodable.

    Whoever reads one is found out, in whatever language it reads.
    """
    chunks = [
        path
        for path in (array / "c").rglob("*")
        if path.is_file() and not but(str(path.relative_to(array / "c")))
    ]
    assert chunks
    for chunk in chunks:
        chunk.write_bytes(b"rubbish")


def test_opening_reads_no_chunk_of_a_finer_level(ome_zarr: Any) -> None:
    path = ome_zarr(ramp((16, 64, 64)), "zyx", levels=3)
    spoil(path / "0")
    spoil(path / "1")
    [(levels, meta, _)] = read(str(path))  # a warning would be an error
    assert len(levels) == 3
    assert meta["contrast_limits"][1] > 1000


def test_opening_with_known_contrast_reads_no_chunk(ome_zarr: Any) -> None:
    path = ome_zarr(
        ramp((16, 64, 64)), "zyx", omero={"channels": [{"window": {"start": 0, "end": 9}}]}
    )
    spoil(path / "0")
    spoil(path / "1")
    assert read(str(path))[0][1]["contrast_limits"] == (0, 9)


def test_single_level_is_sampled_all_over(tmp_path: Path) -> None:
    values = ramp((400, 8, 8))
    values[100:300] = 0
    zarr.create_array(tmp_path / "a.zarr", data=values, chunks=(1, 8, 8))
    assert read(str(tmp_path / "a.zarr"))[0][1]["contrast_limits"][1] > 20_000


def test_a_plate_of_two_wells_is_shown_by_their_pixels(tmp_path: Path) -> None:
    """As plate_2wells of the OME-Zarr specification, of an ordinary size: most of it is empty."""
    rows, columns = [{"name": r} for r in "ABCDEFGH"], [{"name": str(c)} for c in range(1, 13)]
    wells = [
        {"path": "A/1", "rowIndex": 0, "columnIndex": 0},
        {"path": "H/12", "rowIndex": 7, "columnIndex": 11},
    ]
    plate = {"version": "0.4", "rows": rows, "columns": columns, "wells": wells}
    zarr.create_group(tmp_path / "p.zarr", zarr_format=2, attributes={"plate": plate})
    multiscales = [
        {
            "version": "0.4",
            "axes": [{"name": a, "type": "space"} for a in "yx"],
            "datasets": [{"path": "0"}],
        }
    ]
    for well in wells:
        group = zarr.create_group(
            tmp_path / "p.zarr" / str(well["path"]),
            zarr_format=2,
            attributes={"well": {"version": "0.4", "images": [{"path": "0"}]}},
        )
        group.create_group("0", attributes={"multiscales": multiscales}).create_array(
            "0", data=ramp((32, 32)) + 1000
        )
    assert read(str(tmp_path / "p.zarr"))[0][1]["contrast_limits"] == pytest.approx(
        (1001, 2022), abs=1
    )


# ---- contrast ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        (np.zeros((4, 4), "u1"), (0, 255)),
        (np.ones((4, 4), bool), (0, 1)),
        (np.full((4, 4), 7, "u2"), (0, 65535)),
        (np.full((4, 4), np.nan, "f4"), (0, 1)),
        (np.array([[np.nan, 1.0], [3.0, np.inf]], "f4"), (1.002, 2.998)),
        (np.array([[0, 65535]] * 2, ">u2"), (0, 65535)),
        (np.eye(100, dtype="i4") * 50, (0, 50)),
    ],
    ids=["uint8", "bool", "constant", "nan", "some nan", "big-endian", "sparse"],
)
def test_contrast_limits_are_usable(
    tmp_path: Path, values: np.ndarray, limits: tuple[float, float]
) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=values, chunks=values.shape)
    [(_, meta, _)] = read(str(tmp_path / "a.zarr"))
    assert meta["contrast_limits"] == pytest.approx(limits, abs=1e-2)


def test_unreadable_coarsest_level_still_opens(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=ramp((8, 8)), chunks=(4, 4))
    spoil(tmp_path / "a.zarr")
    with pytest.warns(UserWarning, match=r"contrast limits are the limits of uint16.*a\.zarr"):
        [(_, meta, _)] = read(str(tmp_path / "a.zarr"))
    assert meta["contrast_limits"] == (0, 65535)


# ---- colour --------------------------------------------------------------------------------------

RGB = [
    {"label": n, "color": c}
    for n, c in (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF"))
]


def test_channels_of_a_colour_picture_are_one_rgb_layer(ome_zarr: Any) -> None:
    pixels = ramp((3, 20, 30), "u1")
    [(levels, meta, kind)] = read(str(ome_zarr(pixels, "cyx", omero={"channels": RGB})))
    assert (kind, meta["rgb"], meta["contrast_limits"]) == ("image", True, (0, 255))
    np.testing.assert_array_equal(np.asarray(levels[0]), np.moveaxis(pixels, 0, -1))
    np.testing.assert_array_equal(
        np.asarray(levels[1][3:5, 2]), np.moveaxis(pixels, 0, -1)[::2, ::2][3:5, 2]
    )
    assert meta["scale"] == [0.5, 0.5]
    assert meta["axis_labels"] == ["y", "x"]


@pytest.mark.parametrize(
    "change",
    [
        {"label": "DAPI"},
        {"color": "00FFFF"},
        {"active": False},
        {"window": {"start": 10, "end": 90}},
    ],
    ids=["name", "colour", "hidden", "stretched"],
)
def test_channels_that_are_not_just_red_green_blue_stay_layers(
    ome_zarr: Any, change: dict[str, Any]
) -> None:
    channels = [*RGB[:2], {**RGB[2], **change}]
    assert (
        len(read(str(ome_zarr(ramp((3, 20, 30), "u1"), "cyx", omero={"channels": channels})))) == 3
    )


def test_deep_colour_is_rgb_only_if_the_store_says_it_is_not_stretched(ome_zarr: Any) -> None:
    pixels = ramp((3, 20, 30), "u2")
    assert len(read(str(ome_zarr(pixels, "cyx", omero={"channels": RGB}, name="a.zarr")))) == 3
    full = [{**channel, "window": {"start": 0, "end": 65535}} for channel in RGB]
    [(_, meta, _)] = read(str(ome_zarr(pixels, "cyx", omero={"channels": full}, name="b.zarr")))
    assert meta["rgb"]


def test_hostile_unit_is_not_computed(ome_zarr: Any) -> None:
    """pint evaluates expressions; this one would take for ever."""
    path = ome_zarr(ramp((6, 20, 22)), "zyx")
    group = zarr.open_group(path)
    ome = dict(group.attrs["ome"])
    ome["multiscales"][0]["axes"][0]["unit"] = "9**9**9**9"
    group.attrs["ome"] = ome
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        assert read(str(path))[0][1]["units"][0] == "pixel"


def test_affine_of_a_spectrum_leaves_its_channels_alone(ome_zarr: Any) -> None:
    path = ome_zarr(ramp((40, 20, 22)), "cyx")
    group = zarr.open_group(path)
    [multiscale] = group.attrs["ome"]["multiscales"]
    rotation = [[1, 0, 0, 0], [0, 0.8, -0.6, 5], [0, 0.6, 0.8, 7]]
    multiscale["coordinateTransformations"] = [{"type": "affine", "affine": rotation}]
    group.attrs["ome"] = {"version": "0.6", "multiscales": [multiscale]}
    [(_, meta, _)] = read(str(path))
    np.testing.assert_allclose(meta["affine"], [*rotation, [0, 0, 0, 1]])


def test_texts_have_no_imaginary_parts(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=np.full((4, 4), "abc"), zarr_format=2)
    with pytest.raises(LayoutError, match=r"which napari cannot show$"):
        read(str(tmp_path / "a.zarr"))


def test_colours_without_named_axes_are_channels(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    for k in (0, 1):
        group.create_array(f"{k}", data=np.zeros((64 >> k, 64 >> k, 3), "u1"))
    assert [(axis.name, axis.type) for axis in open_pyramid(tmp_path / "a.zarr").axes] == [
        ("y", "space"),
        ("x", "space"),
        ("c", "channel"),
    ]
