"""Write messages, warnings and progress to the terminal, and stop on Ctrl-C. Knows no command."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

import typer
from typer.core import TyperCommand

from napari_pyramid.errors import DestinationError, PyramidError, Remedy

if TYPE_CHECKING:
    from napari_pyramid.build import Progress

__all__ = ["INTERRUPTED", "METHODS_HERE", "Command", "Interrupt", "progress_bar", "say"]

_DEBUG = "NAPARI_PYRAMID_DEBUG"
"""Set, a failure shows its traceback."""

METHODS_HERE = "{methods}"
"""In the help of an option: the names of the reduction methods."""

INTERRUPTED = 130

IN_FLAGS: Mapping[Remedy, str] = {
    Remedy.OVERWRITE: "replace what is there with --overwrite",
    Remedy.START_OVER: "start over with --no-resume",
    Remedy.FINISH: "repeat the earlier command to finish it",
    Remedy.IN_PLACE: "build in place with --in-place",
    Remedy.NEW_STORE: "give a DESTINATION for a new store instead of --in-place",
    Remedy.NEW_NAME: "choose another DESTINATION",
    Remedy.NEW_SERIES: "name a further series of levels with --name",
    Remedy.MOVE_AWAY: "move it away",
    Remedy.MORE_MEMORY: "allow that much with --memory",
    Remedy.NO_VERIFY: "build without --verify",
    Remedy.LABELS: "build with --labels",
    Remedy.CREDENTIALS: "give them with --storage-option",
}
"""The remedies of errors in the words of the command line."""


def say(message: str) -> None:
    """Write one line for the user to stderr."""
    print(f"napari-pyramid: {' '.join(message.split())}", file=sys.stderr)


class Command(TyperCommand):
    """A command whose failures are one line and an exit status."""

    def format_help(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]  # as in invoke
        """Print the help. The names of the methods are imported late: they need NumPy."""
        from napari_pyramid.downsample import METHODS

        names = f"{', '.join(METHODS[:-1])} or {METHODS[-1]}"
        for option in self.params:
            if METHODS_HERE in (getattr(option, "help", None) or ""):
                vars(option)["help"] = vars(option)["help"].replace(METHODS_HERE, names)
        super().format_help(ctx, formatter)

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # typer bundles click, and names neither
        try:
            with _warnings_as_lines():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except (typer.BadParameter, typer.Exit):
            raise
        # Every exception: users want one line; the environment variable shows the traceback.
        except Exception as error:
            if os.environ.get(_DEBUG):
                raise
            is_expected = isinstance(error, (PyramidError, OSError))
            say(
                _naming_file(error, ctx.params)
                if is_expected
                else f"{type(error).__name__}: {error} (set {_DEBUG}=1 to see where)"
            )
            sys.exit(1)


def _naming_file(error: Exception, asked: Mapping[str, Any]) -> str:
    """Return the message of an error with the path that the user gave.

    The engine sees an array, not the file that it comes from.
    """
    message = error.in_words(IN_FLAGS) if isinstance(error, PyramidError) else str(error)
    name = asked.get("destination" if isinstance(error, DestinationError) else "source")
    named = name is None or isinstance(error, OSError) or Path(name).name in message
    return message if named else f"{name}: {message}"


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Write each warning of our readers as one line, without a place in our source."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        say(f"warning: {message}")

    from napari_pyramid.errors import DestinationNotice, LayoutWarning

    with warnings.catch_warnings():
        warnings.simplefilter("always", LayoutWarning)
        warnings.simplefilter("always", DestinationNotice)
        warnings.showwarning = show
        yield


class Interrupt:
    """Ctrl-C while it is entered: the first asks to stop, the second ends the process at once."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Interrupt:
        self._before = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            os._exit(INTERRUPTED)
        self.asked = True
        os.write(
            2, b"\nnapari-pyramid: stopping (Ctrl-C again: at once)\n"
        )  # a stream may be in the middle of a write


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Any]:
    """Return a function to call with each `Progress` of a build; it draws on stderr."""
    if quiet:
        yield lambda step: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("regions, {task.fields[amount]}"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("building", total=None, amount="0 B read")

        def show(step: Progress) -> None:
            from napari_pyramid.plan.level import format_bytes

            amount = (
                f"{format_bytes(step.bytes_read)} read, {format_bytes(step.bytes_written)} written"
            )
            bars.update(
                task,
                description=f"level {step.level}",
                completed=step.done,
                total=step.total,
                amount=amount,
            )

        yield show
