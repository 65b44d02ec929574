"""What an instance serves, learned from latency: the split, what is dropped, and what a day may change."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import ANY

import pytest

from core.errors import ConfigError
from core.learning.capacity import measure, queries
from core.model import Capacity, Measured, Memory, Missing, Observation, Point
from core.policy import Objectives
from core.reconcile import as_measured
from tests.builders import COMPONENT, NOW, REALTIME, SERVERLESS, enrolment, profile
from tests.fakes.aws import observed
from tests.world import World

OBJECTIVES = Objectives(latency_p95=timedelta(milliseconds=200))
FAST, SLOW = 100_000.0, 300_000.0  # microseconds
INSTANCES = 4

Minute = tuple[float, float]
"""Requests of an instance, and p95 of ModelLatency."""


def seen(minutes: Sequence[Minute | None], instances: Sequence[int] | int = INSTANCES) -> list[Observation | Missing]:
    """Return what CloudWatch says of these minutes, the last of them just now; None is a minute without requests."""
    counts = [instances] * len(minutes) if isinstance(instances, int) else instances
    first = NOW - timedelta(minutes=len(minutes) + 1)
    found: list[list[Point]] = [[], [], [], []]
    for i, (minute, count) in enumerate(zip(minutes, counts, strict=True)):
        at = first + timedelta(minutes=i)
        if minute is None:
            found[0].append(Point(at, 0.0))
            continue
        each, latency = minute
        for points, value in zip(found, (count * each, each, latency, latency / 2), strict=True):
            points.append(Point(at, value))
    return [Observation(tuple(points)) if points else Missing("no data points") for points in found]


def learnt(minutes: Sequence[Minute | None], before: float | None = 100.0, **more: Any) -> Measured:
    instances = more.pop("instances", INSTANCES)
    return measure(seen(minutes, instances), objectives=OBJECTIVES, before=before, now=NOW, **more)


def rising(top: float, limit: float = math.inf, steps: int = 200) -> list[Minute]:
    """Return minutes of rising load up to `top`; above `limit` they are slow."""
    loads = [top * (i + 1) / steps for i in range(steps)]
    return [(x, SLOW if x > limit else FAST) for x in loads]


JUMP = [*rising(50), *[(200.0 + i, SLOW) for i in range(10)]]
"""From 50 at once to 200 and more: nobody knows where between them the limit is."""


@pytest.mark.parametrize(
    ("minutes", "before", "served", "limit", "capacity"),
    [
        # 200 minutes of 0.6 to 120 requests, slow above 100. A minute stands for the mean of three: the third highest in
        # time is 97.8 (the 164th, of 97.8 to 99), the third slow one 100.8 (the 169th)
        (rising(120, 100), 130.0, 97.8, 100.8, 98.78),  # 0.98 * 100.8
        (rising(120, 100), 60.0, 97.8, 100.8, 95.84),  # 0.98 * 97.8: upward at once, for it was served in time
        (rising(120, 100), 95.0, 97.8, 100.8, 98.78),  # 1.05 * 95 is more
        # up to 80, and nothing was slow: the third highest is 78.8
        (rising(80), 100.0, 78.8, None, 100.0),  # unseen is no reason to take less: or less load would follow
        (rising(80), 76.0, 78.8, None, 79.8),  # 1.05 * 76
        (rising(80), 80.0, 78.8, None, 82.74),  # 1.05 * 78.8, less than 1.05 * 80
        (rising(80), 40.0, 78.8, None, 77.22),  # 0.98 of what was served in time
        (rising(80), 81.5, 78.8, None, 81.5),  # 82.74 is within 2 %
        (JUMP, 100.0, 49.25, 202.0, 100.0),
        (JUMP, 250.0, 49.25, 202.0, 198.0),  # 0.98 * 202
        (rising(80)[:59], 50.0, 0.0, None, 50.0),  # fewer than 60 minutes
        ([(50.0, SLOW)] * 100, 60.0, 0.0, None, 60.0),  # slow at any load: capacity is not what is missing
        ([None] * 100, 60.0, 0.0, None, 60.0),
    ],
)
def test_the_limit_lies_between_what_was_in_time_and_what_was_late(
    minutes: list[Minute], before: float, served: float, limit: float | None, capacity: float
) -> None:
    found = learnt(minutes, before)
    assert found.served == pytest.approx(served)
    assert found.limit == (None if limit is None else pytest.approx(limit))
    assert found.capacity == pytest.approx(capacity)


def test_a_bad_hour_at_low_load_does_not_move_the_split() -> None:
    day = rising(90, 80, steps=1440)
    poisoned = [(x, SLOW) if 20 < x < 24 else (x, late) for x, late in day]
    assert sum(late == SLOW for x, late in poisoned if x < 80) == 63
    assert learnt(poisoned) == learnt(day)


def test_two_slow_minutes_say_nothing_and_three_do() -> None:
    calm = rising(80)
    assert learnt([*calm, *[(80.0 + i, SLOW) for i in range(2)]]).limit is None
    assert learnt([*calm, *[(80.0 + i, SLOW) for i in range(3)]]).limit is not None


class TestDropped:
    """A minute of 79 that is slow blocks, unless it is dropped."""

    CALM = rising(70)
    LATE: Sequence[Minute] = [(79.0, SLOW)] * 6

    def test_nothing(self) -> None:
        assert learnt([*self.CALM, *self.LATE]).limit is not None

    def test_five_minutes_after_instances_came_or_went(self) -> None:
        minutes = [*self.CALM, *self.LATE]
        assert learnt(minutes, instances=[4] * 200 + [5] * 6).limit is None  # one of six is left
        assert learnt(minutes, instances=[4] * 200 + [3] * 6).limit is None

    def test_what_a_stretch_of_more_load_left_waiting(self) -> None:
        """79 is less than 0.9 of 95, and each slow minute makes the stretch three minutes longer."""
        assert learnt([*self.CALM, (95.0, SLOW), *[(79.0, SLOW)] * 60]).limit is None
        assert learnt([*self.CALM, (87.0, SLOW), *self.LATE]).limit is not None
        calm_again: list[Minute] = [(50.0, FAST)] * 4
        assert learnt([*self.CALM, (95.0, SLOW), *calm_again, *self.LATE]).limit is not None

    def test_minutes_of_few_requests(self) -> None:
        assert learnt([*self.CALM, *[(19.0, SLOW)] * 6], instances=1).limit is None

    def test_minutes_without_requests(self) -> None:
        assert learnt([*self.CALM, *[None] * 100]).served == learnt(self.CALM).served


def test_after_a_back_off_nothing_rises_for_a_day() -> None:
    assert learnt(rising(120), 70.0, lowered_at=NOW - timedelta(hours=23)).capacity == 70.0
    assert learnt(rising(120), 70.0, lowered_at=NOW - timedelta(hours=25)).capacity == pytest.approx(115.8)
    assert learnt(rising(60, 50), 70.0, lowered_at=NOW - timedelta(hours=1)).capacity == pytest.approx(49.39)


@pytest.mark.parametrize(
    ("slots", "capacity"),
    [
        # half of 100 ms on average: 1,200 a minute and slot, of which 1 - 1/sqrt(k), at least 0.3
        (1, 360.0),
        (4, 2400.0),
        (16, 14400.0),
    ],
)
def test_a_first_guess_where_nobody_said_anything(slots: int, capacity: float) -> None:
    objectives = Objectives(latency_p95=timedelta(milliseconds=200), concurrency=slots)
    found = measure(seen(rising(80)), objectives=objectives, before=None, now=NOW)
    assert found.capacity == capacity
    assert found.served == pytest.approx(78.8)


def test_without_data_and_without_a_statement_nothing_is_known() -> None:
    nothing = [Missing("no data points")] * 4
    found = measure(nothing, objectives=OBJECTIVES, before=None, now=NOW)
    assert (found.capacity, found.tells) == (None, "not enough load seen to tell")


@pytest.mark.parametrize(
    ("found", "tells"),
    [
        (Measured(at=NOW, capacity=95, served=95, limit=100), "in time up to 95, slower than the objective from 100"),
        (Measured(at=NOW, capacity=90, served=70.5), "not enough load seen above 70.5"),
    ],
)
def test_it_says_what_it_rests_on(found: Measured, tells: str) -> None:
    assert found.tells == tells


PROMISED = {"requests_per_instance": 1000, "latency_p95": "200ms"}
OWN = [{"type": "target_tracking", "metric": "requests_per_instance", "target": 700}]


@pytest.mark.parametrize(
    ("document", "changes", "learn"),
    [
        (REALTIME, {"objectives": PROMISED}, "on"),
        (REALTIME, {"objectives": {"latency_p95": "200ms"}}, "on"),
        (REALTIME, {}, "off"),  # no latency is promised
        (REALTIME, {"objectives": PROMISED, "policies": OWN}, "recommend"),  # a declared target is somebody's own
        (REALTIME, {"objectives": PROMISED, "policies": OWN, "learn": "on"}, "on"),
        (REALTIME, {"objectives": PROMISED, "learn": False}, "off"),  # what YAML makes of off
        (COMPONENT, {"objectives": {"latency_p95": "2s"}}, "on"),
        (SERVERLESS, {"objectives": {"latency_p95": "2s"}}, "off"),  # nobody publishes requests of a unit
    ],
)
def test_who_learns(document: dict[str, Any], changes: dict[str, Any], learn: str) -> None:
    assert profile(document, **changes).learn == learn


@pytest.mark.parametrize(("document", "mode"), [(REALTIME, "on"), (REALTIME, "recommend"), (SERVERLESS, "on")])
def test_without_an_objective_there_is_nothing_to_learn(document: dict[str, Any], mode: str) -> None:
    with pytest.raises(ConfigError, match=r"learn = '.*': needs objectives.latency_p95"):
        profile(document, learn=mode)


@pytest.mark.parametrize(
    ("changes", "memory", "capacity", "target"),
    [
        ({}, Memory(), 1000.0, 500.0),
        ({}, Memory(measured=Measured(at=NOW, capacity=800)), 800.0, 400.0),
        ({}, Memory(measured=Measured(at=NOW, capacity=800), target_factor=0.85), 680.0, 340.0),
        ({"objectives": {"latency_p95": "200ms"}}, Memory(measured=Measured(at=NOW, capacity=800)), 800.0, 400.0),
        ({"policies": OWN}, Memory(measured=Measured(at=NOW, capacity=800)), 1000.0, 700.0),  # recommended only
        ({"policies": OWN, "learn": "on"}, Memory(measured=Measured(at=NOW, capacity=800)), 800.0, 560.0),
        ({"learn": "off"}, Memory(measured=Measured(at=NOW, capacity=800), target_factor=0.85), 850.0, 425.0),
    ],
)
def test_what_was_learned_takes_the_place_of_what_is_stated(
    changes: dict[str, Any], memory: Memory, capacity: float, target: float
) -> None:
    used = as_measured(profile(REALTIME, **{"objectives": PROMISED, **changes}), memory)
    assert (used.capacity_per_instance, used.native_policies[0].target) == (capacity, target)  # type: ignore[union-attr] # it tracks


def test_a_new_configuration_takes_a_part_away_and_begins_anew() -> None:
    old = Memory(config="a", measured=Measured(at=NOW, capacity=800, served=840, limit=860), target_factor=0.85)
    anew = old.of(Capacity(2, 2, "InService", None, "b"), NOW)
    assert (anew.measured, anew.target_factor, anew.config_since) == (Measured(at=NOW, capacity=680), 1.0, NOW)


def test_a_new_configuration_gives_nothing_back_that_latency_took() -> None:
    old = Memory(config="a", measured=Measured(at=NOW, capacity=800, served=840, limit=860), target_factor=0.5)
    anew = old.of(Capacity(2, 2, "InService", None, "b"), NOW)
    assert (anew.measured, anew.target_factor) == (Measured(at=NOW, capacity=400), 1.0)


def test_many_deployments_before_anything_is_learned_anew_take_that_part_once() -> None:
    memory = Memory(config="0", measured=Measured(at=NOW, capacity=800, served=840, limit=860))
    for each in range(1, 21):  # by the twentieth, ceil(y / c) would have been 25 times what it was
        at = NOW + timedelta(hours=each)
        memory = memory.of(Capacity(2, 2, "InService", None, str(each)), at)
        assert memory.measured == Measured(at=at, capacity=680)


def test_it_asks_for_the_load_of_an_instance_or_copy_under_its_own_dimensions() -> None:
    asked = [(q.name, q.stat, dict(q.dimensions)) for q in queries(enrolment(REALTIME, objectives=PROMISED))]
    names = {"EndpointName": "orders", "VariantName": "AllTraffic"}
    assert asked == [
        ("Invocations", "Sum", names),
        ("InvocationsPerInstance", "Sum", names),
        ("ModelLatency", "p95", names),
        ("ModelLatency", "Average", names),
    ]
    copies = queries(enrolment(COMPONENT, objectives={"latency_p95": "2s"}))
    assert (copies[1].name, copies[1].dimensions) == ("InvocationsPerCopy", (("InferenceComponentName", "chat-8b"),))


POLICY = "tidegate-prod-track-requests_per_instance"


def learning(**changes: Any) -> World:
    """`orders`, eight instances said to serve 1,000 each within 200 ms, under FleetSync."""
    world = World()
    world.document["profiles"]["p"] |= {"objectives": PROMISED, "forecast": "off", **changes}
    return world


def synced(world: World, minutes: list[Minute]) -> str | None:
    """Show the world these minutes, as the newest, run FleetSync, and return its remark."""
    newest = observed(world.now, 0.0).newest.at
    load, each, latency = (
        Observation(tuple(Point(newest - timedelta(minutes=back), v) for back, v in reversed([*enumerate(values)])))
        for values in zip(*[(8 * x, x, late) for x, late in minutes[::-1]], strict=True)
    )
    world.metrics.series = {"Invocations": load, "InvocationsPerInstance": each, "ModelLatency": latency}
    return world.sync()["orders"].remark


def tracked(world: World) -> Any:
    return world.autoscaling.native[world.orders][POLICY].configuration["TargetValue"]


class TestSync:
    LIMITED = rising(1000, 800)  # the third that was slow is 810: 0.98 of it is planned with

    def test_what_was_learned_is_written_and_said(self) -> None:
        world = learning()
        said = synced(world, self.LIMITED)
        assert said == "learned: requests_per_instance 793.8 (in time up to 785, slower than the objective from 810)"
        assert tracked(world) == 396.9
        [ceiling] = [a for name, a in world.metrics.alarm_shapes.items() if name.endswith("saturation")]
        assert ceiling["Threshold"] == 793.8

    def test_without_a_statement_tracking_changes_from_cpu_to_requests(self) -> None:
        """Then nobody said what to begin with: 0.98 of 785 is what was seen to be served."""
        world = learning(objectives={"latency_p95": "200ms"})
        said = synced(world, self.LIMITED)
        assert said == "learned: requests_per_instance 769.3 (in time up to 785, slower than the objective from 810)"
        assert tracked(world) == 384.65

    def test_a_recommendation_is_said_and_not_written(self) -> None:
        world = learning(learn="recommend")
        said = synced(world, self.LIMITED)
        assert (
            said == "recommended: requests_per_instance 793.8 (in time up to 785, slower than the objective from 810)"
        )
        assert tracked(world) == 500

    def test_off_asks_for_no_latency(self) -> None:
        world = learning(learn="off")
        assert synced(world, self.LIMITED) is None
        assert (tracked(world), world.memory().measured) == (500, None)

    def test_too_little_load_says_how_much_was_seen(self) -> None:
        world = learning()
        said = synced(world, rising(500))
        assert said == "learned: requests_per_instance 1000 (not enough load seen above 492.5)"
        assert tracked(world) == 500

    def test_it_learns_once_a_day_and_writes_only_what_differs_by_more_than_a_fiftieth(self) -> None:
        world = learning()
        synced(world, self.LIMITED)
        for limit, target in ((800, 396.9), (810, 396.9), (830, 411.6)):  # 793.8, 803.6, 823.2
            before = world.memory().measured
            _ = world.writes
            for _ in range(24):
                world.later(hours=1)
                synced(world, rising(1000, limit))
            assert before is not None
            assert world.memory().measured != before
            assert tracked(world) == target
            assert world.writes.count("put_policy") == (0 if target == 396.9 else 2)  # the target and the ceiling

    def test_minutes_before_a_deployment_are_not_learned_from(self) -> None:
        world = learning()
        synced(world, self.LIMITED)
        capacity = world.serving.capacities[world.orders]
        world.serving.capacities[world.orders] = replace(capacity, config="orders-config-2")
        world.tick()
        assert world.memory().measured == Measured(at=world.now, capacity=674.73)  # 0.85 * 793.8
        world.later(minutes=50)
        memory = world.memory()
        world.store.record(world.orders, replace(memory, measured=None), "test", world.now)  # so that it learns at once
        assert synced(world, self.LIMITED) == "learned: requests_per_instance 1000 (not enough load seen to tell)"

    def test_what_latency_lowered_goes_into_what_is_learned(self) -> None:
        world = learning()
        synced(world, self.LIMITED)
        lowered = replace(world.memory(), target_factor=0.85, target_changed_at=world.now)
        world.store.record(world.orders, lowered, "test", world.now)
        world.later(hours=26)
        for _ in range(24):
            world.later(hours=1)
            synced(world, rising(700))  # what an instance had since, all in time: the third highest is 689.5
        assert world.memory().measured == Measured(at=ANY, capacity=708.5, served=689.5)  # 793.8 * 0.85 * 1.05
        assert world.memory().target_factor == 1.0
        assert tracked(world) == pytest.approx(354.25)
