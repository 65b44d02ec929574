"""`tidegate override`, `explain` and `replay`: against the real handlers, the real table on moto, and stubs beside them."""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError
from moto import mock_aws
from rich.console import Console
from typer.testing import CliRunner, Result

from cli import decisions
from cli.errors import RefusedError
from cli.main import app
from cli.overrides import named, place_of, request_of
from core.aws.store import Table
from core.decide import decide
from core.errors import ConfigError, Problem
from core.model import Progress
from handlers.wiring import PassFailedError
from simulator.invoke import FLEET, small_fleet
from simulator.stack import SimulatedStack
from tests import tables
from tests.builders import BATCH, NIGHT, context, steady

ORDERS = "orders-ranker-prod"


# ---- words on the command line ------------------------------------------------------------------------------------

PLACES: list[tuple[str, dict[str, Any]]] = [
    ("orders", {"target": "orders"}),
    ("orders/blue", {"target": "orders", "variant": "blue"}),
    ("component:chat-8b", {"inference_component": "chat-8b"}),
    ("tag:team=search", {"tag": "team=search"}),
    ("tag:url=http://x", {"tag": "url=http://x"}),
    ("profile:chat", {"profile": "chat"}),
    ("fleet:all", {"fleet": True}),
]


@pytest.mark.parametrize(("said", "place"), PLACES)
def test_a_target_is_said_in_one_word_and_back(said: str, place: dict[str, Any]) -> None:
    assert place_of(said) == place
    assert named(place) == said


@pytest.mark.parametrize("said", ["fleet:", "fleet:some", "profile:", "endpoint:orders"])
def test_what_names_nothing_is_refused(said: str) -> None:
    with pytest.raises(RefusedError, match=r"TARGET = .*: must be an endpoint, endpoint/variant, component:NAME"):
        place_of(said)


ENDS = [
    (None, "90m", {"duration": "90m"}),
    ("2026-11-18T12:00Z", None, {"expires_at": "2026-11-18T12:00:00+00:00"}),
    ("2026-11-18T13:00+01:00", None, {"expires_at": "2026-11-18T12:00:00+00:00"}),
    (None, None, {}),  # the function says that there must be one
    ("tonight", "2h", {"duration": "2h", "expires_at": "tonight"}),  # and what is wrong, all of it
]


@pytest.mark.parametrize(("until", "lasting", "said"), ENDS)
def test_an_end_is_a_time_or_a_span(until: str | None, lasting: str | None, said: dict[str, str]) -> None:
    request = request_of("pause", "orders", None, until=until, lasting=lasting, reason="a test")
    assert request == {"action": "pause", "target": "orders", "reason": "a test", **said}


# ---- against a stack ----------------------------------------------------------------------------------------------


@dataclass
class Aws:
    """CloudFormation, STS and Lambda in place of a deployed stack; DynamoDB is moto's."""

    stack: SimulatedStack
    dynamodb: Any
    requests: list[dict[str, Any]] = field(default_factory=list)
    failure: Exception | None = None

    def of(self, service: str) -> Any:
        account = self.stack.account
        own = {"dynamodb": self.dynamodb, "application-autoscaling": account.client("application-autoscaling")}
        return own.get(service, self)

    def run(self, command: str, *arguments: str, stack: str = "tidegate", width: int = 160) -> Result:
        """The command line with these clients."""
        said = [command, *arguments, *(["--stack", stack] if stack else [])]
        return CliRunner().invoke(app, said, obj=self, env={"COLUMNS": str(width)})

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 - boto3's
        outputs = {"OverrideFunctionName": "override", "TableName": "tidegate"} if StackName == "tidegate" else {}
        return {"Stacks": [{"Outputs": [{"OutputKey": k, "OutputValue": v} for k, v in outputs.items()]}]}

    def get_caller_identity(self) -> dict[str, str]:
        return {"Arn": "arn:aws:sts::123456789012:assumed-role/ops/maria"}

    def answer(self) -> dict[str, Any]:
        if self.failure is not None:
            raise self.failure
        return self.stack.invoke("Override", self.requests[-1])

    def invoke(self, FunctionName: str, Payload: str) -> dict[str, Any]:  # noqa: N803 - boto3's
        assert FunctionName == "override"
        self.requests.append(json.loads(Payload))
        try:
            reply = self.answer()
        except ReadTimeoutError:
            raise
        except Exception as error:  # noqa: BLE001 - as Lambda answers it
            said = {"errorType": type(error).__name__, "errorMessage": str(error)}
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(said).encode())}
        return {"Payload": io.BytesIO(json.dumps(reply).encode())}


