"""Opens the bundled brain in napari: the reader, and the same by hand with lazy levels."""

from importlib.resources import files

import napari

from napari_pyramid import open_pyramid

brain = str(files("napari_pyramid") / "data" / "brain.ozx")

viewer = napari.Viewer()
viewer.open(brain, plugin="napari-pyramid")

pyramid = open_pyramid(brain)
viewer.add_image(
    pyramid.lazy_levels,
    multiscale=True,
    scale=pyramid.scale,
    colormap="magma",
    contrast_limits=(0, 230),
    name="by hand",
)
napari.run()
