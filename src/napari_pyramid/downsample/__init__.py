"""Reduce arrays by integer factors. `napari_pyramid.downsample` is the name that metadata record."""

from napari_pyramid.downsample.gaussian import (
    gaussian_radius,
    gaussian_reduce,
    gaussian_residual,
    with_halo,
)
from napari_pyramid.downsample.methods import (
    MAX_NDIM,
    METHODS,
    Downsampler,
    Method,
    MethodName,
    check_dtype,
    check_factors,
    downsample,
    downsampled_shape,
    is_gaussian,
    method_name,
)

__all__ = [
    "MAX_NDIM",
    "METHODS",
    "Downsampler",
    "Method",
    "MethodName",
    "check_dtype",
    "check_factors",
    "downsample",
    "downsampled_shape",
    "gaussian_radius",
    "gaussian_reduce",
    "gaussian_residual",
    "is_gaussian",
    "method_name",
    "with_halo",
]
