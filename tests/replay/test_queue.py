"""One queue from zero to what it needs and back: by ticks, by alarms alone, by AAS alone; and what its idleness costs."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from simulator.account import SimulatedAccount
from simulator.stack import SimulatedStack
from simulator.workload import AsyncWorkload

START = datetime(2026, 11, 18, tzinfo=UTC)
SILENCE, BURST = 60, 5
OBJECTIVE = timedelta(minutes=30)
PROFILE = {
    "kind": "async",
    "min_capacity": 0,
    "max_capacity": 10,
    "objectives": {"items_per_minute": 4, "drain_within": "30m"},
}
DOCUMENT = {"version": 1, "profiles": {"ocr": PROFILE}, "endpoints": [{"name": "ocr", "profile": "ocr"}]}


def queue(requests: Sequence[int] = (*[0] * SILENCE, *[60] * BURST), from_zero: int = 8) -> SimulatedStack:
    """Nothing for an hour, then 5 minutes of 60 items, which keep an instance busy for 75 minutes; or other requests."""
    account = SimulatedAccount(START)
    workload = AsyncWorkload(
        per_minute_requests=requests, per_minute_work_seconds=[15.0 * n for n in requests], objective=OBJECTIVE
    )
    account.add_endpoint(
        name="ocr",
        workload=workload,
        instance_count=0,
        asynchronous=True,
        provisioning_delay=timedelta(minutes=6),
        provisioning_from_zero=timedelta(minutes=from_zero),
    )
    made = SimulatedStack(account, DOCUMENT)
    made.invoke("FleetSync", {"trigger": "policy"})
    return made


def work(made: SimulatedStack) -> AsyncWorkload:
    found = made.account.endpoint("ocr").workload
    assert isinstance(found, AsyncWorkload)
    return found


def by_ticks_and_alarms(made: SimulatedStack) -> None:
    made.minute()


def by_ticks_alone(made: SimulatedStack) -> None:
    made.account.advance()
    made.tick()


def by_alarms_alone(made: SimulatedStack) -> None:
    for event in made.account.advance():
        made.deliver(event)


@pytest.mark.parametrize("minute", [by_ticks_and_alarms, by_ticks_alone, by_alarms_alone])
def test_a_burst_is_worked_off_in_time_from_zero_and_back(minute: Callable[[SimulatedStack], None]) -> None:
    made = queue()
    for _ in range(SILENCE + 120):
        minute(made)
    worked = work(made)
    assert made.failures == []
    assert max(worked.history.ready) > 1
    assert (worked.served, worked.late) == (60 * BURST, 0)
    assert made.account.endpoint("ocr").desired_count == 0


@pytest.mark.parametrize("stopped_after", [SILENCE + 3, SILENCE + 20, SILENCE + 35])
def test_aas_alone_works_off_the_rest_and_goes_to_zero(stopped_after: int) -> None:
    """Within the hour in which our bounds expire, and one more for its own alarms of 15 minutes."""
    made = queue()
    for minute in range(SILENCE + 240):
        if minute == stopped_after:
            made.stop()
        made.minute()
    assert work(made).served == 60 * BURST
    assert made.account.endpoint("ocr").desired_count == 0
    assert made.account.snapshot("ocr")["bounds"] == (0, 10)


def test_an_idle_queue_costs_no_metric_and_a_deep_one_is_looked_at_every_minute() -> None:
    made = queue()
    asked: dict[int, list[int]] = {}
    for minute in range(SILENCE + 120):
        made.account.calls.clear()
        made.minute()
        asked[minute] = [
            len(call.params["MetricDataQueries"]) for call in made.account.calls if call.operation == "GetMetricData"
        ]
    # Until the idle alarm has seen 8 minutes nobody knows that the queue is empty; FleetSync's pass is asked no more.
    assert [asked[minute] for minute in range(15, SILENCE)] == [[]] * (SILENCE - 15)
    assert {count for minute in range(15) for count in asked[minute]} == {4}, "of an empty queue no times"
    waiting = work(made).history.backlog
    assert all(asked[minute] for minute in range(SILENCE + 5, SILENCE + 120) if waiting[minute])
    assert {count for counts in asked.values() for count in counts} == {4, 6}
    assert asked[SILENCE + 119] == []


def test_a_start_that_takes_longer_than_usual_is_learned() -> None:
    """20 minutes from zero where 8 are assumed, an objective of 30: one item is ordered for at 15, and is late at 35.

    After five starts (and one of which nobody knows that it was from zero) it is ordered for in time, and the endpoint
    stays up so much longer before it goes to zero.
    """
    each = 120
    made = queue([int(minute % each == each - 1) for minute in range(9 * each)], from_zero=20)
    for _ in range(9 * each):
        made.minute()
    assert made.failures == []
    late = [minute // each for minute, count in enumerate(work(made).history.late) if count]
    assert (work(made).served, late) == (8, [1, 2, 3, 4, 5, 6])
    [idle] = [alarm for name, alarm in made.account.cloudwatch.alarms.items() if name.endswith("-idle")]
    assert idle.config["EvaluationPeriods"] == 20 - 3
