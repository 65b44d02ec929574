"""Request traces: `timestamp,requests[,work_seconds]` files to per-minute arrays."""

from __future__ import annotations

import csv
import gzip
import itertools
import math
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

MINUTE = timedelta(minutes=1)
SHOWN_FAULTS = 5
LONGEST = timedelta(days=3660)
MOST = 1e12
"""In one row: as many as a window may have items, and few enough to be counted."""


class TraceError(ValueError):
    """A file that is no trace; the message names file, row, field and value."""


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


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    """Line in the file as an editor counts it."""

    time: datetime
    requests: float
    work_seconds: float


def read_trace(path: Path, *, seed: int = 0, scale: float = 1.0, noisy: bool = False) -> MinuteTrace:
    """Read a trace (also .gz) by the minute; `scale` multiplies its rates.

    Coarse traces are refined in one way: the rate is interpolated linearly between interval centres, and each
    interval's count is thrown onto its minutes with those weights (multinomial). That is Poisson noise given the sum,
    so every measured count is kept exactly. Equal seeds give equal minutes, whatever is sliced from them later. Work is
    spread like the requests that carry it. Files with one row a request, and intervals below a minute, are binned by
    the minute. A time without an offset is UTC. With `noisy` minutes of a coarse trace are made as the design's
    prototype made them (algorithms 11), where counts are those of the source only on average.

    Raises:
        TraceError: the file cannot be read, has no rows, a field is missing or out of range, or an interval is missing:
            what was not measured is not taken as zero.
    """
    rows = _rows(path)
    times = [row.time for row in rows]
    requests = np.array([row.requests for row in rows])
    work = np.array([row.work_seconds for row in rows])
    step = times[1] - times[0]
    uneven = next((at for at, (a, b) in enumerate(itertools.pairwise(times), 1) if b - a != step), None)
    if uneven is not None and (requests != 1).any():  # one row a request may come at any time
        gap, row = times[uneven] - times[uneven - 1], rows[uneven]
        raise TraceError(
            f"{path.name}, row {row.number}: timestamp {row.time.isoformat()} comes {gap} after the row before; "
            f"expected {step} as in the first rows: add what is missing, as 0 where it is known that nothing came "
            "(rows of one request each may come at any time)"
        )
    if step < MINUTE or uneven is not None:
        times, requests, work = _binned(times, requests, work)
        step = MINUTE
    if step % MINUTE:
        raise TraceError(f"{path.name}: an interval of {step} is not a whole number of minutes")
    length = step // MINUTE
    counts = np.rint(requests * scale).astype(np.int64)
    minutes = (_noisy if noisy else _refined)(counts, length, np.random.default_rng(seed))
    mean_work = np.divide(work, requests, out=np.zeros_like(work), where=requests > 0)
    start = times[0].replace(second=0, microsecond=0)  # an interval may be stamped within its minute
    return MinuteTrace(start, minutes, minutes * np.repeat(mean_work, length))


def has_work(path: Path) -> bool:
    """Whether the file says how much work its requests are."""
    with _opened(path) as file:
        return "work_seconds" in file.readline().strip().split(",")


def _opened(path: Path) -> IO[str]:
    opener = gzip.open if path.suffix == ".gz" else open
    return cast("IO[str]", opener(path, "rt", newline="", encoding="utf-8-sig"))


def _rows(path: Path) -> list[_Row]:
    """The rows of the file in order of time, at least two, each field in range."""
    rows, faults = list[_Row](), list[str]()
    try:
        with _opened(path) as file:
            reader = csv.DictReader(file)
            missing = {"timestamp", "requests"} - set(reader.fieldnames or ())
            if missing:
                found = ",".join(reader.fieldnames or ()) or "nothing"
                wanted = "timestamp,requests or timestamp,requests,work_seconds"
                raise TraceError(
                    f"{path.name}, row 1: no field {' and '.join(sorted(missing))} in {found!r}; expected {wanted}"
                )
            for fields in reader:
                number = reader.line_num
                try:
                    rows.append(_row(number, fields))
                except ValueError as error:
                    faults.append(f"{path.name}, row {number}: {error}")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        raise TraceError(f"{path.name}: cannot be read as CSV{' (gzip)' * (path.suffix == '.gz')}: {error}") from None
    faults += [
        f"{path.name}, row {after.number}: timestamp {after.time.isoformat()} lies before the row above it"
        for before, after in itertools.pairwise(rows)
        if after.time < before.time
    ]
    if faults:
        more = [f"and {len(faults) - SHOWN_FAULTS} more"] if len(faults) > SHOWN_FAULTS else []
        raise TraceError("\n".join(faults[:SHOWN_FAULTS] + more))
    if len(rows) < 2 or rows[0].time == rows[-1].time:  # noqa: PLR2004  an interval needs two ends
        raise TraceError(f"{path.name}: {len(rows)} row(s) at one time; a trace needs at least two times")
    if rows[-1].time - rows[0].time > LONGEST:  # one stray stamp, and each minute between would be made
        first, last = rows[0], rows[-1]
        raise TraceError(
            f"{path.name}: from timestamp {first.time.isoformat()} (row {first.number}) to {last.time.isoformat()} "
            f"(row {last.number}) it is longer than {LONGEST.days} days; is one of them mistyped?"
        )
    return rows


def _row(number: int, fields: Mapping[str, str | None]) -> _Row:
    stamp = fields["timestamp"] or ""
    try:
        time = datetime.fromisoformat(stamp)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"timestamp {stamp!r} is no ISO 8601 time such as 2025-04-01T00:00:00Z") from None
    return _Row(number, time, _amount(fields, "requests"), _amount(fields, "work_seconds"))


def _amount(fields: Mapping[str, str | None], name: str) -> float:
    """A number from 0 on; only work may be left out."""
    text = fields.get(name)
    if not text and name == "work_seconds":
        return 0.0
    try:
        amount = float(text or "")
    except ValueError:
        amount = math.nan
    if not 0 <= amount <= MOST:
        raise ValueError(f"{name} {text or ''!r} is no number from 0 to {MOST:g}")
    return amount


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


def _noisy(counts: NDArray[np.int64], length: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Interpolate the rate and add noise: 5 % of AR(1), and Poisson. Its coefficient is not on record: 0.9 is taken."""
    if length == 1:
        return counts
    kept, minutes = 0.9, len(counts) * length
    rates = np.interp(np.arange(minutes) + 0.5, (np.arange(len(counts)) + 0.5) * length, counts / length)
    noise = [float(rng.normal(0, 0.05))]
    for shock in rng.normal(0, 0.05 * np.sqrt(1 - kept**2), minutes - 1).tolist():
        noise.append(kept * noise[-1] + shock)
    return np.asarray(rng.poisson(np.maximum(0.0, rates * (1 + np.array(noise)))), dtype=np.int64)


def _binned(
    times: list[datetime], requests: NDArray[np.float64], work: NDArray[np.float64]
) -> tuple[list[datetime], NDArray[np.float64], NDArray[np.float64]]:
    start = times[0].replace(second=0, microsecond=0)
    bins = np.array([(moment - start) // MINUTE for moment in times])
    return [start], np.bincount(bins, requests).astype(np.float64), np.bincount(bins, work).astype(np.float64)
