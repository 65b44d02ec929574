"""What the policy file may say, what it comes to, and how each mistake is answered."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigError
from core.model import Dimension, Kind, Mode, Override, OverrideAction, ScalableTarget, Scope, Signal, Starts
from core.overrides import parse_override
from core.policy import Profile, parse_fleet
from core.policy_scaling import StepScaling, TargetTracking

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)

REALTIME: dict[str, Any] = {"kind": "realtime", "min_capacity": 2, "max_capacity": 10}
ASYNC: dict[str, Any] = {
    "kind": "async",
    "min_capacity": 0,
    "max_capacity": 8,
    "objectives": {"items_per_minute": 4, "drain_within": "15m"},
}
WINDOW: dict[str, Any] = {"name": "night", "start": "01:30", "duration": "4h", "min_capacity": 6}
BATCH: dict[str, Any] = {"kind": "batch", "min_capacity": 1, "max_capacity": 8, "windows": [WINDOW]}
CPU: dict[str, Any] = {"type": "target_tracking", "metric": "cpu", "target": 70}

OWN: dict[str, Any] = {"namespace": "Shop/Queue", "name": "Waiting", "dimensions": {"Endpoint": "{endpoint}"}}
CPU_SPELLED: dict[str, Any] = {"namespace": "/aws/sagemaker/Endpoints", "name": "CPUUtilization"}
CPU_PER_CORE: dict[str, Any] = {"metrics": [{"id": "m1", **CPU_SPELLED}], "expression": "m1/4"}
WORKERS: dict[str, Any] = {"id": "workers", "namespace": "Shop/Queue", "name": "Workers"}


def custom(description: dict[str, Any] | None) -> dict[str, Any]:
    """Return a profile that tracks a metric of its own."""
    policy: dict[str, Any] = {"type": "target_tracking", "metric": "custom", "target": 20}
    return REALTIME | {"policies": [policy if description is None else policy | {"custom": description}]}


def per_worker(metric: dict[str, Any], expression: str = "jobs / workers") -> dict[str, Any]:
    """Return metric math that divides a metric by the workers."""
    return {"metrics": [{"id": "jobs", **metric}, WORKERS], "expression": expression}


def steps(*ranges: tuple[float | None, float | None, int]) -> dict[str, Any]:
    """Return a CPU step policy; a bound of None is left out."""
    written = [{"lower": low, "upper": high, "change": change} for low, high, change in ranges]
    return {
        "type": "step",
        "metric": "cpu",
        "steps": [{key: value for key, value in step.items() if value is not None} for step in written],
    }


def fleet_of(profile: dict[str, Any]) -> dict[str, Any]:
    return {"version": 1, "profiles": {"p": profile}}


def profile_of(profile: dict[str, Any]) -> Profile:
    return parse_fleet(fleet_of(profile)).profiles["p"]


def problems(document: object) -> dict[str, str]:
    """Return what is refused: what is allowed, by path."""
    with pytest.raises(ConfigError) as refusal:
        parse_fleet(document)
    return {".".join(str(part) for part in p.path): p.allowed for p in refusal.value.problems}


# --- documents that hold ---------------------------------------------------------------------------------------------

VALID = [
    ("an empty fleet", {"version": 1}),
    ("real-time", fleet_of(REALTIME)),
    ("asynchronous from zero", fleet_of(ASYNC)),
    ("batch", fleet_of(BATCH)),
    ("batch before an asynchronous endpoint may idle at zero", fleet_of(BATCH | {"serving": "async", "min_capacity": 0})),
    ("equal bounds pin", fleet_of(REALTIME | {"min_capacity": 3, "max_capacity": 3})),
    ("no native policy at all", fleet_of(REALTIME | {"policies": []})),
    ("steps on the queue", fleet_of(ASYNC | {"policies": [steps((80, None, 1)) | {"metric": "backlog_per_instance"}]})),
    ("GPUs of a queue", fleet_of(ASYNC | {"policies": [CPU | {"metric": "gpu"}]})),
    ("a metric of one's own", fleet_of(custom(OWN))),
    ("metric math", fleet_of(custom(per_worker(OWN)))),
    ("a total that is divided", fleet_of(custom(per_worker({"namespace": "AWS/SageMaker", "name": "Invocations"})))),
    ("another's metric of a refused name", fleet_of(custom({"namespace": "Shop", "name": "ModelLatency"}))),
    ("one metric under two types of policy", fleet_of(REALTIME | {"policies": [CPU, steps((80, None, 1))]})),
    ("two variants of one endpoint", {
        **fleet_of(REALTIME),
        "endpoints": [
            {"name": "orders", "profile": "p", "variant": "blue"},
            {"name": "orders", "profile": "p", "variant": "green"},
        ],
    }),
]  # fmt: skip


@pytest.mark.parametrize("document", [d for _, d in VALID], ids=[n for n, _ in VALID])
def test_holds(document: dict[str, Any]) -> None:
    assert parse_fleet(document).version == 1


TRUTHS = [
    ("profile", lambda truth: fleet_of(REALTIME | {"min_capacity": truth}), "profiles.p.min_capacity"),
    ("rate", lambda truth: fleet_of(REALTIME | {"objectives": {"requests_per_instance": truth}}),
     "profiles.p.objectives.requests_per_instance"),
    ("target", lambda truth: fleet_of(REALTIME | {"policies": [CPU | {"target": truth}]}),
     "profiles.p.policies.0.target_tracking.target"),
    ("step", lambda truth: fleet_of(REALTIME | {"policies": [steps((80, None, truth))]}),
     "profiles.p.policies.0.step.steps.0.change"),
    ("window", lambda truth: fleet_of(BATCH | {"windows": [BATCH["windows"][0] | {"min_capacity": truth}]}),
     "profiles.p.windows.0.min_capacity"),
    ("fleet", lambda truth: {"version": 1, "max_capacity": truth}, "max_capacity"),
]  # fmt: skip


@pytest.mark.parametrize("truth", [True, False])
@pytest.mark.parametrize(("made", "path"), [c[1:] for c in TRUTHS], ids=[c[0] for c in TRUTHS])
def test_a_truth_is_no_number(made: Callable[[bool], dict[str, Any]], path: str, truth: bool) -> None:
    """Python takes true for 1 and false for 0: an endpoint would have been scaled to that."""
    [(seen, said)] = problems(made(truth)).items()
    assert (seen, said.replace("whole ", "")) == (path, "must be a number")


def test_defaults_of_a_profile() -> None:
    profile = profile_of(REALTIME)
    assert profile.mode is Mode.ACTIVE
    assert profile.scale_in == "direct"
    assert profile.stabilization == timedelta(minutes=10)
    assert (profile.start, profile.provisioning_from_zero) == (timedelta(minutes=6), timedelta(minutes=8))
    queue = profile_of(ASYNC | {"objectives": {"items_per_minute": 4}, "provisioning": "10m"})
    assert queue.stabilization == timedelta(minutes=3)
    assert queue.provisioning_from_zero == timedelta(minutes=12)
    assert queue.idle_after == timedelta(minutes=9)  # a start bills 12, and 3 pass until the last one is gone
    assert profile_of(ASYNC | {"provisioning_from_zero": "2m"}).idle_after == timedelta(minutes=1)
    assert profile_of(REALTIME | {"provisioning": "3h"}).provisioning_from_zero == timedelta(hours=2)
    assert queue.objectives.finish_within(4) == 15
    short = profile_of(ASYNC | {"objectives": {"items_per_minute": 4, "expires_after": "4m"}})
    assert short.objectives.finish_within(4) == 4, "what nobody states is no promise to finish what is lost by then"
    assert short.backlog_target == 8  # half of 4 minutes at 4 a minute; 30, of 15, lost 228 of 480 without Tidegate
    assert queue.objectives.expires_after == timedelta(hours=6)
    assert parse_fleet({"version": 1}).max_capacity == 100


def test_a_fleet_survives_being_written_down() -> None:
    fleet = parse_fleet(fleet_of(BATCH | {"policies": [CPU, steps((None, 30, -1), (30, 70, 0), (70, None, 2))]}))
    assert parse_fleet(fleet.model_dump(mode="json")) == fleet


def test_custom_metrics_survive_being_written_down() -> None:
    for description in (OWN, per_worker(OWN)):
        fleet = parse_fleet(fleet_of(custom(description)))
        assert parse_fleet(fleet.model_dump(mode="json")) == fleet


DURATIONS = [("90s", 90), ("15m", 900), ("1h30m", 5400), ("1h", 3600), ("60s", 60)]


@pytest.mark.parametrize(("text", "seconds"), DURATIONS)
def test_durations(text: str, seconds: int) -> None:
    assert profile_of(REALTIME | {"stabilization": text}).stabilization == timedelta(seconds=seconds)


# --- what each kind gets by itself -----------------------------------------------------------------------------------

COPIES: dict[str, Any] = {"serving": "inference_component", "min_capacity": 0}

DEFAULTS = [
    ("requests at half of an instance", REALTIME | {"objectives": {"requests_per_instance": 400}},
     "requests_per_instance", 200.0),  # 0.5 * 400
    ("cpu while nothing is known of an instance", REALTIME, "cpu", 70.0),
    ("half of what drains in time", ASYNC, "backlog_per_instance", 30.0),  # 0.5 * 4 items/min * 15 min
    ("slow items: never below one", ASYNC | {"objectives": {"items_per_minute": 0.1, "drain_within": "5m"}},
     "backlog_per_instance", 1.0),  # 0.5 * max(0.1 * 5, 1) = 0.5
    ("batch before a real-time endpoint", BATCH | {"objectives": {"requests_per_instance": 40}},
     "requests_per_instance", 20.0),  # 0.5 * 40
    ("batch before a queue", BATCH | {"serving": "async", "objectives": {"items_per_minute": 10}},
     "backlog_per_instance", 75.0),  # 0.5 * 10 * 15
    ("requests at half of a copy", REALTIME | COPIES | {"objectives": {"requests_per_instance": 30}},
     "requests_per_copy", 15.0),  # 0.5 * 30
    ("gpu while nothing is known of a copy", REALTIME | COPIES, "gpu", 70.0),
    ("half of the provisioned concurrency", REALTIME | {"serving": "serverless"}, "provisioned_concurrency", 0.5),
]  # fmt: skip


@pytest.mark.parametrize(("profile", "metric", "target"), [c[1:] for c in DEFAULTS], ids=[c[0] for c in DEFAULTS])
def test_native_policy_by_default(profile: dict[str, Any], metric: str, target: float) -> None:
    (policy,) = profile_of(profile).native_policies
    assert isinstance(policy, TargetTracking)
    assert (policy.metric, policy.target) == (metric, target)


def took(*minutes: float) -> tuple[timedelta, ...]:
    return tuple(timedelta(minutes=each) for each in minutes)


@pytest.mark.parametrize(
    ("stated", "starts", "planned"),
    [
        ({}, Starts(), (6, 8, 5)),
        ({}, Starts(took(4, 4, 4, 4), took(9, 9)), (6, 8, 5)),  # too few of either
        ({}, Starts(took(*[4.2] * 5), took(*[9.5] * 5)), (4, 9, 6)),  # AAS looks once a minute: 3.2 to 4.2, 8.5 to 9.5
        ({}, Starts(took(*[4] * 18, 5, 12), ()), (4, 6, 3)),  # of twenty the nineteenth; 2 minutes more from zero
        ({}, Starts((), took(*[20] * 5)), (17, 19, 16)),
        ({}, Starts((), took(*[1] * 5)), (1, 1, 1)),
        ({"provisioning": "10m"}, Starts(took(*[4] * 5), ()), (10, 12, 9)),
        ({"provisioning": "10m"}, Starts((), took(*[20] * 5)), (10, 19, 16)),
        ({"provisioning_from_zero": "9m"}, Starts(took(*[4] * 5), took(*[20] * 5)), (3, 9, 6)),
        ({"idle_after": "15m"}, Starts((), took(*[20] * 5)), (17, 19, 15)),
        ({}, Starts(took(*[1800] * 5), ()), (1440, 120, 117)),
        ({}, Starts((), took(*[300] * 5)), (297, 120, 117)),  # AAS's alarms do not look back for ever
    ],
)
def test_a_queue_plans_with_what_starts_took_where_nothing_is_stated(
    stated: dict[str, Any], starts: Starts, planned: tuple[int, int, int]
) -> None:
    profile = profile_of(ASYNC | stated).started(starts)
    found = profile.start, profile.provisioning_from_zero, profile.idle_after
    assert tuple(each // timedelta(minutes=1) for each in found) == planned


def test_only_a_queue_does() -> None:
    profile = profile_of(REALTIME)
    assert profile.started(Starts(took(*[4] * 5), ())) == profile


def test_batch_before_a_queue_of_unknown_speed_has_no_native_policy() -> None:
    assert profile_of(BATCH | {"serving": "async"}).native_policies == ()


def test_declared_policies_replace_the_default() -> None:
    profile = profile_of(REALTIME | {"objectives": {"requests_per_instance": 400}, "policies": [CPU]})
    assert [policy.metric for policy in profile.native_policies] == ["cpu"]


def test_capacity_per_instance_is_the_objective_before_the_declared_target() -> None:
    requests = {"type": "target_tracking", "metric": "requests_per_instance", "target": 1000}
    declared = REALTIME | {"policies": [requests]}
    assert profile_of(declared).capacity_per_instance == 1000
    assert profile_of(declared | {"objectives": {"requests_per_instance": 1300}}).capacity_per_instance == 1300
    assert profile_of(REALTIME).capacity_per_instance is None


SIGNALS = [
    ("known capacity", REALTIME | {"objectives": {"requests_per_instance": 400}}, (Signal.REQUESTS,)),
    ("unknown capacity", REALTIME, ()),
    ("a queue", ASYNC, (Signal.BACKLOG, Signal.PROCESSED, Signal.FAILED, Signal.OLDEST)),
    (
        "a queue of your own",
        ASYNC | {"queue": {"sqs": "jobs"}},
        (Signal.BACKLOG, Signal.IN_FLIGHT, Signal.PROCESSED, Signal.OLDEST),
    ),
    (
        "one before instances",
        REALTIME | {"queue": {"sqs": "jobs"}, "objectives": {"items_per_minute": 4}},
        (Signal.BACKLOG, Signal.IN_FLIGHT, Signal.PROCESSED, Signal.OLDEST),
    ),
    (
        "batch, so that what nobody needs can go at once",
        BATCH | {"objectives": {"requests_per_instance": 40}},
        (Signal.REQUESTS,),
    ),
    ("batch of an unknown rate: its windows alone", BATCH, ()),
    ("a batch queue: its windows alone", BATCH | {"serving": "async", "objectives": {"items_per_minute": 4}}, ()),
]


@pytest.mark.parametrize(("profile", "signals"), [c[1:] for c in SIGNALS], ids=[c[0] for c in SIGNALS])
def test_signals(profile: dict[str, Any], signals: tuple[Signal, ...]) -> None:
    assert profile_of(profile).signals == signals


SETTLING = [
    ("requests come to rest at the target", REALTIME | {"objectives": {"requests_per_instance": 400}}, 200.0),
    ("a queue likewise", ASYNC, 30.0),
    ("not where AAS scales in", REALTIME | {"objectives": {"requests_per_instance": 400}, "scale_in": "native"}, None),
    ("not where cpu holds capacity", REALTIME | {"objectives": {"requests_per_instance": 9}, "policies": [CPU]}, None),
    ("not without native tracking", REALTIME | {"objectives": {"requests_per_instance": 9}, "policies": []}, None),
    ("not on batch profiles", BATCH, None),
]


@pytest.mark.parametrize(("profile", "target"), [c[1:] for c in SETTLING], ids=[c[0] for c in SETTLING])
def test_settling_target(profile: dict[str, Any], target: float | None) -> None:
    assert profile_of(profile).settling_target == target


# --- refusals --------------------------------------------------------------------------------------------------------

REFUSED = [
    ("max below min", REALTIME | {"max_capacity": 1}, "max_capacity", "must be at least min_capacity (2)"),
    ("real-time to zero", REALTIME | {"min_capacity": 0}, "min_capacity",
     "must be at least 1: only asynchronous endpoints and inference components can go to zero"),
    ("batch to zero before a real-time endpoint", BATCH | {"min_capacity": 0}, "min_capacity",
     "must be at least 1: only asynchronous endpoints and inference components can go to zero"),
    ("misspelt field", REALTIME | {"max_capacty": 3}, "max_capacty", "no such field; is it misspelt?"),
    ("missing field", {"kind": "realtime", "min_capacity": 1}, "max_capacity", "is required"),
    ("serverless to zero", REALTIME | {"serving": "serverless", "min_capacity": 0}, "min_capacity",
     "must be at least 1: only asynchronous endpoints and inference components can go to zero"),
    ("a queue is no real-time endpoint", REALTIME | {"serving": "async"}, "serving",
     "no endpoint of kind realtime serves so: async goes with kind async or batch, only it does"),
    ("a component is no queue", ASYNC | {"serving": "inference_component"}, "serving",
     "no endpoint of kind async serves so: async goes with kind async or batch, only it does"),
    ("a queue of unknown speed", ASYNC | {"objectives": {}}, "objectives",
     "an async profile needs items_per_minute: the items one instance finishes in a minute"),
    ("a duration without unit", REALTIME | {"stabilization": "10"}, "stabilization",
     "must be a duration such as 90s, 15m, 4h or 1h30m"),
    ("a number for a duration", REALTIME | {"stabilization": 10}, "stabilization",
     "must be a duration such as 90s, 15m, 4h or 1h30m"),
    ("one metric spelled twice", REALTIME | {"policies": [CPU, custom(CPU_SPELLED)["policies"][0]]}, "policies",
     "at most one policy of a type may use a metric"),
    ("divided, it is the same", REALTIME | {"policies": [CPU, custom(CPU_PER_CORE)["policies"][0]]}, "policies",
     "at most one policy of a type may use a metric"),
    ("gone before it can be back", REALTIME | {"provisioning": "8m", "policies": [CPU | {"scale_in_cooldown": "5m"}]},
     "policies",
     ("policy 0: scale_in_cooldown 5m is shorter than provisioning (8m): "
      "what is removed cannot be back before the next is removed")),
    ("a lead shorter than a start", BATCH | {"provisioning": "11m", "windows": [WINDOW | {"lead": "10m"}]}, "windows",
     "window 0 begins with cold instances: lead 10m is shorter than provisioning (11m)"),
    ("a duration longer than any", REALTIME | {"stabilization": "9999999999d"}, "stabilization",
     "must be a duration such as 90s, 15m, 4h or 1h30m"),
    ("an instance that serves next to nothing", REALTIME | {"objectives": {"requests_per_instance": 1e-9}},
     "objectives.requests_per_instance", "must be greater than or equal to 0.02"),
    ("a target that AAS would be told as 0", REALTIME | {"policies": [CPU | {"target": 0.00004}]},
     "policies.0.target_tracking.target", "must be greater than or equal to 0.0001"),
    ("a cooldown that AAS has no number for", REALTIME | {"policies": [CPU | {"scale_in_cooldown": "100000d"}]},
     "policies.0.target_tracking.scale_in_cooldown", "must be from 0s to 14d"),
    ("and of steps", REALTIME | {"policies": [steps((80, None, 1)) | {"cooldown": "100000d"}]},
     "policies.0.step.cooldown", "must be from 0s to 14d"),
    ("a start of days", REALTIME | {"provisioning": "2d"}, "provisioning", "must be from 1s to 24h"),
    ("stabilization too short", REALTIME | {"stabilization": "59s"}, "stabilization", "must be from 1m to 2h"),
    ("two objectives", ASYNC | {"objectives": {"items_per_minute": 4, "drain_within": "5m", "items_per_instance": 5}},
     "objectives.items_per_instance", "not together with drain_within: a queue has one objective"),
    ("lost before it is late", ASYNC | {"objectives": {"items_per_minute": 4, "drain_within": "2h", "expires_after": "1h"}},
     "objectives.expires_after", "must be at least the objective (2h), or items are lost in time"),
    ("a queue before a window", BATCH | {"queue": {"sqs": "jobs"}}, "queue",
     "a batch profile looks at no load: only kinds realtime and async work off a queue"),
    ("a queue of your own, of unknown speed", REALTIME | {"queue": {"sqs": "jobs"}, "objectives": {}}, "objectives",
     "a profile with a queue needs items_per_minute: the items one instance finishes in a minute"),
    ("latency of a queue of your own", REALTIME | {"queue": {"sqs": "jobs"},
      "objectives": {"items_per_minute": 4, "latency_p95": "200ms"}}, "objectives",
     "latency_p95 and concurrent_requests are of real-time endpoints: a queue answers later"),
    ("idle_after too long", ASYNC | {"idle_after": "121m"}, "idle_after", "must be from 1m to 2h"),
    ("percent above 100", REALTIME | {"policies": [CPU | {"target": 100.5}]}, "policies.0.target_tracking.target",
     "must be above 0 and at most 100 (percent per core)"),
    ("backlog of a real-time endpoint", REALTIME | {"policies": [CPU | {"metric": "backlog_per_instance"}]}, "policies",
     "policy 0: this kind of endpoint never publishes backlog_per_instance; the policy would block scale-in"),
    ("requests of a queue", ASYNC | {"policies": [CPU | {"metric": "requests_per_instance"}]}, "policies",
     "policy 0: this kind of endpoint never publishes requests_per_instance; the policy would block scale-in"),
    ("concurrent requests of a queue", ASYNC | {"policies": [CPU | {"metric": "concurrent_requests"}]}, "policies",
     "policy 0: this kind of endpoint never publishes concurrent_requests; the policy would block scale-in"),
    ("steps on a metric for tracking", REALTIME | {"policies": [steps((80, None, 1)) | {"metric": "concurrent_requests"}]},
     "policies.0.step.metric", "only target tracking follows this metric: it has no average a step could act on"),
    ("a metric twice", REALTIME | {"policies": [CPU, CPU | {"target": 60}]}, "policies",
     "at most one policy of a type may use a metric"),
    ("batch without windows", BATCH | {"windows": []}, "windows", "a batch profile needs at least one window"),
    ("window above the profile", BATCH | {"windows": [WINDOW | {"min_capacity": 9}]}, "windows",
     "window 0 needs 9, above max_capacity (8)"),
    ("windows of one name", BATCH | {"windows": [WINDOW, WINDOW]}, "windows",
     "window 1 is named 'night' like window 0"),
    ("windows with three things wrong", BATCH | {"windows": [WINDOW, WINDOW | {"min_capacity": 9, "lead": "5m"}]}
     | {"provisioning": "6m"}, "windows",
     ("window 1 needs 9, above max_capacity (8); window 1 begins with cold instances: lead 5m is shorter than "
      "provisioning (6m); window 1 is named 'night' like window 0")),
    ("window max below min", BATCH | {"windows": [WINDOW | {"max_capacity": 5}]}, "windows.0.max_capacity",
     "must be at least min_capacity (6)"),
    ("no such zone", BATCH | {"windows": [WINDOW | {"timezone": "Mars/Base"}]}, "windows.0.timezone",
     "must be an IANA time zone such as Europe/Berlin"),
    ("window of no length", BATCH | {"windows": [WINDOW | {"duration": "0h"}]}, "windows.0.duration",
     "must be from 1m to 24h"),
    ("window of two days", BATCH | {"windows": [WINDOW | {"duration": "2d"}]}, "windows.0.duration",
     "must be from 1m to 24h"),
    ("lead of two days", BATCH | {"windows": [WINDOW | {"lead": "2d"}]}, "windows.0.lead",
     "must be from 0s to 24h"),
]  # fmt: skip


TRACKED = "policies.0.target_tracking"
ID = "must use each metric by its id, and ids must differ (seen {})"
LATENCY = "a latency does not fall in proportion to capacity: track what causes it, requests or utilization"
TOTAL = "a total does not fall when capacity is added: divide it by the instances in an expression, or use {}"
UNDESCRIBED = "is required with metric custom, and allowed with no other"
REFUSED += [
    ("custom without a description", custom(None), f"{TRACKED}.custom", UNDESCRIBED),
    ("a description of another metric", REALTIME | {"policies": [CPU | {"custom": OWN}]}, f"{TRACKED}.custom", UNDESCRIBED),
    ("latency", custom({"namespace": "AWS/SageMaker", "name": "ModelLatency"}), f"{TRACKED}.custom.one.name", LATENCY),
    ("SageMaker's part of it", custom({"namespace": "AWS/SageMaker", "name": "OverheadLatency"}),
     f"{TRACKED}.custom.one.name", LATENCY),
    ("divided latency is latency", custom(per_worker({"namespace": "AWS/SageMaker", "name": "ModelLatency"})),
     f"{TRACKED}.custom.math.metrics.0.name", LATENCY),
    ("failures", custom({"namespace": "AWS/SageMaker", "name": "Invocation5XXErrors"}), f"{TRACKED}.custom.one.name",
     "failures are no measure of load: alarm on them, track requests or utilization"),
    ("all requests", custom({"namespace": "AWS/SageMaker", "name": "Invocations"}), f"{TRACKED}.custom.one.name",
     TOTAL.format("requests_per_instance")),
    ("the whole backlog", custom({"namespace": "AWS/SageMaker", "name": "ApproximateBacklogSize"}),
     f"{TRACKED}.custom.one.name", TOTAL.format("backlog_per_instance")),
    ("a total beside another", custom(per_worker({"namespace": "AWS/SageMaker", "name": "Invocations"}, "jobs + workers")),
     f"{TRACKED}.custom.math.expression", TOTAL.format("requests_per_instance")),
    ("a metric that is not used", custom(per_worker(OWN, "jobs / 2")), f"{TRACKED}.custom.math.expression",
     ID.format("jobs, workers")),
    ("a metric that is not there", custom(per_worker(OWN, "jobs / workers / m3")), f"{TRACKED}.custom.math.expression",
     ID.format("jobs, workers")),
    ("one id twice", custom(per_worker({**OWN, "id": "workers"}, "workers")), f"{TRACKED}.custom.math.expression",
     ID.format("workers, workers")),
    ("a period", custom({**OWN, "period": 60}), f"{TRACKED}.custom.one.period",
     "no such field: AAS takes no period and looks at custom metrics once a minute; remove it"),
    ("a period of the only metric", custom({"metrics": [WORKERS | {"period": 60}], "expression": "workers"}),
     f"{TRACKED}.custom.math.metrics.0.period",
     "no such field: AAS takes no period and looks at custom metrics once a minute; remove it"),
    ("one metric of one's own twice", REALTIME | {"policies": custom(OWN)["policies"] * 2}, "policies",
     "at most one policy of a type may use a metric"),
]  # fmt: skip


@pytest.mark.parametrize(("profile", "path", "allowed"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_refused(profile: dict[str, Any], path: str, allowed: str) -> None:
    assert problems(fleet_of(profile)) == {f"profiles.p.{path}": allowed}


PATTERNS = [
    ("a start that is no time", BATCH | {"windows": [WINDOW | {"start": "24:00"}]}, "windows.0.start"),
    ("a start read as a number", BATCH | {"windows": [WINDOW | {"start": 640}]}, "windows.0.start"),
    ("an unknown day", BATCH | {"windows": [WINDOW | {"days": ["mon", "monday"]}]}, "windows.0.days.1"),
    ("no days", BATCH | {"windows": [WINDOW | {"days": []}]}, "windows.0.days"),
    ("a target of nothing", REALTIME | {"policies": [CPU | {"target": 0}]}, "policies.0.target_tracking.target"),
    ("a target that is no number", REALTIME | {"policies": [CPU | {"target": float("nan")}]},
     "policies.0.target_tracking.target"),
    ("an infinite objective", REALTIME | {"objectives": {"requests_per_instance": float("inf")}},
     "objectives.requests_per_instance"),
    ("an unknown kind", REALTIME | {"kind": "serverless"}, "kind"),
    ("an unknown policy type", REALTIME | {"policies": [{"type": "predictive"}]}, "policies.0"),
    ("more than AAS takes", REALTIME | {"max_capacity": 10_001}, "max_capacity"),
    ("a percentile", custom(OWN | {"statistic": "p95"}), f"{TRACKED}.custom.one.statistic"),
    ("an eleventh metric", custom({"metrics": [WORKERS | {"id": f"m{i}"} for i in range(11)], "expression": "m1"}),
     f"{TRACKED}.custom.math.metrics"),
    ("a half instance", REALTIME | {"min_capacity": 1.5}, "min_capacity"),
]  # fmt: skip


@pytest.mark.parametrize(("profile", "path"), [c[1:] for c in PATTERNS], ids=[c[0] for c in PATTERNS])
def test_refused_in_the_words_of_pydantic(profile: dict[str, Any], path: str) -> None:
    assert set(problems(fleet_of(profile))) == {f"profiles.p.{path}"}


NOT_FLEETS: list[object] = [None, [], "version: 1", 1]


@pytest.mark.parametrize("document", NOT_FLEETS)
def test_what_is_no_mapping(document: object) -> None:
    assert problems(document) == {"": "must be a mapping of fields"}


def test_components_are_named_where_their_copies_are_scaled_and_nowhere_else() -> None:
    entry = {"name": "llm", "profile": "p", "inference_component": "chat-8b"}
    fleet = parse_fleet(fleet_of(REALTIME | COPIES) | {"endpoints": [entry]})
    assert list(fleet.targets) == [ScalableTarget("inference-component/chat-8b", Dimension.COPIES)]
    assert problems(fleet_of(REALTIME | COPIES) | {"endpoints": [{"name": "llm", "profile": "p"}]}) == {
        "endpoints": "llm needs inference_component: profile p has serving inference_component"
    }
    assert problems(fleet_of(REALTIME) | {"endpoints": [entry]}) == {
        "endpoints": "llm takes no inference_component: profile p has serving realtime"
    }


def test_a_serverless_variant_is_scaled_by_its_provisioned_concurrency() -> None:
    document = fleet_of(REALTIME | {"serving": "serverless"}) | {"endpoints": [{"name": "a", "profile": "p"}]}
    variant = ScalableTarget("endpoint/a/variant/AllTraffic", Dimension.CONCURRENCY)
    assert list(parse_fleet(document).targets) == [variant]


def test_endpoints_name_profiles_of_the_file_and_come_once() -> None:
    document = fleet_of(REALTIME) | {"endpoints": [{"name": "a", "profile": "q"}]}
    assert problems(document) == {"endpoints.0.profile": "must name a profile of this file (p)"}
    document = fleet_of(REALTIME) | {"endpoints": [{"name": "a", "profile": "p"}, {"name": "a", "profile": "p"}]}
    assert problems(document) == {"endpoints": "each variant or inference component may be listed once (a/AllTraffic)"}
    twins = [{"name": name, "profile": "p", "inference_component": "chat-8b"} for name in ("a", "b")]
    document = fleet_of(REALTIME | COPIES) | {"endpoints": twins}
    assert problems(document) == {"endpoints": "each variant or inference component may be listed once (chat-8b)"}
    document = {"version": 1, "endpoints": [{"name": "a", "profile": "p"}]}
    assert problems(document) == {"endpoints.0.profile": "must name a profile of this file (there are none)"}


def test_every_problem_of_a_document_is_reported_at_once() -> None:
    document = {
        "version": 2,
        "profiles": {
            "chat": REALTIME | {"max_capacity": 1, "stabilization": "1s", "policies": [CPU | {"target": 170}]},
            "documents": ASYNC | {"objectives": {}},
            "night": BATCH | {"windows": [WINDOW | {"timezone": "Mars/Base", "start": "9:00"}]},
        },
        "endpoints": [{"name": "no spaces", "profile": "chatt"}],
        "max_capcity": 3,
    }
    assert set(problems(document)) == {
        "version",
        "profiles.chat.max_capacity",
        "profiles.chat.stabilization",
        "profiles.chat.policies.0.target_tracking.target",
        "profiles.documents.objectives",
        "profiles.night.windows.0.timezone",
        "profiles.night.windows.0.start",
        "endpoints.0.name",
        "endpoints.0.profile",
        "max_capcity",
    }


def test_a_problem_says_where_what_was_seen_and_what_is_allowed() -> None:
    with pytest.raises(ConfigError) as refusal:
        parse_fleet(fleet_of(BATCH | {"windows": [WINDOW | {"max_capacity": 5}]}))
    assert str(refusal.value) == "profiles.p.windows[0].max_capacity = 5: must be at least min_capacity (6)"
    with pytest.raises(ConfigError) as refusal:
        parse_fleet(fleet_of(REALTIME | {"stabilization": "3h"}))
    assert str(refusal.value) == "profiles.p.stabilization = '3h': must be from 1m to 2h"


# --- steps -----------------------------------------------------------------------------------------------------------

MEET = "steps {} and {} must meet: upper of one is lower of the next (seen upper {}, lower {})"
STEPS = [
    ("the four of the tutorial", [(None, 30, -1), (30, 70, 0), (70, 90, 1), (90, None, 2)], None),
    ("one", [(80, None, 1)], None),
    ("the tutorial's, with a gap and a bound too much", [(None, 30, -1), (60, None, 0), (70, 100, 1), (100, None, 2)],
     MEET.format(0, 1, 30.0, 60.0) + "; these do: [{upper: 30, change: -1}, {lower: 30, upper: 70, change: 0}, "
     "{lower: 70, upper: 100, change: 1}, {lower: 100, change: 2}]"),
    ("a gap between in and out", [(None, 30, -1), (40, None, 1)], MEET.format(0, 1, 30.0, 40.0)
     + "; these do: [{upper: 30, change: -1}, {lower: 30, upper: 40, change: 0}, {lower: 40, change: 1}]"),
    ("a gap while scaling out", [(70, 80, 1), (90, None, 2)], MEET.format(0, 1, 80.0, 90.0)
     + "; these do: [{lower: 70, upper: 90, change: 1}, {lower: 90, change: 2}]"),
    ("a gap while scaling in", [(None, 10, -2), (20, 30, -1)], MEET.format(0, 1, 10.0, 20.0)
     + "; these do: [{upper: 10, change: -2}, {lower: 10, upper: 30, change: -1}]"),
    ("an overlap", [(None, 30, -1), (20, None, 1)], MEET.format(0, 1, 30.0, 20.0)
     + "; these do: [{upper: 20, change: -1}, {lower: 20, change: 1}]"),
    ("open in the middle", [(None, 30, -1), (30, None, 0), (70, None, 1)], MEET.format(1, 2, None, 70.0)
     + "; these do: [{upper: 30, change: -1}, {lower: 30, upper: 70, change: 0}, {lower: 70, change: 1}]"),
    ("open below in the middle", [(None, 30, -1), (None, None, 1)], MEET.format(0, 1, 30.0, None)
     + "; these do: [{upper: 30, change: -1}, {lower: 30, change: 1}]"),
    ("falling order", [(70, None, 1), (None, 30, -1)], MEET.format(0, 1, None, None)
     + "; these do: [{upper: 30, change: -1}, {lower: 30, upper: 70, change: 0}, {lower: 70, change: 1}]"),
    ("no bounds at all", [(None, None, 0), (None, None, 1)], MEET.format(0, 1, None, None)),
    ("turned round", [(None, 70, 1), (70, None, -1)],
     "changes must rise with the metric: more load never means less capacity"),
    ("empty range", [(50, 50, 1)], "each step needs lower < upper; these do: [{lower: 50, change: 1}]"),
    ("the highest load ignored", [(70, 90, 1)],
     "the last scaling-out step must have no upper bound, or the highest load is ignored; these do: [{lower: 70, change: 1}]"),
    ("the lowest load ignored", [(10, 30, -1)],
     "the first scaling-in step must have no lower bound; these do: [{upper: 30, change: -1}]"),
    ("out at every load", [(None, None, 1)],
     "the first scaling-out step must have a lower bound, or it adds capacity at any load"),
    ("out at little load, more at much", [(None, 10, 1), (10, None, 3)],
     "the first scaling-out step must have a lower bound, or it adds capacity at any load"),
    ("in at every load", [(None, None, -1)], "the last scaling-in step must have an upper bound"),
    ("in faster at little load", [(None, 30, -2), (30, None, -1)], "the last scaling-in step must have an upper bound"),
    ("nothing is changed", [(None, 70, 0), (70, None, 0)], "at least one step must change capacity"),
    ("below nothing", [(-5, None, 1)], "no metric is below 0, so no step begins below it or ends at it"),
    ("up to nothing", [(None, 0, -1)], "no metric is below 0, so no step begins below it or ends at it"),
]  # fmt: skip


@pytest.mark.parametrize(("ranges", "why"), [c[1:] for c in STEPS], ids=[c[0] for c in STEPS])
def test_step_ranges(ranges: list[tuple[float | None, float | None, int]], why: str | None) -> None:
    document = fleet_of(REALTIME | {"policies": [steps(*ranges)]})
    if why is None:
        parse_fleet(document)
    else:
        assert problems(document) == {"profiles.p.policies.0.step.steps": why}


PER_CORE = "the metric is at most 100 (percent per core): capacity would never be added, or always be taken away"
REACHED = [
    ("at the most there can be", "cpu", [(100, None, 1)], None, None),
    ("a further step that is never reached", "cpu", [(90, 110, 1), (110, None, 3)], None, None),
    ("70 % as CloudWatch sums four cores", "cpu", [(280, None, 1)], None, PER_CORE),
    ("the same in AWS's form", "cpu", [(0, None, 1)], 280, PER_CORE),
    ("taken away up to what CloudWatch sums", "cpu", [(None, 120, -1)], None, PER_CORE),
    ("per GPU", "gpu_memory", [(180, None, 1)], None, PER_CORE.replace("core", "GPU")),
    ("load, which has no end", "requests_per_instance", [(280, None, 1)], None, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "ranges", "threshold", "why"), [c[1:] for c in REACHED], ids=[c[0] for c in REACHED]
)
def test_steps_begin_within_what_their_metric_can_reach(
    metric: str, ranges: list[tuple[float | None, float | None, int]], threshold: float | None, why: str | None
) -> None:
    policy = steps(*ranges) | {"metric": metric, "threshold": threshold}
    document = fleet_of(REALTIME | {"policies": [policy]})
    if why is None:
        parse_fleet(document)
    else:
        assert problems(document) == {"profiles.p.policies.0.step.steps": why}


BOUND = st.none() | st.sampled_from([0, 10, 20, 30.5, 50])


@given(st.lists(st.tuples(BOUND, BOUND, st.integers(-2, 2)), min_size=1, max_size=5))
def test_what_a_refusal_shows_can_be_pasted(ranges: list[tuple[float | None, float | None, int]]) -> None:
    document = fleet_of(REALTIME | {"policies": [steps(*ranges)]})
    try:
        parse_fleet(document)
    except ConfigError as refusal:
        _, _, shown = str(refusal).partition("these do: ")
        if shown:
            document["profiles"]["p"]["policies"][0]["steps"] = yaml.safe_load(shown)
            parse_fleet(document)


def test_aws_s_form_counts_from_a_threshold() -> None:
    relative = steps((-40, 0, 0), (0, 20, 1), (20, None, 2)) | {"threshold": 70}
    (policy,) = profile_of(REALTIME | {"policies": [relative]}).native_policies
    assert isinstance(policy, StepScaling)
    assert [step.text() for step in policy.ranges] == [
        "{lower: 30, upper: 70, change: 0}", "{lower: 70, upper: 90, change: 1}", "{lower: 90, change: 2}",
    ]  # fmt: skip


# --- overrides -------------------------------------------------------------------------------------------------------

FORTNIGHT = timedelta(days=14)
PIN: dict[str, Any] = {
    "request_id": "INC-1234",
    "action": "pin",
    "target": "orders",
    "capacity": 6,
    "expires_at": "2026-03-02T15:00:00Z",
    "reason": "campaign",
    "requested_by": "maria",
}


LASTING = {key: value for key, value in PIN.items() if key != "expires_at"}


def override_problems(event: object) -> dict[str, str]:
    with pytest.raises(ConfigError) as refusal:
        parse_override(event, NOW, FORTNIGHT)
    return {".".join(str(part) for part in p.path): p.allowed for p in refusal.value.problems}


def test_an_override_request_becomes_an_override() -> None:
    request = parse_override(PIN | {"expires_at": "2026-03-02T16:00:00+01:00"}, NOW, FORTNIGHT)
    assert request.as_override(NOW, "6d9c8c5c") == Override(
        override_id="INC-1234",
        action=OverrideAction.PIN,
        scope=Scope.TARGET,
        subject="endpoint/orders/variant/AllTraffic",
        capacity=6,
        created_at=NOW,
        expires_at=datetime(2026, 3, 2, 15, tzinfo=UTC),
        reason="campaign",
        requested_by="maria",
        invocation="6d9c8c5c",
    )


def test_a_duration_counts_from_when_the_request_is_received() -> None:
    made = parse_override(LASTING | {"duration": "1h30m"}, NOW, FORTNIGHT).as_override(NOW, "")
    assert made.expires_at == NOW + timedelta(minutes=90)


SCOPES = [
    ({"target": "orders", "variant": "blue"}, Scope.TARGET, "endpoint/orders/variant/blue"),
    ({"target": "orders", "inference_component": "chat-8b"}, Scope.TARGET, "inference-component/chat-8b"),
    ({"inference_component": "chat-8b"}, Scope.TARGET, "inference-component/chat-8b"),
    ({"tag": "team=search"}, Scope.TAG, "team=search"),
    ({"profile": "chat"}, Scope.PROFILE, "chat"),
    ({"fleet": True}, Scope.FLEET, ""),
]


@pytest.mark.parametrize(("stated", "scope", "subject"), SCOPES)
def test_an_override_is_for_a_target_a_tag_a_profile_or_the_fleet(
    stated: dict[str, Any], scope: Scope, subject: str
) -> None:
    event = {key: value for key, value in PIN.items() if key != "target"} | stated
    assert parse_override(event, NOW, FORTNIGHT).place == (scope, subject)


ONE = "state exactly one of target, tag, profile, fleet"
RANGE = "must be after now (2026-03-02T12:00Z) and at most 14d ahead"
OVERRIDES = [
    ("ends now", PIN | {"expires_at": "2026-03-02T12:00:00Z"}, "expires_at", RANGE),
    ("a second later holds", PIN | {"expires_at": "2026-03-02T12:00:01Z"}, None, None),
    ("14 days hold", PIN | {"expires_at": "2026-03-16T12:00:00Z"}, None, None),
    ("14 days and a second", PIN | {"expires_at": "2026-03-16T12:00:01Z"}, "expires_at", RANGE),
    ("pin without capacity", PIN | {"capacity": None}, "capacity", "pin needs a capacity"),
    ("floor without capacity", PIN | {"action": "floor", "capacity": None}, "capacity", "floor needs a capacity"),
    ("pause with capacity", PIN | {"action": "pause"}, "capacity", "pause takes no capacity"),
    ("pause", PIN | {"action": "pause", "capacity": None}, None, None),
    ("resume", PIN | {"action": "resume", "capacity": None, "expires_at": None}, None, None),
    (
        "resume with an end",
        PIN | {"action": "resume", "capacity": None},
        "expires_at",
        "resume takes no end: it ends others",
    ),
    ("no end", PIN | {"expires_at": None}, "expires_at", "state exactly one of duration, expires_at"),
    ("two ends", PIN | {"duration": "2h"}, "expires_at", "state exactly one of duration, expires_at"),
    ("a duration", LASTING | {"duration": "14d"}, None, None),
    ("14 days and a minute long", LASTING | {"duration": "14d1m"}, "duration", RANGE),
    ("of no length", LASTING | {"duration": "0m"}, "duration", RANGE),
    ("no duration", LASTING | {"duration": "2 h"}, "duration", "must be a duration such as 90s, 15m, 4h or 1h30m"),
    (
        "resume for a while",
        LASTING | {"action": "resume", "capacity": None, "duration": "2h"},
        "duration",
        "resume takes no end: it ends others",
    ),
    ("two scopes", PIN | {"profile": "chat"}, "fleet", ONE),
    ("target and fleet", PIN | {"fleet": True}, "fleet", ONE),
    ("no scope", PIN | {"target": None}, "fleet", ONE),
    ("tag without a value", PIN | {"target": None, "tag": "team"}, "tag", "must match pattern '^[^=]+=.*$'"),
    ("misspelt", PIN | {"dryrun": True}, "dryrun", "no such field; is it misspelt?"),
]


@pytest.mark.parametrize(("event", "path", "allowed"), [c[1:] for c in OVERRIDES], ids=[c[0] for c in OVERRIDES])
def test_override_request(event: dict[str, Any], path: str | None, allowed: str | None) -> None:
    if path is None:
        parse_override(event, NOW, FORTNIGHT)
    else:
        assert override_problems(event) == {path: allowed}


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a document, at any depth."""
    yield at
    keys = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in keys:
        yield from places(inner, (*at, key))


