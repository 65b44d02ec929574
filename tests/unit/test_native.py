"""Native policies: the exact shapes that reach PutScalingPolicy and PutMetricAlarm."""

from dataclasses import replace
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from core.errors import ConfigError
from core.native import guard_alarms, heard_alarms, native_policies, scale_out_alarms
from core.ports import NativePolicy
from simulator.scaling import step_capacity, step_problems
from tests.builders import ASYNC, BATCH, COMPONENT, REALTIME, SERVERLESS, enrolment

JOBS = {"queue": {"sqs": "jobs"}, "objectives": {"items_per_minute": 4}}  # 15 minutes, by default
TUTORIAL: dict[str, Any] = {
    "kind": "realtime",
    "min_capacity": 1,
    "max_capacity": 8,
    "policies": [
        {"type": "target_tracking", "metric": "requests_per_instance", "target": 1000},
        {"type": "target_tracking", "metric": "cpu", "target": 70},
        {"type": "target_tracking", "metric": "memory", "target": 80},
        {
            "type": "step",
            "metric": "cpu",
            "steps": [
                {"upper": 30, "change": -1},
                {"lower": 30, "upper": 70, "change": 0},
                {"lower": 70, "upper": 90, "change": 1},
                {"lower": 90, "change": 2},
            ],
        },
    ],
}
BY_ENDPOINT = [{"Name": "EndpointName", "Value": "orders"}]
BY_VARIANT = [*BY_ENDPOINT, {"Name": "VariantName", "Value": "AllTraffic"}]


def natives(document: dict[str, Any]) -> dict[str, NativePolicy]:
    return {
        policy.name.removeprefix("tidegate-prod-"): policy for policy in native_policies(enrolment(document), "prod")
    }


def cpu_per_core(period: int | None) -> list[dict[str, Any]]:
    stat: dict[str, Any] = {
        "Metric": {"Namespace": "/aws/sagemaker/Endpoints", "MetricName": "CPUUtilization", "Dimensions": BY_VARIANT},
        "Stat": "Average",
    }
    if period:
        stat["Period"] = period
    return [
        {"Id": "m1", "MetricStat": stat, "ReturnData": False},
        {
            "Id": "e1",
            "Expression": "m1/8",
            "Label": "CPUUtilization, percent per core",
            "ReturnData": True,
        },  # ml.c5.2xlarge: 8 vCPU
    ]


def test_the_tutorials_four_policies_become_these() -> None:
    found = natives(TUTORIAL)
    assert list(found) == [
        "track-requests_per_instance",
        "track-cpu",
        "track-memory",
        "step-cpu-out",
        "step-cpu-in",
        "saturation",
    ]
    cooldowns = {"ScaleOutCooldown": 300, "ScaleInCooldown": 300, "DisableScaleIn": False}
    assert found["track-requests_per_instance"].configuration == {
        "TargetValue": 1000.0,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
        **cooldowns,
    }
    # 70 per core on 8 vCPU: the metric runs to 800 and is divided by 8; AAS takes no Period here
    assert found["track-cpu"].configuration == {
        "TargetValue": 70.0,
        "CustomizedMetricSpecification": {"Metrics": cpu_per_core(None)},
        **cooldowns,
    }
    assert found["track-memory"].configuration == {
        "TargetValue": 80.0,
        "CustomizedMetricSpecification": {
            "Namespace": "/aws/sagemaker/Endpoints",
            "MetricName": "MemoryUtilization",
            "Dimensions": BY_VARIANT,
            "Statistic": "Average",
        },
        **cooldowns,
    }
    # relative to the threshold of 70: 70-90 is 0..20, 90 and more is 20 and up
    assert found["step-cpu-out"].configuration["StepAdjustments"] == [
        {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 20.0, "ScalingAdjustment": 1},
        {"MetricIntervalLowerBound": 20.0, "ScalingAdjustment": 2},
    ]
    # relative to the threshold of 30: below it is ..0
    assert found["step-cpu-in"].configuration["StepAdjustments"] == [
        {"MetricIntervalUpperBound": 0.0, "ScalingAdjustment": -1},
    ]


def test_steps_in_aws_s_form_are_the_same_steps() -> None:
    """Two policies there, one threshold each; here the thresholds are where scaling out begins and scaling in ends."""
    absolute = TUTORIAL["policies"][3]
    steps = [{k: v if k == "change" else v - 70 for k, v in step.items()} for step in absolute["steps"]]
    relative = {**TUTORIAL, "policies": [{**absolute, "threshold": 70, "steps": steps}]}
    assert natives(relative) == natives({**TUTORIAL, "policies": [absolute]})


