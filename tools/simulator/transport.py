"""Real boto3 clients whose requests never leave the process.

A `before-call` handler answers in place of HTTP, so parameter checks, paginators, waiters and ClientError are
botocore's own. Two things differ from a network: botocore's retries happen below this hook, so a scripted failure is
seen at once and once, and responses are not parsed from bytes.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

import botocore.session
from botocore.config import Config
from typing_extensions import override

from simulator.service import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from botocore.client import BaseClient
    from botocore.model import OperationModel

    Handler = Callable[[str, Mapping[str, Any]], dict[str, Any]]

PARAMS_KEY = "simulator.params"


@dataclass(frozen=True, slots=True)
class Answer:
    """As much of botocore's AWSResponse as its client looks at."""

    status_code: int
    headers: dict[str, str] = field(default_factory=dict)


class Raw(BytesIO):
    """As much of urllib3's response as botocore reads, where bytes are parsed after all."""

    def stream(self, **_: object) -> Iterator[bytes]:
        """Yield what is left to read."""
        while content := self.read():
            yield content

    @override
    def __hash__(self) -> int:
        return id(self)


@functools.cache
def bare_session() -> botocore.session.Session:
    """One loader for all clients; nothing of the environment (profile, files, credentials) is looked at."""
    nothing = (None, None, None, None)
    unread: dict[str, tuple[None, None, object, None]] = dict.fromkeys(
        ("profile", "config_file", "credentials_file", "ca_bundle"), nothing
    )
    unread["ignore_configured_endpoint_urls"] = (None, None, True, None)
    return botocore.session.Session(session_vars=unread)


def make_client(service: str, region: str, handler: Handler) -> BaseClient:
    """A boto3 client of `service` that is answered by `handler(operation, params)`."""
    client = bare_session().create_client(
        service,
        region_name=region,
        aws_access_key_id="simulated",
        aws_secret_access_key="simulated",  # noqa: S106 - botocore wants one; no request is ever sent
        config=Config(
            retries={"mode": "standard", "max_attempts": 1},
            user_agent="tidegate-simulator",  # botocore would put one together for each call
        ),
    )
    events = client.meta.events
    prefix = client.meta.service_model.service_id.hyphenize()

    def keep_params(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
        context[PARAMS_KEY] = params

    def answer(model: OperationModel, context: dict[str, Any], **_: object) -> tuple[Answer, dict[str, Any]]:
        try:
            body, status = handler(model.name, context[PARAMS_KEY]), 200
        except ServiceError as error:
            body, status = {"Error": {"Code": error.code, "Message": error.message}}, 400
        return Answer(status), {**body, "ResponseMetadata": {"HTTPStatusCode": status, "RetryAttempts": 0}}

    events.register_last(f"before-parameter-build.{prefix}", keep_params)
    events.register_first(
        f"before-call.{prefix}", cast("Callable[..., None]", answer)
    )  # the stubs forget that answers count
    return client
