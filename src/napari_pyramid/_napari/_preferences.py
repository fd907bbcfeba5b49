"""The preferences of this plugin: Preferences > Plugins in napari, their defaults where napari has none."""

from __future__ import annotations

__all__ = ["shows_progressively"]


def shows_progressively() -> bool:
    """Whether layers show coarser samples until exact ones have been read."""
    try:
        from napari.settings import get_plugin_settings  # since napari 0.9
    except ImportError:
        return True
    try:
        return bool(get_plugin_settings("napari-pyramid").viewing.progressive)
    except (AttributeError, KeyError):  # the manifest that napari knows is of another version
        return True
