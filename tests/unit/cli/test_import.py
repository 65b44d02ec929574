"""`tidegate import`: a policy file that reproduces what is registered, and hides nothing that it cannot say."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from cli.adoption import Imported, imported, measured_rates
from cli.estate import read_estate
from cli.findings import findings_of
from cli.main import app
from cli.policy_file import read_policy_file
from core.aws import clock
from core.context import Enrolment
from core.instances import gpus_of, vcpus_of
from core.model import Envelope, Mode, ScalableTarget
from core.native import native_policies
from core.policy import Fleet, parse_fleet
from core.ports import NativePolicy
from tests.desk import by_hand, desk
from tests.estates import (
    NOW,
    People,
    alarm,
    by_endpoint,
    by_variant,
    custom,
    fleet,
    requests,
    steps,
    wake,
)

ORDERS = "endpoint/orders/variant/AllTraffic"
BELOW = {"ComparisonOperator": "LessThanThreshold", "EvaluationPeriods": 15}
ABOVE = {"EvaluationPeriods": 3}


def take(people: People) -> tuple[Imported, Fleet]:
    """Import everything, and read it as the Lambdas do."""
    estate = read_estate(people, NOW)
    found = imported(estate, findings_of(estate), measured_rates(people, estate, people.account.now))
    fleet = parse_fleet(yaml.safe_load(found.text))
    assert yaml.safe_load(found.text) == json.loads(json.dumps(found.document))
    return found, fleet


def natives(people: People, fleet: Fleet) -> dict[ScalableTarget, list[NativePolicy]]:
    """What core would register of each target."""
    found = {}
    for target, entry in fleet.targets.items():
        types = {each.resource_id: each.instance_type for each in _variants(people)}
        kind = types.get(target.resource_id, "ml.g5.xlarge")
        enrolment = Enrolment(
            target=target,
            profile_name=entry.profile,
            profile=fleet.profiles[entry.profile],
            endpoint=entry.name,
            vcpus=vcpus_of(kind),
            gpus=gpus_of(kind),
        )
        found[target] = list(native_policies(enrolment, "prod"))
    return found


def _variants(people: People) -> Iterator[Any]:
    for endpoint in people.account.sagemaker.endpoints.values():
        yield from endpoint.variants.values()


# ---- what a policy comes to, however it is written ------------------------------------------------------------------


def metric_of(spec: Mapping[str, Any]) -> tuple[Any, ...]:
    """Name, namespace, dimensions and statistic of each part, and the expression with its ids numbered."""
    if "Metrics" not in spec:
        dimensions = frozenset((each["Name"], each["Value"]) for each in spec["Dimensions"])
        return (spec["Namespace"], spec["MetricName"], dimensions, spec["Statistic"])
    parts = [each for each in spec["Metrics"] if "MetricStat" in each]
    expression = next(each["Expression"] for each in spec["Metrics"] if "Expression" in each)
    for number, each in enumerate(parts):
        expression = re.sub(rf"\b{each['Id']}\b", f"#{number}", expression)
    measured = [metric_of({**each["MetricStat"]["Metric"], "Statistic": each["MetricStat"]["Stat"]}) for each in parts]
    return (*measured, expression)


def tracking_of(configuration: Mapping[str, Any]) -> tuple[Any, ...]:
    """Target tracking with AAS's defaults filled in."""
    predefined = configuration.get("PredefinedMetricSpecification")
    spec = (
        predefined["PredefinedMetricType"] if predefined else metric_of(configuration["CustomizedMetricSpecification"])
    )
    cooldowns = [configuration.get(f"Scale{way}Cooldown", 300) for way in ("In", "Out")]
    return (spec, configuration["TargetValue"], *cooldowns, configuration.get("DisableScaleIn", False))


def steps_of(configuration: Mapping[str, Any], called_by: Mapping[str, Any]) -> tuple[Any, ...]:
    """Steps in the metric's own terms, percentages summed as CloudWatch has them, as far as the alarm lets them act."""
    parts = metric_of(called_by)
    times = int(parts[-1].removeprefix("#0/")) if "Metrics" in called_by else 1
    metric = parts[0] if "Metrics" in called_by else parts
    at, above = called_by["Threshold"], called_by["ComparisonOperator"].startswith("Greater")
    spans = [
        (
            round(times * (at + max(each.get("MetricIntervalLowerBound", -math.inf), 0 if above else -math.inf)), 6),
            round(times * (at + min(each.get("MetricIntervalUpperBound", math.inf), math.inf if above else 0)), 6),
            each["ScalingAdjustment"],
        )
        for each in configuration["StepAdjustments"]
    ]
    return (metric, tuple(sorted(spans)), configuration.get("Cooldown", 300))


