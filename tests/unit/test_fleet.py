"""Enrolment, repair and release: what FleetSync does to a fleet."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from typing_extensions import override

from core.errors import ObservationError, ThrottledError
from core.fleet import FleetSync
from core.model import (
    Capacity,
    Envelope,
    Kind,
    Memory,
    Missing,
    Mode,
    Observation,
    Option,
    Point,
    ScalableTarget,
    Serving,
    Starts,
    Tracking,
)
from core.native import ALARM_SUFFIX, alarm_prefix, heard_alarms, native_policies
from core.ports import NativePolicy, ScheduledAction
from core.reconcile import Outcome, Reconciler, Status
from handlers.wiring import counts, summary
from simulator.in_memory import InMemoryStore
from tests.builders import ASYNC, BATCH, COMPONENT, REALTIME, SERVERLESS, enrolment
from tests.builders import override as override_of
from tests.fakes.aws import observed
from tests.world import World

TRACK = "tidegate-prod-track-requests_per_instance"
EXPIRY = "tidegate-prod-expiry"
BY_HAND = NativePolicy("by-hand", "TargetTrackingScaling", {"TargetValue": 70.0})
NIGHTLY = ScheduledAction("nightly", {"Schedule": "cron(0 2 * * ? *)", "ScalableTargetAction": {"MinCapacity": 4}})


def hand_made(world: World, target: ScalableTarget | None = None) -> World:
    """Somebody registered the target and gave it a policy and a scheduled action."""
    target = target or world.orders
    world.autoscaling.bounds[target] = Envelope(1, 5)
    world.autoscaling.native[target] = {"by-hand": BY_HAND}
    world.autoscaling.actions[target] = {"nightly": NIGHTLY}
    return world


def tagged(world: World) -> World:
    """A second endpoint that enrols by its tag."""
    world.serving.add("chat", count=2, profile="p")
    return world


def without_orders(world: World) -> None:
    world.document = {**world.document, "endpoints": []}


def test_enrolment_registers_and_puts_the_native_policies() -> None:
    world = World()
    assert world.sync()["orders"].status is Status.CHANGED
    assert world.autoscaling.bounds[world.orders] == Envelope(2, 12)
    assert sorted(world.autoscaling.native[world.orders]) == [
        "tidegate-prod-saturation",
        "tidegate-prod-track-requests_per_instance",
    ]
    ours = "tidegate-target-prod-realtime-orders-AllTraffic-"
    assert sorted(world.metrics.alarm_shapes) == [f"{ours}errors", f"{ours}saturation"]
    assert world.writes == ["register", "put_policy", "put_policy", "put_alarm", "put_alarm"]


def test_the_step_alarm_calls_the_policy_it_was_made_for() -> None:
    world = World()
    world.sync()
    alarm = world.metrics.alarm_shapes["tidegate-target-prod-realtime-orders-AllTraffic-saturation"]
    assert alarm["AlarmActions"][0].endswith("policyName/tidegate-prod-saturation")


def test_a_second_sync_changes_nothing() -> None:
    world = World()
    world.sync()
    _ = world.writes
    assert world.sync()["orders"].status is Status.UNCHANGED
    assert world.writes == []


def test_the_alarms_that_forbid_a_direct_scale_in_are_remembered() -> None:
    world = World()
    world.sync()
    assert sorted(name.rpartition("-")[2] for name in world.memory().scale_out_alarms) == [
        "requests_per_instance"  # saturation and its like are the guard's, read under names that need no memory
    ]
    (tracking,) = world.memory().tracking
    low = "*Low-tidegate-prod-track-requests_per_instance"  # `*`: TargetTracking-<resource ID>-Alarm
    assert tracking == Tracking(name="track-requests_per_instance", low=low)


def three(scalable_targets: int) -> World:
    world = World()
    for name in ("second", "third"):
        world.serving.add(name, count=1)
        world.document["endpoints"].append({"name": name, "profile": "p"})
    world.document["scalable_targets"] = scalable_targets
    return world


def test_what_the_regions_quota_has_no_room_for_is_refused_with_the_number_and_fails_nothing() -> None:
    world = three(scalable_targets=2)
    found = world.sync()
    assert [each.status for each in found.values()] == [Status.CHANGED, Status.CHANGED, Status.LEFT_ALONE]
    said = found["third"].error or ""
    assert said.startswith("ScalableTargetQuota: not enrolled, for 2 of 2 scalable targets of this Region are in use")
    assert [each.quota for each in found.values()] == [(2, 2)] * 3


def test_others_targets_count_and_enrolled_ones_go_on_above_the_quota() -> None:
    world = three(scalable_targets=3)
    world.sync()
    world.autoscaling.bounds |= {ScalableTarget.variant(f"theirs-{n}", "AllTraffic"): Envelope(1, 2) for n in range(2)}
    found = world.sync()
    assert {each.status for each in found.values()} == {Status.UNCHANGED}
    assert found["orders"].quota == (5, 3)


def test_if_nobody_knows_how_many_there_are_aws_alone_refuses() -> None:
    world = three(scalable_targets=1)
    world.autoscaling.fail_on["count"] = ObservationError("DescribeScalableTargets: throttled")
    found = world.sync()
    assert {(each.status, each.quota) for each in found.values()} == {(Status.CHANGED, None)}


def test_a_deleted_policy_and_a_deleted_alarm_come_back() -> None:
    world = World().enrolled()
    del world.autoscaling.native[world.orders]["tidegate-prod-track-requests_per_instance"]
    world.metrics.alarm_shapes.clear()
    world.sync()
    assert sorted(world.writes) == ["put_alarm", "put_alarm", "put_policy", "put_policy"]


@pytest.mark.parametrize("side", ["High", "Low"])
def test_a_tracking_policy_that_lost_an_alarm_is_put_again(side: str) -> None:
    """AAS goes on naming the alarm; that it is not there shows where the pass asks for the states of those noted."""
    world = World().enrolled()
    world.metrics.states.pop(f"TargetTracking-{world.orders.resource_id}-Alarm{side}-{TRACK}")
    assert [str(action) for action in world.sync()["orders"].actions] == [f"put policy {TRACK}"]
    assert world.writes == ["put_policy"]
    assert world.sync()["orders"].status is Status.UNCHANGED


def test_where_all_alarms_are_there_none_is_looked_up_twice_and_where_none_can_be_read_none_is_lost() -> None:
    world = World().enrolled()
    world.metrics.reads.clear()
    world.sync()
    assert world.metrics.reads.count("alarm_states") == 1
    world.metrics.fail_on["alarm_states"] = ObservationError("DescribeAlarms: slow down")
    world.sync()
    assert world.writes == []


@pytest.mark.parametrize("status", ["InService", "Updating"])
@pytest.mark.parametrize("change", ["deleted", "changed", "ended"])
def test_an_expiry_that_somebody_changed_is_put_again_by_the_next_sync(change: str, status: str) -> None:
    world = World().enrolled()
    world.metrics.series["Invocations"] = observed(world.now, *[7000] * 15)
    world.tick()
    actions = world.autoscaling.actions[world.orders]
    before = actions["tidegate-prod-expiry"]
    _ = world.writes
    changes: dict[str, dict[str, Any]] = {
        "changed": {"ScalableTargetAction": {"MaxCapacity": 99}},
        "ended": {"EndTime": world.now},
    }
    if change == "deleted":
        actions.clear()
    else:
        actions[before.name] = replace(before, settings={**before.settings, **changes[change]})
    world.serving.capacities[world.orders] = Capacity(8, 8, status)
    world.sync()
    assert (actions, world.writes) == ({before.name: before}, ["put_scheduled_action"])
    world.sync()
    assert world.writes == []


def test_what_somebody_suspended_is_told_in_each_pass_and_left_as_it_is() -> None:
    world = World().enrolled()
    world.autoscaling.suspended[world.orders] = ("DynamicScalingOut", "ScheduledScaling")
    world.metrics.series["Invocations"] = observed(world.now, *[9000] * 15)
    for outcome in (world.tick()["orders"], world.sync()["orders"]):
        assert summary(outcome)["scaling_suspended"] == {"suspended": "DynamicScalingOut, ScheduledScaling"}
        assert counts((outcome,))["ScalingSuspended"] == 1
    assert world.autoscaling.bounds[world.orders].floor > 2  # bounds are not suspended
    assert world.autoscaling.suspended[world.orders]


def test_others_policies_are_left_alone_until_the_file_says_adopt() -> None:
    world = hand_made(World())
    outcome = world.sync()["orders"]
    assert (outcome.status, world.writes) == (Status.LEFT_ALONE, [])
    assert "others made by-hand, nightly; `adopt: true`" in str(outcome.error)
    assert world.tick()["orders"].status is Status.NOT_ENROLLED


def test_adoption_saves_before_it_replaces_and_release_gives_back() -> None:
    world = hand_made(World())
    world.document["endpoints"][0]["adopt"] = True
    world.sync()
    assert "by-hand" not in world.autoscaling.native[world.orders]
    assert world.store.original(world.orders) is not None
    without_orders(world)
    assert world.sync()["orders"].status is Status.RELEASED
    assert world.autoscaling.bounds[world.orders] == Envelope(1, 5)
    assert {name: p.configuration for name, p in world.autoscaling.native[world.orders].items()} == {
        "by-hand": {"TargetValue": 70.0}
    }
    assert world.autoscaling.actions[world.orders] == {"nightly": NIGHTLY}
    assert world.metrics.alarm_shapes == {}
    assert world.memory().version == 0


def test_a_target_that_was_not_registered_is_deregistered_on_release() -> None:
    world = World().enrolled()
    without_orders(world)
    world.sync()
    assert world.orders not in world.autoscaling.bounds


def test_a_policy_that_appears_later_bars_the_target_again() -> None:
    world = World().enrolled()
    world.autoscaling.native[world.orders]["by-hand"] = BY_HAND
    assert world.sync()["orders"].status is Status.LEFT_ALONE
    assert world.tick()["orders"].status is Status.NOT_ENROLLED


def test_what_others_made_after_enrolment_outlives_the_release_of_a_registration_of_ours() -> None:
    world = World().enrolled()
    world.autoscaling.native[world.orders]["by-hand"] = BY_HAND
    assert world.sync()["orders"].status is Status.LEFT_ALONE
    without_orders(world)
    world.later(hours=1)
    assert world.sync()["orders"].status is Status.RELEASED
    assert world.autoscaling.bounds[world.orders] == Envelope(2, 12)
    assert world.autoscaling.native[world.orders] == {"by-hand": BY_HAND}, "deregistering takes all that hangs on it"


@pytest.mark.parametrize("before", [None, Envelope(1, 5)])
def test_what_others_made_after_enrolment_is_saved_before_it_is_replaced(before: Envelope | None) -> None:
    world = World()
    if before:
        world.autoscaling.bounds[world.orders] = before
    world.enrolled()
    world.autoscaling.native[world.orders]["by-hand"] = BY_HAND
    world.autoscaling.actions[world.orders] = {"nightly": NIGHTLY}
    assert world.sync()["orders"].status is Status.LEFT_ALONE
    world.document["endpoints"][0]["adopt"] = True
    world.later(hours=1)
    assert world.sync()["orders"].status is Status.CHANGED
    assert "by-hand" not in world.autoscaling.native[world.orders]
    without_orders(world)
    world.later(hours=1)
    assert world.sync()["orders"].status is Status.RELEASED
    assert world.autoscaling.bounds[world.orders] == (before or Envelope(2, 12))
    assert [*world.autoscaling.native[world.orders]] == ["by-hand"]
    assert world.autoscaling.actions[world.orders] == {"nightly": NIGHTLY}


def test_of_what_others_put_again_the_newest_is_given_back() -> None:
    world = hand_made(World())
    world.document["endpoints"][0]["adopt"] = True
    world.enrolled()
    world.autoscaling.native[world.orders]["by-hand"] = replace(BY_HAND, configuration={"TargetValue": 50.0})
    world.sync()
    without_orders(world)
    world.later(hours=1)
    world.sync()
    assert world.autoscaling.native[world.orders]["by-hand"].configuration == {"TargetValue": 50.0}


def test_an_endpoint_enrols_by_being_tagged() -> None:
    world = tagged(World())
    assert world.sync()["chat"].status is Status.CHANGED
    assert set(world.tick()) == {"orders", "chat"}


def test_a_new_tagged_endpoint_enrols_on_its_own_state_change() -> None:
    world = World().enrolled()
    tagged(world)
    assert world.sync("chat")["chat"].status is Status.CHANGED
    assert set(world.tick()) == {"orders", "chat"}


def test_one_endpoints_news_is_no_reason_to_forget_the_others() -> None:
    world = tagged(World()).enrolled()
    world.store = type(world.store)()  # the table was lost
    assert set(world.sync("orders")) == {"orders"}
    assert set(world.tick()) == {"orders", "chat"}


def test_a_name_in_the_file_beats_a_tag() -> None:
    world = World()
    world.serving.tags["ORDERS"] = "nonsense"  # ARNs, and so tags, may spell the name in another case
    assert [o.status for o in world.sync().values()] == [Status.CHANGED]


def test_an_incomplete_answer_about_tags_releases_nobody() -> None:
    world = tagged(World())
    world.sync()
    world.serving.tags.clear()
    assert "chat" not in world.sync()
    assert set(world.tick()) == {"orders", "chat"}
    world.later(minutes=29)
    assert "chat" not in world.sync()


def test_a_tag_that_stays_away_releases() -> None:
    world = tagged(World())
    world.sync()
    world.serving.tags.clear()
    world.sync()
    world.later(minutes=30)
    assert world.sync()["chat"].status is Status.RELEASED
    assert set(world.tick()) == {"orders"}


def test_a_tag_that_comes_back_starts_the_grace_anew() -> None:
    world = tagged(World())
    world.sync()
    world.serving.tags.clear()
    world.sync()
    world.serving.tags["chat"] = "p"
    world.sync()
    world.serving.tags.clear()
    world.later(minutes=45)
    assert "chat" not in world.sync()


class Refusing(InMemoryStore):
    """Keeps nothing of one target."""

    refused: ScalableTarget | None = None

    @override
    def record(self, target: ScalableTarget, memory: Memory, holder: str, now: datetime) -> bool:
        if target == self.refused:
            raise ThrottledError(f"UpdateItem state of {target.resource_id}: throttled")
        return super().record(target, memory, holder, now)


def test_a_target_of_which_nothing_can_be_kept_keeps_no_other_waiting() -> None:
    store = Refusing()
    world = tagged(World(store=store))
    objectives = {**REALTIME["objectives"], "latency_p95": "800ms"}  # so that there is something to learn
    world.document["profiles"]["p"] = {**REALTIME, "objectives": objectives}
    store.refused = world.orders
    outcomes = world.sync()
    assert {name: outcome.status for name, outcome in outcomes.items()} == {
        "orders": Status.FAILED,
        "chat": Status.CHANGED,
    }


def test_a_tag_whose_absence_cannot_be_noted_has_its_grace_later() -> None:
    store = Refusing()
    world = tagged(World(store=store))
    world.sync()
    world.serving.tags.clear()
    store.refused = ScalableTarget.variant("chat", "AllTraffic")
    assert set(world.sync()) == {"orders"}
    store.refused = None
    world.later(minutes=45)
    assert "chat" not in world.sync()
    world.later(minutes=30)
    assert world.sync()["chat"].status is Status.RELEASED


def test_a_state_change_of_one_endpoint_releases_no_other() -> None:
    world = World()
    world.document["endpoints"].append({"name": "other", "profile": "p"})
    world.serving.add("other")
    world.sync()
    without_orders(world)
    assert world.sync("other") == {}
    assert world.orders in world.autoscaling.bounds


def test_what_cannot_be_enrolled_is_named_and_the_rest_goes_on() -> None:
    world = World()
    world.serving.add("chat", profile="no-such-profile")
    world.serving.add("queue", serving=Serving.ASYNC, profile="p")
    world.document["endpoints"].append({"name": "ghost", "profile": "p"})
    outcomes = world.sync()
    assert outcomes["orders"].status is Status.CHANGED
    errors = {name: str(o.error) for name, o in outcomes.items() if o.error}
    assert "the tag tidegate:profile must name a profile (p)" in errors["chat"]
    assert "'async': its profile is for serving: realtime" in errors["queue"]
    assert "no such endpoint in SageMaker" in errors["ghost"]
    stated = {name: outcomes[name].status for name in errors}
    assert stated == {"chat": Status.LEFT_ALONE, "queue": Status.LEFT_ALONE, "ghost": Status.FAILED}, (
        "a tag fails no pass"
    )


def test_a_tag_enrols_only_where_the_profile_allows_it() -> None:
    world = World()
    world.serving.add("chat", profile="p")
    world.document["profiles"]["p"]["by_tag"] = False
    assert world.sync()["chat"].status is Status.LEFT_ALONE
    assert world.sync()["orders"].status is not Status.LEFT_ALONE, "the file names it"
    world.document["profiles"]["p"]["by_tag"] = True
    assert world.sync()["chat"].status is Status.CHANGED
    world.document["profiles"]["p"]["by_tag"] = False
    assert "chat" not in world.tick(), "what is allowed no longer is left to its native policies at once"


def test_news_of_an_endpoint_that_is_being_made_is_no_failure_but_its_absence_at_a_full_pass_is() -> None:
    world = World()
    world.document["endpoints"].append({"name": "ghost", "profile": "p"})
    assert world.sync()["ghost"].status is Status.FAILED
    assert world.sync("ghost")["ghost"].status is Status.WAITING


def test_a_named_variant_that_is_gone_is_one_error_that_names_those_that_exist() -> None:
    world = World()
    world.document["endpoints"] = [{"name": "orders", "profile": "p", "variant": "green"}]
    world.serving.add("orders", variant="blue")
    outcome = world.sync("orders")["orders"]
    assert outcome.status is Status.FAILED
    said = "endpoints.orders.variant = 'orders/green': the endpoint's variants are AllTraffic, blue"
    assert outcome.error == said


def test_cpu_per_core_needs_a_known_vcpu_count() -> None:
    world = World()
    world.document["profiles"]["p"]["policies"] = [{"type": "target_tracking", "metric": "cpu", "target": 70}]
    target = world.serving.add("odd", instance_type="ml.p3.2xlarge", profile="p")
    assert "no count is known of the instance type: state it" in str(world.sync()["odd"].error)
    assert target not in world.autoscaling.native
    world.document["endpoints"].append({"name": "odd", "profile": "p", "vcpus": 2})
    world.sync()
    metrics: Any = world.autoscaling.native[target]["tidegate-prod-track-cpu"].configuration[
        "CustomizedMetricSpecification"
    ]
    assert metrics["Metrics"][1]["Expression"] == "m1/2"


def test_a_deleted_endpoint_that_left_the_file_leaves_nothing_behind() -> None:
    world = World().enrolled()
    world.serving.capacities.clear()
    world.serving.endpoints.clear()
    without_orders(world)
    assert world.sync()["orders"].status is Status.RELEASED
    assert (world.metrics.alarm_shapes, world.autoscaling.bounds) == ({}, {})


def test_variants_whose_names_begin_alike_keep_their_own_alarms() -> None:
    world = World()
    twin = world.serving.add("orders", variant="AllTraffic-b")
    world.document["endpoints"].append({"name": "orders", "variant": "AllTraffic-b", "profile": "p"})
    world.sync()
    both = sorted(world.metrics.alarm_shapes)
    assert len(both) == 4
    _ = world.writes
    world.sync()
    assert (world.writes, sorted(world.metrics.alarm_shapes)) == ([], both)
    del world.document["endpoints"][0]  # the first leaves, the second stays
    world.sync()
    theirs = "tidegate-target-prod-realtime-orders-AllTraffic-b-"
    assert sorted(world.metrics.alarm_shapes) == [f"{theirs}errors", f"{theirs}saturation"]
    assert twin in world.autoscaling.bounds


def test_every_alarm_we_make_is_known_again_as_ours() -> None:
    steps = [{"upper": 30, "change": -1}, {"lower": 30, "upper": 70, "change": 0}, {"lower": 70, "change": 1}]
    policies = [{"type": "step", "metric": metric, "steps": steps} for metric in ("cpu", "memory")]
    promises = {"requests_per_instance": 1000, "latency_p95": "200ms", "concurrent_requests": 8}
    documents = [{**document, "objectives": promises} for document in ({**REALTIME, "policies": policies}, COMPONENT)]
    for document in (*documents, ASYNC, BATCH, SERVERLESS):
        enrolled = enrolment(document)
        alarms = [policy.alarm for policy in native_policies(enrolled, "prod") if policy.alarm is not None]
        prefix = alarm_prefix(enrolled.target, Kind(document["kind"]), "prod")
        for alarm in (*alarms, *heard_alarms(enrolled, "prod")):
            assert ALARM_SUFFIX.fullmatch(alarm["AlarmName"].removeprefix(prefix))


def test_shadow_enrols_nobody_and_releases_nobody() -> None:
    world = World(mode=Mode.SHADOW)
    assert world.sync()["orders"].status is Status.SHADOW
    assert world.writes == []
    world.mode = Mode.ACTIVE
    world.sync()
    _ = world.writes
    world.mode = Mode.SHADOW
    without_orders(world)
    outcome = world.sync()["orders"]
    assert (outcome.status, world.writes) == (Status.SHADOW, [])
    assert "deregister" in map(str, outcome.actions)


def test_after_shadow_the_original_is_saved_before_anyone_writes() -> None:
    world = World(mode=Mode.SHADOW)
    world.sync()
    world.tick()
    world.mode = Mode.ACTIVE
    assert world.tick()["orders"].status is Status.NOT_ENROLLED
    world.sync()
    assert world.store.original(world.orders) is not None


def test_a_release_that_fails_is_tried_again() -> None:
    world = World().enrolled()
    without_orders(world)
    world.autoscaling.fail_on["deregister"] = [ThrottledError("slow down")]
    assert world.sync()["orders"].status is Status.FAILED
    world.later(minutes=1)
    assert world.sync()["orders"].status is Status.RELEASED


def test_a_release_waits_for_the_lease() -> None:
    world = World().enrolled()
    without_orders(world)
    world.store.claim(world.orders, world.memory().version, "other", world.now, world.now + timedelta(seconds=50))
    assert world.sync()["orders"].status is Status.BUSY
    world.later(minutes=1)
    assert world.sync()["orders"].status is Status.RELEASED


def test_a_dry_run_says_what_would_be_done() -> None:
    world = World()
    outcome = world.sync(dry_run=True)["orders"]
    assert (outcome.status, world.writes) == (Status.DRY_RUN, [])
    assert "put policy tidegate-prod-saturation" in map(str, outcome.actions)


def test_while_an_endpoint_updates_it_is_not_enrolled_yet() -> None:
    world = World()
    world.serving.capacities[world.orders] = Capacity(4, 4, "Updating")
    assert world.sync()["orders"].status is Status.WAITING
    assert world.writes == []


def llm(world: World, *, managed_minimum: int | None = 0, by_tag: bool = False) -> list[ScalableTarget]:
    """An endpoint `llm` with two inference components, named in the file or enrolled by tag, and its profile."""
    world.document["profiles"]["c"] = dict(COMPONENT)
    names = ("chat-8b", "embed")
    if not by_tag:
        entries = [{"name": "llm", "profile": "c", "inference_component": name} for name in names]
        world.document["endpoints"] += entries
    world.serving.add("llm", managed_minimum=managed_minimum, profile="c" if by_tag else None)
    return [world.serving.add_component(name, "llm") for name in names]


def test_an_inference_component_is_enrolled_by_its_copies() -> None:
    world = World()
    chat, _ = llm(world)
    outcome = world.sync()["chat-8b"]
    assert (outcome.status, outcome.remark) == (Status.CHANGED, None)
    assert world.autoscaling.bounds[chat] == Envelope(0, 6)
    assert world.memory(chat).scale_out_alarms == (
        "*High-tidegate-prod-track-requests_per_copy",
        "tidegate-target-prod-realtime-ic.chat-8b-wake",
    )


def test_a_tagged_endpoint_enrols_all_its_components_and_not_its_variant() -> None:
    world = World()
    components = llm(world, by_tag=True)
    world.sync()
    assert set(world.autoscaling.bounds) == {world.orders, *components}
    assert {e.endpoint_name for e in world.reconciler.enrolments(world.reconciler.ports.policies.fleet())} == {
        "orders",
        "llm",
    }


def test_news_of_an_endpoint_is_news_of_its_components() -> None:
    world = World()
    llm(world)
    world.sync()
    assert set(world.sync("llm")) == {"chat-8b", "embed"}


def test_a_component_in_trouble_is_named_and_not_its_endpoint() -> None:
    world = World()
    chat, _ = llm(world)
    world.sync()
    world.serving.capacities[chat] = Capacity(1, 1, "Failed")
    outcomes = world.tick()
    said = "inference-component chat-8b is Failed: nothing is written until a deployment brings it InService"
    assert {name: outcome.error for name, outcome in outcomes.items()} == {
        "orders": None,
        "chat-8b": said,
        "embed": None,
    }


def test_components_of_an_endpoint_that_cannot_be_read_right_stay() -> None:
    world = World()
    chat, embed = llm(world, by_tag=True)
    world.sync()
    world.serving.tags["llm"] = "no-such-profile"
    world.later(days=1)
    world.sync()
    world.later(days=1)
    assert "llm" in world.sync()
    assert {chat, embed} <= set(world.autoscaling.bounds)


def test_an_alarm_whose_actions_somebody_switched_off_calls_its_policy_again() -> None:
    world = World().enrolled()
    name = "tidegate-target-prod-realtime-orders-AllTraffic-saturation"
    world.metrics.alarm_shapes[name] = {**world.metrics.alarm_shapes[name], "ActionsEnabled": False}
    assert [str(action) for action in world.sync()["orders"].actions] == ["put policy tidegate-prod-saturation"]
    assert world.metrics.alarm_shapes[name]["ActionsEnabled"]
    assert world.sync()["orders"].status is Status.UNCHANGED


def test_another_kind_leaves_no_alarms_of_the_one_before() -> None:
    """They stand under the kind's own names, and would go on doubling at what the former profile called saturated."""
    world = World().enrolled()
    world.document["profiles"]["p"] = {**BATCH, "objectives": {"requests_per_instance": 4000}}
    world.sync()
    assert {name: alarm["Threshold"] for name, alarm in world.metrics.alarm_shapes.items()} == {
        "tidegate-target-prod-batch-orders-AllTraffic-saturation": 4000
    }


