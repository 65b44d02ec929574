"""`tidegate override`: the request a person means, the invocation, and the answer in words."""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import HTTPClientError

from cli.errors import InvocationError, RefusedError
from cli.options import TARGET_HELP
from cli.tables import plain
from core.overrides import OverrideRequest

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from rich.table import Table


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


def request_of(
    action: str,
    target: str,
    capacity: int | None,
    *,
    until: str | None,
    lasting: str | None,
    **more: object,
) -> dict[str, object]:
    """Return the request; what it does not say the function refuses, with everything else that is wrong.

    Raises:
        RefusedError: the target names nothing.
    """
    said = {"capacity": capacity, "duration": lasting, "expires_at": until and with_offset(until)}
    stated = {name: value for name, value in said.items() if value is not None}
    return {"action": action, **place_of(target), **stated, **more}


def with_offset(time: str) -> str:
    """Return a time with the offset of this machine if it states none; what is no time is left as it is."""
    try:
        return datetime.fromisoformat(time).astimezone(UTC).isoformat(timespec="seconds")
    except ValueError:
        return time


_PROBLEM = re.compile(r"(\w+)( = (?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^:]*))?: (.*)")
"""How `core.errors` says what is wrong with a request: field, value seen, what is allowed."""

_PLACE = ("target", "variant", "inference_component", "tag", "profile", "fleet")

Typed = Mapping[str, tuple[str, object]]
"""By the field of a request, what the command line calls it and what was typed there."""


def typed(target: str, capacity: int | None, options: Typed) -> Typed:
    """Return what somebody typed on the command line for each field of a request."""
    return {**dict.fromkeys(_PLACE, ("TARGET", target)), "capacity": ("CAPACITY", capacity), **options}


def as_typed(why: str, said: Typed) -> str:
    """Return what a refusal says of a request's fields as something about the words that were typed."""
    lines = []
    for line in why.splitlines():
        found = _PROBLEM.fullmatch(line)
        if found is None or found[1] not in said:
            lines.append(line)
            continue
        name, value = said[found[1]]
        allowed = found[3].replace("duration, expires_at", "--for, --until")
        lines.append(f"{name}{'' if value is None else f' = {value!r}'}: {allowed}")
    return "\n".join(lines)


def invoke(
    functions: "LambdaClient", function: str, request: Mapping[str, Any], spoken: Typed | None = None
) -> dict[str, Any]:
    """Send a request and return the answer.

    Args:
        functions: boto3's `lambda`.
        function: the deployed Override function.
        request: what it is sent.
        spoken: for a refusal in the words of the command line.

    Raises:
        RefusedError: with every problem of the request.
        InvocationError: the function failed; what to do says the message.
    """
    again = f"It may be stored all the same. Sent again as --request-id {request['request_id']} it is done once."
    try:
        answer = functions.invoke(FunctionName=function, Payload=json.dumps(request))
    except HTTPClientError as error:
        raise InvocationError(f"{error}\n{again}") from error
    said: dict[str, Any] = json.loads(answer["Payload"].read())
    if not answer.get("FunctionError"):
        return said
    why = said.get("errorMessage", "the function ended without saying why")
    about = _PROBLEM.fullmatch(why.partition("\n")[0])
    if about is not None and about[1] in OverrideRequest.model_fields:
        raise RefusedError(as_typed(why, spoken or {}))
    raise InvocationError(f"{why}\n{again}")


DONE = {
    "unchanged": "nothing: it stands like this already",
    "shadow": "nothing: the mode is shadow",
    "paused": "nothing: paused",
    "waiting": "waits until the endpoint is InService",
    "busy": "waits: another pass has the target; the next tick applies it",
    "not_enrolled": "waits: FleetSync enrols it first, within the hour",
}
"""What was done where no action was: by status."""


def table_of(answer: Mapping[str, Any]) -> "Table":
    """Return what an override does to each target: what stood, what is wanted now, and what was done about it."""
    table = plain("target", "was", "now", "running", "because", "status", "done")
    for each in answer["targets"]:
        decides = each.get("seen", {}).get("id", answer["override"])
        table.add_row(
            each["target"],
            each.get("registered") or "-",
            f"{each['min_capacity']}..{each['max_capacity']}" if "min_capacity" in each else "-",
            str(each.get("running", "-")),
            f"{each.get('reason', '-')}{f' {decides}' * (decides != answer['override'])}",
            each["status"],
            "\n".join(each.get("actions", ())) or DONE.get(each["status"], "-"),
        )
    return table


def lines_of(answer: Mapping[str, Any], stack: str) -> Iterable[str]:
    """Yield when an override ends, how to end it, and what became of others."""
    dry = any(each["status"] == "dry_run" for each in answer["targets"])
    if dry:
        ends = f" It would end by itself at {answer['ends']}." if "ends" in answer else ""
        yield f"A dry run: nothing was stored or written.{ends}"
    elif answer.get("already_known"):
        yield f"{answer['override']} was known already{', and is over' * ('over' in answer)}: nothing was added."
    if "ends" in answer and not dry:
        yield f"{answer['override']} ends by itself at {answer['ends']}. To end it before:"
        yield f"  tidegate override resume {named(answer['to_end_it'])} --reason '...' --stack {stack}"
    for word, what in (("supersedes", "Waiting behind it"), ("ended", "Ended")):
        if answer.get(word):
            yield f"{what}: {', '.join(answer[word])}."
    if "untold" in answer:
        yield f"No event was put: {answer['untold']}"
