"""What becomes of it when the world is not as in the other tables: one thing is changed at a time, on a few traces.

Each row of `ROWS` says what is changed, on which traces, and which stretches are judged. It is played by Tidegate with
its default and by target tracking with a target of 0.5, on the same minutes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from bench.figures import figure, head, row
from simulator.baselines import run
from simulator.cases import DAY, DEFAULT, WARMUP, Case, Course, case_of, trace_name
from simulator.judge import joining
from simulator.replay import replay
from simulator.scores import Score, score
from simulator.workload import RealtimeWorkload

HOUR = 60
C05, C31, C48, C61 = "servegen_small_c05", "servegen_small_c31", "servegen_large_c48", "servegen_large_c61"
DAILY_AND_SURPRISE = (C31, C61)
LOST = 0.12
"""Of the requests of a storm, in the mean over all, at most this share may be more than what is ready serves."""

EVENT = 8 * DAY
"""What happens on one day, happens on this one, the second that is judged."""

OUTAGE = 90
OUTAGES = (EVENT + 10 * HOUR, EVENT + 3 * DAY + 18 * HOUR)
STORM = "storm"
STORMY = 30
"""Minutes after an outage that are judged; tries again get fewer by e each `FORGOTTEN` minutes."""

FORGOTTEN = 15

Part = tuple[int, int]
"""Minutes of a case, from and until before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing that is not as in the other tables."""

    traces: tuple[str, ...] = DAILY_AND_SURPRISE
    change: Callable[[Case], Case] = lambda case: case
    profile: Callable[[Case], Mapping[str, Any]] = lambda _: {}
    """Fields of the policy file that Tidegate plays under, where they differ from the case's own."""

    target: str = "0.5"
    """Of target tracking, as a share of what an instance really serves."""

    late: bool = True
    """Whether Tidegate joins a day before the judged part, as in the other tables; else it is there from the start.

    What runs until it joins is enough for all, so it hides no demand.
    """

    parts: Mapping[str, Part] = field(default_factory=dict)
    """What is judged, by what it is called; all after the warm-up if nothing is said."""


def _stated(share: float, *, learned: bool = False) -> Callable[[Case], Mapping[str, Any]]:
    """State another capacity than the true one; it is learned where an objective for the latency is stated, too."""

    def profile(case: Case) -> Mapping[str, Any]:
        known = RealtimeWorkload(per_minute_requests=[], capacity_per_instance=case.capacity).latency_objective
        latency = {"latency_p95": f"{round(known.total_seconds() * 1000)}ms"} if learned else {}
        return {"objectives": {"requests_per_instance": share * case.capacity, **latency}}

    return profile


