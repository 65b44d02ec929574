"""Write into the pages what their commands really print: `python -m tests.docs [PAGE...]`, all pages by default.

Those marked `slow` are run too; those marked `not run` are left as they are.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from tests.docs.pages import PAGES, ROOT
from tests.docs.shell import rendered


def main(pages: Annotated[list[str] | None, typer.Argument(help="Pages, from the root.")] = None) -> None:
    """Run the commands of pages and write what they print."""
    for page in pages or PAGES:
        with tempfile.TemporaryDirectory() as folder:
            text = rendered(page, Path(folder), slow=True)
        if text != (ROOT / page).read_text(encoding="utf-8"):
            (ROOT / page).write_text(text, encoding="utf-8")
            typer.echo(f"{page} is written.")


if __name__ == "__main__":
    typer.run(main)
