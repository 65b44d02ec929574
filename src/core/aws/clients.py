"""boto3 clients with their retries and time-outs said aloud, each made once, when first asked for.

Loading SageMaker's model costs 100 ms, and only discovery needs tagging: hand over these functions, not their results.
"""

from datetime import UTC, datetime
from functools import cache
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.utils import parse_timestamp

CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=2, read_timeout=5)
"""Three attempts in all (`max_attempts` would be three more) of at most 7 s each: no dead call uses up a pass."""


@cache
def _session() -> boto3.Session:
    """Return the session of all clients. A large pass spent a fourth of its time on botocore's local time zone."""
    core: Any = botocore.session.get_session()
    core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_utc)
    return boto3.Session(botocore_session=core)


def _utc(value: float | str) -> datetime:
    """Return a time of an answer in UTC; the services that a pass asks send seconds."""
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else parse_timestamp(value)


appconfigdata = cache(lambda: _session().client("appconfigdata", config=CONFIG))
application_autoscaling = cache(lambda: _session().client("application-autoscaling", config=CONFIG))
cloudwatch = cache(lambda: _session().client("cloudwatch", config=CONFIG))
dynamodb = cache(lambda: _session().client("dynamodb", config=CONFIG))
events = cache(lambda: _session().client("events", config=CONFIG))
scheduler = cache(lambda: _session().client("scheduler", config=CONFIG))
sagemaker = cache(lambda: _session().client("sagemaker", config=CONFIG))
sqs = cache(lambda: _session().client("sqs", config=CONFIG))
tagging = cache(lambda: _session().client("resourcegroupstaggingapi", config=CONFIG))