@pytest.fixture
def aws() -> Iterator[Aws]:
    with mock_aws():
        dynamodb = boto3.Session("testing", "testing", region_name="eu-central-1").client("dynamodb")
        tables.create(dynamodb)
        yield Aws(small_fleet(Table(dynamodb, "tidegate")), dynamodb)


PIN = ("override", "pin", ORDERS, "6", "--for", "2h", "--reason", "campaign mail")


def test_a_pin_is_answered_with_what_changes_when_it_ends_and_how_to_end_it(aws: Aws) -> None:
    result = aws.run(*PIN, "--request-id", "r-1")
    assert result.exit_code == 0, result.stderr
    assert aws.stack.account.snapshot(ORDERS)["bounds"] == (6, 6)
    row = next(line for line in result.stdout.splitlines() if line.startswith("endpoint/"))
    assert row.split()[:6] == [f"endpoint/{ORDERS}/variant/AllTraffic", "2..12", "6..6", "2", "OverridePin", "changed"]
    assert "r-1 ends by itself at 2026-11-18T11:00Z. To end it before:" in result.stdout
    assert f"tidegate override resume {ORDERS} --reason '...' --stack tidegate" in result.stdout


def test_who_asks_is_who_sts_says_unless_told_otherwise(aws: Aws) -> None:
    aws.run(*PIN)
    aws.run(*PIN, "--requested-by", "maria for the duty team")
    assert [r["requested_by"] for r in aws.requests] == [
        "arn:aws:sts::123456789012:assumed-role/ops/maria",
        "maria for the duty team",
    ]
    assert len({r["request_id"] for r in aws.requests}) == 2


def test_a_dry_run_says_so_and_changes_nothing(aws: Aws) -> None:
    before = aws.stack.account.snapshot(ORDERS)
    result = aws.run(*PIN, "--dry-run")
    assert "set bounds to 6..6 (differs)" in result.stdout
    assert "A dry run: nothing was stored or written. It would end by itself at 2026-11-18T11:00Z." in result.stdout
    assert "tidegate override resume" not in result.stdout
    assert (aws.stack.account.snapshot(ORDERS), aws.stack.store.overrides()) == (before, ())


def test_the_end_that_an_answer_proposes_ends_it(aws: Aws) -> None:
    aws.run(*PIN, "--request-id", "r-1")
    again = aws.run(*PIN, "--request-id", "r-1")
    assert "r-1 was known already: nothing was added." in again.stdout
    ended = aws.run("override", "resume", ORDERS, "--reason", "all done")
    assert "Ended: r-1." in ended.stdout
    over = aws.run(*PIN, "--request-id", "r-1").stdout
    assert "r-1 was known already, and is over: nothing was added." in over
    assert "ends by itself" not in over


def test_json_is_the_functions_answer(aws: Aws) -> None:
    answer = json.loads(aws.run(*PIN, "--json").stdout)
    assert (answer["targets"][0]["min_capacity"], answer["to_end_it"]) == (6, {"action": "resume", "target": ORDERS})


