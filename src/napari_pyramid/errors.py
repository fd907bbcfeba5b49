"""The exceptions of napari-pyramid, and how those of others are told in one line.

    PyramidError
    ├── SpecError         (ValueError)  a pyramid that cannot be described: axes, factors, chunks, dtype, memory
    ├── LayoutError       (ValueError)  a store that no layout can read, or not safely
    ├── SourceError                     a region of the source cannot be read
    ├── VerificationError               a level is not what the level above gives
    └── DestinationError                the destination is taken, unsafe, full or not writable
        └── BuildInProgressError        another build is writing there now

    LayoutWarning         (UserWarning) something in a store was left out or replaced; the rest is shown
    └── LayoutNotice                    nothing is wrong with a store, but its reader did what one may not expect

Wrong arguments are also `ValueError`, so that callers who know nothing of us can catch them.
None inherits `RuntimeError`: superqt's generator worker takes that for a deleted Qt object and tells no one.
"""

from __future__ import annotations

import errno

__all__ = [
    "STORAGE_ERRORS",
    "BuildInProgressError",
    "DestinationError",
    "LayoutError",
    "LayoutNotice",
    "LayoutWarning",
    "PyramidError",
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
"""What zarr, zarrs, numcodecs, h5py, tifffile and dask raise for data they cannot read or write."""


class PyramidError(Exception):
    """Any error that napari-pyramid raises on purpose; its message is one line for the user."""


class SpecError(PyramidError, ValueError):
    """A pyramid that cannot be described: axes, factors, chunks, dtype or memory do not fit."""


class LayoutError(PyramidError, ValueError):
    """A store that no layout can read, or that cannot be read safely."""


class SourceError(PyramidError):
    """A region of the source cannot be read; the message names the region."""


class VerificationError(PyramidError):
    """A level that was just written is not what the level above gives; the message names the region."""


class DestinationError(PyramidError):
    """The destination is taken, unsafe, full or not writable."""


class BuildInProgressError(DestinationError):
    """Another build is writing to the destination now; the message names it."""


class LayoutWarning(UserWarning):
    """Something in a store was left out or replaced; the message names file and key, and the rest is shown."""


class LayoutNotice(LayoutWarning):
    """Nothing is left out, but the user should know: pixels come from outside the store that was opened."""


def one_line(error: BaseException) -> str:
    """An exception as one line of a message; the class of our own says nothing."""
    text = " ".join(str(error).split())
    if isinstance(error, PyramidError):
        return text
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def explained(error: BaseException) -> str:
    """What went wrong on writing, with what to do about it where we know."""
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
