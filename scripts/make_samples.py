"""Makes the synthetic samples in src/napari_pyramid/data: nuclei, channels and development.

    python scripts/make_samples.py

The images are computed, not recorded, and are in the public domain (CC0): data/samples.LICENSE.txt.
The same seed gives the same pixels. Needs scipy.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parent))
from make_brain import write_ozx

from napari_pyramid import Channel, build_pyramid

DATA = Path(__file__).parents[1] / "src" / "napari_pyramid" / "data"
LARGEST = 300_000
"""Bytes of a sample at most."""


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """Noise of standard deviation 1 with grains of a given size."""
    noise = ndimage.gaussian_filter(rng.normal(size=shape), sigma, mode="wrap")
    return noise / noise.std()


def cells(
    rng: np.random.Generator, side: int, n: int, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """Labels of n bent ellipses that do not touch, and the centres of those that found a place."""
    labels = np.zeros((side, side), np.uint16)
    y, x = np.mgrid[:side, :side]
    centres: list[tuple[float, float]] = []
    for _ in range(60 * n):
        cy, cx = rng.uniform(-5, side + 5, 2)
        if any(np.hypot(cy - a, cx - b) < 2.3 * radius for a, b in centres):
            continue
        angle, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.4)
        v = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        u = (y - cy) * np.sin(angle) + (x - cx) * np.cos(angle)
        turn = np.arctan2(v, u)
        edge = 1 + 0.07 * np.sin(2 * turn + rng.uniform(0, 6)) + 0.04 * np.sin(3 * turn)
        inside = (v / stretch) ** 2 + (u * stretch) ** 2 < (
            rng.uniform(0.8, 1.05) * radius * edge
        ) ** 2
        if not (labels[inside] == 0).all():
            continue
        centres.append((cy, cx))
        labels[inside] = len(centres)
        if len(centres) == n:
            break
    return labels, np.array(centres)


def dna(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Brightness, 0 to 1, of stained nuclei: each of its own strength, with grains inside."""
    strength = np.concatenate([[0], rng.uniform(0.45, 0.95, labels.max())])
    texture = (
        1 + 0.12 * smooth_noise(rng, labels.shape, 2.5) + 0.06 * smooth_noise(rng, labels.shape, 1)
    )
    return np.clip(ndimage.gaussian_filter(strength[labels] * texture, 1.1), 0, 1)


def recorded(rng: np.random.Generator, light: np.ndarray, photons: float = 220) -> np.ndarray:
    """What a camera with 8 bits records: shot noise; the background is cut off."""
    counts = rng.poisson(light * photons + 2) - 6
    return np.clip(counts * (255 / (photons * 1.15)), 0, 255).astype(np.uint8)


def nuclei(folder: Path) -> Path:
    """Nuclei of a monolayer with their labels: 640 x 640, 0.5 µm."""
    rng = np.random.default_rng(7)
    labels, _ = cells(rng, 640, 190, 17)
    image = recorded(rng, dna(rng, labels), 90)
    path = folder / "nuclei.ome.zarr"
    where: dict[str, Any] = {"axes": "yx", "scale": (0.5, 0.5), "unit": "micrometer", "n_levels": 3}
    stored: dict[str, Any] = {"chunks": (128, 128), "shards": (640, 640), "codec": "blosc-zstd-9"}
    build_pyramid(image, path, name="DNA", **where, **stored)
    target = path / "labels" / "nuclei"
    areas = np.bincount(labels.ravel())
    rows = [{"label-value": i, "area": float(areas[i] * 0.25)} for i in range(1, len(areas))]
    build_pyramid(
        labels, target, name="nuclei", labels=True, label_properties=rows, **where, **stored
    )
    return path


