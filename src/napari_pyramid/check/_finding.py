"""One thing that is wrong with a store. Knows neither how it was found nor how to mend it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, and where."""

    path: str
    """Of the group or array inside the store, or of the store itself."""
    key: str
    """Of the metadata, "" where it is none."""
    message: str
    is_mendable: bool = False
    """Whether `repair_store` mends it: metadata that follow from others."""

    def __str__(self) -> str:
        where = " ".join(part for part in (self.path, self.key) if part)
        return (
            f"{where}: {self.message}"
            if where and not self.message.startswith(where)
            else self.message
        )
