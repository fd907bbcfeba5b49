"""Open stores in a running window: few images as layers, many in the browser, URLs in background.

napari calls a reader in the GUI thread and waits for its layers. `open_for_window` lets the reader
return at once, and adds layers when they have been read.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from napari.utils import progress
from napari.utils.notifications import show_error, show_warning
from napari.viewer import current_viewer
from qtpy.QtCore import QObject, QThread, QTimer
from qtpy.QtWidgets import QApplication, QWidget

from napari_pyramid._napari._background import Background, Outcome
from napari_pyramid._napari._docks import show_dock
from napari_pyramid._napari._from_image import layers_of
from napari_pyramid._napari._preferences import browse_above, options_for
from napari_pyramid._napari._private import create_layer, main_window
from napari_pyramid._napari._progressive import watch, watch_viewers
from napari_pyramid.catalog import Catalog, open_catalog
from napari_pyramid.errors import LayoutError, LayoutWarning, one_line
from napari_pyramid.image import Image
from napari_pyramid.layer_image import LayerTuple
from napari_pyramid.storage.address import is_remote, public_url
from napari_pyramid.storage.host_names import refuse_unknown_host
from napari_pyramid.storage.layout_warnings import collected_warnings
from napari_pyramid.words import capitalized

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer


__all__ = [
    "LayerAdder",
    "add_unread",
    "browse",
    "browser_of",
    "open_for_window",
    "open_in_background",
    "show_store_warnings",
]

_SHOWN_WARNINGS = 3


def open_for_window(path: str) -> Sequence[Image] | None:
    """Open a path as a person in front of a window expects it.

    Return the images if they are few; () if the browser or the background has taken over; None
    where a script called, which waits for its layers.
    """
    viewer = current_viewer()
    if viewer is None or not _handles_events(viewer):
        return None
    if is_remote(path):
        open_in_background(viewer, path, options_for(path))
        return ()
    with collected_warnings() as found:
        catalog, is_large = open_catalog(path).look_ahead(browse_above())
        images = () if is_large else tuple(catalog.images())
    if not is_large:
        for warning in {str(w): w for w in found}.values():
            warnings.warn(warning, stacklevel=3)
        return images
    show_store_warnings(found)
    _when_shown(main_window(viewer), lambda: browse(viewer, catalog))
    return ()


def _when_shown(window: QWidget, act: Callable[[], None]) -> None:
    """Call `act` once a window is shown: docks that are added before make it too wide."""
    if window.isVisible():
        act()
        return
    timer = QTimer(window)

    def look() -> None:
        if window.isVisible():
            timer.stop()
            act()

    timer.timeout.connect(look)
    timer.start(20)


def _handles_events(viewer: Viewer) -> bool:
    """Return whether a person opens something, in a window or with napari's command.

    A script, which waits for its layers, does not.
    """
    app, window, thread = QApplication.instance(), main_window(viewer), QThread.currentThread()
    if app is None or window is None or thread is None or app.thread() is not thread:
        return False
    if thread.loopLevel() == 0:
        return _is_command_line()
    return bool(window.isVisible())


def _is_command_line() -> bool:
    """Return whether the command ``napari PATH`` or ``python -m napari PATH`` runs.

    It opens its paths before it shows the window and handles events.
    """
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return "napari.__main__" in sys.modules or getattr(spec, "name", "") == "napari.__main__"


class CatalogBrowser(Protocol):
    """The dock widget that shows a catalog; napari makes it by its name in the manifest."""

    def show_catalog(self, catalog: Catalog) -> None:
        """Show the images of a catalog."""
        ...


def browser_of(viewer: Viewer) -> CatalogBrowser:
    """Return the browser of a viewer; it is docked if it is not there yet."""
    found: CatalogBrowser = show_dock(viewer, "Browse images")
    return found


def browse(viewer: Viewer, catalog: Catalog) -> None:
    """Show a catalog in the browser of a viewer."""
    browser_of(viewer).show_catalog(catalog)


def open_in_background(
    viewer: Viewer,
    path: str,
    options: Mapping[str, Any] | None = None,
    on_end: Callable[[str], None] | None = None,
    *,
    always_browse: bool = False,
) -> None:
    """Open a path or URL on a thread, then add its layers or show it in the browser.

    Parameters
    ----------
    on_end
        Called once in the GUI thread with the reason for a failure in one line, or "". Without it,
        a failure is shown as a notification.
    always_browse
        Show the store in the browser even if it has few images.
    """
    window: QWidget = main_window(viewer)
    source = public_url(path)
    background = Background(window, on_warnings=show_store_warnings)
    bar = progress(total=0, desc=f"Opening {source}")

    virtual_levels = watch_viewers()

    def read() -> Catalog | list[LayerTuple]:
        refuse_unknown_host(path, options)
        listed = open_catalog(path, storage_options=options if is_remote(path) else None)
        catalog, is_large = listed.look_ahead(browse_above())
        if is_large or always_browse:
            return catalog
        return layers_of(catalog.images(), source, virtual_levels=virtual_levels)

    def end(outcome: Outcome) -> None:
        bar.close()
        background.close()
        background.deleteLater()
        if outcome.error is not None:
            reason = _reason(outcome.error, source)
            if on_end is None:
                show_error(reason)
            else:
                on_end(reason)
            return
        if isinstance(outcome.result, Catalog):
            browse(viewer, outcome.result)
        else:
            adder = LayerAdder(viewer, window, lambda: adder.deleteLater())
            adder.add(outcome.result, source)
        if on_end is not None:
            on_end("")

    background.run(read, end)


def _reason(error: Exception, source: str) -> str:
    text = one_line(error)
    is_named = isinstance(error, LayoutError) or source in text
    return capitalized(text) if is_named else f"{source} cannot be opened: {text}"


def show_store_warnings(found: Sequence[LayoutWarning]) -> None:
    """Show warnings about a store as notifications: the first few, and the number of the others."""
    messages = list(dict.fromkeys(map(str, found)))
    for message in messages[:_SHOWN_WARNINGS]:
        show_warning(message)
    if len(messages) > _SHOWN_WARNINGS:
        show_warning(f"{len(messages) - _SHOWN_WARNINGS} more warnings about this store")


class LayerAdder(QObject):
    """Add layers to a viewer one by one, so that the window answers in between.

    Parameters
    ----------
    owner
        No layer is added after it is destroyed.
    on_end
        Called when all layers have been added.
    """

    def __init__(
        self, viewer: Viewer, owner: QWidget, on_end: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(owner)
        self._viewer, self._on_end = viewer, on_end
        self._waiting: list[tuple[LayerTuple, str]] = []
        self._is_adding = False
        self._timer = QTimer(self)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._add_next)

    @property
    def is_busy(self) -> bool:
        """Whether layers wait to be added."""
        return bool(self._waiting) or self._is_adding

    def add(self, layers: Sequence[LayerTuple], source: str) -> None:
        """Add layers after those that wait already."""
        self._waiting += [(layer, source) for layer in layers]
        self._timer.start()

    def stop(self) -> None:
        """Drop the layers that wait."""
        self._waiting.clear()

    def _add_next(self) -> None:
        if self._is_adding:  # napari handles events while it adds a layer
            return
        if not self._waiting:
            self._timer.stop()
            self._on_end()
            return
        layer, source = self._waiting.pop(0)
        self._is_adding = True
        try:
            add_unread(self._viewer, layer, source)
        finally:
            self._is_adding = False


def add_unread(viewer: Viewer, layer: LayerTuple, source: str) -> Layer:
    """Add a layer, of which the window's own thread reads nothing if it is shown progressively.

    napari slices labels as soon as they are created, unless they are hidden.

    Parameters
    ----------
    source
        Path or URL that the layer was opened from.
    """
    watch(viewer)
    data, state, kind = layer
    waits = kind == "labels" and state.get("visible", True)
    made = create_layer(data, {**state, "visible": False} if waits else state, kind, source)
    viewer.add_layer(made)
    if waits:
        made.visible = True
    return made
