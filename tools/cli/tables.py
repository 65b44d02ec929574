"""How every command prints its tables."""

import os
import sys

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from typing_extensions import override

PIPED_WIDTH = 160
LEGIBLE = 11
"""Characters a column, on average, below which a table is no longer read."""


def console() -> Console:
    """Return stdout: as wide as the terminal or `COLUMNS`, and wide enough for every table in a pipe.

    Square brackets are nothing but that: reasons and tags are other people's texts.
    """
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH
    return Console(highlight=False, markup=False, emoji=False, width=width)


class Fitting(Table):
    """A table that a narrow terminal gets as a block a row: of columns too many for it, Rich drops the widest."""

    @override
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width >= LEGIBLE * len(self.columns):
            yield from super().__rich_console__(console, options)
            return
        for cells in zip(*(column.cells for column in self.columns), strict=True):
            block = Table.grid(padding=(0, 2))
            block.add_column()
            block.add_column(overflow="fold")
            for column, cell in zip(self.columns, cells, strict=True):
                if str(cell) not in {"-", ""}:
                    block.add_row(column.header, cell)
            yield block
            yield ""


def plain(*columns: str) -> Table:
    """Return an empty table without lines."""
    table = Fitting(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def show(*tables: Table) -> None:
    """Print those tables that have rows, each after an empty line."""
    for table in tables:
        if table.row_count:
            console().print()
            console().print(table)
