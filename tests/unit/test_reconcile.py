"""One pass: observe, decide, plan, apply. What may go wrong stays with the target it happened to."""

from dataclasses import replace
from datetime import timedelta

import pytest

from core.errors import ActuationError, ObservationError, TargetBusyError, ThrottledError
from core.model import Capacity, Envelope, Memory, Missing, Mode, Observation, Point, Reason, Refusal, Starts
from core.native import full
from core.reconcile import Status
from simulator.in_memory import InMemoryStore
from tests.builders import NOW, REALTIME, override, refusal
from tests.fakes.aws import observed
from tests.world import World


def loaded(world: World, requests: float) -> World:
    world.metrics.series["Invocations"] = observed(world.now, *[requests] * 15)
    return world


def test_a_tick_writes_the_difference_once() -> None:
    world = loaded(World().enrolled(), 7000)
    assert world.tick()["orders"].status is Status.CHANGED
    assert world.autoscaling.bounds[world.orders] == Envelope(7, 12)
    assert world.writes == ["register", "put_scheduled_action"]
    world.serving.capacities[world.orders] = Capacity(7, 7, "InService")
    assert world.tick()["orders"].status is Status.UNCHANGED
    assert world.writes == []


def test_the_expiry_restores_both_bounds_of_the_policy_and_repeats() -> None:
    world = loaded(World().enrolled(), 7000)
    world.tick()
    expiry = world.autoscaling.actions[world.orders]["tidegate-prod-expiry"].settings
    assert expiry == {
        "Schedule": "rate(15 minutes)",
        "StartTime": world.now + timedelta(minutes=60),
        "ScalableTargetAction": {"MinCapacity": 2, "MaxCapacity": 12},
    }


def test_of_two_passes_that_saw_the_same_only_one_writes() -> None:
    world = loaded(World().enrolled(), 7000)
    reconciler = world.reconciler
    enrolments = reconciler.enrolments(reconciler.ports.policies.fleet())
    first, second = (reconciler.observe(enrolments, world.now) for _ in range(2))
    contexts = [seen for seen in (*first, *second) if not hasattr(seen, "status")]
    outcomes = [reconciler._settle(ctx, world.when(f"pass-{i}")) for i, ctx in enumerate(contexts)]  # noqa: SLF001 - the race lies between observe and apply
    assert [outcome.status for outcome in outcomes] == [Status.CHANGED, Status.BUSY]
    assert world.writes == ["register", "put_scheduled_action"]


def test_whoever_does_not_get_the_lease_leaves_the_target_to_the_next_tick() -> None:
    world = loaded(World().enrolled(), 7000)
    assert world.store.claim(
        world.orders, world.memory().version, "other", world.now, world.now + timedelta(seconds=50)
    )
    assert world.tick()["orders"].status is Status.BUSY
    assert world.writes == []
    world.later(seconds=60)
    loaded(world, 7000)
    assert world.tick()["orders"].status is Status.CHANGED


def test_nothing_is_written_after_the_deadline() -> None:
    world = loaded(World().enrolled(), 7000)
    world.clock_runs = timedelta(seconds=48)
    outcome = world.tick()["orders"]
    assert (outcome.status, world.writes) == (Status.FAILED, [])
    assert "the next tick goes on" in str(outcome.error)


def test_a_failed_write_leaves_the_lease_free_and_the_truth_remembered() -> None:
    world = loaded(World().enrolled(), 7000)
    world.autoscaling.fail_on["put_scheduled_action"] = [ThrottledError("slow down")]
    assert world.tick()["orders"].status is Status.FAILED
    assert world.memory().written == Envelope(7, 12)
    assert world.memory().expires_at is None
    assert world.tick()["orders"].status is Status.CHANGED  # only the expiry was missing
    assert world.memory().expires_at is not None


def test_a_target_that_cannot_be_read_does_not_hold_up_the_others() -> None:
    world = World()
    world.document["endpoints"].append({"name": "other", "profile": "p"})
    world.serving.add("other", count=4)
    loaded(world.enrolled(), 7000)
    world.serving.fail_on["capacity"] = [ObservationError("DescribeEndpoint: access denied")]
    outcomes = world.tick()
    assert {name: outcome.status for name, outcome in outcomes.items()} == {
        "orders": Status.FAILED,
        "other": Status.CHANGED,
    }


