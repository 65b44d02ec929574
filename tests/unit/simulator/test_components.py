"""Inference components and serverless variants: copies and the instances under them, and what each publishes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from simulator.account import SimulatedAccount
from simulator.components import NO_ROOM, Managed
from simulator.metrics import metric_key
from simulator.workload import ComponentWorkload, NoWorkload, ServerlessWorkload

START = datetime(2026, 11, 18, 9, 0, tzinfo=UTC)
COPIES: dict[str, Any] = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "inference-component/chat-8b",
    "ScalableDimension": "sagemaker:inference-component:DesiredCopyCount",
}
CONCURRENCY: dict[str, Any] = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/less/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredProvisionedConcurrency",
}


def llm(
    requests: Sequence[int] = (), *, copies: int = 0, instances: int = 0, managed: bool = True, **component: Any
) -> SimulatedAccount:
    """One endpoint with a component of which one copy answers 30 requests a minute; instances start in 3 minutes."""
    account = SimulatedAccount(START)
    account.add_endpoint(
        name="llm",
        workload=NoWorkload(),
        instance_count=instances,
        provisioning_delay=timedelta(minutes=3),
        managed=Managed(minimum=0, maximum=4) if managed else None,
    )
    workload = ComponentWorkload(per_minute_requests=requests, capacity_per_instance=30, gpus=1)
    account.add_component(name="chat-8b", endpoint="llm", workload=workload, copies=copies, **component)
    return account


def set_copies(account: SimulatedAccount, count: int) -> None:
    account.client("sagemaker").update_inference_component_runtime_config(
        InferenceComponentName="chat-8b", DesiredRuntimeConfig={"CopyCount": count}
    )


def counts(account: SimulatedAccount) -> tuple[int, int, int, int, str]:
    """Copies, copies asked for, instances, instances asked for, status."""
    runtime = account.client("sagemaker").describe_inference_component(InferenceComponentName="chat-8b")
    [variant] = account.client("sagemaker").describe_endpoint(EndpointName="llm")["ProductionVariants"]
    copies = runtime["RuntimeConfig"]
    return (
        copies["CurrentCopyCount"],
        copies["DesiredCopyCount"],
        variant["CurrentInstanceCount"],
        variant["DesiredInstanceCount"],
        runtime["InferenceComponentStatus"],
    )


def play(account: SimulatedAccount, minutes: int) -> None:
    for _ in range(minutes):
        account.advance()


def published(account: SimulatedAccount, namespace: str, name: str, minute: int, stat: str = "Sum") -> float | None:
    key = metric_key(namespace, name, [{"Name": "InferenceComponentName", "Value": "chat-8b"}])
    start = int(START.timestamp()) // 60
    return account.cloudwatch.store.series(key, stat, range(start, start + 600), start + 600).get(start + minute)


def test_a_first_copy_waits_for_its_instance_and_then_for_itself() -> None:
    account = llm()
    set_copies(account, 1)
    assert counts(account) == (0, 1, 0, 1, "Updating")
    play(account, 3)
    assert counts(account)[2] == 0
    play(account, 1)  # 3 minutes an instance
    assert counts(account)[2:] == (1, 1, "Updating")
    play(account, 2)  # and 2 a copy
    assert counts(account) == (1, 1, 1, 1, "InService")


def test_where_there_is_room_a_copy_waits_for_itself_alone() -> None:
    account = llm(copies=1, instances=1, copies_per_instance=4)
    set_copies(account, 4)
    assert counts(account) == (1, 4, 1, 1, "Updating")
    play(account, 3)
    assert counts(account) == (4, 4, 1, 1, "InService")


def test_idle_instances_are_released_ten_minutes_later() -> None:
    account = llm(copies=2, instances=2)
    set_copies(account, 0)
    play(account, 2)  # 1 minute to remove them
    assert counts(account) == (0, 0, 2, 2, "InService")
    play(account, 9)
    assert counts(account)[2] == 2
    play(account, 1)
    assert counts(account)[2:4] == (0, 0)
    assert account.endpoint("llm").instance_minutes == 2 * 11


def test_without_managed_scaling_copies_need_the_room_there_is() -> None:
    account = llm(copies=1, instances=1, managed=False)
    set_copies(account, 2)
    play(account, 3)
    assert counts(account) == (1, 1, 1, 1, "InService")
    described = account.client("sagemaker").describe_inference_component(InferenceComponentName="chat-8b")
    assert described["FailureReason"] == NO_ROOM


def test_no_more_instances_than_the_most_allowed() -> None:
    account = llm(copies=4, instances=4)
    set_copies(account, 5)
    play(account, 3)
    assert counts(account) == (4, 4, 4, 4, "InService")


def test_an_adapter_is_listed_and_has_no_copies() -> None:
    account = llm(copies=1, instances=1)
    account.add_component(name="lora-fr", endpoint="llm", workload=NoWorkload(), copies=0, base="chat-8b")
    client = account.client("sagemaker")
    assert len(client.list_inference_components(EndpointNameEquals="llm")["InferenceComponents"]) == 2
    described = client.describe_inference_component(InferenceComponentName="lora-fr")
    assert described["Specification"] == {"BaseInferenceComponentName": "chat-8b"}
    assert "RuntimeConfig" not in described


def test_one_change_at_a_time() -> None:
    account = llm()
    set_copies(account, 1)
    with pytest.raises(ClientError, match="Cannot update in-progress inference component"):
        set_copies(account, 2)
    with pytest.raises(ClientError, match="Could not find inference component"):
        account.client("sagemaker").describe_inference_component(InferenceComponentName="gone")


def test_components_are_listed_by_their_endpoint() -> None:
    client = llm().client("sagemaker")
    listed = client.list_inference_components(EndpointNameEquals="llm")["InferenceComponents"]
    assert [each["InferenceComponentName"] for each in listed] == ["chat-8b"]
    assert client.list_inference_components(EndpointNameEquals="other")["InferenceComponents"] == []


def test_without_a_copy_requests_are_refused_and_nothing_else_is_known() -> None:
    account = llm([0, 4])
    play(account, 2)
    assert published(account, "AWS/SageMaker", "NoCapacityInvocationFailures", 0) is None
    assert published(account, "AWS/SageMaker", "NoCapacityInvocationFailures", 1) == 4
    assert published(account, "AWS/SageMaker", "Invocations", 1) is None
    assert account.sagemaker.components.by_name["chat-8b"].workload.history.violated == [0, 4]


def test_what_a_component_publishes() -> None:
    account = llm([30], copies=2, instances=2)
    play(account, 1)
    load = {"Invocations": 30.0, "InvocationsPerCopy": 15.0, "NoCapacityInvocationFailures": None}
    assert {name: published(account, "AWS/SageMaker", name, 0) for name in load} == load
    assert published(account, "AWS/SageMaker", "ConcurrentRequestsPerCopy", 0, "Maximum") is not None
    for name in ("CPUUtilizationNormalized", "GPUUtilizationNormalized"):  # half of capacity, 80 % busy at capacity
        assert published(account, "/aws/sagemaker/InferenceComponents", name, 0, "Average") == pytest.approx(40)


def register(account: SimulatedAccount, target: dict[str, Any], minimum: int = 0, maximum: int = 6) -> None:
    client = account.client("application-autoscaling")
    client.register_scalable_target(**target, MinCapacity=minimum, MaxCapacity=maximum)


def test_bounds_move_copies() -> None:
    account = llm()
    register(account, COPIES, minimum=2)
    assert counts(account)[:4] == (0, 2, 0, 2)
    play(account, 6)
    aas = account.client("application-autoscaling")
    [activity] = aas.describe_scaling_activities(ServiceNamespace="sagemaker")["ScalingActivities"]
    assert (activity["Description"], activity["StatusCode"]) == ("Setting desired copy count to 2.", "Successful")
    [target] = aas.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert target["ScalableDimension"] == COPIES["ScalableDimension"]


@pytest.mark.parametrize(
    "target",
    [
        {**COPIES, "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"},
        {**COPIES, "ResourceId": "endpoint/llm/variant/AllTraffic"},
        {**COPIES, "ResourceId": "inference-component/gone"},
        {**CONCURRENCY, "ResourceId": "endpoint/llm/variant/AllTraffic"},  # which counts instances
    ],
)
def test_a_resource_is_counted_in_one_dimension(target: dict[str, Any]) -> None:
    with pytest.raises(ClientError, match=r"Unsupported|doesn't exist"):
        register(llm(), target, minimum=1)


def test_a_metric_of_another_dimension_is_refused() -> None:
    account = llm()
    register(account, COPIES)
    tracking: Any = {
        "TargetValue": 10.0,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
    }
    with pytest.raises(ClientError, match="does not apply to sagemaker:inference-component"):
        account.client("application-autoscaling").put_scaling_policy(
            **COPIES,
            PolicyName="p",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=tracking,
        )


def test_provisioned_concurrency_arrives_later_and_what_spills_over_is_served() -> None:
    account = SimulatedAccount(START)
    workload = ServerlessWorkload(per_minute_requests=[250, 250, 250, 250], capacity_per_instance=100)
    account.add_endpoint(
        name="less", workload=workload, instance_count=1, serverless=True, provisioning_delay=timedelta(minutes=2)
    )
    with pytest.raises(ClientError, match="Minimum capacity cannot be less than 1"):
        register(account, CONCURRENCY)
    register(account, CONCURRENCY, minimum=3)
    [variant] = account.client("sagemaker").describe_endpoint(EndpointName="less")["ProductionVariants"]
    assert variant["CurrentServerlessConfig"]["ProvisionedConcurrency"] == 1
    assert variant["DesiredServerlessConfig"]["ProvisionedConcurrency"] == 3
    play(account, 4)
    assert workload.history.ready == [1, 1, 3, 3]
    assert workload.history.late == [150, 150, 0, 0]
    dimensions = [{"Name": "EndpointName", "Value": "less"}, {"Name": "VariantName", "Value": "AllTraffic"}]
    key = metric_key("AWS/SageMaker", "ServerlessProvisionedConcurrencyUtilization", dimensions)
    start = int(START.timestamp()) // 60
    used = account.cloudwatch.store.series(key, "Average", range(start, start + 4), start + 10)
    assert [*used.values()] == pytest.approx([1, 1, 250 / 300, 250 / 300])
    assert account.endpoint("less").instance_minutes == 0
