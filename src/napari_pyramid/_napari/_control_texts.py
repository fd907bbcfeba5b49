"""Hold the labels and tooltips of the controls of the form."""

from __future__ import annotations

from typing import Any

__all__ = ["texts"]

_TEXTS = {
    "source": ("Build from", "What to make a pyramid of"),
    "layer": ("Layer", "The image or labels to build; the layer shows the pyramid afterwards"),
    "layers": (
        "Channels",
        "Hold Ctrl to choose several layers; each becomes a channel of one image",
    ),
    "path": (
        "Path or URL",
        (
            "A TIFF, zarr, N5 or other image that need not be open: a file, a folder, or an "
            "address such as https://… or s3://…"
        ),
    ),
    "folder": ("Folder", "Each image in this folder that lacks coarser levels is built in turn"),
    "image": ("Which", "The file holds several images"),
    "axes": (
        "",
        "One letter for each axis, slowest first: t time, c channel, z slices, y rows, x columns",
    ),
    "voxel_size": ("", "Distance between neighbouring voxels along each axis, such as 2, 0.5, 0.5"),
    "unit": ("", "Unit of the voxel size"),
    "place": (
        "Store",
        (
            "A new store holds all levels; in place adds the coarser levels to the store that "
            "holds the image, which stays as it is"
        ),
    ),
    "destination": (
        "To",
        "Path of the new store, or a bucket's address such as s3://bucket/name.ome.zarr",
    ),
    "method": ("Method", "How several voxels become one of the next level"),
    "n_levels": ("Levels", "How many resolutions, the full one included"),
    "chunks": (
        "Chunks",
        (
            "Size of the blocks that are stored and read together, one length for each axis, "
            "such as 64, 128, 128"
        ),
    ),
    "format": ("Format", "0.5 is current; 0.4 is read by older programs"),
    "codec": (
        "Codec",
        (
            "How blocks are compressed, without loss; auto is the codec in the preferences, and in "
            "place the codec of the image"
        ),
    ),
    "factors": (
        "Factors",
        (
            "How much smaller each level is than the one before, one number for each axis, "
            "such as 1, 2, 2; auto keeps voxels as cubic as it can"
        ),
    ),
    "shards": (
        "Shards",
        (
            "Size of the files that hold many blocks each, one length for each axis; none stores a "
            "file for each block"
        ),
    ),
    "workers": (
        "Threads",
        "How many blocks are computed at a time; auto is one for each processor",
    ),
    "memory": (
        "Memory",
        (
            "The most memory to use, such as 2 GB; auto is a quarter of what is free, and at "
            "most 4 GiB"
        ),
    ),
    "scheduler": (
        "Cluster",
        "Address of a dask scheduler, such as tcp://10.0.0.5:8786; empty builds on this machine",
    ),
    "verify": ("", "Read every level again and compare, before the pyramid is published"),
}
"""Label and tooltip by name of the control; the label is empty if the control has none."""


def texts(name: str) -> dict[str, Any]:
    """Return the name, label and tooltip of a control, as keyword arguments of its widget."""
    label, tooltip = _TEXTS[name]
    return {"name": name, "tooltip": tooltip, **({"label": label} if label else {})}
