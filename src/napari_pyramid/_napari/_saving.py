"""Saves pictures into one OME-Zarr store, step by step: which goes where, and what is left when it does not end well."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_pyramid._napari._to_image import Picture
from napari_pyramid.build import Build, plan_build
from napari_pyramid.build.progress import Steps
from napari_pyramid.errors import DestinationError, explained
from napari_pyramid.pyramid import Pyramid

__all__ = [
    "Step",
    "build_steps",
    "completed",
    "destination",
    "picture_options",
    "places",
    "save_steps",
]


@dataclass(frozen=True, slots=True)
class Step:
    """How far a job is."""

    fraction: float
    """0 to 1."""
    remaining: float | None = None
    """Seconds, when it can be told."""
    bytes_written: int = 0


def destination(path: str) -> Path:
    """Where to save, in full; nothing is there yet.

    Raises
    ------
    DestinationError
        If something is there already: the file dialog never asked whether to overwrite a folder.
    """
    target = completed(path)
    _refuse_existing(target)
    return target


def _refuse_existing(target: Path) -> None:
    if os.path.lexists(target):
        raise DestinationError(f"{target} exists: give another name, or delete it first")


def completed(path: str) -> Path:
    """The full path of what was typed, with ``.ome.zarr`` appended to a name that does not end in ``.zarr``.

    File dialogs hand over just what was typed. The name of a label image, ``IMAGE.ome.zarr/labels/NAME``, is complete.
    """
    target = Path(path).absolute()
    is_label = target.parent.name == "labels" and target.parents[1].suffix.lower() == ".zarr"
    return (
        target
        if is_label or target.suffix.lower() == ".zarr"
        else target.with_name(f"{target.name}.ome.zarr")
    )


def places(
    target: Path, pictures: Sequence[Picture]
) -> tuple[list[tuple[Picture, Path]], list[str]]:
    """Where each picture goes, images before their labels; and the names of a series, empty for a single image.

    One image (or, without one, one label image) is the store itself; several are a bioformats2raw series 0, 1, ...
    Labels go into ``labels`` of the image with the same size in space, the first image if there is just one;
    those that fit no image join the series.
    """
    images = [p for p in pictures if p.kind == "image"]
    home_of = {id(p): _home(p, images) for p in pictures if p.kind == "labels"}
    tops = [p for p in pictures if p.kind == "image" or home_of[id(p)] is None]
    series = [str(i) for i in range(len(tops))] if len(tops) > 1 else []
    folders = {id(p): target / series[i] if series else target for i, p in enumerate(tops)}
    placed = [(p, folders[id(p)]) for p in tops]
    taken: set[Path] = set()
    for picture in pictures:
        home = home_of.get(id(picture))
        if home is not None:
            folder = _free(folders[id(home)] / "labels" / _group_name(picture.name), taken)
            taken.add(folder)
            placed.append((picture, folder))
    return placed, series


def save_steps(target: Path, pictures: Sequence[Picture]) -> Generator[Step, None, list[str]]:
    """Saves all pictures; returns the paths written. Closed before its end, or failing, it leaves nothing of what it wrote.

    Raises
    ------
    DestinationError
        If `target` exists by now: another program, or a save that was started earlier, may have made it since it was chosen.
    """
    from napari_pyramid.metadata.ome_zarr import write_series

    placed, series = places(target, pictures)
    sizes = [_nbytes(picture) for picture, _ in placed]
    _refuse_existing(target)
    if series:
        _make_folder(target)
    ours, complete = bool(series), False
    try:
        for i, (picture, folder) in enumerate(placed):
            before, share = sum(sizes[:i]) / sum(sizes), sizes[i] / sum(sizes)
            options = picture_options(picture)
            source = picture.levels if len(picture.levels) > 1 else picture.levels[0]
            build = plan_build(source, folder, resume=False, **options)
            with closing(build_steps(build)) as steps:
                for step in steps:
                    rest = step.remaining if i == len(placed) - 1 else None
                    yield Step(before + share * step.fraction, rest, step.bytes_written)
            ours = True  # a single image is the store itself, which is there only now
        if series:
            write_series(target, series)
        complete = True
    finally:
        if ours and not complete:
            shutil.rmtree(target, ignore_errors=True)
    return [str(target)]


def _make_folder(target: Path) -> None:
    """Makes the folder of a series, so that nobody else can make it meanwhile."""
    try:
        target.mkdir(parents=True)
    except OSError as error:
        raise DestinationError(f"{target}: {explained(error)}") from error


def build_steps(build: Build) -> Generator[Step, None, Pyramid]:
    """Run a build, yield its progress as steps, and return the pyramid."""
    with closing(Steps(build.steps())) as steps:
        for progress in steps:
            fraction = progress.done / max(1, progress.total)
            yield Step(fraction, progress.remaining, progress.bytes_written)
        return steps.result


def picture_options(picture: Picture) -> dict[str, Any]:
    """What the engine needs to know of a picture besides its pixels."""
    return {
        "axes": picture.axes,
        "scale": picture.scale,
        "translation": picture.translation,
        "labels": picture.kind == "labels",
        "name": picture.name,
        "channels": picture.channels,
        "label_colors": picture.label_colors,
        "label_properties": picture.label_properties,
    }


def _home(labels: Picture, images: Sequence[Picture]) -> Picture | None:
    """The image that a label image belongs to."""
    if len(images) == 1:
        return images[0]
    same = (
        p
        for p in images
        if len(p.extent) == len(labels.extent) and all(map(_close, p.extent, labels.extent))
    )
    return next(same, None)


def _close(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-6 * max(abs(a), abs(b))


def _group_name(name: str) -> str:
    """A name that is a zarr group: no separators, no leading dots or underscores."""
    return re.sub(r"[^\w.\- ]+", "_", name).lstrip("._ ").strip() or "labels"


def _free(folder: Path, taken: set[Path]) -> Path:
    """`folder`, or with a number behind it when two layers have one name."""
    candidate, n = folder, 2
    while candidate in taken:
        candidate, n = folder.with_name(f"{folder.name} {n}"), n + 1
    return candidate


def _nbytes(picture: Picture) -> int:
    size = 1
    for n in picture.levels[0].shape:
        size *= int(n)
    return max(1, size) * int(picture.levels[0].dtype.itemsize)
