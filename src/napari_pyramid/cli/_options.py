"""Declare and parse the options of plan and build."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import typer

from napari_pyramid.cli._terminal import METHODS_HERE

__all__ = ["Recipe", "StorageOptions", "storage_options", "with_recipe"]

StorageOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--storage-option",
        metavar="KEY=VALUE",
        help="For URLs: profile=NAME, anonymous=true, region, endpoint, headers.NAME and others; "
        "may be repeated.",
    ),
]


def storage_options(given: list[str] | None) -> dict[str, str] | None:
    """Return the options of `--storage-option KEY=VALUE`, None without such options."""
    found = {}
    for text in given or ():
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise typer.BadParameter(f"--storage-option {key}: expected KEY=VALUE")
        found[key.strip()] = value
    return found or None


_Number = TypeVar("_Number", int, float)


def _option(flag: str, metavar: str, meaning: str) -> Any:
    return typer.Option(flag, metavar=metavar, help=meaning, rich_help_panel="Recipe")


@dataclass(frozen=True, slots=True)
class Recipe:
    """The options of a pyramid as the user wrote them; None for options that were not given."""

    image: Annotated[
        str | None,
        _option(
            "--image", "NAME", "The image to use if SOURCE holds several; by default the first."
        ),
    ] = None
    axes: Annotated[
        str | None, _option("--axes", "zyx", "Names of the axes, in the order of the array.")
    ] = None
    scale: Annotated[
        str | None, _option("--scale", "2,0.5,0.5", "Distance between samples along each axis.")
    ] = None
    translation: Annotated[
        str | None,
        _option("--translation", "0,0,0", "Position of the first sample along each axis."),
    ] = None
    unit: Annotated[
        str | None,
        _option("--unit", "micrometer", "Unit of all spatial axes, or one for each axis."),
    ] = None
    method: Annotated[
        str | None,
        _option(
            "--method", "mean", f"How each level is reduced from the one before: {METHODS_HERE}."
        ),
    ] = None
    factors: Annotated[
        str | None,
        _option(
            "--factors",
            "2,2,2",
            "Reduction from each level to the next along each axis; by default voxels become "
            "near-isotropic.",
        ),
    ] = None
    levels: Annotated[
        int | None,
        typer.Option(min=1, help="Number of levels, level 0 included.", rich_help_panel="Recipe"),
    ] = None
    chunks: Annotated[
        str | None, _option("--chunks", "64,64,64", "Chunk shape of every level.")
    ] = None
    shards: Annotated[
        str | None, _option("--shards", "256,256,256|none", "Shard shape, or none.")
    ] = None
    codec: Annotated[
        str | None,
        _option("--codec", "blosc-zstd-5", "How chunks are compressed: also zstd-3, gzip-6, none."),
    ] = None
    format: Annotated[
        Literal["0.5", "0.4"] | None,
        typer.Option(
            help="OME-Zarr version of a new store: 0.4 is zarr v2; by default 0.5 (zarr v3).",
            rich_help_panel="Recipe",
        ),
    ] = None
    name: Annotated[
        str | None, _option("--name", "NAME", "Name of the image, or of a further series in place.")
    ] = None
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place",
            help="Add the levels beside the source's level 0, which stays as it is.",
            rich_help_panel="Recipe",
        ),
    ] = False
    labels: Annotated[
        bool,
        typer.Option(
            "--labels",
            help="The pixels are ids of objects, which are never averaged.",
            rich_help_panel="Recipe",
        ),
    ] = False
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of threads; by default one per core.", rich_help_panel="Machine"
        ),
    ] = None
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="2GB",
            help="Limit of memory; by default a quarter of the free memory, at most 4GiB.",
            rich_help_panel="Machine",
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.in_place and self.format is not None:
            raise typer.BadParameter(
                "--format is for a new store: levels added --in-place "
                "have the zarr format of level 0"
            )

    @property
    def keeps_levels(self) -> bool:
        """Whether no option is about the levels, so that the levels of a file can be kept."""
        return self.method is None and self.factors is None and self.levels is None

    def spec_options(self) -> dict[str, Any]:
        """Return the keywords of `PyramidSpec.from_array` that the user gave."""
        given: dict[str, Any] = {
            "axes": self.axes,
            "scale": _floats("--scale", self.scale),
            "translation": _floats("--translation", self.translation),
            "unit": _units(self.unit),
            "method": self.method,
            "factors": _integers("--factors", self.factors),
            "n_levels": self.levels,
            "chunks": _integers("--chunks", self.chunks),
            "codec": self.codec,
            "name": self.name,
        }
        options = {key: value for key, value in given.items() if value is not None}
        if self.shards is not None:
            options["shards"] = (
                None if self.shards.lower() == "none" else _integers("--shards", self.shards)
            )
        if self.labels:
            options["labels"] = True
        return options

    def build_options(self) -> dict[str, Any]:
        """Return the keywords of `iter_build`: options of the spec, and of the run."""
        options = self.spec_options()
        if self.in_place and "name" in options:
            options["series"] = options.pop("name")
        return {
            **options,
            "in_place": self.in_place,
            "format": self.format,
            "max_workers": self.workers,
            "memory_limit": _bytes("--memory", self.memory),
        }


def with_recipe(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `Recipe` in place of its parameter `recipe`."""
    hints = get_type_hints(Recipe, include_extras=True)
    options = [
        inspect.Parameter(
            f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name]
        )
        for f in fields(Recipe)
    ]
    signature = inspect.signature(command, eval_str=True)
    own = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for p in signature.parameters.values()
        if p.name != "recipe"
    ]

    @wraps(command)
    def run(**given: Any) -> None:
        recipe = Recipe(**{o.name: given.pop(o.name) for o in options})
        command(recipe=recipe, **given)

    vars(run)["__signature__"] = signature.replace(parameters=[*own, *options])
    run.__annotations__ = {p.name: p.annotation for p in [*own, *options]}
    return run


def _floats(flag: str, text: str | None) -> tuple[float, ...] | None:
    return None if text is None else tuple(_number(flag, part, float) for part in text.split(","))


def _integers(flag: str, text: str | None) -> tuple[int, ...] | None:
    return None if text is None else tuple(_number(flag, part, int) for part in text.split(","))


def _number(flag: str, text: str, kind: Callable[[str], _Number]) -> _Number:
    try:
        return kind(text)
    except ValueError:
        expected = "integers" if kind is int else "numbers"
        raise typer.BadParameter(
            f"{text.strip()!r} in {flag}: expected {expected} separated by commas, one per axis"
        ) from None


def _units(text: str | None) -> str | list[str | None] | None:
    if text is None or "," not in text:
        return text
    return [part.strip() or None for part in text.split(",")]


def _bytes(flag: str, text: str | None) -> int | None:
    from napari_pyramid.plan.level import parse_bytes  # imports NumPy, which help need not wait for

    try:
        return None if text is None else parse_bytes(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} in {flag}: expected bytes such as 500MB, 2GB or 1.5GiB"
        ) from None
