"""Application Auto Scaling's API: what it takes, refuses, keeps and lists (facts 1)."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from simulator.account import SimulatedAccount
from simulator.workload import RealtimeWorkload
from tests.unit.simulator.worlds import (
    START,
    VARIANT,
    async_account,
    count,
    custom,
    play,
    realtime_account,
    register,
    step,
    track,
)

OUT = [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}]


def tracking(metric: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A PutScalingPolicy request."""
    configuration = {"TargetValue": 100.0, "CustomizedMetricSpecification": metric or custom("load"), **more}
    kind = {"PolicyName": "tt", "PolicyType": "TargetTrackingScaling"}
    return {**VARIANT, **kind, "TargetTrackingScalingPolicyConfiguration": configuration}


def scheduled(name: str = "open", schedule: str = "rate(1 day)", **bounds: int) -> dict[str, Any]:
    """A PutScheduledAction request."""
    action = {"ScheduledActionName": name, "Schedule": schedule}
    return {**VARIANT, **action, "ScalableTargetAction": bounds or {"MinCapacity": 2}}


def refused(account: SimulatedAccount, operation: str, request: dict[str, Any], why: str) -> None:
    with pytest.raises(ClientError, match=why):
        getattr(account.client("application-autoscaling"), operation)(**request)


REGISTRATIONS = [
    ("the first needs both bounds", {"MinCapacity": 1}, "MinCapacity and MaxCapacity are required"),
    ("min above max", {"MinCapacity": 3, "MaxCapacity": 2}, "cannot be less than minimum"),
    ("zero for a real-time variant", {"MinCapacity": 0, "MaxCapacity": 2}, "cannot be less than 1"),
    ("unknown endpoint", {"ResourceId": "endpoint/x/variant/AllTraffic", "MinCapacity": 1, "MaxCapacity": 2}, "exist"),
    ("unknown variant", {"ResourceId": "endpoint/ranker/variant/B", "MinCapacity": 1, "MaxCapacity": 2}, "exist"),
    ("not a variant", {"ResourceId": "inference-component/x", "MinCapacity": 1, "MaxCapacity": 2}, "Unsupported"),
    ("other service", {"ServiceNamespace": "ecs", "MinCapacity": 1, "MaxCapacity": 2}, "Unsupported"),
]


@pytest.mark.parametrize(
    ("request_", "why"), [case[1:] for case in REGISTRATIONS], ids=[case[0] for case in REGISTRATIONS]
)
def test_refused_registrations(request_: dict[str, Any], why: str) -> None:
    account = realtime_account()
    refused(account, "register_scalable_target", {**VARIANT, **request_}, f"ValidationException.*{why}")
    assert account.snapshot("ranker") == {}


def test_registering_again_keeps_what_is_not_passed() -> None:
    account = realtime_account()
    register(account, 1, 10)
    client = account.client("application-autoscaling")
    client.register_scalable_target(**VARIANT, SuspendedState={"ScheduledScalingSuspended": True})
    client.register_scalable_target(**VARIANT, MaxCapacity=8)
    target = client.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"][0]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 8)
    assert target["SuspendedState"] == {
        "DynamicScalingInSuspended": False,
        "DynamicScalingOutSuspended": False,
        "ScheduledScalingSuspended": True,
    }


def test_an_update_checks_the_bounds_it_leads_to() -> None:
    account = realtime_account()
    register(account, 3, 10)
    refused(account, "register_scalable_target", {**VARIANT, "MaxCapacity": 2}, "cannot be less than minimum")
    assert account.snapshot("ranker")["bounds"] == (3, 10)


def test_zero_is_fine_for_an_asynchronous_variant() -> None:
    account = async_account(count=1)
    register(account, 0, 4)
    assert account.snapshot("ranker")["bounds"] == (0, 4)


@pytest.mark.parametrize(("bounds", "desired"), [((4, 10), 4), ((1, 2), 2), ((1, 10), 3), ((3, 3), 3)])
def test_registering_moves_capacity_inside_the_bounds(bounds: tuple[int, int], desired: int) -> None:
    account = realtime_account(count=3)
    register(account, *bounds)
    assert count(account) == (3, desired)


