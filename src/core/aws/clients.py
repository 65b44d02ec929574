"""boto3 clients with their retries and time-outs said aloud, each made once, when first asked for.

Loading SageMaker's model costs 100 ms, and only discovery needs tagging: hand over these functions, not their results.
"""

from functools import cache

import boto3
from botocore.config import Config

CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=2, read_timeout=5)
"""Three attempts in all (`max_attempts` would be three more) of at most 7 s each: no dead call uses up a pass."""

application_autoscaling = cache(lambda: boto3.client("application-autoscaling", config=CONFIG))
cloudwatch = cache(lambda: boto3.client("cloudwatch", config=CONFIG))
dynamodb = cache(lambda: boto3.client("dynamodb", config=CONFIG))
events = cache(lambda: boto3.client("events", config=CONFIG))
sagemaker = cache(lambda: boto3.client("sagemaker", config=CONFIG))
tagging = cache(lambda: boto3.client("resourcegroupstaggingapi", config=CONFIG))
