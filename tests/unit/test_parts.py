"""A tick too large for one invocation is put in parts to the same function, each of which is a pass (ADR 0004)."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.aws.parts import PartsQueue
from core.errors import ActuationError, ObservationError
from handlers import async_queue, batch_window, realtime_target
from handlers.wiring import LambdaHandler, PassFailedError, Runtime
from tests.contract.aws.stubs import scripted
from tests.unit.test_handlers import Context, Heard
from tests.world import World

URL = "https://sqs.eu-central-1.amazonaws.com/123456789012/tidegate-prod-realtime-target-parts"
TICK = {"trigger": "schedule"}
NOW = datetime(2026, 11, 18, 8, 30, tzinfo=UTC)


@dataclass
class Sqs:
    """What was sent."""

    bodies: list[str] = field(default_factory=list)

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> None:  # noqa: N803
        assert QueueUrl == URL
        self.bodies.append(MessageBody)


@dataclass
class Owner:
    """RealtimeTarget over so many endpoints, two to a pass."""

    count: int
    sqs: Sqs = field(default_factory=Sqs)
    heard: Heard = field(default_factory=Heard)

    def __post_init__(self) -> None:
        self.world = World()
        for number in range(1, self.count):
            self.world.serving.add(f"extra-{number}", count=1)
            self.world.document["endpoints"].append({"name": f"extra-{number}", "profile": "p"})
        self.world.enrolled()
        parts = PartsQueue(lambda: self.sqs, URL, 2)
        runtime = Runtime(
            reconciler=self.world.reconciler, clock=lambda: self.world.now, tell=self.heard.tell, parts=parts
        )
        self.handler: LambdaHandler = realtime_target.make_handler(lambda: runtime)

    def call(self, event: dict[str, Any]) -> dict[str, Any]:
        return self.handler(event, Context())

    @property
    def looked_at(self) -> list[str]:
        return sorted(outcome.target.names["EndpointName"] for _, told in self.heard.told for outcome in told)

    @property
    def all(self) -> list[str]:
        return sorted(["orders", *(f"extra-{number}" for number in range(1, self.count))])


def delivered(*bodies: str) -> dict[str, Any]:
    """What Lambda's event source mapping hands over."""
    return {
        "Records": [
            {
                "messageId": f"059f36b4-87a3-44ab-83d2-66197{number:07}",
                "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
                "body": body,
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": "1545082649183",
                    "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                    "ApproximateFirstReceiveTimestamp": "1545082649185",
                },
                "messageAttributes": {},
                "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:tidegate-prod-realtime-target-parts",
                "awsRegion": "eu-central-1",
            }
            for number, body in enumerate(bodies)
        ]
    }


@pytest.mark.parametrize("count", [1, 2])
def test_what_fits_into_one_pass_sends_nothing(count: int) -> None:
    owner = Owner(count)
    owner.call(TICK)
    assert owner.sqs.bodies == []
    assert owner.looked_at == owner.all


@pytest.mark.parametrize(("count", "parts"), [(3, 2), (4, 2), (5, 3)])
def test_a_larger_tick_is_put_in_parts_that_together_are_all_of_it(count: int, parts: int) -> None:
    owner = Owner(count)
    assert owner.call(TICK) == {"parts": parts}
    assert owner.heard.told == [], "a heartbeat of a tick that looked at nothing would hide that nobody does"
    for body in owner.sqs.bodies:
        assert owner.call(delivered(body)) == {"batchItemFailures": []}
    assert owner.looked_at == owner.all
    assert len(owner.sqs.bodies) == parts


@given(count=st.integers(0, 300), most=st.integers(1, 50))
def test_parts_are_no_larger_than_a_pass_and_hold_each_target_once(count: int, most: int) -> None:
    of = -(-count // most)
    parts = [range(count)[part::of] for part in range(of)]
    assert sorted(target for part in parts for target in part) == list(range(count))
    assert all(len(part) <= most for part in parts)


def test_news_of_one_endpoint_is_no_reason_to_split() -> None:
    owner = Owner(3)
    owner.call({"detail": {"EndpointName": "orders"}})
    assert (owner.sqs.bodies, owner.looked_at) == ([], ["orders"])


def test_sqs_is_told_which_part_failed() -> None:
    owner = Owner(3)
    owner.call(TICK)
    event = delivered(*owner.sqs.bodies, "not one of ours")
    reply = owner.call(event)
    assert reply == {"batchItemFailures": [{"itemIdentifier": event["Records"][2]["messageId"]}]}
    assert owner.looked_at == owner.all


def test_if_all_fail_so_does_the_invocation() -> None:
    owner = Owner(3)
    owner.call(TICK)
    owner.world.serving.fail_on["capacity"] = ObservationError("DescribeEndpoint: throttled")
    with pytest.raises(PassFailedError, match="2 of 2 targets failed"):
        owner.call(delivered(owner.sqs.bodies[0]))


def test_a_part_that_comes_after_the_next_tick_is_not_looked_at_and_says_what_to_do() -> None:
    owner = Owner(3)
    owner.call(TICK)
    owner.world.now += timedelta(seconds=61)
    with pytest.raises(PassFailedError, match="late: it takes more PartsAtOnce"):
        owner.call(delivered(owner.sqs.bodies[0]))
    assert owner.heard.told == []


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{}",
        '{"part": 2, "of": 2, "at": "2026-11-18T08:30:00+00:00"}',
        '{"part": -1, "of": 2, "at": "2026-11-18T08:30:00+00:00"}',
        '{"part": 0, "of": 2, "at": "2026-11-18T08:30:00"}',
        '{"part": "x", "of": 2, "at": "2026-11-18T08:30:00+00:00"}',
    ],
)
def test_what_is_no_part_is_refused_by_name(body: str) -> None:
    with pytest.raises(PassFailedError, match=r"Records.body.*must be a part of a tick"):
        Owner(1).call(delivered(body))


@pytest.mark.parametrize("module", [async_queue, batch_window])
def test_every_owner_takes_its_parts(module: Any) -> None:
    world, heard = World().enrolled(), Heard()
    runtime = Runtime(reconciler=world.reconciler, clock=lambda: world.now, tell=heard.tell)
    body = json.dumps({"part": 0, "of": 1, "at": world.now.isoformat()})
    assert module.make_handler(lambda: runtime)(delivered(body), Context()) == {"batchItemFailures": []}
    assert [outcomes for _, outcomes in heard.told] == [()], "orders is another's"


def test_each_part_is_a_message() -> None:
    with scripted("sqs") as (client, script):
        for part in range(2):
            body = f'{{"part":{part},"of":2,"at":"{NOW.isoformat().replace("+00:00", "Z")}"}}'
            script.add_response("send_message", {"MessageId": str(part)}, {"QueueUrl": URL, "MessageBody": body})
        PartsQueue(lambda: client, URL, 200).put(2, NOW)


def test_a_part_that_cannot_be_sent_fails_the_tick() -> None:
    with scripted("sqs") as (client, script):
        script.add_client_error("send_message", "AccessDenied", "no")
        with pytest.raises(ActuationError, match=r"SendMessage of part 0 of 2: .*AccessDenied"):
            PartsQueue(lambda: client, URL, 200).put(2, NOW)
