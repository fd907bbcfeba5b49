"""Run the command line: napari-pyramid plan | build | info | check | export | serve | demo.

Results go to stdout, progress and messages to stderr. Exit status: 0 done, 1 failed (one line on
stderr), 2 usage, 130 interrupted. Each command imports what it needs when it runs.
"""

from napari_pyramid.cli._commands import app

__all__ = ["app", "main"]


def main() -> None:
    """Run the command ``napari-pyramid``."""
    app(prog_name="napari-pyramid")
