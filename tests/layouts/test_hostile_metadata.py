"""Whatever the metadata contain, opening gives sound images or one of our own errors.

So do info, check and repair.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_pyramid.check import check_store, repair_store
from napari_pyramid.errors import LayoutWarning, PyramidError
from napari_pyramid.image import Image
from napari_pyramid.info import describe
from napari_pyramid.layouts import open_images

_YX = [{"name": "y", "type": "space", "unit": "micrometer"}, {"name": "x", "type": "space"}]
_CYX = [{"name": "c", "type": "channel"}, *_YX]
_SCALES = [{"type": "scale", "scale": [1.0, 2.0**k, 2.0**k]} for k in range(2)]
_DATASETS = [
    {
        "path": str(k),
        "coordinateTransformations": [s, {"type": "translation", "translation": [0, 1, 2]}],
    }
    for k, s in enumerate(_SCALES)
]
_OMERO = {
    "channels": [
        {
            "label": "a",
            "color": "FF0000",
            "active": True,
            "window": {"start": 1, "end": 9, "min": 0, "max": 10},
        },
        {"label": "b"},
    ],
    "rdefs": {"model": "color"},
}
_IMAGE_LABEL = {
    "colors": [{"label-value": 1, "rgba": [1, 2, 3, 4]}],
    "properties": [{"label-value": 1, "class": "a"}],
    "source": {"image": "../../"},
}
_OUTER = [
    {
        "type": "sequence",
        "transformations": [
            {"type": "identity"},
            {"type": "affine", "affine": [[1, 0, 0, 1], [0, 1, 2, 2], [0, 0, 1, 3]]},
        ],
    }
]
_TO_WORLD = {
    "type": "byDimension",
    "input": {"path": "image", "name": "physical"},
    "output": {"name": "world"},
    "transformations": [
        {
            "transformation": {"type": "mapAxis", "mapAxis": [1, 0]},
            "inputAxes": [1, 2],
            "outputAxes": [1, 2],
        },
        {"transformation": {"type": "scale", "scale": [2]}, "inputAxes": [0], "outputAxes": [0]},
    ],
}
_V06 = {
    "coordinateSystems": [{"name": "physical", "axes": _CYX}],
    "datasets": [
        {
            "path": str(k),
            "coordinateTransformations": [
                {**s, "input": {"path": str(k)}, "output": {"name": "physical"}}
            ],
        }
        for k, s in enumerate(_SCALES)
    ],
    "coordinateTransformations": [
        {
            "type": "rotation",
            "rotation": [[1, 0, 0], [0, 0, 1], [0, 1, 0]],
            "input": {"name": "physical"},
            "output": {"name": "o"},
        }
    ],
}


def _image(**more: Any) -> dict[str, Any]:
    return {
        "multiscales": [
            {"version": "0.4", "name": "i", "axes": _CYX, "datasets": _DATASETS, **more}
        ],
        "omero": _OMERO,
    }


HIERARCHIES: dict[str, dict[str, dict[str, Any]]] = {
    # group -> what OME-Zarr says about it; "image" and its like have arrays 0 and 1
    "image": {"": {"image": None}, "image": _image(coordinateTransformations=_OUTER), "image/labels": {"labels": ["cells"]},
              "image/labels/cells": {**_image(), "image-label": _IMAGE_LABEL}},
    "old image": {"": {}, "image": {"multiscales": [{"version": "0.1", "datasets": [{"path": "0"}, {"path": "1"}]}] * 2}},
    "plate": {"": {"plate": {"name": "p", "rows": [{"name": "A"}], "columns": [{"name": "1"}, {"name": "2"}], "acquisitions": [{"id": 0}],
                             "wells": [{"path": "A/1", "rowIndex": 0, "columnIndex": 0}, {"path": "A/2", "rowIndex": 0, "columnIndex": 1}]}},
              "A/1": {"well": {"images": [{"path": "0", "acquisition": 0}, {"path": "1"}]}}, "A/1/0": _image(), "A/1/1": _image(),
              "A/2": {"well": {"images": [{"path": "0"}]}}, "A/2/0": _image()},
    "series": {"": {"bioformats2raw.layout": 3}, "OME": {"series": ["0", "1"]}, "0": _image(), "1": _image()},
    "scene": {"": {"version": "0.6", "scene": {"coordinateSystems": [{"name": "world", "axes": _CYX}], "coordinateTransformations": [_TO_WORLD]}},
              "image": {"version": "0.6", "multiscales": [_V06], "omero": _OMERO}},
}  # fmt: skip

_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["", ".", "..", "../x", "/", "0", "1", "global"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["path", "name", "type", "scale", "output", "datasets"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        yield from _places(inner, (*at, key))


def _mutated(document: Any, data: st.DataObject) -> Any:
    """The document with one value replaced, left out, or doubled."""
    document = copy.deepcopy(document)
    place = data.draw(st.sampled_from(sorted(_places(document), key=str)), "place")
    if not place:
        return data.draw(_json, "document")
    holder = document
    for key in place[:-1]:
        holder = holder[key]
    action = data.draw(st.sampled_from(["replace", "replace", "delete", "double"]), "action")
    if action == "replace":
        holder[place[-1]] = data.draw(_json, "value")
    elif action == "delete":
        del holder[place[-1]]
    elif isinstance(holder, list):
        holder.append(copy.deepcopy(holder[place[-1]]))
    return document


def _write_json(directory: Path, zarr_format: int, attributes: Any) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if zarr_format == 2:
        (directory / ".zgroup").write_text('{"zarr_format": 2}')
        (directory / ".zattrs").write_text(json.dumps(attributes))
    else:
        (directory / "zarr.json").write_text(
            json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {"ome": attributes}})
        )


def _check_opening(hierarchy: str, zarr_format: int, data: st.DataObject) -> None:
    documents = HIERARCHIES[hierarchy]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "s.zarr"
        array_files = []
        for path, document in documents.items():
            _write_json(root / path, zarr_format, document)
            if "multiscales" in document:
                for k in range(2):
                    zarr.create_array(
                        root / path / str(k),
                        shape=(2, 8 >> k, 6 >> k),
                        dtype="uint16",
                        zarr_format=zarr_format,
                    )
                    array_files.append(
                        root / path / str(k) / ("zarr.json" if zarr_format == 3 else ".zarray")
                    )
        for _ in range(data.draw(st.integers(1, 3), "mutations")):
            if data.draw(st.integers(0, 4), "of an array") == 0:
                file = data.draw(st.sampled_from(array_files))
                file.write_text(json.dumps(_mutated(json.loads(file.read_text()), data)))
            else:
                path = data.draw(st.sampled_from(sorted(documents)), "group")
                _write_json(root / path, zarr_format, _mutated(documents[path], data))
        _check_everything(root)


def _check_everything(root: Path) -> None:
    with warnings.catch_warnings():
        # zarr warns of data types without a specification: rightly, and not for us to silence
        warnings.simplefilter("ignore", LayoutWarning)
        warnings.filterwarnings("ignore", module="zarr|napari_pyramid.storage.node", append=False)
        for look in (describe, check_store, repair_store, check_store):
            with contextlib.suppress(PyramidError):
                look(root)
        try:
            images = open_images(root)
        except PyramidError:
            return
    for image in images:
        _check_sound(image)


def _check_sound(image: Image) -> None:
    assert image.name
    assert isinstance(image.name, str)
    ndim, dtype = image.levels[0].array.ndim, image.levels[0].array.dtype
    sizes = [math.prod(level.array.shape) for level in image.levels]
    assert all(larger > smaller for larger, smaller in itertools.pairwise(sizes)), sizes
    for level in image.levels:
        assert level.array.ndim == ndim == len(level.array.shape) == len(level.array.chunks)
        assert level.array.dtype == dtype
        assert all(n > 0 for n in level.array.shape)
        assert level.scale is None or (
            len(level.scale) == ndim and all(math.isfinite(s) and s != 0 for s in level.scale)
        )
        assert level.translation is None or (
            len(level.translation) == ndim and all(map(math.isfinite, level.translation))
        )
    if image.axes is not None:
        assert len({axis.name for axis in image.axes}) == ndim
    if image.channels:
        axis = image.channel_axis
        assert len(image.channels) == (1 if axis is None else image.levels[0].array.shape[axis])
    assert all(
        channel.window is None or channel.window[0] < channel.window[1]
        for channel in image.channels
    )


_cases = pytest.mark.parametrize(
    ("hierarchy", "zarr_format"), [(name, f) for name in HIERARCHIES for f in (2, 3)]
)
_settings = {"suppress_health_check": list(HealthCheck)}


@_cases
@settings(max_examples=15, **_settings)
@given(data=st.data())
def test_mutated_metadata(hierarchy: str, zarr_format: int, data: st.DataObject) -> None:
    """One to three values of a sound hierarchy are replaced by anything that JSON can hold."""
    _check_opening(hierarchy, zarr_format, data)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@_cases
@settings(max_examples=1000, **_settings)
@given(data=st.data())
def test_ten_thousand_mutations(hierarchy: str, zarr_format: int, data: st.DataObject) -> None:
    """The same, 10,000 times over all hierarchies."""
    _check_opening(hierarchy, zarr_format, data)


# ---- other layouts: any of their JSON files, in stores of two levels -----------------------------


def _group(path: Path, attributes: Any, **arrays: Any) -> Path:
    """A group of zarr v3 with arrays: name -> shape, or shape and attributes."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "zarr.json").write_text(
        json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes})
    )
    for name, array in arrays.items():
        shape, own, names = (
            (*array, None, None)[:3] if isinstance(array[0], tuple) else (array, None, None)
        )
        zarr.create_array(
            path / name,
            shape=shape,
            dtype="uint16",
            chunks=tuple(min(4, n) for n in shape),
            attributes=own,
            dimension_names=names,
        )
    return path


