"""Hand calls to a dask.distributed cluster, as an executor."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Executor, Future
from typing import Any, TypeVar

from napari_pyramid.errors import PyramidError
from napari_pyramid.storage.private_names import dask_client_of, dask_options_of

__all__ = ["DaskExecutor", "as_executor", "dashboard_of"]

T = TypeVar("T")

TIMEOUT = 10
"""Seconds in which a scheduler must answer at first."""
PATIENCE = 600
"""Seconds in which a scheduler must be back after the connection was lost."""

_guard = threading.Lock()
_clients: dict[str, Any] = {}
"""Client of each address: the widget plans after each change of its form."""


class DaskExecutor(Executor):
    """An executor of a dask client; unlike dask's own, it ends every future.

    The future of a call whose result was lost, with its worker or with the scheduler, ends with
    CancelledError.

    Parameters
    ----------
    client
        A ``distributed.Client``, which is left open.
    options
        Keywords of ``client.submit``: workers, resources, retries.
    """

    def __init__(self, client: Any, options: Mapping[str, Any] | None = None) -> None:
        self.client = client
        self._options = {**(options or {}), "pure": False}

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Hand a call to the scheduler."""
        theirs = self.client.submit(fn, *args, **kwargs, **self._options)
        ours: Future[T] = Future()

        async def follow() -> None:
            try:
                result = await theirs
            except BaseException as error:
                # asyncio's CancelledError is another class, and dask's is a subclass of it.
                lost = theirs.status in ("cancelled", "lost", "finished")
                _end(ours, exception=CancelledError(str(error)) if lost else error)
            else:
                _end(ours, result)

        def cancel(future: Future[T]) -> None:
            if future.cancelled():
                theirs.cancel()

        ours.add_done_callback(cancel)
        self.client.loop.add_callback(follow)
        return ours


def _end(future: Future[T], result: Any = None, exception: BaseException | None = None) -> None:
    """Set the result or the exception of a future, unless it was cancelled."""
    if not future.set_running_or_notify_cancel():
        return
    if exception is not None:
        future.set_exception(exception)
    else:
        future.set_result(result)


def as_executor(given: Any) -> Executor | None:
    """Return the executor that is meant by an executor, a dask client, or an address.

    Parameters
    ----------
    given
        An executor, which is returned as it is unless a dask client has made it; a
        ``distributed.Client``; the address of a scheduler, such as ``tcp://host:8786``; or None.

    Raises
    ------
    PyramidError
        If dask.distributed is not installed, or no scheduler answers at the address.
    """
    if isinstance(given, str):
        return DaskExecutor(_client_at(given))
    if isinstance(given, Executor):
        client = dask_client_of(given)
        return given if client is None else DaskExecutor(client, dask_options_of(given))
    return given if given is None else DaskExecutor(given)


def _client_at(address: str) -> Any:
    """Return the client of an address.

    Other users of dask in this process are not affected: the client is not the default one.
    """
    with _guard:
        client = _clients.get(address)
        if client is None or client.status != "running":
            client = _clients[address] = _connected(address)
    return client


def _connected(address: str) -> Any:
    try:
        distributed: Any = importlib.import_module("distributed")  # it has no types
    except ImportError:
        raise PyramidError(
            'a dask scheduler needs dask.distributed: pip install "napari-pyramid[cluster]"'
        ) from None
    try:
        # A client has one timeout for two things: the first answer, and connecting again.
        distributed.Client(address, timeout=TIMEOUT, set_as_default=False).close()
        return distributed.Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise PyramidError(f"no dask scheduler answers at {address}: {error}") from error


def dashboard_of(executor: Executor | None) -> str | None:
    """Return the URL of the dashboard of an executor's scheduler; None for other executors."""
    return str(executor.client.dashboard_link) if isinstance(executor, DaskExecutor) else None
