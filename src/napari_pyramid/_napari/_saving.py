"""Save images into one OME-Zarr store, step by step; clean up after errors."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_pyramid._napari._preferences import BuildDefaults
from napari_pyramid.build import Build, plan_build
from napari_pyramid.build.progress import Steps
from napari_pyramid.errors import DestinationError, explained
from napari_pyramid.layer_image import LayerImage
from napari_pyramid.pyramid import Pyramid
from napari_pyramid.storage.address import BUCKET_SCHEMES
from napari_pyramid.storage.destination import open_destination
from napari_pyramid.storage.folder import Folder, Place
from napari_pyramid.storage.objects import StoreError

__all__ = ["Step", "build_steps", "completed", "destination", "save_steps"]


@dataclass(frozen=True, slots=True)
class Step:
    """Progress of a job."""

    fraction: float
    """Part of the work that is done, 0 to 1."""
    remaining: float | None = None
    """Seconds left, or None if they cannot be estimated."""
    bytes_written: int = 0
    """Bytes of pixels, before compression, in this run."""
    elapsed: float = 0.0
    """Seconds since this run began."""


def destination(path: str) -> Place:
    """Return the place to save to, a full path or a URL, at which nothing exists yet.

    Raises
    ------
    DestinationError
        If the path exists: the file dialog does not ask whether to overwrite a folder.
    """
    url = _url_in(path)
    target = completed(path) if url is None else open_destination(_with_suffix(url))
    _refuse_existing(target)
    return target


def _url_in(path: str) -> str | None:
    """Return the URL of a bucket in what a file dialog returns, or None.

    Dialogs put the folder that they show before what was typed, and make one slash of two.
    """
    schemes = "|".join(BUCKET_SCHEMES)
    found = re.search(rf"(?:^|[/\\])({schemes}):[/\\]+([^/\\].*)$", path, re.IGNORECASE)
    return None if found is None else f"{found[1]}://{found[2]}".replace("\\", "/")


def _with_suffix(url: str) -> str:
    url = url.rstrip("/")
    is_label = re.search(r"\.zarr/labels/[^/]+$", url, re.IGNORECASE) is not None
    return url if is_label or url.lower().endswith(".zarr") else f"{url}.ome.zarr"


def _refuse_existing(target: Place) -> None:
    if target.exists() if isinstance(target, Folder) else os.path.lexists(target):
        raise DestinationError(f"{target} exists: give another name, or delete it first")


def completed(path: str) -> Path:
    """Return the full path for a typed name, with ``.ome.zarr`` appended if it lacks a suffix.

    File dialogs return the name as typed. A name that ends in ``.zarr``, and the path of a label
    image (``IMAGE.ome.zarr/labels/NAME``), are complete.
    """
    target = Path(path).absolute()
    is_label = target.parent.name == "labels" and target.parents[1].suffix.lower() == ".zarr"
    return (
        target
        if is_label or target.suffix.lower() == ".zarr"
        else target.with_name(f"{target.name}.ome.zarr")
    )


def places(
    target: Place, images: Sequence[LayerImage]
) -> tuple[list[tuple[LayerImage, Place]], list[str]]:
    """Return the folder of each image, images before their labels; and the names of a series.

    One image (or, without one, one label image) is the store itself; several are a bioformats2raw
    series 0, 1, ... (no names for a single image). Labels go into ``labels`` of the image with the
    same size in space, the first image if there is just one; labels that fit no image join the
    series.
    """
    not_labels = [v for v in images if v.kind == "image"]
    home_of = {id(v): _home(v, not_labels) for v in images if v.kind == "labels"}
    tops = [v for v in images if v.kind == "image" or home_of[id(v)] is None]
    series = [str(i) for i in range(len(tops))] if len(tops) > 1 else []
    folders = {id(v): target / series[i] if series else target for i, v in enumerate(tops)}
    placed = [(v, folders[id(v)]) for v in tops]
    taken: set[Place] = set()
    for labels in images:
        home = home_of.get(id(labels))
        if home is not None:
            folder = _free(folders[id(home)] / "labels" / _group_name(labels.name), taken)
            taken.add(folder)
            placed.append((labels, folder))
    return placed, series


def save_steps(
    target: Place, images: Sequence[LayerImage], defaults: BuildDefaults | None = None
) -> Generator[Step, None, list[str]]:
    """Save all images and return the paths written.

    A generator that is closed before its end, or fails, leaves nothing of what it wrote.

    Raises
    ------
    DestinationError
        If `target` exists by now: another program, or a save that was started earlier, may have
        made it since it was chosen.
    """
    from napari_pyramid.metadata.ome_zarr import write_series

    placed, series = places(target, images)
    sizes = [_nbytes(image) for image, _ in placed]
    _refuse_existing(target)
    if series:
        _make_folder(target)
    ours, complete = bool(series), False
    options: dict[str, Any] = {}
    if defaults is not None:
        options = {"codec": defaults.codec, "format": defaults.format}
        options["max_workers"] = defaults.workers
    try:
        for i, (image, folder) in enumerate(placed):
            before, share = sum(sizes[:i]) / sum(sizes), sizes[i] / sum(sizes)
            build = plan_build(image.source, folder, resume=False, **image.build_options, **options)
            with closing(build_steps(build)) as steps:
                for step in steps:
                    rest = step.remaining if i == len(placed) - 1 else None
                    yield replace(step, fraction=before + share * step.fraction, remaining=rest)
            ours = True  # a single image is the store itself, which exists only now
        if series:
            write_series(target, series, defaults.format if defaults is not None else "0.5")
        complete = True
    finally:
        if ours and not complete:
            _remove(target)
    return [str(target)]


def _remove(target: Place) -> None:
    if isinstance(target, Folder):
        with suppress(StoreError):
            target.remove()
    else:
        shutil.rmtree(target, ignore_errors=True)


def _make_folder(target: Place) -> None:
    """Create the folder of a series, so that no other program can create it meanwhile.

    A bucket has no folders without objects.
    """
    if isinstance(target, Folder):
        return
    try:
        target.mkdir(parents=True)
    except OSError as error:
        raise DestinationError(f"{target}: {explained(error)}") from error


def build_steps(build: Build) -> Generator[Step, None, Pyramid]:
    """Run a build, yield its progress as steps, and return the pyramid."""
    with closing(Steps(build.steps(gives_way=True))) as steps:
        for progress in steps:
            fraction = progress.done / max(1, progress.total)
            yield Step(fraction, progress.remaining, progress.bytes_written, progress.elapsed)
        return steps.result


def _home(labels: LayerImage, images: Sequence[LayerImage]) -> LayerImage | None:
    """Return the image that a label image belongs to."""
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
    """Return `name` as a valid name of a zarr group.

    It has no separators, and no leading dots or underscores.
    """
    return re.sub(r"[^\w.\- ]+", "_", name).lstrip("._ ").strip() or "labels"


def _free(folder: Place, taken: set[Place]) -> Place:
    """Return `folder`, with a number appended if another layer has the same name."""
    candidate, n = folder, 2
    while candidate in taken:
        candidate, n = folder.parent / f"{folder.name} {n}", n + 1
    return candidate


def _nbytes(image: LayerImage) -> int:
    size = 1
    for n in image.levels[0].shape:
        size *= int(n)
    return max(1, size) * int(image.levels[0].dtype.itemsize)
