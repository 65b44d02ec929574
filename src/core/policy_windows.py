"""Batch windows as the policy file says them: when they are open, and what they need."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import islice
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from dateutil.rrule import rrule, rrulestr
from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from core.fields import (
    DAYS,
    AtLeastMin,
    ClockTime,
    Count,
    Date,
    Day,
    Duration,
    Name,
    NoTruth,
    Rate,
    Strict,
    Zone,
    between,
    duration,
    duration_text,
)
from core.times import DAY, MINUTE

GRACE = timedelta(minutes=15)
"""Work that is not done at its deadline keeps its capacity so long (algorithms 10)."""

FIRST_YEAR = 2000
"""Counting a rule from long ago takes seconds."""

_FREQUENCIES = {"DAILY", "WEEKLY", "MONTHLY", "YEARLY"}
_NOT_IN_RULES = {"UNTIL": "to", "DTSTART": "from", "BYHOUR": "start", "BYMINUTE": "start", "BYSECOND": "start"}

Lead = Annotated[
    timedelta | Literal["auto"],
    BeforeValidator(lambda seen: seen if seen == "auto" else duration(seen)),
    between("0s", "24h"),
    PlainSerializer(lambda lead: lead if lead == "auto" else duration_text(lead), return_type=str),
    WithJsonSchema({"type": "string", "examples": ["auto", "15m"]}),
]


class Window(Strict):
    """A recurring stretch of time in which a target needs other bounds; a pure function of now.

    Two wall clock readings need care where clocks change: one that is skipped stands for the first instant after the
    gap, one that comes twice for its first time.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    name: Name
    start: ClockTime
    timezone: Zone = "UTC"
    duration: Annotated[Duration, between("1m", "24h")] | None = None
    """Elapsed time. One of `duration`, `until` and `finish_by` says when the window ends."""

    until: ClockTime | None = None
    """Wall clock end; on the next day if it is not after `start`."""

    finish_by: ClockTime | None = None
    """Wall clock deadline of `items`, likewise. The window closes when they are done, or 15 minutes later."""

    from_: Date | None = Field(default=None, alias="from")
    """First date on which it may start."""

    to: Date | None = None
    """Last date on which it may start."""

    days: tuple[Day, ...] = Field(default=DAYS, min_length=1)
    """Days on which it starts."""

    rrule: str | None = None
    """Instead of days: a recurrence rule (RFC 5545) by the day, counted from `from`."""

    dates: tuple[Date, ...] | None = Field(default=None, min_length=1)
    """Instead of days: the dates themselves."""

    except_: tuple[Date, ...] = Field(default=(), alias="except")
    """Dates on which it does not start."""

    lead: Lead = "auto"
    """How long before the start the floor rises. `auto` is what this target's starts took (p95), and up to 5m more."""

    hand_over: Annotated[Duration, between("0s", "24h")] | None = None
    """How long after its load was seen to begin it ends, before its end: then demand and the forecast carry on."""

    items: Annotated[int, Field(ge=1, le=10**12), NoTruth] | None = None
    """Requests, or items of a queue, to be done by `finish_by`. One of this and the next two says what is needed."""

    requests_per_minute: Rate | None = None
    """Requests, or items of a queue, that come in a minute."""

    min_capacity: Count | None = None
    max_capacity: Annotated[Count | None, AtLeastMin] = None
    """From the start on. It gives way to demand, except 0: then nothing runs, where the endpoint allows that."""

    @field_validator("finish_by", "to", "rrule", "dates", "items", "min_capacity")
    @classmethod
    def _goes_with_those_before(cls, value: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - of any field
        """Refuse what makes no sense beside the fields before it; one that failed by itself counts for nothing."""
        said = info.data
        match info.field_name:
            case "finish_by":
                _exactly_one(said, "duration", "until", finish_by=value)
            case "min_capacity":
                _exactly_one(said, "items", "requests_per_minute", min_capacity=value)
            case "to" if value and said.get("from_") and value < said["from_"]:
                raise ValueError(f"must not be before from ({said['from_']})")
            case "rrule" if value is not None and "from_" in said:
                _refuse_rule(value.upper(), said["from_"])
            case "dates" if len(seen := _calendars({**said, "dates": value})) > 1:
                raise ValueError(f"only one of days, rrule and dates may say when it starts (seen {', '.join(seen)})")
            case "items" if "finish_by" in said and (value is None) != (said["finish_by"] is None):
                raise ValueError("items and finish_by go together")
            case "items" if value is not None and said.get("hand_over") is not None:
                raise ValueError("goes without hand_over: the window ends when they are done")
        return value

    @property
    def zone(self) -> ZoneInfo:
        """The window's clock."""
        return ZoneInfo(self.timezone)

    def starts_on(self, day: date) -> bool:
        """Whether it starts on a local date."""
        if day in self.except_ or (self.from_ and day < self.from_) or (self.to and day > self.to):
            return False
        if self.dates is not None:
            return day in self.dates
        if self.rrule is not None and self.from_ is not None:
            return day in _dates_of(self.rrule, self.from_, day.year)
        return DAYS[day.weekday()] in self.days

    def times(self, day: date) -> tuple[datetime, datetime]:
        """Return start and end (or deadline) of the occurrence that starts on a local date, in UTC."""
        first = time.fromisoformat(self.start)
        start = instant(day, first, self.zone)
        if self.duration is not None:
            return start, start + self.duration
        clock = self.until or self.finish_by or self.start
        last = time.fromisoformat(clock)
        end = instant(day if clock > self.start else day + DAY, last, self.zone)
        skipped = datetime.combine(day, last) - datetime.combine(day, first)
        return start, end if end > start else start + skipped


def instant(day: date, clock: time, zone: ZoneInfo) -> datetime:
    """Return when a local clock shows a time, in UTC: the first time if it does twice, else right after the gap."""
    wall = datetime.combine(day, clock)
    while (found := wall.replace(tzinfo=zone).astimezone(UTC)).astimezone(zone).replace(tzinfo=None) != wall:
        wall += MINUTE
    return found


def _rule(text: str, first: date) -> rrule:
    found = rrulestr(text, dtstart=datetime.combine(first, time()))
    if not isinstance(found, rrule):
        raise ValueError("must be one rule")  # noqa: TRY004 - a wrong value of the field, not a wrong type in the code
    return found


@lru_cache(maxsize=256)
def _dates_of(text: str, first: date, year: int) -> frozenset[date]:
    """Return the dates of a rule in one year."""
    found = _rule(text, first).between(datetime(year, 1, 1), datetime(year, 12, 31), inc=True)  # noqa: DTZ001 - dates
    return frozenset(each.date() for each in found)


def _refuse_rule(text: str, first: date | None) -> None:
    """Refuse what is no recurrence rule by the day, or one that never comes."""
    if first is None or first.year < FIRST_YEAR:
        raise ValueError(f"needs `from`: the date it is counted from, in {FIRST_YEAR} or later")
    parts = dict(part.partition("=")[::2] for part in text.removeprefix("RRULE:").split(";"))
    if parts.get("FREQ") not in _FREQUENCIES or not all(parts.values()):
        raise ValueError("must be an RFC 5545 rule with FREQ=DAILY, WEEKLY, MONTHLY or YEARLY")
    if not re.fullmatch("[1-9][0-9]{0,3}", parts.get("INTERVAL", "1")):
        raise ValueError("must have an INTERVAL from 1 to 9999")  # dateutil would count on the spot, or backwards
    if said := [f"{name} (use `{instead}`)" for name, instead in _NOT_IN_RULES.items() if name in parts]:
        raise ValueError(f"may not say {', '.join(said)}")
    try:
        # dateutil looks for the next date until the year 9999. The calendar repeats after 400 years, so what has no
        # date in the last of them never has one; asked from today, that would take it seconds.
        late = _rule(text, first.replace(year=9600 + first.year % 400))
    except ValueError as error:
        raise ValueError(f"is no recurrence rule: {error}") from error
    if not [*islice(late, 1)]:
        raise ValueError("never comes")


def _calendars(said: Mapping[str, object]) -> list[str]:
    """Return which fields say when it starts."""
    return [name for name in ("days", "rrule", "dates") if said.get(name) not in (DAYS, None)]


def _exactly_one(said: Mapping[str, object], *others: str, **last: object) -> None:
    """Refuse a field unless it is given and the others are not, or one of the others is."""
    if all(other in said for other in others):  # what failed by itself is not counted again
        named = {other: said[other] for other in others} | last
        given = [name for name, value in named.items() if value is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of {', '.join(named)} must be given (seen {', '.join(given) or 'none'})")
