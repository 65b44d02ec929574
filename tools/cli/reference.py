"""docs/cli.md, written from the commands themselves: `make reference`."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cli.main import COMMANDS, imported

HEAD = """# Commands

Written from the code by `make reference`; each command says the same with `--help`.

Results go to stdout, everything else to stderr: what takes over two seconds says there how far it is. Exit status:
0 fine, 1 failed (or differs, where `--check` or `replay` asks), 2 misused or refused. `--json` prints results for
programs. Colours are left out where `NO_COLOR` is set and in a pipe; `COLUMNS` sets the width of tables. What calls AWS
takes `--region`, `--profile` and `--endpoint-url`, and without them what the AWS CLI would; `TIDEGATE_STACK` stands for
`--stack`. `tidegate --install-completion` teaches your shell to complete commands and options.
"""
AWS = ("region", "profile", "endpoint_url")


@dataclass(frozen=True, slots=True)
class Command:
    """A command at the end of its words."""

    name: str
    parsed: Any
    """Typer's object."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Arguments and options by the name that the code gives them."""
        return {each.name: each for each in self.parsed.params}

    @property
    def help(self) -> str:
        """The whole text, without the marks that keep Typer from filling lines."""
        return str(self.parsed.help).replace("\b\n", "")

    @property
    def examples(self) -> list[str]:
        """The lines under `Examples:`."""
        lines = self.help.partition("Example")[2].splitlines()[1:]
        return [line.strip() for line in lines if line.strip()]

    @property
    def example_words(self) -> list[list[str]]:
        """Their words after `tidegate`; what a pipe or a redirection does with the output is left out."""
        words = [shlex.split(line.partition(" | ")[0].partition(" > ")[0]) for line in self.examples]
        return [each[1:] for each in words if each[:1] == ["tidegate"]]


def commands() -> Iterator[Command]:
    """Yield every command, in the order of help."""
    for name in COMMANDS:
        found: Any = imported(name)
        family = getattr(found, "commands", None)
        yield from (
            (Command(f"{name} {each}", own) for each, own in family.items()) if family else [Command(name, found)]
        )


def page() -> str:
    """Return the whole page."""
    listed = [*commands()]
    rows = [f"| [`{each.name}`](#{_anchor(each)}) | {each.help.partition(chr(10))[0]} |" for each in listed]
    table = "\n".join(("| command | what it does |", "| --- | --- |", *rows))
    return "\n".join((HEAD, table, "", *map(_section, listed)))


def _section(command: Command) -> str:
    """Return what a person reads of one command: what it does, how it is called, what each option means."""
    text, _, _ = command.help.partition("Example")
    context = command.parsed.make_context(command.name, [], resilient_parsing=True)
    known = [each.get_help_record(context) for each in command.parsed.params if each.name not in AWS]
    rows = [f"| `{_cell(name)}` | {_cell(meant)} |" for name, meant in filter(None, known)]
    called = " ".join(("tidegate", command.name, *command.parsed.collect_usage_pieces(context)))
    shown = ["| argument or option | what it means |", "| --- | --- |", *rows] if rows else []
    if AWS[0] in command.parameters:
        shown += ["", "And `--region`, `--profile`, `--endpoint-url`."]
    parts = (f"## {command.name}", text.strip(), f"```text\n{called}\n```", "\n".join(shown), _block(command))
    return "\n\n".join(filter(None, parts)) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _block(command: Command) -> str:
    return "```sh\n" + "\n".join(command.examples) + "\n```"


def _anchor(command: Command) -> str:
    return command.name.replace(" ", "-")


if __name__ == "__main__":
    print(page(), end="")
