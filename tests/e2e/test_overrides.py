"""Overrides in the deployed stack: what they do on top of a window, and what EventBridge tells of them."""

import copy
import json
import os
import re
import subprocess
import sys
from datetime import datetime, timedelta
from typing import Any

import pytest

from cli import decisions
from local_account.account import LocalAccount
from local_account.sam import STACK
from tests.e2e.conftest import (
    ORDERS,
    POLICY,
    QUIET,
    ROOT,
    SAM,
    SCORING,
    bounds,
    controller_dead,
    minutes,
    schedules_off,
)


def request(local: LocalAccount, name: str, action: str, *, for_minutes: int = 0, **more: Any) -> dict[str, Any]:
    ends = f"{local.account.now + timedelta(minutes=for_minutes):%Y-%m-%dT%H:%M:%SZ}"
    return {
        "request_id": name,
        "action": action,
        "reason": "a test",
        "requested_by": "e2e@example.com",
        **({"expires_at": ends} if for_minutes else {}),
        **more,
    }


def listening_queue(local: LocalAccount) -> str:
    """A queue behind a rule of somebody else's on our source."""
    url: str = local.aws["sqs"].create_queue(QueueName="heard")["QueueUrl"]
    arn = local.aws["sqs"].get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {
        "source": ["tidegate"],
        "detail": {"stage": ["local"], "override": {"override_id": [{"prefix": "heard"}]}},
    }
    local.aws["events"].put_rule(Name="heard", EventPattern=json.dumps(pattern))
    local.aws["events"].put_targets(Rule="heard", Targets=[{"Id": "q", "Arn": arn}])
    return url


def heard(local: LocalAccount, url: str) -> list[tuple[str, str]]:
    found = []
    while got := local.aws["sqs"].receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in got:
            event = json.loads(message["Body"])
            found.append((event["detail-type"], event["detail"]["override"]["override_id"]))
            local.aws["sqs"].delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return sorted(found)


def test_a_rule_hears_the_life_of_an_override(local: LocalAccount) -> None:
    url = listening_queue(local)
    local.invoke("Override", request(local, "heard-1", "floor", for_minutes=60, target=QUIET, capacity=3))
    local.invoke("Override", request(local, "heard-2", "floor", for_minutes=4, target=QUIET, capacity=4))
    assert heard(local, url) == [
        ("Tidegate Override Created", "heard-1"),
        ("Tidegate Override Created", "heard-2"),
        ("Tidegate Override Superseded", "heard-1"),
    ]
    with schedules_off(local, "BatchWindow"):
        minutes(local, 2)
        assert heard(local, url) == [("Tidegate Override Ending Soon", "heard-2")]
        minutes(local, 3)
        assert heard(local, url) == [("Tidegate Override Expired", "heard-2")]
    local.invoke("Override", request(local, "heard-3", "resume", target=QUIET))
    assert heard(local, url) == [("Tidegate Override Created", "heard-3"), ("Tidegate Override Superseded", "heard-1")]


def settles(local: LocalAccount, expected: tuple[int, int], endpoint: str = SCORING) -> None:
    """The bounds come to be these: at once, or when changes that AAS or an earlier floor ordered have ended."""
    for _ in range(20):
        if bounds(local, endpoint) == expected:
            return
        minutes(local, 1)
    assert bounds(local, endpoint) == expected


def deliver(local: LocalAccount, window: dict[str, Any]) -> None:
    """A policy edit: the only window of the scoring profile."""
    policy = copy.deepcopy(POLICY)
    policy["profiles"]["scoring"] |= {"windows": [window], "scale_in": "native"}
    local.push_policy(policy)
    local.restart_functions()


