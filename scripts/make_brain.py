"""Makes src/napari_pyramid/data/brain.ozx from the MNI152 template as NIfTI.

    python scripts/make_brain.py mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz

The file is in the Python package nilearn (nilearn/datasets/data); its notice is
data/brain.LICENSE.txt. Needs nibabel.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from pathlib import Path

import nibabel
import numpy as np

from napari_pyramid import build_pyramid

BRAIN = Path(__file__).parents[1] / "src" / "napari_pyramid" / "data" / "brain.ozx"
N_LEVELS = 3


def read_volume(path: str) -> np.ndarray:
    """NIfTI stores x, y, z with y towards the front.

    napari draws (z, y, x) with y downwards: the front goes to the top.
    """
    volume = np.asanyarray(nibabel.load(path).dataobj)
    return np.ascontiguousarray(volume.transpose(2, 1, 0)[:, ::-1])


def write_ozx(group: Path, destination: Path) -> None:
    """Write a group as an ``.ozx`` file (RFC-9).

    A zip without compression, with the zarr.json files first, the root's before all others, and a
    comment that says so.
    """
    files = sorted(
        (f for f in group.rglob("*") if f.is_file()),
        key=lambda f: (f.name != "zarr.json", len(f.parts), f),
    )
    with zipfile.ZipFile(destination, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = (
            b'{"ome":{"version":"0.5","zipFile":{"centralDirectory":{"jsonFirst":true}}}}'
        )
        for file in files:
            archive.writestr(zipfile.ZipInfo(file.relative_to(group).as_posix()), file.read_bytes())


def main() -> None:
    volume = read_volume(sys.argv[1])
    with tempfile.TemporaryDirectory() as directory:
        group = Path(directory) / "brain.ome.zarr"
        build_pyramid(
            volume,
            group,
            axes="zyx",
            scale=(1.0, 1.0, 1.0),
            unit="millimeter",
            n_levels=N_LEVELS,
            chunks=(64, 64, 64),
            shards=(256, 256, 256),
            codec="blosc-zstd-9",
            name="brain",
        )
        write_ozx(group, BRAIN)
    print(f"{BRAIN.name}: {volume.shape} {volume.dtype}, {BRAIN.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
