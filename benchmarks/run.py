# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy", "zarr==3.1.6", "zarrs>=0.2", "numba>=0.61", "matplotlib", "scikit-image", "tifffile"]
# ///
"""Measures this project, its peers and the floor side by side; writes the tables and the plot.

    python benchmarks/run.py [--quick] [--runners a,b] [--workloads W1,W3] [--repeat 3]

Makes everything it needs below ``benchmarks/.work``: an environment per runner, and the data. Full
results are merged into ``docs/benchmarks``, so that one cell can be measured again; quick ones go
to ``benchmarks/.work/quick``. Exit status 1 if this project's own output is wrong anywhere.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import environments
from measure import QUICK, Care, Row, measure
from report import OURS, load, save
from workloads import HERE, RESULTS, WORK, WORKLOADS

__all__ = ["enter", "pythons", "results"]

RUNNERS = (
    "floor",
    "napari_pyramid",
    "tensorstore_loop",
    "zarr_pool",
    "ome_zarr_py",
    "ngff_zarr",
    "ome_zarr_pyramid",
    "stack_to_chunk",
    "iohub",
    "bioio_ome_zarr",
)
QUICK_RUNNERS = RUNNERS[:4]


def enter() -> None:
    """Start the running script again in the harness's environment, unless it runs there."""
    python = environments.make(HERE / "run.py")
    if Path(sys.prefix).resolve() != python.parents[1].resolve():
        os.execv(python, [str(python), *sys.argv])


def pythons(names: Sequence[str]) -> dict[str, Path | str]:
    """Return the Python of each runner, or why the runner cannot be used."""
    found: dict[str, Path | str] = {}
    for name in names:
        try:
            found[name] = environments.make(HERE / "runners" / f"{name}.py")
        except environments.EnvironmentFailed as reason:
            found[name] = f"no environment: {reason}"
            print(f"{name}: {found[name]}", flush=True)
    return found


def results(quick: bool) -> Path:
    """Where tables and plots go: only full ones are to be committed."""
    folder = WORK / "quick" if quick else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def main() -> int:
    options = parse()
    enter()
    from data import source
    from verify import verify

    names = options.runners or (QUICK_RUNNERS if options.quick else RUNNERS)
    known = pythons(names)
    care = QUICK if options.quick else Care(patience=options.patience)
    folder = results(options.quick)
    rows = [] if options.quick else load(folder / "results.json")
    for key in options.workloads:
        workload = WORKLOADS[key].quick() if options.quick else WORKLOADS[key]
        made, new = source(workload), []
        for repeat in range(
            options.repeat
        ):  # all runners once, then again: slow drifts of the machine hit all alike
            for name, python in known.items():
                if isinstance(python, str):
                    row = Row(name, key, cannot=python)
                elif repeat and hopeless(new, name, options.slow):
                    continue
                else:
                    row = measure(name, python, workload, made, verify, care=care)
                new.append(row)
                print(describe(row), flush=True)
        command = shlex.join(["python", *sys.argv])
        new = [replace(row, command=command) for row in new]
        rows = [
            r for r in rows if (r.runner, r.workload) not in {(n.runner, n.workload) for n in new}
        ] + new
        save(rows, folder)
    print(f"\n{(folder / 'results.md').read_text()}")
    return int(any(r.problems for r in rows if r.runner == OURS))


def hopeless(rows: Sequence[Row], name: str, slow: float) -> bool:
    """Failed, impossible or slow runs are not repeated."""
    return any(r.wall is None or r.wall > slow for r in rows if r.runner == name)


def describe(row: Row) -> str:
    if row.wall is None:
        return f"{row.workload} {row.runner}: {row.cannot or '; '.join(row.problems)}"
    notes = "; ".join([*(p.upper() for p in row.problems), *row.remarks])
    return (
        f"{row.workload} {row.runner}: {row.wall:.2f} s, CPU {row.cpu:.2f} s, "
        f"{row.peak / 2**20:.0f} MiB, {row.n_files} files {notes}"
    )


def parse() -> argparse.Namespace:
    def names(text: str) -> list[str]:
        return text.split(",")

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="small arrays, four runners, one run each: two minutes"
    )
    parser.add_argument("--runners", type=names, metavar="A,B", help=f"of {', '.join(RUNNERS)}")
    parser.add_argument("--workloads", type=names, metavar="W1,W2", default=list(WORKLOADS))
    parser.add_argument(
        "--repeat", type=int, metavar="N", help="runs of each cell; 3, or 1 with --quick"
    )
    parser.add_argument(
        "--slow",
        type=float,
        default=60,
        metavar="S",
        help="a runner that takes longer is not repeated",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=60,
        metavar="S",
        help="wait at most this long for an idle machine",
    )
    options = parser.parse_args()
    unknown = [n for n in options.runners or () if n not in RUNNERS] + [
        k for k in options.workloads if k not in WORKLOADS
    ]
    if unknown:
        parser.error(f"no such runner or workload: {', '.join(unknown)}")
    options.repeat = options.repeat or (1 if options.quick else 3)
    return options


if __name__ == "__main__":
    sys.exit(main())
