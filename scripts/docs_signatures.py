"""Show the options of a build in the signatures of the API reference.

mkdocstrings reads the source, where these functions take ``**options: Unpack[BuildOptions]``; their
signatures at run time list each option with its type and default.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import griffe

OPTIONS = "Unpack[BuildOptions]"


class BuildSignatures(griffe.Extension):
    """Take the keywords of functions with `OPTIONS` from their signatures at run time."""

    def on_function(self, *, func: griffe.Function, **kwargs: Any) -> None:
        """Replace ``**options`` in a signature by the options."""
        listed = [p for p in func.parameters if str(p.annotation) == OPTIONS]
        if not listed:
            return
        for p in listed:
            del func.parameters[p.name]
        signature = inspect.signature(griffe.dynamic_import(func.path))
        for p in signature.parameters.values():
            if p.name not in func.parameters:
                func.parameters.add(
                    griffe.Parameter(
                        p.name,
                        annotation=_short(inspect.formatannotation(p.annotation)),
                        kind=griffe.ParameterKind.keyword_only,
                        default=repr(p.default),
                    )
                )


def _short(annotation: str) -> str:
    """Return an annotation without the modules that its names are from."""
    return re.sub(r"\b(?:[A-Za-z_]\w*\.)+", "", annotation)
