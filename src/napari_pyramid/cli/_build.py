"""Run a build from the command line: draw its progress, and stop it on Ctrl-C. Knows no pixels."""

from __future__ import annotations

import sys
from contextlib import closing

from napari_pyramid.build import Build
from napari_pyramid.build.progress import Steps
from napari_pyramid.cli._terminal import INTERRUPTED, Interrupt, progress_bar, say
from napari_pyramid.pyramid import Pyramid

__all__ = ["run"]

GOES_ON = "the same command goes on from here"
REMOVED = "what was written is removed"


def run(build: Build, *, quiet: bool = False) -> Pyramid:
    """Build the pyramid and draw its progress.

    Ctrl-C stops the build and ends the process with status 130. Unfinished work is kept, unless
    the user wants nothing resumed, or the source could not be recognised again (arrays in memory,
    files that most plugins read).
    """
    steps = Steps(build.steps())
    # A second Ctrl-C must count while the build is closed, so the interrupt is left last.
    with Interrupt() as interrupt, progress_bar(quiet=quiet) as show, closing(steps):
        for step in steps:
            show(step)
            if interrupt.asked:
                break
        else:
            return steps.result
    kept = build.workspace.exists()
    say(f"interrupted; {GOES_ON if kept else REMOVED}")
    sys.exit(INTERRUPTED)
