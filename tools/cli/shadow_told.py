"""A shadow report in words, a table and a page."""

from __future__ import annotations

from math import inf, nan
from typing import TYPE_CHECKING, Any

from cli.decisions import figures
from cli.errors import RefusedError
from cli.shadow import ENOUGH, LITTLE
from cli.tables import plain
from cli.targets import spelled
from simulator.report import FleetRun, Mark, Series, TargetRun, Totals
from simulator.scores import violations, waiting
from simulator.traces import MINUTE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.table import Table

    from cli.shadow import Compared, Figures, Wakes
    from simulator.cases import Course


def verdict(found: Compared) -> str:
    """Say plainly what the record is worth, and the next step."""
    was, best = found.was, found.native
    name, queued = found.target.resource_id, found.wakes is not None
    if was.violated_share is None or best.violated_share is None:
        return f"{name}: no verdict, for what the load needed is not known. Watch the floors, or backtest it."
    change = best.instance_hours / was.instance_hours - 1 if was.instance_hours else 0.0
    cost = "as many" if abs(change) <= LITTLE else f"{abs(change):.0%} {'more' if change > 0 else 'fewer'}"
    word = "items late" if queued else "short"
    told = f"{name}: {cost} instance-hours, {word} in {best.short_minutes} minutes in place of {was.short_minutes}"
    if found.span < ENOUGH:
        return f"{told}. Too short to judge: let it watch for a day, better a week."
    if found.ready:
        return f"{told}. Next: remove `mode: shadow` from profile {found.profile} and `tidegate apply`."
    if best.violated_share > was.violated_share:
        if queued:
            return f"{told}. More late, had the floors stayed as they were: `tidegate backtest` plays it."
        return f"{told}. It would have served fewer requests in time: leave it in shadow, or ask more of `forecast`."
    less = "promise more time (`drain_within`)" if queued else "ask less of `forecast`"
    return f"{told}. It would only have cost more: leave it in shadow, or {less}."


UNKNOWABLE = (
    "What a shadow cannot know: how AAS, your callers and the model would have answered to other counts. Orders are "
    "taken to serve after what starts took here; what was starting as it was is not counted, so Tidegate's hours are "
    "told rather too high."
)


def woken(wakes: Wakes) -> str:
    """Say how Tidegate would have woken the endpoint."""
    count, earlier, later = len(wakes.minutes), wakes.earlier, wakes.later
    if not count:
        return "Nothing waited while no instance ran."
    parts = [f"{sum(earlier)} min earlier in {len(earlier)}"] * bool(earlier)
    parts += [f"{-sum(later)} min later at least in {len(later)}"] * bool(later)
    parts += [f"in the same minute in {count - len(earlier) - len(later)}"] * (count > len(earlier) + len(later))
    times = "once" if count == 1 else f"{count} times"
    return f"Items waited at zero instances {times}; Tidegate's first would have served {', '.join(parts)}."


def table_of(found: Sequence[Compared]) -> Table:
    """Return the courses of each target beside each other."""
    word = "late" if found and all(each.wakes is not None for each in found) else "violated"
    table = plain("target", "course", "instance-hours", word, "short minutes", "covered", "missed")
    for column in table.columns[2:]:
        column.justify = "right"
    for each in found:
        rows = [("as it was", each.was), ("Tidegate's floors", each.floors), ("with its policies", each.native)]
        for index, (word, came) in enumerate(rows):
            table.add_row(
                "" if index else each.target.resource_id,
                word,
                f"{came.instance_hours:,.1f}",
                "-" if came.violated_share is None else f"{came.violated_share:.2%}",
                "-" if came.short_minutes is None else str(came.short_minutes),
                "-" if each.covered is None or index != 1 else str(each.covered),
                "-" if each.missed is None or index != len(rows) - 1 else str(each.missed),
            )
    return table


def lines_of(found: Sequence[Compared]) -> Iterator[str]:
    """Yield over what time, the verdicts, and what is not known."""
    for each in found:
        yield f"{each.target.resource_id}: {_span(each)}."
        yield from (f"  {note}" for note in _notes(each))
    yield from comes_to(found)