def test_the_alarms_of_the_step_policies_are_made() -> None:
    found = natives(TUTORIAL)
    out, into = found["step-cpu-out"].alarm, found["step-cpu-in"].alarm
    assert out is not None
    assert into is not None
    assert out["AlarmName"] == "tidegate-target-prod-realtime-orders-AllTraffic-cpu-out"
    assert (out["ComparisonOperator"], out["Threshold"], out["EvaluationPeriods"]) == (
        "GreaterThanOrEqualToThreshold",
        70.0,
        3,
    )
    assert (into["ComparisonOperator"], into["Threshold"], into["EvaluationPeriods"]) == ("LessThanThreshold", 30.0, 15)
    assert out["Metrics"] == cpu_per_core(60)


@pytest.mark.parametrize(
    ("document", "names"),
    [
        (REALTIME, ["track-requests_per_instance", "saturation"]),
        ({"kind": "realtime", "min_capacity": 1, "max_capacity": 4}, ["track-cpu", "saturation"]),
        (ASYNC, ["track-backlog_per_instance", "wake", "idle"]),
        ({**ASYNC, "min_capacity": 1}, ["track-backlog_per_instance"]),
        (COMPONENT, ["track-requests_per_copy", "saturation", "wake"]),
        ({**COMPONENT, "min_capacity": 1}, ["track-requests_per_copy", "saturation"]),
        ({**COMPONENT, "objectives": {}}, ["track-gpu", "saturation", "wake"]),
        (SERVERLESS, ["track-provisioned_concurrency", "saturation"]),
        ({**REALTIME, **JOBS}, ["queue-out", "queue-in"]),
        ({**COMPONENT, **JOBS}, ["queue-out", "queue-in", "wake"]),
        ({**REALTIME, **JOBS, "policies": []}, []),
        ({**ASYNC, **JOBS}, ["track-backlog_per_instance", "wake", "idle"]),
        ({**BATCH, "serving": "inference_component", "min_capacity": 0}, ["track-gpu", "saturation", "wake"]),
        (BATCH, ["track-cpu", "saturation"]),
        ({**BATCH, "objectives": {"requests_per_instance": 100}}, ["track-requests_per_instance", "saturation"]),
        (
            {**BATCH, "serving": "async", "min_capacity": 0, "objectives": {"items_per_minute": 2}},
            ["track-backlog_per_instance", "wake", "idle"],
        ),
    ],
)
def test_each_kind_has_its_default(document: dict[str, Any], names: list[str]) -> None:
    assert list(natives(document)) == names


BY_COMPONENT = [{"Name": "InferenceComponentName", "Value": "chat-8b"}]


def test_a_component_leaves_zero_when_one_request_was_refused() -> None:
    """As facts 5.2 has it; with the guide's GreaterThan a single request would not do."""
    wake = natives({**COMPONENT, "objectives": {}})["wake"]
    assert wake.configuration == {
        "AdjustmentType": "ChangeInCapacity",
        "MetricAggregationType": "Maximum",
        "Cooldown": 60,
        "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}],
    }
    assert wake.alarm is not None
    assert dict(wake.alarm) == {
        "AlarmName": "tidegate-target-prod-realtime-ic.chat-8b-wake",
        "AlarmDescription": "Made by Tidegate to scale by; edits are undone by the next sync.",
        "ActionsEnabled": True,
        "MetricName": "NoCapacityInvocationFailures",
        "Namespace": "AWS/SageMaker",
        "Dimensions": BY_COMPONENT,
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "DatapointsToAlarm": 1,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "missing",
    }


@pytest.mark.parametrize(
    ("each", "refused", "copies"),
    [
        (30, 1, 1),
        (30, 30, 1),
        (30, 31, 2),  # ceil(31 / 30)
        (30, 60, 2),
        (30, 61, 3),
        (30, 9999, 6),  # the most there may be
        (2.5, 5, 2),
        (2.5, 6, 3),  # ceil(2.4)
        (0.2, 3, 3),  # steps are whole requests: a copy for each
    ],
)
def test_a_component_wakes_to_the_copies_that_the_refused_requests_need(each: float, refused: int, copies: int) -> None:
    wake = natives({**COMPONENT, "objectives": {"requests_per_instance": each}})["wake"]
    assert wake.alarm is not None
    assert step_problems(wake.configuration) is None
    assert step_capacity(0, refused, wake.alarm, wake.configuration) == copies


