"""Checks a pyramid against NumPy: shapes, scale, translation, and the pixels of sampled regions.

Reads with zarr-python; shares no code with any runner. Any rounding of a mean passes (one unit per
level), any of several most frequent values passes, and so does a level made from level 0 instead of
the level before: what is asked of everyone is a right pyramid, not our choice among them. The codec
counts, since encoding is most of the work, and so do shards where they are asked for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from measure import METADATA
from workloads import Workload

__all__ = ["verify"]

CODEC = "blosc-zstd-5 with shuffle"
N_REGIONS = 6
SIDE = 12
"""Samples along each axis of a region of the coarser level."""

Box = tuple[slice, ...]


def verify(w: Workload, source: Path, result: Path) -> tuple[list[str], list[str]]:
    """Problems, for which a time does not count, and remarks.

    Problems of the metadata alone begin with ``metadata:``.
    """
    try:
        pyramid = _Pyramid(w, result)
    except (OSError, KeyError, ValueError, TypeError) as error:  # a peer's output may be anything
        return [f"not a readable pyramid: {type(error).__name__}: {error}"[:200]], []
    problems = _geometry(w, pyramid) + _storage(w, pyramid)
    if any(not p.startswith(METADATA) for p in problems):
        return problems, pyramid.remarks
    level0 = zarr.open_array(source / "0" if w.in_place else source, mode="r")
    spots = _spots(w, source)
    problems += _copied(w, level0, pyramid, spots)
    if wrong := max(
        _wrong(w, [level0, *pyramid.levels[1:]], k, spots) for k in range(1, w.n_levels)
    ):
        problems.append(
            f"up to {100 * wrong:.1f} % of the pixels of a level are not the {w.method}"
        )
    if w.present < 1:
        pyramid.remarks.append(_sparse(w, source, result, pyramid))
    return problems, pyramid.remarks


class _Pyramid:
    """Levels and transforms as OME-Zarr 0.4 or 0.5 tells them, in the axes of the workload."""

    def __init__(self, w: Workload, path: Path) -> None:
        multiscale = _multiscale(path)
        axes = [a["name"] for a in multiscale["axes"]]
        extra = len(axes) - len(w.axes)
        self.order = (
            [extra + i for i in range(len(w.axes))] if extra else [axes.index(a) for a in w.axes]
        )
        self.remarks = []
        if extra:
            self.remarks.append(f"padded to {len(axes)} axes")
        elif axes != list(w.axes):
            self.remarks.append(f"axes stored as {''.join(axes)}")
        self.paths = [path / d["path"] for d in multiscale["datasets"]]
        self.arrays = [zarr.open_array(p, mode="r") for p in self.paths]
        self.levels = [_Level(array, self.order) for array in self.arrays]
        self.scales = [self._transform(d, "scale", 1.0) for d in multiscale["datasets"]]
        self.translations = [self._transform(d, "translation", 0.0) for d in multiscale["datasets"]]

    def _transform(self, dataset: dict[str, Any], kind: str, default: float) -> np.ndarray:
        given = next(
            (t[kind] for t in dataset["coordinateTransformations"] if t["type"] == kind), None
        )
        return (
            np.full(len(self.order), default)
            if given is None
            else np.array(given, float)[self.order]
        )


class _Level:
    """An array seen in the workload's axes, whatever order or padding it is stored in."""

    def __init__(self, array: zarr.Array, order: list[int]) -> None:
        self._array, self._order = array, order
        self.shape = tuple(array.shape[i] for i in order)

    def __getitem__(self, box: Box) -> np.ndarray:
        key: list[slice | int] = [0] * self._array.ndim
        for axis, s in zip(self._order, box, strict=True):
            key[axis] = s
        return np.asarray(self._array[tuple(key)]).transpose(np.argsort(np.argsort(self._order)))


def _multiscale(path: Path) -> dict[str, Any]:
    v3 = path / "zarr.json"
    attributes = (
        json.loads(v3.read_text())["attributes"]
        if v3.exists()
        else json.loads((path / ".zattrs").read_text())
    )
    return attributes.get("ome", attributes)["multiscales"][0]


def _geometry(w: Workload, pyramid: _Pyramid) -> list[str]:
    problems = []
    if len(pyramid.levels) != w.n_levels:
        problems.append(f"{len(pyramid.levels)} levels instead of {w.n_levels}")
    for k, level in enumerate(pyramid.levels[: w.n_levels]):
        if level.shape != w.level_shape(k):
            problems.append(f"level {k}: shape {level.shape} instead of {w.level_shape(k)}")
    scale0, shift0 = pyramid.scales[0], pyramid.translations[0]
    steps = [np.array(w.factors, float) ** k for k in range(len(pyramid.scales))]
    if not all(
        np.allclose(s, np.array(w.scale) * f) for s, f in zip(pyramid.scales, steps, strict=True)
    ):
        problems.append(f"{METADATA} wrong scale")
    shifts = [t - shift0 for t in pyramid.translations]
    if not all(np.allclose(t, scale0 * (f - 1) / 2) for t, f in zip(shifts, steps, strict=True)):
        problems.append(
            f"{METADATA} {'wrong' if any(t.any() for t in shifts) else 'no'} translation"
        )
    return problems


