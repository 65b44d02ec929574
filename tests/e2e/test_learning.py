"""What is learned in a deployed stack: the floor before the ramp of each morning, and what an instance serves."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from cli.decisions import differences, recorded
from core.model import Reason
from local_account.account import LocalAccount
from simulator.metrics import epoch_minute, metric_key, sample
from simulator.workload import RealtimeWorkload
from tests.e2e.conftest import POLICY, bounds, controller_dead, minutes

SHOP = "shop-prod"
RAMP = 25
"""Minutes from now, at which each day's load begins; it lasts for eight hours."""

QUIET, BUSY = 200, 2000
LIMIT = 700
"""Requests a minute from which an instance is slow. The policy file says 900."""


def load_of(minute: int) -> tuple[int, int]:
    """Requests of a minute that is so many after a ramp, and how many instances had them."""
    after = minute % (24 * 60)
    return (BUSY + 5 * 400 * after // 480, 5) if after < 480 else (QUIET, 2)


def history(local: LocalAccount, days: int, now: datetime) -> None:
    """Let CloudWatch know these days: load, load of an instance, and its latency."""
    names = [{"Name": "EndpointName", "Value": SHOP}, {"Name": "VariantName", "Value": "AllTraffic"}]
    store, newest = local.account.cloudwatch.store, epoch_minute(now)
    for back in range(days * 24 * 60, 0, -1):
        load, instances = load_of(-RAMP - back)
        slow = load / instances > LIMIT
        for metric, datum in (
            ("Invocations", sample(1.0, load)),
            ("InvocationsPerInstance", sample(1 / instances, load)),
            ("ModelLatency", sample(900_000.0 if slow else 100_000.0, load)),
        ):
            store.put(metric_key("AWS/SageMaker", metric, names), newest - back, datum)


@pytest.fixture(scope="module")
def learned(local: LocalAccount) -> LocalAccount:
    """The account with one endpoint more, which has four days behind it, and its fleet enrolled anew."""
    coming = [load_of(minute - RAMP)[0] for minute in range(24 * 60)]
    workload = RealtimeWorkload(per_minute_requests=coming, capacity_per_instance=LIMIT)
    local.account.add_endpoint(name=SHOP, workload=workload, instance_type="ml.m5.xlarge", instance_count=1)
    history(local, 4, local.account.now)
    profile = {
        "kind": "realtime",
        "min_capacity": 1,
        "max_capacity": 10,
        "objectives": {"requests_per_instance": 900, "latency_p95": "500ms"},
    }
    local.push_policy(
        {
            **POLICY,
            "profiles": {**POLICY["profiles"], "shop": profile},
            "endpoints": [*POLICY["endpoints"], {"name": SHOP, "profile": "shop"}],
        }
    )
    local.restart_functions()  # they keep a policy for a while
    local.invoke("FleetSync", {"trigger": "policy"})
    return local


def target_value(local: LocalAccount) -> float:
    client: Any = local.plant.client("application-autoscaling")
    found = client.describe_scaling_policies(
        ServiceNamespace="sagemaker", ResourceId=f"endpoint/{SHOP}/variant/AllTraffic"
    )["ScalingPolicies"]
    client.close()
    [tracking] = [each for each in found if each["PolicyType"] == "TargetTrackingScaling"]
    return float(tracking["TargetTrackingScalingPolicyConfiguration"]["TargetValue"])


def test_what_an_instance_serves_is_written_as_the_target(learned: LocalAccount) -> None:
    """0.9, as tracking stands by a forecast, of at most 0.98 of what was slow: not of the 900 that are stated."""
    assert target_value(learned) < 0.5 * LIMIT, "until an owner's pass has written its fallback"
    minutes(learned, 1)
    assert 0.9 * 0.95 * LIMIT < target_value(learned) < 0.9 * LIMIT


def test_the_floor_rises_before_the_ramp_and_the_decision_replays_equal(learned: LocalAccount) -> None:
    found = bounds(learned, SHOP)
    assert found is not None
    assert found[0] == 1
    minutes(learned, RAMP - 5)
    found = bounds(learned, SHOP)
    assert found is not None
    assert found[0] >= 3  # of 2,000 requests that come in five minutes
    items = learned.aws["dynamodb"].query(
        TableName=learned.outputs["TableName"],
        KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
        ExpressionAttributeValues={
            ":pk": {"S": f"TARGET#endpoint/{SHOP}/variant/AllTraffic#sagemaker:variant:DesiredInstanceCount"},
            ":sk": {"S": "DECISION#"},
        },
    )["Items"]
    foreseen = [recorded(item).decision for item in items if item["reason"]["S"] == Reason.FORECAST]
    assert foreseen
    assert [differences(decision) for decision in foreseen] == [[]] * len(foreseen)


def falls_back_to(local: LocalAccount) -> list[float]:
    """The target values that schedules would put."""
    scheduler = local.aws["scheduler"]
    names = [found["Name"] for found in scheduler.list_schedules(GroupName="default")["Schedules"]]
    inputs = [json.loads(scheduler.get_schedule(Name=name)["Target"]["Input"]) for name in names]
    return [float(each["TargetTrackingScalingPolicyConfiguration"]["TargetValue"]) for each in inputs]


def test_floors_and_targets_expire_without_the_controller(learned: LocalAccount) -> None:
    """Tracking goes on alone, at half of what was learned and latency allows, and at 0.9 of it when it lives again."""
    raised, (half,) = target_value(learned), falls_back_to(learned)
    assert raised == pytest.approx(0.9 * half / 0.5, abs=0.1)
    with controller_dead(learned):
        minutes(learned, int(timedelta(minutes=90) / timedelta(minutes=1)))
        assert bounds(learned, SHOP) == (1, 10)
        assert (target_value(learned), falls_back_to(learned)) == (half, [])
    minutes(learned, 1)
    assert target_value(learned) > half
    assert falls_back_to(learned) != []
