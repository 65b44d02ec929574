"""`tidegate override`, `explain` and `replay`: against the real handlers, the real table on moto, and stubs beside them."""

import io
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner, Result

from cli import decisions, main
from cli.main import app
from cli.overrides import RefusedError, end_of, named, place_of
from core.aws import clock
from core.aws.store import Table
from core.errors import ConfigError
from simulator.invoke import FLEET, NOW, small_fleet
from simulator.stack import SimulatedStack
from tests.builders import NOW as NINE

ROOT = Path(__file__).resolve().parents[3]
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
    (None, None, None),
    (None, "90m", "2026-11-18T10:30:00+00:00"),
    (None, "1d", "2026-11-19T09:00:00+00:00"),
    ("2026-11-18T12:00Z", None, "2026-11-18T12:00:00+00:00"),
    ("2026-11-18T13:00+01:00", None, "2026-11-18T12:00:00+00:00"),
]


@pytest.mark.parametrize(("until", "lasting", "end"), ENDS)
def test_an_end_is_a_time_or_a_span(until: str | None, lasting: str | None, end: str | None) -> None:
    assert end_of(until, lasting, NINE) == end


@pytest.mark.parametrize(
    ("until", "lasting", "said"),
    [("tonight", None, "--until = 'tonight'"), (None, "long", "--for = 'long'"), ("12:00", "2h", "not both")],
)
def test_an_end_that_cannot_be_read_is_refused(until: str | None, lasting: str | None, said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        end_of(until, lasting, NINE)


# ---- against a stack ----------------------------------------------------------------------------------------------


@dataclass
class Aws:
    """CloudFormation, STS and Lambda in place of a deployed stack; DynamoDB is moto's."""

    stack: SimulatedStack
    dynamodb: Any
    requests: list[dict[str, Any]] = field(default_factory=list)
    failure: Exception | None = None

    def of(self, service: str) -> Any:
        return self.dynamodb if service == "dynamodb" else self

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
        except Exception as error:  # noqa: BLE001 - as Lambda answers it
            said = {"errorType": type(error).__name__, "errorMessage": str(error)}
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(said).encode())}
        return {"Payload": io.BytesIO(json.dumps(reply).encode())}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    with mock_aws():
        dynamodb = boto3.Session("testing", "testing", region_name="eu-central-1").client("dynamodb")
        dynamodb.create_table(
            TableName="tidegate",
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            BillingMode="PAY_PER_REQUEST",
        )
        found = Aws(small_fleet(Table(dynamodb, "tidegate")), dynamodb)
        monkeypatch.setattr(main, "Clients", lambda **_: found)
        monkeypatch.setattr(clock, "now", lambda: NOW)
        yield found


