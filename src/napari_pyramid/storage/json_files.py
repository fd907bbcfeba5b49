"""Write JSON files so that a reader sees the old or the new document, never half of one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from napari_pyramid.storage.folder import Folder, Place

__all__ = ["write_json"]


def write_json(path: Place, document: dict[str, Any], *, staging: Place | None = None) -> None:
    """Replace a JSON file atomically: readers see the old or the new file, never a part.

    Parameters
    ----------
    staging
        Directory on the same disk for the temporary file, so that a crash leaves no temporary file
        beside the target. By default, the directory of the file. A bucket needs none: its objects
        are replaced whole.
    """
    content = (json.dumps(document, indent=2, default=_plain) + "\n").encode()
    if isinstance(path, Folder):
        path.write_bytes(content)
        return
    assert not isinstance(staging, Folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = (staging or path.parent) / f".{path.name}.part"
    part.write_bytes(content)
    part.replace(path)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not JSON")
