"""Runs one runner once, in the runner's own Python, and says what it took.

``child.py RUNNER JOB RESULT``.

Standard library only. Imports and ``prepare`` (compilation) come before the clock starts.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from workloads import Job


def main(runner: str, job_file: Path, result: Path) -> None:
    job: Job = pickle.loads(job_file.read_bytes())
    try:
        outcome = build(runner, job)
    except NotImplementedError as reason:
        outcome = {"cannot": str(reason)}
    except Exception:  # a peer may raise anything, and the table says so
        outcome = {"error": traceback.format_exc()[-2000:]}
    result.write_text(json.dumps(outcome))


def build(runner: str, job: Job) -> dict[str, Any]:
    module = importlib.import_module(f"runners.{runner}")
    if hasattr(module, "prepare"):
        module.prepare(job)
    predicted = module.predict(job) if hasattr(module, "predict") else 0
    _forget_peak()
    baseline = _status("VmRSS")
    job.destination.with_name("started").touch()
    before = os.times()
    start = time.perf_counter()
    final = module.run(job)
    wall = time.perf_counter() - start
    after = os.times()
    return {
        "wall": wall,
        "baseline": baseline,
        "peak": _status("VmHWM"),
        "cpu": sum(after[:4]) - sum(before[:4]),
        "cpu_before": sum(before[:4]),
        "predicted": predicted,
        "final": str(final),
        "note": getattr(module, "NOTE", ""),
    }


def _forget_peak() -> None:
    """Reset the high-water mark of this process, so that compiling does not count.

    Linux, proc(5).
    """
    Path("/proc/self/clear_refs").write_text("5")


def _status(key: str) -> int:
    """Bytes that the kernel tells of this process.

    ``VmRSS`` now, ``VmHWM`` at most since `_forget_peak`.
    """
    return int(Path("/proc/self/status").read_text().split(f"{key}:")[1].split()[0]) * 1024


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
