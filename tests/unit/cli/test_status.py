"""`tidegate status`: against the real handlers, the real table on moto and a simulated account."""

import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from rich.console import Console
from typing_extensions import override

from cli import status
from core.errors import ObservationError
from tests.desk import Desk, small_desk

ORDERS, DOCS, NIGHTLY, CHAT = "orders-ranker-prod", "doc-ocr-async-prod", "nightly-scoring-prod", "chat-8b-component"


def three_minutes_on(found: Desk) -> Desk:
    """After the owners began to look."""
    for _ in range(3):
        found.stack.minute()
    return found


@pytest.fixture(scope="module")
def seen() -> Iterator[Desk]:
    """For those who only look."""
    with small_desk() as found:
        yield three_minutes_on(found)


@pytest.fixture
def at_work() -> Iterator[Desk]:
    with small_desk() as found:
        yield three_minutes_on(found)


def told(found: Desk, *arguments: str) -> dict[str, dict[str, Any]]:
    """What `--json` says of each target."""
    result = found.run("status", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return {row["name"]: row for row in json.loads(result.stdout)["targets"]}


def words(found: Desk) -> list[str]:
    """The lines it prints, each with single spaces."""
    return [" ".join(line.split()) for line in found.run("status").stdout.splitlines()]


def test_a_row_says_what_runs_which_bounds_are_in_force_why_and_when_it_was_looked_at(seen: Desk) -> None:
    lines = words(seen)
    assert lines[0] == "target kind mode runs bounds because demand used until measured"
    load, least = (
        "requests per minute 3000, requests per instance 1200",
        "requests per minute 40, requests per instance 600",
    )
    for line in (
        f"{ORDERS} realtime active 2 -> 3 3..12 Load: {load} 3,000 a minute 125% - 2 min ago",  # 3000 / (2 x 1200)
        f"{NIGHTLY} batch active 1 1..10 PolicyMinimum: {least} 40 a minute 7% - 2 min ago",  # 40 / 600
        f"component:{CHAT} realtime active 0 -> 3 0..6 NoCapacity: requests refused 70 - - - 0 min ago",
        "4 targets of tidegate at 2026-11-18T09:03Z, 1 with something wrong.",
    ):
        assert line in lines, line


def test_a_narrow_terminal_gets_a_block_a_target(seen: Desk) -> None:
    result = seen.run("status", width=50)
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    first = lines.index(f"target {ORDERS}")
    assert lines[first : first + 6] == [
        f"target {ORDERS}", "kind realtime", "mode active", "runs 2 -> 3", "bounds 3..12", "because Load: requests per minute 3000, requests",
    ]  # fmt: skip
    assert max(map(len, result.stdout.splitlines())) <= 50


def test_a_look_writes_nothing(seen: Desk) -> None:
    account, table = seen.stack.account, seen.dynamodb
    before = [account.snapshot(name) for name in (ORDERS, DOCS, NIGHTLY)], table.scan(TableName=seen.table)["Items"]
    seen.run("status")
    assert before == (
        [account.snapshot(name) for name in (ORDERS, DOCS, NIGHTLY)], table.scan(TableName=seen.table)["Items"],
    )  # fmt: skip


def test_json_says_what_the_table_says(seen: Desk) -> None:
    row = told(seen)[ORDERS]
    assert {name: row[name] for name in ("running", "desired", "in_force", "wanted", "reason", "demand", "used")} == {
        "running": 2, "desired": 3, "in_force": "3..12", "wanted": "3..12", "reason": "Load", "demand": 3000, "used": 1.25,
    }  # fmt: skip
    assert row["rule"].startswith("Raise the floor to what the newest minute needs")
    assert row["passed_at"] == "2026-11-18T09:01Z"


def test_what_the_next_pass_writes_is_said_before_it_does() -> None:
    with small_desk() as before:
        assert told(before)[ORDERS]["following"][0] == "set bounds to 3..12 (differs)"
        assert f"{ORDERS}, next: set bounds to 3..12 (differs)" in before.run("status").stdout
        before.stack.minute()
        assert told(before)[ORDERS]["following"] == []


def test_overrides_and_windows_are_shown_until_they_end(at_work: Desk) -> None:
    pin = {"request_id": "r-1", "action": "pin", "target": ORDERS, "capacity": 6, "duration": "2h", "reason": "mail"}
    at_work.stack.invoke("Override", {**pin, "requested_by": "maria"})
    changed: dict[str, Any] = json.loads(at_work.in_force.content)
    changed["profiles"]["scoring"]["windows"][0]["start"] = "08:30"
    at_work.in_force.content = json.dumps(changed).encode()
    rows = told(at_work)
    assert rows[ORDERS]["until"] == ["pin 6 until 2026-11-18T11:03Z by maria"]
    assert (rows[ORDERS]["in_force"], rows[ORDERS]["wanted"], rows[ORDERS]["reason"]) == (
        "3..12", "6..6", "OverridePin",  # two instances are on their way to three: it is written when they are there
    )  # fmt: skip
    assert rows[NIGHTLY]["until"] == ["window night open until 2026-11-18T12:30Z"]
    assert (rows[NIGHTLY]["in_force"], rows[NIGHTLY]["wanted"], rows[NIGHTLY]["reason"]) == (
        "1..10",
        "6..10",
        "WindowOpen",
    )


def test_a_controller_that_died_is_seen_in_the_table(at_work: Desk) -> None:
    at_work.stack.stop()
    for _ in range(11):
        at_work.stack.minute()
    row = told(at_work)[ORDERS]
    assert row["wrong"] == ["no pass has written down what it measured since 2026-11-18T09:01Z"]
    assert "13 min ago" in at_work.run("status", ORDERS).stdout


def test_a_metric_that_is_missing_is_no_dead_controller(at_work: Desk) -> None:
    account = at_work.stack.account
    account.fail_next("cloudwatch", "GetMetricData", "AccessDenied", "no right to read metrics")
    (wrong,) = told(at_work)[ORDERS]["wrong"]
    assert wrong.startswith("requests unknown: ")


def test_the_alarms_on_tidegate_itself_are_told_with_what_to_do(at_work: Desk) -> None:
    alarms = at_work.stack.account.client("cloudwatch")
    for name in ("heartbeat-realtime-target", "errors-override"):
        name = f"tidegate-ops-prod-{name}"  # noqa: PLW2901 - as the template names it
        alarms.put_metric_alarm(
            AlarmName=name, AlarmDescription=f"Look at {name}.", Namespace="Tidegate", MetricName="Heartbeat", Statistic="Sum",
            Period=300, EvaluationPeriods=2, Threshold=1, ComparisonOperator="LessThanThreshold",
        )  # fmt: skip
        alarms.set_alarm_state(
            AlarmName=name, StateValue="ALARM" if "heartbeat" in name else "OK", StateReason="a test"
        )
    ringing = [line for line in words(at_work) if line.startswith("ALARM")]
    heard = "tidegate-ops-prod-heartbeat-realtime-target"
    assert ringing == [f"ALARM {heard}: Look at {heard}."]


def test_what_others_scale_and_what_is_not_found_is_wrong(at_work: Desk) -> None:
    changed: dict[str, Any] = json.loads(at_work.in_force.content)
    changed["endpoints"].append({"name": "typo-prod", "profile": "ranker"})
    at_work.in_force.content = json.dumps(changed).encode()
    at_work.stack.account.client("application-autoscaling").put_scaling_policy(
        ServiceNamespace="sagemaker", ScalableDimension="sagemaker:variant:DesiredInstanceCount", PolicyName="by-hand",
        ResourceId=f"endpoint/{ORDERS}/variant/AllTraffic", PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity", "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
        },
    )  # fmt: skip
    at_work.stack.invoke("FleetSync", {"trigger": "schedule"})
    rows = told(at_work)
    assert rows[ORDERS]["wrong"] == [
        "not enrolled: FleetSync comes first, its endpoint failed or others scale it; `tidegate drift` says which"
    ]
    assert rows["typo-prod"]["wrong"] == ["not enrolled: FleetSync has not found it; `tidegate drift` says why"]


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("orders-ranker", f"did you mean {ORDERS}?"),
        ("zzz", f"there are component:{CHAT}, {DOCS}, {NIGHTLY}, {ORDERS}"),
        ("tag:team=search", "must be one endpoint, endpoint/variant or component:NAME"),
    ],
)
def test_an_unknown_target_is_answered_with_the_nearest_names(seen: Desk, said: str, answer: str) -> None:
    result = seen.run("status", said)
    assert (result.exit_code, answer in result.stderr) == (2, True), result.stderr


