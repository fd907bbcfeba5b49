"""Make one virtual environment per runner from the script metadata (PEP 723) of its file.

Standard library only. An environment is made again when that metadata changes; uv is taken from the
machine or installed beside the environments.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

from workloads import HERE, WORK

__all__ = ["EnvironmentFailed", "make", "requirements"]

ROOT = HERE.parent
_BLOCK = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")


class EnvironmentFailed(Exception):
    """The environment cannot be made on this machine; the message is one line that says why."""


def requirements(script: Path) -> dict[str, object]:
    """The script metadata of a file: ``dependencies`` and ``requires-python``."""
    block = _BLOCK.search(script.read_text())
    if block is None:
        raise ValueError(
            f"{script} has no script metadata: begin it with a '# /// script' block that names "
            "its dependencies"
        )
    return tomllib.loads(
        "".join(line[2:] or "\n" for line in block["content"].splitlines(keepends=True))
    )


def make(script: Path) -> Path:
    """The Python that has what `script` asks for; ``{root}`` in a dependency is this repository."""
    wanted = requirements(script)
    packages = [str(d).format(root=ROOT) for d in wanted.get("dependencies", [])]
    python = str(
        wanted.get("requires-python", f">={sys.version_info.major}.{sys.version_info.minor}")
    )
    folder = WORK / "environments" / script.stem
    stamp, recipe = folder / "recipe.txt", "\n".join([python, *packages])
    interpreter = folder / "bin" / "python"
    if stamp.exists() and stamp.read_text() == recipe and interpreter.exists():
        return interpreter
    print(f"environment of {script.stem}: {' '.join(packages)}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    uv = _uv()
    _run(
        [uv, "venv", "--quiet", "--python", python, str(folder)],
        f"needs Python {python}, which is not to be had here",
    )
    _run([uv, "pip", "install", "--quiet", "--python", str(interpreter), *_editable(packages)])
    stamp.write_text(recipe)
    return interpreter


def _editable(packages: list[str]) -> list[str]:
    return [
        part for p in packages for part in (["--editable", p] if p.startswith(str(ROOT)) else [p])
    ]


def _uv() -> str:
    """A uv on the path, beside this Python, or installed for us."""
    beside = Path(sys.executable).with_name("uv")
    if found := shutil.which("uv") or (beside.exists() and str(beside)):
        return found
    folder = WORK / "environments" / "_uv"
    if not (folder / "bin" / "uv").exists():
        venv.create(folder, with_pip=True)
        _run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "uv"])
    return str(folder / "bin" / "uv")


def _run(command: list[str], reason: str | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EnvironmentFailed(reason or " ".join(done.stderr.split())[:300])
