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


class Kept:
    """A copy in a dictionary's place; `writes` counts."""

    def __init__(self, content: bytes | None = None) -> None:
        self.content, self.writes = content, 0

    def policy_copy(self) -> bytes | None:
        return self.content

    def put_policy_copy(self, content: bytes) -> None:
        self.content, self.writes = content, self.writes + 1


def source(*contents: bytes | str | Exception, copy: Kept | None = None) -> AppConfigPolicies:
    return AppConfigPolicies("tidegate", "test", "fleet", copy or Kept(), Contents(*contents))


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


AWAY = GetParameterError("Could not connect")


def test_appconfig_does_not_answer_and_nobody_knows_a_good_document() -> None:
    policies = source(AWAY, raw(CAPPED))
    with pytest.raises(ObservationError, match="tidegate/test/fleet: Could not connect"):
        policies.fleet()
    assert policies.fleet().max_capacity == 7


@pytest.mark.parametrize("bad", [AWAY, raw(BROKEN), b"version: 1", b""], ids=["away", "broken", "no JSON", "empty"])
def test_the_last_good_document_stays_in_force_and_the_trouble_is_said(bad: bytes | Exception) -> None:
    policies = source(raw(CAPPED), bad, bad, raw(EMPTY))
    seen = [(policies.fleet().max_capacity, policies.trouble is None) for _ in range(4)]
    assert seen == [(7, True), (7, False), (7, False), (100, True)]


@pytest.mark.parametrize("bad", [AWAY, raw(BROKEN)], ids=["away", "broken"])
def test_a_fresh_execution_environment_takes_the_copy(bad: bytes | Exception) -> None:
    policies = source(bad, raw(EMPTY), copy=Kept(raw(CAPPED)))
    assert policies.fleet().max_capacity == 7
    assert policies.trouble is not None
    assert policies.fleet().max_capacity == 100
    assert policies.trouble is None


def test_only_a_good_newest_document_is_copied_and_once() -> None:
    copy = Kept(raw(EMPTY))
    policies = source(AWAY, raw(BROKEN), raw(CAPPED), raw(CAPPED), copy=copy)
    for written in (0, 0, 1, 1):
        policies.fleet()
        policies.keep()
        assert copy.writes == written
    assert copy.content == raw(CAPPED)


def test_with_powertools_unchanged_content_comes_empty() -> None:
    """AppConfig sends an empty body for "as before" (facts 8.5)."""
    with scripted("appconfigdata") as (client, script):
        script.add_response("start_configuration_session", {"InitialConfigurationToken": "1"})
        for body, token in [(raw(CAPPED), "2"), (b"", "3")]:
            answer = {"Configuration": BytesIO(body), "NextPollConfigurationToken": token}
            script.add_response("get_latest_configuration", answer)
        provider = AppConfigProvider(environment="test", application="tidegate", boto3_client=client)
        policies = AppConfigPolicies("tidegate", "test", "fleet", Kept(), provider)
        first = policies.fleet()
        provider.store.clear()
        assert policies.fleet() is first
        assert first.max_capacity == 7
