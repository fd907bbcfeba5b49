"""Make virtual environments with uv and run commands in them.

Used by test_matrix.py and check_package.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["ROOT", "call", "find_python", "install", "make_environment", "screen", "uv"]

ROOT = Path(__file__).resolve().parents[1]


def make_environment(folder: Path, version: str) -> str:
    """Make an empty environment for a version of Python in place of an earlier one.

    Return its interpreter.

    Raises
    ------
    LookupError
        If there is no such Python, or no uv.
    """
    uv("venv", "--quiet", "--clear", "--python", find_python(version), str(folder))
    return str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def install(python: str, *arguments: str) -> None:
    """Install into the environment of an interpreter.

    Takes the arguments of ``uv pip install``.
    """
    uv("pip", "install", "--quiet", "--python", python, *arguments)


def find_python(version: str) -> str:
    """Return the newest interpreter of a version that pyenv has, or one that uv finds.

    Raises
    ------
    LookupError
        If neither has this version.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = sorted(
        pyenv.glob(f"{version}.*/bin/python"), key=lambda p: int(p.parts[-3].split(".")[2])
    )
    if found:
        return str(found[-1])
    asked = subprocess.run(
        [_uv_command(), "python", "find", version], capture_output=True, text=True, check=False
    )
    if asked.returncode:
        raise LookupError(f"there is no Python {version}: install it with uv or pyenv")
    return asked.stdout.strip()


def uv(*arguments: str) -> None:
    # As pip does: the proxy of an institute may sign with a certificate that only the system knows.
    call([_uv_command(), *arguments], UV_SYSTEM_CERTS="1")


def _uv_command() -> str:
    """
    Raises
    ------
    LookupError
        If uv is neither on PATH nor in the environment of `make`.
    """
    found = shutil.which("uv") or shutil.which("uv", path=str(ROOT / ".venv" / "bin"))
    if found is None:
        raise LookupError("there is no uv: run make lint once, or pip install uv")
    return found


def screen() -> list[str]:
    """Return what comes before a command that opens windows, so that it has a screen of its own."""
    return [str(ROOT / "scripts" / "in-window.sh")] if sys.platform == "linux" else []


def call(command: list[str], folder: Path = ROOT, **variables: str) -> None:
    """Run a command with further environment variables.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails.
    """
    subprocess.run(command, cwd=folder, env={**os.environ, **variables}, check=True)
