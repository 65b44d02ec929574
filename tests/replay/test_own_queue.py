"""An SQS queue in front of a real-time and of an asynchronous endpoint, by the minute: with Tidegate and without."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from simulator.account import SimulatedAccount
from simulator.stack import SimulatedStack
from simulator.workload import SqsWorkload

START = datetime(2026, 11, 18, tzinfo=UTC)
SILENCE, BURST, ITEMS = 30, 5, 300
QUEUED: dict[str, Any] = {
    "max_capacity": 10,
    "queue": {"sqs": "jobs"},
    "objectives": {"items_per_minute": 4, "drain_within": "30m"},
}


def jobs(kind: str, *, burst: int = BURST, **changes: Any) -> SimulatedStack:
    """Half an hour of silence, then 300 messages in 5 minutes, which keep an instance busy for 75."""
    lowest = 0 if kind == "async" else 1
    account = SimulatedAccount(START)
    requests = [0] * SILENCE + [ITEMS // BURST] * burst
    workload = SqsWorkload(
        queue_name="jobs",
        per_minute_requests=requests,
        per_minute_work_seconds=[15.0 * n for n in requests],
        objective=timedelta(minutes=30),
        outstanding=20 if kind == "async" else None,
    )
    account.add_endpoint(
        name="render",
        workload=workload,
        instance_count=lowest,
        asynchronous=kind == "async",
        provisioning_from_zero=timedelta(minutes=8),
    )
    profile = {"kind": kind, "min_capacity": lowest, **QUEUED, **changes}
    entries = [{"name": "render", "profile": "render"}]
    made = SimulatedStack(account, {"version": 1, "profiles": {"render": profile}, "endpoints": entries}, direct=True)
    made.invoke("FleetSync", {"trigger": "policy"})
    return made


def work(made: SimulatedStack) -> SqsWorkload:
    found = made.account.endpoint("render").workload
    assert isinstance(found, SqsWorkload)
    return found


@pytest.mark.parametrize("kind", ["realtime", "async"])
def test_its_messages_are_worked_off_in_time_with_no_more_than_they_need(kind: str) -> None:
    made = jobs(kind)
    for _ in range(SILENCE + 120):
        made.minute()
    assert made.failures == []
    assert (work(made).served, work(made).late) == (ITEMS, 0)
    assert made.account.endpoint("render").desired_count == (0 if kind == "async" else 1)
    # 75 minutes of work; instances are paid while they start, and the real-time one while nothing waits.
    least = 75 + (0 if kind == "async" else SILENCE + 120 - 30)
    assert sum(work(made).history.desired) <= least + 100
    assert max(work(made).history.desired) < 10
    unknown = [o for _, o in made.outcomes if o.decision and o.decision.context.unknown]
    assert len(unknown) <= 5, "SQS says nothing of messages in flight while there are none: that is no want of data"


@pytest.mark.parametrize("burst", [5, 15])
def test_aas_takes_no_instance_of_those_that_messages_are_left_for(burst: int) -> None:
    """An asynchronous endpoint holds 20 of them, far below its target of 60 an instance: AAS saw next to no load.

    It took three of five back where 84 messages waited, and of 900 in 15 minutes called 22 in the end where 10 do.
    """
    made = jobs("async", burst=burst, max_capacity=30)
    desired = 0
    for minute in range(SILENCE + burst + 90):
        made.minute()
        before, desired = desired, made.account.endpoint("render").desired_count
        assert desired >= min(before, work(made).waiting), f"minute {minute}"
    assert (work(made).served, work(made).late) == (ITEMS // BURST * burst, 0)
    assert max(work(made).history.desired) <= 10
    assert desired == 0


@pytest.mark.parametrize("kind", ["realtime", "async"])
@pytest.mark.parametrize("stopped_after", [0, SILENCE + 8])
def test_aas_alone_works_its_messages_off_and_takes_the_instances_back(kind: str, stopped_after: int) -> None:
    """Before a real-time endpoint with as many as the messages need; an asynchronous one follows what it was given."""
    made = jobs(kind)
    for minute in range(SILENCE + 240):
        if minute == stopped_after:
            made.stop()
        made.minute()
    assert work(made).served == ITEMS
    assert max(work(made).history.ready) > (1 if kind == "realtime" else 0)
    assert made.account.endpoint("render").desired_count == (0 if kind == "async" else 1)


@pytest.mark.parametrize("kind", ["realtime", "async"])
def test_a_queue_of_which_sqs_says_nothing_lowers_nothing(kind: str) -> None:
    made = jobs(kind)
    for _ in range(SILENCE + 8):
        made.minute()
    floor = made.account.snapshot("render")["bounds"][0]
    assert floor > 1
    for metric in ("ApproximateNumberOfMessagesVisible", "NumberOfMessagesDeleted"):
        made.account.silence("AWS/SQS", metric, "jobs")
    for _ in range(30):
        made.minute()
        assert made.account.snapshot("render")["bounds"][0] >= floor
