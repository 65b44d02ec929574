"""What holds for every command of `tidegate`, read from the command line itself.

A command that fits in needs: a help text with an example that parses, help for each option, `--json` if it prints
results, all three of `--region`, `--profile` and `--endpoint-url` if it calls AWS, and `with working(...)` around what
may take over two seconds. Exceptions to that stand in the tables here, each with its reason.
"""

import inspect
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
from botocore.exceptions import EndpointConnectionError
from botocore.parsers import ResponseParserError
from typer.main import get_group
from typer.testing import CliRunner

from cli.main import COMMANDS, app, imported
from cli.output import in_lines
from cli.reference import Command, commands, page
from tests.desk import Desk, small_desk

ROOT = Path(__file__).resolve().parents[3]
ORDERS = "orders-ranker-prod"
AWS = {"region", "profile", "endpoint_url"}

WITHOUT_JSON = {
    "policy schema": "what it prints is JSON",
}
QUICK = {
    "policy check": "reads one file",
    "policy schema": "reads nothing",
    "catalogue refresh": "reads two files of the environment",
    "replay": "reads one item or file",
    "deploy-guard end": "a few invocations",
    "override": "one invocation; Lambda answers within its time-out, and Ctrl-C leaves it done once",
}
"""Commands that show no progress, and why."""

SHOWN = ("with working(", "read_with_progress(", "backtest.judged(")
"""What shows progress on stderr."""

TOLD = {
    "policy push": "says each step of the deployment as it happens",
    "deploy-guard begin": "says what it waits for",
}
"""Commands that show their progress in lines of their own."""


ALL = [*commands()]
every = pytest.mark.parametrize("command", ALL, ids=lambda command: command.name)


@every
def test_a_command_says_what_it_does_and_what_each_option_means(command: Command) -> None:
    first = command.help.partition("\n")[0]
    assert first.endswith(".") or "\n" in command.help, f"{command.name}: its help must begin with a sentence"
    silent = [name for name, each in command.parameters.items() if name != "help" and not getattr(each, "help", "")]
    assert not silent, f"{command.name}: no help for {silent}"


@every
def test_its_examples_are_commands_that_parse(command: Command) -> None:
    assert command.examples, (
        f"{command.name}: its help needs `Examples:` with lines that begin with `tidegate {command.name}`"
    )
    own = command.name.split()
    for words in command.example_words:
        assert words[: len(own)] == own, f"{command.name}: {words} is an example of another command"
        command.parsed.make_context(command.name, words[len(own) :])  # raises UsageError where it does not parse


@every
def test_its_examples_stand_in_help_as_they_are_typed(command: Command) -> None:
    shown = CliRunner().invoke(app, [*command.name.split(), "--help"]).stdout.splitlines()
    assert [line for line in command.examples if f"    {line}" not in shown] == [], command.name


@every
def test_results_are_there_for_programs_too(command: Command) -> None:
    has = "as_json" in command.parameters
    assert has != (command.name in WITHOUT_JSON), f"{command.name}: needs --json, or a reason in WITHOUT_JSON"


@every
def test_aws_is_reached_as_by_the_aws_cli(command: Command) -> None:
    given, calls = AWS & {*command.parameters}, "clients(" in inspect.getsource(command.parsed.callback)
    assert given == (AWS if calls else set()), (
        f"{command.name}: --region, --profile and --endpoint-url go with calls to AWS"
    )


@every
def test_what_may_take_its_time_shows_that_it_is_at_work(command: Command) -> None:
    source = inspect.getsource(command.parsed.callback)
    shows = any(each in source for each in SHOWN)
    excused = command.name in QUICK or command.name in TOLD
    assert shows != excused, f"{command.name}: needs `with working(...)`, or a reason in QUICK or TOLD (not both)"


def test_every_module_of_a_command_is_listed() -> None:
    modules = {module for module, _ in COMMANDS.values()}
    assert modules == {each.stem for each in (ROOT / "tools/cli/commands").glob("*.py")} - {"__init__"}
    loaded = [name for module, _ in COMMANDS.values() for name in names_of(module)]
    assert {*loaded} == {*COMMANDS}


def names_of(module: str) -> list[str]:
    """The words under which a module's commands are called."""
    whole = typer.Typer()
    whole.add_typer(import_module(f"cli.commands.{module}").app)
    return [*get_group(whole).commands]


def test_a_mistyped_command_is_answered_with_the_nearest() -> None:
    result = CliRunner().invoke(app, ["statsu"])
    assert (result.exit_code, "Did you mean 'status'" in result.stderr) == (2, True)


HEAVY = ("boto3", "numpy", "rich", "yaml", "holidays", "core.policy", "simulator.replay", "plotly")


