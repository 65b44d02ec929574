"""The clients that others bring: the botocore inside SAM and the one inside the emulator, each as locked."""

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from local_account.plant.server import SERVICES, Plant
from simulator.account import SimulatedAccount
from simulator.workload import RealtimeWorkload

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import json, sys
import botocore.session
from botocore.config import Config

session = botocore.session.Session()
said = {}
for service, operation, params, key in [
    ("application-autoscaling", "describe_scalable_targets", {"ServiceNamespace": "sagemaker"}, "ScalableTargets"),
    ("sagemaker", "describe_endpoint", {"EndpointName": "ranker"}, "EndpointStatus"),
    ("cloudwatch", "describe_alarms", {}, "MetricAlarms"),
    ("resourcegroupstaggingapi", "get_resources", {}, "ResourceTagMappingList"),
]:
    client = session.create_client(service, endpoint_url=sys.argv[1], config=Config(proxies={}))
    said[service] = getattr(client, operation)(**params)[key]
    client.close()
print(json.dumps(said))
"""


@pytest.mark.parametrize("environment", ["sam", "ministack"])
def test_an_older_botocore_speaks_the_same_language(environment: str) -> None:
    python = ROOT / ".tools" / environment / "bin" / "python"
    if not python.exists():
        pytest.skip(f".tools/{environment} was not made yet")
    account = SimulatedAccount(now=datetime(2025, 4, 2, 6, 0, tzinfo=UTC))
    workload = RealtimeWorkload(per_minute_requests=(), capacity_per_instance=1.0)
    account.add_endpoint(name="ranker", workload=workload, instance_count=2)
    clean = {name: value for name, value in os.environ.items() if not name.upper().startswith("AWS_")}
    named = {"AWS_ACCESS_KEY_ID": "AKIDOTHER", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "eu-central-1"}
    with Plant(account) as plant:
        done = subprocess.run(  # noqa: S603 - our own locked environment
            [python, "-c", SCRIPT, plant.url], env=clean | named, capture_output=True, text=True, check=False
        )
    assert done.stderr == ""
    assert json.loads(done.stdout)["sagemaker"] == "InService"
    assert {call.service for call in plant.calls} == set(SERVICES)
    assert {call.access_key for call in plant.calls} == {"AKIDOTHER"}
    assert all(call.user_agent.startswith("Botocore/1.43.") for call in plant.calls)
