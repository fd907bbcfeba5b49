"""Build a pyramid with a cluster on this machine: an S3 server, a dask scheduler and two workers.

    python scripts/cluster_demo.py [--side 384] [--keep SECONDS]

Prints the address of the dashboard, and builds from a bucket into the same bucket; the directory
``cluster-demo`` has the output of the processes.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import boto3
import numpy as np
import zarr
from distributed import Client

from napari_pyramid.build import plan_build

KEYS = {"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo"}
"""In the environment of each worker, as on a real cluster."""
FOLDER = Path("cluster-demo")
WORKERS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=384, help="samples along each axis")
    parser.add_argument(
        "--keep", type=float, default=0, help="seconds to leave the cluster running at the end"
    )
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    server, scheduler, dashboard = (free_port() for _ in range(3))
    endpoint, address = f"http://127.0.0.1:{server}", f"tcp://127.0.0.1:{scheduler}"
    os.environ.update(KEYS, AWS_ENDPOINT_URL=endpoint, AWS_REGION="us-east-1")
    here = Path(sys.executable).parent
    dask, host = [sys.executable, "-m", "dask"], ["--host", "127.0.0.1"]
    ports = ["--port", str(scheduler), "--dashboard-address", f"127.0.0.1:{dashboard}"]
    one = ["--nthreads", "1", "--memory-limit", "2GiB", "--no-dashboard"]
    with (
        running("s3", str(here / "moto_server"), "-H", "127.0.0.1", "-p", str(server)),
        running("scheduler", *dask, "scheduler", *host, *ports),
        running("workers", *dask, "worker", address, *host, "--nworkers", str(WORKERS), *one),
        Client(address, timeout=60, set_as_default=False) as client,
    ):
        client.wait_for_workers(WORKERS, timeout=60)
        print(f"S3 server  {endpoint}\nscheduler  {address}\ndashboard  {client.dashboard_link}")
        fill_bucket(endpoint, options.side)
        build = plan_build("s3://demo/source.zarr", "s3://demo/x.ome.zarr", executor=client)
        print(build)
        shown = 0.0
        for step in build.steps():
            if time.monotonic() - shown > 1 or step.done == step.total:
                shown = time.monotonic()
                print(f"{step.done} of {step.total} tiles, {step.elapsed:.1f} s", flush=True)
        print(f"built {build.destination}")
        time.sleep(options.keep)


def fill_bucket(endpoint: str, side: int) -> None:
    """Put a zarr array of spheres with noise into the bucket "demo"."""
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket="demo")
    z, y, x = np.ogrid[:side, :side, :side]
    spheres = sum(np.sin(a / 20) for a in (z, y, x))
    noise = np.random.default_rng(0).integers(0, 50, (side,) * 3, dtype="uint16")
    data = np.where(spheres > 1, np.uint16(900), np.uint16(100)) + noise
    path = FOLDER / "source.zarr"
    zarr.create_array(path, data=data, chunks=(64,) * 3, overwrite=True)
    for file in path.rglob("*"):
        if file.is_file():
            key = file.relative_to(FOLDER).as_posix()
            client.put_object(Bucket="demo", Key=key, Body=file.read_bytes())


@contextmanager
def running(name: str, *command: str) -> Iterator[None]:
    """Run a command until the block ends; its output goes to a file in the folder."""
    with (FOLDER / f"{name}.log").open("wb") as log:
        process = Popen(command, stdout=log, stderr=log)
        try:
            wait_until_up(process, name)
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_up(process: Popen[bytes], name: str) -> None:
    """Raise if a process ends at once."""
    try:
        process.wait(1)
    except subprocess.TimeoutExpired:
        return
    sys.exit(f"{name} ended: see {FOLDER / f'{name}.log'}")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


if __name__ == "__main__":
    main()
