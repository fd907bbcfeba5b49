"""Define the exceptions of napari-pyramid, and describe other exceptions in one line.

    PyramidError
    ├── SpecError         (ValueError)  a pyramid that cannot be described: axes, factors, ...
    ├── LayoutError       (ValueError)  a store that no layout can read, or not safely
    ├── SourceError                     a region of the source cannot be read
    ├── VerificationError               a level is not what the level above gives
    └── DestinationError                the destination is taken, unsafe, full or not writable
        └── BuildInProgressError        another build is writing there now

    DestinationNotice     (UserWarning) the destination cannot give all that a build promises
    LayoutWarning         (UserWarning) something in a store was left out or replaced
    └── LayoutNotice                    a store is intact, but its reader did something unexpected

Wrong arguments are also `ValueError`, so that callers who do not know this package can catch them.
No class inherits `RuntimeError`: superqt's generator worker takes such an error for a deleted Qt
object and drops it.

An error says what happened, and lists remedies, which each interface puts into its own words:
``resume=False`` in Python, ``--no-resume`` on the command line, a button in napari.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from enum import Enum, auto

__all__ = [
    "STORAGE_ERRORS",
    "BuildInProgressError",
    "DestinationError",
    "DestinationNotice",
    "LayoutError",
    "LayoutNotice",
    "LayoutWarning",
    "PyramidError",
    "Remedy",
    "SourceError",
    "SpecError",
    "VerificationError",
    "explained",
    "one_line",
]

STORAGE_ERRORS = (
    OSError,
    ValueError,
    RuntimeError,
    KeyError,
    TypeError,
    IndexError,
    EOFError,
    ArithmeticError,
)
"""Errors of zarr, zarrs, numcodecs, h5py, tifffile and dask for data they cannot read or write."""


class Remedy(Enum):
    """Action by which a user can resolve an error."""

    OVERWRITE = auto()
    """Replace what is at the destination."""
    START_OVER = auto()
    """Drop unfinished work and begin again."""
    FINISH = auto()
    """Repeat the earlier build, which resumes its unfinished work."""
    IN_PLACE = auto()
    """Add levels beside the source."""
    NEW_STORE = auto()
    """Write a new store instead of adding levels in place."""
    NEW_NAME = auto()
    """Choose another destination."""
    NEW_SERIES = auto()
    """Name a further series of levels."""
    MOVE_AWAY = auto()
    """Move what is in the way to another place."""
    MORE_MEMORY = auto()
    """Allow the build more memory."""
    NO_VERIFY = auto()
    """Build without comparing the levels."""
    LABELS = auto()
    """Declare the pixels to be labels."""
    CREDENTIALS = auto()
    """Give credentials for the bucket."""


IN_PYTHON: Mapping[Remedy, str] = {
    Remedy.OVERWRITE: "replace what is there with overwrite=True",
    Remedy.START_OVER: "start over with resume=False",
    Remedy.FINISH: "repeat the earlier call to finish it",
    Remedy.IN_PLACE: "build in place with in_place=True",
    Remedy.NEW_STORE: "give a destination for a new store instead",
    Remedy.NEW_NAME: "choose another destination",
    Remedy.NEW_SERIES: "name a further series of levels with series=",
    Remedy.MOVE_AWAY: "move it away",
    Remedy.MORE_MEMORY: "allow that much with memory_limit=",
    Remedy.NO_VERIFY: "build without verify=True",
    Remedy.LABELS: "make the spec with labels=True",
    Remedy.CREDENTIALS: "give them with storage_options=",
}
"""The remedies in the words of the Python interface."""


class PyramidError(Exception):
    """Any error that napari-pyramid raises on purpose; `str` gives one line for the user.

    Parameters
    ----------
    message
        What happened, and what to do if no remedy says so.
    remedies
        Actions that the user can take, best first.
    """

    def __init__(self, message: str = "", *, remedies: Iterable[Remedy] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.remedies = tuple(remedies)

    def in_words(self, words: Mapping[Remedy, str]) -> str:
        """Return the message, then the remedies that `words` has words for."""
        known = [words[remedy] for remedy in self.remedies if remedy in words]
        return f"{self.message}: {', or '.join(known)}" if known else self.message

    def __str__(self) -> str:
        return self.in_words(IN_PYTHON)


class SpecError(PyramidError, ValueError):
    """A pyramid that cannot be described: axes, factors, chunks, dtype or memory do not fit."""


class LayoutError(PyramidError, ValueError):
    """A store that no layout can read, or that cannot be read safely."""


class SourceError(PyramidError):
    """A region of the source cannot be read; the message names the region."""


class VerificationError(PyramidError):
    """A level that was just written differs from the reduced level above; names the region."""


class DestinationError(PyramidError):
    """The destination is taken, unsafe, full or not writable."""


class BuildInProgressError(DestinationError):
    """Another build is writing to the destination now; the message names it."""


class DestinationNotice(UserWarning):
    """The store of a destination cannot give all that a build promises; the message says what."""


class LayoutWarning(UserWarning):
    """Something in a store was left out or replaced, and the rest is shown.

    The message names file and key.
    """


class LayoutNotice(LayoutWarning):
    """A store was read in full, in a way that the user should know about.

    For example, pixels come from outside the store that was opened.
    """


def one_line(error: BaseException) -> str:
    """Return an exception as one line of a message.

    The class of our own exceptions is left out: their messages are complete without it.
    """
    text = " ".join(str(error).split())
    if isinstance(error, PyramidError):
        return text
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def explained(error: BaseException) -> str:
    """Return the error of a write in one line, with what to do about it if that is known."""
    text = one_line(error)
    lowered = str(error).lower()
    if (
        getattr(error, "errno", None) == errno.ENOSPC
        or "no space left" in lowered
        or "quota" in lowered
    ):
        return f"{text}: make room and run the same command again"
    if (
        isinstance(error, PermissionError)
        or "permission denied" in lowered
        or "read-only file system" in lowered
    ):
        return f"{text}: make the destination writable and run the same command again"
    return text