def until(local: LocalAccount, moment: datetime) -> None:
    minutes(local, max(0, (moment - local.account.now) // timedelta(minutes=1)))


def test_a_window_opens_holds_and_closes_through_lost_ticks_a_policy_edit_and_overrides(restored: LocalAccount) -> None:
    local = restored
    later = local.account.now + timedelta(hours=12)
    deliver(local, {"name": "later", "start": f"{later:%H:%M}", "duration": "1h", "min_capacity": 2})
    settles(local, (1, 10))  # whatever window of the session's policy was open
    opens = local.account.now + timedelta(minutes=12)
    window = {"name": "now", "start": f"{opens:%H:%M}", "duration": "90m", "lead": "10m", "min_capacity": 3}
    deliver(local, window)
    with controller_dead(local):
        minutes(local, 4)  # the tick that should have opened it is lost, and the next one too
        assert bounds(local, SCORING) == (1, 10)
    with schedules_off(local, "BatchWindow"):
        settles(local, (3, 10))
        assert local.account.now < opens
        local.invoke("Override", request(local, "on-top-1", "pin", for_minutes=90, profile="scoring", capacity=4))
        settles(local, (4, 4))
        local.invoke("Override", request(local, "on-top-2", "ceiling", for_minutes=12, target=SCORING, capacity=5))
        settles(local, (3, 5))  # the window's floor, the override's ceiling
        settles(local, (4, 4))  # the narrow one has ended; the wider one stands yet
        local.invoke("Override", request(local, "on-top-3", "resume", profile="scoring"))
        settles(local, (3, 10))  # what the window wants, not what stood before
        deliver(local, {**window, "duration": "75m", "min_capacity": 2})
        settles(local, (2, 10))
        until(local, opens + timedelta(minutes=74))
        assert bounds(local, SCORING) == (2, 10)
    with controller_dead(local):
        minutes(local, 2)  # the tick that should close it is lost
        assert bounds(local, SCORING) == (2, 10)
    with schedules_off(local, "BatchWindow"):
        settles(local, (1, 10))  # any later one closes it


def tidegate(local: LocalAccount, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line as a person calls it, in a process of its own."""
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", "from cli.main import run; run()", *arguments, "--stack", STACK],
        env={**os.environ, **local.environment},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


def test_the_command_line_overrides_explains_and_replays(local: LocalAccount) -> None:
    minutes(local, 8)
    until = f"{local.account.now + timedelta(minutes=30):%Y-%m-%dT%H:%MZ}"
    pinned = tidegate(local, "override", "ceiling", QUIET, "11", "--until", until, "--reason", "a test", "--json")
    assert pinned.returncode == 0, pinned.stderr
    answer = json.loads(pinned.stdout)
    assert answer["targets"][0]["reason"] == "OverrideCeiling"
    explained = tidegate(local, "explain", QUIET)
    said = " ".join(explained.stdout.split())
    assert re.search(r"-> override \S+ -> 2\.\.11 OverrideCeiling; id: cli-", said), explained.stdout + explained.stderr
    assert "Setting desired instance count to" in said  # AAS, since
    assert "arn:aws:" in explained.stdout  # who asked, as STS says it
    name = json.loads(tidegate(local, "explain", QUIET, "--json").stdout)["id"]
    replayed = tidegate(local, "replay", name)
    assert "decided the same today: 2..11, OverrideCeiling" in replayed.stdout, replayed.stderr
    resumed = tidegate(local, "override", "resume", QUIET, "--reason", "done")
    assert f"Ended: {answer['override']}." in resumed.stdout
    settles(local, (2, 12), QUIET)


def test_sam_remote_invoke_takes_an_event_file_as_it_is_shipped(local: LocalAccount) -> None:
    event = ROOT / "events/override-dry-run.json"
    command = [str(SAM), "remote", "invoke", "OverrideFunction", "--stack-name", STACK, "--event-file", str(event)]
    said = subprocess.run(  # noqa: S603 - our own command
        command, env={**os.environ, **local.environment}, capture_output=True, text=True, check=True
    )
    answer = json.loads(said.stdout)
    assert (answer["targets"][0]["status"], answer["targets"][0]["reason"]) == ("dry_run", "OverridePin")
    assert answer["ends"] == f"{local.account.now + timedelta(hours=3):%Y-%m-%dT%H:%MZ}"
    assert answer["to_end_it"] == {"action": "resume", "target": ORDERS}


def test_the_command_line_says_every_problem_of_a_request_that_the_function_refuses(local: LocalAccount) -> None:
    refused = tidegate(local, "override", "pin", QUIET, "99999", "--for", "20d", "--reason", "x")
    assert refused.returncode == 2
    assert [line.partition(" = ")[0] for line in refused.stderr.splitlines()] == [
        "refused: CAPACITY",
        "--for",
        "--reason",
    ]


@pytest.mark.last
def test_every_decision_that_the_deployed_functions_recorded_replays_equal(local: LocalAccount) -> None:
    pages = local.aws["dynamodb"].get_paginator("scan").paginate(TableName=local.outputs["TableName"])
    items = [item for page in pages for item in page["Items"] if item["sk"]["S"].startswith("DECISION#")]
    assert len(items) >= 10
    for item in items:
        assert decisions.differences(decisions.recorded(item).decision) == []
