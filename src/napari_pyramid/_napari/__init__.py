"""Adapt napari's layers and windows to the engine. No other folder imports this one."""