def replaced(value: Any, at: tuple[Any, ...], wrong: object) -> Any:
    if not at:
        return wrong
    copy = value.copy()
    copy[at[0]] = replaced(value[at[0]], at[1:], wrong)
    return copy


EVERY = {
    "version": 1,
    "longest_override": "2d",
    "profiles": {
        "night": BATCH | {"timezone": "Europe/Berlin", "windows": [WINDOW | {"days": ["mon"]}]},
        "cores": REALTIME | {"policies": [CPU | {"scale_in_cooldown": "10m"}], "forecast": "off", "mode": "shadow"},
    },
    "endpoints": [{"name": "orders", "profile": "night", "adopt": True, "vcpus": 4}],
}
THEIRS = re.compile(r"should|Input|valid |dictionary|tuple|instance of|validation")


@pytest.mark.parametrize("wrong", [None, -1, 1e12, "no such", "", [], [1], {}, {"a": 1}], ids=repr)
def test_whatever_is_wrong_anywhere_is_said_in_our_words(wrong: object) -> None:
    said = []
    for document, at, read in (
        *((EVERY, at, parse_fleet) for at in places(EVERY)),
        *((PIN, (field,), lambda event: parse_override(event, NOW, FORTNIGHT)) for field in PIN),
    ):
        read(document)
        try:
            read(replaced(document, at, wrong))
        except ConfigError as refusal:
            said += [(at, problem.allowed) for problem in refusal.problems]
    assert len(said) > len(PIN)
    assert [each for each in said if THEIRS.search(each[1])] == []


def test_an_override_without_a_capacity_field_is_refused_too() -> None:
    event = {key: value for key, value in PIN.items() if key != "capacity"}
    assert override_problems(event) == {"capacity": "pin needs a capacity"}


def test_every_problem_of_an_override_is_reported_at_once() -> None:
    event = {"action": "drain", "target": "a/b", "expires_at": "2026-03-02T15:00:00", "reason": "x", "request_id": ""}
    assert set(override_problems(event)) == {
        "action", "target", "expires_at", "reason", "request_id", "requested_by",
    }  # fmt: skip


def test_a_missing_field_does_not_repeat_the_whole_event() -> None:
    with pytest.raises(ConfigError) as refusal:
        parse_override({key: value for key, value in PIN.items() if key != "reason"}, NOW, FORTNIGHT)
    assert str(refusal.value) == "reason: is required"


def test_kinds_of_the_file_are_the_kinds_of_the_core() -> None:
    assert {profile_of(p).kind for p in (REALTIME, ASYNC, BATCH)} == set(Kind)