def cpu_steps(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "objectives": {}, "policies": [{"type": "target_tracking", "metric": "cpu", "target": 70}]}


@pytest.mark.parametrize(
    ("document", "metric", "threshold"),
    [
        (REALTIME, "InvocationsPerInstance", 1000.0),
        (COMPONENT, "InvocationsPerCopy", 30.0),
        ({**COMPONENT, "objectives": {}}, "GPUUtilizationNormalized", 95.0),
        (cpu_steps(COMPONENT), "CPUUtilizationNormalized", 95.0),  # it may have no GPU
        (SERVERLESS, "ServerlessProvisionedConcurrencyUtilization", 0.95),
    ],
)
def test_what_counts_as_saturated(document: dict[str, Any], metric: str, threshold: float) -> None:
    alarm = natives(document)["saturation"].alarm
    assert alarm is not None
    assert (alarm["MetricName"], alarm["Threshold"]) == (metric, threshold)


def test_default_targets() -> None:
    assert natives(REALTIME)["track-requests_per_instance"].configuration["TargetValue"] == 500.0  # 0.5 * 1000
    assert natives(ASYNC)["track-backlog_per_instance"].configuration["TargetValue"] == 30.0  # 0.5 * 4/min * 15 min


def test_a_default_cooldown_makes_room_for_what_an_instance_takes_to_start() -> None:
    found = natives({**REALTIME, "provisioning": "9m"})["track-requests_per_instance"].configuration
    assert (found["ScaleOutCooldown"], found["ScaleInCooldown"]) == (300, 540)


def test_queue_metrics_carry_the_endpoint_dimension_only() -> None:
    for policy in natives(ASYNC).values():
        metric = policy.alarm or policy.configuration["CustomizedMetricSpecification"]
        assert metric["Dimensions"] == BY_ENDPOINT


# Above: tells Tidegate alone; AtLeast: doubles natively too. ModelLatency is in microseconds: 200 ms are 200,000.
WATCHING = [
    ("latency", "ModelLatency", "p95", "GreaterThanThreshold", 200_000.0, 3),
    ("slow", "ModelLatency", "p95", "GreaterThanOrEqualToThreshold", 400_000.0, 5),  # twice
    ("errors", "Invocation5XXErrors", "Average", "GreaterThanThreshold", 0.01, 3),
    ("congested", "ConcurrentRequestsPerModel", "Maximum", "GreaterThanOrEqualToThreshold", 8.0, 5),
    ("saturation", "InvocationsPerInstance", "Sum", "GreaterThanOrEqualToThreshold", 1000.0, 5),
]
PROMISES = {"requests_per_instance": 1000, "latency_p95": "200ms", "concurrent_requests": 8}


