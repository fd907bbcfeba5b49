"""Describe a fault of a store as a value."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault of a store, and its place."""

    path: str
    """Of the group or array inside the store, or of the store itself."""
    key: str
    """Key of the metadata; ``""`` for a fault that is not in the metadata."""
    message: str
    is_repairable: bool = False
    """Whether `repair_store` can repair it, because other metadata say what is right."""

    def __str__(self) -> str:
        where = " ".join(part for part in (self.path, self.key) if part)
        return (
            f"{where}: {self.message}"
            if where and not self.message.startswith(where)
            else self.message
        )
