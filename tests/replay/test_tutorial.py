"""The tutorial's policies from the first day: requests 1,000 per instance, CPU 70, memory 80, steps on CPU."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from simulator.account import SimulatedAccount
from simulator.stack import SimulatedStack
from simulator.workload import RealtimeWorkload
from tests.unit.test_native import TUTORIAL

START = datetime(2026, 11, 18, 9, tzinfo=UTC)


def tutorial(load: list[int], count: int = 2) -> SimulatedStack:
    """An endpoint of 8-vCPU instances that serve 1,250 requests a minute each, under the four policies."""
    account = SimulatedAccount(START)
    account.add_endpoint(
        name="orders",
        instance_type="ml.c5.2xlarge",
        instance_count=count,
        workload=RealtimeWorkload(per_minute_requests=load, capacity_per_instance=1250, vcpus=8, cpu_at_capacity=1.0),
    )
    document = {
        "version": 1,
        "profiles": {"tutorial": TUTORIAL},
        "endpoints": [{"name": "orders", "profile": "tutorial"}],
    }
    made = SimulatedStack(account, document)
    made.invoke("FleetSync", {"trigger": "policy"})
    return made


def test_the_four_policies_arrive_in_aas() -> None:
    # the account's clients validate every request against botocore's models, and AAS's own limits on top
    policies = tutorial([0]).account.snapshot("orders")["policies"]
    assert sorted(policies) == [
        "tidegate-local-saturation",
        "tidegate-local-step-cpu-in",
        "tidegate-local-step-cpu-out",
        "tidegate-local-track-cpu",
        "tidegate-local-track-memory",
        "tidegate-local-track-requests_per_instance",
    ]
    requests = policies["tidegate-local-track-requests_per_instance"]["TargetTrackingScalingPolicyConfiguration"]
    assert requests["TargetValue"] == 1000
    memory = policies["tidegate-local-track-memory"]["TargetTrackingScalingPolicyConfiguration"]
    assert memory["TargetValue"] == 80


def test_cpu_is_counted_per_core_on_8_vcpus() -> None:
    cpu: Any = tutorial([0]).account.snapshot("orders")["policies"]["tidegate-local-track-cpu"]
    configuration = cpu["TargetTrackingScalingPolicyConfiguration"]
    assert configuration["TargetValue"] == 70
    assert configuration["CustomizedMetricSpecification"]["Metrics"][1]["Expression"] == "m1/8"


@pytest.mark.parametrize(
    ("name", "per_instance", "wanted"),
    [
        # two instances; CPU per core = requests per instance / 1250
        ("within every target", 800, 2),  # 64 % per core: nothing asks for more
        ("requests above 1,000 and CPU above 70", 1050, 3),  # CPU: 2 * 84 / 70 = 2.4
    ],
)
def test_native_policies_alone_scale_out(name: str, per_instance: int, wanted: int) -> None:
    made = tutorial([2 * per_instance] * 20)
    made.stop()
    for _ in range(8):
        made.account.advance()
    assert made.account.endpoint("orders").desired_count == wanted, name


def test_the_step_alarm_fires_by_itself_and_calls_realtime_target() -> None:
    made = tutorial([2 * 1200] * 20)  # 96 % per core
    called = []
    for _ in range(10):
        called += [(e["detail"]["alarmName"], made.matching(e)) for e in made.minute() if "alarmName" in e["detail"]]
    assert ("tidegate-target-local-realtime-orders-AllTraffic-cpu-out", ["RealtimeTarget"]) in called
    assert made.failures == []


def test_the_step_policy_takes_away_one_instance_below_30_percent() -> None:
    made = tutorial([4 * 250] * 40, count=4)  # 250/1250: 20 % per core
    made.stop()
    activities = made.account.client("application-autoscaling").describe_scaling_activities
    for _ in range(22):
        made.account.advance()
    causes = [activity["Cause"] for activity in activities(ServiceNamespace="sagemaker")["ScalingActivities"]]
    assert made.account.now > START + timedelta(minutes=15)
    assert any("tidegate-local-step-cpu-in" in cause or "track" in cause for cause in causes)
    assert made.account.endpoint("orders").desired_count < 4


# --- the other metrics of the catalogue, as AAS acts on them with Tidegate away ---------------------------------------


def of_variant(name: str, namespace: str, statistic: str, **fields: Any) -> dict[str, Any]:
    dimensions = {"EndpointName": "{endpoint}", "VariantName": "{variant}"}
    return {"name": name, "namespace": namespace, "statistic": statistic, "dimensions": dimensions, **fields}


EACH = {  # a total, divided by the instances: each sends one sample of its CPU a minute
    "metrics": [
        of_variant("Invocations", "AWS/SageMaker", "Sum", id="all"),
        of_variant("CPUUtilization", "/aws/sagemaker/Endpoints", "SampleCount", id="instances"),
    ],
    "expression": "all / instances",
}


@pytest.mark.parametrize(
    ("policy", "per_instance", "wanted"),
    [
        # two ml.g5.12xlarge of 4 GPUs; percent per GPU = requests per instance / 1250
        ({"metric": "gpu", "target": 60}, 700, 2),  # 56 %
        ({"metric": "gpu", "target": 60}, 850, 3),  # 68 %: 2 * 68 / 60 = 2.3
        ({"metric": "custom", "target": 900, "custom": EACH}, 880, 2),
        ({"metric": "custom", "target": 900, "custom": EACH}, 1000, 3),  # 2 * 1000 / 900 = 2.2
        ({"metric": "concurrent_requests", "target": 1000}, 1000, 2),
        ({"metric": "concurrent_requests", "target": 1}, 1000, 8),  # far above: as far as the maximum allows
    ],
)
def test_other_metrics_scale_out_too(policy: dict[str, Any], per_instance: int, wanted: int) -> None:
    account = SimulatedAccount(START)
    workload = RealtimeWorkload(
        per_minute_requests=[2 * per_instance] * 20, capacity_per_instance=1250, vcpus=48, gpus=4, cpu_at_capacity=1.0
    )
    account.add_endpoint(name="orders", instance_type="ml.g5.12xlarge", instance_count=2, workload=workload)
    profile = {**TUTORIAL, "policies": [{"type": "target_tracking", **policy}]}
    endpoints = [{"name": "orders", "profile": "p"}]
    made = SimulatedStack(account, {"version": 1, "profiles": {"p": profile}, "endpoints": endpoints})
    assert [outcome["status"] for outcome in made.invoke("FleetSync", {"trigger": "policy"})["targets"]] == ["changed"]
    made.stop()
    for _ in range(8):
        account.advance()
    assert account.endpoint("orders").desired_count == wanted