def test_a_mistake_of_ours_on_one_target_is_told_and_does_not_hold_up_the_others() -> None:
    world = World()
    world.document["endpoints"].append({"name": "other", "profile": "p"})
    world.serving.add("other", count=4)
    loaded(world.enrolled(), 7000)
    world.autoscaling.fail_on["register"] = [KeyError(17)]
    outcomes = world.tick()
    assert {name: outcome.status for name, outcome in outcomes.items()} == {
        "orders": Status.FAILED,
        "other": Status.CHANGED,
    }
    assert (outcomes["orders"].error or "").startswith("KeyError: 17 (")


def test_metrics_that_cannot_be_read_are_unknown_and_lower_nothing() -> None:
    world = loaded(World().enrolled(), 7000)
    world.tick()
    world.later(minutes=10)
    world.metrics.fail_on["fetch"] = ObservationError("GetMetricData: throttled")
    world.tick()
    assert world.autoscaling.bounds[world.orders] == Envelope(7, 12)


def test_a_held_floor_is_held_for_an_hour_not_for_ever() -> None:
    world = loaded(World().enrolled(), 7000)
    world.tick()
    world.metrics.fail_on["fetch"] = ObservationError("GetMetricData: throttled")
    held = []
    for _ in range(7):
        world.later(minutes=10)
        world.tick()
        held.append(world.autoscaling.bounds[world.orders].floor)
    assert held == [7, 7, 7, 7, 7, 7, 2]  # 60 minutes after the last measurement, then the policy's minimum


def test_alarm_states_that_cannot_be_read_only_forbid_the_direct_scale_in() -> None:
    world = loaded(World().enrolled(), 1200)
    world.metrics.fail_on["alarm_states"] = [ObservationError("DescribeAlarms: throttled")]
    outcome = world.tick()["orders"]
    assert outcome.status is Status.UNCHANGED
    assert outcome.decision is not None
    [said] = [step.seen for step in outcome.decision.steps if step.reason is Reason.SCALE_IN_BLOCKED]
    assert said == {"direct": "whether an alarm orders more is not known"}
    outcome = world.tick()["orders"]
    assert outcome.status is Status.CHANGED
    assert outcome.decision is not None
    assert not [step for step in outcome.decision.steps if step.reason is Reason.SCALE_IN_BLOCKED]
    assert world.writes == ["set_count"]


def test_what_an_alarm_raised_is_held_while_alarm_states_cannot_be_read() -> None:
    world = loaded(World().enrolled(), 1200)
    objectives = {**REALTIME["objectives"], "latency_p95": "800ms"}
    world.document["profiles"]["p"] = {**REALTIME, "objectives": objectives, "scale_in": "native"}
    world.sync()
    world.metrics.states |= {name: "ALARM" for name in world.metrics.alarm_shapes if name.endswith("-latency")}
    world.tick()
    raised = world.autoscaling.bounds[world.orders].floor
    assert raised > 2  # what the load alone needs
    world.metrics.fail_on["alarm_states"] = ObservationError("DescribeAlarms: denied")
    world.later(minutes=5)
    outcome = world.tick()["orders"]
    assert world.autoscaling.bounds[world.orders].floor == raised
    assert outcome.decision is not None
    assert outcome.decision.reason is Reason.METRICS_UNKNOWN
    assert outcome.decision.deciding_step.seen == {"alarms": "DescribeAlarms: denied"}


def test_an_expiry_that_failed_beside_its_raise_is_made_up_for_while_the_endpoint_updates() -> None:
    world = loaded(World(count=4).enrolled(), 7000)
    world.autoscaling.fail_on["put_scheduled_action"] = [ActuationError("PutScheduledAction: boom")]
    assert world.tick()["orders"].status is Status.FAILED
    assert world.autoscaling.bounds[world.orders].floor > 2
    world.serving.capacities[world.orders] = Capacity(4, 12, "Updating")
    _ = world.writes
    world.later(minutes=1)
    assert world.tick()["orders"].status is Status.CHANGED
    assert world.writes == ["put_scheduled_action"]
    world.later(minutes=1)
    assert world.tick()["orders"].status is Status.WAITING


