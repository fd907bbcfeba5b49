"""A dask cluster of separate processes on loopback, whose parts can be killed one by one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

__all__ = ["Cluster", "dask_cluster"]

SECONDS = 120
"""To wait for a process at most; the machine may have other work."""


@dataclass
class Cluster:
    """A scheduler and workers; output goes to ``log.txt`` in `folder`."""

    folder: Path
    environment: Mapping[str, str]
    port: int = 0
    scheduler: Popen[bytes] | None = None
    workers: list[Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def start_scheduler(self) -> None:
        """Start the scheduler, at the same address as the one before."""
        self.port = self.port or _free_port()
        described = self.folder / "scheduler.json"
        described.unlink(missing_ok=True)
        place = ["--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"]
        self.scheduler = self._start("scheduler", *place, "--scheduler-file", str(described))
        _wait(lambda: described.exists() and "address" in json.loads(described.read_text() or "{}"))

    def start_worker(self, memory: str = "2GiB") -> Popen[bytes]:
        """Start a worker of one thread, which need not be ready yet."""
        one = ["--no-nanny", "--no-dashboard", "--nthreads", "1", "--memory-limit", memory]
        self.workers.append(self._start("worker", self.address, "--host", "127.0.0.1", *one))
        return self.workers[-1]

    def _start(self, *command: str) -> Popen[bytes]:
        with (self.folder / "log.txt").open("ab") as log:
            return Popen(
                [sys.executable, "-m", "dask", *command],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, **self.environment},
            )

    def wait_for_workers(self, count: int) -> None:
        """Wait until so many workers have joined."""
        from distributed import Client

        with Client(self.address, set_as_default=False, timeout=SECONDS) as client:
            client.wait_for_workers(count, timeout=SECONDS)

    def stop(self) -> None:
        for process in (*self.workers, *([self.scheduler] if self.scheduler else [])):
            process.kill()
            process.wait()


@contextmanager
def dask_cluster(
    folder: Path, *, workers: int = 2, environment: Mapping[str, str] | None = None
) -> Iterator[Cluster]:
    """A scheduler and workers until the block ends."""
    given = {"PYTHONPATH": os.pathsep.join(sys.path), **(environment or {})}
    cluster = Cluster(folder, given)
    try:
        cluster.start_scheduler()
        for _ in range(workers):
            cluster.start_worker()
        cluster.wait_for_workers(workers)
        yield cluster
    finally:
        cluster.stop()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not until():
        if time.monotonic() > end:
            raise subprocess.TimeoutExpired("dask", SECONDS)
        time.sleep(0.05)
