"""Scores: each request counted once, each instance-minute once, in the judged minutes alone."""

from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cases import Case, Course, Mode
from simulator.oracle import clairvoyant
from simulator.queues import Queue
from simulator.scores import Elasticity, score, together, violations, waited

START = datetime(2025, 4, 1, tzinfo=UTC)


def realtime(load: list[int], **changes: Any) -> Case:
    """Instances that serve 10 requests a minute; all minutes are judged."""
    case = Case(trace="t", mode=Mode.REALTIME, start=START, requests=np.array(load), capacity=10.0, warmup=0)
    return replace(case, **changes)


def queue(requests: list[int], seconds: float = 60.0, **changes: Any) -> Case:
    """Requests of `seconds` on the one slot of an instance."""
    work = {"work_seconds": seconds * np.array(requests), "minimum": 0, "mode": Mode.ASYNC, "capacity": 60 / seconds}
    return realtime(requests, **work | changes)


def course(ready: list[int], billed: list[int] | None = None, orders: tuple[int, ...] = ()) -> Course:
    return Course(
        policy="p",
        knob="k",
        ready=np.array(ready),
        billed=np.array(billed or ready),
        orders=np.array(orders, dtype=int),
    )


@pytest.mark.parametrize(
    ("load", "ready", "violated"),
    [
        ([10, 20, 5], [1, 2, 1], 0),
        ([10, 21, 5], [1, 2, 1], 21),  # all requests of the overloaded minute
        ([11, 21, 0], [1, 2, 0], 32),
        ([1, 0, 1], [0, 0, 0], 2),
    ],
)
def test_violated(load: list[int], ready: list[int], violated: int) -> None:
    result = score(realtime(load, minimum=0), course(ready))
    assert result.violated == violated
    assert result.violated_share == pytest.approx(violated / sum(load))


def test_only_judged_minutes_count() -> None:
    case = realtime([99, 10, 10, 10], warmup=2)
    result = score(case, course([1, 1, 3, 1], [9, 9, 3, 2], orders=(0, 1, 2, 3)))
    assert (result.violated, result.requests) == (0, 20)
    assert result.instance_hours == pytest.approx(5 / 60)
    assert result.clairvoyant_instance_hours == pytest.approx(2 / 60)
    assert result.cost_ratio == pytest.approx(2.5)
    assert result.changes_per_day == 2 * 720  # two within two minutes
    assert result.elasticity == Elasticity(theta_u=0.0, theta_o=100.0, tau_u=0.0, tau_o=50.0)


@pytest.mark.parametrize(
    ("demand", "supply", "expected"),
    [
        ([2, 2], [2, 2], (0.0, 0.0, 0.0, 0.0)),
        ([4, 4], [3, 4], (12.5, 0.0, 50.0, 0.0)),  # a quarter is missing for half of the time
        ([2, 2], [5, 1], (25.0, 75.0, 50.0, 50.0)),
        ([0, 0], [1, 0], (50.0, 0.0, 50.0, 0.0)),  # no demand is taken as one instance
    ],
)
def test_elasticity(demand: list[int], supply: list[int], expected: tuple[float, ...]) -> None:
    theta_u, theta_o, tau_u, tau_o = expected
    assert Elasticity.of(np.array(demand), np.array(supply)) == Elasticity(
        theta_u=theta_u, theta_o=theta_o, tau_u=tau_u, tau_o=tau_o
    )


def test_the_clairvoyant_is_the_measure() -> None:
    for case in (realtime([5, 25, 0, 0, 35]), queue([3, 0, 0, 4] + [0] * 30)):
        best = clairvoyant(case)
        result = score(case, best)
        assert (result.cost_ratio, result.violated_share) == (1.0, 0.0)
        assert result.queue is None or result.queue.late_share == 0.0
        assert score(case, best, best) == result  # known already, not worked out again


def test_draws_of_one_trace_are_put_together_as_one_long_course() -> None:
    calm = score(case := realtime([10, 10]), course([1, 1]), clairvoyant(case))
    rough = score(case := realtime([30, 10]), course([2, 2], orders=(0, 1)), clairvoyant(case))
    both = together([calm, rough])
    assert (both.requests, both.violated) == (60, 30)  # 20 + 40 requests, of which a minute of 30 had two instances
    assert both.instance_hours == pytest.approx((2 + 4) / 60)
    assert both.clairvoyant_instance_hours == pytest.approx((2 + 6) / 60)  # 3, of which 2 leave within the next minute
    assert both.changes_per_day == (calm.changes_per_day + rough.changes_per_day) / 2
    missing, spare = 100 / 3 / 4, 100 / 4  # one of three in one of four minutes, one of one in another
    assert asdict(both.elasticity) == pytest.approx({"theta_u": missing, "theta_o": spare, "tau_u": 25, "tau_o": 25})


def test_where_nothing_is_needed_there_is_no_ratio() -> None:
    case = realtime([0, 0, 0], minimum=0)
    assert score(case, course([0, 0, 0])).cost_ratio is None
    assert score(case, course([0, 0, 0])).violated_share == 0.0


def test_a_price_makes_money_of_hours() -> None:
    case = realtime([10] * 60)
    assert score(case, course([2] * 60), price_per_hour=1.5).cost == pytest.approx(3.0)
    assert score(case, course([2] * 60), price_per_hour=1.5).row()["cost"] == pytest.approx(3.0)
    assert "cost" not in score(case, course([2] * 60)).row()


