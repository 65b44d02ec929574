"""The metric catalogue: each row as the request that reaches AWS, and as the page describes it."""

from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, get_args

import botocore.session
import pytest
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from core.aws.cloudwatch import CloudWatch
from core.errors import ConfigError
from core.metrics import METRICS, MetricName
from core.model import Signal
from core.native import native_policies
from core.policy import Profile
from core.ports import NativePolicy
from core.signals import queries
from tests.builders import ASYNC, COMPONENT, NOW, REALTIME, SERVERLESS, enrolment

ROOT = Path(__file__).resolve().parents[2]
BY_ENDPOINT = [{"Name": "EndpointName", "Value": "orders"}]
BY_VARIANT = [*BY_ENDPOINT, {"Name": "VariantName", "Value": "AllTraffic"}]
INVOCATIONS, INSTANCES = "AWS/SageMaker", "/aws/sagemaker/Endpoints"

REAL, QUEUE, COPY, LESS = REALTIME, ASYNC, COMPONENT, SERVERLESS
BY_COMPONENT = [{"Name": "InferenceComponentName", "Value": "chat-8b"}]
COMPONENTS = "/aws/sagemaker/InferenceComponents"

Row = tuple[MetricName, dict[str, Any], str, str, str, list[dict[str, str]], int | None, str | None]

# name, who serves, namespace, CloudWatch name, statistic, dimensions, divisor (8 vCPUs, 4 GPUs), predefined type:
# every row of facts 1.2 and 3 that a scaler can use
ROWS: list[Row] = [
    ("requests_per_instance", REAL, INVOCATIONS, "InvocationsPerInstance", "Sum", BY_VARIANT, None,
     "SageMakerVariantInvocationsPerInstance"),
    ("requests_per_copy", COPY, INVOCATIONS, "InvocationsPerCopy", "Sum", BY_COMPONENT, None,
     "SageMakerInferenceComponentInvocationsPerCopy"),
    ("concurrent_requests", REAL, INVOCATIONS, "ConcurrentRequestsPerModel", "Maximum", BY_VARIANT, None,
     "SageMakerVariantConcurrentRequestsPerModelHighResolution"),
    ("concurrent_requests", COPY, INVOCATIONS, "ConcurrentRequestsPerCopy", "Maximum", BY_COMPONENT, None,
     "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution"),
    ("cpu", REAL, INSTANCES, "CPUUtilization", "Average", BY_VARIANT, 8, None),
    ("cpu", QUEUE, INSTANCES, "CPUUtilization", "Average", BY_VARIANT, 8, None),
    ("cpu", COPY, COMPONENTS, "CPUUtilizationNormalized", "Average", BY_COMPONENT, None, None),
    ("memory", REAL, INSTANCES, "MemoryUtilization", "Average", BY_VARIANT, None, None),
    ("memory", QUEUE, INSTANCES, "MemoryUtilization", "Average", BY_VARIANT, None, None),
    ("memory", COPY, COMPONENTS, "MemoryUtilizationNormalized", "Average", BY_COMPONENT, None, None),
    ("disk", REAL, INSTANCES, "DiskUtilization", "Average", BY_VARIANT, None, None),
    ("disk", QUEUE, INSTANCES, "DiskUtilization", "Average", BY_VARIANT, None, None),
    ("gpu", REAL, INSTANCES, "GPUUtilization", "Average", BY_VARIANT, 4, None),
    ("gpu", QUEUE, INSTANCES, "GPUUtilization", "Average", BY_VARIANT, 4, None),
    ("gpu", COPY, COMPONENTS, "GPUUtilizationNormalized", "Average", BY_COMPONENT, None, None),
    ("gpu_memory", REAL, INSTANCES, "GPUMemoryUtilization", "Average", BY_VARIANT, 4, None),
    ("gpu_memory", QUEUE, INSTANCES, "GPUMemoryUtilization", "Average", BY_VARIANT, 4, None),
    ("gpu_memory", COPY, COMPONENTS, "GPUMemoryUtilizationNormalized", "Average", BY_COMPONENT, None, None),
    ("backlog_per_instance", QUEUE, INVOCATIONS, "ApproximateBacklogSizePerInstance", "Average", BY_ENDPOINT, None,
     None),
    ("provisioned_concurrency", LESS, INVOCATIONS, "ServerlessProvisionedConcurrencyUtilization", "Average", BY_VARIANT,
     None, "SageMakerVariantProvisionedConcurrencyUtilization"),
]  # fmt: skip
IDS = [f"{name}-{Profile.model_validate(document).serving}" for name, document, *_ in ROWS]