@pytest.mark.parametrize("said", [ORDERS, f"{ORDERS}/AllTraffic", f"endpoint/{ORDERS}/variant/AllTraffic"])
def test_one_target_may_be_said_in_several_ways(seen: Desk, said: str) -> None:
    assert [*told(seen, said)] == [ORDERS]


def test_an_endpoint_means_what_it_hosts(seen: Desk) -> None:
    assert [*told(seen, "llm-prod")] == [f"component:{CHAT}"]


# ---- watch --------------------------------------------------------------------------------------------------------


def test_a_look_that_fails_leaves_the_last_one_standing() -> None:
    shown = io.StringIO()
    answers: list[str | Exception] = ["first look", ObservationError("throttled"), "third look"]

    def look() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    status.watch(look, range(3), Console(file=shown, width=80))
    assert shown.getvalue().split("\n")[:4] == ["first look", "first look", "not refreshed: throttled", "third look"]


def test_a_first_look_that_fails_ends_it() -> None:
    def look() -> str:
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "DescribeStacks")

    with pytest.raises(ClientError):
        status.watch(look, range(3), Console(file=io.StringIO()))


def test_a_terminal_is_redrawn_in_place() -> None:
    shown, looks = io.StringIO(), iter(["first look", "second look"])
    status.watch(lambda: next(looks), range(2), Console(file=shown, width=80, force_terminal=True))
    assert "\x1b[?1049h" in shown.getvalue()  # the terminal's other screen, which is left when it ends
    assert shown.getvalue().endswith("\x1b[?1049l")


