"""Turn the errors of stores, and of the libraries behind them, into one line without secrets."""

from __future__ import annotations

from napari_pyramid.errors import DestinationError, one_line

__all__ = ["StoreError", "says_not_implemented", "store_error"]


class StoreError(DestinationError, OSError):
    """A request that a store did not answer as it should; the message names the store."""


def store_error(root: str, error: Exception) -> StoreError:
    """Return any error of a store, or of a library behind it, as one of ours.

    Parameters
    ----------
    root
        Address of the store, without secrets.
    """
    return StoreError(f"{root}: {_explained(error)}")


def says_not_implemented(error: Exception) -> bool:
    """Return whether a store, or its server by status 501, does not know what was asked."""
    named = type(error).__name__ in ("NotImplementedError", "NotSupportedError")
    return named or "status code: 501" in str(error)


def _explained(error: Exception) -> str:
    """Return what went wrong, without the URL and its secrets that obstore's errors hold."""
    if not type(error).__module__.startswith(("obstore", "pyo3")):
        return one_line(error)
    from napari_pyramid.storage.obstore_transport import translated
    from napari_pyramid.storage.transport import RefusedError

    found = translated(error)
    if isinstance(found, RefusedError):
        denied = ": permission denied" if found.status in (401, 403) else ""
        return f"the server answers {found}{denied}"
    return str(found)
