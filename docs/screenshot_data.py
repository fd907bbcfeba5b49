"""Make the images that the pictures of the documentation show: an embryo and a small plate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr

from napari_pyramid import build_pyramid, open_pyramid


def embryo(shape: tuple[int, int, int] = (96, 1024, 1024)) -> np.ndarray:
    """Return bright spots in a ball, with noise, like a light-sheet image; 192 MiB by default."""
    rng = np.random.default_rng(1)
    volume = rng.poisson(80, shape).astype(np.uint16)
    spot = np.exp(
        -sum(
            np.square(g) / (2 * s**2)
            for g, s in zip(np.mgrid[-4:5, -15:16, -15:16], (2, 7, 7), strict=True)
        )
    )
    middle = np.array(shape) / 2
    for _ in range(900):
        direction = rng.normal(size=3)
        offset = 0.85 * middle * direction / np.linalg.norm(direction) * rng.random() ** 0.2
        low = (middle + offset - (4, 15, 15)).round().astype(int)
        box = tuple(
            slice(max(0, a), min(n, a + w)) for a, n, w in zip(low, shape, spot.shape, strict=True)
        )
        part = tuple(slice(b.start - a, b.stop - a) for a, b in zip(low, box, strict=True))
        volume[box] += (spot[part] * rng.uniform(800, 3500)).astype(np.uint16)
    return volume


def write_plate(path: Path, source: Path, rows: str = "ABCD", n_columns: int = 6) -> Path:
    """Write a plate whose wells are parts of the image `source`, and return its path."""
    image = np.asarray(open_pyramid(source)[0][:]).squeeze()
    side = min(image.shape) // 2
    rng = np.random.default_rng(2)
    wells = []
    zarr.create_group(path)
    for r, row in enumerate(rows):
        zarr.create_group(path / row)
        for c in range(n_columns):
            wells.append({"path": f"{row}/{c + 1}", "rowIndex": r, "columnIndex": c})
            well = zarr.create_group(path / row / str(c + 1))
            well.attrs["ome"] = {"version": "0.5", "well": {"images": [{"path": "0"}]}}
            y, x = rng.integers(0, [n - side + 1 for n in image.shape])
            field = image[y : y + side, x : x + side]
            build_pyramid(
                field,
                path / row / str(c + 1) / "0",
                axes="yx",
                scale=(0.5, 0.5),
                unit="micrometer",
                n_levels=2,
            )
    zarr.open_group(path).attrs["ome"] = {
        "version": "0.5",
        "plate": {
            "name": "Plate 1",
            "rows": [{"name": row} for row in rows],
            "columns": [{"name": str(c + 1)} for c in range(n_columns)],
            "wells": wells,
        },
    }
    return path