def _shifted(case: Case) -> Case:
    """From noon of the day of the event on there are 1.8 times as many requests."""
    risen = case.requests.copy()
    risen[EVENT + DAY // 2 :] = np.rint(1.8 * risen[EVENT + DAY // 2 :])
    return replace(case, requests=risen)


def _stormy(case: Case) -> Case:
    """Nothing arrives for 90 minutes, twice; then twice the usual load, which falls back to it as tries again end."""
    stormy, again = case.requests.copy(), np.exp(-np.arange(OUTAGE) / FORGOTTEN)
    for begin in OUTAGES:
        after = slice(begin + OUTAGE, begin + 2 * OUTAGE)
        stormy[begin : begin + OUTAGE] = 0
        stormy[after] = np.rint(stormy[after] * (1 + again[: len(stormy[after])]))
    return replace(case, requests=stormy)


def _in_berlin(case: Case) -> Case:
    """The days are those of clocks in Berlin; at two o'clock on the day of the event (30 March) they skip an hour."""
    skipped = EVENT + 2 * HOUR
    requests = np.delete(case.requests, slice(skipped, skipped + HOUR))
    return replace(case, start=datetime(2025, 3, 21, 23, tzinfo=UTC), requests=requests)


def _new(case: Case) -> Case:
    return replace(case, requests=case.requests[: 5 * DAY], warmup=0)


ROWS: Mapping[str, Row] = {
    "starts take 3 minutes": Row(change=lambda case: replace(case, provisioning=3)),
    "starts take 10 minutes": Row(change=lambda case: replace(case, provisioning=10)),
    "metrics are late by 0 minutes": Row(change=lambda case: replace(case, lag=0), traces=(C31,)),
    "metrics are late by 1 minute": Row(change=lambda case: replace(case, lag=1), traces=(C31,)),
    "metrics are late by 3 minutes": Row(change=lambda case: replace(case, lag=3), traces=(C31,)),
    "metrics are late by 4 minutes": Row(change=lambda case: replace(case, lag=4), traces=(C31,)),
    "4 instances at the peak": Row(change=lambda case: replace(case, capacity=10 / 4 * case.capacity)),
    "25 instances at the peak": Row(change=lambda case: replace(case, capacity=10 / 25 * case.capacity)),
    "demand above 1.05 of capacity is in no metric": Row(change=lambda case: replace(case, hidden=True), late=False),
    "capacity is stated 20% too high": Row(profile=_stated(1.2), target="0.6", traces=(C31,)),
    "capacity is stated 20% too high, and learned": Row(
        profile=_stated(1.2, learned=True), late=False, target="0.6", traces=(C31,)
    ),
    "capacity is stated 20% too low": Row(profile=_stated(0.8), target="0.4", traces=(C31,)),
    "capacity is stated 20% too low, and learned": Row(
        profile=_stated(0.8, learned=True), late=False, target="0.4", traces=(C31,)
    ),
    "1.8 times the load from a noon on": Row(
        change=_shifted,
        traces=(C05, C31),
        parts={"that day": (EVENT, EVENT + DAY), "the day after": (EVENT + DAY, EVENT + 2 * DAY)},
    ),
    "nothing, on the same days": Row(
        traces=(C05, C31),
        parts={"that day": (EVENT, EVENT + DAY), "the day after": (EVENT + DAY, EVENT + 2 * DAY)},
    ),
    "clocks skip an hour, `timezone` stated": Row(
        change=_in_berlin,
        profile=lambda _: {"timezone": "Europe/Berlin"},
        traces=(C31,),
        parts={"3 days after": (EVENT + 2 * HOUR, EVENT + 3 * DAY)},
    ),
    "clocks skip an hour, `timezone` not stated": Row(
        change=_in_berlin, traces=(C31,), parts={"3 days after": (EVENT + 2 * HOUR, EVENT + 3 * DAY)}
    ),
    "two outages of 90 minutes, storms after them": Row(
        change=_stormy,
        traces=(C05, C31, C48),
        parts={
            "all": (WARMUP, EVENT + 4 * DAY),
            **{f"{STORM} {i}": (at + OUTAGE, at + OUTAGE + STORMY) for i, at in enumerate(OUTAGES, 1)},
        },
    ),
    "a new endpoint": Row(
        change=_new,
        traces=(C05, C31),
        parts={f"day {day + 1}": (day * DAY, (day + 1) * DAY) for day in range(5)},
    ),
}
WHAT_ROWS_SAY = """
One thing changed at a time. Both columns are played on the same minutes: Tidegate's `balanced`, told nothing of the
change unless the row says so, and target tracking at 0.5 of what is stated. In an outage nothing arrives for 90
minutes, once from 10:00 and once from 18:00 three days later. Then so many try again that the load is twice the usual
at first, and falls back to it by a factor of e each 15 minutes; the first 30 minutes are the storm. Lost are the
requests of each minute beyond what is ready; violated, as everywhere, are all of such a minute.
""".strip().splitlines()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A row on one of its traces; small enough to be handed to another process."""

    what: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one stretch of a trial was worth."""

    what: str
    part: str
    ours: Score
    plain: Score
    lost: tuple[float, float] | None = None
    """Of all requests, those beyond what was ready, of ours and of the plain one."""

    def rows(self) -> list[dict[str, Any]]:
        """Return two of `robustness` in `make bench JSON=FILE`."""
        lost = self.lost or (None, None)
        return [
            {"what": self.what, "part": self.part, **score.row(), "lost_share": share}
            for score, share in zip((self.ours, self.plain), lost, strict=True)
        ]

    def cells(self) -> list[str]:
        """Return what both columns show."""
        told = [str(figure(score)) for score in (self.ours, self.plain)]
        if self.lost is None or not self.part.startswith(STORM):
            return told
        return [f"{said}, {share:.1%} lost" for said, share in zip(told, self.lost, strict=True)]


def trials(folder: Path) -> list[Trial]:
    """Return what is played of the traces in a folder."""
    found = {trace_name(path): path for path in sorted(folder.glob("*.csv*"))}
    return [Trial(what=what, path=found[name]) for what, each in ROWS.items() for name in each.traces if name in found]


def play_all(wanted: Sequence[Trial], workers: int = 2) -> list[Outcome]:
    """Play trials side by side; figures do not depend on it."""
    with ProcessPoolExecutor(max_workers=workers) as pool:
        return [outcome for outcomes in pool.map(play, wanted) for outcome in outcomes]


def play(trial: Trial) -> list[Outcome]:
    """Let both play a trial, until the last minute that is judged, and judge each part that the trace covers."""
    what = ROWS[trial.what]
    whole = what.change(case_of(trial.path))
    length = len(whole.requests)
    parts = {name: part for name, part in what.parts.items() if part[1] <= length}
    if not what.parts:
        parts = {"all": (whole.warmup, length)}
    if not parts:
        return []
    case = _until(whole, max(end for _, end in parts.values()))
    ours = replay(case, what.profile(case), joins=joining(case) if what.late else 0).course
    plain = run("aas-target-tracking", what.target, case)
    return [outcome(trial.what, name, part, case, (ours, plain)) for name, part in parts.items()]


def outcome(what: str, name: str, part: Part, case: Case, courses: tuple[Course, Course]) -> Outcome:
    """Judge a part of both courses."""
    load = case.requests[slice(*part)]
    beyond = (np.maximum(load - course.ready[slice(*part)] * case.capacity, 0).sum() for course in courses)
    ours, plain = (judged(case, course, part) for course in courses)
    first, second = (round(float(each / max(1, load.sum())), 6) for each in beyond)
    return Outcome(what=what, part=name, ours=ours, plain=plain, lost=(first, second))


def _until(case: Case, end: int) -> Case:
    return replace(case, requests=case.requests[:end])


def judged(case: Case, course: Course, part: Part) -> Score:
    """Return what a part of a course is worth, as if nothing else had been judged."""
    first, end = part
    kept = replace(
        course, ready=course.ready[:end], billed=course.billed[:end], orders=course.orders[course.orders < end]
    )
    return score(replace(_until(case, end), warmup=first), kept)


def summary(outcomes: Sequence[Outcome], unchanged: Iterable[Mapping[tuple[str, str], Score]]) -> Iterable[str]:
    """Yield the section of docs/benchmarks.md; nothing if nothing of it was played.

    Args:
        outcomes: in the order of `ROWS`.
        unchanged: scores of the other tables, by policy and knob; those of the traces here are shown beside.
    """
    if not outcomes:
        return
    names = {each.ours.trace for each in outcomes}
    both = [(trace["tidegate", *DEFAULT], trace["aas-target-tracking", "0.5"]) for trace in unchanged]
    known = [Outcome(what="nothing, as above", part="all", ours=o, plain=p) for o, p in both if o.trace in names]
    yield from ("## Robustness", "", *WHAT_ROWS_SAY, "", *head(["changed", "trace", "judged", "Tidegate", "AAS 0.5"]))
    for each in (*known, *outcomes):
        yield row([each.what, each.ours.trace, each.part, *each.cells()])
    yield ""
    storms = [each.lost for each in outcomes if each.lost and each.part.startswith(STORM)]
    if storms:
        lost, natively = map(fmean, zip(*storms, strict=True))
        said = "met" if lost <= LOST else "missed"
        yield f"Lost of a storm's requests, mean: {lost:.1%}, AAS 0.5 {natively:.1%}. Goal {LOST:.0%}: {said}."
        yield ""
