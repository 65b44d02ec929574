"""What a course is worth: cost beside the clairvoyant's, requests not served as promised, elasticity, changes.

Only the judged minutes of a case count. The definitions are those of algorithms 11; `docs/benchmarks-method.md` is
their page.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from core.learning.windows import OPENING, blocks
from simulator.cases import DAY, Mode
from simulator.oracle import clairvoyant, loose_bound
from simulator.queues import finished, need

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from simulator.cases import Case, Course

    Row = dict[str, str | int | float | None]

NEAR = 60
"""Minutes of the clock, between two blocks that can be the same job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elasticity:
    """SPEC RG elasticity, in percent (Herbst et al., "Ready for Rain?", SPEC-RG-2016-01, section on elasticity).

    With demand d and supply s of each of T minutes, in instances: `theta_u` = 100/T sum max(d - s, 0)/d and `theta_o` =
    100/T sum max(s - d, 0)/d say how much is missing or too much, relative to the demand; `tau_u`, `tau_o` are the
    shares of the time in which it is so. d is what the load needs and at least 1, as nothing can be related to 0; s is
    what serves.
    """

    theta_u: float
    theta_o: float
    tau_u: float
    tau_o: float

    @classmethod
    def of(cls, demand: NDArray[np.int64], supply: NDArray[np.int64]) -> Elasticity:
        """One value a minute each."""
        demand = np.maximum(demand, 1)
        missing, spare = np.maximum(demand - supply, 0), np.maximum(supply - demand, 0)
        return cls(
            theta_u=_percent(missing / demand),
            theta_o=_percent(spare / demand),
            tau_u=_percent(missing > 0),
            tau_o=_percent(spare > 0),
        )