def channels(folder: Path) -> Path:
    """Cells in three channels, DNA, tubulin-like fibres and spots: 448 x 448, 0.25 µm."""
    rng = np.random.default_rng(11)
    side = 448
    labels, centres = cells(rng, side, 26, 25)
    y, x = np.mgrid[:side, :side]
    distance = np.min([np.hypot(y - cy, x - cx) for cy, cx in centres], axis=0)
    body = np.exp(-((distance / 42) ** 4))
    fibres = np.zeros((side, side))
    for cy, cx in centres:
        for _ in range(46):
            angle, bend = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.012)
            steps = np.arange(rng.uniform(25, 60))
            turn = angle + bend * steps
            py, px = cy + np.cumsum(np.sin(turn)), cx + np.cumsum(np.cos(turn))
            ok = (py >= 0) & (py < side) & (px >= 0) & (px < side)
            fibres[py[ok].astype(int), px[ok].astype(int)] += 1
    fibres = ndimage.gaussian_filter(fibres, 1.0) * body * 1.6
    fibres *= 1 - 0.8 * np.exp(-((distance / 24) ** 2))
    spots = np.zeros((side, side))
    near = np.argwhere((body > 0.4) & (labels == 0))
    for py, px in near[rng.choice(len(near), 420, replace=False)]:
        spots[py, px] += rng.uniform(6, 22)
    spots = ndimage.gaussian_filter(spots, 1.5) * 1.2
    light = [dna(rng, labels), np.clip(fibres, 0, 1), np.clip(spots, 0, 1)]
    image = np.stack([recorded(rng, v, 60) for v in light])
    path = folder / "channels.ome.zarr"
    build_pyramid(
        image,
        path,
        name="cells",
        axes="cyx",
        scale=(1, 0.25, 0.25),
        unit="micrometer",
        n_levels=3,
        chunks=(1, 128, 128),
        shards=(3, 512, 512),
        codec="blosc-zstd-9",
        channels=[
            Channel("DNA", "#0080FF", (0, 220)),
            Channel("fibres", "#00FF00", (0, 170)),
            Channel("spots", "#FF3030", (0, 200)),
        ],
    )
    return path


def development(folder: Path) -> Path:
    """Nuclei of a growing ball that divide: 12 timepoints of 20 x 112 x 112, with labels."""
    rng = np.random.default_rng(5)
    shape, n_times = (20, 112, 112), 12
    z, y, x = np.mgrid[: shape[0], : shape[1], : shape[2]]
    image = np.zeros((n_times, *shape), np.uint8)
    labels = np.zeros((n_times, *shape), np.uint16)
    directions = rng.normal(size=(10, 3))
    names, newest = list(range(1, 11)), 10
    for t in range(n_times):
        if t in (3, 6, 9):
            kept = directions.copy()
            directions = np.concatenate([kept + rng.normal(0, 0.35, kept.shape), kept])
            names = [*range(newest + 1, newest + 1 + len(kept)), *names]
            newest += len(kept)
            if t == 9:  # the last division is of a third of the cells
                directions, names = directions[len(kept) * 2 // 3 :], names[len(kept) * 2 // 3 :]
        directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        for _ in range(12):  # cells push each other apart
            gap = directions[:, None] - directions[None]
            distance = np.linalg.norm(gap, axis=2) + np.eye(len(directions))
            push = (gap / distance[..., None] ** 3).sum(1)
            directions += 0.02 * push / max(1, len(directions) / 20)
            directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        radius = 5.5 + 3.4 * (10 / len(names)) ** 0.33
        light = np.zeros(shape)
        for name, direction in zip(names, directions, strict=True):
            cz, cy, cx = np.array([9.5, 55.5, 55.5]) + direction * (6.8, 37, 37)
            far = ((z - cz) * 4) ** 2 + (y - cy) ** 2 + (x - cx) ** 2
            inside = (far < radius**2) & (labels[t] == 0)
            labels[t][inside] = name
            light[inside] = 0.55 + 0.4 * ((name * 0.618) % 1)
        light = ndimage.gaussian_filter(light, (0.4, 1.2, 1.2))
        image[t] = recorded(rng, light, 12)
    path = folder / "development.ome.zarr"
    where: dict[str, Any] = {"axes": "tzyx", "scale": (90, 4, 1, 1), "n_levels": 2}
    where["unit"] = "micrometer"
    stored: dict[str, Any] = {
        "chunks": (1, 20, 64, 64),
        "shards": (12, 20, 128, 128),
        "codec": "blosc-zstd-9",
    }
    build_pyramid(image, path, name="development", **where, **stored)
    target = path / "labels" / "nuclei"
    build_pyramid(labels, target, name="nuclei", labels=True, **where, **stored)
    return path


def main() -> None:
    for make in (nuclei, channels, development):
        with tempfile.TemporaryDirectory() as folder:
            destination = DATA / f"{make.__name__}.ozx"
            write_ozx(make(Path(folder)), destination)
        size = destination.stat().st_size
        print(f"{destination.name}: {size / 1e3:.0f} kB")
        if size > LARGEST:
            raise SystemExit(f"{destination.name} is larger than {LARGEST / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
