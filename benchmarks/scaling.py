"""Measures how much faster two threads are than one: this project and the floor.

    python benchmarks/scaling.py [--quick] [--repeat 3]

Writes ``scaling.md`` and ``scaling.json`` to ``docs/benchmarks`` (``benchmarks/.work/quick`` with
``--quick``).
"""

from __future__ import annotations

import argparse
import shlex
import sys
from statistics import median

from measure import QUICK, Care, Row, measure
from report import FLOOR, OURS, machine, markdown_table, save_rows
from run import enter, pythons, results
from workloads import WORKLOADS

KEYS = ("W1", "W3", "W4", "W6")
THREADS = (1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    enter()
    from data import source

    runners, care = pythons((OURS, FLOOR)), QUICK if options.quick else Care()
    rows: list[Row] = []
    for key in KEYS:
        workload = WORKLOADS[key].quick() if options.quick else WORKLOADS[key]
        made = source(workload)
        for _ in range(options.repeat):
            for name, python in runners.items():
                for threads in THREADS:
                    rows.append(measure(name, python, workload, made, threads=threads, care=care))
                    print(key, name, threads, rows[-1].wall, flush=True)
    command, folder = shlex.join(["python", *sys.argv]), results(options.quick)
    save_rows(rows, folder / "scaling.json", command)

    def cell(key: str, name: str) -> str:
        walls = [
            [r.wall for r in rows if (r.workload, r.runner, r.threads) == (key, name, n)]
            for n in THREADS
        ]
        one, two = map(median, walls)
        return f"{one:.2f} s, {two:.2f} s: {median(a / b for a, b in zip(*walls, strict=True)):.2f}"

    table = [[key, WORKLOADS[key].title, *(cell(key, name) for name in runners)] for key in KEYS]
    header = ["", "", *(f"{name}: 1 thread, 2 threads: times faster" for name in runners)]
    text = (
        f"# One thread and two\n\n{machine()}. `{command}`. "
        f"Medians.\n\n{markdown_table(header, table)}\n"
    )
    (folder / "scaling.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
