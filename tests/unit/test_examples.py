"""examples/: the policy files are accepted, what the CDK made of the apps agrees with them, and both name one profile."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.tutorial import ONE_CORE, tutorial
from cli.errors import PolicyFileError
from cli.policy_file import read_policy_file
from core.fleet import PROFILE_TAG
from core.policy import parse_fleet
from simulator.cases import Case, Mode, case_of

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FROM_CDK = EXAMPLES / "from-cdk"
PROFILES = yaml.safe_load((FROM_CDK / "fleet.yaml").read_text(encoding="utf-8"))["profiles"]


def resources(app: str) -> dict[str, list[dict[str, Any]]]:
    """What the CDK made of an app, by type."""
    made: dict[str, list[dict[str, Any]]] = {}
    for each in json.loads((EXAMPLES / f"cdk/{app}.template.json").read_text(encoding="utf-8"))["Resources"].values():
        made.setdefault(each["Type"].rpartition("::")[2], []).append(each["Properties"])
    return made


def test_the_policy_file_is_accepted_without_a_remark() -> None:
    assert read_policy_file(FROM_CDK / "fleet.yaml").warnings == []


def test_the_tutorials_steps_are_refused_with_those_that_are_accepted() -> None:
    with pytest.raises(PolicyFileError, match="steps 0 and 1 must meet") as refused:
        read_policy_file(FROM_CDK / "as-printed.yaml")
    document = yaml.safe_load((FROM_CDK / "as-printed.yaml").read_text(encoding="utf-8"))
    proposed = str(refused.value).partition("these do: ")[2]
    document["profiles"]["ranking"]["policies"][3]["steps"] = yaml.safe_load(proposed)
    assert len(parse_fleet(document).profiles["ranking"].native_policies) == 4


def test_the_app_leaves_nothing_of_scaling_and_a_tag() -> None:
    before, after = resources("before"), resources("app")
    assert sorted(set(before) - set(after)) == ["Alarm", "Role", "ScalableTarget", "ScalingPolicy"]
    (endpoint,) = after["Endpoint"]
    assert endpoint["Tags"] == [{"Key": PROFILE_TAG, "Value": "ranking"}]
    assert endpoint["RetainAllVariantProperties"] is True
    assert "ranking" in PROFILES


def test_terraform_names_the_same_profile_and_registers_nothing() -> None:
    text = (EXAMPLES / "terraform/main.tf").read_text(encoding="utf-8")
    assert re.findall(rf'"{PROFILE_TAG}" *= "(.+?)"', text) == ["ranking"]
    assert 'resource "aws_appautoscaling' not in text


@pytest.mark.parametrize(("instance_type", "most"), [("ml.c5.2xlarge", 8), (ONE_CORE, 2)])
def test_cpu_summed_over_cores_takes_every_instance(instance_type: str, most: int) -> None:
    """Six hours of 2,000 requests a minute on instances that answer 1,250: two are enough, and within the targets."""
    busy = case_of(EXAMPLES.parent / "traces/servegen_small_c31.csv", Mode.REALTIME)
    requests = busy.requests[:360] * 0 + 2000
    case = Case(trace="even", mode=Mode.REALTIME, start=busy.start, requests=requests, capacity=1250.0, maximum=8)
    assert tutorial(case, instance_type).ready[-60:].max() == most