def test_waits_and_lateness_of_a_queue() -> None:
    # 4 requests of one minute: done in minutes 2, 2, 3, 5. One more, 400 minutes of silence later, is never done.
    case = queue([4] + [0] * 404 + [1] + [0] * 44, objective=2)
    result = score(case, course([0, 0, 2, 1, 0, 1] + [0] * 444, orders=(0,))).queue
    assert result is not None
    assert (result.in_time, result.late, result.expired) == (2, 3, 0)
    assert result.late_share == pytest.approx(3 / 5)
    assert (result.wait_p50_s, result.wait_p95_s, result.wait_max_s) == (3 * 60, 45 * 60, 45 * 60)
    assert result.starts_from_zero == 2
    assert result.objective_seconds == 120


@pytest.mark.parametrize(
    ("before", "resembles"),
    [
        ((90, 30), True),
        ((90, 40), True),  # larger
        ((90, 20), False),  # smaller
        ((150, 30), True),  # an hour later
        ((151, 30), False),  # at another time of the day
        ((1410, 30), False),
    ],
)
def test_openings_of_blocks_that_resemble_history(before: tuple[int, int], resembles: bool) -> None:
    """A day of history and one judged: 40 minutes of 30 requests, of which 29 lie in the 30 from the minute before.

    In 10 of these, and 10 after, two instances serve where three are needed.
    """
    start, level = before
    load = np.zeros(2 * 1440, dtype=np.int64)
    load[start : start + 40], load[1440 + 90 : 1440 + 130] = level, 30
    ready = np.full(len(load), 9)
    ready[1440 + 109 : 1440 + 129] = 2
    case = realtime(load.tolist(), mode=Mode.WINDOW, warmup=1440, minimum=0)
    result = score(case, course(ready.tolist()))
    assert result.opening_violated_share == pytest.approx(10 / 29)
    assert result.resembling_violated_share == pytest.approx(10 / 29 if resembles else 0)


def test_what_waits_for_longer_than_six_hours_expires() -> None:
    case = queue([1] + [0] * 399)
    in_six_hours, later = ([0] * at + [1] + [0] * (399 - at) for at in (360, 361))
    assert [(r.late, r.expired) for c in (in_six_hours, later) if (r := score(case, course(c)).queue)] == [
        (1, 0),
        (0, 1),
    ]


def test_a_row_has_the_fields_of_the_schema() -> None:
    row = score(realtime([10, 20]), course([1, 2])).row()
    assert list(row)[:9] == [
        "trace", "mode", "policy", "knob", "cost_ratio", "violated_share", "instance_hours",
        "clairvoyant_instance_hours", "changes_per_day",
    ]  # fmt: skip
    assert {"theta_u", "theta_o", "tau_u", "tau_o"} <= row.keys()
    assert (row["trace"], row["mode"], row["policy"], row["knob"]) == ("t", "realtime", "p", "k")
    of_queue = score(queue([1, 0, 0]), course([1, 0, 0])).row()
    assert {
        "objective_seconds", "late_share", "expired", "wait_p50_s", "wait_p95_s", "wait_max_s", "starts_from_zero",
    } <= of_queue.keys()  # fmt: skip


@pytest.mark.parametrize(
    ("ready", "billed", "said"),
    [
        ([1, 1], [1, 1], "one value a minute"),
        ([1, 2, 1], [1, 1, 1], "minute 1: ready 2 must be from 0 to what is billed, 1"),
        ([1, -1, 1], [1, 1, 1], "minute 1: ready -1"),
    ],
)
def test_a_course_of_something_else_is_refused(ready: list[int], billed: list[int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        score(realtime([1, 1, 1]), course(ready, billed))


minutes = st.integers(1, 40)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), length=minutes)
def test_in_real_time_each_request_is_served_or_violated_and_each_instance_minute_is_used_or_idle(
    data: st.DataObject, length: int
) -> None:
    load = data.draw(st.lists(st.integers(0, 60), min_size=length, max_size=length))
    ready = data.draw(st.lists(st.integers(0, 6), min_size=length, max_size=length))
    result = score(realtime(load, minimum=0), course(ready))
    served = sum(each for each, count in zip(load, ready, strict=True) if each <= 10 * count)
    assert served + result.violated == result.requests == sum(load)
    assert result.instance_hours * 60 == pytest.approx(sum(ready))


@settings(max_examples=100, deadline=None)
@given(data=st.data(), length=minutes, warmup=st.integers(0, 10), seconds=st.sampled_from([7.0, 60.0, 150.0]))
def test_at_a_queue_each_request_is_in_time_late_or_expired(
    data: st.DataObject, length: int, warmup: int, seconds: float
) -> None:
    load = data.draw(st.lists(st.integers(0, 5), min_size=length, max_size=length))
    ready = data.draw(st.lists(st.integers(0, 3), min_size=length, max_size=length))
    case = queue(load, seconds, objective=4, warmup=min(warmup, length - 1))
    waits, counts = waited(case, course(ready))
    result = score(case, course(ready)).queue
    assert result is not None
    assert result.in_time + result.late + result.expired == counts.sum() == sum(load[case.warmup :])
    # The same, one minute and one request at a time, by the queue that policies see.
    stepped, done = Queue(case), list[int]()
    arrivals = [minute for minute, count in enumerate(load) for _ in range(count)]
    for minute in range(length):
        stepped.serve(minute, ready[minute])
        done += [minute] * (sum(load[: minute + 1]) - stepped.waiting - len(done))
    late = [
        arrived
        for number, arrived in enumerate(arrivals)
        if arrived >= case.warmup and (number >= len(done) or done[number] - arrived > 4)
    ]
    assert result.late + result.expired == len(late)
    # Each late request is told once, in the minute in which its objective ended.
    told = violations(case, np.array(ready))[case.warmup + 4 :].tolist()
    assert told == [late.count(minute - 4) for minute in range(case.warmup + 4, length)]
    assert (waits >= 0).all()