REFUSALS = [
    (("override", "pin", ORDERS, "--for", "2h", "--reason", "no capacity"), "CAPACITY: pin needs a capacity"),
    (("override", "pause", ORDERS, "--reason", "no end"), "--until: state exactly one of --for, --until"),
    (
        ("override", "pause", ORDERS, "--for", "2h", "--until", "2026-11-18T12:00Z", "--reason", "two ends"),
        "--until = '2026-11-18T12:00Z': state exactly one of --for, --until",
    ),
    (
        ("override", "pause", ORDERS, "--until", "tonight", "--reason", "no time"),
        "--until = 'tonight': must be a time with",
    ),
    (("override", "pause", ORDERS, "--for", "20d", "--reason", "too long"), "--for = '20d': must be after now"),
    (
        ("override", "pause", f"{ORDERS}/", "--for", "2h", "--reason", "half"),
        f"TARGET = '{ORDERS}/': must be 1 to 63 letters",
    ),
    (
        ("override", "pause", "nobody", "--for", "2h", "--reason", "typo"),
        "TARGET = 'nobody': must concern an enrolled target",
    ),
    (("override", "pause", "all:", "--for", "2h", "--reason", "typo"), "TARGET = 'all:'"),
    (("explain", "nobody"), "TARGET = 'nobody': no decision is recorded"),
    (("explain", "profile:ranker"), "must be one endpoint"),
    (("explain", ORDERS, "--at", "then"), "must be a time such as"),
    (("replay", "orders"), "no decision is recorded"),
]


@pytest.mark.parametrize(("arguments", "said"), REFUSALS, ids=[" ".join(case[0][:3]) for case in REFUSALS])
def test_what_makes_no_sense_is_refused_with_the_reason(aws: Aws, arguments: tuple[str, ...], said: str) -> None:
    result = aws.run(*arguments)
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
    assert aws.stack.store.overrides() == ()


def test_every_problem_is_said_at_once(aws: Aws) -> None:
    result = aws.run("override", "pin", ORDERS, "99999", "--until", "tonight", "--for", "long", "--reason", "x")
    assert result.exit_code == 2
    fields = [line.removeprefix("refused: ").partition(" = ")[0] for line in result.stderr.splitlines()]
    assert sorted(fields) == ["--for", "--reason", "--until", "CAPACITY"]


