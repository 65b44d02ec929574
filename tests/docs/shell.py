"""Commands of a page, run in this process: in a folder that looks like the checkout, and in an account if it has one."""

from __future__ import annotations

import importlib
import io
import re
import shlex
from contextlib import ExitStack, chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer

from cli.main import app
from core.aws import clock
from core.fields import duration
from core.times import MINUTE
from tests.desk import Desk
from tests.docs import accounts
from tests.docs.pages import ROOT, Block, Turn, parts

if TYPE_CHECKING:
    from tests.estates import People

WIDTH = 118
"""Columns of the terminal that pages show."""

SHOWN = ("traces", "events", "examples", "fleet.yaml")
"""What commands find in the folder they are run in: that of the checkout, its example of a policy file included."""


class Shell:
    """Runs the commands of one page in their order."""

    def __init__(self, folder: Path) -> None:
        for name in SHOWN:
            (folder / name).symlink_to(ROOT / name)
        self._folder = folder
        self._account: Desk | People | None = None

    def turn(self, turn: Turn, made: ExitStack) -> None:
        """Enter an account, or let time pass there."""
        if turn.word == "account":
            self._account = made.enter_context(accounts.ACCOUNTS[turn.said]())
            return
        assert isinstance(self._account, Desk), "no stack, no time"
        self._account.minutes(duration(turn.said) // MINUTE)

    def run(self, command: str) -> str:
        """Return what a terminal shows of a command, both streams.

        Raises:
            AssertionError: it is no command that a page can show.
        """
        line, _, file = command.partition(" > ")
        words = shlex.split(line, comments=True)
        shown, kept = io.StringIO(), io.StringIO()
        with chdir(self._folder), redirect_stdout(kept if file else shown), redirect_stderr(shown):
            if words[0] == "cat":
                return "".join(Path(name).read_text(encoding="utf-8") for name in words[1:])
            program, arguments = _program(words)
            status = self._status(program, arguments)
            if file:
                Path(file.strip()).write_text(kept.getvalue(), encoding="utf-8")
        # A page shows a terminal, in which a bar tells how far it is and goes away; in a pipe these are lines.
        stays = "".join(line for line in shown.getvalue().splitlines(keepends=True) if not line.endswith(" ...\n"))
        return stays + (f"(exit status {status})\n" if status else "")

    def _status(self, program: typer.Typer, arguments: list[str]) -> int | str | None:
        """Start a program as a shell does, at the account's time."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COLUMNS", str(WIDTH))
            if self._account is not None:
                now = self._account.account.now
                patch.setattr(clock, "now", lambda: now)
            try:
                program(arguments, obj=self._account)
            except SystemExit as end:
                return end.code
        return None


def _program(words: list[str]) -> tuple[typer.Typer, list[str]]:
    """Return what a command starts, and with which arguments."""
    name = words[0].rpartition("/")[2]  # `.venv/bin/tidegate`
    if name == "tidegate":
        return app, words[1:]
    assert (name, words[1]) == ("python", "-m"), f"{shlex.join(words)}: cannot be run here; mark the block"
    found = typer.Typer(add_completion=False)
    found.command()(importlib.import_module(words[2]).main)
    return found, words[3:]


def rendered(page: str, folder: Path, *, slow: bool) -> str:
    """Return the page with what its commands really print; `slow` ones too if that is wanted."""
    shell = Shell(folder)
    text = (ROOT / page).read_text(encoding="utf-8")
    with ExitStack() as made:
        for part in parts(page):
            match part:
                case Turn():
                    shell.turn(part, made)
                case Block(language="console") if part.held == "" or (slow and part.held == "slow"):
                    text = text.replace(part.text, "".join(answered(shell, *each) for each in part.commands), 1)
    return text


def answered(shell: Shell, command: str, shown: str) -> str:
    """Return a command with what it says; as it is shown, if `...` stands for what differs."""
    really = "".join(f"{line.rstrip()}\n" for line in shell.run(command).rstrip("\n").splitlines())
    pattern = re.escape(shown).replace(re.escape("...\n"), "(?:.*\n)*?")
    return f"$ {command}\n{shown if re.fullmatch(pattern, really) else really}"
