"""Runs one runner on one workload in a process of its own and measures it.

Wall, CPU, peak memory, files.

Linux only (/proc). Standard library only; knows neither pixels nor tables.
"""

from __future__ import annotations

import json
import mmap
import os
import pickle
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from workloads import HERE, WORK, Job, Workload

__all__ = ["METADATA", "QUICK", "Care", "Row", "measure"]

METADATA = "metadata:"
"""Problems that begin so leave the pixels right."""

Verify = Callable[[Workload, Path, Path], tuple[list[str], list[str]]]

BUSY = 0.15
"""Cores that other processes may use during a run before it is measured again."""


@dataclass(frozen=True, slots=True)
class Care:
    """How much is done against the noise of a shared machine."""

    patience: float = 60
    """Seconds to wait at most for an idle machine."""
    retries: int = 2
    """How often a run that other processes disturbed is done again."""
    touched: int = 1 << 30
    """Bytes of free memory touched before each run, see `_touch`."""


QUICK = Care(patience=0, retries=0, touched=1 << 28)


@dataclass(frozen=True, slots=True)
class Row:
    """What one run took."""

    runner: str
    workload: str
    wall: float | None = None
    """Seconds; None if the runner did not finish."""
    cpu: float = 0.0
    """User and system seconds of the process and its children."""
    peak: int = 0
    """Largest resident bytes of the process and its children, interpreter and imports included."""
    baseline: int = 0
    """Resident bytes when the clock started."""
    predicted: int = 0
    """Bytes that the runner said the build would need, above the baseline; 0 if it did not say."""
    n_files: int = 0
    """Files in the result that are not in the source."""
    written: int = 0
    """Their bytes."""
    in_place: bool = True
    others: float = 0.0
    """Cores used by other processes meanwhile."""
    problems: tuple[str, ...] = ()
    """What is wrong with the output; a time with problems does not count."""
    remarks: tuple[str, ...] = ()
    """What is worth knowing about it."""
    cannot: str = ""
    """Why the runner does not do this workload."""
    threads: int = 2
    command: str = ""
    """What was typed to measure it: results of several runs are merged."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measure(
    runner: str,
    python: Path,
    workload: Workload,
    source: Path,
    verify: Verify | None = None,
    *,
    threads: int = 2,
    memory_limit: int | None = None,
    timeout: float = 900,
    care: Care = QUICK,
) -> Row:
    """One measured run on a copy of `source` whose chunk files are hard links.

    Parameters
    ----------
    verify
        Called as ``verify(workload, source, result)``; returns problems and remarks.
    timeout
        Seconds after which the run is ended and counts as failed.
    """
    for _ in range(care.retries + 1):
        _wait_until_idle(care.patience)
        row = _measure_once(
            runner, python, workload, source, verify, threads, memory_limit, timeout, care
        )
        if row.others <= BUSY:
            break
    return row


def _measure_once(
    runner: str,
    python: Path,
    workload: Workload,
    source: Path,
    verify: Verify | None,
    threads: int,
    memory_limit: int | None,
    timeout: float,
    care: Care,
) -> Row:
    (WORK / "scratch").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=f"{runner}-{workload.key}-", dir=WORK / "scratch", ignore_cleanup_errors=True
    ) as name:
        box = Path(name)
        mine = box / "in.zarr" if workload.in_place else source
        if workload.in_place:
            clone(source, mine)
        known = files(source)
        _read_all(source)
        _touch(care.touched)
        row, final = _run(
            runner,
            python,
            Job(workload, mine, box / "out.zarr", threads, memory_limit),
            box,
            timeout,
        )
        if final is None:
            return row
        old = {file.inode for file in known.values()}
        new = {path: file for path, file in files(final).items() if file.inode not in old}
        problems, remarks = verify(workload, source, final) if verify else ([], [])
        if files(source) != known:
            problems = [*problems, "the source was touched"]
        return replace(
            row,
            n_files=len(new),
            written=sum(f.size for f in new.values()),
            in_place=final.resolve() == mine.resolve(),
            problems=tuple(problems),
            remarks=(*row.remarks, *remarks),
        )


def _run(runner: str, python: Path, job: Job, box: Path, timeout: float) -> tuple[Row, Path | None]:
    """The measured part of a row, and where the result is."""
    job_file, result, log = box / "job.pickle", box / "result.json", box / "log.txt"
    job_file.write_bytes(pickle.dumps(job))
    command = [str(python), str(HERE / "child.py"), runner, str(job_file), str(result)]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(job.threads),
        "NUMBA_CACHE_DIR": str(WORK / "numba"),
    }
    row = Row(runner, job.workload.key, threads=job.threads)
    cpu, busy, start = _children_cpu(), _machine_cpu()[0], time.perf_counter()
    with log.open("wb") as out:
        child = subprocess.Popen(
            command, cwd=box, env=environment, stdout=out, stderr=out, start_new_session=True
        )
        with _PeakOfTree(child.pid, box / "started") as tree:
            try:
                child.wait(timeout)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)  # with the processes that it started
                child.wait()
                return replace(row, problems=(f"not finished after {timeout:.0f} s",)), None
    cpu, busy = _children_cpu() - cpu, _machine_cpu()[0] - busy
    if not result.exists():
        return replace(
            row,
            problems=(
                (
                    f"ended with status {child.returncode}: "
                    f"{_last_line(log.read_text(errors='replace'))}"
                ),
            ),
        ), None
    outcome = json.loads(result.read_text())
    if "cannot" in outcome:
        return replace(row, cannot=outcome["cannot"]), None
    if "error" in outcome:
        return replace(row, problems=(_last_line(outcome["error"]),)), None
    row = replace(
        row,
        wall=outcome["wall"],
        # the use of child processes is known after they end, when the exit is counted too
        cpu=cpu - outcome["cpu_before"] if tree.had_children else outcome["cpu"],
        peak=max(outcome["peak"], tree.peak),
        baseline=outcome["baseline"],
        predicted=outcome["predicted"],
        others=max(0.0, (busy - cpu) / (time.perf_counter() - start)),
        remarks=(outcome["note"],) if outcome["note"] else (),
    )
    return row, Path(outcome["final"])


class _PeakOfTree:
    """Samples the resident bytes of a process and its descendants once `started` exists."""

    def __init__(self, pid: int, started: Path) -> None:
        self.peak, self.had_children = 0, False
        self._pid, self._started = pid, started
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _PeakOfTree:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.03):
            if self._started.exists():
                resident, n_processes = _resident(self._pid)
                self.peak = max(self.peak, resident)
                self.had_children |= n_processes > 1


def _resident(pid: int) -> tuple[int, int]:
    """Resident bytes of a process and its descendants, and how many processes they are."""
    total, n_processes, waiting = 0, 0, [pid]
    while waiting:
        n_processes += 1
        process = Path(f"/proc/{waiting.pop()}")
        try:
            total += int((process / "statm").read_text().split()[1]) * resource.getpagesize()
            for children in process.glob("task/*/children"):
                waiting += map(int, children.read_text().split())
        except (OSError, IndexError):  # it ended meanwhile
            continue
    return total, n_processes


@dataclass(frozen=True, slots=True)
class _File:
    inode: int
    size: int
    modified: int


def files(root: Path) -> dict[Path, _File]:
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            s = path.stat()
            found[path.relative_to(root)] = _File(s.st_ino, s.st_size, s.st_mtime_ns)
    return found


def clone(source: Path, destination: Path) -> None:
    """A working copy: metadata copied, chunk files hard-linked."""

    def copy(a: str, b: str) -> None:
        shutil.copy2(a, b) if a.endswith("zarr.json") else os.link(a, b)

    shutil.copytree(source, destination, copy_function=copy)


def _read_all(source: Path) -> None:
    """Every run starts with the source in the page cache and nothing waiting to be written."""
    for path in {file.inode: path for path, file in files(source).items()}.values():
        with (source / path).open("rb") as f:
            while f.read(1 << 22):
                pass
    os.sync()


def _touch(nbytes: int) -> None:
    """Touch memory before a run, so that the run does not wait for the host.

    A virtual machine gives free pages back to its host within seconds, and the first touch after
    that takes five times as long (measured: 512 MiB in 1.5 s instead of 0.37 s). That is noise,
    and it hits large programs more than small ones.
    """
    with mmap.mmap(-1, nbytes) as memory:
        for page in range(0, nbytes, mmap.PAGESIZE):
            memory[page] = 1


def _machine_cpu() -> tuple[float, float]:
    """Busy and idle seconds of all cores since the machine started."""
    ticks = os.sysconf("SC_CLK_TCK")
    with open("/proc/stat") as f:
        user, nice, system, idle, iowait, irq, softirq, steal = (
            int(v) / ticks for v in f.readline().split()[1:9]
        )
    return user + nice + system + irq + softirq + steal, idle + iowait


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _wait_until_idle(patience: float, seconds: float = 2.0) -> None:
    """Waits, `patience` seconds at most, until the machine was idle for `seconds`."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        busy, idle = _machine_cpu()
        time.sleep(seconds)
        now_busy, now_idle = _machine_cpu()
        if now_busy - busy < BUSY / 2 * (now_busy - busy + now_idle - idle):
            return


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:300] if lines else "nothing was printed"