def registered(people: People, resource_id: str) -> set[tuple[Any, ...]]:
    """What stands in the account on a target, but for what leaves zero."""
    found: set[tuple[Any, ...]] = set()
    for policy in people.account.autoscaling.targets[resource_id].policies.values():
        if policy.tracking:
            found.add(tracking_of(policy.tracking))
        else:
            [called] = [
                each for each in people.account.cloudwatch.alarms.values() if policy.arn in each.config["AlarmActions"]
            ]
            if called.config["MetricName"] not in {"HasBacklogWithoutCapacity", "NoCapacityInvocationFailures"}:
                found.add(steps_of(policy.steps, called.config))
    return found


def reproduced(policies: list[NativePolicy]) -> set[tuple[Any, ...]]:
    """What core would register, but for its own safety nets: those that double, wake and send to sleep."""
    tracked = {tracking_of(each.configuration) for each in policies if "-track-" in each.name}
    return tracked | {steps_of(each.configuration, each.alarm or {}) for each in policies if "-step-" in each.name}


def same(people: People) -> Imported:
    """Import an account and require that all of it came through."""
    found, fleet = take(people)
    ours = natives(people, fleet)
    assert {target.resource_id for target in ours} == set(people.account.autoscaling.targets)
    for target, policies in ours.items():
        standing = people.account.autoscaling.targets[target.resource_id]
        profile = fleet.profiles[fleet.targets[target].profile]
        assert Envelope(profile.min_capacity, profile.max_capacity) == Envelope(standing.minimum, standing.maximum)
        assert profile.mode is Mode.SHADOW
        assert reproduced(policies) == registered(people, target.resource_id)
    return found


# ---- made-up set-ups ------------------------------------------------------------------------------------------------

cooldowns = st.fixed_dictionaries(
    {}, optional={"ScaleOutCooldown": st.integers(0, 900), "ScaleInCooldown": st.integers(0, 3600), "DisableScaleIn": st.booleans()}
)  # fmt: skip
targets = st.one_of(st.integers(1, 5000).map(float), st.floats(0.01, 5000).map(lambda value: round(value, 4)))


def divided(endpoint: str, metric: str, by: int) -> dict[str, Any]:
    measured = {"Namespace": "/aws/sagemaker/Endpoints", "MetricName": metric, "Dimensions": by_variant(endpoint)}
    parts = [{"Id": "usage", "ReturnData": False, "MetricStat": {"Metric": measured, "Stat": "Average"}}]
    return {"Metrics": [*parts, {"Id": "perCore", "Expression": f"usage / {by}", "ReturnData": True}]}


def each_by_name(endpoint: str) -> dict[str, dict[str, Any]]:
    """What people track on a real-time endpoint of 4 vCPUs, by the metric; AAS and the file take each once."""
    maximum = custom(1.0, "CPUUtilization", by_variant(endpoint))["CustomizedMetricSpecification"]
    concurrency = {"PredefinedMetricType": "SageMakerVariantConcurrentRequestsPerModelHighResolution"}
    mine = {"Namespace": "Shop", "MetricName": "Waiting", "Dimensions": by_endpoint("elsewhere"), "Statistic": "Sum"}
    return {
        "requests": {"PredefinedMetricSpecification": requests(1.0)["PredefinedMetricSpecification"]},
        "concurrency": {"PredefinedMetricSpecification": concurrency},
        "cpu": {"CustomizedMetricSpecification": {**maximum, "Statistic": "Maximum"}},
        "memory": {
            "CustomizedMetricSpecification": {**maximum, "MetricName": "MemoryUtilization", "Statistic": "Average"}
        },
        "gpu": {"CustomizedMetricSpecification": divided(endpoint, "GPUUtilization", 3)},
        "mine": {"CustomizedMetricSpecification": mine},
    }


