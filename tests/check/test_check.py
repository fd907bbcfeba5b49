"""What is wrong with a store, and the repairing of it.

Every fault is made by hand in a store that is right.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr
from helpers import plain_mean

from napari_pyramid.check import Report, check_store, repair_store
from napari_pyramid.check._geometry import step_factors
from napari_pyramid.errors import DestinationError, LayoutError
from napari_pyramid.layouts import open_images

Array = npt.NDArray[Any]
Documents = dict[str, Any]


def image(rng: int = 0, shape: tuple[int, int] = (40, 60)) -> Array:
    return np.random.default_rng(rng).integers(0, 5000, shape).astype(np.uint16)


def write(path: Path, levels: list[Array], *, version: str = "0.5", **ome: Any) -> Path:
    """A correct OME-Zarr image of two axes, halved, with half-pixel translations.

    Source: OME-Zarr 0.6, note on pixel centres.
    """
    group = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3)
    datasets = []
    for k, level in enumerate(levels):
        names = None if version == "0.4" else ["y", "x"]
        group.create_array(str(k), data=level, chunks=(16, 16), dimension_names=names)
        shift = 0.5 * (2**k - 1) / 2
        transforms = [
            {"type": "scale", "scale": [0.5 * 2**k] * 2},
            {"type": "translation", "translation": [10 + shift, shift]},
        ]
        datasets.append({"path": str(k), "coordinateTransformations": transforms})
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    document = {"multiscales": [{"axes": axes, "datasets": datasets, "type": "mean"}], **ome}
    if version == "0.4":
        document["multiscales"][0]["version"] = "0.4"
        group.attrs.update(document)
    else:
        group.attrs["ome"] = {"version": version, **document}
    return path


@pytest.fixture(params=["0.5", "0.4"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    first = image()
    return write(
        tmp_path / "x.ome.zarr",
        [first, plain_mean(first, (2, 2)), plain_mean(plain_mean(first, (2, 2)), (2, 2))],
        version=request.param,
    )


def edit(path: Path, change: Callable[[Documents], None]) -> None:
    """Changes the OME-Zarr document of a group."""
    file = path / "zarr.json" if (path / "zarr.json").exists() else path / ".zattrs"
    document = json.loads(file.read_text())
    change(document["attributes"]["ome"] if file.name == "zarr.json" else document)
    file.write_text(json.dumps(document))


def datasets(document: Documents) -> list[Documents]:
    found: list[Documents] = document["multiscales"][0]["datasets"]
    return found


def messages(report: Report) -> str:
    return "\n".join(map(str, report.findings))


def chunk_files(path: Path) -> dict[str, bytes]:
    return {
        str(f.relative_to(path)): f.read_bytes()
        for f in path.rglob("*")
        if f.is_file() and not f.name.startswith((".z", "zarr.json"))
    }


# ---- right stores --------------------------------------------------------------------------------


def test_a_right_store_has_no_findings(store: Path) -> None:
    report = check_store(store, pixels=True)
    assert report.findings == ()
    assert (report.n_images, report.n_levels) == (1, 3)
    assert [note.split(": ")[1].split(",")[0] for note in report.notes] == [
        "mean of the level above"
    ] * 2


def test_plain_arrays_without_transforms_are_not_blamed(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "x.zarr")
    for k, level in enumerate((image(), plain_mean(image(), (2, 2)))):
        group.create_array(f"s{k}", data=level)
    assert check_store(tmp_path / "x.zarr").findings == ()


def test_strided_levels_need_no_translation(tmp_path: Path) -> None:
    path = write(tmp_path / "x.zarr", [image(), image()[::2, ::2]])
    edit(path, lambda document: document["multiscales"][0].update(type="stride"))
    edit(
        path,
        lambda document: datasets(document)[1]["coordinateTransformations"][1].update(
            translation=[10, 0]
        ),
    )
    assert check_store(path, pixels=True).findings == ()


@pytest.mark.parametrize(
    ("shape", "coarser", "expected"),
    [
        ((40, 60), (20, 30), (2, 2)),
        ((41, 61), (21, 31), (2, 2)),  # ceil
        ((41, 61), (20, 30), (2, 2)),  # floor
        ((9, 600), (3, 200), (3, 3)),
        ((1, 60), (1, 30), (1, 2)),
        ((31, 512), (31, 256), (1, 2)),
        ((40, 60), (30, 30), None),
        ((40, 60), (80, 30), None),
    ],
)
def test_factors_that_shapes_show(
    shape: tuple[int, ...], coarser: tuple[int, ...], expected: tuple[int, ...] | None
) -> None:
    assert step_factors(shape, coarser) == expected


# ---- faults, and their repairing -----------------------------------------------------------------


def drop_translation(document: Documents) -> None:
    datasets(document)[1]["coordinateTransformations"].pop()


def wrong_scale(document: Documents) -> None:
    datasets(document)[2]["coordinateTransformations"][0]["scale"] = [1.9, 2.0]


def no_scale(document: Documents) -> None:
    del datasets(document)[1]["coordinateTransformations"]


def too_many_channels(document: Documents) -> None:
    document["omero"] = {"channels": [{"color": "FFFFFF"}, {"color": "00FF00"}]}


def impossible_window(document: Documents) -> None:
    document["omero"] = {
        "channels": [{"color": "FFFFFF", "window": {"start": 9, "end": 9, "min": 0, "max": 9}}]
    }


def no_colour(document: Documents) -> None:
    document["omero"] = {"channels": [{"color": "puce"}]}


FAULTS = [
    pytest.param(
        drop_translation,
        "translation is missing, half-pixel correct is 10.25, 0.25",
        id="no half-pixel translation",
    ),
    pytest.param(wrong_scale, "scale is 1.9, 2, the shapes say 2, 2", id="scale of a shape ratio"),
    pytest.param(no_scale, "no scale", id="no scale"),
    pytest.param(too_many_channels, "has 2 entries, the image 1 channels", id="too many channels"),
    pytest.param(impossible_window, "start below end", id="window without extent"),
    pytest.param(no_colour, "'puce' is not a colour", id="colour that is none"),
]


@pytest.mark.parametrize(("fault", "expected"), FAULTS)
def test_a_fault_is_found_and_mended(
    store: Path, fault: Callable[[Documents], None], expected: str
) -> None:
    edit(store, fault)
    damaged = {f.name: f.read_bytes() for f in store.iterdir() if f.is_file()}
    pixels = chunk_files(store)
    report = check_store(store)
    assert expected in messages(report)
    assert any(finding.is_repairable for finding in report.findings)

    repaired = repair_store(store)

    assert check_store(store, pixels=True).findings == ()
    assert chunk_files(store) == pixels
    assert repaired.actions
    assert repaired.backup is not None
    kept = {f.name: f.read_bytes() for f in Path(repaired.backup).iterdir()}
    assert kept.items() <= damaged.items()
    assert kept


def test_mending_keeps_what_is_not_ours(store: Path) -> None:
    edit(store, drop_translation)
    edit(store, lambda document: document.update(somebody={"else": [1, 2]}))
    repair_store(store)
    kept: Documents = {}
    edit(store, kept.update)
    assert kept["somebody"] == {"else": [1, 2]}


def test_mending_reckons_with_the_transforms_of_the_whole_image(store: Path) -> None:
    """OME-Zarr 0.4: transforms of "multiscales" apply after the transforms of datasets."""
    outer = [{"type": "scale", "scale": [4, 4]}, {"type": "translation", "translation": [100, 0]}]
    edit(store, lambda document: document["multiscales"][0].update(coordinateTransformations=outer))
    assert check_store(store).findings == ()
    edit(store, drop_translation)
    repair_store(store)
    found: Documents = {}
    edit(store, found.update)
    assert datasets(found)[1]["coordinateTransformations"] == [
        {"type": "scale", "scale": [1.0, 1.0]},
        {"type": "translation", "translation": [10.25, 0.25]},
    ]


def test_nothing_wrong_changes_nothing(store: Path) -> None:
    before = sorted(store.parent.rglob("*"))
    assert repair_store(store).backup is None
    assert sorted(store.parent.rglob("*")) == before


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A zip in which something is wrong that would be repaired in a directory."""
    path = write(tmp_path / "x.ome.zarr", [image(), plain_mean(image(), (2, 2))])
    edit(path, drop_translation)
    return Path(shutil.make_archive(str(tmp_path / "x.zarr"), "zip", path))


