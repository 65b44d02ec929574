"""From decision to actions: only the difference, and in the order that fails safe."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from core.context import Context
from core.decide import decide
from core.model import Envelope, Missing
from core.native import heard_alarms, native_policies
from core.plan import (
    DeleteAlarms,
    DeleteExpiry,
    DeleteFallback,
    DeletePolicy,
    DeleteScheduledAction,
    Deregister,
    Inventory,
    PutAlarm,
    PutExpiry,
    PutPolicy,
    PutScheduledAction,
    SaveOriginal,
    SetBounds,
    SetCount,
    as_found,
    original_of,
    plan_bounds,
    plan_natives,
    plan_release,
)
from core.ports import NativePolicy, Original, ScheduledAction
from tests.builders import ASYNC, NOW, REALTIME, SETTLED_MEMORY, context, enrolment, override, refusal, running, steady

POLICY = Envelope(2, 12)
IN_AN_HOUR = NOW + timedelta(minutes=60)


def remembered(**changes: Any) -> Any:
    return replace(SETTLED_MEMORY, **changes)


RETRIES = [(0, 2), (1, 4), (2, 8), (3, 16), (4, 30), (5, 30), (400, 30)]


def tried(tries: int, *, ago: int, floor: int = 2) -> Any:
    """Bounds were last written so many minutes ago, one instance ran then, and an expiry stands."""
    written_at = NOW - timedelta(minutes=ago)
    expires = IN_AN_HOUR if floor > 2 else None
    return remembered(written=Envelope(floor, 12), written_at=written_at, count=1, tries=tries, expires_at=expires)


FLOORS = [(40, 45, False), (45, 45, False), (50, 45, True), (60, 45, True), (60, 59, True), (60, 60, False)]
"""In how many minutes an override ends and the standing expiry comes, and whether it is renewed: a pause that
follows renews nothing, so a floor of 50 minutes may not fall after 45."""


@dataclass(frozen=True)
class Case:
    name: str
    seen: Context
    actions: list[Any] = field(default_factory=list)


def busy(floor: int, **kwargs: Any) -> Context:
    """Load that needs `floor` instances, which run."""
    return context(load=steady(floor * 1000), capacity=running(floor), **kwargs)


CASES = [
    Case("nothing differs", context(capacity=running(2))),
    Case(
        "a raising is written before its expiry",
        busy(5),
        [SetBounds(Envelope(5, 12), "differs"), PutExpiry(IN_AN_HOUR, POLICY)],
    ),
    Case(
        "a lowering is written after its expiry",
        busy(5, registered=Envelope(8, 12)),
        [PutExpiry(IN_AN_HOUR, POLICY), SetBounds(Envelope(5, 12), "differs")],
    ),
    Case(
        "an expiry that still has 30 minutes stands",
        busy(5, registered=Envelope(5, 12), memory=remembered(expires_at=NOW + timedelta(minutes=30))),
    ),
    Case(
        "below 30 minutes it is renewed",
        busy(5, registered=Envelope(5, 12), memory=remembered(expires_at=NOW + timedelta(minutes=29))),
        [PutExpiry(IN_AN_HOUR, POLICY)],
    ),
    Case(
        "an expiry left over from a longer wish is brought forward",
        busy(5, registered=Envelope(5, 12), memory=remembered(expires_at=NOW + timedelta(hours=9))),
        [PutExpiry(IN_AN_HOUR, POLICY)],
    ),
    Case(
        "an override's expiry covers all of it",
        context(capacity=running(6), overrides=[override("pin", 6, minutes_left=300)]),
        [
            PutExpiry(NOW + timedelta(minutes=300), POLICY),
            SetBounds(Envelope(6, 6), "differs"),
        ],  # the ceiling is lowered
    ),
    Case(
        "back at the policy's own bounds nothing is left to expire",
        context(capacity=running(2), registered=Envelope(5, 12), memory=remembered(expires_at=IN_AN_HOUR)),
        [SetBounds(POLICY, "differs"), DeleteExpiry()],
    ),
    Case(
        "a deployment reset the count: the same bounds again",
        context(load=steady(0), capacity=running(1)),
        [SetBounds(POLICY, "repair")],
    ),
    Case(
        "a count above the bounds too",
        context(
            load=steady(12_000),
            capacity=running(14),
            registered=Envelope(12, 12),
            memory=remembered(expires_at=IN_AN_HOUR),
        ),
        [SetBounds(Envelope(12, 12), "repair")],
    ),
    Case(
        "two minutes after our own write a count outside is only late",
        context(capacity=running(1), memory=remembered(written=POLICY, written_at=NOW - timedelta(seconds=119))),
    ),
    *(
        Case(
            f"after {tries} tries in vain the next one comes {wait} minutes after the last",
            context(capacity=running(1), memory=tried(tries, ago=wait)),
            [SetBounds(POLICY, "repair")],
        )
        for tries, wait in RETRIES
    ),
    *(
        Case(
            f"after {tries} tries in vain nothing is tried before {wait} minutes are over",
            context(capacity=running(1), memory=tried(tries, ago=wait - 1)),
        )
        for tries, wait in RETRIES
    ),
    Case(
        "that AAS fails every minute by itself puts nothing off",
        context(capacity=running(1), memory=tried(1, ago=4), refusal=refusal(minutes_ago=1)),
        [SetBounds(POLICY, "repair")],
    ),
    Case(
        "once the count has moved it counts from the start",
        context(
            load=steady(5000),
            capacity=running(3),
            registered=Envelope(5, 10),
            memory=tried(4, ago=2, floor=5),
            refusal=refusal(minutes_ago=1),
        ),
        [SetBounds(Envelope(5, 10), "repair"), PutExpiry(NOW + timedelta(minutes=20), POLICY)],  # a ceiling of an order
    ),
    Case(
        "another wish is written at once, and is one more try",
        context(
            load=steady(6000),
            capacity=running(1),
            registered=Envelope(5, 12),
            memory=tried(4, ago=3, floor=5),
            refusal=refusal(minutes_ago=1),
        ),
        [SetBounds(Envelope(6, 12), "again")],
    ),
    Case(
        "a read that lags behind our own write is not drift",
        busy(
            5,
            registered=POLICY,
            memory=remembered(written=Envelope(5, 12), written_at=NOW - timedelta(seconds=60), expires_at=IN_AN_HOUR),
        ),
    ),
    Case(
        "later it is drift",
        busy(
            5,
            registered=POLICY,
            memory=remembered(written=Envelope(5, 12), written_at=NOW - timedelta(minutes=3), expires_at=IN_AN_HOUR),
        ),
        [SetBounds(Envelope(5, 12), "differs")],
    ),
    Case(
        "nothing is written while the endpoint updates",
        context(load=steady(9000), capacity=running(2, status="Updating")),
    ),
    Case(
        "but an expiry that is missing is put",
        context(
            load=steady(9000),
            capacity=running(2, desired=5, status="Updating"),
            registered=Envelope(5, 12),
            memory=remembered(written=Envelope(5, 12), written_at=NOW - timedelta(minutes=3)),
        ),
        [PutExpiry(IN_AN_HOUR, POLICY)],
    ),
    Case(
        "and none is removed: a read may lag",
        context(
            load=steady(9000),
            capacity=running(2, desired=5, status="Updating"),
            registered=POLICY,
            memory=remembered(expires_at=IN_AN_HOUR),
        ),
    ),
    Case("nothing is written when the endpoint is gone", context(load=steady(9000), capacity=Missing("gone"))),
    *(
        Case(
            f"a floor for {end} minutes over an expiry in {at}: {'renewed' if renewed else 'it stands'}",
            context(
                capacity=running(4),
                registered=Envelope(4, 12),
                memory=remembered(expires_at=NOW + timedelta(minutes=at)),
                overrides=[override("floor", 4, minutes_left=end)],
            ),
            [PutExpiry(IN_AN_HOUR, POLICY)] if renewed else [],
        )
        for end, at, renewed in FLOORS
    ),
    Case("nothing is written while paused", context(load=steady(9000), overrides=[override("pause")])),
    Case(
        "a direct scale-in comes last",
        context(load=steady(1000), capacity=running(9), registered=Envelope(5, 12)),
        [SetBounds(POLICY, "differs"), SetCount(2)],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bounds(case: Case) -> None:
    assert list(plan_bounds(decide(case.seen))) == case.actions


FOREIGN = NativePolicy("by-hand", "TargetTrackingScaling", {"TargetValue": 70.0})
FOREIGN_ACTION = ScheduledAction(
    "nightly", {"Schedule": "cron(0 2 * * ? *)", "ScalableTargetAction": {"MinCapacity": 4}}
)
EMPTY = Inventory(registered=POLICY, policies=(), scheduled_actions=(), alarms={})
OWN_ALARMS = tuple(f"tidegate-target-prod-realtime-orders-AllTraffic-{what}" for what in ("errors", "saturation"))
SAVED = Original(envelope=Envelope(1, 4))


def in_order(document: dict[str, Any]) -> Inventory:
    """What stands after an enrolment, as AWS describes it (with fields of its own)."""
    wanted = native_policies(enrolment(document), "prod")
    return Inventory(
        registered=POLICY,
        policies=tuple(
            replace(
                p,
                configuration={**p.configuration, "Extra": 1},
                alarm=None,
                alarm_names=(p.alarm["AlarmName"],) if p.alarm else ("...-AlarmHigh-1", "...-AlarmLow-1"),
            )
            for p in wanted
        ),
        scheduled_actions=(),
        alarms={
            alarm["AlarmName"]: {**alarm, "StateValue": "OK"}
            for alarm in (*(p.alarm for p in wanted), *heard_alarms(enrolment(document), "prod"))
            if alarm
        },
    )


def test_enrolment_saves_first_then_replaces_then_puts() -> None:
    inventory = replace(EMPTY, policies=(FOREIGN,), scheduled_actions=(FOREIGN_ACTION,))
    actions = plan_natives(enrolment(REALTIME), "prod", inventory, None)
    assert actions[0] == SaveOriginal(
        Original(envelope=POLICY, policies=(FOREIGN,), scheduled_actions=(FOREIGN_ACTION,))
    )
    assert actions[1:3] == (DeletePolicy("by-hand"), DeleteScheduledAction("nightly"))
    assert [str(action) for action in actions[3:]] == [
        "put policy tidegate-prod-track-requests_per_instance",
        "put policy tidegate-prod-saturation",
        "put alarm tidegate-target-prod-realtime-orders-AllTraffic-errors",
    ]


@pytest.mark.parametrize("document", [REALTIME, ASYNC], ids=["realtime", "async"])
def test_what_stands_as_wanted_is_left_alone(document: dict[str, Any]) -> None:
    assert plan_natives(enrolment(document), "prod", in_order(document), SAVED) == ()


def test_a_policy_that_was_edited_is_put_again() -> None:
    standing = in_order(REALTIME)
    edited = replace(standing.policies[0], configuration={**standing.policies[0].configuration, "TargetValue": 5.0})
    inventory = replace(standing, policies=(edited, *standing.policies[1:]))
    assert [str(a) for a in plan_natives(enrolment(REALTIME), "prod", inventory, SAVED)] == [
        f"put policy {edited.name}"
    ]


def test_an_alarm_that_was_deleted_or_detached_is_put_again() -> None:
    standing = in_order(REALTIME)
    for broken in (
        replace(standing, alarms={n: a for n, a in standing.alarms.items() if not n.endswith("saturation")}),
        replace(
            standing,
            policies=tuple(replace(p, alarm_names=("...-AlarmHigh-1", "...-AlarmLow-1")) for p in standing.policies),
        ),
    ):
        assert [str(a) for a in plan_natives(enrolment(REALTIME), "prod", broken, SAVED)] == [
            "put policy tidegate-prod-saturation"
        ]


@pytest.mark.parametrize(
    ("alarms", "one_way", "put"),
    [
        (["High", "Low"], False, False),
        (["High"], False, True),
        (["Low"], False, True),
        ([], False, True),
        (["High"], True, False),  # whether AWS makes the other one then is not known (facts 2.1)
        (["Low"], True, True),
    ],
)
def test_a_tracking_policy_without_the_alarms_it_scales_by_is_put_again(
    alarms: list[str], one_way: bool, put: bool
) -> None:
    document = {
        **REALTIME,
        "policies": [{"type": "target_tracking", "metric": "cpu", "target": 60, "disable_scale_in": one_way}],
    }
    standing, name = in_order(document), "tidegate-prod-track-cpu"
    found = tuple(
        replace(p, alarm_names=tuple(f"...-Alarm{way}-1" for way in alarms)) if p.name == name else p
        for p in standing.policies
    )
    actions = plan_natives(enrolment(document), "prod", replace(standing, policies=found), SAVED)
    assert [str(action) for action in actions] == [f"put policy {name}"] * put


SECONDS = IN_AN_HOUR.replace(microsecond=0)
FALLS_BACK = {"MinCapacity": 2, "MaxCapacity": 12}
STANDS = {"Schedule": "rate(15 minutes)", "StartTime": SECONDS, "ScalableTargetAction": FALLS_BACK}


@pytest.mark.parametrize(
    ("remembered_at", "settings", "due"),
    [
        (None, None, False),
        (IN_AN_HOUR, STANDS, False),
        (IN_AN_HOUR, {**STANDS, "Timezone": "UTC"}, False),  # AWS may add to it
        (IN_AN_HOUR, None, True),
        (None, STANDS, True),
        (IN_AN_HOUR, {**STANDS, "StartTime": SECONDS + timedelta(days=365)}, True),
        (IN_AN_HOUR, {**STANDS, "ScalableTargetAction": {**FALLS_BACK, "MinCapacity": 0}}, True),
        (IN_AN_HOUR, {**STANDS, "Schedule": "cron(0 3 * * ? *)"}, True),
        (IN_AN_HOUR, {**STANDS, "EndTime": SECONDS}, True),
    ],
)
@pytest.mark.parametrize("floor", [2, 5])
def test_an_expiry_that_stands_otherwise_than_remembered_is_put_or_removed(
    floor: int, remembered_at: Any, settings: dict[str, Any] | None, due: bool
) -> None:
    """At a floor of 5 there must be one, at the policy's own none."""
    actions = tuple(ScheduledAction("tidegate-prod-expiry", each) for each in [settings] if each)
    seen = as_found(busy(floor, memory=remembered(expires_at=remembered_at)), actions, "prod")
    assert (seen.memory.expires_at == NOW) == due
    wanted = [PutExpiry(IN_AN_HOUR, POLICY)] if floor == 5 else [DeleteExpiry()]
    standing = remembered_at if not due else NOW
    right = standing is None if floor == 2 else standing == IN_AN_HOUR
    assert [a for a in plan_bounds(decide(seen)) if isinstance(a, PutExpiry | DeleteExpiry)] == (
        [] if right else wanted
    )