def _coordinates(path: Path, **sizes: int) -> None:
    for name, n in sizes.items():
        zarr.create_array(
            path / name,
            data=np.arange(float(n)),
            dimension_names=[name],
            attributes={"units": "meter"},
        )


def _xarray_levels(root: Path, attributes: Any, names: tuple[str, str]) -> None:
    _group(root, attributes)
    for name, n in zip(names, (8, 4), strict=True):
        _coordinates(
            _group(
                root / name,
                {"crs": "EPSG:4326"},
                band=((n, n), {"grid_mapping": "crs"}, ["y", "x"]),
            ),
            y=n,
            x=n,
        )


def _n5(root: Path) -> None:
    level = {"blockSize": [4, 4], "dataType": "uint16", "compression": {"type": "gzip"}}
    documents: dict[str, dict[str, Any]] = {
        "c0": {
            "scales": [[1, 1], [2, 2]],
            "resolution": [2.0, 4.0],
            "units": ["nm", "nm"],
            "axes": ["x", "y"],
        },
        "c0/s0": {**level, "dimensions": [8, 8]},
        "c0/s1": {**level, "dimensions": [4, 4]},
    }
    for path, attributes in documents.items():
        (root / path).mkdir(parents=True)
        (root / path / "attributes.json").write_text(json.dumps(attributes))


