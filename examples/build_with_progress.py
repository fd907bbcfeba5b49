"""Show the plan of a pyramid, and build it from an array in memory with a progress line."""

import numpy as np

from napari_pyramid import PyramidSpec, iter_build

volume = np.random.default_rng(0).poisson(80, (64, 256, 256)).astype(np.uint16)
spec = PyramidSpec.from_array(
    volume, axes="zyx", scale=(1.0, 0.25, 0.25), unit="micrometer", n_levels=3, name="noise"
)
print(spec)
print(f"needs at most {spec.peak_memory() / 1e6:.0f} MB")

for step in iter_build(volume, "noise.ome.zarr", spec, overwrite=True):
    left = "" if step.remaining is None else f", {step.remaining:.0f} s left"
    print(f"level {step.level}: {step.done} of {step.total} regions{left}")
