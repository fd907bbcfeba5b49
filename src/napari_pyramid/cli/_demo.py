"""Build a pyramid of the brain that comes with the package, and show it in napari.

Without a display, napari draws it to a picture in a window under Xvfb.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from napari_pyramid.build import plan_build
from napari_pyramid.cli._build import run as run_build
from napari_pyramid.cli._terminal import say
from napari_pyramid.errors import PyramidError
from napari_pyramid.info import describe

__all__ = ["run"]

BRAIN = Path(__file__).parents[1] / "data" / "brain.ozx"
PICTURE = "demo.png"
SCREEN = (
    "xvfb-run",
    "--auto-servernum",
    "--server-args=-screen 0 1600x1000x24 +extension GLX +render -noreset",
)


def run(destination: str, *, overwrite: bool) -> None:
    """Build the pyramid, print what was built, and open it, or draw it to a file without a display.

    Raises
    ------
    PyramidError
        If napari or, without a display, Xvfb is not installed.
    """
    # Three levels, although a volume this small would open well with one: it is a demo.
    pyramid = run_build(plan_build(BRAIN, destination, n_levels=3, overwrite=overwrite))
    print(describe(destination, pyramid.store_images))
    if _has_display():
        print(
            f"Opening {destination} in napari; the demo ends when its window is closed.", flush=True
        )
        _show(destination)
        return
    _show(destination, PICTURE)
    print(f"No display: napari drew the pyramid into {PICTURE} instead (in a window under Xvfb).")


def _has_display() -> bool:
    return sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )


def _show(*arguments: str) -> None:
    """Open napari in a process of its own, apart from this one's event loop and settings."""
    command = [sys.executable, "-m", "napari_pyramid.cli._show", *arguments]
    environment = dict(os.environ)
    if len(arguments) > 1:
        if shutil.which(SCREEN[0]) is None:
            raise PyramidError(
                f"neither a display nor {SCREEN[0]} was found: install Xvfb "
                f"(Debian: apt-get install xvfb xauth), or open {arguments[0]} elsewhere"
            )
        command = [*SCREEN, *command]
        environment |= {"LIBGL_ALWAYS_SOFTWARE": "1", "QT_QPA_PLATFORM": "xcb"}
    if subprocess.run(command, env=environment, check=False).returncode:
        say(
            f"napari did not show {arguments[0]}; is it installed? "
            'pip install "napari-pyramid[all]"'
        )
        sys.exit(1)