def test_a_zip_is_not_mended(archive: Path) -> None:
    assert "translation is missing" in messages(check_store(archive))
    with pytest.raises(DestinationError, match="zip"):
        repair_store(archive)


# ---- labels --------------------------------------------------------------------------------------


def with_labels(path: Path, listed: list[str]) -> Path:
    write(path, [image(), plain_mean(image(), (2, 2))])
    labels = zarr.create_group(path / "labels")
    labels.attrs["ome"] = {"version": "0.5", "labels": listed}
    mask = (image() > 2500).astype(np.uint8)
    write(path / "labels" / "nuclei", [mask, mask[::2, ::2]], **{"image-label": {"version": "0.5"}})
    edit(path / "labels" / "nuclei", lambda document: document["multiscales"][0].pop("type"))
    return path


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (["nuclei", "gone"], "lists 'gone', which is not there"),
        ([], "does not list 'nuclei', which is there"),
    ],
)
def test_the_list_of_labels_is_compared_with_the_groups(
    tmp_path: Path, listed: list[str], expected: str
) -> None:
    path = with_labels(tmp_path / "x.ome.zarr", listed)
    assert expected in messages(check_store(path))
    repair_store(path)
    assert zarr.open_group(path / "labels").attrs["ome"]["labels"] == ["nuclei"]
    assert check_store(path).findings == ()


