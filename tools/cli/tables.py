"""How every command prints its tables."""

import os
import sys

from rich.console import Console
from rich.table import Table

PIPED_WIDTH = 160


def console() -> Console:
    """Return stdout: as wide as the terminal or `COLUMNS`, and wide enough for every table in a pipe.

    Square brackets are nothing but that: reasons and tags are other people's texts.
    """
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH
    return Console(highlight=False, markup=False, emoji=False, width=width)


def plain(*columns: str) -> Table:
    """Return an empty table without lines."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def show(*tables: Table) -> None:
    """Print those tables that have rows, each after an empty line."""
    for table in tables:
        if table.row_count:
            console().print()
            console().print(table)
