"""An endpoint with four hand-made scaling policies. docs/guides/from-cdk.md says what is wrong with them."""

import aws_cdk as cdk
from aws_cdk import aws_applicationautoscaling as scaling
from aws_cdk import aws_cloudwatch as cloudwatch

from endpoint import VARIANT, endpoint_of

app = cdk.App()
stack = cdk.Stack(app, "Ranker")
endpoint = endpoint_of(stack, "ranker", instance_type="ml.c5.2xlarge")

target = scaling.ScalableTarget(
    stack,
    "Target",
    service_namespace=scaling.ServiceNamespace.SAGEMAKER,
    resource_id=f"endpoint/ranker/variant/{VARIANT}",
    scalable_dimension="sagemaker:variant:DesiredInstanceCount",
    min_capacity=1,
    max_capacity=8,
)
target.node.add_dependency(endpoint)


def metric(name: str) -> cloudwatch.Metric:
    """A metric of the instances, by the minute."""
    return cloudwatch.Metric(
        namespace="/aws/sagemaker/Endpoints",
        metric_name=name,
        dimensions_map={"EndpointName": "ranker", "VariantName": VARIANT},
        statistic="Average",
        period=cdk.Duration.minutes(1),
    )


target.scale_to_track_metric(
    "Requests",
    predefined_metric=scaling.PredefinedMetric.SAGEMAKER_VARIANT_INVOCATIONS_PER_INSTANCE,
    target_value=1000,
)
target.scale_to_track_metric("Cpu", custom_metric=metric("CPUUtilization"), target_value=70)
target.scale_to_track_metric("Memory", custom_metric=metric("MemoryUtilization"), target_value=80)
target.scale_on_metric(
    "Steps",
    metric=metric("CPUUtilization"),
    scaling_steps=[
        scaling.ScalingInterval(upper=30, change=-1),
        scaling.ScalingInterval(lower=60, change=0),
        scaling.ScalingInterval(lower=70, upper=100, change=1),
        scaling.ScalingInterval(lower=100, change=2),
    ],
)
app.synth()
