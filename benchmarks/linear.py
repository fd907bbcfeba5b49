"""Measures how the cost of a build grows with the data, from 64 MiB to 16 GiB; writes the plot.

    python benchmarks/linear.py [--quick]

The chunk files of the large arrays are hard links to those of the smallest, so 16 GiB need no disk
but for their coarser levels. Writes ``linear.svg``, ``linear.md`` and ``linear.json`` to
``docs/benchmarks`` (``benchmarks/.work/quick``, and no more than 1 GiB, with ``--quick``).
"""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import replace

from measure import QUICK, Care, Row, measure
from report import FLOOR, OURS, machine, markdown_table, mib, save_rows, svg
from run import enter, pythons, results
from workloads import WORKLOADS

SMALLEST = replace(WORKLOADS["W1"], key="L", shape=(128, 512, 512))
TIMES = (1, 4, 16, 64, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    enter()
    from data import grown

    rows: list[tuple[float, Row]] = []
    for times in TIMES[:3] if options.quick else TIMES:
        workload, made = grown(SMALLEST, times)
        for name, python in pythons((FLOOR, OURS)).items():
            row = measure(name, python, workload, made, care=QUICK if options.quick else Care())
            rows.append((workload.nbytes / 2**30, row))
            print(f"{rows[-1][0]:g} GiB {name}: {row.wall} s {row.problems}", flush=True)
    command, folder = shlex.join(["python", *sys.argv]), results(options.quick)
    save_rows([r for _, r in rows], folder / "linear.json", command)

    table = [
        [f"{gib:g}", r.runner, f"{r.wall:.2f}", f"{r.wall / gib:.2f}", mib(r.peak)]
        for gib, r in rows
    ]
    header = ["GiB", "", "wall s", "s per GiB", "peak MiB"]
    text = f"# Cost and size\n\n{machine()}. `{command}`.\n\n{markdown_table(header, table)}\n"
    (folder / "linear.md").write_text(text)
    print(text)

    figure, axes = svg(5, 3.5)
    for name, style in ((OURS, "kD-"), (FLOOR, "o--")):
        points = [(gib, r.wall) for gib, r in rows if r.runner == name]
        axes.plot(*zip(*points, strict=True), style, label=name.replace("_", "-"))
    axes.set(xscale="log", yscale="log", xlabel="level 0, GiB", ylabel="wall time, s")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(folder / "linear.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
