"""Open SOURCE, as the user names it: a path, an array or levels for the engine.

Reads stores of our layouts, .npy files, and whatever npe2 finds a reader plugin for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_pyramid.axes import parse_axes
from napari_pyramid.build.source import BuildSource
from napari_pyramid.errors import LayoutError, SourceError
from napari_pyramid.image import pick_image
from napari_pyramid.layer_image import LayerImage, images_of_layers, layers_in_viewer, losses
from napari_pyramid.layouts import open_images
from napari_pyramid.storage.address import public_url
from napari_pyramid.storage.layout_warnings import warn

__all__ = ["OpenedSource", "open_source"]


@dataclass(frozen=True, slots=True)
class OpenedSource:
    """A source that is opened, and the options that its file decides."""

    data: Any
    """An opened image, so that the engine knows the files beside level 0; else an array, or levels
    that are kept."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keywords of `iter_build` that the file or the reader plugin decides."""

    def with_recipe(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keywords of `iter_build`: the given ones, else the ones that the file decides.

        Known channels are left out if the given axes make another number of channels.
        """
        options = {**self.options, **given}
        if "axes" in given and "channels" in options:
            shape = (self.data[0] if isinstance(self.data, tuple) else self.data).shape
            axes = parse_axes(given["axes"], len(shape))
            counts = [n for n, a in zip(shape, axes, strict=True) if a.type == "channel"]
            if len(options["channels"]) != (counts[0] if counts else 1):
                del options["channels"]
        return options


def open_source(
    path: str,
    image: str | None = None,
    *,
    keep_levels: bool = True,
    storage_options: Mapping[str, Any] | None = None,
) -> OpenedSource:
    """Open a store of one of our layouts, a .npy file, or a file that an installed plugin reads.

    Parameters
    ----------
    path
        What the user named. A .npy file is memory-mapped.
    image
        Name of one of several images there; None takes the first, with a warning if there are more.
    keep_levels
        Whether the levels of a plugin's multiscale image are the levels of the pyramid, as they are
        when napari saves it; otherwise all are built from level 0. Stores of our layouts are always
        built from level 0.
    storage_options
        Credentials and the like for a URL.

    Raises
    ------
    LayoutError
        If it is a directory or zip that no layout knows, and no plugin either; or no image there is
        called `image`.
    SourceError
        If nothing is there, or nothing installed reads it.
    SpecError
        If what a plugin says of the image cannot be stored.
    """
    if path.lower().endswith(".npy"):
        return _from_npy(Path(path))
    try:
        images = open_images(path, storage_options=storage_options)
    except LayoutError as error:
        if "://" in path:
            raise
        if not Path(path).exists():
            raise SourceError(f"{path} does not exist") from None
        found = _from_plugin(path, image, error)
        data = found.source if keep_levels else found.levels[0]
        return OpenedSource(data, {k: v for k, v in found.build_options.items() if v})
    place = public_url(path)
    if image is None:
        _warn_of_others(place, [i.name or i.path for i in images])
    return OpenedSource(BuildSource.of_image(pick_image(images, image, place), path))


def _warn_of_others(path: str, names: Sequence[str]) -> None:
    if len(names) > 1:
        rest = ", ".join(repr(name) for name in names[1:])
        warn(
            f"{path} holds {len(names)} images: {names[0]!r} is taken, not {rest} "
            "(choose with --image NAME)"
        )


def _from_npy(path: Path) -> OpenedSource:
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    return OpenedSource(array, {"name": path.stem})


def _from_plugin(path: str, name: str | None, refusal: LayoutError) -> LayerImage:
    """Return an image of a file that a plugin reads; `refusal` says why our layouts do not."""
    layers = layers_in_viewer(_read_by_plugin(path, refusal), path)
    shown = [layer for layer in layers if layer[2] in ("image", "labels")]
    if not shown:
        kinds = ", ".join(kind for _, _, kind in layers) or "no layer"
        raise SourceError(f"{path} holds no image: the plugin that reads it gave {kinds}")
    for message in losses(shown):
        warn(message)
    images = images_of_layers(shown)
    if name is None:
        _warn_of_others(path, [image.name for image in images])
    return pick_image(images, name, path)


def _read_by_plugin(path: str, refusal: LayoutError) -> Sequence[Sequence[Any]]:
    from npe2 import PluginManager, io_utils

    PluginManager.instance().discover()
    try:
        return io_utils.read([path], stack=False)
    # Not narrower: the reader is someone else's plugin, and may fail with whatever its own code or
    # data raise.
    except Exception as error:
        if "No readers returned data" in str(error):
            raise SourceError(f"{refusal}; no installed napari plugin reads it either") from None
        raise SourceError(
            f"{path} cannot be read by the installed napari plugins: {error}"
        ) from error
