"""Queues in a deployed stack. From zero to what the backlog needs and back: by alarms, by ticks, by AAS alone."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from local_account.account import Invocation, LocalAccount
from simulator.account import SimulatedAccount
from simulator.workload import AsyncWorkload, SqsWorkload
from tests.e2e.conftest import DAY, START, arrive, bounds, controller_dead, embedded, listening, minutes, schedules_off

OCR, RENDER = "ocr-prod", "render-prod"
OBJECTIVES = {"max_capacity": 8, "objectives": {"items_per_minute": 4, "drain_within": "15m"}}
POLICY = {
    "version": 1,
    "profiles": {
        "ocr": {"kind": "async", "min_capacity": 0, **OBJECTIVES},
        "render": {"kind": "realtime", "min_capacity": 1, "queue": {"sqs": "jobs"}, **OBJECTIVES},
    },
    "endpoints": [{"name": OCR, "profile": "ocr"}, {"name": RENDER, "profile": "render"}],
}
ITEMS, BURST, WORK_SECONDS = 60, 3, 15.0  # 45 minutes of work for one instance, and an objective of 15


@pytest.fixture(scope="module")
def queue(artefact: Path) -> Iterator[LocalAccount]:
    """An account of its own, of the artefact that is built already: hours pass in these tests."""
    account = SimulatedAccount(START)
    objective = timedelta(minutes=15)
    items = AsyncWorkload(per_minute_requests=[0] * DAY, per_minute_work_seconds=[0.0] * DAY, objective=objective)
    account.add_endpoint(name=OCR, workload=items, instance_count=0, asynchronous=True)
    messages = SqsWorkload(
        queue_name="jobs",
        per_minute_requests=[0] * DAY,
        per_minute_work_seconds=[0.0] * DAY,
        objective=objective,
    )
    account.add_endpoint(name=RENDER, workload=messages, instance_count=1)
    with embedded(account, artefact=artefact) as made:
        made.push_policy(POLICY)
        made.invoke("FleetSync", {"trigger": "policy"})
        minutes(made, 10)  # longer than it must be silent to be known as idle
        yield made


@contextlib.contextmanager
def events_dropped(local: LocalAccount) -> Iterator[None]:
    """No event reaches a function; schedules do."""
    stack = local.pump.stack
    local.pump.stack = replace(stack, rules=())
    try:
        yield
    finally:
        local.pump.stack = stack


@dataclass
class Run:
    """What became of one burst, a value a minute from its first."""

    desired: list[int]
    waiting: list[int]
    served: int
    late: int

    @property
    def first_size(self) -> int:
        """The first count that was ordered."""
        return next(count for count in self.desired if count)

    @property
    def emptied(self) -> int:
        """The minute in which the last item was done."""
        return max(minute for minute, left in enumerate(self.waiting) if left) + 1

    @property
    def zero(self) -> int:
        """The minute in which the last instance went."""
        return max(minute for minute, count in enumerate(self.desired) if count) + 1


def burst(local: LocalAccount, at_most: int, each_minute: Callable[[int], Any] = lambda _: None) -> Run:
    """Let 180 items arrive at an endpoint of no instances, and time pass until none of either is there again."""
    workload = local.account.endpoint(OCR).workload
    assert isinstance(workload, AsyncWorkload)
    assert (local.account.endpoint(OCR).desired_count, workload.waiting) == (0, 0)
    begin, served, late = workload.minute, workload.served, workload.late
    arrive(local, OCR, ITEMS, work_seconds=WORK_SECONDS, for_minutes=BURST)
    desired: list[int] = []
    while not (any(desired) and not desired[-1] and not workload.waiting):
        assert len(desired) < at_most, "neither done nor at zero in time"
        each_minute(len(desired))
        minutes(local, 1)
        desired.append(local.account.endpoint(OCR).desired_count)
    return Run(desired, workload.history.backlog[begin:], workload.served - served, workload.late - late)


def check(run: Run) -> None:
    """Nothing is lost, and once instances were ordered there are some until the last item is done."""
    assert run.served == ITEMS * BURST
    ordered = next(minute for minute, count in enumerate(run.desired) if count)
    assert all(run.desired[ordered : run.emptied])


@pytest.mark.parametrize("way", [schedules_off, events_dropped], ids=["alarms alone", "ticks alone"])
def test_from_zero_to_what_the_backlog_needs_and_back(
    queue: LocalAccount, way: Callable[[LocalAccount], contextlib.AbstractContextManager[None]]
) -> None:
    before = dict(queue.invocations)
    with way(queue):
        run = burst(queue, at_most=60)
    check(run)
    # 60 items are readable first: 15 minutes of work in 12.75 - 1 - 9 = 2.75, that is more than one instance
    assert run.first_size > 1
    assert run.late == 0
    assert run.zero - run.emptied <= 5 + 13, "idle for 5 minutes, and what alarms and removal take"
    assert queue.invocations["AsyncQueue"] > before["AsyncQueue"]
    minutes(queue, 10)
    assert bounds(queue, OCR) == (0, 8)


@pytest.mark.parametrize("stopped_after", [5, 12])
def test_stopped_half_way_aas_alone_works_off_the_rest_and_goes_to_zero(
    queue: LocalAccount, stopped_after: int
) -> None:
    """Our bounds expire within 20 minutes while they hold AAS back, and within the hour otherwise (ADR 0002)."""
    with contextlib.ExitStack() as dead:

        def stop(minute: int) -> None:
            if minute == stopped_after:
                dead.enter_context(controller_dead(queue))

        run = burst(queue, at_most=150, each_minute=stop)
        calls = dict(queue.invocations)
        minutes(queue, 60)
        assert bounds(queue, OCR) == (0, 8), "as the policy has it"
        assert dict(queue.invocations) == calls, "nobody but AAS was there"
    check(run)
    assert run.first_size > 1
    assert run.emptied > stopped_after, "half-way"
    minutes(queue, 10)


def test_messages_of_an_sqs_queue_scale_a_real_time_endpoint(queue: LocalAccount) -> None:
    """Their alarms reach the owner of real-time endpoints and AAS; as many instances as they need, and back to one."""
    workload = queue.account.endpoint(RENDER).workload
    assert isinstance(workload, SqsWorkload)
    arrive(queue, RENDER, ITEMS, work_seconds=WORK_SECONDS, for_minutes=BURST)
    calls: list[Invocation] = []
    with schedules_off(queue, "RealtimeTarget"), listening(queue, calls):
        minutes(queue, 50)
    heard = [
        call.function for call in calls if call.event.get("detail", {}).get("alarmName", "").endswith("-queue-out")
    ]
    assert set(heard) == {"RealtimeTarget"}
    assert (workload.served, workload.late) == (ITEMS * BURST, 0)
    assert 1 < max(workload.history.desired) < 8, "always busy, and not saturated"
    assert queue.account.endpoint(RENDER).desired_count == 1
    assert bounds(queue, RENDER) == (1, 8)