@st.composite
def tracked(draw: st.DrawFn, endpoint: str) -> list[dict[str, Any]]:
    every = each_by_name(endpoint)
    names = draw(st.lists(st.sampled_from(sorted(every)), unique=True, max_size=4))
    percent = {"memory"}
    return [
        {
            **every[name],
            "TargetValue": draw(st.integers(1, 100)) * 1.0 if name in percent else draw(targets),
            **draw(cooldowns),
        }
        for name in names
    ]


@st.composite
def stepped(draw: st.DrawFn) -> tuple[float, dict[str, Any], float, dict[str, Any]]:
    """A policy that scales in below some CPU, and one that scales out above more of it."""
    low, high = draw(st.integers(1, 150)) * 1.0, draw(st.integers(151, 399)) * 1.0
    widths = draw(st.lists(st.integers(1, 40), max_size=3))
    bounds = [sum(widths[:n]) * 1.0 for n in range(len(widths) + 1)]
    changes = sorted(draw(st.lists(st.integers(1, 9), min_size=len(bounds), max_size=len(bounds))))
    out = steps(
        *zip(bounds, [*bounds[1:], None], changes, strict=True), Cooldown=(cooldown := draw(st.integers(0, 900)))
    )
    return low, steps((None, 0.0, -draw(st.integers(1, 5))), Cooldown=cooldown), high, out


@st.composite
def setups(draw: st.DrawFn, endpoint: str) -> dict[str, Any]:
    return {
        "instance_type": draw(st.sampled_from(["ml.m5.xlarge", "ml.g5.12xlarge"])),
        "bounds": sorted(draw(st.tuples(st.integers(1, 9), st.integers(1, 20)))),
        "tracked": draw(tracked(endpoint)),
        "stepped": draw(st.none() | stepped()),
    }


ONE = People()
"""Clients cost more than all the rest of an example."""


def registered_anew(every: list[dict[str, Any]]) -> People:
    """The same account with nothing in it but these."""
    sagemaker, aas, cloudwatch = ONE.account.sagemaker, ONE.account.autoscaling, ONE.account.cloudwatch
    for held in (sagemaker.endpoints, sagemaker.configs, aas.targets, cloudwatch.alarms):
        held.clear()
    for number, setup in enumerate(every):
        name = f"shop-{number}"
        resource = ONE.endpoint(name, instance_type=setup["instance_type"])
        ONE.register(resource, *setup["bounds"])
        for index, configuration in enumerate(setup["tracked"]):
            ONE.track(resource, f"t{index}", configuration)
        if setup["stepped"]:
            below, into, above, out = setup["stepped"]
            cpu = by_variant(name)
            ONE.step(resource, "out", out, alarm(f"{name}-out", "CPUUtilization", cpu, above, **ABOVE))
            ONE.step(resource, "in", into, alarm(f"{name}-in", "CPUUtilization", cpu, below, **BELOW))
    return ONE


