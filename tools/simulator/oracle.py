"""The clairvoyant: the cheapest course that keeps every promise of a case, knowing all of its load in advance.

It plays by the timings of the case and by nothing else: orders may come before the judged part, may overlap, and no
metric is late. What an instance costs beyond its ready minutes is its start (`provisioning`, billed from the order)
and its `removal`. It is the measure of all policies, so it is exact; `tests/unit/simulator/test_oracle.py` holds it to
brute force. Only the judged minutes are optimised. In the warm-up, which nobody counts, it has what each minute needs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import as_strided

from simulator.cases import Course, Mode
from simulator.queues import SLACK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from simulator.cases import Case

    Counts = NDArray[np.int64]
    Table = NDArray[np.float64]


def clairvoyant(case: Case) -> Course:
    """The cheapest course of the case: no minute overloaded, or, of a queue, no request late.

    Where even `maximum` is not enough, it is as good as `maximum` all the time.
    """
    if case.mode is Mode.ASYNC:
        return _course(case, QueueOracle(case).cheapest(), _worked_off(_work(case), case))
    need = np.clip(case.needed, case.minimum, case.maximum)
    return _course(case, need[case.judged], need)


def _course(case: Case, wanted: Counts, unjudged: Counts) -> Course:
    """The cheapest course of instances with at least `wanted` ready in each judged minute, and `unjudged` before.

    Exact (algorithms 11): the wanted instances lie in layers, the k-th is wanted while at least k are. A layer that is
    not wanted for a while is kept, or removed and started again, whichever is cheaper; one choice says nothing about
    another, so each is made alone. A pause no longer than start and removal together is kept.
    """
    minutes = len(wanted)
    ready, billed = (np.full(minutes, case.minimum, dtype=np.int64) for _ in range(2))
    orders = [np.empty(0, dtype=np.int64)]
    for layer in range(case.minimum + 1, int(wanted.max(initial=0)) + 1):
        start = start_minutes(case, layer)
        begin, end = _kept(wanted >= layer, start + case.removal)
        for at, until in zip(begin, end, strict=True):
            ready[at:until] += 1
            billed[max(0, at - start) : until + case.removal] += 1
        orders += [begin[begin > 0] - start - 1, end[end < minutes] - 1]
    moments = np.unique(np.concatenate(orders)) + case.warmup
    before = unjudged[: case.warmup]
    return Course(
        policy="clairvoyant",
        knob="",
        ready=np.concatenate([before, ready]),
        billed=np.concatenate([before, billed]),
        orders=moments[moments >= 0],
    )


def _kept(wanted: NDArray[np.bool_], restart: int) -> tuple[Counts, Counts]:
    """First minutes, and minutes after the last, of the stretches that a layer runs."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], wanted.view(np.int8), [0]])))
    begin, end = edges[::2], edges[1::2]
    removed = begin[1:] - end[:-1] > restart
    return np.concatenate([begin[:1], begin[1:][removed]]), np.concatenate([end[:-1][removed], end[-1:]])


def start_minutes(case: Case, layer: int) -> int:
    """Minutes from the order of the `layer`-th instance until it serves: `D0` of the first, `D` of the others."""
    return case.provisioning_from_zero if layer == 1 else case.provisioning


def _work(case: Case) -> Table:
    if case.work_seconds is None:
        raise ValueError(f"{case.trace}: work_seconds is missing, a queue needs the work of its arrivals")
    return case.work_seconds


def _per_minute(work: Table, case: Case) -> Counts:
    """Instances that do the work of each minute in it."""
    return np.minimum(np.ceil(work / (60.0 * case.concurrency) - SLACK).astype(np.int64), case.maximum)


def _worked_off(work: Table, case: Case) -> Counts:
    """The same where what `maximum` leaves of a minute is done in the next ones."""
    per_instance, left = 60.0 * case.concurrency, 0.0
    counts = np.zeros(len(work), dtype=np.int64)
    for minute, arrived in enumerate(work):
        left += arrived
        counts[minute] = min(math.ceil(left / per_instance - SLACK), case.maximum)
        left = max(0.0, left - per_instance * counts[minute])
    return counts


