"""BigDataViewer's N5, written by TensorStore, and the XML beside it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from helpers import write_n5

from napari_pyramid._napari.reader import get_reader
from napari_pyramid.errors import LayoutError, LayoutWarning
from napari_pyramid.layouts import open_images

XML = """<SpimData version="0.2"><SequenceDescription><ViewSetups>
<ViewSetup><id>0</id><name>nuclei</name><voxelSize><unit>um</unit><size>0.5 0.6 2.0</size></voxelSize></ViewSetup>
</ViewSetups><Timepoints type="{kind}">{times}</Timepoints></SequenceDescription>
<ViewRegistrations>{registrations}</ViewRegistrations></SpimData>"""
VIEW = '<ViewRegistration timepoint="{t}" setup="0">{transforms}</ViewRegistration>'
AFFINE = '<ViewTransform type="affine"><affine>{}</affine></ViewTransform>'
RANGE = ("range", "<first>0</first><last>1</last>")


def volume(setup: int, timepoint: int) -> np.ndarray:
    """Level 0 with axes x, y, z."""
    return np.random.default_rng(10 * setup + timepoint).integers(
        0, 999, (12, 10, 6), dtype="uint16"
    )


def write(path: Path, views: list[tuple[int, int]], *, resolution: bool = True) -> Path:
    root = path / "data.n5"
    for setup, timepoint in views:
        full = volume(setup, timepoint)
        folder = root / f"setup{setup}" / f"timepoint{timepoint}"
        for name, values, factors in (("s0", full, [1, 1, 1]), ("s1", full[::2, ::2], [2, 2, 1])):
            write_n5(folder / name, values, {"type": "gzip"}, block=(5, 5, 5))
            file = folder / name / "attributes.json"
            file.write_text(
                json.dumps({**json.loads(file.read_text()), "downsamplingFactors": factors})
            )
        (folder / "attributes.json").write_text(
            json.dumps(
                {"multiScale": True, **({"resolution": [0.5, 0.6, 2.0]} if resolution else {})}
            )
        )
        (root / f"setup{setup}" / "attributes.json").write_text(
            json.dumps({"downsamplingFactors": [[1, 1, 1], [2, 2, 1]], "dataType": "uint16"})
        )
    (root / "attributes.json").write_text('{"n5": "2.0.0"}')
    return root


def describe(root: Path, registrations: str = "", times: tuple[str, str] = RANGE) -> None:
    root.with_suffix(".xml").write_text(
        XML.format(kind=times[0], times=times[1], registrations=registrations)
    )


def test_timepoints_are_stacked_and_missing_ones_empty(tmp_path: Path) -> None:
    first, second = open_images(write(tmp_path, [(0, 0), (0, 1), (1, 1)]))
    assert [axis.name for axis in first.axes or ()] == ["t", "z", "y", "x"]
    assert [level.array.shape for level in first.levels] == [(2, 6, 10, 12), (2, 6, 5, 6)]
    assert first.levels[1].scale == (1.0, 2.0, 1.2, 1.0)
    np.testing.assert_array_equal(first.levels[0].array[1], volume(0, 1).T)
    assert not np.asarray(second.levels[0].array[0]).any()
    np.testing.assert_array_equal(second.levels[1].array[1, 2:4], volume(1, 1)[::2, ::2].T[2:4])


def test_one_timepoint_has_no_time_axis(tmp_path: Path) -> None:
    (image,) = open_images(write(tmp_path, [(0, 7)]))
    assert [axis.name for axis in image.axes or ()] == ["z", "y", "x"]
    assert image.name == "setup0"


def test_timepoint_10_comes_after_9(tmp_path: Path) -> None:
    (image,) = open_images(write(tmp_path, [(0, 10), (0, 9)]))
    np.testing.assert_array_equal(image.levels[0].array[0], volume(0, 9).T)


def test_a_setup_or_a_timepoint_by_itself(tmp_path: Path) -> None:
    root = write(tmp_path, [(0, 0), (0, 1)])
    assert open_images(root / "setup0")[0].levels[0].array.shape == (2, 6, 10, 12)
    (image,) = open_images(root / "setup0" / "timepoint1")
    assert image.levels[0].array.shape == (6, 10, 12)
    assert image.levels[1].scale == (2.0, 1.2, 1.0)


def test_names_units_and_voxel_sizes_come_from_the_xml(tmp_path: Path) -> None:
    root = write(tmp_path, [(0, 0), (0, 1)], resolution=False)
    describe(root)
    (image,) = open_images(root)
    assert image.name == "nuclei"
    assert [axis.unit for axis in image.axes or ()] == [None, *["micrometer"] * 3]
    assert image.levels[1].scale == (1.0, 2.0, 1.2, 1.0)
    assert image.levels[1].translation == pytest.approx((0, 0, 0.3, 0.25))


def test_timepoints_of_the_xml_that_nobody_acquired_are_empty(tmp_path: Path) -> None:
    root = write(tmp_path, [(0, 0)])
    describe(root, times=("pattern", "<integerpattern>0-4:2</integerpattern>"))
    (image,) = open_images(root)
    assert image.levels[0].array.shape[0] == 3


def test_a_registration_that_only_moves_is_a_translation(tmp_path: Path) -> None:
    root = write(tmp_path, [(0, 0)])
    moved = VIEW.format(
        t=0,
        transforms=AFFINE.format("1 0 0 10 0 1 0 20 0 0 1 30")
        + AFFINE.format("0.5 0 0 0 0 0.6 0 0 0 0 2 0"),
    )
    describe(root, moved, ("list", "<t>0</t>"))
    (image,) = open_images(root)
    assert image.levels[0].scale == pytest.approx((2.0, 0.6, 0.5))
    assert image.levels[0].translation == pytest.approx((30, 20, 10))
    assert image.affine is None


def test_a_registration_that_rotates_is_an_affine(tmp_path: Path) -> None:
    """Voxel (x, y, z) lands where the XML's own matrix, x first, puts it."""
    root = write(tmp_path, [(0, 0), (0, 1)])
    numbers = [0, -0.6, 0, 5, 0.5, 0, 0, 6, 0, 0, 2, 7]
    describe(
        root,
        "".join(
            VIEW.format(t=t, transforms=AFFINE.format(" ".join(map(str, numbers)))) for t in (0, 1)
        ),
    )
    (image,) = open_images(root)
    x, y, z = np.reshape(numbers, (3, 4)) @ [3, 4, 5, 1]
    scale, translation = image.levels[0].scale, image.levels[0].translation
    assert scale is not None
    assert translation is not None
    assert image.affine is not None
    local = np.array([1, 5, 4, 3]) * scale + translation
    np.testing.assert_allclose(image.affine @ [*local, 1], [1, z, y, x, 1])


