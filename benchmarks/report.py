"""Turns measured rows into tables and the plot; measures nothing."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from measure import METADATA, Row
from workloads import WORKLOADS

__all__ = ["FLOOR", "OURS", "load", "machine", "markdown_table", "mib", "save", "save_rows", "svg"]

OURS, FLOOR = "napari_pyramid", "floor"
LOOPS = ("tensorstore_loop", "zarr_pool")
"""Written by hand for this benchmark, as a careful user would; the other peers are packages."""
ORDER = (OURS, FLOOR, *LOOPS)


class Cell:
    """All runs of one runner on one workload."""

    def __init__(self, rows: Sequence[Row], floor: Sequence[Row]) -> None:
        self.rows = [r for r in rows if r.wall is not None]
        self.cannot = next((r.cannot for r in rows if r.cannot), "")
        self.problems = tuple(dict.fromkeys(p for r in rows for p in r.problems))
        self.remarks = tuple(dict.fromkeys(p for r in self.rows for p in r.remarks))
        self.walls = [r.wall for r in self.rows if r.wall is not None]
        pairs = zip(
            self.walls,
            [r.wall for r in floor if r.wall is not None and not r.problems],
            strict=False,
        )
        self.ratios = [wall / least for wall, least in pairs]

    @property
    def counts(self) -> bool:
        """The output was right every time."""
        return bool(self.walls) and not self.problems

    @property
    def pixels_right(self) -> bool:
        return bool(self.walls) and all(p.startswith(METADATA) for p in self.problems)

    @property
    def wall(self) -> float:
        return median(self.walls)

    @property
    def ratio(self) -> float | None:
        """Median over the repeats of wall / wall of the floor in the same repeat."""
        return median(self.ratios) if self.ratios else None

    def __str__(self) -> str:
        if not self.walls:
            return "-" if self.cannot else "failed" if self.problems else ""
        text = f"{self.wall:.2f} s" + (f", {self.ratio:.2f}" if self.ratio else "")
        text += "" if self.rows[0].in_place else " *"
        return text if self.counts else f"({text})"


def mib(nbytes: float) -> str:
    return f"{nbytes / 2**20:.0f}"


Table = dict[tuple[str, str], Cell]


def cells(rows: Iterable[Row]) -> Table:
    """By runner and workload."""
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row.runner, row.workload), []).append(row)
    return {key: Cell(group, grouped.get((FLOOR, key[1]), [])) for key, group in grouped.items()}


def load(path: Path) -> list[Row]:
    """Return the rows saved before; an empty list if nothing was saved."""
    if not path.exists():
        return []
    tuples = ("problems", "remarks")
    return [
        Row(**{k: tuple(v) if k in tuples else v for k, v in row.items()})
        for row in json.loads(path.read_text())["rows"]
    ]


def save_rows(rows: Sequence[Row], path: Path, command: str = "") -> None:
    """What was measured, as JSON, for whoever wants other tables.

    `command` if it is one for all rows.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    saved = {
        "machine": machine(),
        **({"command": command} if command else {}),
        "rows": [r.to_json() for r in rows],
    }
    path.write_text(json.dumps(saved, indent=1) + "\n")


def save(rows: Sequence[Row], folder: Path) -> None:
    """``results.json``, ``results.md`` and ``results.svg`` in `folder`."""
    save_rows(rows, folder / "results.json")
    (folder / "results.md").write_text(markdown(rows))
    plot(cells(rows), folder / "results.svg")


def markdown(rows: Sequence[Row]) -> str:
    commands = list(dict.fromkeys(r.command for r in rows if r.command))
    table = cells(rows)
    runners, keys = _names(table)
    overview = [[name, *(str(table.get((name, key), "")) for key in keys)] for name in runners]
    return "\n".join(
        [
            "# Results",
            "",
            f"{machine()}. Median seconds, and the ratio to the floor.",
            (
                "`*` writes level 0 again into a new store (it cannot add levels in place). In "
                "parentheses: the output is not the"
            ),
            (
                "pyramid that was asked for, so the time does not count. `-`: does not do this "
                "workload."
            ),
            "",
            *(f"- {key}: {WORKLOADS[key].title}" for key in keys),
            "",
            "Measured by " + ", then ".join(f"`{c}`" for c in commands) + ".",
            "",
            markdown_table(["", *keys], overview),
            "",
            "## In short",
            "",
            *_in_short(table, keys),
            "",
            "## Every cell",
            "",
            _details(table, runners, keys),
            "",
        ]
    )


