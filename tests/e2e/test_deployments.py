"""Deployments in a deployed stack: what an update resets, what a deleted name keeps, and the tutorial's endpoint."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from local_account.account import LocalAccount
from local_account.sam import STACK
from simulator.workload import RealtimeWorkload
from tests.e2e.conftest import POLICY, ROOT, bounds, embedded, small_account

TIDEGATE = Path(sys.executable).with_name("tidegate")
RAMP, AGAIN, TUTORIAL = "ramp-prod", "again-prod", "tutorial-prod"
TUTORIAL_STEPS: list[dict[str, float]] = [
    {"upper": 30, "change": -1},
    {"lower": 60, "change": 0},  # a gap below it, and no upper end: it overlaps the next
    {"lower": 70, "upper": 100, "change": 1},
    {"lower": 100, "change": 2},
]


def endpoint(local: LocalAccount, name: str, load: list[int], count: int, capacity: float) -> None:
    workload = RealtimeWorkload(per_minute_requests=load, capacity_per_instance=capacity, vcpus=4)
    with local.plant.lock:
        local.account.add_endpoint(name=name, workload=workload, instance_type="ml.c5.xlarge", instance_count=count)


def enrol(local: LocalAccount, *entries: dict[str, str]) -> None:
    local.push_policy({**POLICY, "endpoints": [*POLICY["endpoints"], *entries]})
    local.restart_functions()
    local.invoke("FleetSync", {"trigger": "policy"})


def statuses(events: list[dict[str, Any]], name: str) -> list[str]:
    kind = "SageMaker Endpoint State Change"
    mine = [e["detail"] for e in events if e["detail-type"] == kind and e["detail"]["EndpointName"] == name]
    return [detail["EndpointStatus"] for detail in mine]


@pytest.fixture(scope="module")
def own(artefact: Path) -> Iterator[LocalAccount]:
    """An account of its own: hours pass in these tests, and others look at the time of day."""
    with embedded(small_account(), artefact=artefact) as account:
        yield account


@pytest.fixture
def sagemaker(own: LocalAccount) -> Iterator[Any]:
    client = own.client("sagemaker")
    yield client
    client.close()


def described(sagemaker: Any, name: str) -> tuple[str, int]:
    seen = sagemaker.describe_endpoint(EndpointName=name)
    return seen["EndpointStatus"], seen["ProductionVariants"][0]["CurrentInstanceCount"]


def test_a_deployment_in_mid_ramp_ends_with_what_demand_needs_not_with_its_own_number(
    own: LocalAccount, sagemaker: Any
) -> None:
    load = [1500] * 10 + [1500 + 300 * minute for minute in range(20)] + [7500] * 300
    endpoint(own, RAMP, load, 2, 1200)
    enrol(own, {"name": RAMP, "profile": "ranker"})
    for _ in range(16):
        own.minute()
    while described(sagemaker, RAMP)[0] != "InService":
        own.minute()
    before = described(sagemaker, RAMP)[1]
    config = sagemaker.describe_endpoint_config(EndpointConfigName=f"{RAMP}-config-1")["ProductionVariants"]
    sagemaker.create_endpoint_config(
        EndpointConfigName="ramp-two", ProductionVariants=[{**config[0], "InitialInstanceCount": 1}]
    )
    sagemaker.update_endpoint(EndpointName=RAMP, EndpointConfigName="ramp-two")
    while described(sagemaker, RAMP)[0] != "InService":
        own.minute()
    assert before > 1
    for _ in range(30):
        own.minute()
    assert described(sagemaker, RAMP)[1] >= 7  # 7,500 at 1,200 an instance
    found = bounds(own, RAMP)
    assert found is not None
    assert found[0] >= 7
    assert own.failures == []


def test_an_endpoint_deleted_and_made_again_is_enrolled_at_its_first_event(own: LocalAccount, sagemaker: Any) -> None:
    endpoint(own, AGAIN, [900] * 600, 2, 1200)
    enrol(own, {"name": AGAIN, "profile": "ranker"})
    assert bounds(own, AGAIN) == (2, 12)
    sagemaker.delete_endpoint(EndpointName=AGAIN)
    assert bounds(own, AGAIN) is None
    while own.account.sagemaker.endpoints.get(AGAIN):
        own.minute()
    sagemaker.create_endpoint(EndpointName=AGAIN, EndpointConfigName=f"{AGAIN}-config-1")
    seen = [event for _ in range(8) for event in own.minute()]
    assert statuses(seen, AGAIN) == ["CREATING", "IN_SERVICE"]
    assert bounds(own, AGAIN) == (2, 12)
    assert "tidegate-local-saturation" in own.account.snapshot(AGAIN)["policies"]
    assert own.failures == []


def policy(local: LocalAccount, command: str, file: Path, *more: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    return subprocess.run(  # noqa: S603 - our own console script
        [TIDEGATE, "policy", command, str(file), *more],
        cwd=ROOT,
        env=clean | {"COLUMNS": "1000"} | local.environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_tutorials_endpoint_is_linted_corrected_delivered_and_scales_out_and_in(
    own: LocalAccount, sagemaker: Any, tmp_path: Path
) -> None:
    # 1,400 requests an instance at first; one instance serves 1,250 with every core busy
    endpoint(own, TUTORIAL, [2800] * 40 + [200] * 400, 2, 1250)
    profile = dict(
        yaml.safe_load((ROOT / "examples/from-cdk/tutorial.yaml").read_text(encoding="utf-8"))["profiles"]["tutorial"]
    )
    profile["policies"] = [dict(each) for each in profile["policies"]]
    profile["policies"][-1]["steps"] = TUTORIAL_STEPS
    entry = {"name": TUTORIAL, "profile": "tutorial"}
    document = {
        **POLICY,
        "profiles": {**POLICY["profiles"], "tutorial": profile},
        "endpoints": [*POLICY["endpoints"], entry],
    }
    file = tmp_path / "fleet.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    refused = policy(own, "push", file, "--stack", STACK)
    assert refused.returncode == 2, refused.stderr
    shown = re.search(r"these do: (\[\{.*\}\])", re.sub(r"\s+", " ", refused.stderr + refused.stdout))
    assert shown is not None
    profile["policies"][-1]["steps"] = yaml.safe_load(shown[1])
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    assert policy(own, "check", file).returncode == 0
    pushed = policy(own, "push", file, "--stack", STACK)
    assert pushed.returncode == 0, pushed.stderr
    own.restart_functions()
    own.invoke("FleetSync", {"trigger": "policy"})
    assert bounds(own, TUTORIAL) == (1, 8)
    most = 0
    for _ in range(30):
        own.minute()
        most = max(most, described(sagemaker, TUTORIAL)[1])
    assert most > 2
    for _ in range(60):
        own.minute()
    assert described(sagemaker, TUTORIAL)[1] < most
    assert own.failures == []
