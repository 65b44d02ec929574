"""`tidegate shadow-report`: recorded shadow decisions beside what really ran and what the load needed.

A shadow knows the floors that Tidegate would have held, not the counts that would have come of them, for native
policies run under the floors. So its course is told as a range: the floors alone, and the floors with the policies
of its profile. Tracking of requests is played on the same load (`simulator.baselines`); where policies follow
anything else they are taken to have held what ran, as those that stand did. Needs and violations:
`simulator.scores` (algorithms 11).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from cli.cloudwatch_history import INSTANCE, bridged, series
from cli.decisions import recorded_since
from cli.stack import DeployedStack
from cli.tables import plain
from core.model import Dimension, Missing, Mode, ScalableTarget
from core.policy import Profile, parse_fleet
from core.ports import MetricQuery
from core.reconcile import as_measured
from core.signals import utilisation
from simulator import baselines
from simulator.cases import Case, Course
from simulator.cases import Mode as LoadMode
from simulator.scores import score

if TYPE_CHECKING:
    from numpy.typing import NDArray

MINUTE = timedelta(minutes=1)
KEPT = timedelta(days=15)
"""CloudWatch keeps values of one minute so long (facts 8.1)."""

SETTLED = timedelta(minutes=3)
"""So old are minutes that all metrics know."""

ENOUGH = timedelta(days=1)
"""A load that was watched for less says little of the next day."""

LITTLE = 0.02
"""Share of the instance-hours within which two courses cost the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one course comes to."""

    instance_hours: float
    violated_share: float | None
    """Of the requests, in minutes with more load than ready instances serve; None where the need is not known."""

    short_minutes: int | None
    """Minutes with less than was needed."""

    def as_json(self) -> dict[str, float | int | None]:
        """Return it as `--json` prints it."""
        share = None if self.violated_share is None else round(self.violated_share, 6)
        return {
            "instance_hours": round(self.instance_hours, 2),
            "violated_share": share,
            "short_minutes": self.short_minutes,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One target, as it was and as Tidegate would have held it."""

    target: ScalableTarget
    profile: str
    since: datetime
    until: datetime
    decisions: int
    minutes: int
    """Minutes of which load and count are known; only these are compared."""

    unknown: int
    was: Figures
    floors: Figures
    native: Figures
    """With the native policies of its profile."""

    covered: int | None
    """Minutes in which too little ran and the floors were enough: Tidegate had more before the policies did."""

    missed: int | None
    """Minutes in which what ran was enough and Tidegate, with its policies, would have had too little."""

    notes: tuple[str, ...]

    @property
    def span(self) -> timedelta:
        """How long it was watched."""
        return self.until - self.since

    @property
    def ready(self) -> bool:
        """Whether the record speaks for switching it to active."""
        was, best = self.was, self.native
        if self.span < ENOUGH or was.violated_share is None or best.violated_share is None:
            return False
        dearer = best.instance_hours > was.instance_hours * (1 + LITTLE)
        worse = best.violated_share > was.violated_share
        return not worse and not (dearer and best.violated_share == was.violated_share)

    def as_json(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        return {
            "target": self.target.resource_id,
            "profile": self.profile,
            "since": f"{self.since:%Y-%m-%dT%H:%MZ}",
            "until": f"{self.until:%Y-%m-%dT%H:%MZ}",
            "decisions": self.decisions,
            "minutes": self.minutes,
            "unknown_minutes": self.unknown,
            "was": self.was.as_json(),
            "floors": self.floors.as_json(),
            "native": self.native.as_json(),
            "covered_minutes": self.covered,
            "missed_minutes": self.missed,
            "ready": self.ready,
            "verdict": verdict(self),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Shadowed:
    """What was recorded of a target: by the minute, the floor that was wanted, and what could have gone at once."""

    floor: "NDArray[np.int64]"
    cut: "NDArray[np.float64]"
    """The count above which nothing was needed; NaN in minutes in which nobody said so."""

    running: "NDArray[np.int64]"
    """Capacity that served when it was last looked at."""


def compared(
    stack: DeployedStack, targets: Sequence[ScalableTarget], since: datetime, now: datetime
) -> Iterator[Compared | str]:
    """Yield for each target the comparison, or why there is none.

    Args:
        stack: the deployed stack.
        targets: of its roster.
        since: from when on; at most 15 days back, for so long CloudWatch keeps minutes.
        now: until when, less the minutes that metrics are late.

    Raises:
        ObservationError, ConfigError: CloudWatch, table or document cannot be read.
    """
    fleet, roster = parse_fleet(stack.document()), stack.roster()
    for target in targets:
        entry = fleet.targets.get(target)
        name = entry.profile if entry else roster[target].profile
        profile = fleet.profiles.get(name)
        if profile is None:
            yield f"{target.resource_id}: profile {name} is not in the document in force"
        elif Mode.SHADOW not in {stack.mode, profile.mode}:
            yield f"{target.resource_id}: profile {name} is active, it is no shadow; `tidegate status` shows it"
        else:
            watched = _Watched(target=target, name=name, profile=profile, stack=stack)
            yield _compared(watched, watched.decisions(max(since, now - KEPT), now - SETTLED), now - SETTLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Watched:
    """A target in shadow, and where what is known of it stands."""

    target: ScalableTarget
    name: str
    profile: Profile
    stack: DeployedStack

    def decisions(self, since: datetime, until: datetime) -> list[tuple[datetime, Mapping[str, Any]]]:
        """Return the decisions of the newest time in shadow: those since the last that was written."""
        found = recorded_since(self.stack.aws.of("dynamodb"), self.stack.outputs["table"], self.target, since)
        written = [index for index, each in enumerate(found) if each.outcome in {"changed", "failed"}]
        said = [(_at(each.name), each.document) for each in found[written[-1] + 1 if written else 0 :]]
        return [(at, document) for at, document in said if at < until]

    def measured(self, begin: datetime, length: int) -> tuple["NDArray[np.float64]", "NDArray[np.float64]"]:
        """Return requests and running instances of each minute, NaN where nobody knows.

        An instance publishes one sample of CPUUtilization a minute (facts 3.1).
        """
        until, counted = begin + length * MINUTE + SETTLED, self.target.dimension is Dimension.INSTANCES
        load = utilisation.query(self.target)
        count = MetricQuery(INSTANCE, "CPUUtilization", tuple(self.target.names.items()), "SampleCount")
        seen = self.stack.ports.metrics.fetch([load, *([count] if counted else [])], until, until - begin)
        laid = [series(seen.get(query, Missing("not asked for")), begin, length) for query in (load, count)]
        asleep = counted and self.profile.min_capacity == 0  # then nothing is published
        return bridged(laid[0]), np.nan_to_num(laid[1]) if asleep else bridged(laid[1])


def _compared(watched: _Watched, said: Sequence[tuple[datetime, Mapping[str, Any]]], until: datetime) -> Compared | str:
    target = watched.target
    if not said or until - said[0][0] < MINUTE:
        return f"{target.resource_id}: no shadow decision is recorded that is old enough for metrics to know its minute"
    memory = watched.stack.ports.store.memories([target])[target]
    profile = as_measured(watched.profile, memory)
    begin = said[0][0].replace(second=0, microsecond=0)
    shadow = _by_the_minute(said, begin, (until - begin) // MINUTE)
    load, count = watched.measured(begin, (until - begin) // MINUTE)
    count = count if target.dimension is Dimension.INSTANCES else shadow.running.astype(float)
    capacity = None if profile.works_off_a_queue else profile.capacity_per_instance
    known = ~np.isnan(count) & (~np.isnan(load) if capacity else True)
    if not known.any():
        return f"{target.resource_id}: CloudWatch knows no minute of its load since {begin:%Y-%m-%dT%H:%MZ}"
    delay = math.ceil(profile.start_of(memory.starts) / MINUTE)
    case = Case(
        trace=target.resource_id,
        mode=LoadMode.REALTIME,
        start=begin,
        requests=np.rint(np.nan_to_num(load)).astype(np.int64),
        capacity=capacity or math.inf,
        warmup=0,
        minimum=profile.min_capacity,
        maximum=profile.max_capacity,
        provisioning=delay,
        provisioning_from_zero=delay,
    )
    was = np.nan_to_num(count).astype(np.int64)
    floors = _course(shadow.floor, delay, int(was[0]))
    share = _tracked_share(profile, capacity)
    native = _over(floors, was, was) if share is None else _tracked(case, shadow, floors, share)
    needed, best = case.needed[known], native.ready[known]
    return Compared(
        target=target,
        profile=watched.name,
        since=begin,
        until=until,
        decisions=len(said),
        minutes=int(known.sum()),
        unknown=int((~known).sum()),
        was=_figures(case, _course_of("as it was", was, was), known, capacity),
        floors=_figures(case, floors, known, capacity),
        native=_figures(case, native, known, capacity),
        covered=int(((was[known] < needed) & (floors.ready[known] >= needed)).sum()) if capacity else None,
        missed=int(((was[known] >= needed) & (best < needed)).sum()) if capacity else None,
        notes=tuple(_notes(profile, capacity, share)),
    )


def _at(name: str) -> datetime:
    return datetime.fromisoformat(name.rpartition("@")[2])


def _by_the_minute(said: Sequence[tuple[datetime, Mapping[str, Any]]], begin: datetime, length: int) -> Shadowed:
    """Lay decisions out by the minute: a floor holds until the next is recorded, for only changes are."""
    floor, running = np.zeros(length, dtype=np.int64), np.zeros(length, dtype=np.int64)
    cut = np.full(length, np.nan)
    for at, decision in said:
        minute = (at - begin) // MINUTE
        floor[minute:] = decision["envelope"]["floor"]
        running[minute:] = decision["context"]["capacity"].get("current", running[minute - 1] if minute else 0)
        if decision["scale_in_to"] is not None:
            cut[minute] = decision["scale_in_to"]
    return Shadowed(floor, cut, running)


def _course(floor: "NDArray[np.int64]", delay: int, first: int) -> Course:
    """Return what floors alone come to: an instance serves `delay` minutes after its order, and is paid from it on.

    What goes goes at once. What ran at the beginning is taken to serve.
    """
    before = np.full(delay, max(first, int(floor[0])), dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([before, floor]), delay + 1)
    return _course_of("floors", windows.min(axis=1), floor)


def _course_of(policy: str, ready: "NDArray[np.int64]", billed: "NDArray[np.int64]") -> Course:
    return Course(policy=policy, knob="", ready=ready, billed=billed, orders=np.flatnonzero(np.diff(billed)) + 1)


def _tracked_share(profile: Profile, capacity: float | None) -> float | None:
    """Return the target that native tracking keeps an instance at, as a share of what it serves.

    None where it is not the only policy: what CPU and its like would have asked for depends on the count.
    """
    targets = [policy.target for policy in profile.request_targets]
    alone = len(targets) == 1 == len(profile.native_policies)
    return targets[0] / capacity if alone and capacity else None


def _tracked(case: Case, shadow: Shadowed, floors: Course, share: float) -> Course:
    """Return the floors with the target tracking that runs under them; where nothing was needed above, it is cut."""
    native = baselines.run("aas-target-tracking", f"{share:.4f}", case)
    least = np.where(np.isnan(shadow.cut), np.inf, np.maximum(shadow.cut, floors.billed))
    return _over(floors, np.minimum(native.ready, least), np.minimum(native.billed, least))


def _over(floors: Course, ready: "NDArray[Any]", billed: "NDArray[Any]") -> Course:
    """Return the larger of floors and another course in each minute."""
    paid = np.maximum(floors.billed, billed).astype(np.int64)
    return replace(floors, ready=np.minimum(np.maximum(floors.ready, ready), paid).astype(np.int64), billed=paid)


def _figures(case: Case, course: Course, known: "NDArray[np.bool_]", capacity: float | None) -> Figures:
    """Score the known minutes; the clairvoyant is of no interest here, so the course stands in for it."""
    seen = replace(case, requests=case.requests[known])
    part = replace(course, ready=course.ready[known], billed=np.maximum(course.billed, course.ready)[known])
    judged = score(seen, part, part)
    short = int((seen.needed > part.ready).sum())
    share = judged.violated_share if capacity else None
    return Figures(
        instance_hours=judged.instance_hours, violated_share=share, short_minutes=short if capacity else None
    )


def _notes(profile: Profile, capacity: float | None, share: float | None) -> Iterator[str]:
    if profile.works_off_a_queue:
        yield "A queue's waiting under other counts cannot be told from its metrics: `tidegate backtest` plays it."
    elif capacity is None:
        yield "What an instance serves is not known (requests_per_instance): no need is told."
    elif profile.objectives.requests_per_instance is None:
        yield f"An instance is taken to serve {capacity:g} requests a minute, the target of its policy."
    if share is None:
        yield "Its policies are taken to have held what ran: what they would have asked of other counts is not known."


def verdict(found: Compared) -> str:
    """Say plainly what the record is worth, and the next step."""
    was, best = found.was, found.native
    name = found.target.resource_id
    if was.violated_share is None or best.violated_share is None:
        return f"{name}: no verdict, for what the load needed is not known. Watch the floors, or backtest it."
    change = best.instance_hours / was.instance_hours - 1 if was.instance_hours else 0.0
    cost = "as many" if abs(change) <= LITTLE else f"{abs(change):.0%} {'more' if change > 0 else 'fewer'}"
    harm = f"short in {best.short_minutes} minutes in place of {was.short_minutes}"
    told = f"{name}: {cost} instance-hours, {harm}"
    if found.span < ENOUGH:
        return f"{told}. Too short to judge: let it watch for a day, better a week."
    if found.ready:
        return f"{told}. Next: remove `mode: shadow` from profile {found.profile} and `tidegate apply`."
    if best.violated_share > was.violated_share:
        return f"{told}. It would have served fewer requests in time: leave it in shadow, or ask more of `forecast`."
    return f"{told}. It would only have cost more: leave it in shadow, or ask less of `forecast`."


UNKNOWABLE = (
    "What a shadow cannot know: how AAS, your callers and the model would have answered to other counts. Orders are "
    "taken to serve after what starts took here; what was starting as it was is not counted, so Tidegate's hours are "
    "told rather too high."
)


def table_of(found: Sequence[Compared]) -> Table:
    """Return the courses of each target beside each other."""
    table = plain("target", "course", "instance-hours", "violated", "short minutes", "covered", "missed")
    for column in table.columns[2:]:
        column.justify = "right"
    for each in found:
        rows = [("as it was", each.was), ("Tidegate's floors", each.floors), ("with its policies", each.native)]
        for index, (word, figures) in enumerate(rows):
            table.add_row(
                "" if index else each.target.resource_id,
                word,
                f"{figures.instance_hours:,.1f}",
                "-" if figures.violated_share is None else f"{figures.violated_share:.2%}",
                "-" if figures.short_minutes is None else str(figures.short_minutes),
                "-" if each.covered is None or index != 1 else str(each.covered),
                "-" if each.missed is None or index != len(rows) - 1 else str(each.missed),
            )
    return table


def lines_of(found: Sequence[Compared]) -> Iterator[str]:
    """Yield over what time, the verdicts, and what is not known."""
    for each in found:
        when = f"{each.since:%Y-%m-%dT%H:%MZ} to {each.until:%Y-%m-%dT%H:%MZ}"
        unknown = f", {each.unknown} minutes without metrics left out" if each.unknown else ""
        yield f"{each.target.resource_id}: {each.decisions} shadow decisions, {when}{unknown}."
        yield from (f"  {note}" for note in each.notes)
    yield from map(verdict, found)
    if found:
        yield UNKNOWABLE
