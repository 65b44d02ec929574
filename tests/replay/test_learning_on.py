"""A day on which everything happens at once to an endpoint whose load and capacity are both learned.

Three office days are learned from; on the fourth the load jumps, then is gone for 90 minutes and comes back with what
was missed, then nothing is known of it for an hour, then somebody deploys with too few instances. What holds always
(architecture: never below what metrics demand, unknown never lowers, every raised floor expires) has to hold then, too.
"""

import math
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest

from simulator.replay import ENDPOINT, TARGET, Replay
from simulator.workload import RealtimeWorkload
from tests.replay.test_forecast import DAY, EVENING, MORNING, office

LATEST = 3 * DAY  # the day on which it happens
JUMP = LATEST + 10 * 60
OUTAGE, BACK = LATEST + 11 * 60 + 30, LATEST + 13 * 60
SILENCE, HEARD = LATEST + 15 * 60, LATEST + 16 * 60
DEPLOYED = LATEST + 16 * 60 + 10
END = LATEST + EVENING
MINIMUM, MAXIMUM = 1, 30
CAPACITY = 100.0
SEEN_AFTER = 2  # minutes, l


@dataclass(frozen=True)
class Moment:
    """How things stand after the passes of a minute; `known` is the newest load that metrics show."""

    floor: int
    desired: int
    in_service: bool
    known: int
    expires: bool


@pytest.fixture(scope="module")
def day() -> tuple[Replay, dict[int, Moment]]:
    """The fourth day from eight o'clock on, minute by minute."""
    usual = office(4)
    load = usual.requests.copy()
    load[JUMP:] = np.rint(1.5 * load[JUMP:])
    missed = load[OUTAGE:BACK].copy()
    load[OUTAGE:BACK] = 0
    load[BACK : BACK + len(missed)] += missed
    case = replace(usual, requests=load, maximum=MAXIMUM)
    slow = RealtimeWorkload(per_minute_requests=[], capacity_per_instance=CAPACITY).latency_objective
    objectives = {"requests_per_instance": CAPACITY, "latency_p95": f"{slow / timedelta(milliseconds=1):.0f}ms"}
    run = Replay(case, {"objectives": objectives})
    run.run(LATEST + MORNING - 60)
    seen = {}
    while run.minute < END:
        if run.minute == SILENCE:
            run.account.silence("AWS/SageMaker", "Invocations", ENDPOINT)
        if run.minute == HEARD:
            run.account.unsilence("AWS/SageMaker", "Invocations", ENDPOINT)
        if run.minute == DEPLOYED:
            run.account.deploy(ENDPOINT, 2)
        in_service = run.endpoint.status == "InService"
        run.run(1)
        seen[run.minute] = moment(run, in_service=in_service and run.endpoint.status == "InService")
    return run, seen


def moment(run: Replay, *, in_service: bool) -> Moment:
    held = run.account.snapshot(ENDPOINT)
    newest = run.minute - SEEN_AFTER - 1
    dark = SILENCE <= newest < HEARD
    return Moment(
        floor=held["bounds"][0],
        desired=run.endpoint.desired_count,
        in_service=in_service,
        known=0 if dark else int(run.case.requests[newest]),
        expires=any(
            action["ScalableTargetAction"].get("MinCapacity") == MINIMUM
            for action in held["scheduled_actions"].values()
        ),
    )


def test_load_and_capacity_are_learned(day: tuple[Replay, dict[int, Moment]]) -> None:
    run, seen = day
    assert run.stack.failures == []
    learned = run.stack.store.learned([TARGET])[TARGET]
    assert learned.fitted_at >= run.case.start + timedelta(days=3)
    assert run.result().target[LATEST + MORNING] != run.result().target[DAY]  # no longer half of what was stated
    assert seen[LATEST + MORNING].floor >= 6  # before the load was there
    measured = run.stack.store.memories([TARGET])[TARGET].measured
    assert measured is not None
    assert measured.capacity == 0.85 * CAPACITY  # of the configuration that was deployed nothing is known yet


def test_never_below_what_metrics_demand(day: tuple[Replay, dict[int, Moment]]) -> None:
    """What is learned may be 1.05 of what an instance serves, never more."""
    for minute, now in day[1].items():
        if now.in_service:
            needed = min(math.ceil(now.known / (1.05 * CAPACITY)), MAXIMUM)
            assert now.floor >= needed, f"minute {minute - LATEST} of the day: {now}"


def test_unknown_never_lowers(day: tuple[Replay, dict[int, Moment]]) -> None:
    dark = [day[1][minute] for minute in range(SILENCE + SEEN_AFTER + 2, HEARD)]
    assert all(after.floor >= before.floor for before, after in pairwise(dark))
    assert all(after.desired >= before.desired for before, after in pairwise(dark))
    assert dark[0].floor >= 9  # 975 requests


def test_every_raised_floor_expires(day: tuple[Replay, dict[int, Moment]]) -> None:
    raised = {minute: now for minute, now in day[1].items() if now.floor > MINIMUM}
    assert len(raised) > 6 * 60
    assert [minute - LATEST for minute, now in raised.items() if not now.expires] == []


def test_the_deployment_ends_with_what_the_load_needs(day: tuple[Replay, dict[int, Moment]]) -> None:
    run, seen = day
    assert any(not seen[minute].in_service for minute in range(DEPLOYED, DEPLOYED + 10))
    assert seen[DEPLOYED + 30].desired >= 9
    assert run.result().course.ready[DEPLOYED + 40] >= 9