def test_labels_below_a_plain_directory_stay_listed(tmp_path: Path) -> None:
    """The reader opens what is in "sub", which has no metadata of its own.

    What leads out of the store goes.
    """
    path = write(tmp_path / "x.ome.zarr", [image(), plain_mean(image(), (2, 2))], version="0.4")
    zarr.create_group(
        path / "labels", zarr_format=2, attributes={"labels": ["sub/cells", "sub/gone", "../x"]}
    )
    mask = (image() > 2500).astype(np.uint8)
    write(
        path / "labels" / "sub" / "cells",
        [mask, mask[::2, ::2]],
        version="0.4",
        **{"image-label": {"version": "0.4"}},
    )
    assert not (path / "labels" / "sub" / ".zgroup").exists()
    edit(path / "labels" / "sub" / "cells", lambda document: document["multiscales"][0].pop("type"))
    found = messages(check_store(path))
    assert "sub/gone" in found
    assert "../x" in found
    assert "sub/cells" not in found
    repair_store(path)
    assert zarr.open_group(path / "labels", mode="r").attrs["labels"] == ["sub/cells"]
    assert [i.path for i in open_images(path)] == ["", "labels/sub/cells"]


def test_a_label_image_opened_by_itself_is_backed_up_outside_of_the_store(tmp_path: Path) -> None:
    """Inside, the copies would be a label image that nobody made."""
    store = with_labels(tmp_path / "x.ome.zarr", ["nuclei"])
    opened = store / "labels" / "nuclei"
    edit(opened, drop_translation)
    damaged = (opened / "zarr.json").read_bytes()
    before = set(store.rglob("*"))

    repaired = repair_store(opened)

    assert check_store(store).findings == ()
    assert set(store.rglob("*")) == before
    assert repaired.backup is not None
    backup = Path(repaired.backup)
    assert backup.parent == tmp_path
    assert backup.name.startswith("x.ome.zarr.backup-")
    assert {
        str(f.relative_to(backup)): f.read_bytes() for f in backup.rglob("*") if f.is_file()
    } == {"labels/nuclei/zarr.json": damaged}


def test_a_store_named_by_a_file_url_is_mended(store: Path) -> None:
    edit(store, drop_translation)
    repaired = repair_store(store.as_uri())
    assert check_store(store).findings == ()
    assert repaired.backup is not None
    assert Path(repaired.backup).parent == store.parent


def test_averaged_labels_are_found(tmp_path: Path) -> None:
    path = with_labels(tmp_path / "x.ome.zarr", ["nuclei"])
    ids = image(shape=(40, 60)) // 100 * 100
    zarr.open_array(path / "labels" / "nuclei" / "0")[:] = ids % 250
    zarr.open_array(path / "labels" / "nuclei" / "1")[:] = plain_mean(ids % 250, (2, 2))
    assert "ids that the level above does not have" in messages(check_store(path, pixels=True))


# ---- consolidated metadata -----------------------------------------------------------------------


@pytest.fixture
def consolidated(store: Path) -> Path:
    consolidate(store)
    return store


