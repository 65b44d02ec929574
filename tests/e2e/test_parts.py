"""The parts of the embedded account that decide something, without deploying anything."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from local_account.clock import ClockFile
from local_account.deployed import Target, Tick
from local_account.emf import metrics_in
from local_account.iam import allowed, statements
from local_account.rundir import parent
from local_account.runtime.sitecustomize import SimulatedClock
from simulator.schedule import parse

NOW = datetime(2026, 11, 18, 1, 0, tzinfo=UTC)
TABLE = "arn:aws:dynamodb:eu-central-1:123456789012:table/tidegate-local"


def allow(action: str | list[str], resource: str | list[str] = "*", **condition: dict[str, Any]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, "Condition": condition}


@pytest.mark.parametrize(
    ("policy", "action", "resource", "context", "expected"),
    [
        ([], "dynamodb:GetItem", TABLE, {}, False),
        ([allow("dynamodb:GetItem", TABLE)], "dynamodb:GetItem", TABLE, {}, True),
        ([allow("dynamodb:getitem", TABLE)], "dynamodb:GetItem", TABLE, {}, True),
        ([allow("dynamodb:GetItem", TABLE)], "dynamodb:GetItem", TABLE + "2", {}, False),
        ([allow("dynamodb:*", TABLE + "*")], "dynamodb:PutItem", TABLE + "2", {}, True),
        ([allow(["a:B", "a:C"])], "a:C", "x", {}, True),
        ([allow("a:B", StringEquals={"k": "v"})], "a:B", "x", {}, False),
        ([allow("a:B", StringEquals={"k": "v"})], "a:B", "x", {"k": "v"}, True),
        ([allow("a:B", StringEquals={"k": ["v", "w"]})], "a:B", "x", {"k": "w"}, True),
        ([allow("a:B", StringEquals={"k": "v", "l": "w"})], "a:B", "x", {"k": "v"}, False),
        ([allow("a:B", ArnLike={"k": "arn:*:rule/x"})], "a:B", "x", {"k": "arn:aws:rule/x"}, True),
        ([allow("a:B"), {**allow("a:B"), "Effect": "Deny"}], "a:B", "x", {}, False),
        ([allow("a:B"), {**allow("a:B", Bool={"s": "false"}), "Effect": "Deny"}], "a:B", "x", {"s": "true"}, True),
    ],
)
def test_iam_policies_are_evaluated_as_aws_does(
    policy: list[dict[str, Any]], action: str, resource: str, context: dict[str, str], expected: bool
) -> None:
    assert allowed(statements({"Statement": policy}), action, resource, context) is expected


@pytest.mark.parametrize(
    "statement",
    [
        {"Effect": "Allow", "NotAction": "a:B", "Resource": "*"},
        allow("a:B", NumericLessThan={"k": "5"}),
    ],
)
def test_what_the_evaluation_does_not_know_is_an_error_and_no_permission(statement: dict[str, Any]) -> None:
    with pytest.raises((NotImplementedError, KeyError)):
        allowed(statements({"Statement": statement}), "a:B", "x", {"k": "1"})


def test_metrics_are_read_from_the_tail_of_a_log() -> None:
    directive = {"Namespace": "Tidegate", "Dimensions": [["function"]], "Metrics": [{"Name": "Seen"}, {"Name": "Beat"}]}
    line = {"_aws": {"CloudWatchMetrics": [directive]}, "function": "f", "Seen": [2.0, 3.0], "Beat": 1}
    log = 'cut in two"}\nplain text\n[1]\n{"level": "INFO"}\n' + json.dumps(line)
    found = dict(metrics_in(base64.b64encode(log.encode()).decode()))
    assert {key[1]: datum.total for key, datum in found.items()} == {"Seen": 5.0, "Beat": 1.0}
    assert all(key[0] == "Tidegate" and key[2] == (("function", "f"),) for key in found)


def test_the_workers_read_the_time_that_the_driver_writes(tmp_path: Path) -> None:
    driver = ClockFile(tmp_path / "clock", NOW)
    worker = SimulatedClock(tmp_path / "clock")
    assert worker.now() == NOW
    driver.set(NOW.replace(hour=5))
    assert worker.now() == NOW.replace(hour=5)
    driver.close()


def test_a_tick_carries_its_payload_with_the_schedulers_keywords_replaced() -> None:
    text = '{"at": "<aws.scheduler.scheduled-time>", "from": "<aws.scheduler.schedule-arn>", "mine": 1}'
    tick = Tick("t", "arn:t", parse("rate(5 minutes)", "UTC", NOW), "role", Target("f", text))
    assert tick.payload(NOW) == {"at": "2026-11-18T01:00:00Z", "from": "arn:t", "mine": 1}


def test_a_small_memory_disk_is_not_used(tmp_path: Path) -> None:
    assert parent([tmp_path / "absent", tmp_path]) == tmp_path
    assert parent([tmp_path, Path("/")], room=2**62) == Path("/")