def test_what_another_pass_enrols_meanwhile_is_not_released() -> None:
    """A large pass takes minutes, and goes on with the document that it began with."""
    world = World().enrolled()
    ranks = world.serving.add("ranks")

    class Overtaken(Reconciler):
        @override
        def look(self, *given: Any, **more: Any) -> tuple[Outcome, ...]:
            outcomes = super().look(*given, **more)
            entries = [*world.document["endpoints"], {"name": "ranks", "profile": "p"}]
            world.document = {**world.document, "endpoints": entries}
            world.sync()
            return outcomes

    hourly = FleetSync(Overtaken(world.reconciler.ports, stage="prod", mode=world.mode))
    assert [outcome.status for outcome in hourly.run(world.when("hourly"))] == [Status.UNCHANGED]
    assert ranks in world.autoscaling.bounds
    assert "ranks" in world.tick()


def test_components_of_a_tagged_endpoint_know_its_name_as_sagemaker_spells_it() -> None:
    """The tag's ARN has it in lower case; dimensions of metrics and news of the endpoint do not."""
    world = World()
    world.document["profiles"]["c"] = dict(COMPONENT)
    world.serving.add("LLM", managed_minimum=0, profile="c")
    chat = world.serving.add_component("chat-8b", "LLM")
    world.sync()
    names = {e.target: e.endpoint_name for e in world.reconciler.enrolments(world.reconciler.ports.policies.fleet())}
    assert names[chat] == "LLM"
    assert set(world.sync("LLM")) == {"chat-8b"}


