"""Clients are boto3's own; only the network is missing."""

from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from simulator.service import Page, Service, ServiceError
from simulator.transport import make_client
from tests.unit.simulator.worlds import VARIANT, realtime_account, register


def test_an_unknown_profile_and_a_broken_endpoint_in_the_environment_do_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody-has-this")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    client: Any = make_client("sagemaker", "eu-central-1", lambda operation, _: {"Endpoints": [], "seen": operation})
    assert client.list_endpoints()["seen"] == "ListEndpoints"


def test_a_refusal_is_a_client_error_with_code_message_and_status() -> None:
    account = realtime_account()
    with pytest.raises(ClientError) as caught:
        account.client("sagemaker").describe_endpoint(EndpointName="absent")
    error = caught.value.response
    assert error["Error"]["Code"] == "ValidationException"
    assert error["Error"]["Message"].startswith("Could not find endpoint")
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_modelled_errors_have_their_class() -> None:
    client = realtime_account().client("application-autoscaling")
    with pytest.raises(client.exceptions.ObjectNotFoundException):
        client.deregister_scalable_target(**VARIANT)


def test_botocore_checks_parameters_before_the_simulator_sees_them() -> None:
    account = realtime_account()
    with pytest.raises(ParamValidationError):
        account.client("application-autoscaling").describe_scalable_targets()  # type: ignore[call-arg]  # on purpose
    assert account.calls == []


def test_an_operation_that_is_not_simulated_says_so() -> None:
    account = realtime_account()
    with pytest.raises(ClientError, match=r"UnknownOperationException.*does not simulate ListModels"):
        account.client("sagemaker").list_models()


def test_an_operation_that_does_not_exist_says_so_too() -> None:
    with pytest.raises(ServiceError, match="UnknownOperationException"):
        realtime_account().call("sagemaker", "MakeCoffee", {})


CONSTRAINTS = [
    (
        "enum",
        {"ServiceNamespace": "lake"},
        r"Value 'lake' at 'serviceNamespace' .*Member must satisfy enum value set: \[",
    ),
    ("length", {"ResourceId": "r" * 1601}, r"at 'resourceId' .*Member must have length less than or equal to 1600"),
    ("pattern", {"ResourceId": "a\x00b"}, r"Member must satisfy regular expression pattern"),
]


@pytest.mark.parametrize(
    ("wrong", "pattern"), [case[1:] for case in CONSTRAINTS], ids=[case[0] for case in CONSTRAINTS]
)
def test_the_server_checks_what_botocore_leaves(wrong: dict[str, str], pattern: str) -> None:
    with pytest.raises(ServiceError, match=rf"ValidationException: 1 validation error detected: .*{pattern}"):
        realtime_account().call("application-autoscaling", "RegisterScalableTarget", {**VARIANT, **wrong})


def put_action(name: str) -> None:
    account = realtime_account()
    register(account)
    action = {**VARIANT, "ScheduledActionName": name, "Schedule": "rate(1 day)"}
    account.call(
        "application-autoscaling", "PutScheduledAction", {**action, "ScalableTargetAction": {"MinCapacity": 1}}
    )


@pytest.mark.parametrize("name", ["nightly open", "tidegate-prod-restore", "ü"])
def test_names_of_scheduled_actions(name: str) -> None:
    put_action(name)


@pytest.mark.parametrize("name", ["a/b", "a:b", "a|b", " lead", "trail ", "tab\there"])
def test_names_that_scheduled_actions_cannot_have(name: str) -> None:
    with pytest.raises(ServiceError, match="regular expression pattern"):
        put_action(name)


class Letters(Service):
    name = "sagemaker"
    paging_error = "BadToken"


@pytest.mark.parametrize(
    ("params", "want"),
    [
        ({}, (["a", "b"], "offset-2")),
        ({"NextToken": "offset-2"}, (["c", "d"], "offset-4")),
        ({"NextToken": "offset-4"}, (["e"], None)),
        ({"MaxResults": 5}, (["a", "b", "c", "d", "e"], None)),  # a full last page has no successor
    ],
)
def test_paging(params: dict[str, object], want: tuple[list[str], str | None]) -> None:
    assert Letters().page("abcde", params, Page(5, 2)) == want


@pytest.mark.parametrize(
    ("params", "code"), [({"MaxResults": 6}, "less than or equal to 5"), ({"NextToken": "x"}, "BadToken")]
)
def test_paging_refuses(params: dict[str, object], code: str) -> None:
    with pytest.raises(ServiceError, match=code):
        Letters().page("abcde", params, Page(5, 2))