def test_a_direct_scale_in_met_by_a_change_in_flight_is_the_next_ticks_business() -> None:
    world = loaded(World().enrolled(), 1200)
    world.serving.fail_on["set_count"] = [TargetBusyError("cannot update in-progress endpoint")]
    assert world.tick()["orders"].status is Status.BUSY
    assert world.tick()["orders"].status is Status.CHANGED


@pytest.mark.parametrize("where", ["stack", "profile"])
def test_shadow_decides_and_records_and_writes_nothing(where: str) -> None:
    world = loaded(World().enrolled(), 7000)
    if where == "stack":
        world.mode = Mode.SHADOW
    else:
        world.document["profiles"]["p"]["mode"] = "shadow"
    outcome = world.tick()["orders"]
    assert (outcome.status, world.writes) == (Status.SHADOW, [])
    assert "set bounds to 7..12 (differs)" in map(str, outcome.actions)
    assert world.store.decisions[-1][1] == "shadow"


def test_a_dry_run_shows_the_same_plan_and_leaves_no_trace() -> None:
    world = loaded(World().enrolled(), 7000)
    before, kept = world.memory(), len(world.store.decisions)
    planned = world.tick(dry_run=True)["orders"]
    assert (planned.status, world.writes, world.memory(), len(world.store.decisions)) == (
        Status.DRY_RUN,
        [],
        before,
        kept,
    )
    assert world.tick()["orders"].actions == planned.actions


def test_a_dry_run_assumes_the_override_it_is_asked_about() -> None:
    world = loaded(World().enrolled(), 3000)
    wish = replace(override("pin", 9), expires_at=world.now + timedelta(hours=1))
    outcome = world.reconciler.run(lambda _: True, world.when(dry_run=True), extra=[wish])[0]
    assert "set bounds to 9..9 (differs)" in map(str, outcome.actions)


def test_decisions_are_kept_when_something_changes_not_every_minute() -> None:
    world = loaded(World().enrolled(), 2000)
    world.serving.capacities[world.orders] = Capacity(4, 4, "InService")
    world.document["profiles"]["p"]["scale_in"] = "native"
    kept = len(world.store.decisions)
    for _ in range(3):
        world.later(minutes=1)
        loaded(world, 2000)
        world.tick()
    assert len(world.store.decisions) == kept
    loaded(world, 7000)
    world.tick()
    assert len(world.store.decisions) == kept + 1


def test_an_unchanged_demand_is_written_down_every_five_minutes_only() -> None:
    world = loaded(World().enrolled(), 2000)
    world.document["profiles"]["p"]["scale_in"] = "native"
    versions = []
    for _ in range(11):
        world.later(minutes=1)
        loaded(world, 2000)
        world.tick()
        versions.append(world.memory().version)
    assert len(set(versions)) == 3  # at minutes 1, 6 and 11


def test_before_fleet_sync_nobody_writes() -> None:
    world = loaded(World(), 7000)
    assert world.tick()["orders"].status is Status.NOT_ENROLLED
    world.autoscaling.bounds[world.orders] = Envelope(1, 4)  # registered by somebody else
    assert world.tick()["orders"].status is Status.NOT_ENROLLED
    assert world.writes == []


def test_a_lost_table_is_not_a_lost_enrolment() -> None:
    world = loaded(World().enrolled(), 7000)
    world.tick()
    world.store = type(world.store)()
    _ = world.writes
    loaded(world, 0)
    assert world.tick()["orders"].status is not Status.NOT_ENROLLED  # our own policies stand on it
    assert world.autoscaling.bounds[world.orders] == Envelope(7, 12)  # and nothing is lowered


def test_while_the_endpoint_updates_the_wish_is_kept() -> None:
    world = loaded(World().enrolled(), 7000)
    world.serving.capacities[world.orders] = Capacity(4, 4, "Updating")
    outcome = world.tick()["orders"]
    assert (outcome.status, world.writes) == (Status.WAITING, [])
    assert outcome.decision is not None
    assert outcome.decision.envelope == Envelope(12, 12)  # 7000 rest at 14, above the maximum
    world.serving.capacities[world.orders] = Capacity(4, 4, "InService")
    assert world.tick()["orders"].status is Status.CHANGED


