"""Deployments and refusals by the minute: the real handlers against simulated AWS."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from core.model import Reason
from simulator.account import SimulatedAccount
from simulator.in_memory import InMemoryStore
from simulator.stack import SimulatedStack
from simulator.workload import RealtimeWorkload
from tests.unit.test_native import TUTORIAL

START = datetime(2026, 11, 18, 9, 30, tzinfo=UTC)
WEB: dict[str, Any] = {
    "kind": "realtime",
    "min_capacity": 2,
    "max_capacity": 12,
    "objectives": {"requests_per_instance": 1000},
}
ORDERS = "endpoint/orders/variant/AllTraffic"
RAMP = [1500] * 10 + [1500 + 300 * minute for minute in range(20)] + [7500] * 300


def stack(load: list[int], profile: dict[str, Any] = WEB, *, tagged: bool = False, **endpoint: Any) -> SimulatedStack:
    """`orders` with two instances that serve 1,000 requests a minute each, enrolled."""
    account = SimulatedAccount(START)
    workload = RealtimeWorkload(per_minute_requests=load, capacity_per_instance=1000, vcpus=8)
    tags = {"tidegate:profile": "p"} if tagged else {}
    made = {"instance_type": "ml.c5.2xlarge", "instance_count": 2, "tags": tags, **endpoint}
    account.add_endpoint(name="orders", workload=workload, **made)
    endpoints = [] if tagged else [{"name": "orders", "profile": "p"}]
    found = SimulatedStack(account, {"version": 1, "profiles": {"p": profile}, "endpoints": endpoints}, direct=True)
    found.invoke("FleetSync", {"trigger": "policy"})
    return found


def run(made: SimulatedStack, minutes: int) -> None:
    for _ in range(minutes):
        made.minute()


def update(made: SimulatedStack, *variants: dict[str, Any], config: str = "next", **more: Any) -> None:
    sagemaker: Any = made.account.client("sagemaker")
    sagemaker.create_endpoint_config(EndpointConfigName=config, ProductionVariants=[*variants])
    sagemaker.update_endpoint(EndpointName="orders", EndpointConfigName=config, **more)


def variant(name: str, instances: int, instance_type: str = "ml.c5.2xlarge") -> dict[str, Any]:
    made = {"VariantName": name, "ModelName": "m", "InitialInstanceCount": instances, "InitialVariantWeight": 1.0}
    return {**made, "InstanceType": instance_type}


def tries(made: SimulatedStack) -> list[int]:
    """Minutes since the start in which Tidegate registered a floor above the minimum."""
    return [
        (call.now - START) // timedelta(minutes=1)
        for call in made.account.calls
        if call.operation == "RegisterScalableTarget" and call.caller and call.params["MinCapacity"] > 2
    ]


ROLLING = {
    "RollingUpdatePolicy": {"MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1}, "WaitIntervalInSeconds": 0}
}
CANARY = {
    "BlueGreenUpdatePolicy": {
        "TrafficRoutingConfiguration": {
            "Type": "CANARY",
            "WaitIntervalInSeconds": 120,
            "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10},
        }
    }
}


@pytest.mark.parametrize("strategy", [{}, {"DeploymentConfig": CANARY}, {"DeploymentConfig": ROLLING}])
def test_a_deployment_in_mid_ramp_ends_with_what_demand_needs(strategy: dict[str, Any]) -> None:
    made = stack(RAMP)
    run(made, 22)  # 4,800 requests by now, 7,500 at the end: eight instances
    while made.account.endpoint("orders").status != "InService":
        run(made, 1)
    made.account.deploy("orders", 2, strategy)
    since = len(made.account.calls)
    while made.account.endpoint("orders").status != "InService":
        run(made, 1)
    while_updating = [c.operation for c in made.account.calls[since:] if c.operation.startswith(("Register", "Put"))]
    assert [name for name in while_updating if name != "PutScheduledAction"] in (["RegisterScalableTarget"], [])
    run(made, 20)
    assert made.account.endpoint("orders").current_count >= 8
    assert made.failures == []


def test_a_quota_is_named_and_asked_again_ever_more_rarely_until_it_is_raised() -> None:
    made = stack([1500] * 10 + [5500] * 200, instance_quota=3)
    run(made, 60)
    found = tries(made)
    waits = [after - before for before, after in pairwise(found)]
    assert waits == [
        1,
        2,
        4,
        8,
        16,
    ]  # the room that tracking keeps is not asked for again: a minute later just the need
    assert made.account.snapshot("orders")["bounds"] == (6, 12)
    store = made.store
    assert isinstance(store, InMemoryStore)
    named = [s for decision, _ in store.decisions for s in decision.steps if s.reason is Reason.CAPACITY_REFUSED]
    assert named[-1].seen["code"] == "ResourceLimitExceeded"
    assert "Please use AWS Service Quotas to request an increase for this quota." in str(named[-1].seen["text"])
    made.account.endpoint("orders").instance_quota = 20
    run(made, 40)
    assert made.account.endpoint("orders").current_count >= 6


def test_a_shortage_that_takes_minutes_to_show_is_named_and_nothing_is_lowered() -> None:
    made = stack([1500] * 10 + [5500] * 200)
    made.account.endpoint("orders").instances_left = 0
    run(made, 80)  # AAS asks again and again by itself, so the endpoint is hardly ever InService
    refused = [o for _, o in made.outcomes if o.decision is not None and o.decision.context.refusal]
    assert {o.decision.context.refusal.code for o in refused if o.decision and o.decision.context.refusal} == {
        "InsufficientInstanceCapacity"
    }
    made.account.endpoint("orders").instances_left = None
    run(made, 50)
    assert made.account.endpoint("orders").current_count >= 6
    assert made.failures == []


def test_an_endpoint_made_again_under_its_name_is_enrolled_at_its_first_event() -> None:
    made = stack([3500] * 300)
    run(made, 40)
    assert made.account.endpoint("orders").current_count >= 4
    sagemaker: Any = made.account.client("sagemaker")
    sagemaker.delete_endpoint(EndpointName="orders")
    run(made, 3)
    sagemaker.create_endpoint(EndpointName="orders", EndpointConfigName="orders-config-1")
    run(made, 7)  # it had two instances when it was made; the load needs four
    assert made.account.snapshot("orders")["bounds"][0] >= 2
    assert "tidegate-local-saturation" in made.account.snapshot("orders")["policies"]
    run(made, 20)
    assert made.account.endpoint("orders").current_count >= 4
    assert [error for _, error in made.failures if "no such endpoint" not in error] == []


def divisor(made: SimulatedStack) -> str:
    policy: Any = made.account.snapshot("orders")["policies"]["tidegate-local-track-cpu"]
    metrics = policy["TargetTrackingScalingPolicyConfiguration"]["CustomizedMetricSpecification"]["Metrics"]
    return str(metrics[1]["Expression"])


def test_another_instance_type_is_followed_at_its_event() -> None:
    made = stack([500] * 100, TUTORIAL)
    assert divisor(made) == "m1/8"
    target = {"ServiceNamespace": "sagemaker", "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
    aas: Any = made.account.client("application-autoscaling")
    aas.deregister_scalable_target(**target, ResourceId=ORDERS)
    update(made, variant("AllTraffic", 2, "ml.c5.4xlarge"))
    run(made, 8)
    assert divisor(made) == "m1/16"
    assert made.failures == []


def test_tagged_variants_enrol_when_they_come_and_are_released_when_they_have_gone() -> None:
    made = stack([500] * 400, tagged=True)
    update(made, variant("AllTraffic", 2), variant("green", 2), config="both")
    run(made, 8)
    assert sorted(made.account.autoscaling.targets) == [ORDERS, "endpoint/orders/variant/green"]
    aas: Any = made.account.client("application-autoscaling")
    target = {"ServiceNamespace": "sagemaker", "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
    aas.deregister_scalable_target(**target, ResourceId=ORDERS)
    update(made, variant("green", 2), config="one")
    run(made, 150)  # seen as gone by two hourly syncs
    roster = made.store.roster()
    assert [target.names["VariantName"] for target in roster or ()] == ["green"]
    left = [name for name in made.account.cloudwatch.alarms if "-AllTraffic-" in name]
    assert left == []
    assert made.failures == []


def green_while(others: list[int], own: list[int]) -> list[int]:
    """Instances of the second variant by the minute, while the first has a load of its own."""
    made = stack([], {**WEB, "max_capacity": 20}, tagged=True, instance_count=12)
    update(made, variant("AllTraffic", 12), variant("green", 4), config="both")
    run(made, 7)
    variants = made.account.sagemaker.endpoints["orders"].variants
    for name, load in {"AllTraffic": others, "green": own}.items():
        variants[name].workload = RealtimeWorkload(per_minute_requests=load, capacity_per_instance=1000, vcpus=8)
    counts = []
    for _ in range(80):
        made.minute()
        counts.append(variants["green"].current_count)
    assert made.failures == []
    return counts


def test_what_one_variant_gives_back_does_not_keep_an_order_of_another_waiting() -> None:
    """Ten minutes after its load fell the first has too many, in the very minute in which the second needs more."""
    own = [1500] * 53 + [6000] * 40
    served = [
        next(minute for minute, count in enumerate(green_while(others, own)) if count >= 6)
        for others in ([6000] * 93, [6000] * 46 + [500] * 47)
    ]
    assert served[0] == served[1]


def test_a_variant_that_was_renamed_is_one_error_that_names_the_new_one() -> None:
    made = stack([500] * 100)
    aas: Any = made.account.client("application-autoscaling")
    target = {"ServiceNamespace": "sagemaker", "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
    aas.deregister_scalable_target(**target, ResourceId=ORDERS)
    update(made, variant("green", 2))
    run(made, 8)
    ((function, error),) = made.failures
    assert function == "FleetSync"
    assert "the endpoint's variants are green" in error


@pytest.mark.parametrize(("asked", "short"), [({}, 7), ({"RetainAllVariantProperties": True}, 0)])
def test_retaining_the_counts_spares_the_minutes_that_instances_take_to_start(
    asked: dict[str, Any], short: int
) -> None:
    made = stack([7500] * 300)
    run(made, 60)
    made.account.deploy("orders", 2, asked)
    before = made.account.endpoint("orders").workload.history.violated
    since = len(before)
    run(made, 30)
    assert sum(1 for requests in before[since:] if requests) == short
