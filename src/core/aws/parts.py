"""A tick too large for one invocation, put as messages to the function itself (ADR 0004)."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.aws.errors import writing
from core.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True)
class Part:
    """Each `of`th target from the `part`th on, of the tick of `at`."""

    part: int
    of: int
    at: datetime


class PartsQueue:
    """Puts the parts of ticks.

    Args:
        client: returns boto3's `sqs`, the same one each time; most ticks are not split.
        url: of the queue that invokes this function.
        most: targets of a pass that is not split.
    """

    def __init__(self, client: Callable[[], Any], url: str, most: int) -> None:
        self._client = client
        self._url = url
        self.most = most

    def put(self, of: int, at: datetime) -> None:
        """Put so many parts of a tick. Raises ActuationError if one could not be."""
        for part in range(of):
            body = json.dumps({"part": part, "of": of, "at": at.isoformat()})
            with writing(f"SendMessage of part {part} of {of}"):
                self._client().send_message(QueueUrl=self._url, MessageBody=body)


def part_in(record: Mapping[str, Any]) -> Part:
    """Read an SQS record. Raises ConfigError if it is none of ours."""
    try:
        found = json.loads(record["body"])
        part = Part(int(found["part"]), int(found["of"]), datetime.fromisoformat(found["at"]))
        if 0 <= part.part < part.of and part.at.tzinfo:
            return part
    except (KeyError, TypeError, ValueError):
        pass
    allowed = "must be a part of a tick: part from 0, below of, and at, a time with a zone"
    raise ConfigError([Problem(("Records", "body"), record.get("body"), allowed)])


def failures(failed: Sequence[str]) -> dict[str, Any]:
    """Return the reply by which SQS delivers these messages again, and only these (ReportBatchItemFailures)."""
    return {"batchItemFailures": [{"itemIdentifier": message} for message in failed]}
