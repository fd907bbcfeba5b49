"""Kill the saving of edits in a bucket with SIGKILL before each of its requests that write.

    python kill_updates_in_bucket.py [--every N]

A script for the same reason as kill_builds.py; the bucket is of a server in a process of its own.
Before the store is opened for editing again, it has all of its old chunks, or a list of moves
beside it; after opening, it is the old or the new store, and saving the edits again gives the new
one. Prints one line; exit status 1 if anything differs.
"""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from kill_builds import in_child
from kill_updates import Dying, compile_kernels, edit_labels, make, wait_for
from servers import s3_client

STORE = "s.ome.zarr"
OPTIONS = {"access_key_id": "someone", "secret_access_key": "secret"}


class Bucket:
    """The bucket "lab"; nothing here starts a thread before a process is forked."""

    def __init__(self, endpoint: str) -> None:
        self.options = {**OPTIONS, "endpoint": endpoint}
        self._client = s3_client(endpoint)
        self._client.create_bucket(Bucket="lab")

    def content(self) -> dict[str, bytes]:
        found = self._client.list_objects_v2(Bucket="lab").get("Contents", ())
        keys = [entry["Key"] for entry in found]
        read = self._client.get_object
        return {key: read(Bucket="lab", Key=key)["Body"].read() for key in keys}

    def fill(self, content: dict[str, bytes]) -> None:
        for key in self.content().keys() - content.keys():
            self._client.delete_object(Bucket="lab", Key=key)
        for key, value in content.items():
            self._client.put_object(Bucket="lab", Key=key, Body=value)


def edit(options: dict[str, str]) -> None:
    from napari_pyramid import edit_pyramid

    editor = edit_pyramid(f"s3://lab/{STORE}", storage_options=options)
    edit_labels(editor)
    editor.save(max_workers=1)


def edit_until(options: dict[str, str], last: int, counted: Path) -> None:
    """Edit, and die before write number `last`; note how many writes there were."""
    import obstore

    dying = Dying(last)
    for name in ("put_async", "copy_async", "delete_async"):
        setattr(obstore, name, dying.at(getattr(obstore, name)))
    edit(options)
    counted.write_text(str(dying.n_writes))


def reopen(options: dict[str, str]) -> None:
    from napari_pyramid import edit_pyramid

    edit_pyramid(f"s3://lab/{STORE}", storage_options=options)


def levels_in(content: dict[str, bytes]) -> dict[str, bytes]:
    return {key: value for key, value in content.items() if key.startswith(f"{STORE}/")}


def run(bucket: Bucket, tmp: Path, every: int) -> int:
    if wait_for(in_child(make, tmp / STORE)):
        return 1
    files = (f for f in (tmp / STORE).rglob("*") if f.is_file())
    old = {f.relative_to(tmp).as_posix(): f.read_bytes() for f in files}
    bucket.fill(old)
    counted, options = tmp / "counted", bucket.options
    if wait_for(in_child(edit_until, options, -1, counted)):
        return 1
    new, steps = bucket.content(), int(counted.read_text())
    assert old != new
    assert new == levels_in(new)
    olds = news = finished = 0
    for last in range(0, steps, every):
        bucket.fill(old)
        assert wait_for(in_child(edit_until, options, last, counted)) == signal.SIGKILL
        found = bucket.content()
        listed = any(key.endswith(".building/moves.json") for key in found)
        if levels_in(found) not in (old, new) and not listed:
            print(f"write {last}: torn, with no list of moves")
            return 1
        if wait_for(in_child(reopen, options)):
            return 1
        found = levels_in(bucket.content())
        if found not in (old, new) or (listed and found != new):
            print(f"write {last}: after opening, neither the old nor the new store")
            return 1
        olds, news, finished = olds + (found == old), news + (found == new), finished + listed
        if wait_for(in_child(edit, options)) or bucket.content() != new:
            print(f"write {last}: cannot be saved again, or leaves something behind")
            return 1
    if not (olds and news and finished):
        print(f"old {olds}, new {news}, finished {finished}: not all of them were tried")
        return 1
    print(f"{steps} writes: {olds} times the old store, {news} the new one, {finished} finished")
    return 0


def served() -> tuple[subprocess.Popen[bytes], str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    endpoint = f"http://127.0.0.1:{port}"
    while server.poll() is None:
        try:
            urllib.request.urlopen(endpoint).close()
            break
        except OSError:
            time.sleep(0.1)
    return server, endpoint


if __name__ == "__main__":
    import napari_pyramid.build.editor
    import napari_pyramid.pyramid
    import napari_pyramid.storage.open_url
    import napari_pyramid.storage.remote_chunks  # noqa: F401  # loaded before the fork

    compile_kernels()
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    server, endpoint = served()
    try:
        with tempfile.TemporaryDirectory() as tmp:
            status = run(Bucket(endpoint), Path(tmp), parser.parse_args().every)
    finally:
        server.terminate()
        server.wait()
    sys.exit(status)