def test_a_tagged_endpoint_that_cannot_be_read_stays_however_its_name_is_spelt() -> None:
    world = World()
    target = world.serving.add("Ranker", profile="p")
    world.sync()
    world.serving.fail_on["variants"] = ObservationError("DescribeEndpoint ranker: throttled")
    for _ in range(3):
        world.later(hours=1)
        assert world.sync()["ranker"].status is Status.FAILED
    assert target in world.autoscaling.bounds


def test_a_name_in_the_file_is_spelt_as_sagemaker_spells_it() -> None:
    """Otherwise FleetSync enrols it, and its owner, who goes by the file, never looks at it."""
    world = World()
    world.serving.add("Ranker")
    world.document["endpoints"].append({"name": "ranker", "profile": "p"})
    assert str(world.sync()["ranker"].error) == "endpoints.ranker.name = 'ranker': SageMaker spells it Ranker"
    world.document["profiles"]["c"] = dict(COMPONENT)
    world.serving.add("llm", managed_minimum=0)
    world.serving.add_component("Chat", "llm")
    world.document["endpoints"][1] = {"name": "llm", "profile": "c", "inference_component": "chat"}
    assert "the endpoint's inference_components are Chat" in str(world.sync()["chat"].error)


def test_what_others_scale_is_left_alone_by_our_expiry_too_once_it_has_fired() -> None:
    """It repeats each quarter of an hour, and whoever renewed or removed it no longer looks at the target."""
    world = World().enrolled()
    asked = override_of("floor", 9)
    world.store.put_override(replace(asked, created_at=world.now, expires_at=world.now + timedelta(minutes=40)))
    world.tick()
    world.autoscaling.native[world.orders]["by-hand"] = BY_HAND
    assert [str(a) for a in world.sync()["orders"].actions] == []  # bounds are raised until it has fired
    assert EXPIRY in world.autoscaling.actions[world.orders]
    world.later(hours=1)
    world.later(minutes=30)
    preview = world.sync(dry_run=True)["orders"]
    assert (preview.status, EXPIRY in world.autoscaling.actions[world.orders]) == (Status.LEFT_ALONE, True)
    left = world.sync()["orders"]
    assert (left.status, [str(a) for a in left.actions]) == (Status.LEFT_ALONE, ["remove the expiry"])
    assert EXPIRY not in world.autoscaling.actions[world.orders]