# what a pass reads (facts 3.2, 3.4): who serves, signal, CloudWatch name, statistic, dimensions
READ: list[tuple[dict[str, Any], Signal, str, str, list[dict[str, str]]]] = [
    (REAL, Signal.REQUESTS, "Invocations", "Sum", BY_VARIANT),
    (COPY, Signal.REQUESTS, "Invocations", "Sum", BY_COMPONENT),
    (LESS, Signal.REQUESTS, "Invocations", "Sum", BY_VARIANT),
    (QUEUE, Signal.BACKLOG, "ApproximateBacklogSize", "Maximum", BY_ENDPOINT),
    (QUEUE, Signal.TURNAROUND, "TotalProcessingTime", "Average", BY_VARIANT),
    (QUEUE, Signal.WAITED, "TimeInBacklog", "Average", BY_VARIANT),
    (COPY, Signal.NO_CAPACITY, "NoCapacityInvocationFailures", "Sum", BY_COMPONENT),
]


def natives(document: dict[str, Any], policy: dict[str, Any]) -> dict[str, NativePolicy]:
    """Return what one policy becomes beside what keeps the target alive, each valid to botocore."""
    enrolled = replace(enrolment(document, policies=[policy]), gpus=4)
    made = native_policies(enrolled, "prod")
    for native in made:
        request = {
            "PolicyName": native.name,
            "ServiceNamespace": "sagemaker",
            "ResourceId": enrolled.target.resource_id,
            "ScalableDimension": enrolled.target.dimension.value,
            "PolicyType": native.policy_type,
            f"{native.policy_type}PolicyConfiguration": native.configuration,
        }
        validate("application-autoscaling", "PutScalingPolicy", request)
        if native.alarm is not None:
            validate("cloudwatch", "PutMetricAlarm", dict(native.alarm))
    return {native.name.removeprefix("tidegate-prod-"): native for native in made}


@cache
def model_of(service: str) -> ServiceModel:
    return botocore.session.Session().get_service_model(service)


def validate(service: str, operation: str, request: dict[str, Any]) -> None:
    shape = model_of(service).operation_model(operation).input_shape
    assert shape is not None
    report = ParamValidator().validate(request, shape)
    assert not report.has_errors(), report.generate_report()


def test_the_table_has_a_row_for_every_name_and_everybody_who_publishes_it() -> None:
    assert list(get_args(MetricName)) == list(METRICS)
    published = [(name, serving) for name, by_serving in METRICS.items() for serving in by_serving]
    assert published == [(name, Profile.model_validate(document).serving) for name, document, *_ in ROWS]


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_target_tracking_as_aas_takes_it(row: Row) -> None:
    metric, document, namespace, name, statistic, dimensions, divisor, predefined = row
    made = natives(document, {"type": "target_tracking", "metric": metric, "target": 0.6})
    configuration = made[f"track-{metric}"].configuration
    assert configuration["TargetValue"] == 0.6
    if predefined:
        assert configuration["PredefinedMetricSpecification"] == {"PredefinedMetricType": predefined}
        return
    plain = {"Namespace": namespace, "MetricName": name, "Dimensions": dimensions}
    custom = configuration["CustomizedMetricSpecification"]
    if divisor is None:
        assert custom == {**plain, "Statistic": statistic}
        return
    assert [item["ReturnData"] for item in custom["Metrics"]] == [False, True]
    assert custom["Metrics"][0]["MetricStat"] == {"Metric": plain, "Stat": statistic}  # AAS knows no Period
    assert custom["Metrics"][1]["Expression"] == f"m1/{divisor}"


@pytest.mark.parametrize("row", [row for row in ROWS if row[0] != "concurrent_requests"], ids=lambda row: row[3])
def test_steps_with_an_alarm_on_the_same_data(row: Row) -> None:
    metric, document, namespace, name, statistic, dimensions, divisor, _ = row
    steps = [{"upper": 0.2, "change": -1}, {"lower": 0.2, "change": 1}]
    made = natives(document, {"type": "step", "metric": metric, "steps": steps})
    plain = {"Namespace": namespace, "MetricName": name, "Dimensions": dimensions}
    for way, threshold in (("out", 0.2), ("in", 0.2)):
        alarm = made[f"step-{metric}-{way}"].alarm
        assert alarm is not None
        assert (alarm["AlarmName"].endswith(f"-{metric}-{way}"), alarm["Threshold"]) == (True, threshold)
        if divisor is None:
            seen = {key: alarm[key] for key in ("Namespace", "MetricName", "Dimensions", "Statistic", "Period")}
            assert seen == {**plain, "Statistic": statistic, "Period": 60}
        else:  # with metric math the period stands in the metric
            assert "Period" not in alarm
            assert alarm["Metrics"][0]["MetricStat"] == {"Metric": plain, "Stat": statistic, "Period": 60}
            assert alarm["Metrics"][1]["Expression"] == f"m1/{divisor}"


def test_what_is_published_every_ten_seconds_has_no_average_to_step_on() -> None:
    for document in (REAL, COPY):
        with pytest.raises(ConfigError, match="only target tracking follows this metric"):
            natives(document, {"type": "step", "metric": "concurrent_requests", "steps": [{"lower": 5, "change": 1}]})


