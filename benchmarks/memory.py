"""Measures the peak memory of builds of an array and of one 16 times as large, against the limit and the prediction.

    python benchmarks/memory.py [--quick]

The peak is what the process grew by after imports and compilation: all threads, codecs and buffers. The larger array's
chunks are hard links to the smaller one's. Writes ``memory.md`` and ``memory.json`` to ``docs/benchmarks``
(``benchmarks/.work/quick`` with ``--quick``).
"""

from __future__ import annotations

import argparse
import shlex
import sys

from measure import QUICK, Row, measure
from report import OURS, machine, markdown_table, mib, save_rows
from run import enter, pythons, results
from workloads import WORKLOADS

KEYS = ("W1", "W7")
TIMES = (1, 16)
LIMITS = (256 << 20,)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    enter()
    from data import grown

    python = pythons([OURS])[OURS]
    rows: list[tuple[int, Row]] = []
    for key in KEYS:
        for times in TIMES:
            workload, made = grown(WORKLOADS[key].quick() if options.quick else WORKLOADS[key], times)
            for limit in LIMITS:
                rows.append((limit, measure(OURS, python, workload, made, memory_limit=limit, care=QUICK)))
                print(workload.key, mib(limit), describe(rows[-1][1]), flush=True)
    command, folder = shlex.join(["python", *sys.argv]), results(options.quick)
    save_rows([r for _, r in rows], folder / "memory.json", command)

    table = []
    for key in KEYS:
        for limit in LIMITS:
            small, large = (r for at, r in rows if at == limit and r.workload.split("x")[0] == key)
            peaks = [r.peak - r.baseline for r in (small, large)]
            line = [mib(limit), mib(large.predicted), *map(mib, peaks), f"{peaks[1] / peaks[0]:.2f}"]
            table.append([key, WORKLOADS[key].title, *line])
    header = ["", "", "limit MiB", "predicted MiB", "peak MiB", f"peak MiB, {TIMES[1]} times as large", "ratio"]
    text = f"# Peak memory\n\n{machine()}. `{command}`.\n\n{markdown_table(header, table)}\n"
    (folder / "memory.md").write_text(text)
    print(text)


def describe(row: Row) -> str:
    if row.wall is None:
        return row.cannot or "; ".join(row.problems)
    return f"{row.wall:.1f} s, predicted {row.predicted >> 20} MiB, peak {(row.peak - row.baseline) >> 20} MiB"


if __name__ == "__main__":
    main()
