"""`tidegate catalogue`: the catalogue of instance types."""

import time
from pathlib import Path
from typing import Annotated

import typer

import core
from cli.options import Json
from cli.output import FAILED, check_writable, count, log, print_json

app = typer.Typer(
    name="catalogue",
    help="Keep the catalogue of instance types (for those who develop Tidegate).",
    no_args_is_help=True,
)
CATALOGUE = Path(core.__file__).with_name("instance_types.json")


@app.callback()
def _catalogue() -> None:
    """Keep the catalogue of instance types (for those who develop Tidegate)."""


@app.command()
def refresh(
    *,
    file: Annotated[Path, typer.Option(help="Where it goes.", show_default="the one that is deployed")] = CATALOGUE,
    as_json: Json = False,
) -> None:
    """Write the catalogue of instance types anew, from the installed botocore and moto.

    Types of which the source says nothing are listed; endpoints on them state `vcpus` and `gpus` in the policy file.

    \b
    Example:
      tidegate catalogue refresh
    """
    from cli.catalogue import derived, written

    check_writable("--file", file)
    try:
        catalogue, unknown = derived(time.strftime("%Y-%m-%d", time.gmtime()))
    except ModuleNotFoundError as error:
        log("error: moto, the source of the figures, is not installed: run `make check` once, which installs it.")
        raise typer.Exit(FAILED) from error
    file.write_text(written(catalogue), encoding="utf-8")
    if as_json:
        print_json({"file": str(file), "types": len(catalogue["types"]), "unknown": unknown})
        return
    typer.echo(f"{count(len(catalogue['types']), 'instance type')} in {file}.")
    for name in unknown:
        typer.echo(f"unknown: {name}")
