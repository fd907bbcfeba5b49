"""The napari side: thin adapters between napari's layers and the engine. Nothing outside imports it."""
