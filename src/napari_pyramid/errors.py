"""The exceptions of napari-pyramid.

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

__all__ = [
    "BuildInProgressError",
    "DestinationError",
    "LayoutError",
    "LayoutNotice",
    "LayoutWarning",
    "PyramidError",
    "SourceError",
    "SpecError",
    "VerificationError",
]


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