def test_of_two_targets_whose_alarms_would_have_one_name_the_second_is_refused() -> None:
    """`chat-eu-a-saturation` is of variant eu-a of chat, or of variant a of chat-eu: each sync gave it to the other."""
    world = World()
    first, second = world.serving.add("chat", variant="eu-a"), world.serving.add("chat-eu", variant="a")
    for name, variant in (("chat", "eu-a"), ("chat-eu", "a")):
        world.document["endpoints"].append({"name": name, "variant": variant, "profile": "p"})
    outcome = world.sync()["chat-eu"]
    assert outcome.status is Status.FAILED
    assert str(outcome.error) == (
        f"endpoints.chat-eu.variant = 'a': the alarms of {first.resource_id} have the same names; enrol one of the two"
    )
    assert (first in world.autoscaling.bounds, second in world.autoscaling.bounds) == (True, False)


def test_a_variant_whose_instances_sagemaker_scales_is_not_enrolled() -> None:
    world = World()
    llm(world)
    world.document["endpoints"].append({"name": "llm", "profile": "p"})
    assert str(world.sync()["llm"].error) == (
        "endpoints.llm.variant = 'AllTraffic': SageMaker scales its instances itself: "
        "enrol its inference components (chat-8b, embed) by their copies"
    )


def test_a_component_that_is_not_there_is_named() -> None:
    world = World()
    llm(world)
    entry = {"name": "llm", "profile": "c", "inference_component": "gone"}
    world.document["endpoints"].append(entry)
    assert str(world.sync()["gone"].error) == (
        "endpoints.llm.inference_component = 'llm/gone': the endpoint's inference_components are chat-8b, embed"
    )


