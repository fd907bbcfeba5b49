"""The dock widget on a screen that shows everything at 150 %, where pixels are few."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_nothing_is_cut_off_at_150_percent(tmp_path: Path) -> None:
    """In a window of 1280 x 800 logical pixels, dark and light, folded and unfolded."""
    program = Path(__file__).parent / "large_controls.py"
    folders = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")
    scaled = {"QT_SCALE_FACTOR": "1.5", "QT_FONT_DPI": "96"}
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(program)],
        env={**os.environ, **dict.fromkeys(folders, str(tmp_path)), **scaled, **path},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
