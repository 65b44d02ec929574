"""What a window may say and still should not: each remark names the consequence and the fix."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import combinations
from typing import NamedTuple

from cli.advice import Remark
from core.fields import duration_text
from core.policy import Profile
from core.policy_windows import Window
from core.signals.utilisation import instances
from core.signals.window import LEAD, SAFETY
from core.times import DAY, MINUTE

LOOKED_AHEAD = 60
"""Days in which windows are laid beside each other."""

FAR = 5 * 366
"""Days after which one that has not opened is taken to open never."""


class _Span(NamedTuple):
    start: datetime
    end: datetime


def window_advice(profile: Profile, today: date) -> Iterator[Remark]:
    """Yield every remark on a profile's windows.

    Args:
        profile: any.
        today: from which on windows are laid out; `lead: auto` is taken as 10 minutes.
    """
    spans = [_spans(window, today, LOOKED_AHEAD) for window in profile.windows]
    for index, window in enumerate(profile.windows):
        if not (spans[index] or _spans(window, today, FAR)):
            yield ("windows", index), f" = {window.name}: never opens from {today} on. Remove it, or change its dates"
        yield from _too_much(profile, index, window)
        yield from _early(profile, index, spans)
    for (i, ours), (j, theirs) in combinations(enumerate(spans), 2):
        found = next((max(a.start, b.start) for a in ours for b in theirs if a.start < b.end and b.start < a.end), None)
        if found:
            text = (
                f" = {profile.windows[j].name}: overlaps {profile.windows[i].name}, first at {found:%Y-%m-%dT%H:%MZ}: "
                "while both are open the higher floor and the lower ceiling hold. Fine if that is meant"
            )
            yield ("windows", j), text


def _spans(window: Window, today: date, days: int) -> list[_Span]:
    """Return the occurrences of the next days."""
    on = (today + offset * DAY for offset in range(days))
    return [_Span(*window.times(day)) for day in on if window.starts_on(day)]


def _too_much(profile: Profile, index: int, window: Window) -> Iterator[Remark]:
    each = profile.objectives.per_minute(profile.serving)
    most = profile.max_capacity
    if each is None or window.min_capacity is not None:
        return
    if window.items is None:
        need = instances(window.requests_per_minute or 0, each)
        if need > most:
            text = f" = {window.requests_per_minute:g}: needs {need}, above max_capacity ({most}), which holds"
            yield ("windows", index, "requests_per_minute"), text
        return
    start, end = window.times(date(2026, 1, 1))  # a day without a change of clocks
    need = instances(SAFETY * window.items, each * ((end - start) / MINUTE))
    if need > most:
        hours = window.items / (each * most) / 60
        finish = (start + timedelta(hours=hours % 24)).astimezone(window.zone)  # of what takes thousands of years too
        text = (
            f" = {window.items:,}: needs {need} to be done by {window.finish_by}, above max_capacity ({most}), with "
            f"which it is done {hours:.1f}h after {window.start}, at {finish:%H:%M}. Raise it, "
            "or start earlier"
        )
        yield ("windows", index, "items"), text


def _early(profile: Profile, index: int, spans: list[list[_Span]]) -> Iterator[Remark]:
    """Name a lead that reaches back into the window before."""
    window = profile.windows[index]
    lead = window.lead if isinstance(window.lead, timedelta) else LEAD
    for start, _ in spans[index]:
        before = [
            (b.end, w.name) for w, others in zip(profile.windows, spans, strict=True) for b in others if b.end <= start
        ]
        end, name = max(before, default=(None, ""))
        if end and start - lead < end:
            gap = duration_text(start - end)
            text = (
                f": {duration_text(lead)} is longer than the gap of {gap} after {name}, so instances stay up "
                f"in between. Use at most {gap}, or one window for both"
            )
            yield ("windows", index, "lead"), text
            return
