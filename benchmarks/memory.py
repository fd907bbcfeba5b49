"""Measure the peak memory of builds of an array and of one 16 times as large.

The peaks are compared with the limit and the prediction.

    python benchmarks/memory.py [--quick] [--repeat 5]

The peak is what the process grew by after imports and compilation: all threads, codecs and buffers.
It differs from run to run, by which threads decode and encode at the same moment, so that the
median of several runs is compared. The larger array's chunks are hard links to the smaller one's.
Writes ``memory.md`` and ``memory.json`` to ``docs/benchmarks`` (``benchmarks/.work/quick`` with
``--quick``).
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from statistics import median

from measure import QUICK, Row, measure
from report import OURS, machine, markdown_table, mib, save_rows
from run import enter, pythons, results
from workloads import WORKLOADS

KEYS = ("W1", "W7")
TIMES = (1, 16)
LIMIT = 256 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    enter()
    from data import grown

    python = pythons([OURS])[OURS]
    table, rows = [], []
    for key in KEYS:
        cells: list[list[Row]] = []
        for times in TIMES:
            workload, made = grown(
                WORKLOADS[key].quick() if options.quick else WORKLOADS[key], times
            )
            cells.append([])
            for _ in range(options.repeat):
                cells[-1].append(
                    measure(OURS, python, workload, made, memory_limit=LIMIT, care=QUICK)
                )
                print(workload.key, describe(cells[-1][-1]), flush=True)
        rows += [row for cell in cells for row in cell]
        table.append(
            [key, WORKLOADS[key].title, mib(LIMIT), mib(cells[-1][0].predicted), *peaks(cells)]
        )
    command, folder = shlex.join(["python", *sys.argv]), results(options.quick)
    save_rows(rows, folder / "memory.json", command)

    grown_by = f"{TIMES[1]} times as large"
    header = [
        "",
        "",
        "limit MiB",
        "predicted MiB",
        "peak MiB",
        grown_by,
        "ratio",
        "process MiB",
        grown_by,
        "ratio",
    ]
    text = (
        f"# Peak memory\n\n{machine()}. `{command}`. Medians, and in parentheses the largest of "
        f"{options.repeat}; `process` counts\n"
    )
    text += f"the interpreter and its imports, too.\n\n{markdown_table(header, table)}\n"
    (folder / "memory.md").write_text(text)
    print(text)


def peaks(cells: Sequence[Sequence[Row]]) -> list[str]:
    """The peaks of both sizes and their ratio, above the baseline and in all."""
    line = []
    for of_all in (False, True):
        found = [[r.peak - (0 if of_all else r.baseline) for r in cell] for cell in cells]
        small, large = map(median, found)
        line += [*(f"{mib(median(f))} ({mib(max(f))})" for f in found), f"{large / small:.2f}"]
    return line


def describe(row: Row) -> str:
    if row.wall is None:
        return row.cannot or "; ".join(row.problems)
    return (
        f"{row.wall:.1f} s, predicted {row.predicted >> 20} MiB, peak "
        f"{(row.peak - row.baseline) >> 20} MiB"
    )


if __name__ == "__main__":
    main()