@pytest.mark.parametrize(("suffix", "metric", "statistic", "comparison", "threshold", "minutes"), WATCHING)
def test_alarms_that_watch_a_real_time_target(  # noqa: PLR0913, PLR0917 - the columns of the table
    suffix: str, metric: str, statistic: str, comparison: str, threshold: float, minutes: int
) -> None:
    enrolled = enrolment({**REALTIME, "objectives": PROMISES})
    name = guard_alarms(enrolled, "prod")[suffix]
    policies = {p.alarm["AlarmName"]: p for p in native_policies(enrolled, "prod") if p.alarm}
    heard = {alarm["AlarmName"]: alarm for alarm in heard_alarms(enrolled, "prod")}
    assert (name in policies) != (name in heard)
    alarm = heard[name] if name in heard else policies[name].alarm
    assert alarm == {
        "AlarmName": f"tidegate-target-prod-realtime-orders-AllTraffic-{suffix}",
        "AlarmDescription": "Made by Tidegate to scale by; edits are undone by the next sync.",
        "ActionsEnabled": True,
        "Namespace": "AWS/SageMaker",
        "MetricName": metric,
        "Dimensions": BY_VARIANT,
        "ExtendedStatistic" if statistic == "p95" else "Statistic": statistic,
        "Period": 60,
        "EvaluationPeriods": minutes,
        "DatapointsToAlarm": minutes,
        "Threshold": threshold,
        "ComparisonOperator": comparison,
        "TreatMissingData": "missing",
    }
    if name in policies:
        assert policies[name].configuration["AdjustmentType"] == "PercentChangeInCapacity"
        assert policies[name].configuration["StepAdjustments"] == [
            {"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 100}
        ]


@pytest.mark.parametrize(
    ("document", "suffixes"),
    [
        (REALTIME, ["saturation", "errors"]),
        ({**REALTIME, "objectives": PROMISES}, ["saturation", "errors", "latency", "slow", "congested"]),
        ({**BATCH, "objectives": PROMISES}, []),  # nothing is done outside its windows; its native policies double
        (ASYNC, ["wake", "idle"]),
        ({**ASYNC, "min_capacity": 1}, []),
        ({**REALTIME, **JOBS}, []),  # what works off a queue is always busy
    ],
)
def test_alarms_that_the_guard_reads(document: dict[str, Any], suffixes: list[str]) -> None:
    assert list(guard_alarms(enrolment(document), "prod")) == suffixes


@pytest.mark.parametrize(
    ("document", "vcpus", "metric", "threshold"),
    [
        (REALTIME, 8, "InvocationsPerInstance", 1000),  # what an instance can serve is stated
        (TUTORIAL, 8, "CPUUtilization", 95),  # AAS keeps an instance at a target: that is no ceiling
        (TUTORIAL | {"policies": TUTORIAL["policies"][:1]}, None, "InvocationsPerInstance", 1000),  # nothing better
    ],
)
def test_the_ceiling_is_what_an_instance_can_serve(
    document: dict[str, Any], vcpus: int | None, metric: str, threshold: float
) -> None:
    found = native_policies(replace(enrolment(document), vcpus=vcpus), "prod")[-1].alarm
    assert found is not None
    name = found["MetricName"] if "MetricName" in found else found["Metrics"][0]["MetricStat"]["Metric"]["MetricName"]
    assert (name, found["Threshold"]) == (metric, threshold)


@pytest.mark.parametrize(
    ("objectives", "minutes"),
    [
        ({"drain_within": "15m"}, 4),  # 15 - 3 - 8 from zero
        ({"drain_within": "30m"}, 19),
        ({"drain_within": "10m"}, 1),  # too late whatever is done
        ({"oldest_age_at_most": "20m", "concurrency": 8}, 11),  # 20 + 8 / 4 of its own - 3 - 8
        ({"items_per_instance": 5}, 2),  # AWS's guide
        ({"drain_within": "2d", "expires_after": "4d"}, 1440),  # no alarm on minutes looks back further (facts 8.1)
    ],
)
def test_wake_waits_as_long_as_one_instance_is_still_in_time(objectives: dict[str, Any], minutes: int) -> None:
    wake = natives({**ASYNC, "objectives": {"items_per_minute": 4, **objectives}})["wake"]
    assert wake.configuration["AdjustmentType"] == "ChangeInCapacity"
    assert wake.configuration["StepAdjustments"] == [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}]
    assert wake.alarm is not None
    assert wake.alarm["EvaluationPeriods"] == wake.alarm["DatapointsToAlarm"] == minutes


def test_idle_goes_to_exactly_zero_after_the_idle_delay() -> None:
    idle = natives({**ASYNC, "idle_after": "20m"})["idle"]
    assert idle.configuration["AdjustmentType"] == "ExactCapacity"
    assert idle.configuration["StepAdjustments"] == [{"MetricIntervalUpperBound": 0.0, "ScalingAdjustment": 0}]
    assert idle.alarm is not None
    assert (idle.alarm["EvaluationPeriods"], idle.alarm["Threshold"], idle.alarm["TreatMissingData"]) == (
        20,
        0.0,
        "missing",
    )


def test_a_queue_of_your_own_is_followed_by_steps_that_name_the_count() -> None:
    """Half of what an instance drains in 15 minutes are 30 messages: 1 to 30 need one instance, 31 to 60 two."""
    out, into = natives({**REALTIME, **JOBS, "max_capacity": 3, "idle_after": "9m"}).values()
    assert out.configuration["AdjustmentType"] == into.configuration["AdjustmentType"] == "ExactCapacity"
    assert out.configuration["StepAdjustments"] == [
        {
            "MetricIntervalLowerBound": 0.0,
            "MetricIntervalUpperBound": 30.0,
            "ScalingAdjustment": 1,
        },  # from the first on
        {"MetricIntervalLowerBound": 30.0, "MetricIntervalUpperBound": 60.0, "ScalingAdjustment": 2},
        {"MetricIntervalLowerBound": 60.0, "ScalingAdjustment": 3},
    ]
    assert into.configuration["StepAdjustments"] == [{"MetricIntervalUpperBound": 0.0, "ScalingAdjustment": 2}]
    assert out.alarm is not None
    assert into.alarm is not None
    assert (out.alarm["Threshold"], out.alarm["EvaluationPeriods"]) == (1.0, 3)
    assert (into.alarm["Threshold"], into.alarm["EvaluationPeriods"]) == (0.0, 9)
    visible, in_flight, total = into.alarm["Metrics"]
    named = [part["MetricStat"]["Metric"] for part in (visible, in_flight)]
    assert [(one["Namespace"], one["MetricName"]) for one in named] == [
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
        ("AWS/SQS", "ApproximateNumberOfMessagesNotVisible"),
    ]
    assert all(one["Dimensions"] == [{"Name": "QueueName", "Value": "jobs"}] for one in named)
    assert (total["Expression"], total["ReturnData"]) == ("m1+FILL(m2,0)", True)


