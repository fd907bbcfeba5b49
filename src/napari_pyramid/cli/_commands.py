"""Define the commands: each checks its arguments, calls the engine and prints the result."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any, cast

import typer

from napari_pyramid.cli._options import Recipe, StorageOptions, storage_options, with_recipe
from napari_pyramid.cli._terminal import Command, say
from napari_pyramid.errors import PyramidError

__all__ = ["app"]

DEMO = "demo.ome.zarr"
"""What the demo makes where the user names nothing, and may replace."""

app = typer.Typer(
    help="Build, describe and check image pyramids (multiscale zarr).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A zarr or N5 store of any known layout, or any file that a napari plugin reads.",
    ),
]
PathArgument = Annotated[
    str, typer.Argument(metavar="PATH", help="A store of any known layout: directory, zip or URL.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for programs.")]


@app.command(cls=Command)
@with_recipe
def plan(
    source: SourceArgument,
    *,
    recipe: Recipe,
    storage_option: StorageOptions = None,
    as_json: JsonOption = False,
) -> None:
    """Print what a build would write: levels, shapes, chunks, files, bytes and peak memory.

    Nothing is written.
    """
    from napari_pyramid.build import plan_build
    from napari_pyramid.cli._source import open_source
    from napari_pyramid.info import describe_spec

    options = storage_options(storage_option)
    opened = open_source(
        source, recipe.image, keep_levels=recipe.keeps_levels, storage_options=options
    )
    planned = plan_build(
        opened.data, **opened.with_recipe(recipe.build_options()), storage_options=options
    )
    _say_if_small(len(planned.spec.levels), recipe)
    if as_json:
        size = {"n_files": planned.n_files, "nbytes": planned.nbytes}
        _print_json({**describe_spec(planned.spec), **size, "peak_memory": planned.peak_memory})
    else:
        print(planned)


@app.command(cls=Command)
@with_recipe
def build(
    source: SourceArgument,
    destination: Annotated[
        str | None,
        typer.Argument(
            metavar="DESTINATION",
            help="Where the pyramid goes: NAME.ome.zarr, or s3://BUCKET/NAME.ome.zarr (gs, az).",
            show_default=False,
        ),
    ] = None,
    *,
    recipe: Recipe,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace a finished destination once the new one is complete."
        ),
    ] = False,
    resume: Annotated[
        bool, typer.Option(help="Resume an unfinished build with the same options.")
    ] = True,
    skip_unreadable: Annotated[
        bool,
        typer.Option(
            "--skip-unreadable",
            help="Treat unreadable chunks of the source as empty, and list them.",
        ),
    ] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Recompute every region from the level above and compare."),
    ] = False,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Address of a dask.distributed cluster that does the work."
        ),
    ] = None,
    storage_option: StorageOptions = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Build a pyramid of SOURCE. The same command resumes a build that was stopped."""
    if (destination is None) != recipe.in_place:
        raise typer.BadParameter("give either a DESTINATION or --in-place")
    from napari_pyramid.build import plan_build, recover
    from napari_pyramid.cli._build import run
    from napari_pyramid.cli._source import open_source
    from napari_pyramid.info import describe

    if recipe.in_place:
        recover(source)
    options = storage_options(storage_option)
    opened = open_source(
        source, recipe.image, keep_levels=recipe.keeps_levels, storage_options=options
    )
    planned = plan_build(
        opened.data,
        destination,
        **opened.with_recipe(recipe.build_options()),
        storage_options=options,
        overwrite=overwrite,
        resume=resume,
        skip_unreadable=skip_unreadable,
        verify=verify,
        executor=scheduler,
    )
    if planned.dashboard is not None and not quiet:
        say(f"dashboard: {planned.dashboard}")
    pyramid = run(planned, quiet=quiet)
    if not quiet:
        _say_if_small(len(pyramid), recipe)
    built = describe(destination or str(planned.destination), pyramid.store_images)
    if as_json:
        _print_json(built.to_json())
    else:
        print(built)


@app.command(cls=Command)
def info(
    path: PathArgument, *, storage_option: StorageOptions = None, as_json: JsonOption = False
) -> None:
    """Print what a store holds: layout, images, levels, axes, scale, channels, labels, size."""
    from napari_pyramid.info import describe

    found = describe(path, storage_options=storage_options(storage_option))
    if as_json:
        _print_json(found.to_json())
    else:
        print(found)