_MOVED = {"scale": [2.0, 4.0], "translate": [1.0, 1.0], "units": ["nm", "nm"], "axes": ["y", "x"]}
_ISSUE_50 = {
    "multiscales": [
        {
            "version": "0.1",
            "name": "i",
            "type": "reduce",
            "datasets": [{"path": "0"}, {"path": "1"}],
            "metadata": {"method": "mean"},
        }
    ]
}
_BY_NAME = {
    "scale": {"X": 2, "Y": 2},
    "offset": {"X": 0.5, "Y": 0.5},
    "units": {"X": "nm", "Y": "nm"},
}
_LAYER = {"name": "color", "category": "segmentation", "boundingBox": {"topLeft": [0, 0, 0], "width": 8, "height": 8, "depth": 8}, "dataFormat": "zarr3",
          "mags": [{"mag": [1, 1, 1], "path": "color/1", "axisOrder": {"c": 0, "x": 1, "y": 2, "z": 3}}, {"mag": "2-2-2", "path": "color/2-2-2"}]}  # fmt: skip
_TILES = {
    "id": "x",
    "crs": "EPSG:3857",
    "tileMatrices": [
        {"id": str(k), "cellSize": 10.0 * 2**k, "pointOfOrigin": [0, 80]} for k in range(2)
    ],
}
_ASSETS = [
    {"asset": "0", "spatial:transform": [10, 0, 0, 0, -10, 80]},
    {"asset": "1", "derived_from": "0", "transform": {"scale": [2.0, 2.0]}},
]

