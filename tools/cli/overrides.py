"""`tidegate override`: the request a person means, the invocation, and the answer in words."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError
from rich.table import Table

from core.policy import Duration

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

_SPANS: TypeAdapter[timedelta] = TypeAdapter(Duration)
TARGET_HELP = "An endpoint, endpoint/variant, component:NAME, tag:KEY=VALUE, profile:NAME or fleet:all."


class RefusedError(Exception):
    """The request makes no sense, or the function refused it; nothing was changed."""


class InvocationError(Exception):
    """The function failed. The request may be stored: sent again with its ID it is done once."""


def place_of(target: str) -> dict[str, Any]:
    """Return what a target on the command line is in a request.

    Raises:
        RefusedError: it names nothing.
    """
    kind, colon, name = target.partition(":")
    if not colon:
        endpoint, slash, variant = target.partition("/")
        return {"target": endpoint, **({"variant": variant} if slash else {})}
    fields = {"component": "inference_component", "tag": "tag", "profile": "profile"}
    if (kind, name) == ("fleet", "all"):
        return {"fleet": True}
    if kind not in fields or not name:
        raise RefusedError(f"TARGET = {target!r}: must be {TARGET_HELP[0].lower()}{TARGET_HELP[1:-1]}")
    return {fields[kind]: name}


def named(place: Mapping[str, Any]) -> str:
    """Return a place of a request as the command line says it: the other way round."""
    for field, kind in (("inference_component", "component"), ("tag", "tag"), ("profile", "profile")):
        if field in place:
            return f"{kind}:{place[field]}"
    if "fleet" in place:
        return "fleet:all"
    return "/".join(filter(None, (place["target"], place.get("variant"))))


def end_of(until: str | None, lasting: str | None, now: datetime) -> str | None:
    """Return when an override ends, None if neither was said; a time without an offset is local.

    Raises:
        RefusedError: both were said, or one cannot be read.
    """
    if until is not None and lasting is not None:
        raise RefusedError("state --until or --for, not both")
    try:
        end = None if lasting is None else now + _SPANS.validate_python(lasting)
        end = end if until is None else datetime.fromisoformat(until)
        return None if end is None else end.astimezone(UTC).isoformat(timespec="seconds")
    except ValidationError as error:
        raise RefusedError(f"--for = {lasting!r}: must be a duration such as 90m, 2h or 1d") from error
    except ValueError as error:
        raise RefusedError(f"--until = {until!r}: must be a time such as 2026-11-18T12:00Z") from error


def invoke(functions: "LambdaClient", function: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Send a request and return the answer.

    Raises:
        RefusedError, InvocationError: with what the function said.
    """
    answer = functions.invoke(FunctionName=function, Payload=json.dumps(request))
    said: dict[str, Any] = json.loads(answer["Payload"].read())
    if answer.get("FunctionError"):
        kind = RefusedError if said.get("errorType") == "ConfigError" else InvocationError
        raise kind(said.get("errorMessage", "the function ended without saying why"))
    return said


def table_of(answer: Mapping[str, Any]) -> Table:
    """Return what an override does to each target: what stood, what is wanted now, and what was done about it."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("target", "was", "now", "running", "because", "status", "done"):
        table.add_column(column, overflow="fold")
    for each in answer["targets"]:
        table.add_row(
            each["target"],
            each.get("registered") or "-",
            f"{each['min_capacity']}..{each['max_capacity']}" if "min_capacity" in each else "-",
            str(each.get("running", "-")),
            each.get("reason", "-"),
            each["status"],
            "\n".join(each.get("actions", ())) or each.get("error", "-"),
        )
    return table


def lines_of(answer: Mapping[str, Any], stack: str) -> Iterable[str]:
    """Yield when an override ends, how to end it, and what became of others."""
    if any(each["status"] == "dry_run" for each in answer["targets"]):
        yield "A dry run: nothing was stored or written."
    elif answer.get("already_known"):
        yield f"{answer['override']} was known already: nothing was added."
    if "ends" in answer:
        yield f"{answer['override']} ends by itself at {answer['ends']}. To end it before:"
        yield f"  tidegate override resume {named(answer['to_end_it'])} --reason '...' --stack {stack}"
    for word, what in (("supersedes", "Waiting behind it"), ("ended", "Ended")):
        if answer.get(word):
            yield f"{what}: {', '.join(answer[word])}."
    if "untold" in answer:
        yield f"No event was put: {answer['untold']}"