def test_a_profile_for_components_fits_no_variant_and_the_other_way_round() -> None:
    world = World()
    world.document["profiles"]["c"] = dict(COMPONENT)
    world.document["profiles"]["s"] = dict(SERVERLESS)
    world.serving.add("plain", profile="c")
    world.serving.add("less", serving=Serving.SERVERLESS, profile="p")
    world.document["endpoints"].append({"name": "orders-b", "profile": "s"})
    world.serving.add("orders-b")
    errors = {name: str(outcome.error) for name, outcome in world.sync().items() if outcome.error}
    assert errors == {
        "plain": "endpoints.plain.profile = 'realtime': its profile is for serving: inference_component",
        "less": "endpoints.less.profile = 'serverless': its profile is for serving: realtime",
        "orders-b": "endpoints.orders-b.profile = 'realtime': its profile is for serving: serverless",
    }


def test_instances_that_stay_paid_at_zero_copies_are_remarked_on() -> None:
    for managed_minimum in (1, None):
        world = World()
        llm(world, managed_minimum=managed_minimum)
        outcome = world.sync()["chat-8b"]
        assert outcome.status is Status.CHANGED
        assert str(outcome.remark).startswith("its instances stay paid at zero copies")
    world = World()
    llm(world, managed_minimum=1)
    world.document["profiles"]["c"]["min_capacity"] = 1
    assert world.sync()["chat-8b"].remark is None