def consolidate(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr v3 has not standardised it
        zarr.consolidate_metadata(path)


def test_fresh_consolidated_metadata_are_fine(consolidated: Path) -> None:
    assert check_store(consolidated).findings == ()


def test_consolidated_metadata_of_a_deleted_level(consolidated: Path) -> None:
    shutil.rmtree(consolidated / "2")
    edit(consolidated, lambda document: datasets(document).pop())
    assert "which is not there" in messages(check_store(consolidated))
    repair_store(consolidated)
    assert check_store(consolidated).findings == ()


def test_consolidated_metadata_without_a_new_level(consolidated: Path) -> None:
    level = plain_mean(plain_mean(image(), (2, 2)), (2, 2))[:4, :6]
    shutil.rmtree(consolidated / "2")
    edit(consolidated, lambda document: datasets(document).pop())
    consolidate(consolidated)
    is_v2 = (consolidated / ".zattrs").exists()
    zarr.create_array(
        consolidated / "2",
        data=np.repeat(np.repeat(level, 3, 0), 3, 1)[:10, :15],
        zarr_format=2 if is_v2 else 3,
    )
    transforms = [
        {"type": "scale", "scale": [2.0, 2.0]},
        {"type": "translation", "translation": [10.75, 0.75]},
    ]
    edit(
        consolidated,
        lambda document: datasets(document).append(
            {"path": "2", "coordinateTransformations": transforms}
        ),
    )
    assert "do not list 2" in messages(check_store(consolidated))
    repair_store(consolidated)
    assert check_store(consolidated).findings == ()


def test_consolidated_metadata_of_a_group_inside(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "all.zarr")
    inner = write(tmp_path / "all.zarr" / "one", [image(), plain_mean(image(), (2, 2))])
    consolidate(inner)
    edit(inner, lambda document: document["multiscales"][0].update(name="renamed"))
    zarr.open_array(inner / "1").attrs["note"] = "changed"
    assert "one consolidated metadata: differ from 1/zarr.json" in messages(
        check_store(tmp_path / "all.zarr")
    )
    repair_store(tmp_path / "all.zarr")
    assert check_store(tmp_path / "all.zarr").findings == ()


# ---- faults that nothing repairs -----------------------------------------------------------------


def test_a_missing_level(store: Path) -> None:
    shutil.rmtree(store / "1")
    [finding] = check_store(store).findings
    assert finding.message.endswith("level '1' is left out: there is no array")


def test_a_corrupt_chunk_in_the_middle(store: Path) -> None:
    for file in (store / "1").rglob("*"):
        if file.is_file() and not file.name.startswith((".z", "zarr.json")):
            file.write_bytes(b"rubbish")
    assert "1: level cannot be read" in messages(check_store(store))


def test_shapes_that_no_factor_explains(tmp_path: Path) -> None:
    path = write(tmp_path / "x.zarr", [image(shape=(40, 60)), image(shape=(30, 44))])
    assert "is not a reduction by integer factors" in messages(check_store(path))


def test_a_scale_that_is_none_is_no_base_for_mending(store: Path) -> None:
    edit(
        store,
        lambda document: datasets(document)[0]["coordinateTransformations"][0].update(
            scale=[0, 0.5]
        ),
    )
    report = check_store(store)
    assert [finding.message.removeprefix(f"{store}: ") for finding in report.findings] == [
        "scale 0 is replaced by 1",
        "scale is 1, 1, the shapes say 2, 1",
        "scale is 2, 2, the shapes say 4, 2",
    ]
    assert not any(finding.is_repairable for finding in report.findings)
    assert repair_store(store).backup is None


def test_levels_in_the_wrong_order(tmp_path: Path) -> None:
    path = write(tmp_path / "x.zarr", [image(), plain_mean(image(), (2, 2))])
    edit(path, lambda document: datasets(document).reverse())
    assert "the order of levels is smallest first" in messages(check_store(path))


def test_axes_out_of_order(tmp_path: Path) -> None:
    path = write(tmp_path / "x.zarr", [image(), plain_mean(image(), (2, 2))])
    edit(
        path,
        lambda document: document["multiscales"][0]["axes"][1].update(name="c", type="channel"),
    )
    assert "out of order" in messages(check_store(path))


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_pixels_that_are_not_those_of_the_level_above(tmp_path: Path, dtype: str) -> None:
    first = image().astype(dtype)
    second = plain_mean(first, (2, 2))
    second[-1, -1] += 7
    path = write(tmp_path / "x.zarr", [first, second])
    assert check_store(path).findings == ()
    assert "1 of" in messages(check_store(path, pixels=True))


def test_pixels_of_another_method_than_the_metadata_say(tmp_path: Path) -> None:
    first = image()
    path = write(
        tmp_path / "x.zarr",
        [first, np.maximum.reduce([first[i::2, j::2] for i in (0, 1) for j in (0, 1)])],
    )
    assert "say mean, but the pixels are the max" in messages(check_store(path, pixels=True))


def test_the_method_is_found_where_nothing_names_it(tmp_path: Path) -> None:
    first = image()
    path = write(
        tmp_path / "x.zarr",
        [first, np.minimum.reduce([first[i::2, j::2] for i in (0, 1) for j in (0, 1)])],
    )
    edit(path, lambda document: document["multiscales"][0].pop("type"))
    report = check_store(path, pixels=True)
    assert report.findings == ()
    assert "mode or min of the level above" in report.notes[0]


def test_truncated_means_are_a_note(tmp_path: Path) -> None:
    """What many writers do instead of rounding; no sample is off by more than one."""
    first = image()
    windows = first.reshape(20, 2, 30, 2).astype(float).mean(axis=(1, 3))
    path = write(tmp_path / "x.zarr", [first, np.floor(windows).astype(np.uint16)])
    report = check_store(path, pixels=True)
    assert report.findings == ()
    assert "rounded another way" in report.notes[0]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="nothing"):
        check_store(tmp_path / "nothing.zarr")


