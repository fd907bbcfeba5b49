"""Register chunk codecs of imagecodecs (JPEG 2000, JPEG XL, LERC, ...) with zarr, on demand.

Only a codec that a store names and that is not registered yet is registered, so other code in the
process sees no change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from napari_pyramid.errors import LayoutError

__all__ = ["provide_codecs"]

_PREFIX = "imagecodecs_"
_DEEPEST = 4
"""Shards in shards, each with codecs of its own."""


def provide_codecs(metadata: Mapping[str, Any]) -> None:
    """Register the codecs of imagecodecs that the metadata of an array name, if any.

    Parameters
    ----------
    metadata
        ``.zarray`` of zarr v2, or ``zarr.json`` of v3: both call them ``"imagecodecs_jpegxl"`` and
        the like.

    Raises
    ------
    LayoutError
        If such a codec is named and imagecodecs is not installed, or does not have it.
    """
    if metadata.get("zarr_format") == 3:
        for name in _names_in(metadata.get("codecs")):
            _register_v3(name)
        return
    filters = metadata.get("filters")
    for codec in (metadata.get("compressor"), *(filters if isinstance(filters, list) else ())):
        identifier = codec.get("id") if isinstance(codec, Mapping) else None
        if isinstance(identifier, str) and identifier.startswith(_PREFIX):
            _register_v2(identifier)


def _names_in(codecs: object, depth: int = 0) -> Iterator[str]:
    """Yield the codecs of imagecodecs in a codec list of zarr v3, also those inside shards."""
    for codec in codecs if isinstance(codecs, list) and depth < _DEEPEST else ():
        name = codec.get("name") if isinstance(codec, Mapping) else codec
        if isinstance(name, str) and name.startswith(_PREFIX):
            yield name
        configuration = codec.get("configuration") if isinstance(codec, Mapping) else None
        if isinstance(configuration, Mapping):
            yield from _names_in(configuration.get("codecs"), depth + 1)


def _register_v2(identifier: str) -> None:
    from numcodecs.registry import codec_registry  # type: ignore[import-untyped]  # numcodecs has no types

    if identifier in codec_registry:
        return
    try:
        import imagecodecs.numcodecs
    except ImportError as error:
        raise _missing(identifier) from error
    imagecodecs.numcodecs.register_codecs([identifier], verbose=False)
    if identifier not in codec_registry:
        raise LayoutError(f"codec {identifier!r} is not in imagecodecs {imagecodecs.__version__}")


def _register_v3(name: str) -> None:
    from zarr.errors import UnknownCodecError
    from zarr.registry import get_codec_class, register_codec

    try:
        get_codec_class(name)
        return
    except (KeyError, UnknownCodecError):
        pass  # unknown until now; zarr-python 3.1 raises the former, later ones the latter
    try:
        import imagecodecs
    except ImportError as error:
        raise _missing(name) from error
    try:
        import imagecodecs.zarr
    except ImportError as error:
        raise LayoutError(
            f"codec {name!r} in zarr v3 needs an imagecodecs newer than "
            f"{imagecodecs.__version__}, which knows zarr v2 only"
        ) from error
    codec = getattr(imagecodecs.zarr, name.removeprefix(_PREFIX).capitalize(), None)
    if codec is None:
        raise LayoutError(f"codec {name!r} is not in imagecodecs {imagecodecs.__version__}")
    register_codec(name, codec)


def _missing(name: str) -> LayoutError:
    return LayoutError(
        f'codec {name!r} needs the package imagecodecs: pip install "napari-pyramid[imagecodecs]"'
    )
