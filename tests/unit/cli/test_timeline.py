"""`tidegate history`: a morning of a fleet, told from the table, Application Auto Scaling and SageMaker."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.decisions import until_of
from cli.errors import RefusedError
from cli.timeline import since_of
from core.errors import TargetBusyError
from simulator.stack import SimulatedStack
from tests.desk import TABLES, Desk, desk, document, small_desk

ORDERS, NIGHTLY = "orders-ranker-prod", "nightly-scoring-prod"
TRACK = "tidegate-prod-track-requests_per_instance"
NOW = datetime(2026, 11, 18, 9, 41, tzinfo=UTC)


def ask(found: Desk, action: str, request_id: str, **more: Any) -> None:
    asked = {"request_id": request_id, "action": action, "target": ORDERS, "requested_by": "maria", **more}
    found.stack.invoke("Override", asked)


@pytest.fixture(scope="module")
def morning() -> Iterator[Desk]:
    """09:09 a pin to 6 until 11:09; 09:18 a deployment; 09:34 the pin is ended; 09:35 a floor of 2 for five minutes."""
    with small_desk() as found:
        found.minutes(9)
        ask(found, "pin", "r-1", capacity=6, duration="2h", reason="mail")
        found.minutes(9)
        found.account.deploy(ORDERS, 4)
        found.minutes(16)
        ask(found, "resume", "r-2", reason="mail sent")
        found.minutes(1)
        ask(found, "floor", "r-3", capacity=2, duration="5m", reason="a test")
        found.minutes(6)
        yield found


def told(found: Desk, *arguments: str) -> list[tuple[str, str, str, str]]:
    result = found.run("history", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return [(e["at"][11:16], e["by"], e["what"], e["why"]) for e in json.loads(result.stdout)["events"]]


MORNING = [
    ("08:30", "tidegate", "set bounds to 2..12 (differs)", "PolicyMinimum"),
    ("08:47", "aas", "Setting desired instance count to 2.", f"monitor alarm AlarmLow in state ALARM triggered policy {TRACK}"),
    ("09:01", "tidegate", "set bounds to 3..12 (differs); let bounds fall back to 2..12 at 2026-11-18T10:01Z", "Load: requests per minute 3000"),
    ("09:01", "aas", "Setting desired instance count to 3.", "minimum capacity was set to 3"),
    ("09:08", "aas", "Setting desired instance count to 7.", f"monitor alarm AlarmHigh in state ALARM triggered policy {TRACK}"),
    ("09:09", "override", "pin 6 until 2026-11-18T11:09Z", "mail (r-1, maria)"),
    ("09:15", "tidegate", "let bounds fall back to 2..12 at 2026-11-18T11:09Z; set bounds to 6..6 (differs)", "OverridePin: id: r-1"),
    ("09:15", "aas", "Setting desired instance count to 6.", "maximum capacity was set to 6"),
    ("09:25", "deployment", f"configuration {ORDERS}-config-2", f"configuration {ORDERS}-config-1 before"),
    ("09:25", "tidegate", "set bounds to 6..6 (repair)", "OverridePin: id: r-1"),
    ("09:25", "aas", "Setting desired instance count to 6.", "minimum capacity was set to 6"),
    ("09:34", "override", "resume", "mail sent (r-2, maria)"),
    ("09:34", "tidegate", "let bounds fall back to 2..12 at 2026-11-18T10:34Z; set bounds to 3..12 (differs)", "Load: requests per minute 3000"),
    ("09:35", "override", "floor 2 until 2026-11-18T09:40Z", "a test (r-3, maria)"),
    ("09:40", "override", "floor ended", "it was for so long (r-3)"),
]  # fmt: skip
"""Bounds wait at 09:09 and 09:18 until the endpoint is InService; the pin that was ended does not expire."""


def test_the_time_line_tells_what_followed_from_what(morning: Desk) -> None:
    events = told(morning, ORDERS)
    assert [event[:3] for event in events] == [event[:3] for event in MORNING]
    for (_, _, _, why), (at, by, _, part) in zip(events, MORNING, strict=True):
        assert part in why, (at, by)


def test_json_and_table_say_the_same(morning: Desk) -> None:
    shown = [" ".join(line.split()) for line in morning.run("history", ORDERS).stdout.splitlines()]
    assert shown[0] == "at by what why status"
    assert shown[6] == "2026-11-18T09:09Z override pin 6 until 2026-11-18T11:09Z mail (r-1, maria)"
    assert shown[-1] == "15 changes of orders-ranker-prod since 2026-11-17T09:41Z."


@pytest.mark.parametrize("since", ["6m", "2026-11-18T09:35Z"])
def test_since_is_a_span_or_a_time(morning: Desk, since: str) -> None:
    assert [event[0] for event in told(morning, ORDERS, "--since", since)] == ["09:35", "09:40"]


def test_nothing_to_tell_is_said(morning: Desk) -> None:
    assert morning.run("history", ORDERS, "--since", "30s").stdout.startswith("0 changes of orders-ranker-prod since")


def test_windows_are_told_once_each() -> None:
    night = {"name": "night", "start": "09:17", "duration": "5m", "min_capacity": 6, "lead": "0m"}
    with desk() as found:
        found.in_force.content = json.dumps(document({"name": "orders"}, kind="batch", windows=[night])).encode()
        found.stack.invoke("FleetSync", {"trigger": "schedule"})
        found.minutes(10)
        events = told(found, "orders")
    assert [event for event in events if event[1] == "window"] == [
        ("09:17", "window", "night opened", "until 2026-11-18T09:22Z, at least 6"),
        ("09:22", "window", "night ended", "opened 2026-11-18T09:17Z"),
    ]


def test_a_window_is_over_when_it_was_handed_over_and_asked_for_what_it_asked_for_then() -> None:
    """500 a minute are busy for an instance of 600, so its load began with it: at 09:32 demand carries on."""
    job = {"name": "job", "start": "09:17", "duration": "3h", "hand_over": "15m", "min_capacity": 6, "lead": "0m"}
    with desk(name=next(TABLES)) as found:
        found.in_force.content = json.dumps(document({"name": "orders"}, windows=[job])).encode()
        found.stack.invoke("FleetSync", {"trigger": "schedule"})
        found.minutes(16)  # 09:31
        during = json.loads(found.run("status", "--json").stdout)["targets"][0]["until"]
        found.minutes(2)
        after = json.loads(found.run("status", "--json").stdout)["targets"][0]["until"]
        events = told(found, "orders")
    assert (during, after) == (["window job open until 2026-11-18T12:17Z"], [])
    assert [event for event in events if event[1] == "window"] == [
        ("09:17", "window", "job opened", "until 2026-11-18T12:17Z, at least 6"),
        ("09:32", "window", "job ended", "opened 2026-11-18T09:17Z"),
    ]


def test_a_table_counts_what_a_shadow_wishes_again_and_again_and_json_keeps_each() -> None:
    with desk(name=next(TABLES)) as found:
        content = document({"name": "orders"}, mode="shadow", policies=[])
        found.in_force.content = json.dumps(content).encode()
        found.stack.invoke("FleetSync", {"trigger": "schedule"})
        found.minutes(7)
        workload: Any = found.account.endpoint("orders").first.workload
        workload.per_minute_requests[workload.minute :] = [1700] * 100
        found.minutes(9)
        wishes = told(found, "orders")
        shown = [" ".join(line.split()) for line in found.run("history", "orders").stdout.splitlines()]
    assert shown[1:-1] == [
        (
            "2026-11-18T09:15Z to 09:24Z tidegate set bounds to 2..8 (differs) "
            "PolicyMinimum: requests per minute 500, requests per instance 600 shadow, 10 times"
        ),
        (
            "2026-11-18T09:25Z to 09:31Z tidegate set bounds to 4..8 (differs); let bounds fall back to 2..8 at "
            "2026-11-18T10:31Z Saturated: ready 2, requests per minute 1700, requests per instance 600 shadow, 7 times"
        ),
    ]
    assert len(wishes) == 17


def test_bounds_that_were_set_before_the_endpoint_changed_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the load falls, 8..8 becomes 2..8, and the count, which comes last, is refused: another variant scales in."""

    def refuse(*_: object) -> None:
        raise TargetBusyError("the endpoint changes")

    with desk(name=next(TABLES)) as found:
        found.in_force.content = json.dumps(document({"name": "orders"}, provisioning="2m")).encode()
        found.stack.invoke("FleetSync", {"trigger": "schedule"})
        monkeypatch.setattr(found.stack.reconciler.ports.serving, "set_count", refuse)
        workload: Any = found.account.endpoint("orders").first.workload
        workload.per_minute_requests[workload.minute :] = [2400] * 20 + [100] * 1000
        found.minutes(60)
        (first, *_) = [each for each in told(found, "orders") if "scale in directly" in each[2]]
        explained = found.run("explain", "orders", "--at", f"2026-11-18T{first[0]}:00Z").stdout
        now = json.loads(found.run("status", "orders", "--json").stdout)["targets"][0]["in_force"]
    assert first[2] == "set bounds to 2..8 (differs); remove the expiry; scale in directly to 2"
    assert "Outcome: busy, the endpoint changed before all was written; the next pass decides again." in explained
    assert now == "2..8"