def test_every_update_moves_capacity_even_one_without_bounds() -> None:
    account = realtime_account(count=3)
    register(account, 3, 10)
    account.deploy("ranker", 1)
    play(account, 7)
    assert count(account) == (1, 1)
    account.client("application-autoscaling").register_scalable_target(**VARIANT)
    assert count(account) == (1, 3)


def test_bounds_are_only_stored_while_the_endpoint_is_updating() -> None:
    account = realtime_account(count=3)
    register(account, 1, 10)
    account.deploy("ranker", 2)
    register(account, 5, 10)
    play(account, 20)
    assert account.snapshot("ranker")["bounds"] == (5, 10)
    assert count(account) == (2, 2)  # nothing corrects it until the next update


def test_deregistering_takes_policies_their_alarms_and_actions_but_not_capacity_or_your_alarms() -> None:
    account = realtime_account(count=3)
    register(account)
    track(account)
    step(account, OUT)
    client = account.client("application-autoscaling")
    client.put_scheduled_action(**scheduled())
    client.deregister_scalable_target(**VARIANT)
    assert account.snapshot("ranker") == {}
    assert [a["AlarmName"] for a in account.client("cloudwatch").describe_alarms()["MetricAlarms"]] == ["step"]
    assert count(account) == (3, 3)
    refused(account, "deregister_scalable_target", VARIANT, "ObjectNotFoundException.*No scalable target registered")


def test_tracking_makes_two_alarms_in_awss_form() -> None:
    account = realtime_account()
    register(account)
    answer = account.client("application-autoscaling").put_scaling_policy(**tracking())
    assert answer["PolicyARN"].startswith("arn:aws:autoscaling:eu-central-1:123456789012:scalingPolicy:")
    assert answer["PolicyARN"].endswith(":resource/sagemaker/endpoint/ranker/variant/AllTraffic:policyName/tt")
    high, low = (
        account.client("cloudwatch").describe_alarms(AlarmNames=[each["AlarmName"]])["MetricAlarms"][0]
        for each in answer["Alarms"]
    )
    prefix = "TargetTracking-endpoint/ranker/variant/AllTraffic-Alarm"
    assert high["AlarmName"].startswith(f"{prefix}High-")
    assert low["AlarmName"].startswith(f"{prefix}Low-")
    assert (high["EvaluationPeriods"], high["Threshold"], high["Period"]) == (3, 100.0, 60)
    assert (low["EvaluationPeriods"], low["Threshold"], low["Period"]) == (15, 90.0, 60)
    assert high["AlarmActions"][0].startswith(answer["PolicyARN"] + ":createdBy/")


def test_putting_a_policy_again_replaces_it_and_its_thresholds() -> None:
    account = realtime_account()
    register(account)
    client = account.client("application-autoscaling")
    first = client.put_scaling_policy(**tracking())
    second = client.put_scaling_policy(**tracking(TargetValue=50.0))
    assert (first["PolicyARN"], first["Alarms"]) == (second["PolicyARN"], second["Alarms"])
    alarms = account.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert sorted(alarm["Threshold"] for alarm in alarms) == [45.0, 50.0]
    client.delete_scaling_policy(**VARIANT, PolicyName="tt")
    assert account.client("cloudwatch").describe_alarms()["MetricAlarms"] == []


