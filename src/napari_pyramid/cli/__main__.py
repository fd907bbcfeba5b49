"""Run the command line by ``python -m napari_pyramid.cli``, without its script."""

from napari_pyramid.cli import main

main()
