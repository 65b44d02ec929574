"""Handlers: an event names targets, the pass does the rest, and the invocation tells the truth about it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typing_extensions

from core.decide import decide
from core.errors import ActuationError, ConfigError, ObservationError
from core.model import Capacity, Envelope, Reason, Refusal, Serving, Told
from core.overrides import in_force, parse_override
from core.reconcile import Outcome, Quota, Status
from handlers import async_queue, batch_window, fleet_sync, override, policy_validator, realtime_target, wiring
from handlers.wiring import LambdaHandler, PassFailedError, PowertoolsTelemetry, Runtime, resource_named_by
from simulator.in_memory import InMemoryEvents
from tests.builders import ASYNC, BATCH, COMPONENT, NIGHT, SERVERLESS, context, minutes, running
from tests.fakes.aws import observed
from tests.world import World

EVENTS = Path(__file__).parents[2] / "events"


def event(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return loaded


@dataclass
class Context:
    function_name: str = "tidegate-prod-realtime-target"
    aws_request_id: str = "r-1"
    millis: int = 50_000
    passed: Callable[[], timedelta] = timedelta

    def get_remaining_time_in_millis(self) -> int:
        return self.millis - int(self.passed().total_seconds() * 1000)


@dataclass
class Heard:
    told: list[tuple[str, tuple[Outcome, ...]]] = field(default_factory=list)

    def tell(self, function: str, outcomes: tuple[Outcome, ...]) -> None:
        self.told.append((function, outcomes))


@dataclass
class Lambda:
    """One world, a handler over it, and what was told."""

    world: World
    heard: Heard = field(default_factory=Heard)
    slept: list[float] = field(default_factory=list)

    def runtime(self) -> Runtime:
        return Runtime(
            reconciler=self.world.reconciler, clock=lambda: self.world.now, tell=self.heard.tell, sleep=self.sleep
        )

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.world.now += timedelta(seconds=seconds)

    def call(self, module: Any, given: Mapping[str, Any], context: Context | None = None) -> dict[str, Any]:
        handler: LambdaHandler = module.make_handler(self.runtime)
        began = self.world.now
        return handler(dict(given), replace(context or Context(), passed=lambda: self.world.now - began))


def three_kinds() -> World:
    """`orders` real-time, `queue` asynchronous, `nightly` batch, enrolled and quiet."""
    world = World()
    world.document["profiles"] |= {"a": ASYNC, "b": BATCH}
    world.document["endpoints"] += [{"name": "queue", "profile": "a"}, {"name": "nightly", "profile": "b"}]
    world.serving.add("queue", serving=Serving.ASYNC, count=1)
    world.serving.add("nightly", count=1)
    world.enrolled()
    world.metrics.series = {
        "Invocations": observed(world.now, *[0] * 15),
        "ApproximateBacklogSize": observed(world.now, *[0] * 15),
    }
    return world


@pytest.mark.parametrize(
    ("module", "looked_at"),
    [
        (realtime_target, ["orders"]),
        (async_queue, ["queue"]),
        (batch_window, ["nightly"]),
        (fleet_sync, ["orders", "queue", "nightly"]),
    ],
)
def test_each_owner_looks_at_its_kind(module: Any, looked_at: list[str]) -> None:
    reply = Lambda(three_kinds()).call(module, {"trigger": "schedule"})
    assert [t["target"].split("/")[1] for t in reply["targets"]] == looked_at


def test_an_alarm_names_the_endpoint_to_look_at_and_nothing_else_is_believed() -> None:
    made = Lambda(three_kinds())
    alarm = event("realtime-target-alarm")
    assert made.call(realtime_target, alarm) == {"targets": []}  # orders-ranker-prod is not of this fleet
    renamed = json.loads(json.dumps(alarm).replace("orders-ranker-prod", "orders"))
    assert [t["target"] for t in made.call(realtime_target, renamed)["targets"]] == [
        "endpoint/orders/variant/AllTraffic"
    ]


def test_batch_window_also_visits_others_at_the_edges_of_their_windows() -> None:
    world = three_kinds()
    world.document["profiles"]["p"]["windows"] = [NIGHT]
    made = Lambda(world)
    for hour, minute, visited in ((1, 49, False), (1, 52, True), (3, 0, False), (6, 2, True), (6, 6, False)):
        world.now = world.now.replace(hour=hour, minute=minute)
        names = [t["target"] for t in made.call(batch_window, {"trigger": "schedule"})["targets"]]
        assert ("endpoint/orders/variant/AllTraffic" in names) is visited, f"{hour}:{minute}"


@pytest.mark.parametrize(
    ("name", "resource"),
    [
        ("realtime-target-schedule", None),
        ("realtime-target-alarm", "endpoint/orders-ranker-prod"),
        ("realtime-target-alarm-no-capacity", "inference-component/chat-8b-component"),
        ("async-queue-alarm-wake", "endpoint/doc-ocr-async-prod"),
        ("fleet-sync-endpoint-in-service", "endpoint/orders-ranker-prod"),
    ],
)
def test_what_an_event_is_about(name: str, resource: str | None) -> None:
    assert resource_named_by(event(name)) == resource


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"detail": "{}"},  # a schedule without Input (facts 6.3)
        {"detail": {"configuration": {"alarmRule": "ALARM(x)"}}},  # composite
        {"detail": {"configuration": {"metrics": [{"expression": "SELECT 1", "period": 60}]}}},  # multi-series
        {"detail": {}},
        {"detail": {"configuration": {"metrics": [{"metricStat": 7}]}}},  # no event of AWS
        {"detail": {"configuration": []}},
        {"detail": 7},
        ["EndpointName"],
        "orders",
        None,
    ],
)
def test_an_event_without_a_name_means_look_at_all(given: Any) -> None:
    assert resource_named_by(given) is None


def test_a_pass_that_failed_for_some_is_a_failed_invocation_after_all_were_tried() -> None:
    world = three_kinds()
    world.metrics.series["Invocations"] = observed(world.now, *[7000] * 15)
    world.autoscaling.fail_on["register"] = ActuationError("RegisterScalableTarget: boom")
    made = Lambda(world)
    with pytest.raises(PassFailedError, match=r"1 of 1 targets failed: endpoint/orders/variant/AllTraffic: .*boom"):
        made.call(realtime_target, {})
    assert len(made.heard.told) == 1  # it was told before it was raised


def test_a_pass_that_cannot_read_the_table_fails_whole() -> None:
    world = three_kinds()
    world.autoscaling.fail_on["registered"] = ObservationError("DescribeScalableTargets: throttled")
    with pytest.raises(ObservationError):
        Lambda(world).call(realtime_target, {})


def scaled_in_by_aas() -> World:
    """The same, and no change of ours is under way whatever a pass wants."""
    world = three_kinds()
    profiles = world.document["profiles"]
    world.document["profiles"] = {name: {**profile, "scale_in": "native"} for name, profile in profiles.items()}
    return world


def wish(world: World, **changes: Any) -> dict[str, Any]:
    ends: datetime = world.now + timedelta(hours=2)
    return {
        "request_id": "r-1",
        "action": "pin",
        "target": "orders",
        "capacity": 6,
        "expires_at": ends.isoformat(),
        "reason": "campaign",
        "requested_by": "maria",
        **changes,
    }


def test_an_override_takes_effect_at_once() -> None:
    world = three_kinds()
    reply = Lambda(world).call(override, wish(world))
    assert world.autoscaling.bounds[world.orders] == Envelope(6, 6)
    assert (reply["override"], reply["already_known"], reply["targets"][0]["reason"]) == ("r-1", False, "OverridePin")


def test_the_same_request_twice_is_once() -> None:
    world = three_kinds()
    made = Lambda(world)
    given = wish(world)
    made.call(override, given)
    _ = world.writes
    assert made.call(override, given)["already_known"] is True
    assert world.writes == []


def test_the_same_request_later_is_the_same_whether_it_says_when_it_ends_or_how_long_it_lasts() -> None:
    world = three_kinds()
    made = Lambda(world)
    lasting = {"duration": "2h", "expires_at": None}
    first = [made.call(override, wish(world)), made.call(override, wish(world, request_id="r-2", **lasting))]
    ends = f"{world.now + timedelta(hours=2):%Y-%m-%dT%H:%MZ}"
    given = wish(world)
    world.later(minutes=5)
    again = [made.call(override, given), made.call(override, wish(world, request_id="r-2", **lasting))]
    assert [reply["already_known"] for reply in (*first, *again)] == [False, False, True, True]
    assert {reply["ends"] for reply in (*first, *again)} == {ends}
    with pytest.raises(ConfigError, match="is the ID of another request"):
        made.call(override, wish(world, request_id="r-2", duration="3h", expires_at=None))


def test_a_dry_run_shows_the_plan_and_stores_nothing() -> None:
    world = three_kinds()
    reply = Lambda(world).call(override, wish(world, dry_run=True))
    assert "set bounds to 6..6 (differs)" in reply["targets"][0]["actions"]
    assert (world.writes, world.store.overrides()) == ([], ())


def test_a_bad_request_names_every_problem_and_changes_nothing() -> None:
    world = three_kinds()
    asked = {"action": "double", "capacity": -1, "reason": "", "expires_at": "yesterday", "target": "odrers"}
    with pytest.raises(ConfigError) as caught:
        Lambda(world).call(override, wish(world, **asked))
    assert {problem.path[0] for problem in caught.value.problems} == asked.keys()
    assert (world.writes, world.store.overrides()) == ([], ())


def test_an_override_of_an_unknown_target_says_which_are_known() -> None:
    world = three_kinds()
    with pytest.raises(ConfigError) as caught:
        Lambda(world).call(override, wish(world, target="odrers"))
    [problem] = caught.value.problems
    assert str(problem) == (
        "target = 'endpoint/odrers/variant/AllTraffic': must concern an enrolled target; none of the 3 does; "
        "nearest: endpoint/orders/variant/AllTraffic, endpoint/queue/variant/AllTraffic, endpoint/nightly/variant/AllTraffic"
    )


def test_of_a_large_fleet_only_the_nearest_names_are_said() -> None:
    world = World()
    shops = [f"shop-{i:03d}" for i in range(200)]
    world.document["endpoints"] += [{"name": shop, "profile": "p"} for shop in shops]
    for shop in shops:
        world.serving.add(shop, count=1)
    world.enrolled()
    with pytest.raises(ConfigError) as caught:
        Lambda(world).call(override, wish(world, target="shop-17"))
    said = str(caught.value)
    assert "none of the 201 does" in said
    assert said.count("endpoint/shop-") == 1 + 3
    assert len(said) < 300


def test_the_answer_says_what_it_was_what_it_is_when_it_ends_and_how_to_end_it() -> None:
    world = scaled_in_by_aas()
    reply = Lambda(world).call(override, wish(world))
    (target,) = reply["targets"]
    assert (target["registered"], target["min_capacity"], target["max_capacity"]) == ("2..12", 6, 6)
    assert (reply["ends"], reply["supersedes"]) == (f"{world.now + timedelta(hours=2):%Y-%m-%dT%H:%MZ}", [])
    assert reply["to_end_it"] == {"action": "resume", "target": "orders"}
    told = Lambda(world).call(override, wish(world, request_id="r-2", action="floor", capacity=3))
    assert told["supersedes"] == ["r-1"]
    assert Lambda(world).call(override, resume(**reply["to_end_it"]))["ended"] == ["r-2", "r-1"]
    assert world.autoscaling.bounds[world.orders] == Envelope(2, 12)


def resume(**where: Any) -> dict[str, Any]:
    return {"request_id": "r-end", "action": "resume", "reason": "all done", "requested_by": "maria", **where}


@pytest.mark.parametrize(("ended", "minutes"), [(True, 5), (False, 125)], ids=["resumed", "expired"])
def test_one_that_is_sent_again_after_its_end_is_said_to_be_over(*, ended: bool, minutes: int) -> None:
    """It lasts two hours; nobody may read that its capacity is held until then, or that another waits behind it."""
    world = scaled_in_by_aas()
    made = Lambda(world)
    lasting = wish(world, duration="2h", expires_at=None)
    made.call(override, lasting)
    if ended:
        made.call(override, resume(target="orders"))
    world.later(minutes=minutes)
    made.call(override, wish(world, request_id="r-2", capacity=4))
    again = made.call(override, lasting)
    assert {name: value for name, value in again.items() if name != "targets"} == {
        "override": "r-1", "over": True, "supersedes": [], "already_known": True,
    }  # fmt: skip
    assert again["targets"][0]["min_capacity"] == 4


def test_one_that_is_sent_again_does_not_come_before_what_was_asked_since() -> None:
    world = scaled_in_by_aas()
    made = Lambda(world)
    first = wish(world)
    made.call(override, first)
    world.later(minutes=1)
    made.call(override, wish(world, request_id="r-2", capacity=4))
    again = made.call(override, first)
    assert (again["already_known"], again["supersedes"]) == (True, [])
    assert world.autoscaling.bounds[world.orders] == Envelope(4, 4)


def test_a_resume_sent_twice_ends_nothing_that_came_in_between() -> None:
    world = scaled_in_by_aas()
    made = Lambda(world)
    made.call(override, wish(world))
    made.call(override, resume(target="orders"))
    world.later(minutes=1)
    made.call(override, wish(world, request_id="r-2"))
    again = made.call(override, resume(target="orders"))
    assert again["already_known"] is True
    assert world.autoscaling.bounds[world.orders] == Envelope(6, 6)


def test_a_floor_that_a_resume_did_not_see_yet_stands_until_the_next_one() -> None:
    """It was received before the resume and stored after that had looked; what was seen is ended for good."""
    world = scaled_in_by_aas()
    made = Lambda(world)
    received = world.now
    world.later(seconds=1)
    made.call(override, resume(target="orders"))
    late = parse_override(wish(world, action="floor"), received, timedelta(days=14)).as_override(received, "one-7")
    world.store.put_override(late)
    world.later(minutes=1)
    assert [each.override_id for each in in_force(world.store.overrides(), world.now)] == ["r-1"]
    assert made.call(override, resume(target="orders", request_id="r-end-2"))["ended"] == ["r-1"]
    assert in_force(world.store.overrides(), world.now) == []
    assert world.autoscaling.bounds[world.orders] == Envelope(2, 12)


def test_another_request_under_a_known_id_is_refused() -> None:
    world = three_kinds()
    made = Lambda(world)
    made.call(override, wish(world))
    _ = world.writes
    with pytest.raises(
        ConfigError, match=r"request_id = 'r-1': is the ID of another request \(pin by maria: campaign\)"
    ):
        made.call(override, wish(world, capacity=7))
    assert world.writes == []


def test_the_invocation_is_kept_for_cloudtrail() -> None:
    world = three_kinds()
    Lambda(world).call(override, wish(world), Context(aws_request_id="6d9c8c5c-5ba4"))
    assert [o.invocation for o in world.store.overrides()] == ["6d9c8c5c-5ba4"]


def test_the_policy_says_how_far_ahead_an_override_may_end() -> None:
    world = three_kinds()
    world.document["longest_override"] = "1h"
    with pytest.raises(ConfigError, match="at most 1h ahead"):
        Lambda(world).call(override, wish(world))


SCOPES = [
    ({"target": "orders"}, ["orders"]),
    ({"profile": "a"}, ["queue"]),
    ({"tag": "team=search"}, ["orders", "nightly"]),
    ({"fleet": True}, ["orders", "queue", "nightly"]),
]


ACTIONS: dict[str, Callable[[Envelope], Envelope]] = {
    "pin": lambda _: Envelope(6, 6),
    "floor": lambda stood: Envelope(6, stood.ceiling),
    "ceiling": lambda stood: Envelope(stood.floor, 6),
    "pause": lambda stood: stood,
}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(("where", "reached"), SCOPES)
def test_every_action_reaches_the_targets_of_every_scope_until_it_is_resumed(
    action: str, where: dict[str, Any], reached: list[str]
) -> None:
    world = scaled_in_by_aas()
    world.serving.labels = {"orders": {"team": "search"}, "nightly": {"team": "search"}, "queue": {"team": "x"}}
    world.sync()  # tags are read when the fleet is
    stood = dict(world.autoscaling.bounds)
    asked = {"target": None, "action": action, "capacity": None if action == "pause" else 6, **where}
    reply = Lambda(world).call(override, wish(world, **asked))
    assert [t["target"].split("/")[1] for t in reply["targets"]] == reached
    assert {t["status"] for t in reply["targets"]} == {"paused" if action == "pause" else "changed"}
    for target, envelope in stood.items():
        held = ACTIONS[action](envelope) if target.names["EndpointName"] in reached else envelope
        assert world.autoscaling.bounds[target] == held
    assert Lambda(world).call(override, resume(**reply["to_end_it"]))["ended"] == ["r-1"]
    assert world.autoscaling.bounds == stood


def test_an_override_of_nobody_is_refused() -> None:
    world = three_kinds()
    with pytest.raises(ConfigError, match=r"tag = 'team=nobody': must concern an enrolled target; none of the 3 does$"):
        Lambda(world).call(override, wish(world, target=None, tag="team=nobody"))


def test_an_override_names_components_and_serverless_variants_by_what_serves() -> None:
    world = World()
    world.document["profiles"] |= {"c": COMPONENT, "s": SERVERLESS}
    world.document["endpoints"] += [
        {"name": "orders", "inference_component": "chat-8b", "profile": "c"},
        {"name": "small", "profile": "s"},
    ]
    del world.document["endpoints"][0]
    chat = world.serving.add_component("chat-8b", "orders")
    small = world.serving.add("small", serving=Serving.SERVERLESS)
    world.enrolled()
    Lambda(world).call(override, wish(world, inference_component="chat-8b", capacity=3))
    Lambda(world).call(override, wish(world, request_id="r-2", target="small", capacity=4))
    assert (world.autoscaling.bounds[chat], world.autoscaling.bounds[small]) == (Envelope(3, 3), Envelope(4, 4))


def test_a_fleet_wide_override_waits_only_for_the_lease_that_is_held() -> None:
    world = three_kinds()
    made = Lambda(world)
    world.store.claim(world.orders, world.memory().version, "tick", world.now, world.now + timedelta(seconds=5))
    reply = made.call(override, wish(world, target=None, fleet=True), Context(millis=120_000))
    assert [t["status"] for t in reply["targets"]] == ["changed"] * 3
    registered = [write[1].names["EndpointName"] for write in world.autoscaling.writes if write[0] == "register"]
    assert sorted(registered) == ["nightly", "orders", "queue"]


def test_an_override_waits_for_the_lease_of_a_running_pass() -> None:
    world = three_kinds()
    made = Lambda(world)
    world.store.claim(world.orders, world.memory().version, "tick", world.now, world.now + timedelta(seconds=5))
    reply = made.call(override, wish(world), Context(millis=120_000))
    assert (reply["targets"][0]["status"], made.slept) == ("changed", [2.0, 2.0, 2.0])


def test_an_override_that_never_gets_the_lease_says_so_and_stays_stored() -> None:
    world = three_kinds()
    world.store.claim(world.orders, world.memory().version, "tick", world.now, world.now + timedelta(hours=1))
    reply = Lambda(world).call(override, wish(world), Context(millis=10_000))
    assert reply["targets"][0]["status"] == "busy"
    assert [o.override_id for o in world.store.overrides()] == ["r-1"]


EVERY = [Told.CREATED, Told.ENDING_SOON, Told.EXPIRED]


def told(world: World) -> list[tuple[Told, str, str | None]]:
    return [(what, about.override_id, by) for what, about, by in world.events.told]


def minutes_of_batch_window(made: Lambda, minutes: int) -> None:
    for _ in range(minutes):
        made.world.later(minutes=1)
        made.call(batch_window, {"trigger": "schedule"})


def test_the_life_of_an_override_is_told_once_each() -> None:
    world = three_kinds()
    made = Lambda(world)
    made.call(override, wish(world))  # for two hours
    assert told(world) == [(Told.CREATED, "r-1", None)]
    minutes_of_batch_window(made, 104)
    assert len(told(world)) == 1
    minutes_of_batch_window(made, 1)  # a quarter of an hour is left
    assert told(world)[1:] == [(Told.ENDING_SOON, "r-1", None)]
    minutes_of_batch_window(made, 14)
    assert len(told(world)) == 2
    minutes_of_batch_window(made, 30)
    assert told(world)[2:] == [(Told.EXPIRED, "r-1", None)]


def test_a_short_override_is_half_over_when_its_end_is_announced_and_a_late_tick_tells_the_newest_only() -> None:
    world = three_kinds()
    made = Lambda(world)
    ends = (world.now + timedelta(minutes=10)).isoformat()
    made.call(override, wish(world, expires_at=ends))
    minutes_of_batch_window(made, 4)
    assert [what for what, _, _ in told(world)] == EVERY[:1]
    minutes_of_batch_window(made, 1)
    assert [what for what, _, _ in told(world)] == EVERY[:2]
    made.call(override, wish(world, request_id="r-2", expires_at=ends))
    world.events.told.clear()
    world.later(hours=3)
    made.call(batch_window, {"trigger": "schedule"})
    assert sorted(told(world)) == [(Told.EXPIRED, "r-1", None), (Told.EXPIRED, "r-2", None)]


def test_who_takes_whose_place_is_told_and_what_was_ended_does_not_expire() -> None:
    world = three_kinds()
    made = Lambda(world)
    made.call(override, wish(world))
    made.call(override, wish(world))  # the same again tells nothing
    made.call(override, wish(world, request_id="r-2", action="floor", capacity=3))
    made.call(override, wish(world, request_id="r-3", target=None, fleet=True))  # another scope
    assert told(world) == [
        (Told.CREATED, "r-1", None),
        (Told.CREATED, "r-2", None),
        (Told.SUPERSEDED, "r-1", "r-2"),
        (Told.CREATED, "r-3", None),
    ]
    world.later(minutes=1)
    made.call(override, resume(target="orders"))
    assert told(world)[4:] == [
        (Told.CREATED, "r-end", None),
        (Told.SUPERSEDED, "r-2", "r-end"),
        (Told.SUPERSEDED, "r-1", "r-end"),
    ]
    world.events.told.clear()
    minutes_of_batch_window(made, 130)
    assert told(world) == [(Told.ENDING_SOON, "r-3", None), (Told.EXPIRED, "r-3", None)]


def test_a_creation_that_was_not_told_is_told_when_the_request_is_repeated() -> None:
    world = three_kinds()
    made = Lambda(world)
    spoken, world.events = world.events, Mute()
    made.call(override, wish(world))
    world.events = spoken
    assert made.call(override, wish(world))["already_known"] is True
    made.call(override, wish(world))
    assert told(world) == [(Told.CREATED, "r-1", None)]


def test_a_dry_run_tells_nobody() -> None:
    world = three_kinds()
    Lambda(world).call(override, wish(world, dry_run=True))
    assert told(world) == []


class Mute(InMemoryEvents):
    """EventBridge refuses."""

    @typing_extensions.override
    def tell(self, what: Told, *_: object, **__: object) -> None:
        raise ActuationError(f"PutEvents {what}: no")


def test_an_override_that_cannot_be_told_stands_and_the_answer_says_so() -> None:
    world = scaled_in_by_aas()
    world.events = Mute()
    reply = Lambda(world).call(override, wish(world))
    assert reply["untold"] == "PutEvents Tidegate Override Created: no"
    assert world.autoscaling.bounds[world.orders] == Envelope(6, 6)


def test_an_override_is_told_before_it_is_carried_out() -> None:
    """Else one whose first pass fails would be in force, and nobody had heard of it."""
    world = three_kinds()
    world.serving.fail_on["capacity"] = ObservationError("DescribeEndpoint: throttled")
    with pytest.raises(PassFailedError):
        Lambda(world).call(override, wish(world))
    assert told(world) == [(Told.CREATED, "r-1", None)]


def test_an_end_that_could_not_be_told_is_told_at_the_next_tick_and_the_invocation_failed() -> None:
    world = three_kinds()
    made = Lambda(world)
    made.call(override, wish(world))
    world.later(hours=3)
    spoken, world.events = world.events, Mute()
    with pytest.raises(ActuationError):
        made.call(batch_window, {"trigger": "schedule"})
    assert [o.told for o in world.store.overrides()] == [Told.CREATED]
    world.events = spoken
    made.call(batch_window, {"trigger": "schedule"})
    assert [o.told for o in world.store.overrides()] == [Told.EXPIRED]


def test_an_end_is_told_though_a_target_fails() -> None:
    world = three_kinds()
    made = Lambda(world)
    made.call(override, wish(world))
    world.later(hours=3)
    world.serving.fail_on["capacity"] = ObservationError("DescribeEndpoint: throttled")
    with pytest.raises(PassFailedError):
        made.call(batch_window, {"trigger": "schedule"})
    assert told(world)[-1] == (Told.EXPIRED, "r-1", None)


def test_telemetry_counts_a_pass_and_logs_what_changed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Tidegate")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "an-owner")  # Powertools keeps a logger a name
    world = three_kinds()
    world.metrics.series["Invocations"] = observed(world.now, *[7000] * 15)
    outcomes = tuple(world.tick().values())
    PowertoolsTelemetry().tell("tidegate-prod-realtime-target", outcomes)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    emf = next(line for line in lines if "_aws" in line)
    assert emf["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["function", "service"]] or emf["_aws"][
        "CloudWatchMetrics"
    ][0]["Dimensions"] == [["service", "function"]]
    counted = {each["Name"] for each in emf["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert {k: emf[k] for k in counted} == {"Heartbeat": [1.0], "TargetsSeen": [3.0]}
    changed = next(line for line in lines if line.get("status") == "changed")
    assert (changed["target"], changed["reason"], changed["min_capacity"]) == (
        "endpoint/orders/variant/AllTraffic",
        "Load",
        7,
    )
    assert changed["steps"][0] == "demand Load 2..12 -> 7..12"


@pytest.mark.parametrize(("level", "changes"), [("INFO", 1), ("WARN", 0), ("ERROR", 0)])
def test_metrics_are_told_at_every_log_level_though_lambda_lets_info_pass(
    level: str, changes: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Tidegate")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", f"an-owner at {level}")  # Powertools keeps a logger a name
    monkeypatch.setenv("POWERTOOLS_LOG_LEVEL", level)
    monkeypatch.setenv("AWS_LAMBDA_LOG_LEVEL", "INFO")  # as the template has it, which Powertools would follow
    world = three_kinds()
    world.metrics.series["Invocations"] = observed(world.now, *[7000] * 15)
    PowertoolsTelemetry().tell("tidegate-prod-realtime-target", tuple(world.tick().values()))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["Heartbeat"] for line in lines if "_aws" in line] == [[1.0]]
    assert sum(line.get("status") == "changed" for line in lines) == changes


@pytest.mark.parametrize(("used", "counted"), [(399, None), (400, [400.0]), (480, [480.0])])
def test_telemetry_tells_what_is_left_of_the_regions_quota_and_counts_it_from_four_fifths_on(
    used: int, counted: list[float] | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Tidegate")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", f"fleet-sync {used}")  # Powertools keeps a logger a name
    outcome = Outcome(target=World().orders, status=Status.UNCHANGED, quota=Quota(used, 500))
    PowertoolsTelemetry().tell("tidegate-prod-fleet-sync", (outcome,))
    told, metrics = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (told["used"], told["quota"], told["left"]) == (used, 500, 500 - used)
    assert metrics.get("ScalableTargets") == counted


def test_telemetry_counts_what_was_refused_and_says_what_is_broken_aloud(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Tidegate")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "another")  # Powertools keeps a logger a name
    world = World(count=4).enrolled()
    world.metrics.series["Invocations"] = observed(world.now, *[8000] * 15)
    world.tick()
    world.autoscaling.refusals[world.orders] = Refusal(world.now, "ResourceLimitExceeded", "no more of these")
    refused = tuple(world.tick().values())
    world.serving.capacities[world.orders] = Capacity(4, 4, "UpdateRollbackFailed")
    broken = tuple(world.tick().values())
    PowertoolsTelemetry().tell("tidegate-prod-realtime-target", (*refused, *broken))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert next(line for line in lines if "_aws" in line)["CapacityRefused"] == [1.0]
    said = [line["error"] for line in lines if "error" in line]
    assert said == [
        "endpoint orders is UpdateRollbackFailed: nothing is written until a deployment brings it InService"
    ]


def test_items_that_will_expire_are_told_in_every_pass_whatever_limits_the_answer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """3,000 items, 8 instances at most that finish 4 a minute: 1,920 in the hour after which an item is lost."""
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Tidegate")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "a queue's")
    objectives = {"items_per_minute": 4, "expires_after": "1h"}
    ctx = context(
        ASYNC, objectives=objectives, load=minutes([0] * 15 + [3000]), capacity=running(8), registered=Envelope(8, 8)
    )
    decision = decide(ctx)
    assert decision.reason is Reason.LIMITED_BY_MAX_CAPACITY
    outcome = Outcome(target=ctx.target, status=Status.UNCHANGED, decision=decision)
    PowertoolsTelemetry().tell("tidegate-prod-async-queue", (outcome,))
    told, counted = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (told["level"], told["requests_expiring"]["backlog"]) == ("INFO", 3000)
    assert counted["RequestsExpiring"] == [1.0]


def test_telemetry_counts_deadlines_at_risk_and_says_which(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Tidegate")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "a-third")
    world = World(count=4)
    # 12 instances of 1,000 a minute do 720,000 in the hour that is left, and it is more
    window = {"name": "w", "start": "08:00", "finish_by": "10:00", "items": 2_000_000}
    world.document["profiles"]["p"]["windows"] = [window]
    world.enrolled()
    world.metrics.series["Invocations"] = observed(world.now, *[4000] * 15)
    PowertoolsTelemetry().tell("tidegate-prod-realtime-target", tuple(world.tick().values()))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert next(line for line in lines if "_aws" in line)["DeadlineAtRisk"] == [1.0]
    [said] = [line["deadline_at_risk"] for line in lines if "deadline_at_risk" in line]
    assert (said["window"], said["finish_by"][11:]) == ("w", "10:00Z")
    assert said["earliest_finish"] > said["finish_by"]


def test_the_runtime_is_made_from_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    appconfig = (f"APPCONFIG_{name}" for name in ("APPLICATION", "ENVIRONMENT", "PROFILE"))
    for name in ("STAGE", "TABLE", "FALLBACK_ROLE", *appconfig):
        monkeypatch.setenv(f"TIDEGATE_{name}", name.lower())
    monkeypatch.setenv("TIDEGATE_MODE", "shadow")
    monkeypatch.setenv("TIDEGATE_ALARM_WRITES_PER_SECOND", "2.5")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    made = wiring.from_environment.__wrapped__()
    assert (made.reconciler.stage, made.reconciler.mode.value) == ("stage", "shadow")
    assert made.clock().tzinfo is not None


@pytest.mark.parametrize("given", [{"content": ["eyJ9"]}, {"content": 7}, {"content": "é"}, {}, [], None])
def test_what_is_no_document_is_refused_as_such(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"content = .*: must be base64 of a JSON document"):
        policy_validator.handler(given, None)
