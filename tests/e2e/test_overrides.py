"""Overrides in the deployed stack: what they do on top of a window, and what EventBridge tells of them."""

import copy
import json
import os
import subprocess
import sys
from datetime import timedelta
from typing import Any

from cli import decisions
from local_account.account import LocalAccount
from local_account.sam import STACK
from tests.e2e.conftest import POLICY, QUIET, ROOT, SCORING, bounds, minutes, schedules_off


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


def test_an_override_on_top_of_an_open_window_ends_in_the_window(restored: LocalAccount) -> None:
    local = restored
    policy = copy.deepcopy(POLICY)
    opens = local.account.now + timedelta(minutes=2)
    window = {"name": "now", "start": f"{opens:%H:%M}", "duration": "90m", "lead": "0s", "min_capacity": 3}
    policy["profiles"]["scoring"]["windows"] = [window]
    policy["profiles"]["scoring"]["scale_in"] = "native"
    local.push_policy(policy)
    local.restart_functions()
    with schedules_off(local, "BatchWindow"):
        settles(local, (3, 10))
        local.invoke("Override", request(local, "on-top-1", "pin", for_minutes=90, profile="scoring", capacity=4))
        settles(local, (4, 4))
        local.invoke("Override", request(local, "on-top-2", "ceiling", for_minutes=12, target=SCORING, capacity=5))
        settles(local, (3, 5))  # the window's floor, the override's ceiling
        settles(local, (4, 4))  # the narrow one has ended; the wider one stands yet
        local.invoke("Override", request(local, "on-top-3", "resume", profile="scoring"))
        settles(local, (3, 10))  # what the window wants, not what stood before
        minutes(local, max(1, (opens + timedelta(minutes=90) - local.account.now) // timedelta(minutes=1)))
        settles(local, (1, 10))


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
    assert "-> override OverrideCeiling" in " ".join(explained.stdout.split()), explained.stderr
    assert "arn:aws:" in explained.stdout  # who asked, as STS says it
    name = json.loads(tidegate(local, "explain", QUIET, "--json").stdout)["id"]
    replayed = tidegate(local, "replay", name)
    assert "decided the same today: 2..11, OverrideCeiling" in replayed.stdout, replayed.stderr
    resumed = tidegate(local, "override", "resume", QUIET, "--reason", "done")
    assert f"Ended: {answer['override']}." in resumed.stdout
    settles(local, (2, 12), QUIET)


def test_every_decision_that_the_deployed_functions_recorded_replays_equal(local: LocalAccount) -> None:
    pages = local.aws["dynamodb"].get_paginator("scan").paginate(TableName=local.outputs["TableName"])
    items = [item for page in pages for item in page["Items"] if item["sk"]["S"].startswith("DECISION#")]
    assert len(items) >= 10
    for item in items:
        assert decisions.differences(decisions.recorded(item).decision) == []
