"""What a careful person knows of the first days: the same for scheduled actions and for windows."""

from datetime import UTC, datetime

import numpy as np

from simulator.cases import DAY, Case, Mode
from simulator.judge import Job, known_jobs, scheduled_jobs, windows_of

NIGHT = 2 * 60


def nightly() -> Case:
    """Fourteen nights of an hour at 02:00 or 02:20 that needs 4, once for a minute 6; once a load at noon."""
    load = np.zeros(14 * DAY, dtype=np.int64)
    for day in range(14):
        start = day * DAY + NIGHT + 20 * (day % 2)
        load[start : start + 60] = 350
    load[3 * DAY + NIGHT + 70] = 600
    load[4 * DAY + 12 * 60 : 4 * DAY + 13 * 60] = 900
    monday = datetime(2026, 3, 2, tzinfo=UTC)
    return Case(trace="nightly", mode=Mode.WINDOW, start=monday, requests=load, capacity=100.0, warmup=7 * DAY)


def test_a_job_is_known_from_its_earliest_start_to_its_latest_end_at_its_highest_need() -> None:
    """The mean of three minutes is above half of an instance from a minute before the load until one after."""
    assert known_jobs(nightly()) == (Job(NIGHT - 1, 82, 6),)


def test_windows_by_hand_say_the_same() -> None:
    said = {"name": "job-0159", "start": "01:59", "duration": "82m", "lead": "15m", "min_capacity": 6}
    assert windows_of(nightly()) == [said]


def test_actions_hold_it_from_a_quarter_of_an_hour_before() -> None:
    course = scheduled_jobs(nightly())
    assert (course.policy, course.knob) == ("aas-scheduled", "0.7 by job")
    at = 7 * DAY + NIGHT - 1 - 15
    assert course.orders[course.orders >= 7 * DAY][0] == at
    assert course.billed[at - 1 : at + 1].tolist() == [1, 6]
    assert course.billed[7 * DAY + 12 * 60 :][: 12 * 60].max() == 1  # what came once is not waited for
