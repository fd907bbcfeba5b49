"""What skips itself beside our conftest fails, wherever it does so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "code",
    [
        "import pytest\npytest.importorskip('no_such_module')\ndef test_it(): pass\n",
        "import pytest\npytest.skip('today', allow_module_level=True)\n",
        "import pytest\ndef test_it(): pytest.skip('today')\n",
    ],
    ids=["import", "module", "test"],
)
def test_skipping_fails(code: str, tmp_path: Path) -> None:
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "test_it.py").write_text(code)
    # A folder of its own for temporary files: else pytest clears up what earlier runs left.
    temporary = f"--basetemp={tmp_path / 'temporary'}"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", temporary, str(tmp_path)]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )
    assert "skipped itself" in done.stdout
    assert done.returncode in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)