def test_a_serverless_variant_is_enrolled_by_its_provisioned_concurrency() -> None:
    world = World()
    world.document["profiles"]["s"] = dict(SERVERLESS)
    world.document["endpoints"].append({"name": "less", "profile": "s"})
    target = world.serving.add("less", serving=Serving.SERVERLESS, count=2)
    assert world.sync()["less"].status is Status.CHANGED
    assert world.autoscaling.bounds[target] == Envelope(1, 20)


def office_hours(world: World, days: float) -> World:
    """500 requests a minute, and 5500 from 09:00 to 17:00, for so many days until now."""
    newest = world.now - timedelta(minutes=2)
    minutes = (newest - timedelta(minutes=n) for n in reversed(range(int(days * 24 * 60))))
    points = tuple(Point(at, 5500.0 if 9 <= at.hour < 17 else 500.0) for at in minutes)
    world.metrics.series["Invocations"] = Observation(points)
    return world


def target_value(world: World) -> float:
    [tracking] = [p for n, p in world.autoscaling.native[world.orders].items() if "track" in n]
    return float(tracking.configuration["TargetValue"])


def test_three_days_of_history_are_learned_at_once_and_tracking_stands_by() -> None:
    world = office_hours(World(), days=2.9)
    world.sync()
    assert (world.store.learned([world.orders]), target_value(world)) == ({}, 500)
    office_hours(world, days=3.1).sync()
    assert set(world.store.learned([world.orders])) == {world.orders}
    office_hours(world, days=3.1)
    decision = world.tick(tunes=True)["orders"].decision
    assert decision is not None
    assert "forecast" in [step.rule for step in decision.steps]
    assert target_value(world) == 900


def test_a_forecast_looks_as_far_ahead_as_an_order_takes() -> None:
    """D + 1 and 2 D + 1 minutes: 6 as usual, 9 as five starts took less AAS's minute to notice, 12 as stated."""
    world = office_hours(World(), days=2.9)
    seen = {}
    world.sync()
    office_hours(world, days=3.1).sync()
    seen["usual"] = world.store.learned([world.orders])[world.orders].horizons
    for said, stated in (("seen", None), ("stated", "12m")):
        world = office_hours(World(), days=2.9)
        world.autoscaling.took = {world.orders: Starts((timedelta(seconds=590),) * 5)}
        world.document["profiles"]["p"] |= {"provisioning": stated} if stated else {}
        world.sync()
        office_hours(world, days=3.1).sync()
        seen[said] = world.store.learned([world.orders])[world.orders].horizons
    assert seen == {"usual": (3, 7, 13), "seen": (3, 10, 19), "stated": (3, 13, 25)}


def test_starts_are_of_the_configuration_that_serves() -> None:
    """Another model or instance type starts otherwise; activities of before it are not learned again."""
    world = World()
    world.sync()
    took = Starts((timedelta(minutes=9),) * 5)
    world.autoscaling.took, world.autoscaling.took_until = {world.orders: took}, world.now
    world.sync()
    assert world.store.memories([world.orders])[world.orders].starts == took
    world.later(minutes=1)
    world.serving.capacities[world.orders] = replace(world.serving.capacities[world.orders], config="orders-config-2")
    for _ in range(2):
        world.sync()
        assert world.store.memories([world.orders])[world.orders].starts == Starts()


def test_each_target_is_fitted_once_a_day_in_an_hour_of_its_own() -> None:
    world = office_hours(World(), days=3.1)
    world.sync()
    fitted = [world.store.learned([world.orders])[world.orders].fitted_at]
    start = world.now
    for push in range(1, 3 * 48):
        world.now = start + timedelta(minutes=30 * push)  # two in each hour
        office_hours(world, days=3.1).sync()
        newest = world.store.learned([world.orders])[world.orders].fitted_at
        if newest != fitted[-1]:
            fitted.append(newest)
    first, *later = fitted[1:]
    assert [at - first for at in later] == [timedelta(days=1), timedelta(days=2)]


