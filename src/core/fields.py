"""What fields of the policy file and of requests share: durations, names, clock times, dates, and their refusal."""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)

from core.errors import ConfigError, Problem

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"^(?:[0-9]+(?:ms|[smhd]))+$")


def duration(seen: object) -> timedelta:
    """Read `250ms`, `90s`, `15m` or `1h30m`."""
    if isinstance(seen, timedelta):
        return seen
    if isinstance(seen, str) and _DURATION.match(seen):
        with suppress(OverflowError):  # longer than a timedelta holds
            parts = re.findall(r"(\d+)(ms|[smhd])", seen)
            return timedelta(milliseconds=sum(int(number) * _UNITS[unit] for number, unit in parts))
    raise ValueError("must be a duration such as 90s, 15m, 4h or 1h30m")


def duration_text(value: timedelta) -> str:
    """Write a duration in its largest whole unit."""
    spent = value // timedelta(milliseconds=1)
    unit = next(unit for unit in reversed(_UNITS) if spent % _UNITS[unit] == 0)
    return f"{spent // _UNITS[unit]}{unit}"


def _date(seen: object) -> date:
    if type(seen) is date:  # a datetime is one too
        return seen
    if isinstance(seen, str):
        with suppress(ValueError):
            return date.fromisoformat(seen)
    raise ValueError("must be a date such as 2026-12-24")


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError("must be an IANA time zone such as Europe/Berlin") from None
    return name


Duration = Annotated[
    timedelta,
    BeforeValidator(duration),
    PlainSerializer(duration_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _DURATION.pattern, "examples": ["15m", "1h30m"]}),
]


def between(least: str, most: str) -> AfterValidator:
    """Return what refuses durations outside of a range."""
    low, high = duration(least), duration(most)

    def check(value: object) -> object:
        if isinstance(value, timedelta) and not low <= value <= high:
            raise ValueError(f"must be from {least} to {most}")
        return value

    return AfterValidator(check)


_NAME, _CLOCK = r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$", r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
Name = Annotated[str, StringConstraints(pattern=_NAME)]
Zone = Annotated[str, AfterValidator(_zone)]
ClockTime = Annotated[str, StringConstraints(pattern=_CLOCK)]
NoTruth = BeforeValidator(lambda seen: str(seen).lower() if isinstance(seen, bool) else seen)
"""Refuses `true` for a number, which Python takes for 1. Stands behind the bounds, which a schema loses otherwise."""

Whole = Annotated[int, NoTruth]
Count = Annotated[int, Field(ge=0, le=10_000), NoTruth]
Rate = Annotated[float, Field(ge=0.001, le=1e9, allow_inf_nan=False), NoTruth]
"""Requests or items, a minute or of an instance: whatever is reckoned with them is finite."""

Date = Annotated[date, BeforeValidator(_date)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)


class Strict(BaseModel):
    """Unknown fields are refused: a misspelt limit must not be silently absent."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def _not_below_min(value: int | None, info: ValidationInfo) -> int | None:
    low = info.data.get("min_capacity")
    if value is not None and low is not None and value < low:
        raise ValueError(f"must be at least min_capacity ({low})")
    return value


AtLeastMin = AfterValidator(_not_below_min)
"""Refuses a maximum below the `min_capacity` that stands before it."""


_Model = TypeVar("_Model", bound=BaseModel)
_WORDS = {  # where pydantic speaks of its own matters
    "missing": "is required",
    "extra_forbidden": "no such field; is it misspelt?",
    "union_tag_not_found": "type is required",
    _NAME: "must be 1 to 63 letters and digits, with hyphens between them",
    _CLOCK: "must be a time of day such as 07:30",
}


_TIME = "time with its offset, such as 2026-11-18T12:00Z"
_KINDS = {"integer": "whole number", "dictionary": "mapping of fields", "tuple": "list", "datetime": _TIME}


def parsed(model: type[_Model], document: object, context: Mapping[str, Any]) -> _Model:
    """Return what JSON or YAML gave as a type.

    Raises:
        ConfigError: with one problem for each wrong field: path, value seen, allowed range.
    """
    try:
        return model.model_validate(document, context=dict(context))
    except ValidationError as err:
        # A sequence whose items all failed is empty to pydantic: that is no problem of its own.
        # A default that follows from a field that is wrong is none either.
        # What pydantic saw of a missing field is everything around it.
        problems = [
            Problem(e["loc"], None if e["type"] == "missing" else _seen(e["input"]), _said(e))
            for e in err.errors()
            if e["type"] != "default_factory_not_called" and (e["type"] != "too_short" or e["input"] in ([], ()))
        ]
        raise ConfigError(problems) from err


def _seen(value: object) -> object:
    """Return a value as the document has it."""
    return duration_text(value) if isinstance(value, timedelta) else value


def _said(error: "ErrorDetails") -> str:
    """Return what is allowed, in our words where pydantic speaks of its own matters."""
    if error["type"] == "extra_forbidden" and error["loc"][-1] == "period":
        return "no such field: AAS takes no period and looks at custom metrics once a minute; remove it"
    said = re.sub(r"^Input tag .* tags:", "type must be one of", error["msg"].removeprefix("Value error, "))
    if valid := re.match(r"Input should be a valid (\w+)", said):
        return f"must be a {_KINDS.get(valid[1], valid[1])}"
    ours = _WORDS.get(error["type"]) or _WORDS.get(str(error.get("ctx", {}).get("pattern")))
    return ours or re.sub(r"^\w+ should (.*?)( after .*)?$", r"must \1", said)
