"""Real boto3 clients, with the deployed functions' own settings, whose bytes never leave the process.

Each attempt is answered by a `before-send` handler: below it are parameter checks, signing, botocore's standard
retries, paginators and parsers as in Lambda, above it the account. A fault sits in between, and sees whole attempts.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.retries import quota, standard

from core.aws.clients import CONFIG
from local_account.plant import wire
from simulator.service import ServiceError, service_model
from simulator.transport import Raw, bare_session
from tests.rights import REGION, Called, called

SERVICES = (
    "application-autoscaling",
    "appconfigdata",
    "cloudwatch",
    "dynamodb",
    "events",
    "resourcegroupstaggingapi",
    "sagemaker",
    "scheduler",
)
ATTEMPTS = 3
"""As `core.aws.clients.CONFIG` says."""


@dataclass(frozen=True, slots=True)
class Call:
    """One API call, however many attempts it takes. `number` counts those of a pass from 0."""

    number: int
    service: str
    operation: str
    body: str

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.operation.startswith(("Describe", "Get", "List", "Query", "BatchGet", "StartConfiguration"))


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back over the wire."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @classmethod
    def error(cls, service: str, code: str, message: str, status: int | None = None) -> "Answer":
        """Return a refusal as the service words it."""
        usual, body, headers = wire.failure(ServiceError(code, message), service_model(service))
        return cls(status or usual, body, headers)

    def edited(self, edit: Callable[[dict[str, Any]], None]) -> "Answer":
        """Return the answer with its JSON changed."""
        content = json.loads(self.body)
        edit(content)
        return Answer(self.status, json.dumps(content).encode(), self.headers)


class Cloud(Protocol):
    """Who answers."""

    def answer(self, service: str, operation: str, request: AWSPreparedRequest) -> Answer:
        """Answer one attempt."""
        ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request on its way."""

    call: Call
    request: AWSPreparedRequest
    cloud: Cloud

    def happen(self) -> Answer:
        """Let AWS do it and answer."""
        return self.cloud.answer(self.call.service, self.call.operation, self.request)


Fault = Callable[[Attempt], Answer]
"""Gives the answer to an attempt, or raises what botocore's HTTP layer raises."""


class Wire:
    """The clients, and between them and the cloud in use a list of the calls made, and a fault.

    `asked` holds the rights that all passes so far needed.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.asked: set[Called] = set()
        self._function = ""
        self._cloud: Cloud | None = None
        self._fault: Fault = _none
        self._begun: tuple[str, str] = ("", "")
        self._attempt = 0
        self.clients: dict[str, Any] = {service: self._client(service) for service in SERVICES}

    @contextmanager
    def to(self, cloud: Cloud, function: str, fault: Fault | None = None) -> Iterator[None]:
        """Connect a cloud for one pass of a function; calls are counted anew, rights are collected."""
        self._function = function
        self.calls, self._cloud, self._fault = [], cloud, fault or _none
        self.clients["appconfigdata"] = self._client("appconfigdata")  # each provider adds a handler for good
        for service, client in self.clients.items():
            _retry_without_waiting(client, service_model(service).service_id.hyphenize())
        try:
            yield
        finally:
            self._cloud = None

    def _client(self, service: str) -> Any:
        client = bare_session().create_client(
            service,
            region_name=REGION,
            aws_access_key_id="chaos",
            aws_secret_access_key="chaos",  # noqa: S106 - nobody checks signatures here
            config=CONFIG,
        )
        name = client.meta.service_model.service_id.hyphenize()

        def begin(model: Any, **_: object) -> None:
            self._begun, self._attempt = (service, model.name), 0

        def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
            return self._send(request)

        def ask(params: dict[str, Any], model: Any, **_: object) -> None:
            self.asked.update(called(self._function, service, model.name, params))

        client.meta.events.register_last(f"before-parameter-build.{name}", ask)
        client.meta.events.register(f"before-call.{name}", begin)
        client.meta.events.register_first(f"before-send.{name}", send)  # type: ignore[arg-type]  # answers count
        return client

    def _send(self, request: AWSPreparedRequest) -> AWSResponse:
        cloud, (service, operation) = self._cloud, self._begun
        if cloud is None:
            raise AssertionError(f"{service} {operation}: a call outside any pass")
        if not self._attempt:
            body = body_of(request).decode()
            self.calls.append(Call(len(self.calls), service, operation, body or str(request.url)))
        self._attempt += 1
        answer = self._fault(Attempt(self.calls[-1], request, cloud))
        return AWSResponse(str(request.url), answer.status, answer.headers, Raw(answer.body))  # type: ignore[arg-type]


def body_of(request: AWSPreparedRequest) -> bytes:
    """Return the body that would be sent."""
    body: Any = request.body or b""
    return body if isinstance(body, bytes) else str(body).encode()


def _none(attempt: Attempt) -> Answer:
    return attempt.happen()


def _retry_without_waiting(client: Any, name: str) -> None:
    """Put botocore's standard retries in place of themselves, the wait between two attempts 0, their budget full."""
    own = f"retry-config-{name}"
    budget: Any = standard.RetryQuotaChecker(quota.RetryQuota())  # the stubs want what botocore never passes
    handler = standard.RetryHandler(
        retry_policy=standard.RetryPolicy(
            retry_checker=standard.StandardRetryConditions(max_attempts=ATTEMPTS),
            retry_backoff=standard.ExponentialBackoff(random=lambda: 0.0),
        ),
        retry_event_adapter=standard.RetryEventAdapter(),
        retry_quota=budget,
    )
    client.meta.events.unregister(f"needs-retry.{name}", unique_id=own)
    client.meta.events.register(f"needs-retry.{name}", handler.needs_retry, unique_id=own)


@cache
def the_wire() -> Wire:
    """Return the only one: SageMaker's model takes longer to load than many passes."""
    return Wire()
