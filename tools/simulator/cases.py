"""What is judged: one load on one endpoint (`Case`), and what a policy made of it (`Course`).

All series have one value a minute, from `Case.start` on. Every policy, the clairvoyant and Tidegate itself play the
same case and answer with a course; `simulator.scores` says what the course is worth. `case_of` makes a case of a trace,
`standing` lists what the bench plays of a folder of traces.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from simulator.traces import MINUTE, MinuteTrace, TraceError, has_work, read_trace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from numpy.typing import NDArray

DAY = 24 * 60
WARMUP = 7 * DAY
LONGEST_DAYS = 28
PEAK_QUANTILE = 0.995
DRAIN = 60
"""Minutes of silence, or twice the objective if that is more, that a queue is played after its last arrival.

So all can be drained, and the leaving of the instances is paid for."""

HIDDEN_ABOVE = 1.05
"""Share of capacity that no metric exceeds where demand is hidden (algorithms 7)."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "daily": ("servegen_small_c05", "servegen_small_c31", "servegen_large_c48", "nab_nyc_taxi"),
    "trend": ("worldcup98_jun",),
    "surprise": ("nab_tweets_amzn", "nab_elb_requests", "servegen_large_c61"),
    "sparse": ("servegen_small_c20", "servegen_large_c133", "servegen_large_c149", "servegen_small_c13"),
    "async": (
        "servegen_large_c61",
        "servegen_large_c48",
        "servegen_large_c133",
        "azure_fn2019_r360",
        "azure_llm2023_code",
        "mooncake_conversation",
    ),
    "window": ("servegen_large_c149", "servegen_small_c20", "servegen_small_c13"),
}
"""The shipped traces by what they show. The first four groups are played in real time, the others in their own mode."""

KNOBS = ("economy", "balanced", "strict", "critical")
"""Positions of Tidegate's own knob: each dearer and safer than the one before."""

DEFAULT = KNOBS[1:2]

COARSE = ("daily", "surprise", "sparse")
"""Groups of traces that have no count for each minute."""

DRAWS = 4
"""Of the noise on interpolated minutes: one draw violates a third less than the next."""

OTHERS = "other"
"""The group of a trace that is in none of `GROUPS`."""