@settings(max_examples=settings().max_examples // 4)  # each reads an account
@given(st.tuples(setups("shop-0"), setups("shop-1")))
def test_what_is_registered_is_what_core_would_register_from_the_file(every: tuple[dict[str, Any], ...]) -> None:
    assert same(registered_anew([*every])).left_out == ()


# ---- each kind, and the guides' own policies ------------------------------------------------------------------------


def test_aws_guides_own_set_ups_come_through() -> None:
    """A queue from zero, requests by instance with a morning, a component: docs/facts.md 5, 1.5."""
    people = fleet()
    found, read = take(people)
    ours = natives(people, read)
    for name in ("orders", "papers"):
        resource = f"endpoint/{name}/variant/AllTraffic"
        assert reproduced(ours[ScalableTarget(resource)]) == registered(people, resource)
    assert [each.name for each in ours[ScalableTarget("endpoint/papers/variant/AllTraffic")]][1:] == [
        "tidegate-prod-wake",
        "tidegate-prod-idle",
    ]
    assert "policy wake (ChangeInCapacity +1) leaves zero: Tidegate makes the like of it by itself" in flowing(
        found.text
    )
    assert [(name, each.what) for name, each in found.left_out] == [("orders", "scheduled action morning")]


def flowing(text: str) -> str:
    """The comments without their line breaks."""
    return re.sub(r"\n *# +", " ", text)


def test_the_tutorials_policies_of_cdk() -> None:
    """Requests at 1,000, CPU at 70, memory at 80, and steps on CPU, as `docs/choosing-a-policy.md` has them."""
    people = People()
    people.endpoint("orders", instance_type="ml.c5.2xlarge")  # 8 vCPUs
    people.register(ORDERS, 1, 8)
    people.track(ORDERS, "Requests", requests(1000.0, ScaleInCooldown=300, ScaleOutCooldown=60))
    people.track(ORDERS, "Cpu", custom(70.0, "CPUUtilization", by_variant("orders")))
    people.track(ORDERS, "Memory", custom(80.0, "MemoryUtilization", by_variant("orders")))
    cpu = by_variant("orders")
    people.step(
        ORDERS,
        "UpperPolicy",
        steps((0.0, 20.0, 1), (20.0, None, 2)),
        alarm("Upper", "CPUUtilization", cpu, 70.0, **ABOVE),
    )
    people.step(ORDERS, "LowerPolicy", steps((None, 0.0, -1)), alarm("Lower", "CPUUtilization", cpu, 30.0, **BELOW))
    found = same(people)
    [profile] = found.document["profiles"].values()
    assert profile["policies"][-1] == {
        "type": "step",
        "metric": "cpu",  # percent of a core: an eighth of theirs
        "steps": [
            {"upper": 3.75, "change": -1},
            {"lower": 3.75, "upper": 8.75, "change": 0},
            {"lower": 8.75, "upper": 11.25, "change": 1},
            {"lower": 11.25, "change": 2},
        ],
        "cooldown": "5m",
    }
    said = flowing(found.text)
    for code in ("CpuSummedOverCores", "StepsAgainstTracking", "ScaleInNeedsAll", "MemoryHoldsScaleIn"):
        assert f"orders: {code}: " in said


def test_equal_profiles_are_one_and_are_named_by_what_their_endpoints_share() -> None:
    people = People()
    for name in ("shop-search", "shop-ranking", "shop-cart", "other", "chat-8b"):
        resource = people.endpoint(name)
        people.register(resource, 1, 9 if name == "shop-cart" else 5)
        people.track(resource, "r", custom(50.0, "CPUUtilization", by_variant(name)))
    document = same(people).document
    assert {each["name"]: each["profile"] for each in document["endpoints"]} == {
        "chat-8b": "realtime-custom",
        "other": "realtime-custom",
        "shop-cart": "shop-cart",
        "shop-ranking": "realtime-custom",
        "shop-search": "realtime-custom",
    }
    people.account.sagemaker.endpoints.pop("other")
    people.account.sagemaker.endpoints.pop("chat-8b")
    assert set(take(people)[0].document["profiles"]) == {"shop", "shop-cart"}


def test_a_pair_of_scheduled_actions_is_a_window() -> None:
    people = People()
    people.endpoint("orders")
    people.register(ORDERS, 6, 8)  # it is day, and the morning's action has run
    berlin = {"Timezone": "Europe/Berlin"}
    people.schedule(ORDERS, "Morning rush", "cron(30 7 ? * MON-FRI *)", {"MinCapacity": 6, "MaxCapacity": 12}, **berlin)
    people.schedule(ORDERS, "evening", "cron(0 20 ? * MON-FRI *)", {"MinCapacity": 2, "MaxCapacity": 8}, **berlin)
    found, read = take(people)
    assert found.left_out == ()
    [profile] = read.profiles.values()
    assert (profile.min_capacity, profile.max_capacity) == (2, 12)
    [window] = profile.windows
    assert (window.name, window.start, window.until) == ("Morning-rush", "07:30", "20:00")
    assert (window.timezone, window.days, window.lead) == (
        "Europe/Berlin",
        ("mon", "tue", "wed", "thu", "fri"),
        timedelta(0),
    )
    assert window.min_capacity == 6
    assert "set the maximum too (12, 8): the profile has the higher one at all hours" in flowing(found.text)


LEFT_OUT_SCHEDULES: dict[str, list[tuple[str, str, dict[str, int]]]] = {
    "one that nothing sets back": [("up", "cron(0 7 * * ? *)", {"MinCapacity": 4})],
    "a rate": [("up", "rate(2 hours)", {"MinCapacity": 4}), ("down", "rate(3 hours)", {"MinCapacity": 1})],
    "once": [("up", "at(2026-12-24T08:00:00)", {"MinCapacity": 4})],
    # on Saturday nothing lowers it: a window until 06:00 of the next day would
    "overnight on weekdays": [
        ("up", "cron(0 20 ? * MON-FRI *)", {"MinCapacity": 4}),
        ("down", "cron(0 6 ? * MON-FRI *)", {"MinCapacity": 1}),
    ],
    "only the maximum": [
        ("up", "cron(0 7 * * ? *)", {"MaxCapacity": 9}),
        ("down", "cron(0 20 * * ? *)", {"MaxCapacity": 5}),
    ],
    "every quarter of an hour": [
        ("up", "cron(*/15 7 * * ? *)", {"MinCapacity": 4}),
        ("down", "cron(0 20 * * ? *)", {"MinCapacity": 1}),
    ],
}


@pytest.mark.parametrize("actions", LEFT_OUT_SCHEDULES.values(), ids=LEFT_OUT_SCHEDULES)
def test_other_scheduled_actions_are_left_out_as_a_comment(actions: list[tuple[str, str, dict[str, int]]]) -> None:
    people = People()
    people.endpoint("orders")
    people.register(ORDERS, 1, 8)
    for action in actions:
        people.schedule(ORDERS, *action)
    found, read = take(people)
    assert [each.what for _, each in found.left_out] == sorted(f"scheduled action {name}" for name, _, _ in actions)
    assert all(f"Schedule: {schedule}" in found.text for _, schedule, _ in actions)
    [profile] = read.profiles.values()
    assert (profile.min_capacity, profile.windows) == (1, ())


def above_300(people: People, name: str, configuration: dict[str, Any], **more: Any) -> None:
    people.step(ORDERS, name, configuration, alarm(name, "CPUUtilization", by_variant("orders"), 300.0, **more))


LEFT_OUT: dict[str, tuple[Any, str]] = {
    "latency as a target": (
        lambda p: p.track(ORDERS, "x", custom(5e4, "ModelLatency", by_variant("orders"))),
        "a latency does not fall in proportion to capacity",
    ),
    "a total": (
        lambda p: p.track(ORDERS, "x", custom(500.0, "Invocations", by_variant("orders"))),
        "a total does not fall when capacity is added",
    ),
    "percent of capacity": (
        lambda p: above_300(p, "x", {**steps((0.0, None, 50)), "AdjustmentType": "PercentChangeInCapacity"}),
        "steps of the file change capacity by a number, at the average (seen PercentChangeInCapacity, Average)",
    ),
    "the highest of the minute": (
        lambda p: above_300(p, "x", steps((0.0, None, 1), MetricAggregationType="Maximum")),
        "at the average (seen ChangeInCapacity, Maximum)",
    ),
    "no alarm": (lambda p: p.step(ORDERS, "x", steps((0.0, None, 1))), "steps of the file have one alarm (seen 0)"),
    "a metric of their own": (
        lambda p: p.step(ORDERS, "x", steps((0.0, None, 1)), alarm("x", "Waiting", by_variant("orders"), 5.0)),
        "steps of the file follow metrics of the catalogue, and this alarm follows none of them",
    ),
    "less where there is more": (
        lambda p: above_300(p, "x", steps((0.0, None, -1))),
        "an alarm on much load adds capacity, one on little takes it away; this does otherwise",
    ),
    "steps that end": (
        lambda p: above_300(p, "x", steps((0.0, 40.0, 1))),
        "the last scaling-out step must have no upper bound, or the highest load is ignored",
    ),
    "more load, fewer more": (
        lambda p: above_300(p, "x", steps((0.0, 40.0, 3), (40.0, None, 1))),
        "changes must rise with the metric: more load never means less capacity",
    ),
}


@pytest.mark.parametrize(("put", "why"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_what_the_file_cannot_say_is_a_comment_with_its_reason(put: Any, why: str) -> None:
    people = People()
    people.endpoint("orders")
    people.register(ORDERS, 1, 8)
    put(people)
    found, read = take(people)
    [(name, left)] = found.left_out
    assert (name, left.what) == ("orders", "policy x")
    assert why in left.why
    assert f"orders: NotExpressible: policy x: {left.why}" in flowing(found.text)
    assert [profile.policies for profile in read.profiles.values()] == [()]


any_bounds = st.lists(st.integers(-40, 40), unique=True, max_size=4).map(sorted)


@st.composite
def odd(draw: st.DrawFn, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A step policy and its alarm as somebody may have them: AAS asks only that the steps meet."""
    at, ends = draw(st.integers(50, 300)) * 1.0, draw(any_bounds)
    edges = [None if draw(st.booleans()) else -50.0, *map(float, ends), None if draw(st.booleans()) else 50.0]
    assume(edges != [None, None])  # AAS takes no step without any bound
    spans = [(low, high, draw(st.integers(-3, 3))) for low, high in pairwise(edges)]
    how = draw(st.sampled_from(["ChangeInCapacity"] * 4 + ["ExactCapacity", "PercentChangeInCapacity"]))
    above = draw(st.sampled_from(["GreaterThanOrEqualToThreshold", "GreaterThanThreshold", "LessThanThreshold"]))
    metric = draw(st.sampled_from(["CPUUtilization", "MemoryUtilization", "InvocationsPerInstance", "GPUUtilization"]))
    called = alarm(name, metric, by_variant("orders"), at, ComparisonOperator=above)
    return {**steps(*spans), "AdjustmentType": how}, called


@given(
    st.lists(st.integers(0, 1), min_size=1, max_size=3).flatmap(
        lambda n: st.tuples(*(odd(f"s{i}") for i, _ in enumerate(n)))
    )
)
@settings(max_examples=settings().max_examples // 2)
def test_nothing_is_dropped_in_silence(every: tuple[tuple[dict[str, Any], dict[str, Any]], ...]) -> None:
    people = registered_anew([])
    people.register(people.endpoint("orders"), 1, 8)
    for number, (configuration, called) in enumerate(every):
        people.step(ORDERS, f"s{number}", configuration, called)
    found, read = take(people)
    [policies] = natives(people, read).values()
    left = {each.what: each for _, each in found.left_out}
    come_through = {span for each in reproduced(policies) for span in each[1]}
    for number, (configuration, called) in enumerate(every):
        if f"policy s{number}" in left:
            assert f"NotExpressible: policy s{number}: {left[f'policy s{number}'].why}" in flowing(found.text)
        else:
            _, spans, _ = steps_of(configuration, called)
            assert {span for span in spans if span[0] < span[1]} <= come_through


def test_two_policies_on_one_metric_keep_the_first() -> None:
    people = People()
    people.endpoint("orders")
    people.register(ORDERS, 1, 8)
    above_300(people, "one", steps((0.0, None, 1)))
    above_300(people, "two", steps((0.0, None, 2)))
    [(_, left)] = take(people)[0].left_out
    assert left.what == "policy two"
    assert "must meet" in left.why


def test_a_suspension_is_said() -> None:
    people = People()
    people.endpoint("orders")
    people.register(ORDERS, 1, 8, SuspendedState={"DynamicScalingOutSuspended": True})
    found = take(people)[0]
    [(_, left)] = found.left_out
    assert left.what == "DynamicScalingOutSuspended"
    assert "the file knows no suspension; mode shadow writes nothing\n" in found.text, "AWS has no more to show"


def test_what_is_not_in_the_file_is_named_below_it() -> None:
    text = take(fleet())[0].text
    below = text.partition("# Not in this file:")[2]
    assert "hand-run: nothing is registered" in below
    assert "forms: serverless without provisioned concurrency" in below


def test_what_concerns_variants_names_each_as_itself() -> None:
    people = People()
    people.endpoint("orders", variant="blue")
    people.register("endpoint/orders/variant/blue", 1, 8)
    assert "# BlocksDeployment (orders/blue):" in take(people)[0].text


def test_an_endpoint_that_is_being_made_is_named_there_too() -> None:
    people = fleet()
    people.endpoint("young")
    people.account.endpoint("young").status = "Creating"
    assert "young: it is Creating, and hosts nothing" in take(people)[0].text.partition("# Not in this file:")[2]


def test_a_name_cannot_leave_its_comment() -> None:
    people = People()
    people.endpoint("orders")
    people.register(ORDERS, 1, 8)
    people.step(ORDERS, "x: {}  # evil", steps((0.0, None, 1)))
    assert set(yaml.safe_load(take(people)[0].text)["profiles"]) == {"orders"}


# ---- a queue's rate -------------------------------------------------------------------------------------------------


def papers(took: float | None) -> People:
    """A queue whose items took so many milliseconds, 4,000 of it waiting, in ten minutes of yesterday."""
    people = People()
    resource = people.endpoint("papers", asynchronous=True)
    people.register(resource, 0, 5)
    people.step(resource, "wake", steps((0.0, None, 1)), wake("papers"))
    cloudwatch = people.account.client("cloudwatch")
    for minute in range(10 if took else 0):
        for name, value in (("TotalProcessingTime", took), ("TimeInBacklog", 4000.0)):
            cloudwatch.put_metric_data(
                Namespace="AWS/SageMaker",
                MetricData=[
                    {
                        "MetricName": name,
                        "Dimensions": by_variant("papers"),  # type: ignore[typeddict-item]  # as the helper has it
                        "Timestamp": NOW - timedelta(hours=20, minutes=minute),
                        "Value": value or 0.0,
                    }
                ],
            )
    return people


def test_what_an_instance_works_off_is_measured_where_items_were_seen() -> None:
    found = take(papers(took=9000.0))[0]  # 5 seconds of its own: 12 a minute
    [profile] = found.document["profiles"].values()
    assert profile["objectives"]["items_per_minute"] == 12
    assert "items_per_minute is measured" in flowing(found.text)


def test_and_assumed_aloud_where_none_was() -> None:
    found = take(papers(took=None))[0]
    assert "items_per_minute: 1 is ASSUMED" in flowing(found.text)


# ---- the command ----------------------------------------------------------------------------------------------------


def tidegate(people: object, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["import", *arguments], obj=people)


def today() -> People:
    return fleet(clock.now().replace(second=0, microsecond=0))


def test_the_file_passes_policy_check_and_says_what_comes_next(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    result = tidegate(today(), "--output", str(file))
    assert result.exit_code == 0, result.output
    assert "3 targets in 3 profiles; 1 setting left out" in result.stderr
    assert f"tidegate plan --file {file} --stack NAME" in result.stderr
    assert len(read_policy_file(file).fleet.endpoints) == 3
    assert CliRunner().invoke(app, ["policy", "check", str(file)]).exit_code == 0
    again = tidegate(today(), "--output", str(file))
    assert (again.exit_code, again.stderr) == (2, f"refused: {file} exists: --force writes over it\n")
    assert tidegate(today(), "--output", str(file), "--force").exit_code == 0


def test_json_has_the_document_and_what_is_left_out() -> None:
    said = json.loads(tidegate(today(), "orders", "--json").stdout)
    assert [each["name"] for each in said["fleet"]["endpoints"]] == ["orders"]
    assert parse_fleet(said["fleet"]).profiles["orders"].mode is Mode.SHADOW
    [left] = said["left_out"]
    assert (left["target"], left["what"]) == ("orders", "scheduled action morning")
    assert left["aws"]["ScalableTargetAction"] == {"MinCapacity": 4}


def test_a_schedule_that_begins_some_day_is_left_out_with_that_day() -> None:
    people = People()
    resource = people.endpoint("orders")
    people.register(resource, 1, 4)
    people.schedule(resource, "sale", "cron(0 8 * * ? *)", {"MinCapacity": 3}, StartTime=NOW)
    result = tidegate(people, "--json")
    assert result.exit_code == 0, result.exception
    [left] = json.loads(result.stdout)["left_out"]
    assert left["aws"]["StartTime"] == NOW.isoformat()


def test_a_file_that_would_not_be_written_is_refused(tmp_path: Path) -> None:
    result = tidegate(today(), "--json", "--output", str(tmp_path / "fleet.json"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--json prints to stdout and goes without --output" in result.stderr


def test_an_account_without_scaling_gives_an_empty_file_that_holds(tmp_path: Path) -> None:
    people = People()
    people.endpoint("orders")
    file = tmp_path / "fleet.yaml"
    result = tidegate(people, "-o", str(file))
    assert (result.exit_code, "Next:" in result.stderr) == (0, False)  # delivered, it would release everything
    assert read_policy_file(file).fleet.endpoints == ()
    assert "# orders: nothing is registered" in file.read_text()


def test_import_then_plan_is_no_change(tmp_path: Path) -> None:
    with desk() as at:
        for name in ("orders", "chat"):
            by_hand(at.account, name)
        people = People(at.account)
        file = tmp_path / "fleet.yaml"
        assert tidegate(people, "-o", str(file)).exit_code == 0
        planned = at.run("plan", "--file", str(file))
        assert planned.exit_code == 0, planned.output
        assert (
            "No change: bounds, policies, scheduled actions and alarms of every endpoint stay as they are."
            in planned.stdout
        )
        assert "Plan: 2 to watch in shadow." in planned.stdout