def _storage(w: Workload, pyramid: _Pyramid) -> list[str]:
    """Other codecs, or no shards: other work."""
    new = pyramid.arrays[1 if w.in_place else 0 :]
    problems = [
        f"{name} instead of {CODEC}" for name in sorted({_codec(array) for array in new} - {CODEC})
    ]
    if w.shards and any(array.shards is None for array in new):
        problems.append("not in shards")
    return problems


def _codec(array: zarr.Array) -> str:
    """The compressor, named as in `CODEC`."""
    try:
        (blosc,) = array.compressors
        shuffle = {0: "noshuffle", 1: "shuffle", 2: "bitshuffle"}.get(
            blosc.shuffle
        ) or blosc.shuffle.value
        return f"blosc-{getattr(blosc.cname, 'value', blosc.cname)}-{blosc.clevel} with {shuffle}"
    except (ValueError, AttributeError):
        return ", ".join(type(codec).__name__ for codec in array.compressors) or "no codec"


def _copied(
    w: Workload, level0: zarr.Array, pyramid: _Pyramid, spots: list[np.ndarray]
) -> list[str]:
    boxes = [
        tuple(slice(o, min(o + 32, n)) for o, n in zip(spot, w.shape, strict=True))
        for spot in spots
    ]
    return (
        []
        if all(np.array_equal(level0[b], pyramid.levels[0][b]) for b in boxes)
        else ["level 0 differs from the source"]
    )


def _wrong(w: Workload, levels: list[Any], k: int, spots: list[np.ndarray]) -> float:
    """Largest share of wrong pixels in a region of level k."""
    worst = 0.0
    for spot in spots:
        shape = levels[k].shape
        corner = [
            min(o // f**k, max(n - SIDE, 0)) for o, f, n in zip(spot, w.factors, shape, strict=True)
        ]
        box = tuple(slice(o, min(o + SIDE, n)) for o, n in zip(corner, shape, strict=True))
        got = levels[k][box]
        wrong = min(
            _mismatch(w.method, got, _samples(levels[j], box, w.factors, k - j))
            for j in dict.fromkeys((k - 1, 0))
        )
        worst = max(worst, wrong)
    return worst


def _mismatch(method: str, got: np.ndarray, samples: np.ndarray) -> float:
    """Share of the pixels that are not what `method` makes of their samples."""
    if method == "mode":
        ordered = np.sort(samples, -1)
        ends = np.concatenate(
            [ordered[..., 1:] != ordered[..., :-1], np.ones((*got.shape, 1), bool)], -1
        )
        last = np.where(ends, np.arange(samples.shape[-1]), -1)
        before = np.concatenate(
            [np.full((*got.shape, 1), -1), np.maximum.accumulate(last, -1)[..., :-1]], -1
        )
        most = np.where(ends, last - before, 0).max(-1)
        return float(np.mean((samples == got[..., None]).sum(-1) < most))
    return float(np.mean(np.abs(got - samples.mean(-1, dtype=np.float64)) > 1))


def _samples(level: Any, box: Box, factors: tuple[int, ...], steps: int) -> np.ndarray:
    """The windows, in a finer level, of the pixels in `box`, `steps` levels down."""
    total = tuple(f**steps for f in factors)
    return _windows(
        level[tuple(slice(s.start * f, s.stop * f) for s, f in zip(box, total, strict=True))], total
    )


def _windows(a: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """The samples of each window along a new last axis; the shape is a multiple of the factors."""
    split = a.reshape([v for n, f in zip(a.shape, factors, strict=True) for v in (n // f, f)])
    outer, inner = range(0, split.ndim, 2), range(1, split.ndim, 2)
    return split.transpose([*outer, *inner]).reshape(*(split.shape[i] for i in outer), -1)


def _spots(w: Workload, source: Path) -> list[np.ndarray]:
    """Corners of regions of level 0: its two ends and random ones.

    Of a sparse one, in chunks that exist.
    """
    rng = np.random.default_rng(1)
    if w.present < 1:
        present = sorted(_present(source / "0"))
        chosen = rng.choice(len(present), N_REGIONS, replace=False)
        return [np.zeros(len(w.shape), int), *(np.array(present[i]) * w.chunks for i in chosen)]
    return [
        np.zeros(len(w.shape), int),
        np.array(w.shape) - 1,
        *rng.integers(0, w.shape, (N_REGIONS, len(w.shape))),
    ]


def _present(array: Path) -> set[tuple[int, ...]]:
    return {
        tuple(map(int, p.relative_to(array / "c").parts))
        for p in (array / "c").rglob("*")
        if p.is_file()
    }


def _sparse(w: Workload, source: Path, result: Path, pyramid: _Pyramid) -> str:
    """Chunks written against chunks that have something in them."""
    ids, needed = _present(source / "0"), 0
    for _ in range(1, w.n_levels):
        ids = {tuple(i // f for i, f in zip(index, w.factors, strict=True)) for index in ids}
        needed += len(ids)
    written = sum(
        p.is_file() and not p.name.startswith((".", "zarr"))
        for level in pyramid.paths[1:]
        for p in level.rglob("*")
    )
    return f"{written} chunks written, {needed} not empty"
