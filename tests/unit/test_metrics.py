"""The metric catalogue: each row as the request that reaches AWS, and as the page describes it."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import botocore.session
import pytest
from botocore.validate import ParamValidator

from core.metrics import METRICS, Metric, MetricName
from core.native import native_policies
from core.policy import Profile
from core.ports import NativePolicy
from tests.builders import ASYNC, REALTIME, TARGET, enrolment

ROOT = Path(__file__).resolve().parents[2]
BY_ENDPOINT = [{"Name": "EndpointName", "Value": "orders"}]
BY_VARIANT = [*BY_ENDPOINT, {"Name": "VariantName", "Value": "AllTraffic"}]
INVOCATIONS, INSTANCES = "AWS/SageMaker", "/aws/sagemaker/Endpoints"

# name, namespace, CloudWatch name, statistic, dimensions, divisor (8 vCPUs, 4 GPUs), predefined type: facts 1.2, 3
ROWS: list[tuple[MetricName, str, str, str, list[dict[str, str]], int | None, str | None]] = [
    ("requests_per_instance", INVOCATIONS, "InvocationsPerInstance", "Sum", BY_VARIANT, None,
     "SageMakerVariantInvocationsPerInstance"),
    ("concurrent_requests", INVOCATIONS, "ConcurrentRequestsPerModel", "Maximum", BY_VARIANT, None,
     "SageMakerVariantConcurrentRequestsPerModelHighResolution"),
    ("cpu", INSTANCES, "CPUUtilization", "Average", BY_VARIANT, 8, None),
    ("memory", INSTANCES, "MemoryUtilization", "Average", BY_VARIANT, None, None),
    ("disk", INSTANCES, "DiskUtilization", "Average", BY_VARIANT, None, None),
    ("gpu", INSTANCES, "GPUUtilization", "Average", BY_VARIANT, 4, None),
    ("gpu_memory", INSTANCES, "GPUMemoryUtilization", "Average", BY_VARIANT, 4, None),
    ("backlog_per_instance", INVOCATIONS, "ApproximateBacklogSizePerInstance", "Average", BY_ENDPOINT, None, None),
]  # fmt: skip


def natives(metric: str, policy: dict[str, Any]) -> dict[str, NativePolicy]:
    """Return what one policy becomes on an endpoint that publishes its metric, each valid to botocore."""
    document = REALTIME if metric == "custom" or METRICS[metric].realtime else ASYNC
    enrolled = replace(enrolment(document, policies=[{"metric": metric, **policy}]), gpus=4)
    made = native_policies(enrolled, "prod")
    for native in made:
        request = {
            "PolicyName": native.name,
            "ServiceNamespace": "sagemaker",
            "ResourceId": TARGET.resource_id,
            "ScalableDimension": TARGET.dimension.value,
            "PolicyType": native.policy_type,
            f"{native.policy_type}PolicyConfiguration": native.configuration,
        }
        validate("application-autoscaling", "PutScalingPolicy", request)
        if native.alarm is not None:
            validate("cloudwatch", "PutMetricAlarm", dict(native.alarm))
    return {native.name.removeprefix("tidegate-prod-"): native for native in made}


def validate(service: str, operation: str, request: dict[str, Any]) -> None:
    shape = botocore.session.Session().get_service_model(service).operation_model(operation).input_shape
    assert shape is not None
    report = ParamValidator().validate(request, shape)
    assert not report.has_errors(), report.generate_report()


def test_the_table_has_a_row_for_every_name() -> None:
    assert list(get_args(MetricName)) == list(METRICS) == [row[0] for row in ROWS]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_target_tracking_as_aas_takes_it(row: tuple[Any, ...]) -> None:
    metric, namespace, name, statistic, dimensions, divisor, predefined = row
    configuration = natives(metric, {"type": "target_tracking", "target": 60})[f"track-{metric}"].configuration
    assert configuration["TargetValue"] == 60.0
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


@pytest.mark.parametrize("row", [row for row in ROWS if METRICS[row[0]].steps], ids=lambda row: row[0])
def test_steps_with_an_alarm_on_the_same_data(row: tuple[Any, ...]) -> None:
    metric, namespace, name, statistic, dimensions, divisor, _ = row
    made = natives(metric, {"type": "step", "steps": [{"upper": 20, "change": -1}, {"lower": 20, "change": 1}]})
    plain = {"Namespace": namespace, "MetricName": name, "Dimensions": dimensions}
    for way, threshold in (("out", 20.0), ("in", 20.0)):
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


def test_a_metric_of_ones_own_knows_the_target_s_names() -> None:
    dimensions = {"Endpoint": "{endpoint}", "Variant": "v-{variant}", "Shop": "a"}
    custom = {"namespace": "Shop/Queue", "name": "Jobs waiting", "dimensions": dimensions, "statistic": "Maximum"}
    made = natives("custom", {"type": "target_tracking", "target": 20, "custom": custom})
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


def test_metric_math_of_ones_own_returns_the_expression_alone() -> None:
    metrics = [
        {"id": "jobs", "namespace": "Shop/Queue", "name": "Jobs", "statistic": "Sum"},
        {"id": "workers", "namespace": "Shop/Queue", "name": "Workers"},
    ]
    custom = {"metrics": metrics, "expression": "FILL(jobs, 0) / workers"}
    made = natives("custom", {"type": "target_tracking", "target": 20, "custom": custom})
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
    assert {metric.predefined for metric in METRICS.values() if metric.predefined} <= known


@pytest.mark.parametrize("name", METRICS)
def test_who_publishes_it_may_use_it(name: str) -> None:
    policies = [{"type": "target_tracking", "metric": name, "target": 50}]
    for document, queued in ((REALTIME, False), (ASYNC, True)):
        if METRICS[name].published_by(queued=queued):
            assert Profile.model_validate({**document, "policies": policies}).queued is queued
        else:
            with pytest.raises(ValueError, match=f"never publishes {name}"):
                Profile.model_validate({**document, "policies": policies})


def test_the_page_says_what_the_table_says() -> None:
    def publishers(metric: Metric) -> str:
        return "both" if metric.realtime and metric.queued else "real-time" if metric.realtime else "asynchronous"

    page = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8").split("<!-- Metrics -->")[1].split("\n## ")[0]
    assert [line for line in page.splitlines() if line.startswith("| `")] == [
        f"| `{name}` | {metric.unit} | `{metric.name}` | {publishers(metric)} |" for name, metric in METRICS.items()
    ]