@pytest.mark.parametrize("change", [None, {"Threshold": 0.5}], ids=["deleted", "edited"])
def test_an_alarm_that_no_policy_follows_comes_back_too(change: dict[str, Any] | None) -> None:
    standing, name = in_order(REALTIME), "tidegate-target-prod-realtime-orders-AllTraffic-errors"
    others = {n: alarm for n, alarm in standing.alarms.items() if n != name}
    broken = replace(standing, alarms={**others, **({name: {**standing.alarms[name], **change}} if change else {})})
    assert plan_natives(enrolment(REALTIME), "prod", broken, SAVED) == (
        PutAlarm(next(a for a in heard_alarms(enrolment(REALTIME), "prod") if a["AlarmName"] == name)),
    )


def test_an_alarm_whose_objective_is_gone_goes() -> None:
    promised = {**REALTIME, "objectives": {**REALTIME["objectives"], "latency_p95": "200ms"}}
    alarms = {f"tidegate-target-prod-realtime-orders-AllTraffic-{what}" for what in ("latency", "slow")}
    before, after = in_order(promised), in_order(REALTIME)
    assert set(before.alarms) - set(after.alarms) == alarms
    assert plan_natives(enrolment(REALTIME), "prod", before, SAVED) == (
        DeletePolicy("tidegate-prod-slow"),
        DeleteAlarms(tuple(sorted(alarms))),
    )


