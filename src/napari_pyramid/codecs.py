"""Chunk codecs of imagecodecs (JPEG 2000, JPEG XL, LERC, ...), made known to zarr when a store asks for one.

Only a codec that is asked for and that nobody else knows is registered, so other code in the process sees no change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_pyramid.errors import LayoutError

__all__ = ["provide_codecs"]

_PREFIX = "imagecodecs_"


def provide_codecs(metadata: Mapping[str, Any]) -> None:
    """Register the codecs of imagecodecs that a ``.zarray`` names; cheap and silent when it names none.

    Parameters
    ----------
    metadata
        ``.zarray`` of zarr v2. Zarr v3 has no names for these codecs.

    Raises
    ------
    LayoutError
        If such a codec is named and imagecodecs is not installed, or does not have it.
    """
    filters = metadata.get("filters")
    for codec in (metadata.get("compressor"), *(filters if isinstance(filters, list) else ())):
        identifier = codec.get("id") if isinstance(codec, Mapping) else None
        if isinstance(identifier, str) and identifier.startswith(_PREFIX):
            _register(identifier)


def _register(identifier: str) -> None:
    from numcodecs.registry import codec_registry  # type: ignore[import-untyped]

    if identifier in codec_registry:
        return
    try:
        import imagecodecs.numcodecs
    except ImportError as error:
        raise LayoutError(f'codec {identifier!r} needs the package imagecodecs: pip install "napari-pyramid[imagecodecs]"') from error
    imagecodecs.numcodecs.register_codecs([identifier], verbose=False)
    if identifier not in codec_registry:
        raise LayoutError(f"codec {identifier!r} is none of imagecodecs {imagecodecs.__version__}")
