"""Read this plugin's preferences from napari (Preferences > Plugins), or their defaults."""

from __future__ import annotations

from typing import Any

from napari_pyramid.arrays.chunk_cache import machine_memory

__all__ = ["shows_progressively", "volume_bytes"]


def shows_progressively() -> bool:
    """Return whether layers show coarser samples until exact samples have been read."""
    return bool(_viewing("progressive", True))


def volume_bytes() -> int:
    """Return the bytes that one layer may take in the 3-D view.

    The preference, or by default a part of the machine's memory.
    """
    megabytes = int(_viewing("volume_megabytes", 0))
    if megabytes > 0:
        return megabytes * 2**20
    return max(64 * 2**20, min(512 * 2**20, machine_memory() // 64))


def _viewing(name: str, default: Any) -> Any:
    try:
        from napari.settings import get_plugin_settings  # since napari 0.9
    except ImportError:
        return default
    try:
        return getattr(get_plugin_settings("napari-pyramid").viewing, name)
    except (AttributeError, KeyError):  # napari has read the manifest of another version
        return default
