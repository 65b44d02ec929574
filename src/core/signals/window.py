"""Batch windows: a pure function of now, so there is no opening or closing action to lose."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from core.policy import DAYS, Window


@dataclass(frozen=True, slots=True)
class Opening:
    """One occurrence of a window: the floor rises at `prewarm`, work runs from `start` until `end` (exclusive)."""

    window: Window
    prewarm: datetime
    start: datetime
    end: datetime


def openings(windows: Sequence[Window], now: datetime) -> tuple[Opening, ...]:
    """Return the occurrences that are open or being pre-warmed at `now`."""
    return tuple(o for window in windows for o in _around(window, now) if o.prewarm <= now < o.end)


def edge_within(windows: Sequence[Window], now: datetime, span: timedelta) -> bool:
    """Whether a window began to pre-warm or ended in the last `span`, so that its target needs a look."""
    return any(
        now - span < edge <= now for window in windows for o in _around(window, now) for edge in (o.prewarm, o.end)
    )


def _around(window: Window, now: datetime) -> tuple[Opening, ...]:
    """Return the occurrences whose start lies on yesterday's, today's or tomorrow's local date."""
    today = now.astimezone(window.zone).date()
    found = []
    for offset in (-2, -1, 0, 1):
        date = today + timedelta(days=offset)
        if DAYS[date.weekday()] in window.days:
            start = datetime.combine(date, window.starts_at, window.zone).astimezone(UTC)
            found.append(Opening(window, start - window.lead, start, start + window.duration))
    return tuple(found)