def test_a_vanished_endpoint_waits_for_fleet_sync() -> None:
    world = loaded(World().enrolled(), 7000)
    world.serving.capacities.clear()
    outcome = world.tick()["orders"]
    assert (outcome.status, world.writes) == (Status.WAITING, [])
    assert outcome.decision is not None
    assert isinstance(outcome.decision.context.capacity, Missing)


def test_a_pass_over_nothing_asks_nothing() -> None:
    world = World()
    world.document["endpoints"] = []
    assert world.tick() == {}
    assert world.autoscaling.reads == []


def test_a_target_whose_profile_is_gone_is_not_guessed_at() -> None:
    world = World().enrolled()
    world.document = {**world.document, "profiles": {}, "endpoints": []}
    assert world.tick() == {}


def test_memory_of_a_target_nobody_knows_is_empty() -> None:
    assert World().memory() == Memory()


# --- what AAS is refused ----------------------------------------------------------------------------------------------

QUOTA = refusal().text


def refused_at_once(world: World) -> None:
    """AAS takes the floor, SageMaker refuses the instances: the count stays."""
    world.autoscaling.refusals[world.orders] = Refusal(world.now, "ResourceLimitExceeded", QUOTA)


def four_at_their_need() -> World:
    """Four instances whose tracking rests at what they can serve, so that an order is exactly the need."""
    world = World(count=4)
    tracking = {"type": "target_tracking", "metric": "requests_per_instance", "target": 1000}
    world.document["profiles"]["p"]["policies"] = [tracking]
    return world.enrolled()


def test_a_floor_beyond_the_quota_is_tried_again_ever_more_rarely_and_never_lowered() -> None:
    world = loaded(four_at_their_need(), 8000)
    start, tried = world.now, []
    for minute in range(100):
        world.now = start + timedelta(minutes=minute)
        outcome = loaded(world, 8000).tick()["orders"]
        if "register" in world.writes:
            tried.append(minute)
            refused_at_once(world)
        elif minute:
            assert outcome.decision is not None
            assert outcome.decision.steps[-1].reason is Reason.CAPACITY_REFUSED
        assert world.autoscaling.bounds[world.orders] == Envelope(8, 12)
    assert tried == [0, 2, 6, 14, 30, 60, 90]  # 2, 4, 8, 16, 30, 30 minutes apart


@pytest.mark.parametrize(
    ("what", "count", "requests", "writes"),
    [
        ("the same wish waits", 4, 8000, False),
        ("a count that moved starts again with two minutes", 5, 8000, True),
        ("another wish is written at once", 4, 9000, True),
    ],
)
def test_the_patience_ends_with_its_cause(what: str, count: int, requests: float, *, writes: bool) -> None:
    world = loaded(four_at_their_need(), 8000)
    for minute in (0, 2, 4, 2):  # written, and tried again after 2 and 6 minutes; 8 more would be the next
        world.later(minutes=minute)
        loaded(world, 8000).tick()
        refused_at_once(world)
    _ = world.writes
    world.later(minutes=2)
    world.serving.capacities[world.orders] = replace(
        world.serving.capacities[world.orders], current=count, desired=count
    )
    loaded(world, requests).tick()
    assert ("register" in world.writes) == writes, what


def test_once_the_floor_is_reached_a_deployment_that_resets_the_count_is_repaired_at_once() -> None:
    world = loaded(four_at_their_need(), 8000)
    for minute in (0, 2, 4):
        world.later(minutes=minute)
        loaded(world, 8000).tick()
        refused_at_once(world)
    for count in (8, 4):  # the quota was raised; then somebody deploys a configuration with four
        world.later(minutes=2)
        world.serving.capacities[world.orders] = replace(
            world.serving.capacities[world.orders], current=count, desired=count
        )
        _ = world.writes
        loaded(world, 8000).tick()
    assert world.writes == ["register"]