@pytest.mark.parametrize("row", READ, ids=lambda row: f"{row[1]}-{row[0].get('serving', row[0]['kind'])}")
def test_what_a_pass_reads(row: tuple[dict[str, Any], Signal, str, str, list[dict[str, str]]]) -> None:
    document, signal, name, statistic, dimensions = row
    asked = queries(enrolment(document), working=True)[signal]
    sent: list[dict[str, Any]] = []

    class Client:
        def get_paginator(self, operation: str) -> "Client":
            assert operation == "get_metric_data"
            return self

        def paginate(self, **request: Any) -> list[dict[str, Any]]:
            sent.append(request)
            return []

    CloudWatch(Client()).fetch([asked], NOW, timedelta(minutes=15))  # type: ignore[arg-type]  # as much of boto3's client as is used
    validate("cloudwatch", "GetMetricData", sent[0])
    [query] = sent[0]["MetricDataQueries"]
    metric = {"Namespace": INVOCATIONS, "MetricName": name, "Dimensions": dimensions}
    assert query["MetricStat"] == {"Metric": metric, "Stat": statistic, "Period": 60}


def test_a_metric_of_ones_own_knows_the_target_s_names() -> None:
    dimensions = {"Endpoint": "{endpoint}", "Variant": "v-{variant}", "Shop": "a"}
    custom = {"namespace": "Shop/Queue", "name": "Jobs waiting", "dimensions": dimensions, "statistic": "Maximum"}
    made = natives(REAL, {"type": "target_tracking", "metric": "custom", "target": 20, "custom": custom})
    assert made["track-custom-Jobs_waiting"].configuration["CustomizedMetricSpecification"] == {
        "Namespace": "Shop/Queue",
        "MetricName": "Jobs waiting",
        "Dimensions": [
            {"Name": "Endpoint", "Value": "orders"},
            {"Name": "Variant", "Value": "v-AllTraffic"},
            {"Name": "Shop", "Value": "a"},
        ],
        "Statistic": "Maximum",
    }


def test_a_component_has_other_names_than_a_variant() -> None:
    def tracking(dimensions: dict[str, str]) -> dict[str, Any]:
        custom = {"namespace": "Shop/Queue", "name": "Jobs", "dimensions": dimensions}
        return {"type": "target_tracking", "metric": "custom", "target": 20, "custom": custom}

    names = {"Endpoint": "{endpoint}", "Component": "{inference_component}"}
    sent = natives(COPY, tracking(names))["track-custom-Jobs"].configuration["CustomizedMetricSpecification"]
    assert [dimension["Value"] for dimension in sent["Dimensions"]] == ["orders", "chat-8b"]
    for document, written in ((COPY, "{variant}"), (REAL, "{inference_component}")):
        with pytest.raises(ConfigError, match=f"{written} is no name of a target that serves as"):
            natives(document, tracking({"Name": written}))


def test_metric_math_of_ones_own_returns_the_expression_alone() -> None:
    metrics = [
        {"id": "jobs", "namespace": "Shop/Queue", "name": "Jobs", "statistic": "Sum"},
        {"id": "workers", "namespace": "Shop/Queue", "name": "Workers"},
    ]
    custom = {"metrics": metrics, "expression": "FILL(jobs, 0) / workers"}
    made = natives(REAL, {"type": "target_tracking", "metric": "custom", "target": 20, "custom": custom})
    sent = made["track-custom-Jobs-Workers"].configuration["CustomizedMetricSpecification"]["Metrics"]
    assert [item["Id"] for item in sent if item["ReturnData"]] == ["trackedValue"]
    assert sent[0]["MetricStat"] == {
        "Metric": {"Namespace": "Shop/Queue", "MetricName": "Jobs", "Dimensions": []},
        "Stat": "Sum",
    }
    assert sent[2]["Expression"] == "FILL(jobs, 0) / workers"


def test_predefined_types_are_aas_s_own() -> None:
    model = botocore.session.Session().get_service_model("application-autoscaling")
    known = set(model.shape_for("MetricType").enum)  # type: ignore[attr-defined]  # only string shapes have it
    used = {metric.predefined for by_serving in METRICS.values() for metric in by_serving.values()} - {None}
    assert used == {name for name in known if name.startswith("SageMaker")}  # all that SageMaker has


@pytest.mark.parametrize("name", METRICS)
def test_who_publishes_it_may_use_it(name: str) -> None:
    policies = [{"type": "target_tracking", "metric": name, "target": 1}]
    for document in (REAL, QUEUE, COPY, LESS):
        serving = Profile.model_validate(document).serving
        if serving in METRICS[name]:
            assert Profile.model_validate({**document, "policies": policies}).policies
        else:
            with pytest.raises(ValueError, match=f"never publishes {name}"):
                Profile.model_validate({**document, "policies": policies})


def test_the_page_says_what_the_table_says() -> None:
    rows = []
    for name, by_serving in METRICS.items():
        for metric in dict.fromkeys(by_serving.values()):
            publishers = ", ".join(f"`{serving}`" for serving, other in by_serving.items() if other == metric)
            rows.append(f"| `{name}` | {metric.unit} | `{metric.name}` | {publishers} |")
    page = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8").split("<!-- Metrics -->")[1].split("\n## ")[0]
    assert [line for line in page.splitlines() if line.startswith("| `")] == rows