@app.command(cls=Command)
def check(
    path: PathArgument,
    *,
    pixels: Annotated[
        bool, typer.Option("--pixels", help="Recompute samples of each level from the level above.")
    ] = False,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Repair the metadata (never pixels), after a backup."),
    ] = False,
    storage_option: StorageOptions = None,
    as_json: JsonOption = False,
) -> None:
    """Report what is wrong with a store; the exit status is 1 if something is."""
    from napari_pyramid.check import check_store, repair_store

    options = storage_options(storage_option)
    report = check_store(path, pixels=pixels, storage_options=options)
    repaired = refused = None
    if repair and report.findings:
        try:
            repaired = repair_store(path)
            report = check_store(path, pixels=pixels, storage_options=options)
        except (PyramidError, OSError) as error:
            refused = error  # raised below: what was found is printed all the same
    if as_json:
        _print_json({**report.to_json(), **({"repaired": repaired.to_json()} if repaired else {})})
    else:
        if repaired:
            print(repaired)
        print(report)
    if refused:
        raise refused
    if report.findings:
        raise typer.Exit(1)


@app.command(cls=Command)
def demo(
    destination: Annotated[
        str, typer.Argument(metavar="DESTINATION", help="Where the pyramid goes.")
    ] = DEMO,
    *,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help=f"Replace a finished destination; {DEMO} always is.")
    ] = False,
) -> None:
    """Build a pyramid of a brain and open it in napari; without a display, draw it to demo.png."""
    from napari_pyramid.cli._demo import run

    run(destination, overwrite=overwrite or destination == DEMO)


@app.command(cls=Command)
def export(
    source: PathArgument,
    destination: Annotated[
        str,
        typer.Argument(
            metavar="DESTINATION", help="NAME.ome.zarr, or NAME.ome.tif for an OME-TIFF."
        ),
    ],
    *,
    region: Annotated[
        str | None,
        typer.Option(
            "--region",
            metavar="z=10:20,y=0:512",
            help="Ranges of axes in samples of level 0; an axis that is left out is taken whole.",
        ),
    ] = None,
    level: Annotated[
        int, typer.Option("--level", min=0, help="The level to take the samples from.")
    ] = 0,
    image: Annotated[
        str | None,
        typer.Option(
            "--image",
            metavar="NAME",
            help="The image to use if PATH holds several; by default the first.",
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="0.5", help="OME-Zarr version of a new pyramid: 0.5 or 0.4."
        ),
    ] = None,
    compression: Annotated[
        str,
        typer.Option("--compression", help="Compression of an OME-TIFF: deflate, zstd or none."),
    ] = "deflate",
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace what is at DESTINATION once the new one is complete."
        ),
    ] = False,
    storage_option: StorageOptions = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a region of an image as a new pyramid or an OME-TIFF."""
    if format not in (None, "0.4", "0.5"):
        raise typer.BadParameter(f"--format {format}: expected 0.5 or 0.4")
    if compression not in ("deflate", "zstd", "none"):
        raise typer.BadParameter(f"--compression {compression}: expected deflate, zstd or none")
    from napari_pyramid.cli._export import run
    from napari_pyramid.info import describe

    path = run(
        source,
        destination,
        region=region,
        level=level,
        image=image,
        format=cast("Any", format),
        compression=cast("Any", compression),
        overwrite=overwrite,
        storage_options=storage_options(storage_option),
        quiet=quiet,
    )
    written = describe(str(path))
    if as_json:
        _print_json(written.to_json())
    else:
        print(written)


@app.command(cls=Command)
def serve(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="A store, a folder of stores or a zip; for a URL only links are printed.",
        ),
    ],
    *,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The port; 0 takes any free one.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Serve PATH to this machine's browser, and print links for viewers on the web.

    Ctrl-C stops it. Only files below PATH are served, and only to this machine.
    """
    from napari_pyramid.cli._serve import run

    run(path, port, as_json=as_json)


def _say_if_small(n_levels: int, recipe: Recipe) -> None:
    """Explain on stderr why a pyramid has a single level."""
    if n_levels == 1 and recipe.levels is None:
        say(
            "one level, because the image is small enough to be shown whole; --levels N builds more"
        )


def _print_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=2)
    print()