def test_help_and_completion_wait_for_nothing_that_only_work_needs() -> None:
    """Every module of a command says what it takes; `backtest` and `windows` need the simulator for that."""
    said = (
        "import sys; from cli.main import COMMANDS, imported;"
        "[imported(name) for name in COMMANDS if name not in {'backtest', 'windows'}];"
        f"print(*sorted(set(sys.modules) & {set(HEAVY)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert done.stdout.split() == []


def test_the_tables_name_only_commands_that_exist() -> None:
    named = {*WITHOUT_JSON, *QUICK, *TOLD}
    assert not named - {command.name for command in ALL}


# ---- exit status --------------------------------------------------------------------------------------------------


@every
def test_what_is_misused_ends_with_2(command: Command) -> None:
    result = CliRunner().invoke(app, [*command.name.split(), "--no-such-option"])
    assert (result.exit_code, result.stdout) == (2, ""), command.name


C31 = str(ROOT / "traces/servegen_small_c31.csv")
MISTYPED = [
    (("forecast", "orders", "--stack", "s", "--hours", "99"), "'--hours': '99': must be a whole number from 1 to 24"),
    (("forecast", "orders", "--stack", "s", "--hours", "two"), "'--hours': 'two': must be a whole number from 1 to 24"),
    (("status", "--stack", "s", "--every", "1"), "'--every': '1': must be a whole number from 5 on"),
    (("backtest", C31, "--capacity", "inf"), "'--capacity': 'inf': must be a number from 1e-06 to 1000000000.0"),
    (("backtest", C31, "--provisioning", "9999"), "'--provisioning': '9999': must be a whole number from 0 to 1440"),
    (("backtest", C31, "--mode", "sync"), "'--mode': 'sync': must be one of realtime, async, window"),
    (("backtest", C31, "--html", str(ROOT)), f"--html = '{ROOT}': must be a file that can be written, and is a folder"),
    (("backtest", C31, "--html", f"{C31}/a/b.html"), f"must be a file that can be written ({C31}: Not a directory)"),
    (("backtest", C31, "--html", "/proc/none/b.html"), "--html = '/proc/none/b.html': must be a file that can be wri"),
    (("backtest", "--account", "--html", C31), f"--html = '{C31}': must be a folder that can be written, and is a file"),
    (("backtest", "--account", "--variant", "blue"), "leave --variant out"),
    (("shadow-report", "--stack", "s", "--html", str(ROOT)), f"--html = '{ROOT}': must be a file"),
    (("backtest", C31, "--policy", "fleet.yaml", "--use", "p", "--min", "2"), "--min and --max go without --use"),
    (("import", "--output", f"{C31}/f.yaml"), f"--output = '{C31}/f.yaml': must be a file that can be written"),
    (("import", "--parameter", "A=b"), "--parameter goes with --template"),
    (("import", "--template", str(ROOT / "examples/cdk/before.template.json"), "--parameter", "Stag=prod"),
     "--parameter Stag: must be a parameter of"),
    (("import", "--template", str(ROOT / "examples/cdk/before.template.json"), "rankr"), "did you mean ranker?"),
    (("catalogue", "refresh", "--file", str(ROOT)), f"--file = '{ROOT}': must be a file"),
    (("explain", "orders", "--stack", "s", "--at", "noon"), "--at = 'noon': must be a time such as"),
    (("survey", "--profile", "no-such-profile"), "--profile: The config profile (no-such-profile) could not be found"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), MISTYPED, ids=[" ".join(case[0])[:60] for case in MISTYPED])
def test_what_is_mistyped_is_named_with_its_value_and_what_is_allowed_before_any_work(
    words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    result = CliRunner().invoke(app, words, obj=None if "--profile" in words else Unreachable())
    assert (result.exit_code, result.stdout) == (2, ""), (result.output, result.exception)
    assert said in result.stderr


def test_a_mistyped_endpoint_is_no_endpoint_at_rest(small: Desk) -> None:
    for command in (("survey", "--strict"), ("import",)):
        result = CliRunner().invoke(app, [*command, "orders-rankr-prod"], obj=small)
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"ENDPOINT = 'orders-rankr-prod': is not in us-east-1; did you mean {ORDERS}" in result.stderr


class Portal:
    """A proxy answers with its page where AWS would have answered."""

    def of(self, _: str) -> Any:
        raise ResponseParserError("Unable to parse response (syntax error), invalid XML received: b'<html>Log in'")


@pytest.mark.parametrize("words", [("survey",), ("plan", "--stack", "tidegate", "--file", str(ROOT / "fleet.yaml"))])
def test_a_page_in_place_of_an_answer_is_told_as_that(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, words, obj=Portal())
    assert (result.exit_code, result.stdout) == (1, ""), result.exception
    assert "error: Unable to parse response" in result.stderr
    assert "That is no answer of AWS: does a proxy stand between" in result.stderr


class Unreachable:
    """AWS cannot be reached."""

    def of(self, service: str) -> Any:
        raise EndpointConnectionError(endpoint_url=f"https://{service}")


@pytest.mark.parametrize("command", [c for c in ALL if "region" in c.parameters], ids=lambda command: command.name)
def test_what_fails_ends_with_1_a_message_and_no_result(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "fleet.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    words = next(
        words
        for words in command.example_words
        if not {"traces/", ".json"} & {part for w in words for part in (w[:7], w[-5:])}
    )
    result = CliRunner().invoke(app, words, obj=Unreachable())
    assert (result.exit_code, result.stdout) == (1, ""), (words, result.output, result.exception)
    assert "error: Could not connect to the endpoint URL" in result.stderr


@pytest.mark.parametrize(
    ("environment", "options", "status", "said"),
    [
        ({"AWS_REGION": "eu-central-1"}, (), 1, "name a profile: --profile"),
        ({}, (), 1, "Name one: --region"),
        ({"AWS_REGION": "eu-central-1"}, ("--endpoint-url", "somewhere"), 2, "--endpoint-url or --region: "),
    ],
)
@pytest.mark.parametrize("words", [("drift", "--stack", "tidegate"), ("survey",)])
def test_what_is_missing_to_reach_aws_is_said(  # noqa: PLR0913, PLR0917 - a column each
    tmp_path: Path,
    words: tuple[str, ...],
    environment: dict[str, str],
    options: tuple[str, ...],
    status: int,
    said: str,
) -> None:
    nobody = {name: str(tmp_path / "none") for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")}
    unset = dict.fromkeys((n for n in os.environ if n.startswith("AWS_") and n not in nobody), None)
    env = {**unset, **nobody, "AWS_EC2_METADATA_DISABLED": "true", **environment}
    result = CliRunner().invoke(app, [*words, *options], env=env)
    assert (result.exit_code, result.stdout) == (status, ""), result.exception
    assert said in result.stderr


@pytest.fixture(scope="module")
def small() -> Iterator[Desk]:
    with small_desk() as found:
        yield found


@pytest.mark.parametrize("command", [c for c in ALL if "target" in c.parameters], ids=lambda command: command.name)
def test_a_target_that_nobody_knows_is_answered_with_the_nearest_name(command: Command, small: Desk) -> None:
    needed = {"action": "pause", "reason": "a test", "lasting": "2h"}
    words = [*command.name.split()]
    for name, each in command.parameters.items():
        argument = each.param_type_name == "argument"
        if name == "target":
            words.append("orders-ranker")
        elif name in needed and (each.required or name == "lasting"):
            words += [needed[name]] if argument else [each.opts[0], needed[name]]
    result = small.run(*words)
    assert (result.exit_code, result.stdout) == (2, ""), (words, result.output, result.exception)
    assert ORDERS in result.stderr, f"{command.name}: the nearest names are not told"


# ---- progress -----------------------------------------------------------------------------------------------------


def test_in_a_pipe_work_of_over_two_seconds_says_how_far_it_is_in_few_lines() -> None:
    said: list[str] = []
    now = 0.0
    told = in_lines(said.append, lambda: now)
    for now in (1.0, 2.5, 2.6, 12.4, 12.6, 20.0, 30.0):
        told(f"after {now} s")
    assert said == ["after 2.5 s ...", "after 12.6 s ...", "after 30.0 s ..."]


# ---- the whole ----------------------------------------------------------------------------------------------------


def test_no_color_is_respected() -> None:
    runs = {}
    for color in ({"FORCE_COLOR": "1"}, {"FORCE_COLOR": "1", "NO_COLOR": "1"}):
        with small_desk() as found:
            runs[len(color)] = (
                CliRunner().invoke(app, ["status", "--stack", "tidegate"], obj=found, env=color, color=True).stdout
            )
    assert "\x1b[31m" in runs[1]  # red: what is wrong
    assert "\x1b[3" not in runs[2]


def test_the_stack_may_be_named_once(small: Desk) -> None:
    result = CliRunner().invoke(app, ["drift", ORDERS], obj=small, env={"TIDEGATE_STACK": "tidegate"})
    assert result.exit_code == 0, result.stderr


def test_help_lists_each_command_with_its_whole_first_sentence() -> None:
    shown = " ".join(CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"}).stdout.split())
    for name in COMMANDS:
        first = " ".join(str(imported(name).help).partition("\n\n")[0].split())
        assert f"{name} {first}" in shown, name


def test_the_version_is_that_of_the_package() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"tidegate {version('tidegate')}\n")


def test_shells_complete_the_commands() -> None:
    asked = {"_TIDEGATE_COMPLETE": "complete_bash", "COMP_WORDS": "tidegate sta", "COMP_CWORD": "1"}
    result = CliRunner().invoke(app, [], prog_name="tidegate", env=asked)
    assert result.stdout.split() == ["status"]
    assert "--install-completion" in CliRunner().invoke(app, ["--help"]).stdout


def test_the_page_of_commands_is_what_they_say() -> None:
    assert (ROOT / "docs/cli.md").read_text(encoding="utf-8") == page(), "run `make reference`"
