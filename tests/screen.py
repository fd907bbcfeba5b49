"""Give a process that runs tests a screen of its own.

Xvfb, an X server in memory, OpenGL drawn in software.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

SERVER = "Xvfb -displayfd 1 -screen 0 {}x24 +extension GLX +render -noreset -nolisten tcp"
WATCHED = f"{SERVER} & exec >/dev/null; cat; kill $!"
"""`cat` ends when the process that holds its input has ended, in whatever way."""


def open_screen(size: str = "1600x1000") -> subprocess.Popen[str] | None:
    """Start a screen that ends with this process, and let windows open there.

    None if there is no Xvfb.

    To be called before Qt opens its first window. The screen is not closed earlier, because Qt ends
    a process that loses its screen.
    """
    if sys.platform != "linux" or not shutil.which("Xvfb"):
        return None
    server = subprocess.Popen(
        ["sh", "-c", WATCHED.format(size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # Ctrl-C is for the tests, which close their windows first
    )
    assert server.stdout is not None
    number = server.stdout.readline().strip()  # written once the server takes connections
    if not number:
        raise RuntimeError(
            f"no screen: this command failed, run it to see why: {SERVER.format(size)}"
        )
    os.environ.pop("WAYLAND_DISPLAY", None)
    os.environ |= {
        "DISPLAY": f":{number}",
        "LIBGL_ALWAYS_SOFTWARE": "1",
        "LP_NUM_THREADS": "0",  # draw in the thread that asks: other processors have other tests
        "QT_QPA_PLATFORM": "xcb",
    }
    return server
