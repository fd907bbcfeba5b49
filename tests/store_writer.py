"""Write small stores file by file, the way the specifications print them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr


class StoreWriter:
    """A zarr hierarchy in a directory: arrays by zarr-python, attributes as given."""

    def __init__(self, root: Path, zarr_format: Literal[2, 3]) -> None:
        self.root = root
        self.zarr_format = zarr_format

    def group(self, path: str = "", /, **attributes: Any) -> StoreWriter:
        """A group with attributes; in zarr v3 they are in "ome", unless they are given as `raw`."""
        directory = self.root / path
        directory.mkdir(parents=True, exist_ok=True)
        raw = attributes.pop("raw", None)
        if self.zarr_format == 2:
            (directory / ".zgroup").write_text('{"zarr_format": 2}')
            (directory / ".zattrs").write_text(json.dumps(attributes if raw is None else raw))
        else:
            raw = ({"ome": attributes} if attributes else {}) if raw is None else raw
            (directory / "zarr.json").write_text(
                json.dumps({"zarr_format": 3, "node_type": "group", "attributes": raw})
            )
        return self

    def array(self, path: str, values: np.ndarray | tuple[int, ...], **options: Any) -> np.ndarray:
        """Write an array of values, or of a shape filled with 0, 1, 2, ... as uint16.

        Returns the values.
        """
        if isinstance(values, tuple):
            values = np.arange(np.prod(values), dtype=np.uint16).reshape(values)
        zarr.create_array(self.root / path, data=values, zarr_format=self.zarr_format, **options)
        return values

    def image(
        self, path: str, *shapes: tuple[int, ...], axes: str = "yx", **more: Any
    ) -> StoreWriter:
        """An OME-Zarr 0.4 or 0.5 image: levels 0, 1, ..., the scale from the shapes.

        `more` goes beside the axes.
        """
        for k, shape in enumerate(shapes):
            self.array(f"{path}/{k}".lstrip("/"), shape)
        beside = {key: more.pop(key) for key in ("omero", "image-label", "version") if key in more}
        return self.group(path, multiscales=[multiscale(axes, *shapes, **more)], **beside)


def multiscale(axes: str, *shapes: tuple[int, ...], **more: Any) -> dict[str, Any]:
    """The metadata of one multiscale with levels 0, 1, ..., as OME-Zarr 0.4 has them."""
    kinds = {"t": {"type": "time"}, "c": {"type": "channel"}}
    datasets = [
        {
            "path": str(k),
            "coordinateTransformations": [
                {"type": "scale", "scale": [a / b for a, b in zip(shapes[0], shape, strict=True)]}
            ],
        }
        for k, shape in enumerate(shapes)
    ]
    described = [{"name": a, **kinds.get(a, {"type": "space", "unit": "micrometer"})} for a in axes]
    return {"axes": described, "datasets": datasets, **more}