def test_policies_and_alarms_of_ours_that_are_no_longer_wanted_go() -> None:
    standing = in_order(REALTIME)
    old = NativePolicy(
        "tidegate-prod-step-cpu-out",
        "StepScaling",
        {},
        alarm_names=("tidegate-target-prod-realtime-orders-AllTraffic-cpu-out",),
    )
    inventory = replace(
        standing, policies=(*standing.policies, old), alarms={**standing.alarms, old.alarm_names[0]: {}}
    )
    assert plan_natives(enrolment(REALTIME), "prod", inventory, SAVED) == (
        DeletePolicy(old.name),
        DeleteAlarms(old.alarm_names),
    )


def test_a_lost_original_is_marked_as_lost_not_invented() -> None:
    first = plan_natives(enrolment(REALTIME), "prod", in_order(REALTIME), None)[0]
    assert first == SaveOriginal(Original(envelope=POLICY, known=False))


def test_release_gives_back_what_was_there() -> None:
    original = Original(envelope=Envelope(1, 4), policies=(FOREIGN,), scheduled_actions=(FOREIGN_ACTION,))
    expiry = ScheduledAction("tidegate-prod-expiry", {})
    actions = plan_release("prod", replace(in_order(REALTIME), scheduled_actions=(expiry,)), original, NOW, gone=False)
    assert actions == (
        DeleteFallback(),
        DeleteScheduledAction("tidegate-prod-expiry"),
        DeletePolicy("tidegate-prod-track-requests_per_instance"),
        DeletePolicy("tidegate-prod-saturation"),
        DeleteAlarms(OWN_ALARMS),
        SetBounds(Envelope(1, 4), "release"),
        PutPolicy(FOREIGN),
        PutScheduledAction(FOREIGN_ACTION),
    )


