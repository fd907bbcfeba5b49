"""Checks the wheel and the sdist as their users meet them: without napari, and beside it.

Usage: python scripts/check_package.py [PYTHON_VERSION]

Builds both into build/dist/ and lets twine check them. Installs each into an empty environment,
which must not get napari or Qt, and builds a pyramid there with the command line. Then installs the
wheel with napari[all], and opens the sample data in a window.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from environments import ROOT, call, install, make_environment, screen, uv

PACKAGE = ROOT / "build" / "package"
DIST = ROOT / "build" / "dist"

ALONE = """
import importlib.util, numpy
names = ("napari", "PyQt6", "PySide6", "dask")
unwanted = [name for name in names if importlib.util.find_spec(name)]
assert not unwanted, f"installed without being asked for: {unwanted}"
numpy.save("image.npy", numpy.arange(5 * 70 * 90, dtype="uint16").reshape(5, 70, 90))
"""
LEVELS = """
import numpy, zarr
image = numpy.load("image.npy")
group = zarr.open_group("image.ome.zarr", mode="r")
assert (group["0"][:] == image).all()
assert group["1"].shape == (5, 35, 45), group["1"].shape
"""
SAMPLE = """
import napari
viewer = napari.Viewer(show=False)
(layer,) = viewer.open_sample("napari-pyramid", "brain")
assert layer.multiscale and layer.data[0].ndim == 3, layer
viewer.close()
"""


def main(version: str = "3.12") -> int:
    """Run all checks; return the exit status."""
    shutil.rmtree(DIST, ignore_errors=True)
    shutil.rmtree(PACKAGE, ignore_errors=True)
    try:
        uv("build", "--quiet", "--out-dir", str(DIST))
        (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
        twine = make_environment(PACKAGE / "twine", version)
        install(twine, "twine")
        call([twine, "-m", "twine", "check", "--strict", str(wheel), str(sdist)])
        for package in (wheel, sdist):
            builds_alone(package, version)
        opens_sample(wheel, version)
    except subprocess.CalledProcessError as error:
        print(f"package: failed with status {error.returncode}: {' '.join(error.cmd)}")
        return 1
    except LookupError as error:
        print(f"package: {error}")
        return 1
    print(f"package: {wheel.name} and {sdist.name} are as they should be")
    return 0


def builds_alone(package: Path, version: str) -> None:
    """Install a package into an empty environment, and build and check a pyramid there."""
    print(f"package: {package.name} alone", flush=True)
    environment = PACKAGE / package.name
    python = make_environment(environment, version)
    install(python, str(package))
    folder = environment / "work"
    folder.mkdir()
    program = str(Path(python).with_name("napari-pyramid"))
    call([python, "-c", ALONE], folder)
    build = ("build", "image.npy", "image.ome.zarr", "--levels", "2", "--factors", "1,2,2")
    call([program, *build], folder)
    call([program, "check", "image.ome.zarr", "--pixels"], folder)
    call([python, "-c", LEVELS], folder)


def opens_sample(wheel: Path, version: str) -> None:
    """Install a wheel beside ``napari[all]``, and open the sample data of the plugin."""
    print(f"package: {wheel.name} beside napari", flush=True)
    python = make_environment(PACKAGE / "napari", version)
    install(python, f"{wheel}[all]")
    call([*screen(), python, "-c", SAMPLE], PACKAGE / "napari")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
