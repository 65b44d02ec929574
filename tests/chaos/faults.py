"""What may happen to one AWS call: each fault says which calls it can strike, and strikes the one it is told to."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from botocore.exceptions import ConnectionClosedError, ReadTimeoutError

from local_account.plant.server import Plant
from tests.chaos.cloud import NEXT, Snapshot, simulated
from tests.chaos.passes import Arm, Killed, Patience
from tests.chaos.wire import Answer, Attempt, Call, Fault

AAS = "application-autoscaling"
URL = "https://aws.example"
LAST_SECOND = 1
"""Seconds that a slow answer leaves of the invocation: less than `core.reconcile.SPARE`, so nothing may begin."""

Strike = Callable[[Attempt, Patience], Answer]


def _refused(code: str, message: str, status: int | None = None) -> Strike:
    return lambda attempt, _: Answer.error(attempt.call.service, code, message, status)


def _timed_out(attempt: Attempt, _: Patience) -> Answer:
    """AWS does it, and the answer never comes."""
    attempt.happen()
    raise ReadTimeoutError(endpoint_url=URL)


def _reset(_attempt: Attempt, _patience: Patience) -> Answer:
    raise ConnectionClosedError(endpoint_url=URL)


def _concurrent(attempt: Attempt, _: Patience) -> Answer:
    """Somebody else changes it at this moment."""
    code, message = {
        AAS: ("ConcurrentUpdateException", "You already have a pending update to an Auto Scaling resource."),
        "sagemaker": ("ValidationException", 'Cannot update in-progress endpoint "arn:aws:sagemaker:::endpoint/x".'),
        "dynamodb": ("TransactionConflictException", "Transaction is ongoing for the item"),
        "cloudwatch": ("ConcurrentModificationException", "More than one process tried to modify a resource"),
    }[attempt.call.service]
    return Answer.error(attempt.call.service, code, message)


def _slow(attempt: Attempt, patience: Patience) -> Answer:
    """AWS does it and answers, so late that nothing may begin after it."""
    answer = attempt.happen()
    patience.elapsed = max(patience.elapsed, timedelta(seconds=patience.seconds - LAST_SECOND))
    return answer


def _left_over(answer: dict[str, Any]) -> None:
    """DynamoDB could not read one of the keys this time."""
    for table, items in answer["Responses"].items():
        if items:
            key = {name: items[-1][name] for name in ("pk", "sk")}
            answer["UnprocessedKeys"] = {table: {"Keys": [key], "ConsistentRead": True}}
            items.pop()


def _one_failed(answer: dict[str, Any]) -> None:
    """CloudWatch could not read the last metric."""
    for result in answer["MetricDataResults"][-1:]:
        result |= {"StatusCode": "InternalError", "Timestamps": [], "Values": []}


TOKENS: Mapping[str, str] = {"GetResources": "PaginationToken"}
"""What the token of the next page is called, if not NextToken."""

PAGED = {
    "DescribeScalableTargets",
    "DescribeScalingPolicies",
    "DescribeScheduledActions",
    "DescribeAlarms",
    "ListEndpoints",
    "ListInferenceComponents",
    "GetResources",
}


def _empty_page(operation: str) -> Callable[[dict[str, Any]], None]:
    """Return what leaves nothing on the first page but the token of the next, which AWS may do."""

    def edit(answer: dict[str, Any]) -> None:
        answer |= {name: [] for name, value in answer.items() if isinstance(value, list)}
        answer[TOKENS.get(operation, "NextToken")] = NEXT

    return edit


def _partial(attempt: Attempt, _: Patience) -> Answer:
    """AWS answers for a part of what was asked."""
    operation = attempt.call.operation
    if operation == "PutEvents":
        failed = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure", "ErrorMessage": "try again"}]}
        return Answer(200, json.dumps(failed).encode(), {})
    edits = {"BatchGetItem": _left_over, "GetMetricData": _one_failed}
    return attempt.happen().edited(edits.get(operation) or _empty_page(operation))


@dataclass(frozen=True, slots=True)
class Kind:
    """One column of the matrix. `strike` is None for a stale read, which needs a past."""

    name: str
    strike: Strike | None
    strikes: Callable[[Call], bool] = lambda _: True
    """Which calls it can happen to."""

    attempts: int = 99
    """How many attempts of the call it strikes."""

    absorbed: Callable[[Call], bool] = lambda _: False
    """Whether nobody may notice."""

    harms_others: bool = False
    """Whether it leaves no time for the targets that come after."""


CHANGING = {AAS, "sagemaker", "cloudwatch", "dynamodb"}
LAGGING = {AAS, "sagemaker", "cloudwatch", "resourcegroupstaggingapi"}
"""Services that may show what was; the table is read consistently."""

KINDS = (
    Kind("throttled once", _refused("ThrottlingException", "Rate exceeded"), attempts=1, absorbed=lambda _: True),
    Kind("throttled", _refused("ThrottlingException", "Rate exceeded")),
    Kind("5xx", _refused("InternalFailure", "We encountered an internal error.", 500)),
    Kind("time-out", _timed_out),
    Kind("connection reset", _reset),
    Kind("access denied", _refused("AccessDeniedException", "User is not authorized to perform this action")),
    Kind("concurrent update", _concurrent, lambda c: not c.reads and c.service in CHANGING),
    Kind("validation", _refused("ValidationException", "1 validation error detected")),
    Kind(
        "failed resource access",
        _refused("FailedResourceAccessException", "Unable to create alarms: Rate exceeded (Service: AmazonCloudWatch)"),
        lambda c: not c.reads and c.service == AAS,
    ),
    Kind("stale read", None, lambda c: c.reads and c.service in LAGGING),
    Kind(
        "partial answer",
        _partial,
        lambda c: c.operation in {*PAGED, "PutEvents", "BatchGetItem", "GetMetricData"},
        absorbed=lambda c: c.operation in {*PAGED, "BatchGetItem"},
    ),
    Kind("slow answer", _slow, harms_others=True),
)


def arm(kind: Kind, number: int, past: Snapshot) -> Arm:
    """Return what strikes call `number` of a pass, and lets every other happen."""
    old = Plant(past.account_again(), record_calls=False) if kind.strike is None else None

    def made(patience: Patience) -> Fault:
        struck = 0

        def fault(attempt: Attempt) -> Answer:
            nonlocal struck
            if attempt.call.number != number or struck >= kind.attempts:
                return attempt.happen()
            struck += 1
            if old is not None:
                return simulated(old, attempt.request)
            return kind.strike(attempt, patience) if kind.strike else attempt.happen()

        return fault

    return made


def killed_after(number: int) -> Arm:
    """Return what ends the execution environment when call `number` is done, its answer unheard."""

    def made(_: Patience) -> Fault:
        def fault(attempt: Attempt) -> Answer:
            if attempt.call.number <= number:
                answer = attempt.happen()
                if attempt.call.number < number:
                    return answer
            raise Killed

        return fault

    return made