def _percent(minutes: NDArray[np.float64] | NDArray[np.bool_]) -> float:
    return 100 * float(minutes.mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueScore:
    """What became of the requests of a queue that arrived in the judged minutes.

    A wait is counted in whole minutes, from the minute of arrival to that in which the request is done; what is not
    done at the end of the case has waited until then, and is late.
    """

    objective_seconds: int
    in_time: int
    late: int
    """Done after the objective, or never, but not expired."""

    expired: int
    """Older than `Case.ttl`. Here they are done all the same, so later ones wait a little longer than for real."""

    wait_p50_s: int
    wait_p95_s: int
    wait_max_s: int
    starts_from_zero: int
    bound_instance_hours: float
    """The loose bound of algorithms 9, which its figures are relative to."""

    work_instance_hours: float
    """What the work that arrived takes, without a start and a moment of idling."""

    @property
    def late_share(self) -> float:
        """Of all requests, those that are late or expired."""
        return (self.late + self.expired) / max(1, self.in_time + self.late + self.expired)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one course of one case is worth."""

    trace: str
    mode: Mode
    policy: str
    knob: str
    requests: int
    violated: int
    """All requests of the minutes whose load is more than the ready instances serve; none of a queue."""

    instance_hours: float
    """Paid: from the order until the instance is gone."""

    clairvoyant_instance_hours: float
    changes_per_day: float
    elasticity: Elasticity
    queue: QueueScore | None = None
    opening_violated_share: float | None = None
    """Of the requests in the first `OPENING` minutes of each block of load, those violated. Windows only."""

    resembling_violated_share: float | None = None
    """The same of those blocks that resemble history: one in the warm-up needed as much at about that time of day."""

    price_per_hour: float | None = None
    """Of an instance, in any currency."""

    @property
    def violated_share(self) -> float:
        """Of all requests, 0 to 1."""
        return self.violated / max(1, self.requests)

    @property
    def cost_ratio(self) -> float | None:
        """Instance-hours by the clairvoyant's; None where that needs none."""
        least = self.clairvoyant_instance_hours
        return self.instance_hours / least if least else None

    @property
    def cost(self) -> float | None:
        """What the instance-hours cost, if a price is known."""
        return None if self.price_per_hour is None else self.instance_hours * self.price_per_hour

    def row(self) -> Row:
        """One result of `make bench JSON=FILE`; queues add their own figures, a price adds `cost`."""
        row: Row = {
            "trace": self.trace,
            "mode": str(self.mode),
            "policy": self.policy,
            "knob": self.knob,
            "cost_ratio": self.cost_ratio,
            "violated_share": self.violated_share,
            "instance_hours": self.instance_hours,
            "clairvoyant_instance_hours": self.clairvoyant_instance_hours,
            "changes_per_day": self.changes_per_day,
            **asdict(self.elasticity),
            "requests": self.requests,
        }
        if self.cost is not None:
            row["cost"] = self.cost
        if self.opening_violated_share is not None:
            row["opening_violated_share"] = self.opening_violated_share
            row["resembling_violated_share"] = self.resembling_violated_share
        if self.queue is not None:
            row |= asdict(self.queue) | {"late_share": self.queue.late_share}
        return {name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()}


def together(scores: Sequence[Score]) -> Score:
    """What one policy is worth on several draws of one trace in real time, as if they were one long course."""
    each = [asdict(score.elasticity) for score in scores]
    return replace(
        scores[0],
        requests=sum(score.requests for score in scores),
        violated=sum(score.violated for score in scores),
        instance_hours=sum(score.instance_hours for score in scores),
        clairvoyant_instance_hours=sum(score.clairvoyant_instance_hours for score in scores),
        changes_per_day=fmean(score.changes_per_day for score in scores),
        elasticity=Elasticity(**{what: fmean(values[what] for values in each) for what in each[0]}),
    )


def score(case: Case, course: Course, best: Course | None = None, *, price_per_hour: float | None = None) -> Score:
    """What the course is worth in the case; `best` is the clairvoyant's, if it is known already.

    Raises:
        ValueError: the course is not one of this case, or pays less than what serves.
    """
    _check(case, course)
    best = best or clairvoyant(case)
    overloaded = case.needed > course.ready if case.mode is not Mode.ASYNC else np.zeros(len(case.requests), dtype=bool)
    orders = np.count_nonzero(course.orders >= case.warmup)
    openings = _openings(case, overloaded) if case.mode is Mode.WINDOW else {}
    return Score(
        trace=case.trace,
        mode=case.mode,
        policy=course.policy,
        knob=course.knob,
        requests=int(case.requests[case.judged].sum()),
        violated=int(case.requests[case.judged][overloaded[case.judged]].sum()),
        instance_hours=_hours(case, course),
        clairvoyant_instance_hours=_hours(case, best),
        changes_per_day=orders / (case.judged_minutes / DAY),
        elasticity=Elasticity.of(np.maximum(need(case), case.minimum)[case.judged], course.ready[case.judged]),
        queue=_queue_score(case, course) if case.mode is Mode.ASYNC else None,
        **openings,
        price_per_hour=price_per_hour,
    )


def _openings(case: Case, overloaded: NDArray[np.bool_]) -> dict[str, float]:
    found = [*blocks(case.requests.tolist(), case.capacity)]
    past = [block for block in found if block.start < case.warmup]
    first, alike = np.zeros(len(case.requests), dtype=bool), np.zeros(len(case.requests), dtype=bool)
    for block in found:
        if block.start >= case.warmup:
            minutes = slice(block.start, block.start + OPENING)
            apart = [abs((block.start - old.start + DAY // 2) % DAY - DAY // 2) for old in past]
            near = (old.instances for old, minutes_apart in zip(past, apart, strict=True) if minutes_apart <= NEAR)
            first[minutes] = True
            alike[minutes] = block.instances <= max(near, default=0)

    def share(of: NDArray[np.bool_]) -> float:
        return float(case.requests[of & overloaded].sum() / max(1, case.requests[of].sum()))

    return {"opening_violated_share": share(first), "resembling_violated_share": share(alike)}


def _check(case: Case, course: Course) -> None:
    lengths = {"ready": len(course.ready), "billed": len(course.billed), "requests": len(case.requests)}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{course.policy} on {case.trace}: one value a minute is expected of each, not {lengths}")
    if (unpaid := np.flatnonzero((course.billed < course.ready) | (course.ready < 0))).size:
        raise ValueError(
            f"{course.policy} on {case.trace}, minute {unpaid[0]}: ready {course.ready[unpaid[0]]} "
            f"must be from 0 to what is billed, {course.billed[unpaid[0]]}"
        )


def _hours(case: Case, course: Course) -> float:
    return float(course.billed[case.judged].sum() / 60)


def _queue_score(case: Case, course: Course) -> QueueScore:
    waits, counts = waited(case, course)
    order = np.argsort(waits, kind="stable")
    waits, upto = waits[order], np.cumsum(counts[order])
    total = int(upto[-1]) if upto.size else 0
    p50, p95, longest = (_ranked(waits, upto, share) for share in (0.5, 0.95, 1.0))
    in_time, unexpired = (int(counts[order][waits <= limit].sum()) for limit in (case.objective, case.ttl))
    woken = np.flatnonzero((course.ready[1:] > 0) & (course.ready[:-1] == 0)) + 1
    return QueueScore(
        objective_seconds=60 * case.objective,
        in_time=in_time,
        late=max(unexpired, in_time) - in_time,
        expired=total - max(unexpired, in_time),
        wait_p50_s=60 * p50,
        wait_p95_s=60 * p95,
        wait_max_s=60 * longest,
        starts_from_zero=int(np.count_nonzero(woken >= case.warmup)),
        bound_instance_hours=loose_bound(case) / 60,
        work_instance_hours=work_hours(case),
    )


def work_hours(case: Case) -> float:
    """Instance-hours that the work takes which arrived in the judged minutes; 0 where there is no queue."""
    work = case.work_seconds
    return 0.0 if work is None else float(work[case.judged].sum()) / (3600.0 * case.concurrency)


def _ranked(waits: NDArray[np.int64], upto: NDArray[np.int64], share: float) -> int:
    """The smallest wait that this share of the requests does not exceed; 0 where there is none."""
    return int(waits[np.searchsorted(upto, share * upto[-1])]) if upto.size else 0


def waited(case: Case, course: Course) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Minutes waited, and how many of the requests of the judged minutes did so; a wait may occur several times.

    Requests are done in the order of arrival, so they fall into stretches that arrive in one minute and are done in
    one; these are counted, not the requests. What is never done has waited one minute beyond the end, and beyond the
    objective.
    """
    arrived, done = np.cumsum(case.requests), finished(case, course.ready)
    upto = np.unique(np.concatenate([arrived, done]))  # the last request of each stretch, counted from 1
    upto = upto[upto > 0]
    begun, end = np.searchsorted(arrived, upto), np.searchsorted(done, upto)
    never = end == len(done)
    waits = np.where(never, np.maximum(end - begun, case.objective + 1), end - begun)
    counts = np.diff(upto, prepend=0)
    judged = begun >= case.warmup
    return waits[judged], counts[judged]


def waiting(case: Case, ready: NDArray[np.int64]) -> NDArray[np.int64]:
    """Requests of a queue that wait at the end of each minute."""
    return np.cumsum(case.requests) - finished(case, ready)


def harmed(case: Case, ready: NDArray[np.int64]) -> NDArray[np.int64]:
    """Requests of each minute that met too little capacity; of a queue, those overdue at its end."""
    if case.mode is not Mode.ASYNC:
        return np.where(case.needed > ready, case.requests, 0)
    overdue: NDArray[np.int64] = np.maximum(0, _due(case) - finished(case, ready))
    return overdue


def violations(case: Case, ready: NDArray[np.int64]) -> NDArray[np.int64]:
    """Requests of each minute that met too little capacity; of a queue, those that became late in it, each once."""
    if case.mode is not Mode.ASYNC:
        return harmed(case, ready)
    due = _due(case)
    late: NDArray[np.int64] = np.maximum(0, due - np.maximum(np.concatenate([[0], due[:-1]]), finished(case, ready)))
    return late


def _due(case: Case) -> NDArray[np.int64]:
    """Requests of a queue whose objective has ended by the end of each minute."""
    arrived = np.cumsum(case.requests)
    return np.concatenate([np.zeros(case.objective, np.int64), arrived])[: len(arrived)]