UNTIL = [
    # what `--at` says, until when a decision counts: `history` prints minutes, passes run some seconds after them
    ("2026-11-18T09:38Z", "09:38:59.999"),
    ("2026-11-18T10:38+01:00", "09:38:59.999"),
    ("2026-11-18T09:38:07Z", "09:38:07.000"),
    ("2026-11-18T09:38:07.250Z", "09:38:07.250"),
]


@pytest.mark.parametrize(("said", "until"), UNTIL)
def test_a_whole_minute_is_all_of_it(said: str, until: str) -> None:
    found = until_of(said)
    assert found is not None
    assert found.isoformat(timespec="milliseconds") == f"2026-11-18T{until}+00:00"


def test_each_decision_that_history_tells_is_explained_at_its_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes run seven seconds after the full minute, as in an account."""
    monkeypatch.setattr(SimulatedStack, "now", lambda stack: stack.account.now + timedelta(seconds=7))
    with desk(name=next(TABLES)) as found:
        found.in_force.content = json.dumps(document({"name": "orders"}, provisioning="2m")).encode()
        found.stack.invoke("FleetSync", {"trigger": "schedule"})
        workload: Any = found.account.endpoint("orders").first.workload
        workload.per_minute_requests[workload.minute :] = [2400] * 1000
        found.minutes(20)
        minutes = [at for at, by, *_ in told(found, "orders") if by == "tidegate"]
        names = [
            json.loads(found.run("explain", "orders", "--at", f"2026-11-18T{at}Z", "--json").stdout)["id"]
            for at in minutes
        ]
        early = found.run("explain", "orders", "--at", "2026-11-18T09:14Z").stderr
    assert len(minutes) >= 2
    assert [name.rpartition("T")[2][:8] for name in names] == [f"{at}:07" for at in minutes]
    assert "no decision is recorded at or before 2026-11-18T09:14Z; it is enrolled" in early


def test_what_was_released_is_told_for_as_long_as_it_is_recorded() -> None:
    with desk(name=next(TABLES)) as found:
        for endpoints in ([{"name": "orders"}], []):
            found.in_force.content = json.dumps(document(*endpoints, min_capacity=3)).encode()
            found.stack.invoke("FleetSync", {"trigger": "schedule"})
            found.minutes(9)
        assert found.stack.store.roster() == {}
        events = told(found, "orders")
        never = found.run("history", "chat")
    assert ("09:15", "tidegate", "set bounds to 3..8 (differs)") in [event[:3] for event in events]
    assert (never.exit_code, "no such target" in never.stderr) == (2, True)


def test_what_another_release_wrote_is_told_as_that(morning: Desk) -> None:
    (key,) = morning.dynamodb.query(
        TableName=morning.table,
        KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
        ExpressionAttributeValues={
            ":pk": {"S": f"TARGET#endpoint/{NIGHTLY}/variant/AllTraffic#sagemaker:variant:DesiredInstanceCount"},
            ":sk": {"S": "DECISION#"},
        },
        Limit=1,
    )["Items"]
    morning.dynamodb.put_item(TableName=morning.table, Item={**key, "context": {"S": "{}"}})
    event = told(morning, NIGHTLY)[0]
    assert event[2] == "a decision of another release"
    assert "cannot be read, another release wrote it" in event[3]


@pytest.mark.parametrize("said", ["soon", "", "-5m", "99999999d", "2999-01-01T00:00Z", "0m"])
def test_what_is_no_time_that_is_over_is_refused(said: str) -> None:
    with pytest.raises(RefusedError, match=f"--since = '{said}': must be a span such as 12h or 7d, or a time that is"):
        since_of(said, NOW)


def test_an_unknown_target_is_answered_with_the_nearest_names(morning: Desk) -> None:
    result = morning.run("history", "nightly-scoring")
    assert (result.exit_code, result.stderr) == (
        2,
        f"refused: TARGET = 'nightly-scoring': no such target; did you mean {NIGHTLY}?\n",
    )