def test_registrations_that_differ_over_time_are_not_applied(tmp_path: Path) -> None:
    root = write(tmp_path, [(0, 0), (0, 1)])
    describe(
        root,
        "".join(
            VIEW.format(t=t, transforms=AFFINE.format(f"1 0 0 {t} 0 1 0 0 0 0 1 0")) for t in (0, 1)
        ),
    )
    with pytest.warns(LayoutWarning, match="setup0: registrations differ"):
        (image,) = open_images(root)
    assert image.levels[0].translation == (0, 0, 0, 0)


@pytest.mark.parametrize("text", ["<Other/>", "<SpimData><Timepoints type='range'/></SpimData>"])
def test_an_xml_that_says_nothing_is_no_obstacle(tmp_path: Path, text: str) -> None:
    root = write(tmp_path, [(0, 0)])
    root.with_suffix(".xml").write_text(text)
    assert open_images(root)[0].name == "setup0"


def test_a_file_that_is_no_xml_is_reported(tmp_path: Path) -> None:
    root = write(tmp_path, [(0, 0)])
    root.with_suffix(".xml").write_text("<SpimData>")
    with pytest.warns(LayoutWarning, match="not XML"):
        assert open_images(root)[0].name == "setup0"


def test_a_setup_opened_by_itself_has_its_name(tmp_path: Path) -> None:
    (image,) = open_images(write(tmp_path, [(0, 0), (0, 1)]) / "setup0")
    assert image.name == "setup0"
    assert image.levels[0].array.shape == (2, 6, 10, 12)


LOADER = (
    '<SequenceDescription><ImageLoader format="{format}"><{tag} type="relative">{name}</{tag}'
    "></ImageLoader>"
)


def described_by(path: Path, name: str, *, tag: str = "n5", kind: str = "bdv.n5") -> Path:
    """An XML file, of another name than the container that it names."""
    text = XML.format(kind=RANGE[0], times=RANGE[1], registrations="")
    path.write_text(
        text.replace("<SequenceDescription>", LOADER.format(format=kind, tag=tag, name=name))
    )
    return path


def test_the_xml_itself_opens_what_it_names(tmp_path: Path) -> None:
    write(tmp_path, [(0, 0), (0, 1)], resolution=False)
    (image,) = open_images(described_by(tmp_path / "registered-v2.xml", "data.n5"))
    assert (image.name, image.levels[0].scale) == ("nuclei", (1, 2, 0.6, 0.5))
    np.testing.assert_array_equal(image.levels[0].array[1], volume(0, 1).T)


def test_the_xml_of_a_zarr_container(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "data.ome.zarr")
    for name in ("s0-t0.zarr", "s1-t0.zarr"):
        group.create_group(name).create_array("0", data=np.ones((4, 6), "uint8"))
    xml = described_by(tmp_path / "data.xml", "data.ome.zarr", tag="zarr", kind="bdv.multimg.zarr")
    with pytest.warns(LayoutWarning, match="does not fit s0-t0.zarr/0, s1-t0.zarr/0: names"):
        images = open_images(xml)
    assert [image.path for image in images] == ["s0-t0.zarr/0", "s1-t0.zarr/0"]


