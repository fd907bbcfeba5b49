"""Reduce arrays by integer factors; metadata record the name `napari_pyramid.downsample`."""

from napari_pyramid.downsample.gaussian import gaussian_radius, gaussian_reduce, gaussian_residual
from napari_pyramid.downsample.limits import (
    MAX_NDIM,
    check_dtype,
    check_factors,
    downsampled_shape,
)
from napari_pyramid.downsample.methods import (
    METHODS,
    REDUCTIONS,
    RESIDUAL_GROUPS,
    Method,
    MethodName,
    default_method,
    downsample,
    method_name,
    methods_for,
    reduction_of,
)
from napari_pyramid.downsample.reduction import Downsampler, Reduction

__all__ = [
    "MAX_NDIM",
    "METHODS",
    "REDUCTIONS",
    "RESIDUAL_GROUPS",
    "Downsampler",
    "Method",
    "MethodName",
    "Reduction",
    "check_dtype",
    "check_factors",
    "default_method",
    "downsample",
    "downsampled_shape",
    "gaussian_radius",
    "gaussian_reduce",
    "gaussian_residual",
    "method_name",
    "methods_for",
    "reduction_of",
]
