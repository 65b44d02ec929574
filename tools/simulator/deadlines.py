"""Work and a deadline: the days of a trace as queues that are full at one moment and are to be empty at another.

Each judged day's requests wait at 01:00, and its window knows how many they are. What an instance gets done is stated;
where it is slower than stated, only what is measured says so. Between the windows nothing runs.
"""

from __future__ import annotations

import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.cases import DAY, GROUPS, Case, Mode, case_of, trace_name
from simulator.queues import finished
from simulator.replay import replay

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Counts = NDArray[np.int64]

BEGIN = 60
"""Minute of the day at which the work is there."""

MAXIMUM = 50
HOURS, SLOWER = (1, 4), (0.0, 0.2)
"""From begin to deadline, and the share by which instances are slower than stated."""

LEAD = 15
"""Minutes ahead that a careful person's scheduled action runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One trace's days as work with a deadline."""

    path: Path
    hours: int
    slower: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What one policy made of the deadlines."""

    policy: str
    met: int
    least_margin: int | None
    """Minutes before the deadline at which the latest of those that were met was done."""

    instance_hours: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Deadlines of one job: how many there are, how many anybody could meet, and who met how many."""

    job: Job
    deadlines: int
    feasible: int
    """With `MAXIMUM` instances from the first minute on."""

    work_hours: float
    """Instance-hours of the work itself: nobody needs fewer."""

    kept: tuple[Kept, ...]

    def row(self) -> dict[str, Any]:
        """Return one of `deadlines` in `make bench JSON=FILE`."""
        said = asdict(self)
        job = said.pop("job")
        return {"trace": trace_name(self.job.path), "hours": job["hours"], "slower": job["slower"], **said}


def jobs(folder: Path) -> list[Job]:
    """Return what is played of the traces in a folder."""
    found = {trace_name(path): path for path in sorted(folder.glob("*.csv*"))}
    named = [found[name] for name in GROUPS[Mode.WINDOW] if name in found]
    return [Job(path=path, hours=hours, slower=slower) for path in named for hours in HOURS for slower in SLOWER]


def play_all(wanted: Sequence[Job], workers: int = 2) -> list[Outcome]:
    """Play jobs side by side; figures do not depend on it."""
    with ProcessPoolExecutor(max_workers=workers) as pool:
        return list(pool.map(play, wanted))


def play(job: Job) -> Outcome:
    """Let Tidegate and a scheduled action work off a trace's days."""
    trace = case_of(job.path, Mode.WINDOW)
    days = trace.requests.reshape(-1, DAY).sum(axis=1)
    past, volumes = days[: trace.warmup // DAY], days[trace.warmup // DAY :]
    case = _case(trace, volumes, job)
    minutes = 60 * job.hours
    ours = replay(case, _profile(case, volumes, trace.capacity, minutes)).course
    highest = min(MAXIMUM, math.ceil(past.max() / (trace.capacity * minutes)))
    moment = np.arange(len(case.requests)) % DAY
    held = highest * ((moment >= BEGIN) & (moment < BEGIN + minutes))
    paid = highest * ((moment >= BEGIN - LEAD) & (moment < BEGIN + minutes + case.removal))
    return Outcome(
        job=job,
        deadlines=int((volumes > 0).sum()),
        feasible=int(((volumes > 0) & (volumes <= MAXIMUM * case.capacity * minutes)).sum()),
        work_hours=float(volumes.sum() / case.capacity / 60),
        kept=(
            _kept("tidegate", case, ours.ready, ours.billed),
            _kept("aas-scheduled", case, held, paid),
        ),
    )


def _case(trace: Case, volumes: Counts, job: Job) -> Case:
    requests = np.zeros(len(volumes) * DAY, dtype=np.int64)
    requests[BEGIN::DAY] = volumes
    capacity = trace.capacity * (1 - job.slower)
    return Case(
        trace=trace.trace,
        mode=Mode.ASYNC,
        start=trace.start + timedelta(minutes=trace.warmup),
        requests=requests,
        capacity=capacity,
        work_seconds=60 * requests / capacity,
        objective=60 * job.hours,
        warmup=0,
        minimum=0,
        maximum=MAXIMUM,
        provisioning_from_zero=8,
    )


def _profile(case: Case, volumes: Counts, stated: float, minutes: int) -> dict[str, Any]:
    window = {
        "start": f"{BEGIN // 60:02d}:{BEGIN % 60:02d}",
        "finish_by": f"{(BEGIN + minutes) // 60:02d}:{(BEGIN + minutes) % 60:02d}",
    }
    first = case.start.date()
    windows = [
        {"name": f"day-{day}", "dates": [str(first + timedelta(days=day))], "items": int(items), **window}
        for day, items in enumerate(volumes)
        if items
    ]
    objectives = {"items_per_minute": stated, "drain_within": f"{minutes}m"}
    return {"kind": "batch", "serving": "async", "objectives": objectives, "windows": windows}


def _kept(policy: str, case: Case, ready: Counts, billed: Counts) -> Kept:
    done = finished(case, ready)
    margins = []
    for begun in np.flatnonzero(case.requests).tolist():
        deadline, upto = begun + case.objective, int(case.requests[: begun + 1].sum())
        if done[deadline - 1] >= upto:
            margins.append(deadline - 1 - int(np.searchsorted(done, upto)))
    least = min(margins, default=None)
    return Kept(policy=policy, met=len(margins), least_margin=least, instance_hours=float(billed.sum() / 60))
