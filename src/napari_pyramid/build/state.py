"""Describe the progress of a build, as ``state.json`` keeps it.

                    begin
   (no work) ─────────────────► pixels ──► pixels      a chunk could not be read
                                  │
                                  │ publishing         all levels are written and verified
                                  ▼
                               publish                 levels and metadata move into place
                                  │
                                  │ finished
                                  ▼
   (no work) ◄───────────────── done

pixels and publish also become `discarded` when work is dropped, before its files are removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from napari_pyramid.image import Channel
from napari_pyramid.metadata.image_attributes import Description
from napari_pyramid.plan.schedule import PassPlan
from napari_pyramid.regions import Region

__all__ = ["VERSION", "BuildState", "Phase", "UnknownStateError", "UnreadableRegion"]

VERSION = 1
"""Number of the format of ``state.json``; increases whenever an older program would misread it."""
_UNVERSIONED = 0
"""States of programs before the first version number: they can be undone, but not resumed."""

Phase = Literal["pixels", "publish", "done", "discarded"]


class UnknownStateError(ValueError):
    """A state that this program cannot read; never leaves `Workspace`."""


@dataclass(frozen=True, slots=True)
class UnreadableRegion:
    """A region of a level that was read as fill value."""

    level: int
    region: tuple[tuple[int, int], ...]
    """First sample and end along each axis; the end is excluded."""

    @classmethod
    def of(cls, level: int, region: Region) -> UnreadableRegion:
        """Return a region of a level as start and stop."""
        return cls(level, tuple((s.start, s.stop) for s in region))

    def to_json(self) -> dict[str, Any]:
        """Return the region as JSON values."""
        return {"level": self.level, "region": [list(span) for span in self.region]}


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildState:
    """Progress of a build, with the data that finishing or undoing it needs."""

    phase: Phase
    fingerprint: str = ""
    """Digest of recipe, source and target; other builds have another."""
    plan: tuple[PassPlan, ...] = ()
    """The passes, which give the tile numbers in the journals their meaning."""
    group: str | None = None
    """In place: the group that levels are added to, relative to the parent of the workspace."""
    unreadable: tuple[UnreadableRegion, ...] = ()
    levels: tuple[str, ...] = ()
    """From `publish` on: paths of all levels and residuals, level 0 first."""
    surplus: tuple[str, ...] = ()
    """From `publish` on: paths of levels that the new metadata do not name any more."""
    description: Description | None = None
    """From `publish` on: the computed part of the metadata."""
    version: int = VERSION

    @property
    def is_current(self) -> bool:
        """Whether a program of this version wrote the state; only then it can be resumed."""
        return self.version == VERSION

    # ---- transitions ---------------------------------------------------------------------------

    @classmethod
    def begin(
        cls, fingerprint: str, plan: Sequence[PassPlan], group: str | None = None
    ) -> BuildState:
        """Return the state in which tiles are filled."""
        return cls(phase="pixels", fingerprint=fingerprint, plan=tuple(plan), group=group)

    def with_unreadable(self, regions: Sequence[UnreadableRegion]) -> BuildState:
        """Return the state with regions added that could not be read; no region is listed twice."""
        self._check_phase("pixels")
        return replace(self, unreadable=tuple(dict.fromkeys((*self.unreadable, *regions))))

    def publishing(
        self, levels: Sequence[str], surplus: Sequence[str], description: Description
    ) -> BuildState:
        """Return the state in which complete levels move into place."""
        self._check_phase("pixels")
        return replace(
            self,
            phase="publish",
            levels=tuple(levels),
            surplus=tuple(surplus),
            description=description,
        )

    def finished(self) -> BuildState:
        """Return the state in which everything is in place, and the workspace can be removed."""
        self._check_phase("publish")
        return replace(self, phase="done")

    @classmethod
    def discarded(cls) -> BuildState:
        """Return the state of work that is being removed."""
        return cls(phase="discarded")

    def _check_phase(self, phase: Phase) -> None:
        if self.phase != phase:
            raise ValueError(f"the build is in phase {self.phase!r}, and this step needs {phase!r}")

    # ---- JSON ----------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``state.json``."""
        out: dict[str, Any] = {
            "version": self.version,
            "phase": self.phase,
            "fingerprint": self.fingerprint,
            "plan": [asdict(p) for p in self.plan],
            "group": self.group,
            "unreadable": [r.to_json() for r in self.unreadable],
            "levels": self.levels,
            "surplus": self.surplus,
        }
        if self.description is not None:
            out["description"] = _description_to_json(self.description)
        return out

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> BuildState:
        """Return the state that a ``state.json`` holds.

        Of a state without a version only what undoing needs is read.

        Raises
        ------
        UnknownStateError
            If a later program wrote the state, or something is missing in it.
        """
        version = document.get("version", _UNVERSIONED)
        if version not in (VERSION, _UNVERSIONED):
            raise UnknownStateError(f"of version {version}")
        try:
            if document["phase"] not in get_args(Phase):
                raise UnknownStateError(f"in phase {document['phase']!r}")
            return _unversioned(document) if version == _UNVERSIONED else _current(document)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UnknownStateError("that is damaged") from error


def _current(document: Mapping[str, Any]) -> BuildState:
    described = document.get("description")
    return BuildState(
        phase=document["phase"],
        fingerprint=document["fingerprint"],
        plan=tuple(_pass_plan(p) for p in document["plan"]),
        group=document["group"],
        unreadable=tuple(
            UnreadableRegion(r["level"], tuple((start, stop) for start, stop in r["region"]))
            for r in document["unreadable"]
        ),
        levels=tuple(document["levels"]),
        surplus=tuple(document["surplus"]),
        description=None if described is None else _description_from_json(described),
    )


def _unversioned(document: Mapping[str, Any]) -> BuildState:
    described = document.get("description") or {}
    return BuildState(
        phase=document["phase"],
        group=document.get("group"),
        levels=tuple(document.get("levels", ())),
        surplus=tuple(described.get("surplus", ())),
        version=_UNVERSIONED,
    )


def _pass_plan(document: Mapping[str, Any]) -> PassPlan:
    tile, part = tuple(document["tile"]), tuple(document["part"])
    return PassPlan(**{**document, "tile": tile, "part": part})


def _description_to_json(description: Description) -> dict[str, Any]:
    return {
        "recipe": dict(description.recipe),
        "channels": [asdict(channel) for channel in description.channels],
        "ranges": [list(r) for r in description.ranges],
    }


def _description_from_json(document: Mapping[str, Any]) -> Description:
    return Description(
        recipe=document["recipe"],
        channels=tuple(map(_channel, document["channels"])),
        ranges=tuple((low, high) for low, high in document["ranges"]),
    )


def _channel(document: Mapping[str, Any]) -> Channel:
    window = document["window"]
    return Channel(**{**document, "window": None if window is None else tuple(window)})