def test_a_fit_that_the_last_hours_belied_is_made_anew_in_any_hour() -> None:
    world = office_hours(World(), days=4)
    world.sync()
    first = world.store.learned([world.orders])[world.orders].fitted_at
    fitted = []
    for bursts in (False, True):
        world.later(hours=2)  # not 12 o'clock, the hour of its own
        seen = office_hours(world, days=4).metrics.series["Invocations"]
        assert isinstance(seen, Observation)
        loud = [bursts and point.at > first and point.at.minute % 20 < 5 for point in seen.points]
        points = tuple(Point(p.at, 90_000.0 if each else p.value) for p, each in zip(seen.points, loud, strict=True))
        world.metrics.series["Invocations"] = Observation(points)
        world.sync()
        fitted.append(world.store.learned([world.orders])[world.orders].fitted_at)
    assert fitted[0] == first
    assert fitted[1] == world.now - timedelta(minutes=2)


def test_a_fit_that_is_not_renewed_is_left_after_26_hours() -> None:
    world = office_hours(World(), days=4)
    world.sync()
    world.metrics.series["Invocations"] = Missing("no data points")
    world.later(hours=26)
    world.sync()
    assert target_value(world) == 500


def test_where_something_else_orders_ahead_tracking_keeps_the_room() -> None:
    """The target is 900 with a forecast, and 500 without."""
    world = office_hours(World(), days=4)
    world.sync()
    office_hours(world, days=4).tick(tunes=True)
    assert target_value(world) == 900
    target = world.orders
    world.store.put_learned(target, replace(world.store.learned([target])[target], chosen=Option.GUARD))
    world.sync()
    assert target_value(world) == 500
    decision = office_hours(world, days=4).tick()["orders"].decision
    assert decision is not None
    assert next(step.seen["chosen"] for step in decision.steps if step.rule == "forecast") == "guard"
    world.store.put_learned(target, replace(world.store.learned([target])[target], chosen=Option.FORECAST))
    world.sync()
    assert target_value(world) == 900


def test_news_of_one_endpoint_and_a_dry_run_fit_nothing() -> None:
    world = office_hours(World(), days=4)
    world.sync("orders")
    world.sync(dry_run=True)
    assert world.store.learned([world.orders]) == {}


def test_history_that_cannot_be_read_stops_nothing_else() -> None:
    world = office_hours(World(), days=4)
    world.metrics.fail_on["fetch"] = ObservationError("GetMetricData: Rate exceeded")
    assert world.sync()["orders"].status is Status.CHANGED
    assert world.store.learned([world.orders]) == {}


def test_a_mistake_in_a_fit_is_told_and_stops_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.fleet.fit", lambda *_: 1 / 0)
    outcome = office_hours(World(), days=4).sync()["orders"]
    assert outcome.status is Status.CHANGED
    assert (outcome.remark or "").startswith("not learned: ZeroDivisionError: division by zero (test_fleet.py:")


def test_without_time_a_fit_waits_for_the_next_hour() -> None:
    world = office_hours(World(clock_runs=timedelta(seconds=30)), days=4)
    world.sync()
    assert world.store.learned([world.orders]) == {}


def test_a_fit_for_which_its_hour_had_no_time_is_made_in_the_next_that_has_some() -> None:
    """Of the 48 s of a pass the first half is for fits. They serve for 26 hours."""
    world = office_hours(World(), days=4)
    world.sync()
    for hours, clock, age in ((24, 25, 24), (25, 25, 25), (26, 23, 0)):
        again = World(store=world.store, now=world.now + timedelta(hours=hours), clock_runs=timedelta(seconds=clock))
        office_hours(again, days=5).sync()
        fitted = again.store.learned([again.orders])[again.orders].fitted_at
        assert (again.now - fitted) // timedelta(hours=1) == age


@dataclass
class Slow(World):
    """Describing the policies of a target takes ten seconds of the 48."""

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        read = self.autoscaling.policies

        def policies(target: ScalableTarget) -> tuple[NativePolicy, ...]:
            self.clock_runs += timedelta(seconds=10)
            return read(target)

        self.autoscaling.policies = policies  # type: ignore[method-assign]


def test_a_pass_without_time_for_all_ends_in_order_and_each_hour_leaves_out_others() -> None:
    world = Slow()
    names = [f"e-{number}" for number in range(6)]
    for name in names:
        world.serving.add(name, count=2)
    world.document["endpoints"] = [{"name": name, "profile": "p"} for name in names]
    world.enrolled()
    seen, reached = [], set[str]()
    for _ in range(24):
        world.clock_runs = timedelta(0)
        outcomes = world.sync()
        assert [*outcomes] == names
        seen.append({name for name, outcome in outcomes.items() if outcome.status is not Status.BUSY})
        assert all("no time left" in str(o.error) for o in outcomes.values() if o.status is Status.BUSY)
        reached |= seen[-1]
        world.later(hours=1)
    assert {len(each) for each in seen} == {3}, "the next would begin with 18 s left"
    assert reached == set(names)
    assert world.store.roster() is not None


def test_what_leaves_takes_nothing_from_what_takes_its_name() -> None:
    """The endpoint was made again as a serverless one: another target, whose alarms are called as before."""
    world = World().enrolled()
    deleted(world)
    world.serving.endpoints.clear()
    new = world.serving.add("orders", count=2, serving=Serving.SERVERLESS, created_at=world.now)
    world.document["profiles"]["s"] = dict(SERVERLESS)
    world.document["endpoints"] = [{"name": "orders", "profile": "s"}]
    world.sync()
    assert world.store.roster() == {new: ("s", False, "orders", {})}
    alarms = {name for policy in world.autoscaling.native[new].values() for name in policy.alarm_names}
    assert alarms <= world.metrics.states.keys(), "the saturation alarm was deleted, until the next hour"


def deleted(world: World) -> None:
    """AAS forgets with the endpoint all that was registered."""
    for held in (
        world.serving.capacities,
        world.autoscaling.bounds,
        world.autoscaling.native,
        world.autoscaling.actions,
    ):
        held.clear()


