"""The request target that AAS is given: written by the owner at once, and left so by every sync."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from core.decide import decide
from core.errors import ThrottledError
from core.plan import PutTarget, plan_target
from core.reconcile import Status
from tests.builders import COMPONENT, NOW, SETTLED_MEMORY, context, running, steady
from tests.fakes.aws import observed
from tests.world import World

POLICY = "tidegate-prod-track-requests_per_instance"
LATENCY = "tidegate-target-prod-realtime-orders-AllTraffic-latency"


def slow_world(**fields: Any) -> World:
    """`orders` promises 200 ms and does not hold it; AAS keeps an instance at 500 of the 1,000 requests it serves."""
    world = World(**fields)
    world.document["profiles"]["p"]["objectives"] = {"requests_per_instance": 1000, "latency_p95": "200ms"}
    world = world.enrolled()
    world.metrics.states[LATENCY] = "ALARM"
    return world


def tuned(world: World, *, tunes: bool = True, load: float = 5000) -> Status:
    """A pass of the owner, or of somebody who may not write targets."""
    world.metrics.series["Invocations"] = observed(world.now, *[load] * 15)
    outcomes = world.reconciler.run(lambda _: True, world.when(tunes=tunes))
    return outcomes[0].status


def target(world: World) -> Any:
    return world.autoscaling.native[world.orders][POLICY].configuration["TargetValue"]


def test_latency_lowers_the_target_at_once_and_again_after_each_stabilization() -> None:
    world = slow_world()
    assert target(world) == 500
    seen = []
    for _ in range(50):
        tuned(world)
        seen.append(target(world))
        world.later(minutes=1)
    # Eight instances have 625 each. With 614 that one is taken to serve, half of it the target, load explains latency.
    assert [value for i, value in enumerate(seen) if i == 0 or value != seen[i - 1]] == [425, 361.25, 307.05]
    assert seen.count(425) == 10  # minutes


def test_it_never_falls_below_half() -> None:
    world = slow_world(count=20)
    for _ in range(8):
        tuned(world)
        world.later(minutes=10)
    assert (target(world), world.memory().target_factor) == (250, 0.5)


@pytest.mark.parametrize(
    ("load", "minutes_ago", "factor"),
    [
        (7599, None, 0.85),  # eight instances serve 8,000; 95 % of that are 7,600
        (7600, None, 1.0),
        (5000, 29, 1.0),  # what waited then may wait still
        (5000, 30, 0.85),
    ],
)
def test_what_load_explains_lowers_nothing(load: float, minutes_ago: int | None, factor: float) -> None:
    overloaded = None if minutes_ago is None else NOW - timedelta(minutes=minutes_ago)
    memory = replace(SETTLED_MEMORY, overloaded_at=overloaded)
    seen = context(
        objectives={"requests_per_instance": 1000, "latency_p95": "200ms"},
        load=steady(load),
        capacity=running(8),
        memory=memory,
        alarms={"latency": "ALARM"},
    )
    assert decide(seen).target_factor == factor


def test_when_load_was_all_that_can_be_served_is_remembered() -> None:
    world = slow_world()
    tuned(world)
    assert world.memory().overloaded_at is None
    tuned(world, load=7600)
    assert world.memory().overloaded_at == world.now


def test_the_floor_is_written_before_the_target() -> None:
    world = slow_world()
    tuned(world)
    assert world.writes == ["register", "put_scheduled_action", "put_policy"]


def test_a_sync_leaves_the_target_as_it_is_and_moves_the_ceiling_with_it() -> None:
    world = slow_world()
    tuned(world)
    _ = world.writes
    world.sync()
    assert (world.writes, target(world)) == (["put_policy", "put_alarm"], 425)
    assert world.metrics.alarm_shapes[LATENCY.replace("latency", "saturation")]["Threshold"] == 850
    world.sync()
    assert world.writes == []


def test_who_has_no_right_to_write_targets_does_not_try() -> None:
    world = slow_world()
    tuned(world, tunes=False)
    assert (target(world), world.memory().target_factor) == (500, 1.0)


def test_a_target_that_could_not_be_written_is_not_remembered() -> None:
    world = slow_world()
    world.autoscaling.fail_on["put_policy"] = ThrottledError("Rate exceeded")
    assert tuned(world) is Status.FAILED
    assert (target(world), world.memory().target_factor) == (500, 1.0)


def test_it_rises_again_by_a_twentieth_a_day() -> None:
    world = slow_world()
    tuned(world)
    world.metrics.states |= {LATENCY: "OK", LATENCY.replace("latency", "slow"): "OK"}
    seen = [425.0]
    for _ in range(6 * 24 * 6):
        world.later(minutes=10)
        tuned(world)
        seen += [target(world)] if target(world) != seen[-1] else []
    assert seen == [425, 446.25, 468.55, 492, 500]  # 0.85, 0.8925, 0.9371, 0.984, 1


def test_the_target_of_a_component_is_tuned_as_well() -> None:
    promises = {"requests_per_instance": 30, "latency_p95": "2s"}
    tuned = decide(context({**COMPONENT, "objectives": promises}, alarms={"latency": "ALARM"}))
    assert tuned.target_factor == 0.85
    [put] = [action for action in plan_target(tuned, "prod") if isinstance(action, PutTarget)]
    assert (put.policy.name, put.policy.configuration["TargetValue"]) == (
        "tidegate-prod-track-requests_per_copy",
        12.75,  # half of 30, times 0.85
    )
