"""Translates botocore's errors into ours; nothing above `core.aws` sees botocore."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from core.errors import ActuationError, ObservationError, TargetBusyError, TargetNotFoundError, ThrottledError

MEANINGS: Mapping[tuple[str, str], type[ActuationError]] = {
    ("ThrottlingException", ""): ThrottledError,
    ("Throttling", ""): ThrottledError,
    ("TooManyRequestsException", ""): ThrottledError,
    ("RequestLimitExceeded", ""): ThrottledError,
    ("ProvisionedThroughputExceededException", ""): ThrottledError,
    ("FailedResourceAccessException", "Rate exceeded"): ThrottledError,
    ("FailedResourceAccessException", "Throttling"): ThrottledError,
    ("ValidationException", "Cannot update in-progress"): TargetBusyError,
    ("ObjectNotFoundException", ""): TargetNotFoundError,
    ("ValidationException", "Could not find endpoint"): TargetNotFoundError,
    ("ValidationException", "Could not find inference component"): TargetNotFoundError,
}
"""Error code and a part of its text to what it means: AWS gives several meanings to ValidationException (facts 2.7)."""

_Read = TypeVar("_Read")
_ABSENT = {"ObjectNotFoundException", "ResourceNotFoundException", "ResourceNotFound"}


def meaning(err: ClientError) -> type[ActuationError]:
    """Return what a failed write means."""
    code, text = code_of(err), err.response["Error"].get("Message", "")
    return next((kind for (known, part), kind in MEANINGS.items() if known == code and part in text), ActuationError)


def code_of(err: ClientError) -> str:
    """Return the error code, such as `ValidationException`."""
    return err.response["Error"].get("Code", "")


def is_absent(err: ClientError) -> bool:
    """Whether the thing asked for does not exist."""
    return code_of(err) in _ABSENT or meaning(err) is TargetNotFoundError


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Translate what fails inside into ObservationError; `what` names operation and subject."""
    try:
        yield
    except (ClientError, BotoCoreError) as err:
        raise ObservationError(f"{what}: {err}") from err


def or_none(what: str, read: Callable[[], _Read]) -> _Read | None:
    """Return what a read gives, None if there is no such thing; `what` names operation and subject."""
    with reading(what):
        try:
            return read()
        except ClientError as err:
            if is_absent(err):
                return None
            raise


def listed(client: Any, operation: str, field: str, what: str, **asked: object) -> list[Any]:  # noqa: ANN401 - boto3's
    """Return that field's items of all pages of an operation; `what` names operation and subject."""
    with reading(what):
        return [item for page in client.get_paginator(operation).paginate(**asked) for item in page[field]]


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Translate what fails inside into an ActuationError by its meaning; `what` names operation and subject."""
    try:
        yield
    except ClientError as err:
        raise meaning(err)(f"{what}: {err}") from err
    except BotoCoreError as err:
        raise ActuationError(f"{what}: {err}") from err


@contextmanager
def absent_is_fine() -> Iterator[None]:
    """Treat deleting what does not exist as done."""
    try:
        yield
    except ClientError as err:
        if not is_absent(err):
            raise
