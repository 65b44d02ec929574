"""Every policy on every case: the clairvoyant, what else a user could choose, and Tidegate through its real core."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from core.fields import DAYS
from core.learning.windows import OPENING, Recurring, blocks, recurring, wall_clock
from simulator.baselines import BASELINES, run
from simulator.baselines.aws import scheduled
from simulator.cases import DAY, DEFAULT, Mode
from simulator.oracle import clairvoyant
from simulator.replay import Replayed, replay
from simulator.scores import Score, score, violations, waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from simulator.cases import Case, Course, Planned

    Counts = NDArray[np.int64]

UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one case: the scores of every policy, and the courses behind them."""

    case: Case
    scores: tuple[Score, ...]
    courses: Mapping[tuple[str, str], Course]
    replayed: Replayed
    """Tidegate's own run in its last position, with floors, targets and decisions."""

    def backlog(self, course: Course) -> Counts | None:
        """Requests that wait at the end of each minute; None where there is no queue."""
        return waiting(self.case, course.ready) if self.case.mode is Mode.ASYNC else None

    def violations(self, course: Course) -> Counts:
        """See `simulator.scores`."""
        return violations(self.case, course.ready)


def judge(  # noqa: PLR0913 - all but one have a default
    case: Case,
    profile: Mapping[str, Any] | None = None,
    *,
    knobs: Sequence[str] = DEFAULT,
    joins: int = 0,
    price: float | None = None,
    progress: Callable[[str, float], None] = lambda _policy, _share: None,
) -> Verdict:
    """Let every policy play a case.

    Args:
        case: load and clockwork.
        profile: fields of the policy file that Tidegate plays under, where they differ from the case's own.
        knobs: positions of Tidegate's own knob, each played.
        joins: as of `replay`.
        price: of an instance-hour, in any currency.
        progress: told which policy plays, and how far it is, 0 to 1.

    Raises:
        ConfigError: if the profile is none.
    """
    plays: dict[str, Mapping[str, Any] | None] = {
        knob: profile if knob in DEFAULT else {**(profile or {}), "forecast": knob} for knob in knobs
    }
    if profile is None and case.mode is Mode.WINDOW:
        plays = _under_windows(case)
    ideal = clairvoyant(case)
    courses = [ideal]
    for policy, baseline in BASELINES.items():
        if case.mode in baseline.modes:
            progress(policy, 0.0)
            courses += [run(policy, knob, case) for knob in baseline.knobs]
    if case.mode is Mode.WINDOW:
        courses.append(scheduled_jobs(case))
    length = len(case.requests)
    played = [
        replay(case, fields, knob=knob, joins=joins, progress=lambda minutes: progress("tidegate", minutes / length))
        for knob, fields in plays.items()
    ]
    courses += [each.course for each in played]
    return Verdict(
        case=case,
        scores=tuple(score(case, course, ideal, price_per_hour=price) for course in courses),
        courses={(course.policy, course.knob): course for course in courses},
        replayed=played[-1],
    )


def _under_windows(case: Case) -> dict[str, Mapping[str, Any] | None]:
    """Return what Tidegate plays under where the first days gave windows: those of a person, and those found."""
    found = [window for _, window in found_windows(case, case.warmup)]
    tracking = [
        {"type": "target_tracking", "metric": "requests_per_instance", "target": share * case.capacity}
        for share in (0.8, 0.92)
    ]
    return {
        "by-hand": {"windows": windows_of(case)},
        "found": {"windows": found},
        "found balanced": {"windows": found, "forecast": "balanced"},
        "found 0.8": {"windows": found, "policies": tracking[:1], "stabilization": "30m"},
        "found 0.92": {"windows": found, "policies": tracking[1:]},
    }


class Job(NamedTuple):
    """A job of the warm-up as a careful person knows it."""

    start: int
    """Minute of the day of its earliest start."""

    minutes: int
    """From then until its latest end."""

    instances: int
    """Its highest need."""