@pytest.mark.parametrize(
    ("what", "capacity", "written_ago", "failed_ago", "asked", "named"),
    [
        ("the floor is reached", Capacity(8, 8, "InService"), 5, 4, False, False),
        ("nothing is under way", Capacity(4, 4, "InService"), 5, 4, True, True),
        ("instances may still be starting", Capacity(4, 8, "Updating"), 9, 4, False, False),
        ("that takes too long: it is a repetition", Capacity(4, 8, "Updating"), 10, 4, True, True),
        ("a failure before our write is another story", Capacity(4, 4, "InService"), 5, 7, True, False),
        ("clocks may be a minute apart", Capacity(4, 4, "InService"), 5, 6, True, True),
    ],
)
def test_activities_are_read_only_where_the_floor_is_not_reached(  # noqa: PLR0913 - the columns of the table
    what: str, capacity: Capacity, written_ago: int, failed_ago: int, *, asked: bool, named: bool
) -> None:
    world = loaded(four_at_their_need(), 8000)
    world.tick()
    failed_at = world.now + timedelta(minutes=written_ago - failed_ago)
    world.autoscaling.refusals[world.orders] = Refusal(failed_at, "ResourceLimitExceeded", QUOTA)
    world.serving.capacities[world.orders] = capacity
    world.later(minutes=written_ago)
    world.autoscaling.reads.clear()
    decision = loaded(world, 8000).tick()["orders"].decision
    assert decision is not None
    assert ("refusal" in world.autoscaling.reads) == asked, what
    assert (decision.steps[-1].reason is Reason.CAPACITY_REFUSED) == named, what


def test_activities_that_cannot_be_read_stop_nothing() -> None:
    world = loaded(four_at_their_need(), 8000)
    world.tick()
    world.autoscaling.fail_on["refusal"] = ObservationError("DescribeScalingActivities: Rate exceeded")
    world.later(minutes=2)
    assert loaded(world, 8000).tick()["orders"].status is Status.CHANGED


# --- deployments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status",
    [
        "Creating",
        "Updating",
        "SystemUpdating",
        "RollingBack",
        "Deleting",
        "OutOfService",
        "Failed",
        "UpdateRollbackFailed",
    ],
)
def test_nothing_is_written_while_the_endpoint_is_not_in_service(status: str) -> None:
    world = loaded(World().enrolled(), 7000)
    world.serving.capacities[world.orders] = Capacity(4, 4, status)
    outcomes = [world.tick()["orders"], world.sync()["orders"]]
    assert [outcome.status for outcome in outcomes] == [Status.WAITING] * 2
    assert world.writes == []
    said = f"endpoint orders is {status}: nothing is written until a deployment brings it InService"
    broken = status in {"OutOfService", "Failed", "UpdateRollbackFailed"}
    assert [outcome.error for outcome in outcomes] == [said if broken else None] * 2


def test_a_paused_endpoint_that_was_deregistered_for_a_deployment_is_not_registered_again() -> None:
    world = World().enrolled()
    pause = replace(override("pause"), subject=world.orders.resource_id, expires_at=world.now + timedelta(hours=2))
    world.store.put_override(pause)
    world.autoscaling.deregister(world.orders)
    _ = world.writes
    world.sync()
    world.tick()
    assert world.writes == []
    world.later(hours=2)
    world.sync()
    assert world.writes[0] == "register"


def old_endpoint() -> World:
    """`orders` as it was made a month ago."""
    world = World()
    made = world.now - timedelta(days=30)
    world.serving.capacities[world.orders] = replace(world.serving.capacities[world.orders], created_at=made)
    return world.enrolled()


def recreated(world: World) -> None:
    """Deleted, which deregisters it, and made again with two instances under the same name."""
    for held in (world.autoscaling.bounds, world.autoscaling.native, world.autoscaling.actions):
        held.pop(world.orders, None)
    world.serving.capacities[world.orders] = Capacity(2, 2, "InService", world.now, "orders-config-1")