class Leaving(Desk):
    """Somebody who looks three times, and presses Ctrl-C."""

    looks = 0

    @override
    def sleep(self, seconds: float) -> None:
        assert seconds == 20
        self.looks += 1
        if self.looks == 3:
            raise KeyboardInterrupt
        self.stack.minute()


@pytest.mark.parametrize("as_json", [False, True])
def test_it_is_watched_until_somebody_has_seen_enough(*, as_json: bool) -> None:
    with small_desk() as found:
        leaving = Leaving(found.stack, found.dynamodb, found.in_force, found.mode, table=found.table)
        result = leaving.run("status", ORDERS, "--watch", "--every", "20", *(["--json"] if as_json else []))
    assert (result.exit_code, result.stderr) == (0, "")
    told = (
        [json.loads(line)["at"] for line in result.stdout.splitlines()]
        if as_json
        else re.findall(r"tidegate at (\S+),", result.stdout)
    )
    assert told == ["2026-11-18T09:00Z", "2026-11-18T09:01Z", "2026-11-18T09:02Z"]


class Throttled(Leaving):
    """The second of whose looks is throttled."""

    @override
    def describe_stacks(self, **asked: str) -> dict[str, Any]:
        if self.looks == 1:
            raise ClientError({"Error": {"Code": "Throttling", "Message": "slow down"}}, "DescribeStacks")
        return super().describe_stacks(**asked)


def test_a_look_that_fails_ends_no_watch_as_json() -> None:
    with small_desk() as found:
        throttled = Throttled(found.stack, found.dynamodb, found.in_force, found.mode, table=found.table)
        result = throttled.run("status", ORDERS, "--watch", "--every", "20", "--json")
    assert result.exit_code == 0
    assert [json.loads(line)["at"][11:] for line in result.stdout.splitlines()] == ["09:00Z", "09:02Z"]
    assert result.stderr.startswith("not refreshed: An error occurred (Throttling)")


def test_how_long_ago() -> None:
    now = datetime(2026, 11, 18, 9, tzinfo=UTC)
    shown = [
        status.ago(now, at)
        for at in (None, now + timedelta(minutes=1), now - timedelta(minutes=10), datetime(2026, 11, 17, tzinfo=UTC))
    ]
    assert shown == ["never", "0 min ago", "10 min ago", "2026-11-17T00:00Z"]
