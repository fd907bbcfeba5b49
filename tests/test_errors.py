"""The tree of exceptions, as its module draws it."""

from __future__ import annotations

import re

import pytest

from napari_pyramid import errors

TREE = {
    "PyramidError": (Exception,),
    "SpecError": (errors.PyramidError, ValueError),
    "LayoutError": (errors.PyramidError, ValueError),
    "SourceError": (errors.PyramidError,),
    "VerificationError": (errors.PyramidError,),
    "DestinationError": (errors.PyramidError,),
    "BuildInProgressError": (errors.DestinationError,),
    "LayoutWarning": (UserWarning,),
    "LayoutNotice": (errors.LayoutWarning,),
}


@pytest.mark.parametrize("name", TREE)
def test_parents(name: str) -> None:
    assert getattr(errors, name).__bases__ == TREE[name]


def test_nothing_is_missing_from_the_tree_or_the_drawing() -> None:
    assert {name for name in errors.__all__ if isinstance(getattr(errors, name), type)} == set(TREE)
    assert set(re.findall(r"\w+(?:Error|Warning|Notice)\b", errors.__doc__ or "")) >= set(TREE)


@pytest.mark.parametrize("name", TREE)
def test_none_is_a_runtime_error(name: str) -> None:
    """superqt's generator worker takes a RuntimeError for a deleted Qt object and tells no one."""
    assert not issubclass(getattr(errors, name), RuntimeError)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("two\n  lines"), "ValueError: two lines"),
        (KeyError(), "KeyError"),
        (errors.SourceError("region [0:1] cannot be read"), "region [0:1] cannot be read"),
    ],
)
def test_an_error_in_one_line(error: Exception, told: str) -> None:
    assert errors.one_line(error) == told


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError(28, "No space left on device", "x"), "make room"),
        (
            RuntimeError("/a/long/path" * 30 + ": Permission denied (os error 13)"),
            "make the destination writable",
        ),
        (PermissionError(13, "Permission denied"), "make the destination writable"),
    ],
)
def test_what_to_do_when_writing_fails(error: Exception, advice: str) -> None:
    assert errors.explained(error).endswith(f": {advice} and run the same command again")
