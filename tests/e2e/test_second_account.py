"""A second account in another Region beside the first, started in an environment full of real-looking credentials and dead proxies."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from local_account.account import InvocationFailed, LocalAccount
from local_account.sam import STACK
from tests.e2e.conftest import DOCUMENTS, ORDERS, POLICY, bounds, embedded, minutes, schedules_off, small_account

# What a laptop may hold. None of it leads anywhere, so whatever used it would fail.
POISON = {
    "AWS_PROFILE": "production",
    "AWS_DEFAULT_PROFILE": "production",
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "FwoGZXIvYXdzEXAMPLE",
    "AWS_DEFAULT_REGION": "us-gov-west-1",
    "AWS_REGION": "us-gov-west-1",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL_LAMBDA": "http://127.0.0.1:9",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_CA_BUNDLE": "/nonexistent/ca.pem",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
}


REGION, ACCOUNT_ID = "us-east-1", "210987654321"


@pytest.fixture(scope="module")
def other(local: LocalAccount, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAccount]:
    """Deployed from the first one's artefact, while the first one runs."""
    home = tmp_path_factory.mktemp("home")
    (home / ".aws").mkdir()
    (home / ".aws/config").write_text(
        "[profile production]\nregion = us-gov-west-1\nendpoint_url = http://127.0.0.1:9\n"
    )
    (home / ".aws/credentials").write_text(
        "[default]\naws_access_key_id = AKIAI44QH8DHBEXAMPLE\naws_secret_access_key = je7MtGbClwBF/2Zp9Utk/h3yCo8nvb\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**POISON, "HOME": str(home)}.items():
            patch.setenv(name, value)
        with embedded(small_account(region=REGION, account_id=ACCOUNT_ID), artefact=local.sam.built) as account:
            account.push_policy(POLICY)
            account.invoke("FleetSync", {"trigger": "policy"})
            yield account


def test_two_accounts_know_nothing_of_each_other_and_nothing_of_the_environment(
    local: LocalAccount, other: LocalAccount
) -> None:
    assert local.endpoint_url != other.endpoint_url
    assert local.folder != other.folder
    here, there = local.account.now, bounds(local, ORDERS)
    minutes(other, 3)
    assert other.account.now != here
    assert (local.account.now, bounds(local, ORDERS)) == (here, there)
    assert bounds(other, ORDERS) == (2, 12)
    role = next(iter(other.deployed.roles.values()))
    assert other.aws["iam"].get_role(RoleName=role)["Role"]["Arn"].split(":")[4] == ACCOUNT_ID
    for account, place in ((local, "eu-central-1"), (other, REGION)):
        table = account.aws["dynamodb"].describe_table(TableName=account.outputs["TableName"])["Table"]
        assert table["TableArn"].split(":")[3] == place


def test_sam_reaches_the_embedded_account_whatever_the_environment_says(other: LocalAccount, tmp_path: Any) -> None:
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"trigger": "policy"}))
    assert {target["status"] for target in json.loads(other.sam.remote_invoke("FleetSyncFunction", event))["targets"]}


def without(document: Mapping[str, Any], action: str) -> dict[str, Any]:
    """The policy document minus one action."""
    kept = [
        {**statement, "Action": [name for name in _list(statement["Action"]) if name != action]}
        for statement in document["Statement"]
    ]
    return {**document, "Statement": [statement for statement in kept if statement["Action"]]}


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@pytest.mark.parametrize("action", ["application-autoscaling:RegisterScalableTarget", "dynamodb:PutItem"])
def test_a_missing_right_fails_as_on_aws(other: LocalAccount, action: str) -> None:
    """The first is refused by the simulator, which holds the deployed roles itself; the second by the emulator."""
    iam = other.aws["iam"]
    (arn,) = [policy["Arn"] for policy in iam.list_policies(Scope="Local")["Policies"] if "PassPolicy" in policy["Arn"]]
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    whole = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    narrowed = iam.create_policy_version(
        PolicyArn=arn, PolicyDocument=json.dumps(without(whole, action)), SetAsDefault=True
    )["PolicyVersion"]["VersionId"]
    other.rights.forget()
    try:
        pin = {
            "request_id": f"needs-{action.replace(':', '-')}",
            "action": "floor",
            "target": ORDERS,
            "capacity": 5,
            "expires_at": "2026-11-19T00:00:00Z",
            "reason": "a right is missing",
            "requested_by": "e2e@example.com",
        }
        before = bounds(other, ORDERS)
        with pytest.raises(InvocationFailed, match=f"AccessDenied.*{action}"):
            other.invoke("Override", pin)
        assert bounds(other, ORDERS) == before
    finally:
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(whole), SetAsDefault=True)
        iam.delete_policy_version(PolicyArn=arn, VersionId=narrowed)
        other.rights.forget()


def test_a_stack_update_keeps_the_fleet_and_changes_what_it_says(other: LocalAccount) -> None:
    before = bounds(other, DOCUMENTS)
    other.deploy(BatchRate="rate(5 minutes)", LogLevel="DEBUG")
    assert bounds(other, DOCUMENTS) == before
    called = other.invocations["BatchWindow"]
    with schedules_off(other, "BatchWindow"):
        minutes(other, 10)
    assert other.invocations["BatchWindow"] - called == 2
    variables = other.aws["lambda"].get_function_configuration(FunctionName="tidegate-local-async-queue")
    assert variables["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"] == "DEBUG"


def test_a_deleted_stack_leaves_the_table_and_the_endpoints_own_scaling(other: LocalAccount) -> None:
    before = bounds(other, ORDERS)
    table = other.outputs["TableName"]
    other.delete()
    stacks = other.aws["cloudformation"].describe_stacks()["Stacks"]
    assert STACK not in {stack["StackName"] for stack in stacks if stack["StackStatus"] != "DELETE_COMPLETE"}
    assert other.aws["lambda"].list_functions()["Functions"] == []
    assert other.aws["dynamodb"].describe_table(TableName=table)["Table"]["TableStatus"] == "ACTIVE"
    minutes(other, 5)
    assert bounds(other, ORDERS) == before
    assert not [name for name in other.account.cloudwatch.alarms if name.startswith("tidegate-ops-")]
