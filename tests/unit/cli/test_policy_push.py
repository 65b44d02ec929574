"""`tidegate policy push`: version, deployment, enrolment, and what happens when AWS says no."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from typer.testing import CliRunner, Result

from cli.delivery import OUTPUTS, Delivery, Stack, find_stack
from cli.errors import DeliveryError
from cli.main import app
from cli.policy_file import read_policy_file

ROOT = Path(__file__).resolve().parents[3]
STACK = Stack(
    application="app1", configuration_profile="prof1", environment="env1", strategy="strat1", fleet_sync="sync"
)
PLACE = {"ApplicationId": "app1", "EnvironmentId": "env1"}


@dataclass
class Account:
    """Stubbed clients, which refuse any call that was not announced or differs from it."""

    appconfig: Any
    functions: Any
    announced: Stubber
    invocations: Stubber
    slept: list[float] = field(default_factory=list)

    @property
    def delivery(self) -> Delivery:
        return Delivery(stack=STACK, appconfig=self.appconfig, functions=self.functions, sleep=self.sleep)

    def of(self, service: str) -> Any:
        return {"appconfig": self.appconfig, "lambda": self.functions, "cloudformation": self}[service]

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def describe_stacks(self, **_: str) -> dict[str, Any]:
        return described(dict(zip(OUTPUTS.values(), ["app1", "prof1", "env1", "strat1", "sync"], strict=True)))

    def push(self, *more: str) -> Result:
        asked = ["policy", "push", str(ROOT / "fleet.yaml"), "--stack", "tidegate", *more]
        return CliRunner().invoke(app, asked, obj=self)

    def expect_version(self, document: dict[str, Any]) -> None:
        self.announced.add_response(
            "create_hosted_configuration_version",
            {"VersionNumber": 7},
            {
                "ApplicationId": "app1",
                "ConfigurationProfileId": "prof1",
                "Content": json.dumps(document).encode(),
                "ContentType": "application/json",
            },
        )

    def expect_deployment(self, *states: str, event: str = "") -> None:
        self.announced.add_response(
            "start_deployment",
            {"DeploymentNumber": 3},
            PLACE | {"DeploymentStrategyId": "strat1", "ConfigurationProfileId": "prof1", "ConfigurationVersion": "7"},
        )
        for state in states:
            log = [{"Description": event}] if event else []
            seen = {"State": state, "PercentageComplete": 100.0, "EventLog": log}
            self.announced.add_response("get_deployment", seen, PLACE | {"DeploymentNumber": 3})

    def expect_enrolment(self) -> None:
        self.invocations.add_response(
            "invoke",
            {"StatusCode": 202},
            {"FunctionName": "sync", "InvocationType": "Event", "Payload": '{"trigger": "policy"}'},
        )

    def assert_all_called(self) -> None:
        self.announced.assert_no_pending_responses()
        self.invocations.assert_no_pending_responses()


def client(service: str) -> Any:
    return boto3.Session("testing", "testing").client(service, region_name="eu-central-1")  # type: ignore[call-overload]  # a name, not a literal


@pytest.fixture
def account() -> Iterator[Account]:
    appconfig, functions = client("appconfig"), client("lambda")
    with Stubber(appconfig) as announced, Stubber(functions) as invocations:
        yield Account(appconfig, functions, announced, invocations)


def test_delivers_enrols_as_soon_as_it_is_in_force_and_watches_to_the_end(account: Account) -> None:
    read = read_policy_file(ROOT / "fleet.yaml")
    account.expect_version(read.document)
    account.expect_deployment("VALIDATING", "DEPLOYING", "BAKING", "BAKING", "COMPLETE")
    account.expect_enrolment()

    said = account.push()

    account.assert_all_called()
    assert account.slept == [5.0] * 4
    assert said.stdout.splitlines() == [
        "Version 7 of the policy: deployment 3 started.",
        "Version 7 is in force; FleetSync enrols what it names (4 endpoints).",
        "Complete. Next: the stack's LogsCommand output shows each decision as it is made.",
    ]
    assert said.stderr.splitlines() == ["VALIDATING (100%)", "DEPLOYING (100%)", "BAKING (100%)", "COMPLETE (100%)"]


def test_without_waiting_it_leaves_once_the_version_is_in_force(account: Account) -> None:
    read = read_policy_file(ROOT / "fleet.yaml")
    account.expect_version(read.document)
    account.expect_deployment("DEPLOYING", "BAKING")
    account.expect_enrolment()
    assert account.push("--no-wait").stdout.endswith(
        "AppConfig still watches the alarms and rolls back if they go off.\n"
    )
    account.assert_all_called()


def test_json_says_what_was_delivered_and_nothing_else(account: Account) -> None:
    account.expect_version(read_policy_file(ROOT / "fleet.yaml").document)
    account.expect_deployment("BAKING", "COMPLETE")
    account.expect_enrolment()
    assert json.loads(account.push("--json").stdout) == {"version": 7, "deployment": 3, "state": "COMPLETE"}


def test_a_rollback_fails_and_says_why(account: Account) -> None:
    read = read_policy_file(ROOT / "fleet.yaml")
    account.expect_version(read.document)
    account.expect_deployment("ROLLED_BACK", event="alarm tidegate-ops-default-errors")
    said = account.push()
    assert said.exit_code == 1
    assert re.search(r"was rolled back \(alarm tidegate-ops-default-errors\).*push again", said.stderr)
    account.assert_all_called()  # nothing was enrolled


def test_waiting_ends(account: Account) -> None:
    for _ in range(720):
        seen = {"State": "DEPLOYING"}
        account.announced.add_response("get_deployment", seen, PLACE | {"DeploymentNumber": 3})
    with pytest.raises(DeliveryError, match="is not complete after an hour"):
        list(account.delivery.watch(3))
    assert sum(account.slept) == 3600


def described(outputs: dict[str, str]) -> dict[str, Any]:
    listed = [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]
    stack = {"StackName": "tidegate", "CreationTime": "2026-03-02", "StackStatus": "CREATE_COMPLETE", "Outputs": listed}
    return {"Stacks": [stack]}


def test_reads_the_stacks_outputs() -> None:
    cloudformation = client("cloudformation")
    with Stubber(cloudformation) as stub:
        outputs = dict(zip(OUTPUTS.values(), ["app1", "prof1", "env1", "strat1", "sync"], strict=True))
        stub.add_response("describe_stacks", described(outputs), {"StackName": "tidegate"})
        assert find_stack(cloudformation, "tidegate") == STACK


def test_a_stack_that_is_not_ours() -> None:
    cloudformation = client("cloudformation")
    with Stubber(cloudformation) as stub:
        stub.add_response("describe_stacks", described({"BucketName": "b"}), {"StackName": "other"})
        with pytest.raises(DeliveryError, match=r"stack other has no output AppConfigApplicationId, .*--stack"):
            find_stack(cloudformation, "other")


def test_the_template_has_these_outputs() -> None:
    template = (ROOT / "template.yaml").read_text(encoding="utf-8")
    for output in OUTPUTS.values():
        assert f"\n  {output}:\n" in template.split("\nOutputs:\n", 1)[1]


def test_a_refused_file_never_leaves_the_desk(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text("version: 2\n", encoding="utf-8")
    result = CliRunner().invoke(app, ["policy", "push", str(tmp_path / "fleet.yaml"), "--stack", "tidegate"])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.endswith("1 problem; nothing was delivered.\n")


def test_without_a_region_it_fails_in_one_line(tmp_path: Path) -> None:
    nowhere = {
        "AWS_REGION": None, "AWS_DEFAULT_REGION": None, "AWS_PROFILE": None, "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }  # fmt: skip
    result = CliRunner(env=nowhere).invoke(app, ["policy", "push", str(ROOT / "fleet.yaml"), "--stack", "tidegate"])
    assert result.exit_code == 1
    assert [line for line in result.stderr.splitlines() if line.startswith("error")] == [
        "error: You must specify a region."
    ]
