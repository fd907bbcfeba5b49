"""Read and replace the attributes of a group on disk, with OME-Zarr's multiscales among them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from napari_pyramid.downsample import RESIDUAL_GROUPS
from napari_pyramid.errors import DestinationError
from napari_pyramid.storage.folder import Place
from napari_pyramid.storage.json_files import write_json
from napari_pyramid.storage.ome_keys import has_ome_keys, ome_part

__all__ = ["Attributes", "find_multiscale", "listed_multiscales", "named_paths"]


class Attributes:
    """The attributes of one group on disk, read and replaced as a whole.

    Parameters
    ----------
    staging
        Directory in which new metadata are written first; see `write_json`.

    Raises
    ------
    DestinationError
        If the metadata have another value where an object must be: it would be lost.
    """

    def __init__(self, directory: Place, *, staging: Place | None = None) -> None:
        self.directory = directory
        self._staging = staging
        self.zarr_format = (
            2 if (directory / ".zgroup").exists() and not (directory / "zarr.json").exists() else 3
        )
        self._path = directory / (".zattrs" if self.zarr_format == 2 else "zarr.json")
        document = _read_object(self._path)
        self._document: dict[str, Any] = (
            document
            if self.zarr_format == 2
            else {"zarr_format": 3, "node_type": "group", **document}
        )
        if self.zarr_format == 3:
            self._document["attributes"] = self._object(
                "attributes", self._document.get("attributes")
            )
        if "ome" in self.all:
            self.all["ome"] = self._object("ome", self.all["ome"])

    def _object(self, key: str, value: Any) -> dict[str, Any]:
        """Return a value that must be an object; null counts as an empty object."""
        if not isinstance(value, dict | None):
            raise DestinationError(
                f"{self._path}: {key} is {type(value).__name__}, expected an object; "
                "correct it by hand first"
            )
        return value or {}

    @classmethod
    def create(
        cls, directory: Place, zarr_format: int, *, staging: Place | None = None
    ) -> Attributes:
        """Return the attributes of a group, which is created if it does not exist.

        The attributes are written by `save`.
        """
        if zarr_format == 2 and not (directory / "zarr.json").exists():
            write_json(directory / ".zgroup", {"zarr_format": 2}, staging=staging)
        return cls(directory, staging=staging)

    @property
    def all(self) -> dict[str, Any]:
        """All attributes; changes are kept by `save`."""
        found: dict[str, Any] = (
            self._document if self.zarr_format == 2 else self._document["attributes"]
        )
        return found

    @property
    def ome(self) -> dict[str, Any]:
        """The object that holds OME-Zarr's keys; changes are kept by `save`.

        Without OME-Zarr metadata it is a new ``"ome"`` object of 0.5 in zarr v3, and all attributes
        in v2.
        """
        found = ome_part(self.all)
        if self.zarr_format == 3 and found is self.all and not has_ome_keys(found):
            found = self.all.setdefault("ome", {"version": "0.5"})
        return found

    def save(self) -> None:
        """Write the attributes, in one step."""
        write_json(self._path, self._document, staging=self._staging)


def find_multiscale(attributes: Attributes, path: str, series: str | None) -> dict[str, Any] | None:
    """Return the first entry of ``multiscales`` that names the array at `path`.

    If `series` is given, the entry must have that name.

    Returns
    -------
    dict or None

    Raises
    ------
    DestinationError
        If the metadata are of a version whose levels cannot be added to, or other levels have the
        name of the series.
    """
    if series is not None:
        _refuse_taken_name(attributes, path, series)
    for entry in listed_multiscales(attributes):
        if series is not None and entry.get("name") != series:
            continue
        if "coordinateSystems" in entry:
            raise DestinationError(
                f"{attributes.directory}: levels cannot be added to OME-Zarr 0.6; build a new store"
            )
        if any(isinstance(d, dict) and d.get("path") == path for d in entry["datasets"]):
            return entry
    return None


def listed_multiscales(attributes: Attributes) -> list[dict[str, Any]]:
    """Return the entries of ``multiscales`` that have ``datasets``."""
    listed = attributes.ome.get("multiscales")
    entries = listed if isinstance(listed, list) else []
    return [e for e in entries if isinstance(e, dict) and isinstance(e.get("datasets"), list)]


def named_paths(entry: Mapping[str, Any]) -> list[str]:
    """Return the paths that an entry of ``multiscales`` names."""
    found = (d.get("path") for d in entry["datasets"] if isinstance(d, dict))
    return [path for path in found if isinstance(path, str)]


def _refuse_taken_name(attributes: Attributes, base: str, series: str) -> None:
    """Refuse a series whose group would hold residuals, or the levels of the image itself."""
    if series in RESIDUAL_GROUPS:
        raise DestinationError(
            f"{attributes.directory}: {series!r} is the name of residuals, "
            "and cannot name a series: choose another name"
        )
    image = find_multiscale(attributes, base, None)
    if image is None or image.get("name") != series:
        return
    if not all(path.startswith(f"{series}/") for path in named_paths(image) if path != base):
        raise DestinationError(
            f"{attributes.directory}: {series!r} is the name of the image itself, "
            "and cannot name a series: choose another name"
        )


def _read_object(path: Place) -> dict[str, Any]:
    """Return the JSON object in a file; an empty object if the file does not exist."""
    if not path.exists():
        return {}
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise DestinationError(f"{path}: not JSON ({error}); correct it by hand first") from error
    if not isinstance(document, dict):
        raise DestinationError(
            f"{path}: {type(document).__name__} instead of an object; correct it by hand first"
        )
    return document