def test_an_endpoint_that_was_recreated_under_its_name_is_enrolled_anew_and_lowers_nothing_for_a_while() -> None:
    world = loaded(old_endpoint(), 7000)
    world.tick()
    before = world.memory()
    world.later(minutes=20)
    recreated(world)
    world.serving.capacities[world.orders] = replace(world.serving.capacities[world.orders], current=9, desired=9)
    assert world.tick()["orders"].status is Status.NOT_ENROLLED
    assert loaded(world, 100).sync("orders")["orders"].status is Status.CHANGED
    assert sorted(world.autoscaling.native[world.orders]) == [
        "tidegate-prod-saturation",
        "tidegate-prod-track-requests_per_instance",
    ]
    after = world.memory()
    assert (before.created_at, after.created_at) == (NOW - timedelta(days=30), world.now)
    assert (after.first_seen_at, after.enrolled) == (world.now, True)
    world.metrics.states = dict.fromkeys((full(name, world.orders) for name in after.scale_out_alarms), "OK")
    _ = world.writes
    for _ in range(9):  # nothing of the nine instances is given back before ten minutes were seen
        world.later(minutes=1)
        loaded(world, 100).tick()
    assert world.writes == []
    world.later(minutes=2)
    loaded(world, 100).tick()
    assert world.writes == ["set_count"]


def test_an_override_outlives_the_endpoint_it_was_made_for() -> None:
    world = loaded(old_endpoint(), 100)
    pin = replace(
        override("pin", 6),
        subject=world.orders.resource_id,
        created_at=world.now,
        expires_at=world.now + timedelta(hours=2),
    )
    world.store.put_override(pin)
    recreated(world)
    world.sync("orders")
    assert world.autoscaling.bounds[world.orders] == Envelope(6, 6)


def test_memory_of_an_endpoint() -> None:
    made = World().now
    old = Memory(version=3, first_seen_at=made, enrolled=True, tries=2, created_at=made, config="a")
    old = replace(old, starts=Starts((timedelta(minutes=6),) * 5))
    same = Capacity(2, 2, "InService", made, "a")
    assert old.of(same, NOW) == old
    assert old.of(Missing("gone"), NOW) == old  # perhaps it comes back
    assert old.of(replace(same, config="b"), NOW) == replace(old, config="b", config_since=NOW, starts=Starts())
    later = made + timedelta(hours=1)
    anew = Memory(version=3, created_at=later, config="a")
    assert old.of(replace(same, created_at=later), NOW) == anew
    before_this_release = replace(old, created_at=None, config=None)
    assert before_this_release.of(same, NOW) == old


def test_work_done_is_counted_from_the_start_of_its_window_and_asked_anew_each_pass() -> None:
    window = {"name": "w", "start": "08:00", "finish_by": "10:00", "items": 240_000}
    world = World()
    world.document["profiles"]["p"]["windows"] = [window]
    world.enrolled()  # it is 09:00
    series = observed(world.now, *[500.0] * 90)  # an hour and a half, of which since 08:00 count
    world.metrics.series["Invocations"] = series
    since = [p.value for p in series.points if p.at >= world.now.replace(hour=8, minute=0)]
    decision = world.tick()["orders"].decision
    assert decision is not None
    [need] = [step.seen for step in decision.steps if step.rule == "windows"]
    assert need["left"] == 240_000 - sum(since)
    world.later(minutes=20)  # twenty ticks are lost, and the state with them
    world.store = InMemoryStore()
    world.metrics.series["Invocations"] = observed(world.now, *[500.0] * 110)
    later = world.tick()["orders"].decision
    assert later is not None
    [need] = [step.seen for step in later.steps if step.rule == "windows"]
    assert need["left"] == 240_000 - sum(since) - 20 * 500


def test_a_window_gives_way_once_its_load_was_seen_and_takes_that_from_the_metrics_each_time() -> None:
    """Load is there from 08:32 to 08:52, so it was seen to begin at 08:31; at 10:00 the state is lost."""
    world = World()
    window = {"name": "w", "start": "08:00", "duration": "3h", "min_capacity": 7, "hand_over": "30m"}
    world.document["profiles"]["p"]["windows"] = [window]
    nine = world.enrolled().now
    held = []
    for minute in (0, 1, 60):
        world.now = nine + timedelta(minutes=minute)
        if minute == 60:
            world.store = InMemoryStore()
            world.sync()
        since = ((nine + timedelta(minutes=at), 5000.0 * (-28 <= at < -8)) for at in range(-90, minute - 2))
        world.metrics.series["Invocations"] = Observation(tuple(Point(at, load) for at, load in since))
        decision = world.tick()["orders"].decision
        assert decision is not None
        held.append(any(step.rule == "windows" for step in decision.steps))
    assert held == [True, False, False]
