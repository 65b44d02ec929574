"""`tidegate windows propose`: recurring blocks of load as windows to paste, and what each would have been worth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, available_timezones

from rich.table import Table

from cli.backtest import harmed, settings
from cli.errors import MisusedError
from cli.tables import console
from simulator.judge import found_windows
from simulator.oracle import clairvoyant
from simulator.replay import replay
from simulator.scores import score

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cli.backtest import Load, Wanted
    from core.learning.windows import Recurring
    from simulator.cases import Case
    from simulator.scores import Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A window, and what the judged days would have been with it alone beside what the profile has."""

    job: Recurring
    window: Mapping[str, Any]
    without: Score
    within: Score

    @property
    def prevented(self) -> int:
        """Requests that would have been served as promised, and were not without it."""
        return _harmed(self.without) - _harmed(self.within)

    @property
    def hours(self) -> float:
        """Instance-hours more than without it; fewer if negative."""
        return self.within.instance_hours - self.without.instance_hours

    def row(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        price = self.within.price_per_hour
        return {
            "window": self.window,
            "days": len(self.job.days),
            "known_days": self.job.known,
            "earliest": _clock(self.job.earliest),
            "latest": _clock(self.job.latest),
            "violated_without": _harmed(self.without),
            "prevented": self.prevented,
            "instance_hours_more": round(self.hours, 2),
        } | ({} if price is None else {"cost_more": round(self.hours * price, 2)})


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone.

    Raises:
        MisusedError: there is none of this name.
    """
    if name not in available_timezones():
        raise MisusedError(f"--timezone {name!r} must be an IANA time zone such as Europe/Berlin")
    return ZoneInfo(name)


def refuse_unsized(load: Load, case: Case, wanted: Wanted) -> None:
    """Refuse to size windows by a guess: a trace's own scale is no instance of anybody's.

    Raises:
        MisusedError: nothing says what an instance serves.
    """
    objectives = (wanted.profile or {}).get("objectives", {})
    if load.capacity is None and case.work_seconds is None and "requests_per_instance" not in objectives:
        raise MisusedError(
            "windows are sized by what an instance serves: give --capacity, or --policy and --use with it"
        )


def proposals(
    case: Case, wanted: Wanted, zone: ZoneInfo, told: Callable[[str], None] = lambda _: None
) -> list[Proposal]:
    """Find what recurs in the whole history, and play each window that says so through the real core."""
    found = found_windows(case, len(case.requests), zone)
    if not found:
        return []
    given = dict(wanted.profile or {"forecast": "economy"})  # as of a batch profile, with and without
    ideal = clairvoyant(case)

    def played(windows: list[Mapping[str, Any]]) -> Score:
        course = replay(case, {**given, "windows": [*given.get("windows", []), *windows]}).course
        return score(case, course, ideal, price_per_hour=wanted.price)

    without, proposed = played([]), []
    for number, (job, window) in enumerate(found, start=1):
        told(f"window {number} of {len(found)}")
        proposed.append(Proposal(job=job, window=window, without=without, within=played([window])))
    return proposed


def document(case: Case, found: list[Proposal], wanted: Wanted) -> dict[str, Any]:
    """Return what `--json` prints."""
    rows = {"settings": settings(case), "proposals": [proposal.row() for proposal in found]}
    return rows | ({"notes": list(wanted.notes)} if wanted.notes else {})


def show(case: Case, found: list[Proposal], wanted: Wanted) -> None:
    """Print the windows to paste, and what each is worth."""
    if found:
        console().print(_table(case, found))
        print("\n".join(["windows:", *(f"  - {_flow(each.window)}" for each in found)]))
    else:
        print(f"{case.trace}: no load begins at about one time on most days, and needs more than the minimum.")
    for note in wanted.notes:
        print(note)


def _table(case: Case, found: list[Proposal]) -> Table:
    """Return a row a window."""
    late = "late items" if case.work_seconds is not None else "violated requests"
    made = Table(title=f"{case.trace}: {case.judged_part}", title_justify="left")
    for name in ("window", "came on", "began", "instances", f"{late} without", "prevented", "instance-hours"):
        made.add_column(name, justify="left" if name == "window" else "right")
    for each in found:
        made.add_row(
            each.window["name"],
            f"{len(each.job.days)} of {each.job.known} days",
            f"{_clock(each.job.earliest)} to {_clock(each.job.latest)}",
            f"{each.job.instances}",
            f"{_harmed(each.without):,}",
            f"{each.prevented:,}",
            f"{each.hours:+,.1f}",
        )
    return made


def _flow(window: Mapping[str, Any]) -> str:
    """Return one line of YAML; JSON says the same of each value, and quotes what needs it."""
    plain = {"name", "duration", "hand_over"}
    said = (f"{k}: {v if k in plain else json.dumps(v)}" for k, v in window.items())
    return "{" + ", ".join(said) + "}"


def _clock(minute: int) -> str:
    return f"{minute // 60 % 24:02d}:{minute % 60:02d}"


def _harmed(score: Score) -> int:
    return round(harmed(score) * score.requests)
