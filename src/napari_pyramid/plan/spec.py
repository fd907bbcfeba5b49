"""Describe a pyramid before it exists: levels, factors, transforms, bytes and files."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Unpack

import numpy as np

from napari_pyramid.axes import Axis, parse_axes
from napari_pyramid.downsample import (
    MAX_NDIM,
    Method,
    Reduction,
    check_dtype,
    default_method,
    downsampled_shape,
    methods_for,
    reduction_of,
)
from napari_pyramid.errors import SpecError
from napari_pyramid.plan.chunks import ChunkGrid
from napari_pyramid.plan.factors import Factors, kept_steps, steps_of
from napari_pyramid.plan.level import Level
from napari_pyramid.plan.level_table import level_table
from napari_pyramid.plan.level_transforms import floats_per_axis, levels_of
from napari_pyramid.plan.options import SpecOptions, refuse_unknown
from napari_pyramid.plan.schedule import SourceChunks, peak_of, plan_passes

__all__ = ["PyramidSpec"]


@dataclass(frozen=True, slots=True)
class PyramidSpec:
    """Description of a pyramid, level 0 first.

    Make it with `from_array`; vary it with `dataclasses.replace`.
    """

    levels: tuple[Level, ...]
    axes: tuple[Axis, ...]
    method: Method = "mean"
    kind: Literal["image", "labels"] = "image"
    name: str = ""
    codec: str | None = None
    """Name of a codec such as ``"blosc-zstd-5"``.

    None keeps the codec of level 0, or takes the default for a new store.
    """
    ignore_background: bool = False
    """Whether the mode of labels leaves out 0; see `downsample`."""

    @classmethod
    def from_array(
        cls,
        array: Any,
        *,
        axes: str | Sequence[str | Axis] | None = None,
        scale: Sequence[float] | None = None,
        translation: Sequence[float] | None = None,
        unit: str | Sequence[str | None] | None = None,
        method: Method | None = None,
        factors: Factors | None = None,
        n_levels: int | None = None,
        chunks: Sequence[int] | None = None,
        shards: Sequence[int] | Literal["auto"] | None = "auto",
        codec: str | None = None,
        labels: bool = False,
        name: str | None = None,
        paths: Sequence[str] | None = None,
        ignore_background: bool = False,
    ) -> PyramidSpec:
        """Return the spec of a pyramid of `array`.

        Parameters
        ----------
        array
            Anything with `shape` and `dtype`; its `chunks`, if it has some, are taken when they
            suit a pyramid.
        axes
            ``"zyx"``, ``"t,c,y,x"`` or `Axis` objects; None means the trailing ones of t, c, z, y,
            x.
        scale, translation
            Of level 0: one entry per axis, in units of the axes; 1 and 0 if left out.
        unit
            One for all spatial axes, or one per axis; spellings like ``"um"`` are understood.
        method
            See `downsample`; None means mode for labels and bool, else mean.
        factors
            From each level to the next: one for all spatial axes, one per axis, or one tuple per
            step. None means near-isotropic halving, see `factors.near_isotropic_step`. Time and
            channel axes are kept unless factors say otherwise.
        n_levels
            Levels including level 0. None: a flat image until no side is over 512, a volume until
            it has at most 256**3 voxels.
        chunks
            Of every level (clipped to its shape); one entry per axis.
        shards
            Of every level, multiples of the chunks; None for no shards; ``"auto"`` for shards of
            about 64 MiB where level 0 would have more than 20,000 chunks.
        codec
            Name of a codec such as ``"blosc-zstd-5"``; None for the codec of level 0 or the
            default.
        labels
            The pixels are ids: never averaged.
        name
            Name of the image, written to the metadata.
        paths
            Names of the level arrays; ``"0"``, ``"1"``, ... if left out.
        ignore_background
            For the mode of labels: see `downsample`.

        Raises
        ------
        SpecError
            If axes, scale, factors, chunks, shards, dtype or the number of levels do not fit the
            array.
        """
        shape, dtype = _shape_of(array), np.dtype(array.dtype)
        parsed = parse_axes(axes, len(shape), unit)
        spacing = floats_per_axis("scale", scale, len(shape), 1.0)
        if 0.0 in spacing:
            raise SpecError(
                f"scale {spacing} has a zero: the distance between samples must not be 0"
            )
        kind: Literal["image", "labels"] = "labels" if labels else "image"
        method = default_method(kind, dtype) if method is None else method
        reduction = reduction_of(method)
        steps = steps_of(shape, parsed, spacing, factors, n_levels)
        if paths is not None and len(paths) != len(steps) + 1:
            raise SpecError(
                f"{len(paths)} level paths for {len(steps) + 1} levels: give one per level"
            )
        levels = levels_of(
            shape,
            dtype,
            steps,
            paths or [str(k) for k in range(len(steps) + 1)],
            spacing,
            floats_per_axis("translation", translation, len(shape), 0.0),
            ChunkGrid.choose(shape, dtype, parsed, getattr(array, "chunks", None), chunks, shards),
            centred=reduction.centred,
        )
        spec = cls(
            levels,
            parsed,
            method,
            kind,
            name or "",
            codec,
            ignore_background,
        )
        spec._check_labels()
        return spec

    @classmethod
    def from_levels(cls, levels: Sequence[Any], **options: Unpack[SpecOptions]) -> PyramidSpec:
        """Return the spec of a pyramid that keeps existing levels.

        Factors that are not given follow from the shapes: ``round(n / m)`` between consecutive
        levels. Factors of more steps add levels that are computed from the last existing one.

        Parameters
        ----------
        levels
            Arrays with `shape` and `dtype`, largest first.
        **options
            As in `from_array`, without `n_levels`.

        Raises
        ------
        SpecError
            If the levels differ in dtype or number of axes.
        TypeError
            If an option is unknown.
        """
        refuse_unknown(options)
        shapes = [_shape_of(level) for level in levels]
        if (
            len({len(s) for s in shapes}) != 1
            or len({np.dtype(level.dtype) for level in levels}) != 1
        ):
            found = ", ".join(f"{s} {level.dtype}" for s, level in zip(shapes, levels, strict=True))
            raise SpecError(f"levels differ in axes or dtype: {found}; give levels of one image")
        options.setdefault("factors", kept_steps(shapes))
        spec = cls.from_array(levels[0], **options)
        for level in spec.levels[len(shapes) :]:
            shapes.append(downsampled_shape(shapes[-1], level.factors))
        grid = ChunkGrid(spec.levels[0].chunks, spec.levels[0].shards)
        kept = (
            replace(v, shape=s, chunks=grid.chunks_of(s), shards=grid.shards_of(s))
            for v, s in zip(spec.levels, shapes, strict=True)
        )
        return replace(spec, levels=tuple(kept))

    def _check_labels(self) -> None:
        if self.kind == "labels" and self.dtype.kind not in "iub":
            raise SpecError(
                f"dtype {self.dtype} cannot be labels: expected integers; "
                "convert them, or build without labels"
            )
        if self.kind == "labels" and self.reduction.invents_values:
            *others, last = (r.name for r in methods_for("labels"))
            raise SpecError(
                f"method {self.method!r} would invent ids: "
                f"use {', '.join(others)} or {last} for labels"
            )

    @property
    def reduction(self) -> Reduction:
        """The method named by `method` and `ignore_background`."""
        return reduction_of(self.method, ignore_background=self.ignore_background)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the levels."""
        return self.levels[0].dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.axes)

    @property
    def nbytes(self) -> int:
        """Bytes of all levels before compression."""
        return sum(level.nbytes for level in self.all_levels)

    @property
    def n_files(self) -> int:
        """Number of chunk or shard files of all levels, if every one holds data."""
        return sum(level.n_files for level in self.all_levels)

    @property
    def residuals(self) -> tuple[Level, ...]:
        """Arrays that the method stores beside levels 1, 2, ...; empty for all but laplacian."""
        residual = self.reduction.residual
        if residual is None:
            return ()
        return tuple(
            replace(
                level,
                path=f"{residual.group}/{level.path}",
                factors=(1,) * self.ndim,
                dtype=residual.dtype(self.dtype),
                residual_of=k,
            )
            for k, level in enumerate(self.levels[1:], start=1)
        )

    @property
    def all_levels(self) -> tuple[Level, ...]:
        """The levels and their residuals: all arrays of the pyramid."""
        return (*self.levels, *self.residuals)

    @property
    def derivations(self) -> tuple[tuple[Level, Level], ...]:
        """Pairs of a level, or residual, that is computed, and before it the level that is read."""
        beside = (chain[-2:] for chain in self.chains[1:])
        return (*itertools.pairwise(self.levels), *((parent, end) for parent, end in beside))

    @property
    def chains(self) -> tuple[tuple[Level, ...], ...]:
        """Chains of levels, each computed from the one before.

        The first is the pyramid, and chain k ends with the residual of level k.
        """
        ends = enumerate(self.residuals, start=1)
        return (self.levels, *((*self.levels[: k + 1], residual) for k, residual in ends))

    def reduction_for(self, level: Level) -> Reduction:
        """Return how `level`, or a residual, is made from the level that it is computed from."""
        residual = self.reduction.residual
        if level.residual_of is None or residual is None:
            return self.reduction
        return residual.of(self.levels[level.residual_of].factors)

    def peak_memory(self, max_workers: int | None = None, memory_limit: int | None = None) -> int:
        """Return the peak bytes of a build, beyond the interpreter.

        The source is taken to be chunked like level 0.

        Raises
        ------
        SpecError
            If a chunk or shard does not fit the limit.
        """
        passes = plan_passes(
            self,
            [SourceChunks.like(self.levels[0])],
            max_workers=max_workers,
            memory_limit=memory_limit,
        )
        return peak_of(passes, self.reduction_for, [self.levels[0].chunks])

    def __str__(self) -> str:
        axes = " ".join(f"{a.name} ({a.unit})" if a.unit else a.name for a in self.axes)
        method = self.reduction.name
        head = f"{self.kind} {self.name!r} {self.dtype} axes {axes}, method {method}"
        return "\n".join([head, *level_table(self.levels)])


def _shape_of(array: Any) -> tuple[int, ...]:
    try:
        shape = tuple(int(n) for n in array.shape)
        dtype = np.dtype(array.dtype)
    except (AttributeError, TypeError) as exc:
        raise SpecError(
            f"a {type(array).__name__} cannot be a source: "
            "expected something with shape, dtype and indexing"
        ) from exc
    if not 1 <= len(shape) <= MAX_NDIM:
        raise SpecError(f"shape {shape} has {len(shape)} axes: expected 1 to {MAX_NDIM}")
    if 0 in shape:
        raise SpecError(f"shape {shape} has an axis of size 0: there is nothing to build")
    check_dtype(dtype)
    return shape
