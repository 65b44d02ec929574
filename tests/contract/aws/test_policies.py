"""What the core may expect of the policy document's source."""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from aws_lambda_powertools.utilities.parameters import AppConfigProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError

from core.aws.policies import AppConfigPolicies
from core.errors import ConfigError, ObservationError
from core.ports import PolicySource
from simulator.in_memory import StaticPolicies
from tests.contract.aws.stubs import scripted

EMPTY: dict[str, Any] = {"version": 1}
CAPPED: dict[str, Any] = {"version": 1, "max_capacity": 7}
BROKEN: dict[str, Any] = {"version": 1, "max_capacity": 0, "profile": {}}


class Contents:
    """A provider that gives one content after the other; an error is raised."""

    def __init__(self, *contents: bytes | str | Exception) -> None:
        self._contents = iter(contents)

    def get(self, name: str, max_age: int | None = None) -> object:
        assert (name, max_age) == ("fleet", 45)
        content = next(self._contents)
        if isinstance(content, Exception):
            raise content
        return content


def source(*contents: bytes | str | Exception) -> AppConfigPolicies:
    return AppConfigPolicies("tidegate", "test", "fleet", Contents(*contents))


def raw(document: object) -> bytes:
    return json.dumps(document).encode()


@pytest.mark.parametrize("policies", [source(raw(CAPPED)), StaticPolicies(CAPPED)], ids=["AppConfig", "static"])
def test_the_document_is_parsed(policies: PolicySource) -> None:
    assert policies.fleet().max_capacity == 7


@pytest.mark.parametrize(
    "of", [lambda: source(raw(BROKEN)), lambda: StaticPolicies(BROKEN)], ids=["AppConfig", "static"]
)
def test_every_problem_is_reported(of: Callable[[], PolicySource]) -> None:
    with pytest.raises(ConfigError) as caught:
        of().fleet()
    assert {problem.path for problem in caught.value.problems} == {("max_capacity",), ("profile",)}


def test_the_same_content_is_parsed_once() -> None:
    policies = source(raw(EMPTY), raw(EMPTY))
    assert policies.fleet() is policies.fleet()


def test_new_content_is_seen_at_the_next_read() -> None:
    policies = source(raw(EMPTY), raw(CAPPED))
    assert [policies.fleet().max_capacity, policies.fleet().max_capacity] == [100, 7]


def test_what_is_not_json_is_the_documents_fault() -> None:
    with pytest.raises(ConfigError, match="must be JSON"):
        source(b"version: 1").fleet()


def test_appconfig_does_not_answer() -> None:
    policies = source(GetParameterError("Could not connect"), raw(CAPPED))
    with pytest.raises(ObservationError, match="tidegate/test/fleet: Could not connect"):
        policies.fleet()
    assert policies.fleet().max_capacity == 7


def test_with_powertools_unchanged_content_comes_empty() -> None:
    """AppConfig sends an empty body for "as before" (facts 8.5)."""
    with scripted("appconfigdata") as (client, script):
        script.add_response("start_configuration_session", {"InitialConfigurationToken": "1"})
        for body, token in [(raw(CAPPED), "2"), (b"", "3")]:
            answer = {"Configuration": BytesIO(body), "NextPollConfigurationToken": token}
            script.add_response("get_latest_configuration", answer)
        provider = AppConfigProvider(environment="test", application="tidegate", boto3_client=client)
        policies = AppConfigPolicies("tidegate", "test", "fleet", provider)
        first = policies.fleet()
        provider.store.clear()
        assert policies.fleet() is first
        assert first.max_capacity == 7