class Mode(StrEnum):
    """How the load meets the endpoint."""

    REALTIME = "realtime"
    ASYNC = "async"
    WINDOW = "window"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One load on one endpoint, and the clockwork of AWS around it (algorithms 1 and 11)."""

    trace: str
    mode: Mode
    start: datetime
    requests: NDArray[np.int64]
    """Arrivals of each minute."""

    capacity: float
    """Requests a minute one instance serves within its objective (`c`); of a queue, items it finishes (`mu`)."""

    work_seconds: NDArray[np.float64] | None = None
    """Seconds of one slot that the arrivals of each minute need, together. Queues only."""

    concurrency: int = 1
    """Slots of an instance. Queues only."""

    objective: int = 15
    """Minutes from arrival to result. Queues only."""

    ttl: int = 6 * 60
    """Minutes after which a request expires: `RequestTTLSeconds`, at most 6 hours (facts 5). Queues only."""

    warmup: int = WARMUP
    """Minutes at the beginning that are played and not judged."""

    minimum: int = 1
    maximum: int = 100
    provisioning: int = 6
    """Minutes from an order until the instances serve (`D`)."""

    provisioning_from_zero: int = 6
    """The same where no instance runs (`D0`)."""

    removal: int = 1
    """Minutes from the order to scale in until the instances are gone and no longer paid (`Din`)."""

    lag: int = 2
    """Minutes from the end of a minute until its sum can be read (`l`)."""

    hidden: bool = False
    """Whether metrics show what instances can do and not what is asked of them (algorithms 7). Real-time only."""

    @property
    def judged(self) -> slice:
        """The minutes after the warm-up; figures count these alone."""
        return slice(self.warmup, len(self.requests))

    @property
    def judged_minutes(self) -> int:
        """How many they are."""
        return len(self.requests) - self.warmup

    @property
    def judged_part(self) -> str:
        """What is judged, in words."""
        first, end = self.start + self.warmup * MINUTE, self.start + len(self.requests) * MINUTE
        before = f" after {_span(self.warmup)} of warm-up" if self.warmup else ", no warm-up"
        return f"{first:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} ({_span(self.judged_minutes)}){before}"

    def first_count(self, minutes: int = 1) -> int:
        """Return what runs at the beginning under every policy: what so many minutes need, of a queue the minimum."""
        need = 0 if self.mode is Mode.ASYNC else int(self.needed[: max(1, minutes)].max())
        return min(max(need, self.minimum), self.maximum)

    @property
    def needed(self) -> NDArray[np.int64]:
        """Instances without which a minute is overloaded, of the load alone (real-time): smallest n with n c >= load.

        Rounded at 1e-9 instances, so that a load of exactly n c needs n.
        """
        return np.ceil(np.round(self.requests / self.capacity, 9)).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What one policy did in one case."""

    policy: str
    knob: str
    ready: NDArray[np.int64]
    """Instances that serve during each minute."""

    billed: NDArray[np.int64]
    """Instances paid in each minute: from the order until they are gone."""

    orders: NDArray[np.int64]
    """The minutes in which another capacity was asked for, ascending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How the endpoint of a queue is; arrivals and their work are as many times as it has slots."""

    objective: int
    provisioning: int
    concurrency: int

    def of(self, case: Case) -> Case:
        """The case in this setting: a start from zero takes 2 minutes more, requests expire at twice the objective.

        A day of warm-up is enough for a queue, of which only the service rate is remembered.
        """
        skipped = max(0, case.warmup - DAY)
        work = case.work_seconds if case.work_seconds is not None else np.zeros(len(case.requests))
        return replace(
            case,
            start=case.start + skipped * MINUTE,
            requests=case.requests[skipped:] * self.concurrency,
            work_seconds=work[skipped:] * self.concurrency,
            capacity=case.capacity * self.concurrency,
            concurrency=self.concurrency,
            ttl=2 * self.objective,
            warmup=case.warmup - skipped,
            provisioning=self.provisioning,
            provisioning_from_zero=self.provisioning + 2,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A case of the standing bench that is not read yet; small enough to be handed to another process."""

    path: Path
    mode: Mode
    group: str
    setting: Setting | None = None
    """Of a queue, where it is not the one of all."""

    knobs: tuple[str, ...] = DEFAULT
    """Positions of Tidegate's own knob that are played."""

    noisy: bool = False
    """As of `Scale`."""

    draw: int = 0
    """Which draw of the noise, from 0; one below `DRAWS`."""

    def case(self) -> Case:
        """Read and scale it. One setting for all, none of them chosen for a trace (algorithms 9 and 11)."""
        scale = Scale(noisy=self.noisy, seed=self.draw)
        case = case_of(
            self.path, self.mode, replace(scale, objective=self.setting.objective) if self.setting else scale
        )
        if self.mode is Mode.ASYNC:
            case = replace(case, minimum=0, provisioning_from_zero=8)
        return self.setting.of(case) if self.setting else case


def standing(folder: Path) -> tuple[Planned, ...]:
    """What is played of the traces in a folder: the shipped ones as `GROUPS` says, others as `OTHERS`.

    Others are played in real time and, where the file has work_seconds, as a queue too.
    """
    found = {trace_name(path): path for path in sorted(folder.iterdir()) if path.name.endswith((".csv", ".csv.gz"))}
    if not found:
        raise TraceError(f"{folder}: no traces (*.csv, *.csv.gz) in this folder")
    listed = [(group, name) for group, names in GROUPS.items() for name in names if name in found]
    known = {name for _, name in listed}
    planned = list[Planned]()
    for group, name in listed:
        mode = _mode(group)
        knobs = KNOBS if mode is Mode.REALTIME else DEFAULT
        planned.append(Planned(path=found[name], mode=mode, group=group, knobs=knobs))
    for name in sorted(found.keys() - known):
        modes = (Mode.REALTIME, Mode.ASYNC) if has_work(found[name]) else (Mode.REALTIME,)
        planned += [Planned(path=found[name], mode=mode, group=OTHERS) for mode in modes]
    return tuple(planned)


def interpolated(folder: Path) -> tuple[Planned, ...]:
    """The coarse ones of the shipped traces in a folder once more, in real time on the minutes of the prototype.

    Each draw of the noise is played. On daily ones with the whole knob, as goals at target tracking's violations are
    held against it.
    """
    return tuple(
        replace(each, knobs=KNOBS if each.group == "daily" else DEFAULT, noisy=True, draw=draw)
        for each in standing(folder)
        if each.group in COARSE
        for draw in range(DRAWS)
    )


def _mode(group: str) -> Mode:
    return Mode(group) if group in tuple(Mode) else Mode.REALTIME


def trace_name(path: Path) -> str:
    """The file's name without .csv or .csv.gz."""
    return path.name.removesuffix(".gz").removesuffix(".csv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How a trace is brought to the size of an endpoint."""

    peak_instances: float = 10.0
    """Instances that the peak needs, above 0. The peak is the 99.5th percentile of the minutes (algorithms 11)."""

    capacity: float | None = None
    """Requests a minute one instance serves, above 0; None takes what `peak_instances` gives. Not of queues."""

    concurrency: int = 1
    """Slots of an instance, from 1. Queues only."""

    objective: int = 15
    """Minutes from arrival to result. Queues only."""

    longest_days: int | None = LONGEST_DAYS
    """Of a longer trace its last days are taken; None takes all of it."""

    seed: int = 0
    """Of the minutes of a coarse trace, and of thinning."""

    noisy: bool = False
    """Whether the minutes of a coarse trace are the prototype's, interpolated with noise; else its counts are kept."""

    def __post_init__(self) -> None:
        lowest = {"concurrency": 1, "objective": 1, "longest_days": 1}
        faults = [
            f"{name} {value!r} must be {f'from {lowest[name]} on' if name in lowest else 'above 0'}"
            for name in ("peak_instances", "capacity", *lowest)
            if (value := getattr(self, name)) is not None and not lowest.get(name, 1e-9) <= value < np.inf
        ]
        if faults:
            raise ValueError("; ".join(faults))


def case_of(path: Path, mode: Mode = Mode.REALTIME, scale: Scale = Scale()) -> Case:
    """A case of a trace (see `read_trace`); bounds and timings are the defaults, to be replaced where others are meant.

    In real time and in windows the capacity of an instance is such that the peak needs `peak_instances`. A queue's
    follows from the work of its requests, 60 x concurrency seconds a minute; so its arrivals are thinned, each kept
    with one probability, and never multiplied (algorithms 9). The first 7 days warm up; of a trace shorter than 14 days
    the first half; one shorter than 2 days is judged whole.

    Raises:
        TraceError: the file is no trace, has no requests, or is to be a queue and has no work_seconds.
    """
    return case_from(trace_name(path), read_trace(path, seed=scale.seed, noisy=scale.noisy), mode, scale)


def case_from(name: str, trace: MinuteTrace, mode: Mode = Mode.REALTIME, scale: Scale = Scale()) -> Case:
    """A case of minutes that are read already; as `case_of`."""
    if scale.longest_days is not None:
        trace = _end_of(trace, scale.longest_days * DAY)
    if not trace.requests.any():
        raise TraceError(f"{name}: no requests from {trace.start:%Y-%m-%d %H:%M} on; nothing to judge")
    length = len(trace.requests)
    warmup = min(WARMUP, length // 2) if length >= 2 * DAY else 0
    if mode is Mode.ASYNC:
        trace = _queued(name, trace, scale)
        capacity = 60 * scale.concurrency * trace.requests.sum() / trace.work_seconds.sum()
    else:
        capacity = scale.capacity or _peak(trace.requests) / scale.peak_instances
    return Case(
        trace=name,
        mode=mode,
        start=trace.start,
        requests=trace.requests,
        capacity=float(capacity),
        work_seconds=trace.work_seconds if mode is Mode.ASYNC else None,
        concurrency=scale.concurrency,
        objective=scale.objective,
        warmup=warmup,
    )


def _end_of(trace: MinuteTrace, minutes: int) -> MinuteTrace:
    first = max(0, len(trace.requests) - minutes)
    return MinuteTrace(trace.start + first * MINUTE, trace.requests[first:], trace.work_seconds[first:])


def _peak(minutes: NDArray[np.int64] | NDArray[np.float64]) -> float:
    """The minute that 99.5 % do not exceed; of a trace that is almost always silent, the largest."""
    return float(np.quantile(minutes, PEAK_QUANTILE)) or float(minutes.max())


def _queued(name: str, trace: MinuteTrace, scale: Scale) -> MinuteTrace:
    """The trace thinned to its peak, and followed by silence."""
    if not trace.work_seconds.any():
        raise TraceError(f"{name}: a queue needs the field work_seconds, the service time that arrived")
    work, requests = trace.work_seconds, trace.requests
    each = np.divide(work, requests, out=np.zeros_like(work), where=requests > 0)
    keep = min(1.0, scale.peak_instances * 60 * scale.concurrency / _peak(work))
    kept = np.random.default_rng([scale.seed, 1]).binomial(requests, keep)
    if not (kept * each).any():
        raise TraceError(f"{name}: no work is left when thinned to a peak of {scale.peak_instances:g} instances")
    silence = (0, max(DRAIN, 2 * scale.objective))
    return MinuteTrace(trace.start, np.pad(kept, silence), np.pad(kept * each, silence))


def _span(minutes: int) -> str:
    return f"{minutes / DAY:g} days" if minutes >= 2 * DAY else f"{minutes} minutes"
