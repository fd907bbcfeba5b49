"""Name the options of a build, hold its arguments, and check them without source and disk."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, cast

from napari_pyramid.build.dask_executor import as_executor
from napari_pyramid.errors import SpecError
from napari_pyramid.image import Channel
from napari_pyramid.metadata.image_attributes import ZARR_FORMAT, Version
from napari_pyramid.plan.options import SpecOptions, refuse_unknown
from napari_pyramid.plan.spec import PyramidSpec
from napari_pyramid.regions import Region

__all__ = ["BuildOptions", "Request"]


class BuildOptions(SpecOptions, total=False):
    """Keywords of `plan_build`, which describes them, for ``**options: Unpack[BuildOptions]``.

    They include the keywords of `PyramidSpec.from_array`. The defaults are in `Request`.
    """

    in_place: bool
    format: Version | None
    image: str | None
    storage_options: Mapping[str, Any] | None
    series: str | None
    overwrite: bool
    resume: bool
    max_workers: int | None
    memory_limit: int | None
    channels: Sequence[Channel]
    label_colors: Mapping[int, tuple[int, int, int, int]] | None
    label_properties: Sequence[Mapping[str, Any]]
    executor: Executor | str | None
    verify: bool
    skip_unreadable: bool
    regions: Sequence[Region] | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """The arguments of `plan_build`."""

    source: Any
    destination: str | os.PathLike[str] | object | None = None
    spec: PyramidSpec | None = None
    in_place: bool = False
    format: Version | None = None
    image: str | None = None
    storage_options: Mapping[str, Any] | None = None
    series: str | None = None
    overwrite: bool = False
    resume: bool = True
    max_workers: int | None = None
    memory_limit: int | None = None
    channels: Sequence[Channel] = ()
    label_colors: Mapping[int, tuple[int, int, int, int]] | None = None
    label_properties: Sequence[Mapping[str, Any]] = ()
    executor: Executor | None = None
    verify: bool = False
    skip_unreadable: bool = False
    regions: Sequence[Region] | None = None
    options: SpecOptions = field(default_factory=SpecOptions)

    @classmethod
    def of(
        cls,
        source: Any,
        destination: str | os.PathLike[str] | object | None,
        spec: PyramidSpec | None,
        options: BuildOptions,
    ) -> Request:
        """Return the request of the arguments of `plan_build`.

        Raises
        ------
        TypeError
            If an option is unknown; the message offers the nearest one.
        """
        refuse_unknown(options, BuildOptions.__optional_keys__)
        of_spec = {k: v for k, v in options.items() if k in SpecOptions.__optional_keys__}
        of_build: dict[str, Any] = {k: v for k, v in options.items() if k not in of_spec}
        of_build["executor"] = as_executor(options.get("executor"))
        if of_build.get("regions") is not None:
            of_build["regions"] = tuple(of_build["regions"])
        return cls(
            source=source,
            destination=destination,
            spec=spec,
            options=cast("SpecOptions", of_spec),
            **of_build,
        )

    @property
    def has_target(self) -> bool:
        """Whether the request says where the levels go; without it a build can only be planned."""
        return self.destination is not None or self.in_place or self.regions is not None

    def check(self) -> None:
        """Raise if the arguments contradict each other.

        Raises
        ------
        SpecError
            If a path is empty, the format cannot be written, or two arguments exclude each other.
        """
        for what, path in (("source", self.source), ("destination", self.destination)):
            if isinstance(path, str) and not path:
                raise SpecError(f"the path of the {what} is empty: give a path")
        if self.format is not None and self.format not in ZARR_FORMAT:
            raise SpecError(
                f"format {self.format!r} cannot be written: use 0.5 (zarr v3) or 0.4 (zarr v2)"
            )
        if self.spec is not None and self.options:
            names = ", ".join(sorted(self.options))
            raise SpecError(f"{names}: given beside a spec; put them into the spec")
        if self.destination is not None and (self.in_place or self.regions is not None):
            raise SpecError("a destination was given for a build in place: give one of them")
        if self.regions is not None and (self.verify or self.skip_unreadable):
            raise SpecError(
                "verify and skip_unreadable are for whole builds: leave them out with regions"
            )