def test_predefined_tracking_watches_the_sum_of_invocations_per_instance() -> None:
    account = realtime_account()
    register(account)
    specification = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    request = tracking()
    request["TargetTrackingScalingPolicyConfiguration"] = {
        "TargetValue": 10.0,
        "PredefinedMetricSpecification": specification,
    }
    account.client("application-autoscaling").put_scaling_policy(**request)
    alarm = account.client("cloudwatch").describe_alarms()["MetricAlarms"][0]
    seen = (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"], len(alarm["Dimensions"]))
    assert seen == ("AWS/SageMaker", "InvocationsPerInstance", "Sum", 2)


PREDEFINED = {"PredefinedMetricSpecification": {"PredefinedMetricType": "ALBRequestCountPerTarget"}}
STAT = {"Metric": {"Namespace": "Test", "MetricName": "load"}, "Stat": "Average"}
POLICIES = [
    ("two kinds of metric", tracking(**PREDEFINED), "ValidationException.*Exactly one of"),
    ("target zero", tracking(TargetValue=0.0), "ValidationException.*greater than 0"),
    ("metric without namespace", tracking({"MetricName": "m"}), "ValidationException.*Namespace"),
    ("neither metric nor math", tracking({"Namespace": "Test"}), "ValidationException.*either Metrics"),
    (
        "two results",
        tracking({"Metrics": [{"Id": "m1", "MetricStat": STAT}, {"Id": "m2", "MetricStat": STAT}]}),
        "ValidationException.*ReturnData",
    ),
    ("wrong type", {**tracking(), "PolicyType": "StepScaling"}, "ValidationException.*StepScaling needs"),
    ("predictive", {**tracking(), "PolicyType": "PredictiveScaling"}, "ValidationException.*not supported"),
]


@pytest.mark.parametrize(("request_", "why"), [case[1:] for case in POLICIES], ids=[case[0] for case in POLICIES])
def test_refused_policies(request_: dict[str, Any], why: str) -> None:
    account = realtime_account()
    register(account)
    refused(account, "put_scaling_policy", request_, why)
    assert account.snapshot("ranker")["policies"] == {}


def test_a_policy_needs_a_registered_target() -> None:
    refused(
        realtime_account(), "put_scaling_policy", tracking(), "ObjectNotFoundException.*No scalable target registered"
    )


def test_tracking_policies_need_different_metrics() -> None:
    account = realtime_account()
    register(account)
    track(account)
    request = tracking({**custom("load"), "Dimensions": custom("load")["Dimensions"][::-1]})  # order does not matter
    refused(account, "put_scaling_policy", {**request, "PolicyName": "twin"}, "ValidationException.*Only one")
    track(account, metric="other")
    track(account, 50.0)  # the same policy again is an update


def test_quotas() -> None:
    account = realtime_account()
    register(account)
    client = account.client("application-autoscaling")
    steps: list[Any] = [
        {"MetricIntervalLowerBound": n, "MetricIntervalUpperBound": n + 1, "ScalingAdjustment": 1} for n in range(21)
    ]
    request: dict[str, Any] = {**VARIANT, "PolicyType": "StepScaling"}
    config = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": steps[:1]}
    many = {**config, "StepAdjustments": steps}
    one_more = {**request, "PolicyName": "p", "StepScalingPolicyConfiguration": many}
    refused(account, "put_scaling_policy", one_more, "LimitExceededException.*20 step")
    for number in range(50):
        client.put_scaling_policy(**request, PolicyName=f"p{number}", StepScalingPolicyConfiguration=config)  # type: ignore[arg-type]  # a plain dict
    refused(account, "put_scaling_policy", tracking(), "LimitExceededException.*50 scaling policies")
    for number in range(200):
        client.put_scheduled_action(**scheduled(f"a{number}"))
    refused(account, "put_scheduled_action", scheduled(), "LimitExceededException.*200")
    pages = client.get_paginator("describe_scaling_policies").paginate(ServiceNamespace="sagemaker")
    assert [len(page["ScalingPolicies"]) for page in pages] == [10] * 5
    actions = client.get_paginator("describe_scheduled_actions").paginate(ServiceNamespace="sagemaker")
    assert [len(page["ScheduledActions"]) for page in actions] == [50] * 4


def test_targets_come_fifty_to_a_page() -> None:
    account = SimulatedAccount(now=START)
    client = account.client("application-autoscaling")
    for number in range(51):
        workload = RealtimeWorkload(per_minute_requests=(), capacity_per_instance=1.0)
        account.add_endpoint(name=f"e{number}", workload=workload, instance_count=1)
        identity: dict[str, Any] = {**VARIANT, "ResourceId": f"endpoint/e{number}/variant/AllTraffic"}
        client.register_scalable_target(**identity, MinCapacity=1, MaxCapacity=2)
    pages = client.get_paginator("describe_scalable_targets").paginate(ServiceNamespace="sagemaker")
    assert [len(page["ScalableTargets"]) for page in pages] == [50, 1]
    wanted = ["endpoint/e7/variant/AllTraffic", "endpoint/absent/variant/AllTraffic"]
    assert (
        len(client.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=wanted)["ScalableTargets"]) == 1
    )
    too_many = {"ServiceNamespace": "sagemaker", "MaxResults": 51}
    refused(account, "describe_scalable_targets", too_many, "less than or equal to 50")
    bad_token = {"ServiceNamespace": "sagemaker", "NextToken": "forged"}
    refused(account, "describe_scalable_targets", bad_token, "InvalidNextTokenException")
    lonely = {"ServiceNamespace": "sagemaker", "ScalableDimension": VARIANT["ScalableDimension"]}
    refused(account, "describe_scaling_policies", lonely, "must also specify a resource ID")


