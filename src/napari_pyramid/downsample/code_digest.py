"""Distinguish functions of the same name by their code."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

__all__ = ["code_digest"]


def code_digest(function: Callable[..., Any]) -> str | None:
    """Return a digest of a function's name, code and defaults, the same in every process.

    Returns
    -------
    str, or None for everything but plain functions of a module: the digest of a lambda, a closure
    or an object would not cover the values that it holds.
    """
    if (
        not isinstance(function, FunctionType)
        or "<" in function.__qualname__
        or function.__closure__
    ):
        return None
    parts = (
        function.__module__,
        function.__qualname__,
        function.__defaults__,
        function.__kwdefaults__,
        _code(function.__code__),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _code(code: CodeType) -> tuple[object, ...]:
    """Return instructions, names and constants, but neither file nor line numbers."""
    constants = [
        _code(c)
        if isinstance(c, CodeType)
        else sorted(map(repr, c))
        if isinstance(c, frozenset)
        else repr(c)
        for c in code.co_consts
    ]
    return code.co_code, code.co_names, code.co_varnames, constants
