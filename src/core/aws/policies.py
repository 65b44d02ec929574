"""The policy document from AWS AppConfig as the port `PolicySource`, which says what each method does."""

import json
from typing import Protocol

from aws_lambda_powertools.utilities.parameters import AppConfigProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError

from core.aws import clients
from core.errors import ConfigError, ObservationError, Problem
from core.policy import Fleet, parse_fleet

MAX_AGE = 45
"""Seconds a document is used before AppConfig is asked again: below a minute, so that each tick sees the newest."""


class Provider(Protocol):
    """What is used of Powertools' providers."""

    def get(self, name: str, max_age: int | None = None) -> object:
        """Return the content of the configuration profile `name`."""


class Copy(Protocol):
    """Where a copy of the document in force is kept, for execution environments that begin while AppConfig is away."""

    def policy_copy(self) -> bytes | None:
        """Return the copy, None if there is none."""

    def put_policy_copy(self, content: bytes) -> None:
        """Keep this content."""


class AppConfigPolicies:
    """One hosted configuration, parsed again only when its content changes.

    A document that cannot be read, or is none, leaves the last good one in force; `trouble` says so. AppConfig's
    application, environment and configuration profile are given by name or ID; without a `provider` Powertools' own
    reads the content.
    """

    trouble: str | None = None

    def __init__(
        self, application: str, environment: str, profile: str, copy: Copy, provider: Provider | None = None
    ) -> None:
        self._application = application
        self._environment = environment
        self._profile = profile
        self._given = provider
        self._provider = provider
        self._copy = copy
        self._copied: bytes | None = None
        self._parsed: tuple[bytes, Fleet] | None = None

    def fleet(self) -> Fleet:
        try:
            fleet = self._parse(self._content())
        except (ConfigError, ObservationError) as err:
            last = self._parsed[0] if self._parsed else self._copy.policy_copy()
            if last is None:
                raise
            self.trouble = f"the last good policy document stays in force: {err}"
            return self._parse(last)
        self.trouble = None
        return fleet

    def keep(self) -> None:
        if self._parsed and self.trouble is None and self._copied != self._parsed[0]:
            self._copy.put_policy_copy(self._parsed[0])
            self._copied = self._parsed[0]

    def _parse(self, content: bytes) -> Fleet:
        if self._parsed is None or self._parsed[0] != content:
            self._parsed = (content, parse_fleet(_read(content)))
        return self._parsed[1]

    def _content(self) -> bytes:
        if self._provider is None:
            self._provider = AppConfigProvider(
                environment=self._environment, application=self._application, boto3_client=clients.appconfigdata()
            )
        try:
            content = self._provider.get(self._profile, max_age=MAX_AGE)
        except GetParameterError as err:
            # A token serves once, and the provider would offer the spent one for ever: begin a new session.
            self._provider = self._given
            raise ObservationError(f"AppConfig {self._application}/{self._environment}/{self._profile}: {err}") from err
        return content if isinstance(content, bytes) else str(content).encode()


def _read(content: bytes) -> object:
    try:
        return json.loads(content)
    except ValueError as err:
        raise ConfigError([Problem((), content[:40].decode(errors="replace"), f"must be JSON: {err}")]) from err