def known_jobs(case: Case) -> tuple[Job, ...]:
    """Return what came at about one time on most days of the warm-up."""
    loads, shown = case.requests[: case.warmup].tolist(), wall_clock(case.start, UTC)
    past = [(shown(block.start) % DAY, block) for block in blocks(loads, case.capacity)]
    found = []
    for job in recurring(loads, case.capacity, shown):
        own = [(start, block) for start, block in past if job.earliest <= start <= job.latest]
        end = max(start + block.end - block.start for start, block in own)
        most = max(int(case.needed[block.start : block.end].max()) for _, block in own)
        if most > case.minimum:
            found.append(Job(job.earliest, min(end - job.earliest, DAY), min(most, case.maximum)))
    return tuple(found)


def scheduled_jobs(case: Case) -> Course:
    """Play scheduled actions for the jobs, where `aas-scheduled` holds the peak of each hour."""
    daily = np.full(DAY, case.minimum)
    for job in known_jobs(case):
        minutes = np.arange(job.start, job.start + job.minutes) % DAY
        daily[minutes] = np.maximum(daily[minutes], job.instances)
    return replace(scheduled(case, "0.7", daily), knob="0.7 by job")


def windows_of(case: Case) -> list[dict[str, Any]]:
    """Return the batch windows that say the same as `scheduled_jobs`."""
    return [
        {
            "name": f"job-{job.start // 60:02d}{job.start % 60:02d}",
            "start": f"{job.start // 60:02d}:{job.start % 60:02d}",
            "duration": f"{job.minutes}m",
            "lead": "15m",
            "min_capacity": job.instances,
        }
        for job in known_jobs(case)
    ]


def found_windows(case: Case, seen: int, zone: ZoneInfo = UTC) -> list[tuple[Recurring, dict[str, Any]]]:
    """Return what recurs in the first minutes of a case, and the batch windows that say so (algorithms 10).

    A day of the week is left out if two or more of them are known and it came on none. Days and times are those of
    `zone`.
    """
    first = case.start.astimezone(zone)

    def named(day: int) -> str:
        return DAYS[(first.weekday() + day) % 7]

    found = []
    for job in recurring(case.requests[:seen].tolist(), case.capacity, wall_clock(first, zone)):
        if job.instances <= case.minimum:
            continue
        came = {named(day) for day in job.days}
        twice = {named(day) for day in range(7, job.known)}
        days = [day for day in DAYS if day in came or day not in twice]
        minutes = job.latest - job.earliest + OPENING  # until the load of the latest carries on by itself
        window = {
            "name": f"found-{job.earliest // 60:02d}{job.earliest % 60:02d}",
            "start": f"{job.earliest // 60:02d}:{job.earliest % 60:02d}",
            "duration": f"{minutes}m",
            **({"hand_over": f"{OPENING}m"} if minutes > OPENING else {}),
            "min_capacity": min(job.instances, case.maximum),
            **({} if zone == UTC else {"timezone": zone.key}),
            **({} if len(days) == len(DAYS) else {"days": days}),
        }
        found.append((job, window))
    return found


def judge_all(planned: Sequence[Planned], workers: int = 2) -> Iterator[tuple[Planned, tuple[Score, ...]]]:
    """Judge cases side by side, each in one process, and yield them as they are done; figures do not depend on it."""
    with ProcessPoolExecutor(max_workers=workers) as pool:
        running = {pool.submit(_scores, each): each for each in planned}
        for done in as_completed(running):
            yield running[done], done.result()


def _scores(planned: Planned) -> tuple[Score, ...]:
    case = planned.case()
    return judge(case, knobs=planned.knobs, joins=joining(case)).scores


def joining(case: Case) -> int:
    """Return when Tidegate joins a load whose past it reads from CloudWatch: a day before it is judged.

    What a queue remembers it has seen itself.
    """
    return 0 if case.mode is Mode.ASYNC else max(0, case.warmup - DAY)
