"""`tidegate shadow-report`: recorded shadow decisions beside what really ran and what the load needed.

A shadow knows the floors that Tidegate would have held, not the counts that would have come of them, for native
policies run under the floors. So its course is told as a range: the floors alone, and the floors with the policies
of its profile. Tracking of requests or of a backlog is played on the same load (`simulator.baselines`); where policies
follow anything else they are taken to have held what ran, as those that stand did. Needs, violations and late items:
`simulator.scores` (algorithms 11).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cli.cloudwatch_history import KEPT, MINUTE
from cli.shadow_record import SETTLED, Shadowed, Watched, by_the_minute
from core.model import Mode
from core.policy import parse_fleet
from core.policy_scaling import TargetTracking
from core.reconcile import as_measured
from simulator import baselines
from simulator.baselines.aws import guided_above
from simulator.cases import Course
from simulator.cases import Mode as LoadMode
from simulator.scores import harmed, score

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from cli.decisions import Recorded
    from cli.shadow_record import Counts, Seen
    from cli.stack import DeployedStack
    from core.model import ScalableTarget
    from core.policy import Profile
    from simulator.cases import Case

ENOUGH = timedelta(days=1)
"""A load that was watched for less says little of the next day."""

HELD = "Its policies are taken to have held what ran: what they would have asked of other counts is not known."
LITTLE = 0.02
"""Share of the instance-hours within which two courses cost the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one course comes to."""

    instance_hours: float
    violated_share: float | None
    """Of the requests, in minutes with more load than ready instances serve; of a queue's items, those late.

    None where the need is not known.
    """

    short_minutes: int | None
    """Minutes with less than was needed; of a queue, at whose end items were overdue."""

    def as_json(self) -> dict[str, float | int | None]:
        """Return it as `--json` prints it."""
        share = None if self.violated_share is None else round(self.violated_share, 6)
        return {
            "instance_hours": round(self.instance_hours, 2),
            "violated_share": share,
            "short_minutes": self.short_minutes,
        }


class Wakes(NamedTuple):
    """How an endpoint that was at zero was woken by items that waited: until then both courses are the same."""

    minutes: tuple[int, ...]
    """By which Tidegate's first instance would have served earlier; negative if later, and then by so much at least."""

    def as_json(self) -> dict[str, int]:
        """Return it as `--json` prints it."""
        earlier, later = self.earlier, self.later
        return {
            "count": len(self.minutes),
            "earlier": len(earlier),
            "earlier_minutes": sum(earlier),
            "later": len(later),
            "later_minutes": -sum(later),
        }

    @property
    def earlier(self) -> list[int]:
        """Those that came before what ran."""
        return [each for each in self.minutes if each > 0]

    @property
    def later(self) -> list[int]:
        """Those that came after it."""
        return [each for each in self.minutes if each < 0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One target, as it was and as Tidegate would have held it."""

    target: ScalableTarget
    profile: str
    since: datetime
    until: datetime
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

    wakes: Wakes | None
    """Of an asynchronous endpoint."""

    notes: tuple[str, ...]
    seen: Seen
    shadow: Shadowed
    decisions: int
    said: tuple[Recorded, ...]
    """Those that wished other bounds than the one before: a week of all takes 200 MB."""

    courses: tuple[Course, Course]
    """As it was, and Tidegate with the native policies."""

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
        """Return it as `--json` prints it, but for the verdict."""
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
            "wakes": self.wakes and self.wakes.as_json(),
            "ready": self.ready,
            "notes": list(self.notes),
        }


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
    memories = stack.ports.store.memories(list(targets))
    for target in targets:
        entry = fleet.targets.get(target)
        name = entry.profile if entry else roster[target].profile
        profile = fleet.profiles.get(name)
        if profile is None:
            yield f"{target.resource_id}: profile {name} is not in the document in force"
        elif Mode.SHADOW not in {stack.mode, profile.mode}:
            yield f"{target.resource_id}: profile {name} is active, it is no shadow; `tidegate status` shows it"
        else:
            memory = memories[target]
            measured = as_measured(profile, memory).started(memory.starts)
            watched = Watched(target=target, name=name, profile=measured, memory=memory, stack=stack)
            until = (now - SETTLED).replace(second=0, microsecond=0)  # passes and people come some seconds later
            yield _compared(watched, max(since, now - KEPT), until)


def _compared(watched: Watched, since: datetime, until: datetime) -> Compared | str:
    name, said = watched.target.resource_id, watched.decisions(since, until)
    begin = max(said[0].at if said else until, since).replace(second=0, microsecond=0)
    if until - begin < MINUTE:
        return f"{name}: no shadow decision is recorded that is old enough for metrics to know its minute"
    shadow = by_the_minute(said, begin, (until - begin) // MINUTE)
    seen = watched.seen(begin, shadow)
    if seen is None:
        return f"{name}: CloudWatch knows no minute of its load since {begin:%Y-%m-%dT%H:%MZ}"
    queued, known = watched.profile.queued, seen.known
    was = _course_of("as it was", seen.was, seen.was)
    floor = np.pad(shadow.floor, (0, len(known) - len(shadow.floor)), mode="edge")
    floors = _course(floor, watched.delay, int(was.ready[0]))
    played = _played(watched.profile, seen, shadow, floors)
    native = played or _over(floors, was.ready, was.billed)
    short, ours, best = (harmed(seen.case, course.ready)[known] > 0 for course in (was, floors, native))
    return Compared(
        target=watched.target,
        profile=watched.name,
        since=begin,
        until=until,
        minutes=int(known.sum()),
        unknown=len(shadow.floor) - int(known.sum()),
        was=_figures(seen, was),
        floors=_figures(replace(seen, sized=seen.sized and not queued), floors),
        native=_figures(seen, native),
        covered=int((short & ~ours).sum()) if seen.sized and not queued else None,
        missed=int((~short & best).sum()) if seen.sized else None,
        wakes=_wakes(seen, shadow.floor) if queued else None,
        notes=seen.notes if played else (*seen.notes, HELD),
        seen=seen,
        shadow=shadow,
        decisions=len(said),
        said=tuple(said[0:1] + [b for a, b in pairwise(said) if _wish(a) != _wish(b)]),
        courses=(was, native),
    )


def _wish(said: Recorded) -> object:
    return said.document["envelope"]


def _course(floor: Counts, delay: int, first: int) -> Course:
    """Return what floors alone come to: an instance serves `delay` minutes after its order, and is paid from it on.

    What goes goes at once. What ran at the beginning is taken to serve.
    """
    before = np.full(delay, max(first, int(floor[0])), dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([before, floor]), delay + 1)
    return _course_of("floors", windows.min(axis=1), floor)


def _course_of(policy: str, ready: Counts, billed: Counts) -> Course:
    return Course(policy=policy, knob="", ready=ready, billed=billed, orders=np.flatnonzero(np.diff(billed)) + 1)


def _played(profile: Profile, seen: Seen, shadow: Shadowed, floors: Course) -> Course | None:
    """Return the floors with the one tracking that runs under them, of requests or of a backlog.

    None where it is not the only policy: what CPU and its like would have asked for depends on the count.
    """
    match profile.native_policies:
        case (TargetTracking(metric=metric, target=target),) if seen.sized:
            pass
        case _:
            return None
    if metric == profile.request_metric:
        return _tracked(seen.case, shadow, floors, target / seen.case.capacity)
    if metric == "backlog_per_instance" and target >= 1:
        wake_after = profile.wake_after // MINUTE
        return guided_above(seen.case, f"{target}", floors.billed.tolist(), int(seen.was[0]), wake_after)
    return None


def _tracked(case: Case, shadow: Shadowed, floors: Course, share: float) -> Course:
    """Return the floors with the target tracking that runs under them; where nothing was needed above, it is cut."""
    native = baselines.run("aas-target-tracking", f"{share:.4f}", case)
    least = np.where(np.isnan(shadow.cut), np.inf, np.maximum(shadow.cut, floors.billed))
    return _over(floors, np.minimum(native.ready, least), np.minimum(native.billed, least))


def _over(floors: Course, ready: NDArray[Any], billed: NDArray[Any]) -> Course:
    """Return the larger of floors and another course in each minute."""
    paid = np.maximum(floors.billed, billed).astype(np.int64)
    return replace(floors, ready=np.minimum(np.maximum(floors.ready, ready), paid).astype(np.int64), billed=paid)


def _figures(seen: Seen, course: Course) -> Figures:
    """Score the known minutes; of a queue, every item that came in them."""
    case, known = seen.case, seen.known
    paid = replace(course, billed=np.maximum(course.billed, course.ready))
    hours = float(paid.billed[known].sum() / 60)
    if not seen.sized:
        return Figures(instance_hours=hours, violated_share=None, short_minutes=None)
    bad = harmed(case, course.ready)[known]
    judged = score(case, paid, paid).queue if case.mode is LoadMode.ASYNC else None
    share = judged.late_share if judged else float(bad.sum() / max(1, case.requests[known].sum()))
    return Figures(instance_hours=hours, violated_share=share, short_minutes=int((bad > 0).sum()))


def _wakes(seen: Seen, floor: Counts) -> Wakes:
    """Compare when the first instance came that items waited for at zero; what is not over is left out."""
    running, asleep = seen.was[: len(floor)] > 0, (seen.was == 0) & (seen.demand > 0)
    found = []
    for before in np.flatnonzero(asleep[1 : len(floor)] & ~asleep[: len(floor) - 1]).tolist():
        begin = before + 1
        served = begin + int(np.argmax(running[begin:]))
        if running[before] or not running[served]:
            continue
        unwanted = np.flatnonzero(floor[: served + 1] == 0)
        ordered = int(unwanted[-1]) + 1 if unwanted.size else 0
        found.append(served - max(begin, ordered + seen.case.provisioning_from_zero))
    return Wakes(tuple(found))
