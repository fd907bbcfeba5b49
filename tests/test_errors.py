"""The tree of exceptions, as its module draws it."""

from __future__ import annotations

import ast
import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import napari_pyramid
from napari_pyramid import errors
from napari_pyramid.cli._terminal import IN_FLAGS
from napari_pyramid.errors import IN_PYTHON, DestinationError, Remedy, SpecError

TREE = {
    "PyramidError": (Exception,),
    "SpecError": (errors.PyramidError, ValueError),
    "LayoutError": (errors.PyramidError, ValueError),
    "SourceError": (errors.PyramidError,),
    "VerificationError": (errors.PyramidError,),
    "DestinationError": (errors.PyramidError,),
    "BuildInProgressError": (errors.DestinationError,),
    "DestinationNotice": (UserWarning,),
    "LayoutWarning": (UserWarning,),
    "LayoutNotice": (errors.LayoutWarning,),
}


@pytest.mark.parametrize("name", TREE)
def test_parents(name: str) -> None:
    assert getattr(errors, name).__bases__ == TREE[name]


def test_nothing_is_missing_from_the_tree_or_the_drawing() -> None:
    members = {name: getattr(errors, name) for name in errors.__all__}
    raised = {n for n, m in members.items() if isinstance(m, type) and issubclass(m, Exception)}
    assert raised == set(TREE)
    assert set(re.findall(r"\w+(?:Error|Warning|Notice)\b", errors.__doc__ or "")) >= set(TREE)


@pytest.mark.parametrize("name", TREE)
def test_none_is_a_runtime_error(name: str) -> None:
    """superqt's generator worker takes a RuntimeError for a deleted Qt object and tells no one."""
    assert not issubclass(getattr(errors, name), RuntimeError)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("two\n  lines"), "ValueError: two lines"),
        (KeyError(), "KeyError"),
        (errors.SourceError("region [0:1] cannot be read"), "region [0:1] cannot be read"),
    ],
)
def test_an_error_in_one_line(error: Exception, message: str) -> None:
    assert errors.one_line(error) == message


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


# ---- remedies ----------------------------------------------------------------------------------


def test_a_face_puts_remedies_into_its_own_words() -> None:
    error = DestinationError("x.zarr holds work", remedies=[Remedy.START_OVER, Remedy.MOVE_AWAY])
    assert str(error) == "x.zarr holds work: start over with resume=False, or move it away"
    assert error.in_words(IN_FLAGS) == (
        "x.zarr holds work: start over with --no-resume, or move it away"
    )
    assert error.in_words({Remedy.MOVE_AWAY: "rename it"}) == "x.zarr holds work: rename it"
    assert error.in_words({}) == error.message == "x.zarr holds work"
    assert str(SpecError("no remedy")) == "no remedy"


def test_remedies_survive_the_way_back_from_a_worker_process() -> None:
    error = pickle.loads(pickle.dumps(SpecError("too large", remedies=[Remedy.MORE_MEMORY])))
    assert isinstance(error, SpecError)
    assert (error.message, error.remedies) == ("too large", (Remedy.MORE_MEMORY,))


@pytest.mark.parametrize("words", [IN_PYTHON, IN_FLAGS], ids=["Python", "command line"])
def test_every_remedy_has_words(words: Mapping[Remedy, str]) -> None:
    assert set(words) == set(Remedy)


def _messages(path: Path) -> Iterator[str]:
    """The texts of the exceptions that a module raises."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Raise) and node.exc is not None:
            for part in ast.walk(node.exc):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


@pytest.mark.parametrize("folder", ["build", "plan", "storage", "metadata", "layouts", "arrays"])
def test_the_engine_names_no_flag_and_no_parameter(folder: str) -> None:
    root = Path(napari_pyramid.__file__).parent / folder
    found = [m for p in root.rglob("*.py") for m in _messages(p) if re.search(r"--\w|\w=\w", m)]
    assert found == []
