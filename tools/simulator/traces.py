"""Request traces: `timestamp,requests[,work_seconds]` files to per-minute arrays."""

from __future__ import annotations

import csv
import gzip
import itertools
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class MinuteTrace:
    """Requests (whole) and work (seconds of one serving slot) that arrive in each minute from `start`."""

    start: datetime
    requests: NDArray[np.int64]
    work_seconds: NDArray[np.float64]

    def slice(self, start: datetime, hours: float) -> MinuteTrace:
        """The `hours` from `start`; raises ValueError where the trace does not cover them."""
        first, length = (start - self.start) // MINUTE, round(hours * 60)
        if first < 0 or first + length > len(self.requests):
            end = self.start + len(self.requests) * MINUTE
            raise ValueError(f"{hours} h from {start} lie outside the trace ({self.start} to {end})")
        part = slice(first, first + length)
        return MinuteTrace(start, self.requests[part], self.work_seconds[part])


def read_trace(path: Path, *, seed: int = 0, scale: float = 1.0) -> MinuteTrace:
    """Read a trace (also .gz) by the minute; `scale` multiplies its rates.

    Coarse traces are refined in one way: the rate is interpolated linearly between interval centres, and each
    interval's count is thrown onto its minutes with those weights (multinomial). That is Poisson noise given the sum,
    so every measured count is kept exactly. Equal seeds give equal minutes, whatever is sliced from them later. Work is
    spread like the requests that carry it. Files with one row a request are binned by the minute.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    times = [datetime.fromisoformat(row["timestamp"]) for row in rows]
    requests = np.array([float(row["requests"]) for row in rows])
    work = np.array([float(row.get("work_seconds") or 0.0) for row in rows])
    step = times[1] - times[0]
    if step < MINUTE or any(after - before != step for before, after in itertools.pairwise(times)):
        times, requests, work = _binned(times, requests, work)
        step = MINUTE
    if step % MINUTE:
        raise ValueError(f"{path.name}: an interval of {step} is not a whole number of minutes")
    length = step // MINUTE
    counts = np.rint(requests * scale).astype(np.int64)
    minutes = _refined(counts, length, np.random.default_rng(seed))
    mean_work = np.divide(work, requests, out=np.zeros_like(work), where=requests > 0)
    return MinuteTrace(times[0], minutes, minutes * np.repeat(mean_work, length))


def _refined(counts: NDArray[np.int64], length: int, rng: np.random.Generator) -> NDArray[np.int64]:
    if length == 1:
        return counts
    centres = np.arange(len(counts)) + 0.5
    moments = (np.arange(len(counts) * length) + 0.5) / length
    rates = np.interp(moments, centres, counts.astype(float)).reshape(len(counts), length)
    sums = rates.sum(axis=1, keepdims=True)
    weights = np.divide(rates, sums, out=np.full_like(rates, 1 / length), where=sums > 0)
    drawn: NDArray[np.int64] = rng.multinomial(counts, weights)
    return drawn.reshape(-1)


def _binned(
    times: list[datetime], requests: NDArray[np.float64], work: NDArray[np.float64]
) -> tuple[list[datetime], NDArray[np.float64], NDArray[np.float64]]:
    start = times[0].replace(second=0, microsecond=0)
    bins = np.array([(moment - start) // MINUTE for moment in times])
    return [start], np.bincount(bins, requests).astype(np.float64), np.bincount(bins, work).astype(np.float64)
