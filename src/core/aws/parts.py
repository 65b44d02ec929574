"""A tick too large for one invocation, put as messages to the function itself (ADR 0004)."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import AwareDatetime, NonNegativeInt, TypeAdapter, ValidationError

from core.aws.errors import writing
from core.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True)
class Part:
    """Each `of`th target from the `part`th on, of the tick of `at`."""

    part: NonNegativeInt
    of: int
    at: AwareDatetime


_PARTS = TypeAdapter(Part)


class PartsQueue:
    """Puts the parts of ticks over more than `most` targets into the queue that invokes this function.

    Takes a function that returns the same client each time, for most ticks are not split.
    """

    def __init__(self, client: Callable[[], Any], url: str, most: int) -> None:
        self._client = client
        self._url = url
        self.most = most

    def put(self, of: int, at: AwareDatetime) -> None:
        """Put so many parts of a tick. Raises ActuationError if one could not be."""
        for part in range(of):
            body = _PARTS.dump_json(Part(part, of, at)).decode()
            with writing(f"SendMessage of part {part} of {of}"):
                self._client().send_message(QueueUrl=self._url, MessageBody=body)


def part_in(record: Mapping[str, Any]) -> Part:
    """Read an SQS record. Raises ConfigError if it is none of ours."""
    body = record.get("body")
    with suppress(ValidationError):
        found = _PARTS.validate_json(str(body))
        if found.part < found.of:
            return found
    allowed = "must be a part of a tick: part from 0, below of, and at, a time with a zone"
    raise ConfigError([Problem(("Records", "body"), body, allowed)])
