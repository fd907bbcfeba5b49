"""Read this plugin's preferences from napari (Preferences > Image pyramids), or their defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from napari_pyramid.arrays import chunked_source
from napari_pyramid.arrays.chunk_cache import default_budget, machine_memory
from napari_pyramid.errors import LayoutError
from napari_pyramid.metadata.codecs import DEFAULT_CODEC
from napari_pyramid.storage.address import is_remote, parse_address

__all__ = [
    "BuildDefaults",
    "browse_above",
    "build_defaults",
    "follow_build_defaults",
    "options_for",
    "parse_options",
    "read_ahead",
    "shows_progressively",
    "storage_options",
    "use_cache_size",
    "volume_bytes",
]


@dataclass(frozen=True, slots=True)
class BuildDefaults:
    """Defaults of a new build, in the form and when layers are saved."""

    codec: str
    """Name of a codec, such as "blosc-zstd-1"."""
    format: Literal["0.5", "0.4"]
    """Version of OME-Zarr."""
    workers: int | None
    """Number of threads; None to choose one from the machine."""


def shows_progressively() -> bool:
    """Return whether layers show coarser samples until exact samples have been read."""
    return bool(_preference("viewing", "progressive", True))


def volume_bytes() -> int:
    """Return the bytes that one layer may take in the 3-D view.

    The preference, or by default a part of the machine's memory.
    """
    megabytes = int(_preference("viewing", "volume_megabytes", 0))
    if megabytes > 0:
        return megabytes * 2**20
    return max(64 * 2**20, min(512 * 2**20, machine_memory() // 64))


def use_cache_size() -> None:
    """Give the cache of decoded chunks the size in the preferences."""
    megabytes = int(_preference("viewing", "cache_megabytes", 0))
    chunked_source.CACHE.resize(megabytes * 2**20 if megabytes > 0 else default_budget())


def read_ahead() -> float:
    """Return the part of the cache, 0 to 0.5, that chunks outside of the view may take."""
    return min(50, max(0, int(_preference("viewing", "read_ahead", 25)))) / 100


def browse_above() -> int:
    """Return the number of images above which a store opens in the browser."""
    return max(1, int(_preference("browsing", "browse_above", 8)))


def build_defaults() -> BuildDefaults:
    """Return codec, format and workers of new builds."""
    workers = int(_preference("building", "workers", 0))
    chosen = str(_preference("building", "format", "0.5"))
    return BuildDefaults(
        str(_preference("building", "codec", DEFAULT_CODEC)) or DEFAULT_CODEC,
        "0.4" if chosen == "0.4" else "0.5",
        workers if workers > 0 else None,
    )


def follow_build_defaults(on_change: Callable[[], None]) -> Callable[[], None]:
    """Call `on_change` when a default of new builds changes; return a function that ends this."""
    emitters = getattr(_preference_group("building"), "events", None)
    if emitters is None:
        return lambda: None

    def changed(event: object) -> None:
        on_change()

    emitters.connect(changed)

    def end() -> None:
        emitters.disconnect(changed)

    return end


def storage_options() -> dict[str, str]:
    """Return the storage options for URLs.

    Raises
    ------
    LayoutError
        If the preference has another form than "name=value, name=value".
    """
    return parse_options(str(_preference("remote", "storage_options", "")))


def options_for(place: str | None) -> dict[str, str] | None:
    """Return the storage options that fit a URL; None for a path of this machine.

    Raises
    ------
    LayoutError
        If the preference has another form than "name=value, name=value", or the URL cannot be
        understood.
    """
    if place is None or not is_remote(place):
        return None
    options = storage_options()
    if not options:
        return {}
    from napari_pyramid.storage.url_options import fitting_options  # most have no options

    return fitting_options(parse_address(place), options)


def parse_options(text: str) -> dict[str, str]:
    """Return the options in a text "name=value, name=value", or with one on each line.

    Raises
    ------
    LayoutError
        If a part has no "=".
    """
    found = {}
    for part in text.replace("\n", ",").split(","):
        name, equals, value = part.partition("=")
        if not part.strip():
            continue
        if not equals or not name.strip():
            raise LayoutError(
                f"storage options: {part.strip()!r} is not of the form name=value, "
                "such as anonymous=true"
            )
        found[name.strip()] = value.strip()
    return found


def _preference(group: str, name: str, default: Any) -> Any:
    return getattr(_preference_group(group), name, default)


def _preference_group(name: str) -> Any:
    """Return a group of preferences; None without it, or if this napari has no such groups."""
    try:
        from napari.settings import get_plugin_settings  # since napari 0.9
    except ImportError:
        return None
    try:
        return getattr(get_plugin_settings("napari-pyramid"), name)
    except (AttributeError, KeyError):  # napari has read the manifest of another version
        return None
