"""Write the metadata of arrays, groups and OME-Zarr images."""
