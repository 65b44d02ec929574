"""What every command says: results on stdout, everything else on stderr."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile
from threading import Timer
from time import monotonic
from typing import TYPE_CHECKING

import typer

from cli.errors import MisusedError

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

FAILED, REFUSED = 1, 2
"""Exit status: it failed, or it was misused or refused; 0 is fine."""


def log(text: str) -> None:
    """Say what is no result."""
    typer.echo(text, err=True)


def check_writable(option: str, path: Path, *, folder: bool = False) -> None:
    """Refuse a place that cannot be written before the work for it is done.

    Args:
        option: what the command line calls it.
        path: a file, whose folder is made when it is written; replaced if it exists.
        folder: whether it is to be one.

    Raises:
        MisusedError: naming it, and why.
    """
    what = "folder" if folder else "file"
    place = f"{option} = {str(path)!r}: must be a {what} that can be written"
    if path.exists() and path.is_dir() != folder:
        raise MisusedError(f"{place}, and is a {'file' if folder else 'folder'}")
    near = path if folder else path.parent
    while not near.exists():
        near = near.parent
    try:
        TemporaryFile(dir=near).close()
        if path.is_file():
            path.open("a", encoding="utf-8").close()
    except OSError as error:
        raise MisusedError(f"{place} ({near}: {error.strerror})") from error


PATIENCE, PAUSE = 2.0, 10.0
"""Seconds until work says in a pipe that it goes on, and from one such line to the next."""


def in_lines(say: Callable[[str], None] = log, clock: Callable[[], float] = monotonic) -> Callable[[str], None]:
    """Return what takes how far something is, and says it where no terminal shows a bar: a line now and then."""
    due = clock() + PATIENCE

    def told(how_far: str) -> None:
        nonlocal due
        if clock() >= due:
            say(f"{how_far} ...")
            due = clock() + PAUSE

    return told


@contextmanager
def watched(*columns: "ProgressColumn") -> Iterator[tuple["Progress", Callable[[str], None]]]:
    """Show a bar on stderr, with what there is to do counted if no columns are given.

    What comes with it says the same in lines where no terminal shows the bar.
    """
    from rich import progress  # noqa: PLC0415 - as in `working`
    from rich.console import Console  # noqa: PLC0415

    err = Console(stderr=True)
    counted = (progress.TextColumn("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn())
    shown = columns or (*counted, progress.TimeElapsedColumn())
    with progress.Progress(*shown, console=err, transient=True, disable=not err.is_terminal) as bar:
        yield bar, in_lines() if bar.disable else lambda _: None


@contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Show on stderr that something takes its time; what it gives says how far it is, in a pipe in lines."""
    from rich.console import Console  # noqa: PLC0415 - what prints no more than a line starts without it

    err = Console(stderr=True, highlight=False)
    if not err.is_terminal:
        begun = Timer(PATIENCE, log, [f"{what} ..."])
        begun.start()
        try:
            yield in_lines()
        finally:
            begun.cancel()
        return
    with err.status(what) as status:
        yield lambda said: status.update(f"{what}: {said}")


def print_json(value: object) -> None:
    """Print a result for programs: the same bytes for the same figures."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=datetime.isoformat))  # AWS answers with times


def count(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