OTHERS: dict[str, Callable[[Path], object]] = {
    "multiscales 0.1": lambda root: _group(root, _ISSUE_50, **{"0": (2, 8, 8), "1": (2, 4, 4)}),
    "multiscale": lambda root: _group(
        root, {"multiscale": {"datasets": {"a": _BY_NAME, "b": _BY_NAME}}}, a=(8, 8), b=(4, 4)
    ),
    "ITK": lambda root: _xarray_levels(
        root, {"_MULTISCALE_LEVELS": ["0", "1"], "_SPATIAL_IMAGE": "band"}, ("0", "1")
    ),
    "ndpyramid": lambda root: _xarray_levels(
        root, {"multiscales": [{"datasets": [{"path": "1"}, {"path": "0"}]}]}, ("0", "1")
    ),
    "scale0": lambda root: _xarray_levels(root, {}, ("scale0", "scale1")),
    "tile matrix set": lambda root: _xarray_levels(
        root, {"multiscales": {"tile_matrix_set": _TILES}}, ("0", "1")
    ),
    "zarr-conventions": lambda root: _group(
        root,
        {"multiscales": {"layout": _ASSETS}, "spatial:dimensions": ["y", "x"]},
        **{"0": (8, 8), "1": (4, 4)},
    ),
    "COSEM": lambda root: _group(
        root,
        {"multiscales": [{"datasets": [{"path": p, "transform": _MOVED} for p in ("s0", "s1")]}]},
        s0=((8, 8), {"transform": _MOVED}),
        s1=(4, 4),
    ),
    "N5 viewer": lambda root: _group(
        root,
        {"scales": [[1, 1], [2, 2]], "pixelResolution": {"dimensions": [2.0, 4.0], "unit": "nm"}},
        s0=(8, 8),
        s1=((4, 4), {"downsamplingFactors": [2, 2]}),
    ),
    "Paintera": lambda root: _group(
        _group(root, {"painteraData": {"type": "label"}}) / "data",
        {"resolution": [1, 2], "offset": [3, 4], "maxId": 9},
        s0=(8, 8),
        s1=(4, 4),
    ),
    "summary_of": lambda root: _group(
        root, {}, a=((8, 8), {"summarized_by": ["b"]}), b=((4, 4), {"summary_of": "a"})
    ),
    "WEBKNOSSOS": lambda root: (
        (_group(root, {}) / "datasource-properties.json").write_text(
            json.dumps(
                {"scale": {"factor": [1, 1, 2], "unit": "nanometer"}, "dataLayers": [_LAYER]}
            )
        ),
        _group(root / "color", {}, **{"1": (1, 8, 8, 8), "2-2-2": (1, 4, 4, 4)}),
    ),
    "N5": _n5,
}


def _mutate_a_file(root: Path, data: st.DataObject) -> None:
    files = sorted(f for f in root.rglob("*.json") if "c" not in f.relative_to(root).parts)
    file = data.draw(st.sampled_from(files), "file")
    with contextlib.suppress(
        ValueError
    ):  # an earlier mutation has left NaN there, which is not JSON
        file.write_text(json.dumps(_mutated(json.loads(file.read_text()), data)))


def _check_other(layout: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / ("s.n5" if layout == "N5" else "s.zarr")
        OTHERS[layout](root)
        for _ in range(data.draw(st.integers(1, 3), "mutations")):
            _mutate_a_file(root, data)
        _check_everything(root)


@pytest.mark.parametrize("layout", OTHERS)
def test_the_other_stores_are_what_they_should_be(layout: str, tmp_path: Path) -> None:
    """Or else mutating them would show nothing."""
    root = tmp_path / ("s.n5" if layout == "N5" else "s.zarr")
    OTHERS[layout](root)
    (image,) = open_images(root)
    assert len(image.levels) == 2


@pytest.mark.parametrize("layout", OTHERS)
@settings(max_examples=10, **_settings)
@given(data=st.data())
def test_mutated_metadata_of_other_layouts(layout: str, data: st.DataObject) -> None:
    _check_other(layout, data)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("layout", OTHERS)
@settings(max_examples=400, **_settings)
@given(data=st.data())
def test_five_thousand_mutations_of_other_layouts(layout: str, data: st.DataObject) -> None:
    _check_other(layout, data)


def test_lists_that_repeat_themselves_a_hundred_thousand_times(new_store: Callable) -> None:
    """Each entry alone is legal; read one by one they would take minutes."""
    one = {"version": "0.4", "axes": ["y", "x"], "datasets": [{"path": "0"}] * 100_000}
    store = new_store(2).group(raw={"multiscales": [one] * 3})
    store.array("0", (6, 8))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert len(open_images(store.root)) == 3
    assert any("more than any image has" in str(warning.message) for warning in warned)
    plate = new_store(2, "plate.zarr")
    plate.group(
        plate={
            "rows": [],
            "columns": [],
            "wells": [{"path": "A/1", "rowIndex": 0, "columnIndex": 0}] * 100_000,
        }
    )
    plate.group("A").group("A/1", well={"images": [{"path": "0"}] * 100_000}).image("A/1/0", (6, 8))
    assert open_images(plate.root)[0].levels[0].array.shape == (6, 8)
    series = (
        new_store(2, "series.zarr")
        .group(**{"bioformats2raw.layout": 3})
        .group("OME", series=["0"] * 100_000)
        .image("0", (6, 8))
    )
    assert len(open_images(series.root)) == 1
