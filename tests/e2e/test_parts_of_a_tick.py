"""A tick over more targets than one pass takes: queue, event source mapping, rights and function as they are deployed."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local_account.account import LocalAccount
from tests.e2e.conftest import POLICY, embedded, small_account

SECONDS = 60
FUNCTION = "tidegate-local-realtime-target"


@pytest.fixture(scope="module")
def split(artefact: Path) -> Iterator[LocalAccount]:
    """A stack of its own that puts one target in a pass."""
    parameters = {"PartsAtOnce": "2", "TargetsAPass": "1"}
    with embedded(small_account(), artefact=artefact, parameters=parameters) as account:
        functions = account.aws["lambda"]
        for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
            # The emulator keeps CloudFormation's text where the API has a number, and cannot compare it.
            assert mapping["ScalingConfig"] == {"MaximumConcurrency": 2}
            functions.update_event_source_mapping(UUID=mapping["UUID"], ScalingConfig=mapping["ScalingConfig"])
        account.push_policy(POLICY)
        account.invoke("FleetSync", {"trigger": "policy"})
        yield account


def eventually(holds: Callable[[], bool]) -> bool:
    """SQS delivers when it likes, by the wall clock."""
    until = time.monotonic() + SECONDS
    while not holds() and time.monotonic() < until:
        time.sleep(0.5)
    return holds()


def seen(account: LocalAccount) -> list[int]:
    """How many targets each pass of RealtimeTarget looked at, after its own log."""
    found = account.aws["logs"].filter_log_events(logGroupName=f"/aws/lambda/{FUNCTION}")["events"]
    metrics = [json.loads(event["message"]) for event in found if event["message"].startswith('{"_aws"')]
    return [int(each["TargetsSeen"][0]) for each in metrics]


def waiting(account: LocalAccount, queue: str) -> int:
    """How many messages a queue holds, those that are being worked on included."""
    sqs = account.aws["sqs"]
    counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    return sum(map(int, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=counts)["Attributes"].values()))


def test_each_part_of_a_tick_is_a_pass_of_the_same_function_and_none_is_left(split: LocalAccount) -> None:
    assert split.invoke("RealtimeTarget", {"trigger": "schedule"}) == {"parts": 3}, "two endpoints and a component"
    assert eventually(lambda: len(seen(split)) == 3)
    assert seen(split) == [1, 1, 1]
    assert eventually(lambda: waiting(split, f"{FUNCTION}-parts") == 0)
    assert waiting(split, "tidegate-local-dead-letters") == 0
