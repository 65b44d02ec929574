"""When a scheduled action runs: at(), rate() and six-field cron() expressions (facts 1.6)."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")  # numbered 1 to 7
FIELDS = (  # name, lowest, highest, names
    ("minutes", 0, 59, ()),
    ("hours", 0, 23, ()),
    ("day-of-month", 1, 31, ()),
    ("month", 1, 12, MONTHS),
    ("day-of-week", 1, 7, WEEKDAYS),
    ("year", 1970, 2199, ()),
)


class Schedule(Protocol):
    """Asked once a minute."""

    def due(self, minute: datetime) -> bool:
        """Whether it runs in the minute that starts at `minute` (UTC)."""
        ...


@dataclass(frozen=True, slots=True)
class At:
    """Once."""

    moment: datetime

    def due(self, minute: datetime) -> bool:
        """See Schedule."""
        return minute <= self.moment < minute + MINUTE


@dataclass(frozen=True, slots=True)
class Rate:
    """Every `interval` after `start`, and at `start` itself only if that was asked for as StartTime."""

    interval: timedelta
    start: datetime

    def due(self, minute: datetime) -> bool:
        """See Schedule."""
        runs = (minute + MINUTE - self.start - timedelta.resolution) // self.interval
        return runs >= 1 and self.start + runs * self.interval >= minute


@dataclass(frozen=True, slots=True)
class Cron:
    """Local wall-clock times. A local time skipped by daylight saving does not run; a repeated one runs once."""

    fields: tuple[frozenset[int], ...]
    last_day: bool
    zone: ZoneInfo

    def due(self, minute: datetime) -> bool:
        """See Schedule."""
        local = minute.astimezone(self.zone)
        if local.fold:
            return False
        weekday = local.isoweekday() % 7 + 1
        values = (local.minute, local.hour, local.day, local.month, weekday, local.year)
        if not all(value in allowed for value, allowed in zip(values, self.fields, strict=True)):
            return False
        return not self.last_day or local.day == monthrange(local.year, local.month)[1]


def parse(expression: str, timezone: str, start: datetime) -> Schedule:
    """Read a Schedule; `start` anchors rates. Raises ValueError with a sentence for the caller."""
    match = re.fullmatch(r"(at|rate|cron)\((.+)\)", expression.strip())
    if match is None:
        raise ValueError(f"Schedule expression {expression!r} is not at(), rate() or cron()")
    kind, inside = match.groups()
    try:
        zone = ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"Timezone {timezone!r} is not a known time zone") from None
    if kind == "at":
        return At(datetime.fromisoformat(inside).replace(tzinfo=zone).astimezone(UTC))
    return _rate(inside, start) if kind == "rate" else _cron(inside, zone)


def _rate(inside: str, start: datetime) -> Rate:
    match = re.fullmatch(r"([1-9]\d*) (minute|hour|day)s?", inside)
    if match is None:
        raise ValueError(f"rate({inside}) must be a positive number and minute(s), hour(s) or day(s)")
    return Rate(timedelta(**{f"{match[2]}s": int(match[1])}), start)


def _cron(inside: str, zone: ZoneInfo) -> Cron:
    texts = inside.upper().split()
    if len(texts) != len(FIELDS):
        raise ValueError(f"cron({inside}) must have six fields: {' '.join(name for name, *_ in FIELDS)}")
    if (texts[2] == "?") == (texts[4] == "?"):
        raise ValueError(f"cron({inside}) must have ? in exactly one of day-of-month and day-of-week")
    last_day = texts[2] == "L"
    if last_day:
        texts[2] = "*"
    return Cron(tuple(_allowed(text, *field) for text, field in zip(texts, FIELDS, strict=True)), last_day, zone)


def _allowed(text: str, name: str, low: int, high: int, names: tuple[str, ...]) -> frozenset[int]:
    allowed: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"([*?]|\w+)(?:-(\w+))?(?:/(\d+))?", part)
        if match is None:
            raise ValueError(f"{text!r} in {name} is not simulated: use * ? , - / names, and L for the last day")
        begin, end, step = match.groups()
        first = low if begin in "*?" else _number(begin, name, low, high, names)
        last = _number(end, name, low, high, names) if end else high if begin in "*?" or step else first
        allowed.update(range(first, last + 1, int(step or 1)))
    return frozenset(allowed)


def _number(text: str, name: str, low: int, high: int, names: tuple[str, ...]) -> int:
    number = names.index(text) + low if text in names else int(text) if text.isdigit() else -1
    if not low <= number <= high:
        raise ValueError(f"{text!r} in {name} must be from {low} to {high}")
    return number
