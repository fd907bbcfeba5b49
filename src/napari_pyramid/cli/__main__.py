"""``python -m napari_pyramid.cli``: the command line without its script."""

from napari_pyramid.cli import main

main()