FAILURES = [
    RuntimeError("Task timed out after 120.00 seconds"),
    PassFailedError("1 of 1 targets failed: endpoint/orders: RegisterScalableTarget: denied"),
    ConfigError([Problem(("profiles", "ranker", "kind"), "x", "must be realtime")]),  # the policy's fault, not ours
    ReadTimeoutError(endpoint_url="https://lambda"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_what_fails_is_no_refusal_and_says_how_to_make_sure(aws: Aws, failure: Exception) -> None:
    aws.failure = failure
    result = aws.run(*PIN, "--request-id", "r-1")
    assert (result.exit_code, str(failure) in result.stderr) == (1, True)
    assert "It may be stored all the same. Sent again as --request-id r-1 it is done once." in result.stderr


def test_another_stack_is_named(aws: Aws) -> None:
    result = aws.run(*PIN, stack="elsewhere")
    assert (result.exit_code, "elsewhere has no output OverrideFunctionName" in result.stderr) == (1, True)


# ---- explain and replay -------------------------------------------------------------------------------------------


def words(result: Result) -> list[str]:
    assert result.exit_code == 0, result.stderr
    return [" ".join(line.split()) for line in result.stdout.splitlines()]


def test_explain_shows_who_asked_which_rule_decided_and_what_aas_did(aws: Aws) -> None:
    aws.run(*PIN, "--request-id", "r-1", "--requested-by", "maria")
    lines = words(aws.run("explain", ORDERS))
    assert lines[:3] == [
        f"endpoint/{ORDERS}/variant/AllTraffic@2026-11-18T09:00:00.000+00:00",
        "Wanted 6..6, because OverridePin. Registered was 2..12; 2 serving, 2 ordered, InService.",
        "Outcome: changed, written to AWS.",
    ]
    for line in (
        "policy 2..12 profile ranker",
        "Load, highest 2026-11-18T08:57Z at least 3 requests per minute 3000, requests per instance 1200",
        "override of this target 2026-11-18T09:00Z pin 6 until 2026-11-18T11:00Z by maria: campaign mail (r-1)",
        "demand 2..12 -> 3..12 Load; requests per minute 3000, requests per instance 1200",
        "Raise the floor to what the newest minute needs: the highest of the policy minimum and each signal.",
        "-> override 3..12 -> 6..6 OverridePin; id: r-1, by: maria, because: campaign mail",
        "2026-11-18T09:00Z Setting desired instance count to 6. InProgress minimum capacity was set to 6",
    ):
        assert line in lines, line


def test_explain_shows_the_overrides_in_force_in_their_order_and_none_that_was_ended(aws: Aws) -> None:
    for name, where in (("wide", "fleet:all"), ("gone", "profile:ranker"), ("old", ORDERS), ("new", ORDERS)):
        aws.run("override", "floor", where, "4", "--for", "2h", "--reason", "a test", "--request-id", name)
        aws.stack.minute()
    aws.run("override", "resume", "profile:ranker", "--reason", "done")  # changes nothing, and is kept all the same
    shown = [line for line in words(aws.run("explain", ORDERS)) if " until " in line]
    assert [re.findall(r"\((\w+)\)", line) for line in shown] == [["new"], ["old"], ["wide"]]
    assert [", waits" in line for line in shown] == [False, True, True]
    assert json.loads(aws.run("explain", ORDERS, "--json").stdout)["overrides"] == ["new", "old", "wide"]


HOSTILE = "[/bold] [link=https://evil.example]click[/link] :boom:"


def test_what_somebody_wrote_is_shown_as_it_is_written(aws: Aws) -> None:
    aws.run("override", "pin", ORDERS, "6", "--for", "2h", "--reason", HOSTILE)
    assert any(HOSTILE in line for line in words(aws.run("explain", ORDERS, width=300)))


@pytest.mark.parametrize("reason", ["quiet\x1b[2J", "done\n2026 all is well", "\x9b31mred"])
def test_what_would_command_a_terminal_or_forge_a_line_is_refused(aws: Aws, reason: str) -> None:
    result = aws.run("override", "pin", ORDERS, "6", "--for", "2h", "--reason", reason)
    assert (result.exit_code, "reason" in result.stderr, aws.stack.store.overrides()) == (2, True, ())


def test_explain_shows_what_each_window_asks_for() -> None:
    early = {"name": "early", "start": "05:10", "duration": "2h", "min_capacity": 3, "max_capacity": 8, "lead": "15m"}
    came = {"name": "came", "start": "04:00", "duration": "3h", "min_capacity": 9, "hand_over": "30m"}
    now, each = datetime(2026, 11, 18, 5, tzinfo=UTC), {"requests_per_instance": 100}
    seen = context(BATCH, windows=[NIGHT, early, came], objectives=each, load=steady(0), now=now)
    decision = decide(replace(seen, progress={"came": Progress(5000, (), now - timedelta(minutes=40))}))
    shown = io.StringIO()
    Console(file=shown, width=160).print(decisions.asked_of(decision))
    lines = [" ".join(line.split()) for line in shown.getvalue().splitlines()]
    assert "window night, open 2026-11-18T02:00Z at least 6 until 2026-11-18T06:00Z" in lines
    assert "window early, pre-warming 2026-11-18T05:10Z at least 3, at most 8 until 2026-11-18T07:10Z" in lines
    given = "until 2026-11-18T07:00Z, its load is left to demand"
    assert f"window came, open 2026-11-18T04:00Z at least 0 {given}" in lines


def test_json_says_what_the_tables_say(aws: Aws) -> None:
    aws.run(*PIN, "--request-id", "r-1")
    said = json.loads(aws.run("explain", ORDERS, "--json").stdout)
    assert (said["reason"], said["decides"], said["outcome"], said["overrides"]) == (
        "OverridePin", "override", "changed", ["r-1"],
    )  # fmt: skip
    (load,) = said["recommendations"]
    assert (load["reason"], load["floor"], load["highest"]) == ("Load", 3, True)
    assert said["activities"][0]["why"] == "minimum capacity was set to 6"
    assert [step["rule"] for step in said["decision"]["steps"]] == ["demand", "override"]
    assert said["windows"] == {}


def test_explain_finds_the_decision_that_was_in_force(aws: Aws) -> None:
    aws.run(*PIN, "--request-id", "r-1")
    for _ in range(15):
        aws.stack.minute()
    aws.stack.invoke(
        "Override",
        {"request_id": "r-2", "action": "resume", "target": ORDERS, "reason": "done", "requested_by": "maria"},
    )
    then, now = aws.run("explain", ORDERS, "--at", "2026-11-18T09:14Z"), aws.run("explain", ORDERS)
    assert "Wanted 6..6, because OverridePin" in then.stdout
    assert "because Override" not in now.stdout
    assert "count to 6." in then.stdout
    early = aws.run("explain", ORDERS, "--at", "2026-11-18T08:00Z")
    assert "no decision is recorded at or before 2026-11-18T08:00Z" in early.stderr


def test_a_decision_is_replayed_from_the_table_and_from_a_file(aws: Aws, tmp_path: Path) -> None:
    aws.run(*PIN)
    written = aws.run("explain", ORDERS, "--json").stdout
    (tmp_path / "decision.json").write_text(written)
    from_file = CliRunner().invoke(app, ["replay", str(tmp_path / "decision.json")])
    from_table = aws.run("replay", json.loads(written)["id"])
    for result in (from_file, from_table):
        assert (result.exit_code, "decided the same today: 6..6, OverridePin" in result.stdout) == (0, True)


def test_a_file_that_is_no_decision_is_refused_without_its_content(tmp_path: Path) -> None:
    (tmp_path / "decision.json").write_bytes(b"\x99\x00" * 5000)
    result = CliRunner().invoke(app, ["replay", str(tmp_path / "decision.json")])
    assert result.exit_code == 2
    assert "decision.json: must be a file that `tidegate explain --json` wrote (UnicodeDecodeError" in result.stderr
    assert len(result.stderr) < 500


def test_a_decision_that_comes_out_otherwise_is_shown_beside_todays(aws: Aws, tmp_path: Path) -> None:
    aws.run(*PIN)
    recorded = json.loads(aws.run("explain", ORDERS, "--json").stdout)
    recorded["decision"]["envelope"] = {"floor": 5, "ceiling": 6}
    recorded["decision"]["steps"].pop()
    (tmp_path / "decision.json").write_text(json.dumps(recorded))
    result = CliRunner().invoke(app, ["replay", str(tmp_path / "decision.json")])
    assert result.exit_code == 1
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "envelope 5..6 6..6" in lines
    assert any(line.startswith("override OverridePin 3..12 -> 6..6") for line in lines)


@pytest.mark.parametrize("text", ["", "[]", '{"id": "x"}', '{"id": "x", "outcome": "y", "decision": {"envelope": 3}}'])
def test_a_file_without_a_decision_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "decision.json").write_text(text)
    result = CliRunner().invoke(app, ["replay", str(tmp_path / "decision.json")])
    assert (result.exit_code, "decision.json" in result.stderr or "another release" in result.stderr) == (2, True)


@pytest.mark.parametrize("command", ["override", "explain", "replay"])
def test_help_has_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"\n    tidegate {command} " in result.stdout.split("Example", 1)[1]  # a line of its own


def test_every_decision_is_replayed_from_the_real_table(aws: Aws) -> None:
    """The small fleet for an hour with overrides of every scope; `tests/replay` has longer runs."""
    places = [ORDERS, "profile:ocr", "tag:team=search", "fleet:all"]
    for minute in range(60):
        aws.stack.minute()
        if minute % 15 == 0:
            place = places[minute // 15]
            aws.run("override", "floor", place, str(2 + minute // 15), "--for", "20m", "--reason", "an hour")
    pages = aws.dynamodb.get_paginator("scan").paginate(TableName="tidegate")
    items = [item for page in pages for item in page["Items"] if item["sk"]["S"].startswith("DECISION#")]
    assert len(items) > 15
    assert len({item["pk"]["S"] for item in items}) == len(FLEET["endpoints"])
    for item in items:
        assert decisions.differences(decisions.recorded(item).decision) == []
