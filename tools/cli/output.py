"""What every command says: results on stdout, everything else on stderr."""

import json

import typer

FAILED, REFUSED = 1, 2
"""Exit status: it failed, or it was misused or refused; 0 is fine."""


def log(text: str) -> None:
    """Say what is no result."""
    typer.echo(text, err=True)


def print_json(value: object) -> None:
    """Print a result for programs."""
    typer.echo(json.dumps(value, indent=2))


def count(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