def test_what_cannot_be_opened_at_all_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "x.zarr").mkdir()
    (tmp_path / "x.zarr" / "zarr.json").write_text("{")
    [finding] = check_store(tmp_path / "x.zarr").findings
    assert "x.zarr/zarr.json cannot be read" in finding.message


# ---- warnings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("look", [check_store, repair_store])
def test_warnings_of_others_are_not_swallowed(
    store: Path, look: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The filters of `warnings` belong to the whole process.

    Another thread, or another package, may warn meanwhile.
    """
    edit(store, lambda document: datasets(document).append({"path": "gone"}))
    seen = []

    def noisy(path: Path, **_: object) -> object:
        seen.append(list(warnings.filters))
        warnings.warn("not ours", stacklevel=1)
        return open_images(path)

    monkeypatch.setattr(f"{look.__module__}.open_images", noisy)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        look(store)
    assert seen == [filters]
    assert [str(warning.message) for warning in warned] == ["not ours"]


# ---- what is printed -----------------------------------------------------------------------------


def test_the_report_says_what_repair_would_do(store: Path) -> None:
    edit(store, drop_translation)
    text = str(check_store(store))
    assert text.splitlines()[-1].endswith(
        "1 image with 3 levels: 1 thing wrong, of which --repair repairs 1"
    )
    assert (
        json.loads(json.dumps(check_store(store).to_json()))["findings"][0]["is_repairable"] is True
    )


def test_the_command_exits_with_1_until_it_is_mended(store: Path) -> None:
    from typer.testing import CliRunner

    from napari_pyramid.cli import app

    edit(store, drop_translation)
    assert CliRunner().invoke(app, ["check", str(store)]).exit_code == 1
    repairing = CliRunner().invoke(app, ["check", str(store), "--repair"])
    assert repairing.exit_code == 0
    assert "repaired" in repairing.stdout
    assert "backup" in repairing.stdout
    assert CliRunner().invoke(app, ["check", str(store), "--json"]).exit_code == 0


def test_what_cannot_be_mended_is_still_printed(archive: Path) -> None:
    from typer.testing import CliRunner

    from napari_pyramid.cli import app

    result = CliRunner().invoke(app, ["check", str(archive), "--repair"])
    assert result.exit_code == 1
    assert result.stdout == f"{check_store(archive)}\n"
    assert "translation is missing" in result.stdout
    assert result.stderr.splitlines() == [
        (
            f"napari-pyramid: {archive}: only zarr directories on this machine can be repaired; "
            "unpack or copy it first"
        )
    ]
    as_json = CliRunner().invoke(app, ["check", str(archive), "--repair", "--json"])
    assert as_json.exit_code == 1
    assert "translation is missing" in json.loads(as_json.stdout)["findings"][0]["message"]


def test_what_cannot_be_opened_is_still_printed(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from napari_pyramid.cli import app

    (tmp_path / "x.zarr").mkdir()
    (tmp_path / "x.zarr" / "zarr.json").write_text("{")
    result = CliRunner().invoke(app, ["check", str(tmp_path / "x.zarr"), "--repair"])
    assert result.exit_code == 1
    assert "1 thing wrong" in result.stdout
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("scale", "shift"), [(2.5, 0.75), (2.0, 0.5)], ids=["resized", "the fifth plane left out"]
)
def test_both_scales_of_a_level_that_whole_windows_do_not_cover(
    tmp_path: Path, scale: float, shift: float
) -> None:
    """ome-zarr-py resizes 5 planes to 2 and says 2.5.

    The shapes are those of a level that drops a plane.
    """
    path = write(tmp_path / "x.ome.zarr", [image(shape=(5, 8)), image(shape=(2, 4))])

    def change(document: Documents) -> None:
        described = [
            {"type": "scale", "scale": [0.5 * scale, 1.0]},
            {"type": "translation", "translation": [10 + 0.5 * shift, 0.25]},
        ]
        datasets(document)[1]["coordinateTransformations"] = described

    edit(path, change)
    assert not check_store(path).findings