def _names(table: Table) -> tuple[list[str], list[str]]:
    found = {name for name, _ in table}
    return [n for n in ORDER if n in found] + sorted(found - set(ORDER)), sorted(
        {key for _, key in table}
    )


def _in_short(table: Table, keys: Sequence[str]) -> Iterable[str]:
    """Ours against the floor, the fastest package and ome-zarr-py.

    Packages with the right pixels, codec and shards take part.
    """
    rows = []
    for key in keys:
        ours = table.get((OURS, key))
        if ours is None or not ours.counts:
            continue
        packages = {
            n: c.wall
            for (n, k), c in table.items()
            if k == key and c.pixels_right and n not in ORDER
        }
        fastest = min(packages, key=packages.__getitem__, default=None)
        rows.append(
            [
                key,
                f"{ours.ratio:.2f}" if ours.ratio else "",
                f"{packages[fastest] / ours.wall:.1f} ({fastest})" if fastest else "",
                f"{packages['ome_zarr_py'] / ours.wall:.1f}" if "ome_zarr_py" in packages else "",
            ]
        )
    return [
        markdown_table(
            ["", "times the floor", "times faster than the fastest package", "than ome-zarr-py"],
            rows,
        )
    ]


def _details(table: Table, runners: Sequence[str], keys: Sequence[str]) -> str:
    header = [
        "",
        "",
        "wall s, each run",
        "CPU s",
        "times the floor",
        "peak MiB",
        "files",
        "MiB written",
        "others' cores",
        "notes",
    ]
    rows = []
    for key in keys:
        for name in runners:
            cell = table.get((name, key))
            if cell is None:
                continue
            notes = "; ".join(
                [
                    *(f"**{p}**" for p in cell.problems),
                    *cell.remarks,
                    *([cell.cannot] if cell.cannot else []),
                ]
            )
            numbers = _numbers(cell) if cell.walls else [""] * 7
            rows.append([key, name, *numbers, notes.replace("|", "/")])
    return markdown_table(header, rows)


def _numbers(cell: Cell) -> list[str]:
    rows = cell.rows
    return [
        ", ".join(f"{w:.2f}" for w in cell.walls),
        f"{median(r.cpu for r in rows):.1f}",
        f"{cell.ratio:.2f}" if cell.ratio else "",
        mib(median(r.peak for r in rows)),
        f"{rows[-1].n_files}",
        mib(rows[-1].written),
        f"{median(r.others for r in rows):.2f}",
    ]


def plot(table: Table, path: Path) -> None:
    """One line per workload, one mark per runner: times the floor; hollow marks do not count."""
    runners, keys = _names(table)
    figure, axes = svg(8, 1 + 0.45 * len(keys))
    for i, name in enumerate(n for n in runners if n != FLOOR):
        found = [(c.ratio, k, c.counts) for k in keys if (c := table.get((name, k))) and c.ratio]
        style = {
            "color": "black" if name == OURS else f"C{i % 10}",
            "s": 90 if name == OURS else 40,
            "zorder": 3 if name == OURS else 2,
        }
        style["marker"] = "D" if name == OURS else "os^vPX*<>"[i % 9]
        for counts in (True, False):
            points = [(ratio, keys.index(k)) for ratio, k, c in found if c is counts]
            if points:
                label = name.replace("_", "-") if counts or not any(c for *_, c in found) else None
                axes.scatter(
                    *zip(*points, strict=True),
                    label=label,
                    facecolors=None if counts else "none",
                    edgecolors=style["color"],
                    **style,
                )
    axes.axvline(1, color="grey", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda v, _: f"{v:g}")
    axes.set_xlabel("wall time, times the floor")
    axes.set_yticks(range(len(keys)), [f"{WORKLOADS[k].title}  {k}" for k in keys])
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def svg(width: float, height: float) -> tuple[Any, Any]:
    """A figure, in inches, and its axes; the same numbers give the same file."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "napari-pyramid"
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def machine() -> str:
    """The machine in a few words: processor, cores, system, Python."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    processor = found[1] if found else platform.processor() or platform.machine()
    return (
        f"{processor}, {os.cpu_count()} cores, {platform.system()}, Python "
        f"{platform.python_version()}"
    )


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
