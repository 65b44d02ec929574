"""What every command says: results on stdout, everything else on stderr."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

FAILED, REFUSED = 1, 2
"""Exit status: it failed, or it was misused or refused; 0 is fine."""


def log(text: str) -> None:
    """Say what is no result."""
    typer.echo(text, err=True)


@contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Show on stderr that something takes its time; what it gives says how far it is, in a pipe in lines."""
    from rich.console import Console  # noqa: PLC0415 - what prints no more than a line starts without it

    err = Console(stderr=True, highlight=False)
    if not err.is_terminal:
        yield log
        return
    with err.status(what) as status:
        yield lambda said: status.update(f"{what}: {said}")


def print_json(value: object) -> None:
    """Print a result for programs: the same bytes for the same figures."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def count(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
