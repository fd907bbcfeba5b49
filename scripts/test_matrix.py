"""Run the demo and the tests with every supported Python and set of versions.

Usage: python scripts/test_matrix.py [--list] [LEG ...] [-- PYTEST_ARGUMENT ...]

Legs: 3.11, 3.12 and 3.13 with the newest versions of all packages, 3.11-lowest with the lowest ones
that pyproject.toml allows, 3.13-public without the private names of zarr and zarrs, and 3.13-pre
with pre-releases of napari and zarr, which may fail. Without a leg, all but 3.13-pre run, one after
another. Each has an environment in build/matrix/, made again every time, of Pythons that uv or
pyenv has. The exit status is 1 if a leg failed that may not.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from environments import ROOT, call, install, make_environment, screen

MATRIX = ROOT / "build" / "matrix"
BRAIN = ROOT / "src" / "napari_pyramid" / "data" / "brain.ozx"
EXTRAS = ".[imagecodecs,precomputed,remote,tiff]"
"""Named here, although the group names them too: uv lowers only what it is asked for directly."""
WORKERS = ("-n", "logical", "--maxprocesses", "8", "--dist", "worksteal")  # as in the Makefile
SHOWN = ("napari", "npe2", "numba", "numpy", "typer", "zarr", "zarrs")


@dataclass(frozen=True)
class Leg:
    """One environment, and how the tests run in it."""

    python: str
    install: tuple[str, ...] = ()
    pytest: tuple[str, ...] = ()
    may_fail: bool = False


LEGS = {
    "3.11": Leg("3.11"),
    "3.12": Leg("3.12"),
    "3.13": Leg("3.13"),
    "3.11-lowest": Leg(
        "3.11",
        ("--resolution", "lowest-direct"),
        # The lowest versions of our dependencies meet the newest ones of theirs.
        ("-W", "ignore::DeprecationWarning"),
    ),
    "3.13-public": Leg("3.13", pytest=("-p", "tests.hide_private_names")),
    # A bound that is a pre-release admits the pre-releases of this package, and of no other.
    "3.13-pre": Leg("3.13", ("napari>=0.9.0a0", "zarr>=3.1.6.dev0"), may_fail=True),
}


def main(arguments: list[str]) -> int:
    """Run legs; return the exit status."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    names, extra = arguments[:split], arguments[split + 1 :]
    if names == ["--list"]:
        print(*LEGS, sep="\n")
        return 0
    if unknown := [name for name in names if name not in LEGS]:
        print(f"no such leg: {', '.join(unknown)}; there are {', '.join(LEGS)}", file=sys.stderr)
        return 2
    chosen = names or [name for name, leg in LEGS.items() if not leg.may_fail]
    outcomes = {name: run(name, extra) for name in chosen}
    print("\nmatrix:", *(f"{name:12} {outcome}" for name, outcome in outcomes.items()), sep="\n  ")
    return int(any(o != "passed" and not LEGS[name].may_fail for name, o in outcomes.items()))


def run(name: str, extra: list[str]) -> str:
    """Make the environment of a leg, run the demo and the tests in it, and return the outcome."""
    leg, began = LEGS[name], time.monotonic()
    print(f"\nmatrix: {name}", flush=True)
    try:
        python = make_environment(MATRIX / name, leg.python)
        install(python, *leg.install, "--editable", EXTRAS, "--group", "test")
        show_versions(python)
        demo(python, MATRIX / name / "demo")
        call([python, "-m", "pytest", *WORKERS, *leg.pytest, *extra])
    except subprocess.CalledProcessError as error:
        return f"failed with status {error.returncode}: {' '.join(error.cmd)}"
    except LookupError as error:
        return f"failed: {error}"
    finally:
        print(f"matrix: {name} took {time.monotonic() - began:.0f} s", flush=True)
    return "passed"


def show_versions(python: str) -> None:
    names = (
        f"import importlib.metadata as m; print(*(n + ' ' + m.version(n) for n in {SHOWN}), sep=', "
        "')"
    )
    call([python, "-c", names])


def demo(python: str, folder: Path) -> None:
    """Build the pyramid of ``napari-pyramid demo``, and draw napari's window of it."""
    folder.mkdir()
    build = ("napari_pyramid.cli", "build", str(BRAIN), "demo.ome.zarr", "--levels", "3")
    call([python, "-m", *build], folder)
    call([*screen(), python, "-m", "napari_pyramid.cli._show", "demo.ome.zarr", "demo.png"], folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