@pytest.mark.parametrize(
    ("synced", "adopted_by_an_older_release"),
    [(True, False), (False, False), (True, True), (False, True)],
)
def test_what_stood_on_an_endpoint_that_was_deleted_is_not_given_to_the_one_made_again(
    synced: bool, adopted_by_an_older_release: bool
) -> None:
    world = hand_made(World())
    world.serving.capacities[world.orders] = replace(world.serving.capacities[world.orders], created_at=world.now)
    world.document["endpoints"][0]["adopt"] = True
    world.enrolled()
    if adopted_by_an_older_release:  # it did not write of which endpoint the record is; the first sync after it does
        saved = world.store.original(world.orders)
        assert saved is not None
        world.store.put_original(world.orders, replace(saved, created_at=None))
        assert [*map(str, world.sync()["orders"].actions)] == ["save what stands now, for release"]
        assert world.store.original(world.orders) == saved
    deleted(world)
    world.serving.capacities[world.orders] = Capacity(8, 8, "InService", world.now, "orders-config-2")
    new = replace(BY_HAND, name="new")
    world.autoscaling.bounds[world.orders], world.autoscaling.native[world.orders] = Envelope(6, 20), {"new": new}
    if synced:
        assert "remove the target's fallback" in map(str, world.sync()["orders"].actions)
    without_orders(world)
    world.later(hours=1)
    assert world.sync()["orders"].status is Status.RELEASED
    assert world.autoscaling.bounds[world.orders] == Envelope(6, 20), "it was 1..5, on the endpoint before"
    assert [*world.autoscaling.native[world.orders]] == ["new"]
    assert not world.autoscaling.actions.get(world.orders)


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.ACTIVE])
def test_a_stack_made_again_over_the_table_that_stayed_goes_on_if_it_is_in_shadow_until_the_document_is_pushed(
    mode: Mode,
) -> None:
    """It begins with the empty fleet of the template, and the roster still holds `orders` by name."""
    world = hand_made(World())
    world.document["endpoints"][0]["adopt"] = True
    world.enrolled()
    stood, pushed = world.autoscaling.bounds[world.orders], world.document
    assert stood == Envelope(2, 12)
    world.mode, world.document = mode, {"version": 1, "profiles": {}, "endpoints": []}
    outcome = world.sync()["orders"]
    if mode is Mode.ACTIVE:
        assert outcome.status is Status.RELEASED
        assert world.autoscaling.bounds[world.orders] == Envelope(1, 5), "as it was before adoption, at once"
        return
    assert outcome.status is Status.SHADOW
    world.mode, world.document = Mode.ACTIVE, pushed
    world.later(hours=1)
    assert world.sync()["orders"].status in {Status.UNCHANGED, Status.CHANGED}
    assert world.autoscaling.bounds[world.orders] == stood
    assert world.store.original(world.orders) is not None


def test_what_others_put_after_the_last_sync_is_not_replaced_by_what_was_saved() -> None:
    world = hand_made(World())
    world.document["endpoints"][0]["adopt"] = True
    world.enrolled()
    world.autoscaling.native[world.orders]["by-hand"] = replace(BY_HAND, configuration={"TargetValue": 50.0})
    without_orders(world)
    assert world.sync()["orders"].status is Status.RELEASED
    assert world.autoscaling.native[world.orders]["by-hand"].configuration == {"TargetValue": 50.0}


@pytest.mark.parametrize(
    ("settings", "given"),
    [
        ({"Schedule": "at(2026-11-19T09:00:00)"}, False),
        ({"Schedule": "at(2026-11-19T09:00:00)", "Timezone": "America/New_York"}, True),
        ({"Schedule": "rate(1 hour)", "EndTime": World().now}, False),
        ({"Schedule": "cron(0 2 * * ? *)", "EndTime": World().now + timedelta(days=2)}, True),
    ],
)
def test_a_scheduled_action_that_can_never_run_again_is_not_given_back_but_told(
    settings: dict[str, Any], given: bool
) -> None:
    world = hand_made(World())
    once = ScheduledAction("once", {**settings, "ScalableTargetAction": {"MinCapacity": 4}})
    world.autoscaling.actions[world.orders]["once"] = once
    world.document["endpoints"][0]["adopt"] = True
    world.enrolled()
    without_orders(world)
    outcome = world.sync()["orders"]
    assert outcome.status is Status.RELEASED
    assert world.autoscaling.actions[world.orders] == {"nightly": NIGHTLY} | ({"once": once} if given else {})
    assert outcome.remark == (None if given else "not given back, for their time has passed: once")


@pytest.mark.parametrize("others", [False, True])
def test_a_tag_that_comes_back_under_a_pause_starts_the_grace_anew_too(others: bool) -> None:
    """It was remembered as missing for as long as the pause lasted: one incomplete answer then released the target."""
    world = tagged(World())
    world.sync()
    chat = ScalableTarget.variant("chat", "AllTraffic")
    pause = override_of("pause", subject=chat.resource_id)
    world.store.put_override(replace(pause, created_at=world.now, expires_at=world.now + timedelta(days=9)))
    if others:
        world.autoscaling.native[chat]["by-hand"] = BY_HAND
    world.serving.tags.clear()
    world.sync()
    world.serving.tags["chat"] = "p"
    assert world.sync()["chat"].status is (Status.LEFT_ALONE if others else Status.PAUSED)
    world.later(days=3)
    world.serving.tags.clear()
    assert "chat" not in world.sync()
    assert set(world.tick()) == {"orders", "chat"}


@pytest.mark.parametrize("how", ["shadow", "pause"])
def test_what_may_not_be_written_to_keeps_an_expiry_that_has_fired(how: str) -> None:
    world = World().enrolled()
    asked = override_of("floor", 9)
    world.store.put_override(replace(asked, created_at=world.now, expires_at=world.now + timedelta(minutes=40)))
    world.tick()
    world.autoscaling.native[world.orders]["by-hand"] = BY_HAND
    world.later(hours=3)
    if how == "shadow":
        world.document["profiles"]["p"]["mode"] = "shadow"
    else:
        pause = replace(override_of("pause"), created_at=world.now, expires_at=world.now + timedelta(hours=1))
        world.store.put_override(pause)
    left = world.sync()["orders"]
    assert (left.status, left.actions) == (Status.LEFT_ALONE, ())
    assert EXPIRY in world.autoscaling.actions[world.orders]
