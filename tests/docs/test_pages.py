"""What README and docs show is what really comes out, and what they name is there."""

import ast
import difflib
import json
import re
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from botocore import xform_name
from botocore.session import Session

from cli.errors import PolicyFileError
from cli.main import COMMANDS, app, imported
from cli.policy_file import read_policy_file
from tests.docs.pages import PAGES, ROOT, Block, Turn, anchors, blocks, parts, prose
from tests.docs.shell import Shell, answered, rendered

ALL = [part for page in PAGES for part in parts(page) if isinstance(part, Block)]
RUN = sorted({block.page for block in ALL if (block.language, block.held) == ("console", "")})
SHELL = blocks("console", "sh")
LANGUAGES = {"console", "sh", "text", "yaml", "json", "python", "mermaid", "hcl", "typescript"}


@pytest.mark.parametrize("page", RUN)
def test_commands_say_what_the_page_shows(page: str, tmp_path: Path) -> None:
    shown, said = (ROOT / page).read_text(encoding="utf-8"), rendered(page, tmp_path, slow=False)
    assert said == shown, "\n".join(difflib.unified_diff(shown.splitlines(), said.splitlines(), page, "really", n=0))


def test_what_differs_is_replaced_and_dots_stand_for_lines(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("one\ntwo \nthree\n")
    shell = Shell(tmp_path)
    for shown in ("one\ntwo\nthree\n", "...\nthree\n", "one\n...\n"):
        assert answered(shell, "cat file", shown) == f"$ cat file\n{shown}"
    for shown in ("one\nthree\n", "...\nfour\n", ""):
        assert answered(shell, "cat file", shown) == "$ cat file\none\ntwo\nthree\n"
    assert "(exit status 2)" in shell.run("tidegate policy check file")
    with pytest.raises(AssertionError, match="mark the block"):
        shell.run("sam build")


def test_a_comment_speaks_of_the_block_below_it_and_of_no_other() -> None:
    text = "<!-- not run: why -->\n```sh\na\n```\n\n<!-- later: 90m -->\n```console\n$ b\n```\n<!-- a word -->\n```json\n1\n```\n"
    first, turn, second, third = parts("a page", text)
    assert [each.held for each in (first, second, third) if isinstance(each, Block)] == ["not run", "", ""]
    assert turn == Turn("later", "90m")


def test_every_block_says_what_it_is() -> None:
    assert [block.name for block in ALL if block.language not in LANGUAGES] == []


def test_a_console_begins_with_a_command_and_nothing_else_has_one() -> None:
    begins = {block.name for block in ALL if block.text.startswith("$ ")}
    assert begins == {block.name for block in blocks("console")}


# --- code ------------------------------------------------------------------------------------------------------------


def refused(check: Callable[[Block], object], *languages: str) -> dict[str, str]:
    """What is wrong with which block."""
    found = {}
    for block in blocks(*languages):
        try:
            check(block)
        except (ValueError, SyntaxError, yaml.YAMLError, PolicyFileError) as error:
            found[block.name] = str(error)
    return found


def test_json_and_python_can_be_read() -> None:
    assert refused(lambda block: json.loads(block.text), "json") == {}
    assert refused(lambda block: ast.parse(block.text), "python") == {}


def test_yaml_is_policy_that_is_accepted(tmp_path: Path) -> None:
    def check(block: Block) -> None:
        written = yaml.safe_load(textwrap.dedent(block.text))
        if block.held != "not ours":
            file = tmp_path / "fleet.yaml"
            file.write_text(yaml.safe_dump(as_fleet(written)), encoding="utf-8")
            read_policy_file(file)

    assert refused(check, "yaml") == {}


PLAIN = {"kind": "realtime", "min_capacity": 1, "max_capacity": 8, "objectives": {"requests_per_instance": 400}}


def as_fleet(written: Any) -> dict[str, Any]:
    """A whole file, its profiles, some fields of one, or native policies."""
    if isinstance(written, list):
        written = {"policies": written}
    if "profiles" not in written:
        written = {"profiles": {"p": PLAIN | written}}
    return {"version": 1, **written}


def test_an_excerpt_stands_in_its_file() -> None:
    wrong = []
    for block in ALL:
        if block.held == "from":
            lines = [line.strip() for line in (ROOT / block.why).read_text(encoding="utf-8").splitlines()]
            shown = [line.strip() for line in block.text.splitlines()]
            wrong += [block.name] * all(lines[at : at + len(shown)] != shown for at in range(len(lines)))
    assert wrong == []


# --- commands --------------------------------------------------------------------------------------------------------


def lines_of(block: Block) -> Iterator[str]:
    """The command lines of a block, each in one piece."""
    text = block.text if block.language == "sh" else "\n".join(command for command, _ in block.commands)
    yield from text.replace("\\\n", " ").splitlines()


def test_shell_is_shell() -> None:
    wrong = {}
    for block in SHELL:
        asked = ["bash", "-n"]
        done = subprocess.run(asked, input="\n".join(lines_of(block)), capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
        if done.returncode:
            wrong[block.name] = done.stderr
    assert wrong == {}


def mentions(program: str) -> list[tuple[str, str]]:
    """Where a program is named with arguments, in blocks and within lines, and those arguments."""
    found = [(block.name, line) for block in SHELL for line in lines_of(block)]
    found += [(b.name, line) for b in blocks("text") for line in b.text.splitlines() if line.startswith(f"{program} ")]
    found += [(page, code.replace("\n", " ")) for page in PAGES for code in re.findall(r"`([^`]+)`", prose(page))]
    call = re.compile(rf"(?:^|[;&|(] *|\b[A-Z_]+=\S* )(?:\S*/)?{program} +([^;&|#]+)")
    return [(where, said.strip()) for where, line in found for said in call.findall(line.strip())]


def test_tidegate_commands_exist_and_take_these_options() -> None:
    wrong = []
    for where, said in mentions("tidegate"):
        command: Any = typer.main.get_command(app)
        words = said.split()
        if words and words[0] in COMMANDS:
            command = imported(words.pop(0))
            if words and words[0] in getattr(command, "commands", ()):
                command = command.commands[words.pop(0)]
        known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {"--help"}
        unknown = {word.partition("=")[0] for word in words if word.startswith("--")} - known
        if (hasattr(command, "commands") and set(words) - known) or unknown:
            wrong.append(f"{where}: tidegate {said}")
    assert wrong == []


NO_OPERATION = {"cloudformation deploy", "s3 cp"}
"""What the AWS CLI adds to the operations of a service."""

OF_EVERY_COMMAND = {"--region", "--profile", "--query", "--output", "--endpoint-url", "--max-items"}


def test_aws_commands_are_operations_with_these_members() -> None:
    wrong = []
    for where, said in mentions("aws"):
        if not re.match(r"[a-z0-9-]+ [a-z]", said):
            continue  # `aws …` is no command
        service, operation, *words = said.split()
        model = Session().get_service_model(service)
        if operation == "wait":
            waiters = Session().get_waiter_model(service)
            named = {xform_name(name, "-"): waiters.get_waiter(name).operation for name in waiters.waiter_names}
            operation = xform_name(named.get(words[0], "-"), "-")
        found = {xform_name(name, "-"): name for name in model.operation_names}
        if f"{service} {operation}" in NO_OPERATION:
            continue
        shape = model.operation_model(found[operation]).input_shape if operation in found else None
        known = {f"--{xform_name(name, '-')}" for name in (shape.members if shape else {})} | OF_EVERY_COMMAND
        if operation not in found or {word for word in words if word.startswith("--")} - known:
            wrong.append(f"{where}: aws {said}")
    assert wrong == []


def test_make_has_these_targets() -> None:
    made = set(re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert [f"{where}: make {said}" for where, said in mentions("make") if said.split()[0] not in made] == []


# --- links and names -------------------------------------------------------------------------------------------------


LINKS = [
    (page, link)
    for page in PAGES
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", prose(page)))
    if not link.startswith(("https://", "mailto:"))
]


def led(page: str, link: str) -> Path:
    """The file that a link leads to."""
    to = link.partition("#")[0]
    return (ROOT / page).parent.joinpath(to).resolve() if to else ROOT / page


def test_links_lead_somewhere() -> None:
    wrong = []
    for page, link in LINKS:
        anchor = link.partition("#")[2]
        if not led(page, link).exists() or (anchor and anchor not in anchors(led(page, link))):
            wrong.append(f"{page}: {link}")
    assert wrong == []


def test_the_readme_leads_to_every_page() -> None:
    known, new = set[Path](), {ROOT / "README.md"}
    while new:
        known |= new
        new = {
            led(page, link) for page, link in LINKS if ROOT / page in new and led(page, link).suffix == ".md"
        } - known
    assert [page for page in PAGES if ROOT / page not in known] == []


OURS = re.compile(r"`((?:bench|docs|events|examples|src|tests|tools|traces)/[\w./-]+?\.\w+)(?:::([\w:]+))?`")


def test_files_and_tests_that_are_named_exist() -> None:
    wrong = []
    for page in PAGES:
        for path, names in OURS.findall((ROOT / page).read_text(encoding="utf-8")):
            code = (ROOT / path).read_text(encoding="utf-8") if (ROOT / path).exists() else ""
            defined = set(re.findall(r"^ *(?:def|class) (\w+)", code, re.MULTILINE))
            if not code or set(names.split("::")) - {""} - defined:
                wrong.append(f"{page}: {path}::{names}")
    assert wrong == []