def tidegate(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--stack", "tidegate"])


PIN = ("override", "pin", ORDERS, "6", "--for", "2h", "--reason", "campaign mail")


def test_a_pin_is_answered_with_what_changes_when_it_ends_and_how_to_end_it(aws: Aws) -> None:
    result = tidegate(*PIN, "--request-id", "r-1")
    assert result.exit_code == 0, result.stderr
    assert aws.stack.account.snapshot(ORDERS)["bounds"] == (6, 6)
    row = next(line for line in result.stdout.splitlines() if line.startswith("endpoint/"))
    assert row.split()[:6] == [f"endpoint/{ORDERS}/variant/AllTraffic", "2..12", "6..6", "2", "OverridePin", "changed"]
    assert "r-1 ends by itself at 2026-11-18T11:00Z. To end it before:" in result.stdout
    assert f"tidegate override resume {ORDERS} --reason '...' --stack tidegate" in result.stdout


def test_who_asks_is_who_sts_says_unless_told_otherwise(aws: Aws) -> None:
    tidegate(*PIN)
    tidegate(*PIN, "--requested-by", "maria for the duty team")
    assert [r["requested_by"] for r in aws.requests] == [
        "arn:aws:sts::123456789012:assumed-role/ops/maria",
        "maria for the duty team",
    ]
    assert len({r["request_id"] for r in aws.requests}) == 2


def test_a_dry_run_says_so_and_changes_nothing(aws: Aws) -> None:
    before = aws.stack.account.snapshot(ORDERS)
    result = tidegate(*PIN, "--dry-run")
    assert "set bounds to 6..6 (differs)" in result.stdout
    assert "A dry run: nothing was stored or written." in result.stdout
    assert (aws.stack.account.snapshot(ORDERS), aws.stack.store.overrides()) == (before, ())


@pytest.mark.usefixtures("aws")
def test_the_end_that_an_answer_proposes_ends_it() -> None:
    tidegate(*PIN, "--request-id", "r-1")
    again = tidegate(*PIN, "--request-id", "r-1")
    assert "r-1 was known already: nothing was added." in again.stdout
    ended = tidegate("override", "resume", ORDERS, "--reason", "all done")
    assert "Ended: r-1." in ended.stdout


@pytest.mark.usefixtures("aws")
def test_json_is_the_functions_answer() -> None:
    answer = json.loads(tidegate(*PIN, "--json").stdout)
    assert (answer["targets"][0]["min_capacity"], answer["to_end_it"]) == (6, {"action": "resume", "target": ORDERS})


REFUSALS = [
    (("override", "pin", ORDERS, "--for", "2h", "--reason", "no capacity"), "capacity = None: pin needs a capacity"),
    (("override", "pause", ORDERS, "--reason", "no end"), "expires_at = None: is required"),
    (("override", "pause", ORDERS, "--for", "20d", "--reason", "too long"), "at most 14d ahead"),
    (("override", "pause", "nobody", "--for", "2h", "--reason", "typo"), "must concern an enrolled target"),
    (("override", "pause", "all:", "--for", "2h", "--reason", "typo"), "TARGET = 'all:'"),
    (("explain", "nobody"), "nobody: no decision is recorded"),
    (("explain", "profile:ranker"), "must be one endpoint"),
    (("explain", ORDERS, "--at", "then"), "must be a time such as"),
    (("replay", "orders"), "no decision is recorded"),
]


@pytest.mark.parametrize(("arguments", "said"), REFUSALS, ids=[" ".join(case[0][:3]) for case in REFUSALS])
def test_what_makes_no_sense_is_refused_with_the_reason(aws: Aws, arguments: tuple[str, ...], said: str) -> None:
    result = tidegate(*arguments)
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
    assert aws.stack.store.overrides() == ()


def test_a_function_that_fails_is_no_refusal(aws: Aws) -> None:
    aws.failure = RuntimeError("Task timed out after 120.00 seconds")
    result = tidegate(*PIN)
    assert (result.exit_code, "Task timed out" in result.stderr) == (1, True)
    aws.failure = ConfigError([])
    assert tidegate(*PIN).exit_code == 2


@pytest.mark.usefixtures("aws")
def test_another_stack_is_named() -> None:
    result = CliRunner().invoke(app, [*PIN, "--stack", "elsewhere"])
    assert (result.exit_code, "elsewhere has no output OverrideFunctionName" in result.stderr) == (1, True)


# ---- explain and replay -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("aws")
def test_explain_shows_who_asked_and_which_rule_decided() -> None:
    tidegate(*PIN, "--request-id", "r-1", "--requested-by", "maria")
    result = tidegate("explain", ORDERS)
    assert result.exit_code == 0, result.stderr
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[:2] == [
        f"endpoint/{ORDERS}/variant/AllTraffic@2026-11-18T09:00:00.000+00:00 (changed)",
        "Wanted 6..6, because OverridePin. Registered was 2..12; 2 serving, 2 ordered, InService.",
    ]
    assert "policy 2..12 profile ranker" in lines
    assert "Load (highest) 08:57Z at least 3 requests per minute 3000, requests per instance 1200" in lines
    assert "override of this target 09:00Z pin 6 r-1 by maria, until 2026-11-18T11:00Z: campaign mail" in lines
    assert "demand Load 2..12 to 3..12 requests per minute 3000, requests per instance 1200" in lines
    assert "-> override OverridePin 3..12 to 6..6 id r-1, by maria, because campaign mail" in lines


def test_explain_finds_the_decision_that_was_in_force(aws: Aws) -> None:
    tidegate(*PIN, "--request-id", "r-1")
    for _ in range(15):
        aws.stack.minute()
    aws.stack.invoke(
        "Override",
        {"request_id": "r-2", "action": "resume", "target": ORDERS, "reason": "done", "requested_by": "maria"},
    )
    then, now = tidegate("explain", ORDERS, "--at", "2026-11-18T09:14Z"), tidegate("explain", ORDERS)
    assert "Wanted 6..6, because OverridePin" in then.stdout
    assert "because Override" not in now.stdout
    early = tidegate("explain", ORDERS, "--at", "2026-11-18T08:00Z")
    assert "no decision is recorded at or before 2026-11-18T08:00Z" in early.stderr


@pytest.mark.usefixtures("aws")
def test_the_page_shows_what_the_commands_really_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each console block of the page, run in order; options that name who and when stand for what STS and clock say."""
    monkeypatch.setattr(main, "PIPED_WIDTH", 118)
    page = (ROOT / "docs/overrides.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```console\n\$ tidegate (.*?)\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    for command, shown in blocks:
        said = CliRunner().invoke(app, shlex.split(command)).stdout
        assert "\n".join(line.rstrip() for line in said.splitlines()) == shown.strip("\n"), command


@pytest.mark.usefixtures("aws")
def test_a_decision_is_replayed_from_the_table_and_from_a_file(tmp_path: Path) -> None:
    tidegate(*PIN)
    written = tidegate("explain", ORDERS, "--json").stdout
    (tmp_path / "decision.json").write_text(written)
    from_file = CliRunner().invoke(app, ["replay", str(tmp_path / "decision.json")])
    from_table = tidegate("replay", json.loads(written)["id"])
    for result in (from_file, from_table):
        assert (result.exit_code, "decided the same today: 6..6, OverridePin" in result.stdout) == (0, True)


@pytest.mark.usefixtures("aws")
def test_a_decision_that_comes_out_otherwise_is_shown_beside_todays(tmp_path: Path) -> None:
    tidegate(*PIN)
    recorded = json.loads(tidegate("explain", ORDERS, "--json").stdout)
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
    assert f"tidegate {command} " in result.stdout.split("Example", 1)[1]


def test_every_decision_of_a_day_replays_equal(aws: Aws) -> None:
    """The small fleet for three hours with overrides of every scope; each decision is read from the real table."""
    places: list[dict[str, Any]] = [{"target": ORDERS}, {"profile": "ocr"}, {"tag": "team=search"}, {"fleet": True}]
    for minute in range(180):
        aws.stack.minute()
        if minute % 20 == 0:
            where = places[minute // 20 % 4]
            ends = aws.stack.account.now + timedelta(minutes=30)
            wish: dict[str, Any] = {
                "action": "floor",
                "capacity": 1 + minute // 20,
                "expires_at": ends.isoformat(),
                **where,
            }
            request = {"request_id": f"r-{minute}", "reason": "a day", "requested_by": "maria", **wish}
            aws.stack.invoke("Override", request)
    pages = aws.dynamodb.get_paginator("scan").paginate(TableName="tidegate")
    items = [item for page in pages for item in page["Items"] if item["sk"]["S"].startswith("DECISION#")]
    assert len(items) > 20
    assert len({item["pk"]["S"] for item in items}) == len(FLEET["endpoints"])
    for item in items:
        assert decisions.differences(decisions.recorded(item).decision) == []
