"""The lean queue does what the queue behind the simulated endpoint does."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.queues import Queue, finished
from simulator.workload import AsyncWorkload
from tests.unit.simulator.baselines.cases import queue, realtime


def test_oldest_first_and_whole_requests_only() -> None:
    # two items of 40 s, then one of 30 s; one instance does 60 s a minute
    case = queue([2, 0, 1, 0], work=[80.0, 0.0, 30.0, 0.0])
    ready = np.array([1, 1, 0, 1])
    # 60 of 80 s: one item; the 20 s that are missing end the second and idle 40 s are lost; nothing; 30 s
    assert finished(case, ready).tolist() == [1, 2, 2, 3]


def test_slots_share_the_work() -> None:
    case = queue([10], work=[300.0], concurrency=4)  # 30 s each; four slots do 240 s: eight items
    assert finished(case, np.array([1])).tolist() == [8]


def test_a_queue_needs_the_work_of_its_arrivals() -> None:
    with pytest.raises(ValueError, match="work_seconds is missing"):
        finished(realtime([1]), np.array([1]))


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.sampled_from([0.5, 12.0, 30.0, 60.0, 100.0]), st.integers(0, 4)), min_size=1
    ),
    st.integers(1, 3),
)
def test_both_forms_equal_the_simulated_endpoint(played: list[tuple[int, float, int]], concurrency: int) -> None:
    load, each, ready = ([row[column] for row in played] for column in range(3))
    work = [count * seconds for count, seconds in zip(load, each, strict=True)]
    case = queue([int(count) for count in load], work=work, concurrency=concurrency)
    simulated = AsyncWorkload(
        per_minute_requests=[int(count) for count in load],
        per_minute_work_seconds=work,
        objective=timedelta(minutes=15),
        concurrency=concurrency,
    )
    lean = Queue(case)
    waiting, spent = [], []
    for minute, count in enumerate(ready):
        simulated.serve(int(count), int(count), lambda *_: None)
        lean.serve(minute, int(count))
        waiting.append(lean.waiting)
        spent.append(lean.spent)
    assert waiting == simulated.history.backlog
    done = finished(case, np.array(ready, dtype=np.int64))
    assert (np.cumsum(case.requests) - done).tolist() == waiting
    assert sum(spent) <= sum(work) + 1e-6
