"""A target value above the profile's own expires, as bounds do (ADR 0005): who writes what, in which order, and when.

`orders` serves 1,000 requests an instance: tracking keeps it at 500, and at 900 while a forecast orders ahead. What a
user had before adoption is what it falls back to if that is less than 500.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from cli.decisions import Recorded, heading_of
from core.context import DECISIONS
from core.errors import ActuationError, ObservationError
from core.model import Capacity, Envelope, Mode, Observation, Option, Point
from core.plan import PutPolicy
from core.ports import NativePolicy
from core.reconcile import Status
from tests.builders import override, running
from tests.world import World

POLICY, REQUESTS = "tidegate-prod-track-requests_per_instance", "SageMakerVariantInvocationsPerInstance"
AFTER = timedelta(minutes=20)


def foreseeing() -> World:
    """FleetSync has just enrolled the target, and found a forecast for it."""
    world = with_load(World())
    world.sync()
    assert world.store.learned([world.orders])[world.orders].chosen is Option.FORECAST
    _ = world.writes
    return world


def with_load(world: World) -> World:
    """Let the minutes until now have their load, and what was ordered serve."""
    world.serving.capacities[world.orders] = replace(
        running(capacity(world).desired), created_at=capacity(world).created_at
    )
    newest = world.now - timedelta(minutes=2)
    minutes = (newest - timedelta(minutes=n) for n in reversed(range(4 * 24 * 60)))
    world.metrics.series["Invocations"] = Observation(
        tuple(Point(at, 5500.0 if 9 <= at.hour < 17 else 500.0) for at in minutes)
    )
    return world


def tick(world: World) -> Status:
    return with_load(world).tick(tunes=True)["orders"].status


def tracked(world: World) -> float:
    return world.autoscaling.native[world.orders][POLICY].target


def due(world: World) -> tuple[datetime, float] | None:
    """When the schedule is due, and the target it puts."""
    found = world.schedules.due.get(world.orders)
    return found and (found[0], found[1].target)


def fire(world: World) -> None:
    """EventBridge Scheduler does what it was told."""
    at, policy = world.schedules.due.pop(world.orders)
    assert at <= world.now
    world.autoscaling.put_policy(world.orders, policy)
    _ = world.writes


def of_target(world: World) -> list[str]:
    return sorted(name for name in world.writes if name in {"put_schedule", "delete_schedule", "put_policy"})


def raised() -> World:
    world = foreseeing()
    tick(world)
    _ = world.writes
    return world


def test_the_owner_raises_the_target_once_its_fallback_is_written() -> None:
    world = foreseeing()
    assert tracked(world) == 500, "FleetSync never raises it"
    tick(world)
    assert of_target(world) == ["put_policy", "put_schedule"]
    assert (tracked(world), due(world)) == (900, (world.now + AFTER, 500))


def test_it_is_renewed_each_ten_minutes_and_nothing_else_is_written() -> None:
    world, begun, seen = raised(), World().now, []
    for _ in range(12):
        world.later(minutes=5)
        tick(world)
        seen += [((world.now - begun) // timedelta(minutes=1), name) for name in of_target(world)]
    assert seen == [(10 * n, "put_schedule") for n in range(1, 7)]
    assert due(world) == (world.now + AFTER, 500)


def test_a_renewal_is_no_news_for_the_history() -> None:
    world, kept = raised(), 0
    for _ in range(20):
        kept = len(world.store.decisions)
        world.later(minutes=1)
        tick(world)
    assert of_target(world) == ["put_schedule"] * 2
    assert len(world.store.decisions) == kept


def test_a_sync_leaves_it_while_its_owner_lives_and_no_longer() -> None:
    """FleetSync may live on where the owner's function fails: the forecast's orders have ended, so must its target."""
    world = raised()
    world.later(minutes=19)
    with_load(world).sync()
    assert tracked(world) == 900
    world.later(minutes=1)
    with_load(world).sync()  # not even if the schedule did not fire
    assert tracked(world) == 500


def test_an_owner_that_comes_back_notices_that_it_fired() -> None:
    world = raised()
    world.later(minutes=20)
    fire(world)
    assert tracked(world) == 500
    world.later(minutes=200)
    tick(world)
    assert of_target(world) == ["put_policy", "put_schedule"]
    assert (tracked(world), due(world)) == (900, (world.now + AFTER, 500))


def test_without_its_fallback_the_target_is_not_raised_and_the_pass_says_so() -> None:
    world = foreseeing()
    world.schedules.fail_on["put_schedule"] = ActuationError("CreateSchedule: AccessDeniedException")
    outcome = with_load(world).tick(tunes=True)["orders"]
    assert (outcome.status, outcome.error) == (Status.FAILED, "CreateSchedule: AccessDeniedException")
    assert (tracked(world), due(world)) == (500, None)
    with_load(world).sync()
    assert tracked(world) == 500
    world.schedules.fail_on.clear()
    tick(world)
    assert (tracked(world), due(world)) == (900, (world.now + AFTER, 500))


def test_a_target_that_could_not_be_raised_is_raised_by_the_next_pass() -> None:
    world = foreseeing()
    world.autoscaling.fail_on["put_policy"] = [ActuationError("PutScalingPolicy: InternalServiceException")]
    assert tick(world) is Status.FAILED
    assert (tracked(world), due(world)) == (500, (world.now + AFTER, 500))
    tick(world)
    assert tracked(world) == 900


def test_a_renewal_that_fails_is_tried_again_and_at_last_the_target_falls() -> None:
    world = raised()
    world.schedules.fail_on["put_schedule"] = ActuationError("UpdateSchedule: InternalServerException")
    world.later(minutes=31)
    assert tick(world) is Status.FAILED
    world.later(minutes=14)
    fire(world)
    assert tick(world) is Status.FAILED
    assert tracked(world) == 500


@pytest.mark.parametrize(("factor", "values"), [(1.0, (1800, 1000)), (0.5, (900, 500))])
def test_another_capacity_moves_target_and_fallback_at_once(factor: float, values: tuple[float, float]) -> None:
    """An instance serves 2,000 from now on, or was found to and latency allows half of it."""
    world = raised()
    world.document["profiles"]["p"] |= {"objectives": {"requests_per_instance": 2000}}
    memory = replace(world.memory(), target_factor=factor)
    assert world.store.record(world.orders, memory, "test", world.now)
    tick(world)
    back = due(world)
    assert back is not None
    assert (tracked(world), back[1]) == values


@pytest.mark.parametrize("sync_first", [False, True])
def test_with_the_forecast_the_target_goes_and_then_its_fallback(sync_first: bool) -> None:
    world = raised()
    unlearn(world)
    if sync_first:
        with_load(world).sync()
        assert (tracked(world), of_target(world)) == (500, ["put_policy"])
    world.autoscaling.fail_on["put_policy"] = [ActuationError("PutScalingPolicy: InternalServiceException")]
    assert tick(world) is Status.FAILED
    assert of_target(world) == [], "the fallback stays as long as there may be something to take back"
    tick(world)
    assert of_target(world) == ["delete_schedule", "put_policy"]
    assert (tracked(world), due(world)) == (500, None)
    tick(world)
    assert of_target(world) == []


def unlearn(world: World) -> None:
    learned = world.store.learned([world.orders])[world.orders]
    world.store.put_learned(world.orders, replace(learned, chosen=Option.GUARD))


def test_a_fallback_that_could_not_be_deleted_is_tried_again() -> None:
    world = raised()
    unlearn(world)
    world.schedules.fail_on["delete_schedule"] = [ActuationError("DeleteSchedule: InternalServerException")]
    assert tick(world) is Status.FAILED
    assert (tracked(world), due(world)) == (500, (world.now + AFTER, 500))
    tick(world)
    assert due(world) is None


@pytest.mark.parametrize(("passed", "writes"), [(9, []), (10, ["put_schedule"]), (20, [])])
def test_while_the_endpoint_changes_it_is_only_renewed(passed: int, writes: list[str]) -> None:
    world = raised()
    world.later(minutes=passed)
    with_load(world)
    world.serving.capacities[world.orders] = replace(capacity(world), status="Updating", desired=9)
    world.tick(tunes=True)
    assert of_target(world) == writes


def capacity(world: World) -> Capacity:
    found = world.serving.capacities[world.orders]
    assert isinstance(found, Capacity)
    return found


def test_while_the_load_is_unknown_it_is_renewed_and_not_raised() -> None:
    world = raised()
    world.metrics.fail_on["fetch"] = ObservationError("GetMetricData: Rate exceeded")
    world.later(minutes=10)
    tick(world)
    assert due(world) == (world.now + AFTER, 500)
    world.later(minutes=20)
    fire(world)
    tick(world)
    assert (tracked(world), due(world)) == (500, None)
    world.metrics.fail_on.clear()
    tick(world)
    assert tracked(world) == 900


def test_a_pause_lets_it_fall_as_it_lets_bounds() -> None:
    world = raised()
    world.store.put_override(override("pause", minutes_left=300))
    world.later(minutes=15)
    assert tick(world) is Status.PAUSED
    assert due(world) == (world.now + timedelta(minutes=5), 500)


def test_shadow_writes_none() -> None:
    world = foreseeing()
    world.mode = Mode.SHADOW
    assert tick(world) is Status.SHADOW
    assert (tracked(world), due(world)) == (500, None)


def test_a_release_ends_it_first_and_fails_if_it_cannot() -> None:
    """Else a policy of ours would come back to an endpoint that was given back."""
    world = raised()
    world.document = {**world.document, "endpoints": []}
    world.schedules.fail_on["delete_schedule"] = [ActuationError("DeleteSchedule: InternalServerException")]
    assert world.sync()["orders"].status is Status.FAILED
    assert tracked(world) == 900
    assert world.sync()["orders"].status is Status.RELEASED
    assert (world.autoscaling.native, due(world)) == ({}, None)


def test_a_lost_table_leaves_the_target_to_the_sync_and_the_schedule_to_itself() -> None:
    world = raised()
    world.store.forget(world.orders)
    with_load(world).sync()
    assert tracked(world) == 500
    assert due(world) == (world.now + AFTER, 500)
    tick(world)  # what was learned again raises it again
    assert (tracked(world), due(world)) == (900, (world.now + AFTER, 500))


@pytest.mark.parametrize(
    ("factor", "before", "forecast", "allowed"),
    [
        pytest.param(0.5, None, True, 0.5, id="450 stand, raised from 250: not 0.9 of 500"),
        pytest.param(0.8, None, True, 0.8, id="720 stand, raised from 400: not all of 500"),
        pytest.param(1.0, 350, True, 1.0, id="900 stand, raised from 500, though they fall back to 350"),
        pytest.param(1.0, 350, False, 0.7, id="500 stand and fall back to 350: perhaps raised from 278, so 350 of 500"),
        pytest.param(0.8, None, False, 0.8, id="400 stand, with no schedule"),
    ],
)
def test_a_lost_table_forgets_that_a_target_was_raised_and_not_what_latency_allows(
    factor: float, before: float | None, forecast: bool, allowed: float
) -> None:
    world = adopting(*([by_hand(REQUESTS, before)] if before else []), forecast="balanced" if forecast else "off")
    tick(world)
    assert world.store.record(world.orders, replace(world.memory(), target_factor=factor), "test", world.now)
    with_load(world).sync()
    world.later(minutes=1)
    tick(world)
    world.store = type(world.store)()
    tick(world)
    assert world.memory().target_factor == pytest.approx(allowed, abs=1e-4)


def by_hand(metric: str, target: float, **settings: int | bool) -> NativePolicy:
    spec = {"PredefinedMetricSpecification": {"PredefinedMetricType": metric}}
    return NativePolicy(f"by-hand-{metric}", "TargetTrackingScaling", {"TargetValue": target, **spec, **settings})


def adopting(*policies: NativePolicy, forecast: str = "balanced", provisioning: str | None = None) -> World:
    """Somebody scaled `orders` before Tidegate came; FleetSync has just taken it over."""
    world = with_load(World())
    world.document["endpoints"][0]["adopt"] = True
    world.document["profiles"]["p"] |= {
        "forecast": forecast,
        **({"provisioning": provisioning} if provisioning else {}),
    }
    world.autoscaling.bounds[world.orders] = Envelope(1, 12)
    world.autoscaling.native[world.orders] = {each.name: each for each in policies}
    world.sync()
    _ = world.writes
    return world


def drifted(world: World) -> list[str]:
    """What a dry run of FleetSync would put, which is how `tidegate drift` finds what somebody changed."""
    actions = world.sync(dry_run=True)["orders"].actions
    return [action.policy.name for action in actions if isinstance(action, PutPolicy)]


STEPS = NativePolicy("by-hand-steps", "StepScaling", {"AdjustmentType": "ChangeInCapacity"})
CPU = NativePolicy("by-hand-cpu", "TargetTrackingScaling", {"TargetValue": 60.0, "CustomizedMetricSpecification": {}})
IN_FLIGHT = by_hand("SageMakerVariantConcurrentRequestsPerModelHighResolution", 5)


@pytest.mark.parametrize(
    ("policies", "back"),
    [
        ([by_hand(REQUESTS, 350)], 350),
        ([by_hand(REQUESTS, 350), CPU, STEPS], 350),
        ([by_hand(REQUESTS, 700)], 500),
        ([IN_FLIGHT, CPU, STEPS], 500),  # none of them is so many requests a minute
    ],
)
def test_it_falls_back_to_what_the_user_had_where_that_is_less(policies: list[NativePolicy], back: float) -> None:
    world = adopting(*policies)
    assert tracked(world) == back, "FleetSync never puts more than what may stay"
    outcome = with_load(world).tick(tunes=True)["orders"]
    assert (tracked(world), due(world)) == (900, (world.now + AFTER, back))
    [said] = [str(action) for action in outcome.actions if "target fall back" in str(action)]
    whose = "before adoption" if back < 500 else "the profile's own"
    assert said == f"let the target fall back to {back:g} ({whose}) at {world.now + AFTER:%Y-%m-%dT%H:%MZ}"
    world.later(minutes=19)
    with_load(world).sync()
    assert tracked(world) == 900
    assert not drifted(world)
    world.later(minutes=1)
    with_load(world).sync()
    assert tracked(world) == back
    assert not drifted(world)


@pytest.mark.parametrize(
    ("settings", "provisioning", "kept"),
    [
        ({}, None, (300, 300, False)),  # AAS's own where nothing is stated (facts 2.3), as ours
        ({"ScaleOutCooldown": 180, "ScaleInCooldown": 900, "DisableScaleIn": True}, None, (180, 900, True)),
        ({"ScaleInCooldown": 120}, "10m", (300, 600, False)),  # what was removed must be able to come back
    ],
)
def test_it_falls_back_to_how_fast_the_user_had_it_too(
    settings: Mapping[str, int | bool], provisioning: str | None, kept: tuple[int, int, bool]
) -> None:
    world = adopting(by_hand(REQUESTS, 350, **settings), provisioning=provisioning)
    with_load(world).tick(tunes=True)
    _, back = world.schedules.due[world.orders]
    raised = world.autoscaling.native[world.orders][POLICY]
    names = ("ScaleOutCooldown", "ScaleInCooldown", "DisableScaleIn")
    assert tuple(back.configuration[name] for name in names) == kept
    assert tuple(raised.configuration[name] for name in names) == (300, max(300, 600 if provisioning else 0), False)


def test_without_a_forecast_too_what_is_more_than_the_user_had_expires() -> None:
    world = adopting(by_hand(REQUESTS, 350), forecast="off")
    assert (tracked(world), due(world)) == (350, None)
    tick(world)
    assert (tracked(world), due(world)) == (500, (world.now + AFTER, 350))
    world.later(minutes=10)
    with_load(world).sync()
    tick(world)
    assert (tracked(world), due(world)) == (500, (world.now + AFTER, 350))
    world.later(minutes=20)
    fire(world)
    with_load(world).sync()
    assert tracked(world) == 350
    world.metrics.fail_on["fetch"] = ObservationError("GetMetricData: Rate exceeded")
    tick(world)
    assert tracked(world) == 350, "while the load is unknown nothing is raised"


def test_what_latency_allows_may_be_less_than_what_the_user_had() -> None:
    """Half of 1,000 requests, of which latency allows 0.6: 300 are less than 350, and need no schedule."""
    world = adopting(by_hand(REQUESTS, 350), forecast="off")
    tick(world)
    assert world.store.record(world.orders, replace(world.memory(), target_factor=0.6), "test", world.now)
    tick(world)
    assert (tracked(world), due(world)) == (300, None)


def test_policies_that_the_profile_declares_stay_as_they_are() -> None:
    declared = {"type": "target_tracking", "metric": "requests_per_instance", "target": 600}
    world = adopting(by_hand(REQUESTS, 350), forecast="off")
    world.document["profiles"]["p"] |= {"policies": [declared]}
    with_load(world).sync()
    tick(world)
    assert (tracked(world), due(world)) == (600, None)


def test_a_target_enrolled_by_an_older_release_learns_it_within_the_hour() -> None:
    """And one whose record is lost has nothing but the profile."""
    world = adopting(by_hand(REQUESTS, 350))
    tick(world)
    older = replace(world.memory(), before_adoption=None)
    assert world.store.record(world.orders, older, "test", world.now)
    world.later(minutes=10)
    tick(world)
    assert due(world) == (world.now + AFTER, 500)
    with_load(world).sync()
    world.later(minutes=10)
    tick(world)
    assert due(world) == (world.now + AFTER, 350)
    world.store.forget(world.orders)
    with_load(world).sync()
    world.later(minutes=1)
    tick(world)
    assert (tracked(world), due(world)) == (900, (world.now + AFTER, 500))


@pytest.mark.parametrize(("before", "told"), [(350, "350 (before adoption)"), (700, "500 (the profile's own)")])
def test_explain_says_what_a_raised_target_falls_back_to(before: float, told: str) -> None:
    world = adopting(by_hand(REQUESTS, before))
    tick(world)
    at = f"{world.now + AFTER:%Y-%m-%dT%H:%MZ}"
    world.later(minutes=1)
    decision = with_load(world).tick(tunes=True)["orders"].decision
    assert decision is not None
    recorded = Recorded("orders", "unchanged", DECISIONS.dump_python(decision, mode="json"))
    line = f"Target tracking is raised to 900 requests and falls back to {told} at {at} unless renewed."
    assert line in heading_of(recorded)