def loose_bound(case: Case) -> float:
    """Instance-minutes that no course of a queue can undercut, and few can reach (algorithms 9).

    The work that is due within the case and, for each silence, the cheaper of a restart from zero and of one idle
    instance. Everything is done `objective` minutes after the last arrival, so an instance that is kept longer idles.
    Not counted: parallel starts, whole instances, more than one idle.
    """
    work = _work(case)[case.judged][: -case.objective]
    silences = np.maximum(0, np.diff(np.flatnonzero(work > 0)) - 1 - case.objective)
    restart = start_minutes(case, 1) + case.removal
    bound = float(work.sum()) / (60.0 * case.concurrency) + float(np.minimum(silences, restart).sum())
    return max(bound, float(case.minimum * case.judged_minutes))


@dataclass(frozen=True, slots=True)
class _Frame:
    """The table after a minute: cell [row, column] is the least work left with `row` instances more than the minimum.

    The column is what was paid for it, less what the running instances' starts cost, less `base`.
    """

    table: Table
    base: int


class QueueOracle:
    """Cheapest ready instances with which every request of a queue is done within the objective.

    Forward dynamic programme over the judged minutes. Work is divisible and done oldest first, as in
    `simulator.queues`, so a course is in time if and only if the work left after each minute is no more than what
    arrived in the last `objective` minutes. Of two courses with as many instances running that cost the same, the one
    with less work left is at least as good for all that may come; so for each number of instances and each cost only
    the least work left is kept. It is a real number, nothing is rounded. A start is paid when the instance becomes
    ready; that it was ordered in time is no restriction, as a pause shorter than start and removal is cheaper kept.
    At the beginning any number runs, free of charge: they were started before.

    *Limits of the table, and why they cost nothing.* Costs more than `width` above the cheapest are dropped. From a
    state X on the course found, one can start all `most` instances and keep them until no more work is left than on a
    dropped course Y, then go on as Y. Each instance-minute beyond Y's does work that Y had done before, so this costs
    at most the starts, the work left at X, and one minute and the removal of `most` instances. If `width` covers that
    in each minute, Y leads to nothing cheaper; if not, the programme is run again with twice the width.
    At most `most` instances run: `maximum`, or less where twice the smallest constant number that is in time, and as
    many as do the work of the largest minute in it, is less. This last limit is a choice; the exactness is among such
    courses.
    """

    def __init__(self, case: Case) -> None:
        work = _work(case)[case.judged]
        self.per_instance = 60.0 * case.concurrency
        self.work = work
        arrived = np.concatenate([np.zeros(case.objective), np.cumsum(work)])
        self.limit = arrived[case.objective :] - arrived[: len(work)]
        self.limit = np.maximum(self.limit, self._left(case.maximum)) + SLACK / 2
        steady = next(n for n in range(case.minimum, case.maximum + 1) if (self._left(n) <= self.limit).all())
        most = max(2 * steady, int(_per_minute(work, case).max(initial=0)), case.minimum)
        self.instances = np.arange(case.minimum, min(case.maximum, most) + 1)
        starts = [start_minutes(case, int(n)) for n in self.instances[1:]]
        self.paid = np.concatenate([[0], np.cumsum(starts)]).astype(np.int64)  # starts of what runs above the minimum
        self.restart = [start + case.removal for start in starts]
        self.removal = case.removal

    def _left(self, instances: int) -> Table:
        """Work left after each minute if so many always run (Lindley)."""
        surplus = np.cumsum(self.work - self.per_instance * instances)
        return surplus - np.minimum(0.0, np.minimum.accumulate(surplus))

    def cheapest(self) -> Counts:
        """Instances of each judged minute."""
        width = 1 + 2 * int(self._needed_width(0, float(self.limit.max(initial=0.0))))
        while (course := self.search(width)) is None:
            width *= 2
        return course

    def _needed_width(self, above: int, left: float) -> float:
        most = int(self.instances[-1])
        return above + int(self.paid[-1]) + left / self.per_instance + most * (1 + self.removal)

    def search(self, width: int) -> Counts | None:
        """Play all minutes, keep each `stride`-th table, then walk back; None where the width was too small."""
        minutes = len(self.work)
        stride = max(1, int(minutes**0.5))
        frames = [self._first(width)]
        for begin in range(0, minutes, stride):
            frames.append(self._play(frames[-1], range(begin, min(begin + stride, minutes)))[-1])
        row, cost = self._end(frames[-1])
        course = np.zeros(minutes, dtype=np.int64)
        for begin in reversed(range(0, minutes, stride)):
            part = range(begin, min(begin + stride, minutes))
            for minute, before, after in reversed(list(self._steps(frames[begin // stride], part))):
                course[minute] = self.instances[row]
                left = after.table[row, cost - after.base]
                if self._needed_width(cost - after.base, float(left)) > width:
                    return None
                row, cost = self._origin(before, row, cost - int(self.instances[row]))
        return course

    def _first(self, width: int) -> _Frame:
        """Nothing waits; what runs has been started before, and is worth its start."""
        base = -int(self.paid[-1])
        table = np.full((len(self.instances), width), np.inf)
        table[np.arange(len(self.instances)), -self.paid - base] = 0.0
        return _Frame(table, base)

    def _steps(self, frame: _Frame, minutes: range) -> Iterator[tuple[int, _Frame, _Frame]]:
        frames = [frame, *self._play(frame, minutes)]
        return zip(minutes, frames[:-1], frames[1:], strict=True)

    def _play(self, frame: _Frame, minutes: range) -> list[_Frame]:
        """The tables after each of the minutes."""
        frames = []
        for minute in minutes:
            frame = self._minute(frame, minute)
            frames.append(frame)
        return frames

    def _minute(self, frame: _Frame, minute: int) -> _Frame:
        moved, done = self._moved(frame.table), self.work[minute] - self.per_instance * self.instances
        rows, width = moved.shape
        room = int(self.instances[-1])  # what this minute can cost
        roomy = np.full((rows, width + 2 * room), np.inf)
        roomy[:, room : room + width] = moved
        shift = roomy.strides[0] - (self.instances[1] - self.instances[0] if rows > 1 else 0) * roomy.strides[1]
        first = roomy[0, room - int(self.instances[0]) :]
        paid = as_strided(first, shape=(rows, width + room), strides=(int(shift), roomy.strides[1]), writeable=False)
        left = np.maximum(paid + done[:, None], 0.0)  # row n stands n columns further: it was paid for a minute
        left[left > self.limit[minute]] = np.inf
        cheapest = int(np.isfinite(left).any(axis=0).argmax())
        table = np.full((rows, width), np.inf)
        kept = left[:, cheapest : cheapest + width]
        table[:, : kept.shape[1]] = kept
        return _Frame(table, frame.base + cheapest)

    def _moved(self, table: Table) -> Table:
        """After starts, which are worth what they cost, and removals, which lose the start and cost the removal."""
        moved: Table = np.minimum.accumulate(table, axis=0)
        for row in range(len(moved) - 1, 0, -1):
            dearer = moved[row - 1, self.restart[row - 1] :]
            np.minimum(dearer, moved[row, : len(dearer)], out=dearer)
        return moved

    def _origin(self, before: _Frame, row: int, cost: int) -> tuple[int, int]:
        """Where the least work in a cell after `_moved` came from; no change first, so that nothing moves in vain."""
        found = self._moved(before.table)[row, cost - before.base]
        for other in sorted(range(len(self.instances)), key=lambda other: abs(other - row)):
            origin = cost - sum(self.restart[row:other])
            if origin >= before.base and before.table[other, origin - before.base] == found:
                return other, origin
        raise AssertionError("a cell without an origin")

    def _end(self, frame: _Frame) -> tuple[int, int]:
        """Row and refunded cost of the cheapest course."""
        columns = np.where(np.isfinite(frame.table).any(axis=1), np.isfinite(frame.table).argmax(axis=1), 10**9)
        row = int((columns + self.paid).argmin())
        return row, frame.base + int(columns[row])