def test_policies_are_described_as_they_were_put_with_the_alarms_that_call_them() -> None:
    account = realtime_account()
    register(account)
    step(account, OUT, name="saturation")
    client = account.client("application-autoscaling")
    described = client.describe_scaling_policies(ServiceNamespace="sagemaker", PolicyNames=["saturation"])[
        "ScalingPolicies"
    ][0]
    assert [alarm["AlarmName"] for alarm in described["Alarms"]] == ["saturation"]
    assert described["StepScalingPolicyConfiguration"]["StepAdjustments"] == OUT
    assert client.describe_scaling_policies(ServiceNamespace="sagemaker", PolicyNames=["sat"])["ScalingPolicies"] == []


def test_deleting_a_step_policy_leaves_its_alarm() -> None:
    account = realtime_account()
    register(account)
    step(account, OUT)
    account.client("application-autoscaling").delete_scaling_policy(**VARIANT, PolicyName="step")
    assert len(account.client("cloudwatch").describe_alarms()["MetricAlarms"]) == 1
    gone = {**VARIANT, "PolicyName": "step"}
    refused(account, "delete_scaling_policy", gone, "ObjectNotFoundException.*No scaling policy found")


ACTIONS = [
    ("neither bound", {"ScalableTargetAction": {}}, "At least one of minimum capacity and maximum capacity"),
    ("no action", {"ScalableTargetAction": None}, "At least one of minimum capacity and maximum capacity"),
    ("no schedule", {"Schedule": None}, "Schedule is required"),
    ("min above max", {"ScalableTargetAction": {"MinCapacity": 3, "MaxCapacity": 2}}, "cannot be less than minimum"),
    ("five fields", {"Schedule": "cron(0 9 * * ?)"}, "six fields"),
    ("unknown zone", {"Timezone": "Mars/Olympus"}, "not a known time zone"),
]


@pytest.mark.parametrize(("wrong", "why"), [case[1:] for case in ACTIONS], ids=[case[0] for case in ACTIONS])
def test_refused_scheduled_actions(wrong: dict[str, Any], why: str) -> None:
    account = realtime_account()
    register(account)
    request = {key: value for key, value in {**scheduled(), **wrong}.items() if value is not None}
    refused(account, "put_scheduled_action", request, f"ValidationException.*{why}")


def test_updating_a_scheduled_action_deletes_what_is_not_passed() -> None:
    account = realtime_account()
    register(account)
    client = account.client("application-autoscaling")
    client.put_scheduled_action(**scheduled(MinCapacity=2, MaxCapacity=9), Timezone="Europe/Berlin", EndTime=START)
    client.put_scheduled_action(**scheduled(MaxCapacity=8))
    action = client.describe_scheduled_actions(ServiceNamespace="sagemaker")["ScheduledActions"][0]
    assert action["ScalableTargetAction"] == {"MaxCapacity": 8}
    assert action.keys() & {"Timezone", "EndTime"} == set()
    client.delete_scheduled_action(**VARIANT, ScheduledActionName="open")
    gone = {**VARIANT, "ScheduledActionName": "open"}
    refused(account, "delete_scheduled_action", gone, "ObjectNotFoundException.*No scheduled action found")


def test_zero_is_a_bound_like_any_other() -> None:
    account = async_account(count=1)
    register(account, 1, 4)
    account.client("application-autoscaling").put_scheduled_action(
        **scheduled(schedule="rate(1 minute)", MinCapacity=0)
    )
    play(account, 1)
    assert account.snapshot("ranker")["bounds"] == (0, 4)