REQUESTS = {"PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}}
GPU = {"CustomizedMetricSpecification": {"Namespace": "N", "MetricName": "GPUUtilization", "Statistic": "Average"}}


def tracking(name: str, metric: dict[str, Any], target: float) -> NativePolicy:
    return NativePolicy(name, "TargetTrackingScaling", {"TargetValue": target, **metric})


STEPS = NativePolicy("steps", "StepScaling", {"AdjustmentType": "ChangeInCapacity"})
SUCCESSORS = [
    # saved at adoption, put by others since, given back
    ([tracking("a", REQUESTS, 400)], [tracking("a-2", REQUESTS, 300)], [tracking("a-2", REQUESTS, 300)]),
    ([tracking("a", REQUESTS, 400)], [tracking("a", REQUESTS, 300)], [tracking("a", REQUESTS, 300)]),
    ([tracking("a", REQUESTS, 400)], [tracking("b", GPU, 60)], [tracking("a", REQUESTS, 400), tracking("b", GPU, 60)]),
    # `a` follows the GPU now, which `b` did: neither of the two saved is left
    ([tracking("a", REQUESTS, 400), tracking("b", GPU, 60)], [tracking("a", GPU, 50)], [tracking("a", GPU, 50)]),
    # a record that has two of one metric, which AAS took one after the other
    ([tracking("a", REQUESTS, 400), tracking("a-2", REQUESTS, 300)], [], [tracking("a-2", REQUESTS, 300)]),
    ([STEPS], [replace(STEPS, name="steps-2")], [STEPS, replace(STEPS, name="steps-2")]),
]


@pytest.mark.parametrize(("saved", "since", "given_back"), SUCCESSORS)
def test_of_two_policies_that_aas_takes_one_of_the_newer_is_given_back(
    saved: list[NativePolicy], since: list[NativePolicy], given_back: list[NativePolicy]
) -> None:
    """Put both, AAS refuses the second, and the release failed each hour for good."""
    record = Original(envelope=Envelope(1, 4), policies=(*saved,))
    found = original_of(replace(EMPTY, policies=(*since,)), "prod", record)
    assert [*found.policies] == given_back
    assert [
        a.policy for a in plan_release("prod", EMPTY, found, NOW, gone=False) if isinstance(a, PutPolicy)
    ] == given_back


def test_release_of_a_target_that_was_not_registered_deregisters_it() -> None:
    assert plan_release("prod", in_order(REALTIME), Original(envelope=None), NOW, gone=False)[-1] == Deregister()


@pytest.mark.parametrize("original", [None, Original(envelope=None, known=False)])
def test_release_without_a_record_leaves_the_endpoint_scaling_natively(original: Original | None) -> None:
    assert plan_release("prod", in_order(REALTIME), original, NOW, gone=False) == ()


@pytest.mark.parametrize("original", [None, Original(envelope=None, known=False)])
def test_what_is_left_scaling_natively_is_left_within_the_policys_own_bounds(original: Original | None) -> None:
    raised = replace(
        in_order(REALTIME),
        registered=Envelope(9, 12),
        scheduled_actions=(
            ScheduledAction(
                "tidegate-prod-expiry", {"ScalableTargetAction": {"MinCapacity": 2, "MaxCapacity": 12}, "Schedule": ""}
            ),
        ),
    )
    assert plan_release("prod", raised, original, NOW, gone=False) == (
        SetBounds(Envelope(2, 12), "release"),
        DeleteScheduledAction("tidegate-prod-expiry"),
    )


def test_release_of_a_deleted_endpoint_removes_what_is_left_over() -> None:
    actions = plan_release("prod", in_order(REALTIME), SAVED, NOW, gone=True)
    assert actions == (DeleteFallback(), DeleteAlarms(OWN_ALARMS), Deregister())
