"""Kill builds with SIGKILL at random moments until they are done; compare the results.

    python kill_builds.py KILLS [--executor] [--in-place]

A script and not a test, because the process that forks the builds must have started no threads: it
imports all that a build needs, touches no array, and looks at nothing but files. Prints one line;
exit status 1 if anything differs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from helpers import digest

SHAPE, CHUNKS = (61, 60, 67), (8, 16, 16)
sessions: list[int] = []
"""Of the processes that were started; each leads a session of its own."""


def build(source: Path, destination: Path | None, executor: bool) -> None:
    from napari_pyramid import build_pyramid

    options = {"n_levels": 4, "chunks": CHUNKS, "factors": 2, "max_workers": 2, "verify": False}
    target = {"in_place": True} if destination is None else {"destination": destination}
    if executor:
        with ProcessPoolExecutor(2) as pool:
            build_pyramid(source, executor=pool, **target, **options)
    else:
        build_pyramid(source, **target, **options)


def in_child(action, *arguments) -> int:
    """Fork a process, in its own session, that does something and exits without cleaning up."""
    pid = os.fork()
    if pid:
        sessions.append(pid)
        return pid
    os.setsid()
    try:
        action(*arguments)
        os._exit(0)
    except BaseException as exc:
        print(f"{type(exc).__name__}: {exc}", file=sys.stderr, flush=True)
        os._exit(1)


def end_sessions(keep: int = 0) -> None:
    """End the worker processes of killed pools, except the pools of the last `keep` builds.

    Nothing waits for them, and they hold our output open.
    """
    while len(sessions) > keep:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(sessions.pop(0), signal.SIGKILL)


def make_source(path: Path) -> None:
    import zarr

    rng = np.random.default_rng(1)
    group = zarr.open_group(path, mode="w")
    data = rng.integers(0, 900, SHAPE).astype("uint16")
    data[:16, :32] = 0  # some chunks do not exist
    group.create_array("0", data=data, chunks=CHUNKS)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("kills", type=int)
    parser.add_argument("--executor", action="store_true")
    parser.add_argument("--in-place", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    random.seed(args.seed)
    with tempfile.TemporaryDirectory() as tmp:
        try:
            return run(Path(tmp), args)
        finally:
            end_sessions()


def run(tmp: Path, args: argparse.Namespace) -> int:
    def wanted(name: str) -> tuple[Path, Path]:
        source = tmp / name / "source.zarr"
        return source, (source if args.in_place else tmp / name / "built.ome.zarr")

    source, undisturbed = wanted("undisturbed")
    if os.waitpid(in_child(make_source, source), 0)[1]:
        return 1
    begin = time.monotonic()
    if os.waitpid(
        in_child(build, source, None if args.in_place else undisturbed, args.executor), 0
    )[1]:
        return 1
    usual = time.monotonic() - begin
    expected = digest(undisturbed)
    assert expected
    kills = rounds = continued = 0
    # on a machine that has become slower, the first kills may all come before there is work
    while kills < args.kills or (not continued and kills < 10 * args.kills):
        rounds += 1
        name = f"round-{rounds}"
        source, built = wanted(name)
        if os.waitpid(in_child(make_source, source), 0)[1]:
            return 1
        before = digest(source)
        patience = 0.5 * usual
        while True:
            pid = in_child(build, source, None if args.in_place else built, args.executor)
            time.sleep(random.uniform(0, patience))
            os.kill(pid, signal.SIGKILL)
            status = os.waitpid(pid, 0)[1]
            end_sessions(keep=2)  # workers that outlive the killed build meet the next one
            patience *= 1.05  # or else a machine that has become slower would never get to a tile
            if os.WIFEXITED(status):
                if os.WEXITSTATUS(status):
                    return 1
                break
            kills += 1
            unfinished = any((tmp / name).glob(".*.building/state.json"))
            continued += unfinished
            finished = (
                built.exists()
                if not args.in_place
                else digest(source)["zarr.json"] != before["zarr.json"]
            )
            if (
                not finished
                and digest(source) != before
                and not published_levels_only(source, before)
            ):
                changed = sorted(
                    {name for name, _ in set(digest(source).items()) ^ set(before.items())}
                )
                print(f"kill {kills}: the source reads differently before the end: {changed[:5]}")
                return 1
            if finished and not unfinished:
                break  # it had just ended
        end_sessions()
        if digest(built) != expected:
            differing = {
                k
                for k in expected.keys() | digest(built).keys()
                if expected.get(k) != digest(built).get(k)
            }
            print(f"round {rounds}: {len(differing)} files differ, such as {sorted(differing)[:3]}")
            return 1
        # killed while it removed its own: an empty workspace, which the next build there takes
        if left := [
            str(p)
            for p in (tmp / name).glob(".*.building/*")
            if p.name not in ("lock", "owner.json")
        ]:
            print(f"round {rounds}: left behind {left}")
            return 1
    if not continued:
        print(f"none of {kills} kills left unfinished work: nothing was tried")
        return 1
    print(
        f"{kills} kills, {continued} of them with work to go on from, in {rounds} builds of "
        f"{usual:.2f} s: all ended byte for byte as undisturbed"
    )
    return 0


def published_levels_only(source: Path, before: dict[str, str]) -> bool:
    """The moment between the renames and the metadata.

    Whole new levels beside what was there, which is untouched.
    """
    now = digest(source)
    return all(now.get(k) == v for k, v in before.items()) and not any(
        k.startswith(".") for k in now
    )


if __name__ == "__main__":
    # Imported and compiled here, so that each build starts at once.
    import napari_pyramid.build  # noqa: F401  # loaded before the fork
    from napari_pyramid.downsample import downsample

    for side in (4, 5):
        downsample(np.zeros((side,) * 3, np.uint16), (2, 2, 2))
    sys.exit(main())
