"""Measures codecs on images, per core: encode, decode and size.

The table decides the default codec of new stores.

    python benchmarks/codecs.py [IMAGE ...]

Takes the brain that this project ships, the microscopy, astronomy and texture images that
scikit-image carries (all of 8 bits), parts of the benchmarks' own sources (of 16 and 32 bits), and
any TIFF or zarr array named. Writes ``docs/benchmarks/codecs.md`` and ``codecs.json``. One thread,
one chunk at a time, CPU time, the best of several passes (noise of a shared machine only ever adds
time); knows no pyramid.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

from report import machine, markdown_table
from run import enter
from workloads import HERE, RESULTS, WORKLOADS

if __name__ == "__main__":
    enter()  # what follows is in the harness's own environment

import numpy as np
import zarr
from data import source
from numcodecs import GZip, Zstd, blosc

Codec = Any  # anything of numcodecs: encode(buffer) -> bytes, decode(bytes) -> buffer

SKIMAGE = ("cell.png", "coins.png", "ihc.png", "retina.jpg", "hubble_deep_field.jpg")
SKIMAGE += ("moon.png", "camera.png", "brick.png", "grass.png", "gravel.png")
"""Read as files of the package: its own functions would download what a wheel lacks."""
MADE = {
    "W1, a part": ("W1", np.s_[:128, :256, :256]),
    "W6, a plane": ("W6", np.s_[0, 0, 0]),
    "W4, a part (labels)": ("W4", np.s_[:128, :128, :128]),
}
"""Of the quick sources, which `data` makes."""
SHUFFLES = {"": blosc.NOSHUFFLE, "-shuffle": blosc.SHUFFLE, "-bitshuffle": blosc.BITSHUFFLE}
CHUNK = {2: (1024, 1024), 3: (128, 128, 128)}
SECONDS = 0.05
"""One timed pass lasts at least this long."""
PASSES = 5


def codecs() -> dict[str, Codec]:
    """The candidates by name."""
    found: dict[str, Codec] = {}
    for (name, level), shuffle in product(
        (("lz4", 5), ("zstd", 1), ("zstd", 3), ("zstd", 5)), ("-shuffle", "-bitshuffle")
    ):
        found[f"blosc-{name}-{level}{shuffle}"] = blosc.Blosc(name, level, SHUFFLES[shuffle])
    return found | {"zstd-1": Zstd(1), "zstd-3": Zstd(3), "gzip-5": GZip(5)}


def images(paths: list[Path]) -> Iterator[tuple[str, np.ndarray]]:
    """Names and pixels; colour comes as planes, as a store with a channel axis keeps it."""
    import skimage.data
    import skimage.io

    folder = Path(skimage.data.__file__).parent
    for name in SKIMAGE:
        yield name, planes(skimage.io.imread(folder / name))
    with zarr.storage.ZipStore(
        HERE.parent / "src" / "napari_pyramid" / "data" / "brain.ozx", mode="r"
    ) as brain:
        yield "brain", np.asarray(zarr.open_array(brain, path="0", mode="r")[...])
    for name, (key, part) in MADE.items():
        yield (
            name,
            np.asarray(zarr.open_array(source(WORKLOADS[key].quick()), path="0", mode="r")[part]),
        )
    for path in paths:
        yield path.name, planes(read(path))


def read(path: Path) -> np.ndarray:
    if path.suffix in (".tif", ".tiff"):
        import tifffile

        return tifffile.imread(path)
    return np.asarray(zarr.open_array(path, mode="r")[...])


def planes(a: np.ndarray) -> np.ndarray:
    return np.moveaxis(a, -1, 0) if a.ndim == 3 and a.shape[-1] in (3, 4) else a


def chunks(a: np.ndarray) -> list[np.ndarray]:
    shape = (1, *CHUNK[2]) if a.ndim == 3 and a.shape[0] in (3, 4) else CHUNK[a.ndim]
    corners = product(*(range(0, n, c) for n, c in zip(a.shape, shape, strict=True)))
    return [
        np.ascontiguousarray(a[tuple(slice(i, i + c) for i, c in zip(corner, shape, strict=True))])
        for corner in corners
    ]


def seconds(work: Callable[[], object]) -> float:
    """Fastest run of `work`, in seconds of CPU."""
    best = math.inf
    for _ in range(PASSES):
        n, start = 0, time.process_time()
        while (spent := time.process_time() - start) < SECONDS or not n:
            work()
            n += 1
        best = min(best, spent / n)
    return best


def measure(codec: Codec, parts: list[np.ndarray]) -> dict[str, float]:
    """Bytes per second of uncompressed data, and the share of it that is left."""
    encoded = [codec.encode(p) for p in parts]
    buffer = {p.nbytes: np.empty(p.nbytes, np.uint8) for p in parts}
    for part, code in zip(parts, encoded, strict=True):
        if bytes(codec.decode(code)) != part.tobytes():
            raise ValueError(f"{codec}: decoded bytes differ")
    n_bytes = sum(p.nbytes for p in parts)
    return {
        "encode": n_bytes / seconds(lambda: [codec.encode(p) for p in parts]),
        "decode": n_bytes
        / seconds(
            lambda: [codec.decode(e, buffer[p.nbytes]) for e, p in zip(encoded, parts, strict=True)]
        ),
        "size": sum(len(e) for e in encoded) / n_bytes,
    }


def geometric_mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def report(
    found: dict[str, dict[str, dict[str, float]]], about: dict[str, str], command: str
) -> str:
    """Two tables: every codec over all images, and the size per image.

    Each image counts the same.
    """
    names = list(next(iter(found.values())))
    mean = {
        c: {
            k: geometric_mean([found[i][c][k] for i in found]) for k in ("encode", "decode", "size")
        }
        for c in names
    }
    least = min(m["size"] for m in mean.values())
    rows = [
        [
            c,
            f"{m['encode'] / 1e9:.2f}",
            f"{m['decode'] / 1e9:.2f}",
            f"{100 * m['size']:.1f} %",
            f"+{100 * (m['size'] / least - 1):.0f} %",
        ]
        for c, m in mean.items()
    ]
    sizes = [[i, about[i], *(f"{100 * found[i][c]['size']:.1f}" for c in names)] for i in found]
    return "\n".join(
        [
            "# Codecs",
            "",
            (
                f"{machine()}, numcodecs {version('numcodecs')}. `{command}`. GB of uncompressed "
                "data per"
            ),
            (
                f"second of one core; geometric mean over {len(found)} images. Those named W are "
                "made by `data.py`, all others are real."
            ),
            "",
            markdown_table(
                ["codec", "encode GB/s", "decode GB/s", "size", "over the smallest"], rows
            ),
            "",
            "Size in % of the uncompressed bytes, per image:",
            "",
            markdown_table(["image", "shape, dtype", *names], sizes),
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "images", nargs="*", type=Path, metavar="IMAGE", help="TIFF or zarr arrays to measure too"
    )
    options = parser.parse_args()
    blosc.use_threads = False
    found, about = {}, {}
    for name, pixels in images(options.images):
        parts = chunks(pixels)
        about[name] = f"{' x '.join(map(str, pixels.shape))} {pixels.dtype}"
        found[name] = {codec_name: measure(codec, parts) for codec_name, codec in codecs().items()}
        print(name, about[name], flush=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", *sys.argv])
    text = report(found, about, command)
    (RESULTS / "codecs.md").write_text(text)
    (RESULTS / "codecs.json").write_text(
        json.dumps(
            {"machine": machine(), "command": command, "images": about, "measured": found}, indent=1
        )
        + "\n"
    )
    print(text)


if __name__ == "__main__":
    main()
