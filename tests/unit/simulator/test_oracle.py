"""The clairvoyant: equal to brute force where that can be had, undercut by nobody."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cases import Case, Course, Mode
from simulator.oracle import QueueOracle, clairvoyant, loose_bound, start_minutes
from simulator.queues import finished

START = datetime(2025, 4, 1, tzinfo=UTC)


def realtime(need: list[int], **changes: Any) -> Case:
    """A load that needs so many instances, of one request a minute each; all of it is judged."""
    case = Case(trace="t", mode=Mode.REALTIME, start=START, requests=np.array(need), capacity=1.0, warmup=0)
    return replace(case, minimum=0, maximum=9, **changes) if "minimum" not in changes else replace(case, **changes)


def queue(work: list[int], **changes: Any) -> Case:
    """One request each minute that has work, which one instance does in `work` minutes."""
    return replace(
        realtime([min(1, each) for each in work]),
        mode=Mode.ASYNC,
        work_seconds=60.0 * np.array(work),
        **changes,
    )


def judged_cost(case: Case, course: Course) -> int:
    return int(course.billed[case.judged].sum())


def overloaded(case: Case, ready: np.ndarray) -> bool:
    return bool((case.requests > case.capacity * ready).any())


def late(case: Case, ready: np.ndarray) -> bool:
    """Whether anything that arrived is not done `objective` minutes later, as far as the case goes."""
    due = np.cumsum(case.requests)[: -case.objective or None]
    return bool((finished(case, ready)[case.objective :] < due).any())


def paid(case: Case, ready: tuple[int, ...]) -> int:
    """Instance-minutes of a course: layer by layer the minutes that are ready, starting or being removed."""
    total = 0
    for layer in range(1, max(ready, default=0) + 1):
        on = [count >= layer for count in ready]
        billed = {minute for minute, runs in enumerate(on) if runs}
        for minute, (before, now) in enumerate(itertools.pairwise(on), 1):
            if now and not before and layer > case.minimum:
                billed |= set(range(max(0, minute - start_minutes(case, layer)), minute))
            if before and not now:
                billed |= set(range(minute, min(len(ready), minute + case.removal)))
        total += len(billed)
    return total


def brute_force(case: Case) -> int:
    """The cheapest of all courses that break no promise."""
    broken = late if case.mode is Mode.ASYNC else overloaded
    courses = itertools.product(range(case.minimum, case.maximum + 1), repeat=len(case.requests))
    return min(paid(case, course) for course in courses if not broken(case, np.array(course)))


def played_out(case: Case) -> int:
    """The cheapest sequence of orders, each minute of each instance played: on order, ready, being removed.

    Begins early enough that everything can be ready in the first minute; what is paid before it is not counted.
    """
    start, early = case.provisioning, case.provisioning + 1
    need = [0] * early + case.needed.tolist()

    @cache
    def least(minute: int, ready: int, starting: tuple[int, ...], removing: tuple[int, ...]) -> float:
        """From the end of a minute on, when orders are placed."""
        if minute == len(need) - 1:
            return 0
        best = float("inf")
        for ordered, removed in itertools.product(range(case.maximum + 1), range(ready + 1)):
            arrive, *coming = (*starting, ordered)  # ordered now, it serves after `start` whole minutes
            serving, leaving = ready - removed + arrive, (removed, *removing)[: case.removal]
            if serving + sum(coming) > case.maximum or serving < need[minute + 1]:
                continue
            billed = serving + sum(coming) + sum(leaving)
            rest = least(minute + 1, serving, tuple(coming), leaving)
            best = min(best, rest + (billed if minute + 1 >= early else 0))
        return best

    return int(least(-1, 0, (0,) * start, (0,) * case.removal))


small = st.integers(0, 2)
timings = st.fixed_dictionaries({"provisioning": st.integers(1, 3), "removal": st.integers(1, 2)})


@pytest.mark.parametrize(
    ("need", "cost", "ready"),
    [
        ([0] * 9 + [1], 1 + 6, [0] * 9 + [1]),  # a start is paid from the order on
        ([0, 0, 1], 3, [0, 0, 1]),  # it was ordered before we look
        ([1] + [0] * 9, 1 + 1, [1] + [0] * 9),  # and the removal
        ([1] + [0] * 6 + [1], 8, [1] * 8),  # a pause of 6: kept
        ([1] + [0] * 7 + [1], 9, [1] * 9),  # of 7 = removal + start: all the same
        ([1] + [0] * 8 + [1], 1 + 1 + 6 + 1, [1] + [0] * 8 + [1]),  # of 8: started again
        ([2, 1, 2], 6, [2, 2, 2]),
        ([2] + [1] * 8 + [2], 10 + 9, [2] + [1] * 8 + [2]),  # each layer for itself
    ],
)
def test_the_arithmetic(need: list[int], cost: int, ready: list[int]) -> None:
    course = clairvoyant(realtime(need))
    assert course.ready.tolist() == ready
    assert course.billed.sum() == cost


def test_orders_are_placed_in_time() -> None:
    course = clairvoyant(realtime([0] * 9 + [1] + [0] * 4))
    assert course.orders.tolist() == [2, 9]  # ordered at the end of minute 2, 6 minutes of start, serves in minute 9
    assert course.billed.tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0]


def test_minimum_and_maximum_are_kept() -> None:
    course = clairvoyant(realtime([0, 5, 0], minimum=1, maximum=3))
    assert course.ready.tolist() == [1, 3, 1]
    assert course.billed.tolist() == [3, 3, 3]


def test_only_the_judged_minutes_are_optimised() -> None:
    case = realtime([3, 0, 0, 0, 1], warmup=3)
    course = clairvoyant(case)
    assert course.ready.tolist() == [3, 0, 0, 0, 1]
    assert judged_cost(case, course) == 2


@settings(max_examples=60, deadline=None)
@given(need=st.lists(small, min_size=1, max_size=8), minimum=st.integers(0, 1), timing=timings)
def test_real_time_equals_brute_force(need: list[int], minimum: int, timing: dict[str, int]) -> None:
    case = realtime(need, **timing | {"provisioning_from_zero": 3, "minimum": minimum, "maximum": 2})
    assert clairvoyant(case).billed.sum() == brute_force(case)


@settings(max_examples=40, deadline=None)
@given(need=st.lists(small, min_size=1, max_size=9), provisioning=st.integers(1, 3))
def test_real_time_equals_orders_played_out(need: list[int], provisioning: int) -> None:
    case = realtime(need, provisioning=provisioning, provisioning_from_zero=provisioning, minimum=0, maximum=2)
    assert clairvoyant(case).billed.sum() == played_out(case)


@settings(max_examples=50, deadline=None)
@given(
    work=st.lists(st.integers(0, 3), min_size=1, max_size=5),
    objective=st.integers(1, 3),
    minimum=st.integers(0, 1),
    from_zero=st.integers(1, 3),
    timing=timings,
)
def test_a_queue_equals_brute_force(
    work: list[int], objective: int, minimum: int, from_zero: int, timing: dict[str, int]
) -> None:
    case = queue([*work, 0], **timing | {"objective": objective, "minimum": minimum, "maximum": 3})
    case = replace(case, provisioning_from_zero=from_zero)
    course = clairvoyant(case)
    assert course.billed.sum() == brute_force(case)
    assert not late(case, course.ready)
    assert loose_bound(case) <= course.billed.sum()


def test_a_queue_waits_to_share_a_start() -> None:
    course = clairvoyant(queue([1] + [0] * 9 + [1] + [0] * 20, objective=10))
    assert course.ready.sum() == 2
    assert course.billed.sum() == 9  # 6 to start, 2 at work, 1 to go: the first waits for the second


def test_a_queue_that_nothing_could_do_in_time_is_as_late_as_the_maximum() -> None:
    case = queue([9] + [0] * 11, objective=2, maximum=2)
    assert clairvoyant(case).ready.tolist() == [2, 2, 2, 2, 1] + [0] * 7


def test_what_the_maximum_leaves_of_a_minute_of_the_warmup_is_done_after_it_and_not_left_to_the_judged_ones() -> None:
    case = queue([9] + [0] * 9 + [2] + [0] * 9, objective=4, maximum=2, warmup=10)
    course = clairvoyant(case)
    assert course.ready[:10].tolist() == [2, 2, 2, 2, 1] + [0] * 5
    assert not late(case, course.ready)


def test_a_table_too_narrow_is_noticed() -> None:
    oracle = QueueOracle(queue([2, 0, 3, 0, 0, 0, 0, 0, 0, 1, 0, 0], objective=2))
    assert oracle.search(20) is None


@settings(max_examples=60, deadline=None)
@given(
    need=st.lists(st.integers(0, 6), min_size=1, max_size=120),
    spare=st.lists(st.integers(0, 2), min_size=120, max_size=120),
    warmup=st.integers(0, 20),
    timing=timings,
)
def test_nobody_beats_it_in_real_time(need: list[int], spare: list[int], warmup: int, timing: dict[str, int]) -> None:
    case = replace(realtime(need, **timing), warmup=min(warmup, len(need) - 1))
    course = clairvoyant(case)
    assert (course.ready >= case.needed).all()
    assert (course.billed >= course.ready).all()
    other = tuple((case.needed + spare[: len(need)]).tolist()[case.judged])
    assert judged_cost(case, course) <= paid(case, other)


@settings(max_examples=25, deadline=None)
@given(
    work=st.lists(st.sampled_from([0, 0, 0, 1, 2, 5]), min_size=20, max_size=80),
    ready=st.lists(st.integers(0, 4), min_size=100, max_size=100),
    objective=st.integers(2, 12),
)
def test_nobody_beats_it_at_a_queue(work: list[int], ready: list[int], objective: int) -> None:
    case = queue([*work, *[0] * 20], objective=objective)
    course = clairvoyant(case)
    assert not late(case, course.ready)
    assert loose_bound(case) <= course.billed.sum()
    other = np.repeat(ready, 5)[: len(case.requests)]  # blocks of five minutes, raised until nothing is late
    while late(case, other):
        other = other + 1
    assert course.billed.sum() <= paid(case, tuple(other.tolist()))