def comes_to(found: Sequence[Compared]) -> Iterator[str]:
    """Yield the verdicts, and what is not known."""
    yield from map(verdict, found)
    if found:
        yield UNKNOWABLE


def _span(found: Compared) -> str:
    when = f"{found.since:%Y-%m-%dT%H:%MZ} to {found.until:%Y-%m-%dT%H:%MZ}"
    unknown = f", {found.unknown} minutes without metrics left out" if found.unknown else ""
    return f"{found.decisions} shadow decisions, {when}{unknown}"


def _notes(found: Compared) -> list[str]:
    return [*found.notes, *([woken(found.wakes)] if found.wakes is not None else [])]


def as_json(found: Compared) -> dict[str, Any]:
    """Return what `--json` prints of a target."""
    return {**found.as_json(), "verdict": verdict(found)}


# ---- the page ----------------------------------------------------------------------------------------------------


def page_of(stack: str, found: Sequence[Compared]) -> FleetRun:
    """Return what the HTML page shows: what ran beside what Tidegate would have held, and each wish with its reason."""
    begin, end = min(each.since for each in found), max(each.until for each in found)
    return FleetRun(
        title=f"Shadow report of {stack}",
        start=begin,
        hours=(end - begin) / MINUTE / 60,
        targets=[_target(each) for each in found],
        lines=[*comes_to(found)],
        facts={spelled(each.target): f"profile {each.profile}, {_span(each)}" for each in found},
    )


def _target(found: Compared) -> TargetRun:
    case, queued = found.seen.case, found.wakes is not None
    was, native = found.courses
    nothing: list[int | None] = [None] * found.minutes
    held = [values[found.seen.known[: len(values)]].tolist() for values in (found.shadow.floor, found.shadow.ceiling)]
    capacity = case.capacity * (case.objective if queued else 1)
    return TargetRun(
        name=spelled(found.target),
        kind="async" if queued else "realtime",
        unit="items queued" if queued else "requests/min",
        capacity_per_instance=capacity if found.seen.sized else inf,
        tidegate=_series(found, native, *held),
        plain=_series(found, was, nothing, nothing),
        totals=_totals(found, native, found.native),
        plain_totals=_totals(found, was, found.was),
        marks=[*_marks(found)],
        notes=[
            "Nothing was written: Tidegate stands for its recorded floors with the profile's policies.",
            *_notes(found),
        ],
        beside="what really ran",
    )


def _series(found: Compared, course: Course, floor: list[int | None], ceiling: list[int | None]) -> Series:
    """Return the known minutes of a course; what waits under Tidegate is played, what waited really is CloudWatch's."""
    seen, known = found.seen, found.seen.known
    demand = seen.demand
    if found.wakes is not None and seen.sized and course is found.courses[1]:
        demand = waiting(seen.case, course.ready).astype(float)
    return Series(
        minutes=[seen.case.start + int(minute) * MINUTE for minute in known.nonzero()[0]],
        demand=demand[known].tolist(),
        ready=course.ready[known].tolist(),
        desired=course.billed[known].tolist(),
        floor=floor,
        ceiling=ceiling,
        harmed=violations(seen.case, course.ready)[known].astype(float).tolist(),
    )


def _totals(found: Compared, course: Course, came: Figures) -> Totals:
    requests = int(found.seen.case.requests[found.seen.known].sum())
    return Totals(
        requests=requests,
        harmed=nan if came.violated_share is None else came.violated_share * requests,
        instance_hours=came.instance_hours,
        changes=len(course.orders),
    )


def _marks(found: Compared) -> Iterator[Mark]:
    """Yield each decision that wished something else than the one before, with what decided it."""
    for each in found.said:
        wish, at = each.document["envelope"], max(each.at, found.since)
        try:
            step = each.decision.deciding_step
        except RefusedError as refusal:
            yield Mark(at=at, reason="unreadable", text=str(refusal))
            continue
        why = figures(step.seen)
        text = f"would hold {wish['floor']}..{wish['ceiling']}" + f" ({why})" * bool(why)
        yield Mark(at=at, reason=step.reason.value, text=text)
