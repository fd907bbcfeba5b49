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
    assert set(errors.__all__) == set(TREE)
    assert set(re.findall(r"\w+(?:Error|Warning|Notice)\b", errors.__doc__ or "")) >= set(TREE)


@pytest.mark.parametrize("name", TREE)
def test_none_is_a_runtime_error(name: str) -> None:
    """superqt's generator worker takes a RuntimeError for a deleted Qt object and tells no one."""
    assert not issubclass(getattr(errors, name), RuntimeError)
