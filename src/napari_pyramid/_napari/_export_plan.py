"""Plan and run the exports of the dock widget, and word their errors. No Qt."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

from napari_pyramid._napari._remedies import IN_WINDOW
from napari_pyramid._napari._saving import Step
from napari_pyramid.build.progress import Steps
from napari_pyramid.errors import PyramidError, Remedy, one_line
from napari_pyramid.export import Compression, Export, plan_export
from napari_pyramid.export.region import Cut

__all__ = ["planned", "steps_of", "worded"]


def worded(error: BaseException) -> str:
    """Return an error as one line; an export never replaces a file, and offers no button for it."""
    if isinstance(error, PyramidError):
        return error.in_words({r: w for r, w in IN_WINDOW.items() if r is not Remedy.OVERWRITE})
    return one_line(error)


def planned(
    cut: Cut, place: Callable[[], str | None], compression: Compression
) -> tuple[str | None, Export, PyramidError | None]:
    """Return the path and the plan of an export, and why it cannot begin. Called on a thread."""
    path = place()
    export = plan_export(cut, path, compression=compression)
    try:
        export.check()
    except PyramidError as error:
        return path, export, error
    return path, export, None


def steps_of(export: Export) -> Generator[Step, None, Any]:
    """Run an export, yield its progress as steps, and return its result."""
    with closing(Steps(export.steps())) as steps:
        for done in steps:
            yield Step(done.done / max(1, done.total), done.remaining, done.bytes_written)
        return steps.result