def test_a_queue_takes_no_more_steps_than_aas_does() -> None:
    steps = natives({**REALTIME, **JOBS, "max_capacity": 50})["queue-out"].configuration["StepAdjustments"]
    assert [step["ScalingAdjustment"] for step in steps][:4] == [3, 5, 8, 10]  # 2.5 apart
    assert (len(steps), steps[-1]["ScalingAdjustment"]) == (20, 50)
    assert [step["MetricIntervalLowerBound"] for step in steps][:3] == [0.0, 90.0, 150.0]  # 3 and 5 times 30


@pytest.mark.parametrize("document", [REALTIME, ASYNC, BATCH, TUTORIAL, COMPONENT, SERVERLESS, REALTIME | JOBS])
def test_every_shape_is_valid_to_botocore(document: dict[str, Any]) -> None:
    loader = botocore.session.Session()
    put_policy = loader.get_service_model("application-autoscaling").operation_model("PutScalingPolicy").input_shape
    put_alarm = loader.get_service_model("cloudwatch").operation_model("PutMetricAlarm").input_shape
    assert put_policy is not None
    assert put_alarm is not None
    target = enrolment(document).target
    for policy in natives(document).values():
        request = {
            "PolicyName": policy.name,
            "ServiceNamespace": "sagemaker",
            "ResourceId": target.resource_id,
            "ScalableDimension": target.dimension.value,
            "PolicyType": policy.policy_type,
            f"{policy.policy_type}PolicyConfiguration": policy.configuration,
        }
        report = ParamValidator().validate(request, put_policy)
        assert not report.has_errors(), report.generate_report()
        if policy.alarm is not None:
            report = ParamValidator().validate(dict(policy.alarm), put_alarm)
            assert not report.has_errors(), report.generate_report()


def test_cpu_without_a_known_vcpu_count_is_a_clear_error() -> None:
    unknown = replace(enrolment(TUTORIAL), vcpus=None)
    with pytest.raises(ConfigError, match=r"endpoints\.orders\.vcpus: CPUUtilization is counted in percent per core"):
        native_policies(unknown, "prod")


def test_gpus_without_a_known_count_are_a_clear_error() -> None:
    gpu = {**TUTORIAL, "policies": [{"type": "target_tracking", "metric": "gpu", "target": 60}]}
    with pytest.raises(ConfigError, match=r"endpoints\.orders\.gpus: GPUUtilization .* per GPU, .* state it"):
        native_policies(enrolment(gpu), "prod")
    with pytest.raises(ConfigError, match=r"endpoints\.orders\.gpus = 0: .* the instance type has none"):
        native_policies(replace(enrolment(gpu), gpus=0), "prod")


def test_alarms_that_ask_for_more_capacity() -> None:
    policies = (
        NativePolicy(
            "a",
            "TargetTrackingScaling",
            {},
            alarm_names=("TargetTracking-x-AlarmHigh-1", "TargetTracking-x-AlarmLow-1"),
        ),
        NativePolicy("b", "StepScaling", {}, alarm_names=("t-cpu-out",)),
        NativePolicy("c", "StepScaling", {}, alarm_names=("t-cpu-in",)),
        NativePolicy("d", "StepScaling", {}, alarm_names=("t-wake",)),
        NativePolicy("e", "StepScaling", {}, alarm_names=("t-idle",)),
        NativePolicy("f", "StepScaling", {}, alarm_names=("t-saturation",)),
        NativePolicy("g", "StepScaling", {}, alarm_names=("t-slow",)),
        NativePolicy("h", "StepScaling", {}, alarm_names=("t-congested",)),
    )
    assert scale_out_alarms(policies) == (
        "TargetTracking-x-AlarmHigh-1",
        "t-cpu-out",
        "t-wake",  # what the guard reads is read anyway
    )
