"""boto3 clients with their retries and time-outs said aloud, each made once, when first asked for."""

from functools import cache
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling import ApplicationAutoScalingClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_resourcegroupstaggingapi import ResourceGroupsTaggingAPIClient
    from mypy_boto3_sagemaker import SageMakerClient

CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=2, read_timeout=5)
"""Three attempts in all (`max_attempts` would be three more) of at most 7 s each: no dead call uses up a pass."""


@cache
def application_autoscaling() -> "ApplicationAutoScalingClient":
    """Return the client of Application Auto Scaling."""
    return boto3.client("application-autoscaling", config=CONFIG)


@cache
def cloudwatch() -> "CloudWatchClient":
    """Return the client of CloudWatch."""
    return boto3.client("cloudwatch", config=CONFIG)


@cache
def dynamodb() -> "DynamoDBClient":
    """Return the client of DynamoDB."""
    return boto3.client("dynamodb", config=CONFIG)


@cache
def events() -> "EventBridgeClient":
    """Return the client of EventBridge."""
    return boto3.client("events", config=CONFIG)


@cache
def sagemaker() -> "SageMakerClient":
    """Return the client of SageMaker; loading its model costs 100 ms, so hand over this function, not its result."""
    return boto3.client("sagemaker", config=CONFIG)


@cache
def tagging() -> "ResourceGroupsTaggingAPIClient":
    """Return the client of the Resource Groups Tagging API; only discovery needs it."""
    return boto3.client("resourcegroupstaggingapi", config=CONFIG)
