"""A broken policy changes nothing: the CLI refuses it, the deployed validator refuses it, the old one stays in force."""

import base64
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from local_account.account import InvocationFailed, LocalAccount
from local_account.sam import STACK
from tests.e2e.conftest import POLICY, QUIET, ROOT, bounds, minutes

TIDEGATE = Path(sys.executable).with_name("tidegate")
BROKEN: dict[str, Any] = {**POLICY, "profiles": {**POLICY["profiles"], "ranker": {"kind": "realtime"}}}
BROKEN["profiles"]["ranker"] = {**POLICY["profiles"]["ranker"], "min_capacity": 14}  # above its maximum of 12


def push(local: LocalAccount, document: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """`tidegate policy push`, as a person runs it who pasted what `make account` prints."""
    file = folder / "fleet.yaml"
    file.write_text(yaml.safe_dump(document))
    clean = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    return subprocess.run(  # noqa: S603 - our own console script
        [TIDEGATE, "policy", "push", str(file), "--stack", STACK],
        cwd=ROOT,
        env=clean | local.environment,
        capture_output=True,
        text=True,
        check=False,
    )


def versions(local: LocalAccount) -> list[int]:
    found = local.aws["appconfig"].list_hosted_configuration_versions(
        ApplicationId=local.outputs["AppConfigApplicationId"],
        ConfigurationProfileId=local.outputs["AppConfigProfileId"],
    )
    return sorted(item["VersionNumber"] for item in found["Items"])


def in_force(local: LocalAccount) -> dict[str, Any]:
    """What a function that starts now would read."""
    with contextlib.closing(local.client("appconfigdata")) as reader:
        token = reader.start_configuration_session(
            ApplicationIdentifier=local.outputs["AppConfigApplicationId"],
            EnvironmentIdentifier=local.outputs["AppConfigEnvironmentId"],
            ConfigurationProfileIdentifier=local.outputs["AppConfigProfileId"],
        )["InitialConfigurationToken"]
        read: dict[str, Any] = json.load(reader.get_latest_configuration(ConfigurationToken=token)["Configuration"])
        return read


def test_the_cli_refuses_a_broken_document_before_it_delivers_anything(local: LocalAccount, tmp_path: Path) -> None:
    before = versions(local)
    done = push(local, BROKEN, tmp_path)
    assert done.returncode == 2, done.stderr
    assert "min_capacity" in done.stderr
    assert "nothing was delivered" in done.stderr
    assert versions(local) == before


def test_the_deployed_validator_refuses_it_in_an_event_of_appconfig(local: LocalAccount) -> None:
    event = {
        "applicationId": local.outputs["AppConfigApplicationId"],
        "configurationProfileId": local.outputs["AppConfigProfileId"],
        "configurationVersion": "3",
        "uri": "hosted",
    }
    with pytest.raises(InvocationFailed, match="min_capacity"):
        local.invoke("PolicyValidator", event | {"content": base64.b64encode(json.dumps(BROKEN).encode()).decode()})
    local.invoke("PolicyValidator", event | {"content": base64.b64encode(json.dumps(POLICY).encode()).decode()})


def test_the_old_policy_stays(local: LocalAccount) -> None:
    assert in_force(local) == json.loads(json.dumps(POLICY))
    minutes(local, 1)
    assert bounds(local, QUIET) is not None


def test_a_good_document_is_delivered_by_the_cli_and_enrolled_by_the_deployed_function(
    restored: LocalAccount, tmp_path: Path
) -> None:
    raised = {**POLICY["profiles"]["ranker"], "min_capacity": 3}
    document = {**POLICY, "profiles": {**POLICY["profiles"], "ranker": raised}}
    done = push(restored, document, tmp_path)
    assert done.returncode == 0, done.stderr
    restored.restart_functions()
    restored.invoke("FleetSync", {"trigger": "policy"})
    assert in_force(restored)["profiles"]["ranker"]["min_capacity"] == 3
    assert bounds(restored, QUIET) == (3, 12)