@pytest.mark.parametrize(
    ("name", "tag", "kind", "message"),
    [
        ("data.h5", "hdf5", "bdv.hdf5", "'bdv.hdf5' names no N5 or zarr container: save it as N5"),
        ("../elsewhere.n5", "n5", "bdv.n5", "is not in the folder of the XML"),
        ("/etc", "n5", "bdv.n5", "is not in the folder of the XML"),
        ("gone.n5", "n5", "bdv.n5", "gone.n5 cannot be opened"),
        ("", "n5", "bdv.n5", "names no N5 or zarr container"),
    ],
)
def test_an_xml_whose_container_cannot_be_opened(
    tmp_path: Path, name: str, tag: str, kind: str, message: str
) -> None:
    with pytest.raises(LayoutError, match=message):
        open_images(described_by(tmp_path / "data.xml", name, tag=tag, kind=kind))


def test_other_xml_is_none_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "notes.xml"
    path.write_text("<notes/>")
    with pytest.raises(LayoutError, match="neither a directory nor a zip"):
        open_images(path)
    assert get_reader(str(path)) is None
    assert get_reader(str(described_by(tmp_path / "data.xml", "data.n5"))) is not None


VERSION_3 = '<zgroup setup="0" tp="{t}" path="s0-t{t}.zarr" indicies="[0, 0]"/>'
VERSION_1 = '<zgroup setup="0" timepoint="{t}"><path>s0-t{t}.zarr</path></zgroup>'


def ome_zarr_container(
    path: Path, zgroup: str, numbers: list[float] | None, times: tuple[int, ...] = (0,)
) -> Path:
    """A dataset like BigStitcher's.

    An OME-Zarr image of t, c, z, y, x per view, and registrations from its pixels to the world.
    """
    zarr.create_group(path / "data.ome.zarr", zarr_format=2)
    axes = [
        {"name": "t", "type": "time"},
        {"name": "c", "type": "channel"},
        *({"name": a, "type": "space"} for a in "zyx"),
    ]
    for t in times:
        group = zarr.create_group(path / f"data.ome.zarr/s0-t{t}.zarr", zarr_format=2)
        steps = (
            [{"type": "scale", "scale": [1, 1, 1, 1, 1]}],
            [
                {"type": "scale", "scale": [1, 1, 2, 2, 2]},
                {"type": "translation", "translation": [0, 0, 0.5, 0.5, 0.5]},
            ],
        )
        datasets = [{"path": str(k), "coordinateTransformations": steps[k]} for k in (0, 1)]
        group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
        for k in (0, 1):
            group.create_array(str(k), data=np.ones((1, 1, 8 >> k, 10 >> k, 12 >> k), "uint8"))
    file = described_by(path / "data.xml", "data.ome.zarr", tag="zarr", kind="bdv.multimg.zarr")
    views = "".join(zgroup.format(t=t) for t in times)
    matrix = AFFINE.format(" ".join(map(str, numbers))) if numbers else ""
    registered = "".join(VIEW.format(t=t, transforms=matrix) for t in times)
    text = file.read_text().replace("</ImageLoader>", f"<zgroups>{views}</zgroups></ImageLoader>")
    file.write_text(text.replace("<ViewRegistrations>", f"<ViewRegistrations>{registered}"))
    return file


@pytest.mark.parametrize("zgroup", [VERSION_1, VERSION_3])
@pytest.mark.parametrize(
    "numbers",
    [[1, 0, 0, 100, 0, 1, 0, 50, 0, 0, 4, 7], [0, -0.6, 0, 5, 0.5, 0, 0, 6, 0, 0, 2, 7]],
    ids=["moved", "turned"],
)
def test_ome_zarr_lies_where_the_xml_registers_it(
    tmp_path: Path, zgroup: str, numbers: list[float]
) -> None:
    """A voxel (x, y, z) of level 0 or 1 lands where the matrix of the XML, x first, puts it."""
    (image,) = open_images(ome_zarr_container(tmp_path, zgroup, numbers))
    assert image.name == "nuclei t0"  # the XML lists two timepoints
    assert [axis.unit for axis in image.axes or ()][-3:] == ["micrometer"] * 3
    for level, voxel in zip(image.levels, ([3, 4, 5], [6.5, 8.5, 10.5]), strict=True):
        assert level.scale is not None
        assert level.translation is not None
        local = (np.array([0, 0, 5, 4, 3]) * level.scale + level.translation)[
            [0, 2, 3, 4]
        ]  # the channel is not an axis of the world
        world = image.affine @ [*local, 1] if image.affine is not None else [*local, 1]
        np.testing.assert_allclose(world[1:4], (np.reshape(numbers, (3, 4)) @ [*voxel, 1])[::-1])


def test_ome_zarr_without_registrations_has_the_voxel_size_of_the_xml(tmp_path: Path) -> None:
    first, second = open_images(ome_zarr_container(tmp_path, VERSION_3, None, times=(0, 1)))
    assert [first.name, second.name] == ["nuclei t0", "nuclei t1"]
    assert first.levels[1].scale == (1, 1, 4, 1.2, 1)
    assert first.levels[1].translation == pytest.approx((0, 0, 1, 0.3, 0.25))
