"""Traffic: what is served, what is violated or late, and what SageMaker publishes about it (facts 3)."""

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.account import SimulatedAccount
from simulator.metrics import Datum, Measured, known_datum, statistic
from simulator.workload import AsyncWorkload, RealtimeWorkload
from tests.unit.simulator.worlds import DIMENSIONS, async_account, play, realtime_account, values

ENDPOINT = DIMENSIONS[:1]
INSTANCE = "/aws/sagemaker/Endpoints"


def served(account: SimulatedAccount, minutes: int = 1) -> SimulatedAccount:
    """After these minutes of traffic and the two until they are readable."""
    play(account, minutes + 2)
    return account


@pytest.mark.parametrize(
    ("load", "violated"),
    [(2000, 0), (2001, 2001), (0, 0), (5000, 5000)],  # two instances, 1,000 each: all requests of an overloaded minute
)
def test_violated(load: int, violated: int) -> None:
    workload = RealtimeWorkload(per_minute_requests=[load], capacity_per_instance=1000.0)
    workload.serve(2, 2, lambda *_: None)
    assert workload.violated == violated
    assert (workload.history.demand, workload.history.ready) == ([load], [2])


def test_invocations_per_instance_is_a_sum_of_shares() -> None:
    account = served(realtime_account([900], count=3))
    assert values(account, "Invocations")[0] == 900.0
    assert values(account, "InvocationsPerInstance")[0] == pytest.approx(300.0)
    assert values(account, "InvocationsPerInstance", "SampleCount")[0] == 900.0


def test_no_traffic_publishes_zeros_not_silence() -> None:
    account = served(realtime_account([]))
    for metric in ("Invocations", "InvocationsPerInstance", "Invocation5XXErrors", "ConcurrentRequestsPerModel"):
        assert values(account, metric) == [0.0]
    assert values(account, "ModelLatency") == []  # no request, no latency
    assert values(account, "CPUUtilization", "Average", namespace=INSTANCE) == [0.0]


# Two instances with four slots each, 1,000 requests a minute each within the objective. p95 is 3 service times when idle
# (-ln 0.05) and 15 at the objective; 4 slots are 94.8 % busy there, so a service takes 60 x 4 x 0.948 / 1000 = 0.2275 s.
SERVICE = 0.2275


@pytest.mark.parametrize(("load", "service_times"), [(20, 3.0), (2000, 15.0), (2050, 25.7), (4000, 46.6)])
def test_p95_meets_the_objective_at_capacity(load: int, service_times: float) -> None:
    """2,050: 97.2 % busy, 93 % have to wait, ln(0.93 / 0.05) / (4 x 0.028) = 26 service times if the queue were endless.

    Twice the capacity: the queue is full, 160 for four slots make 40 service times, and then their own.
    """
    account = served(realtime_account([load] * 30, count=2), 30)
    assert values(account, "ModelLatency", "p95")[-1] == pytest.approx(1e6 * SERVICE * service_times, rel=0.02)
    assert values(account, "ModelLatency", "p50")[-1] < values(account, "ModelLatency", "p95")[-1]


def test_the_objective_is_told() -> None:
    workload = RealtimeWorkload(per_minute_requests=[], capacity_per_instance=1000.0)
    assert workload.latency_objective.total_seconds() == pytest.approx(15 * SERVICE, rel=0.01)


def test_a_single_request_has_the_median_latency() -> None:
    account = served(realtime_account([1], count=2))
    assert values(account, "ModelLatency", "p95")[0] == pytest.approx(1e6 * SERVICE * math.log(2), rel=0.02)


class TestOverload:
    """2,750 requests for two instances that finish 2 x 1,055 = 2,110: 640 too many. 2 x 160 may wait, 313 do on average."""

    def played(self) -> tuple[RealtimeWorkload, list[dict[str, Datum]]]:
        workload = RealtimeWorkload(per_minute_requests=[2750, 2750, 0], capacity_per_instance=1000.0)
        minutes: list[dict[str, Datum]] = []
        for _ in range(3):
            minutes.append({})
            workload.serve(2, 2, lambda _, metric, __, datum: minutes[-1].update({metric: known_datum(datum)}))
        return workload, minutes

    def test_what_cannot_wait_fails(self) -> None:
        workload, minutes = self.played()
        assert [minute["Invocation5XXErrors"].total for minute in minutes] == [328.0, 641.0, 0.0]
        assert [minute["Invocations"].total for minute in minutes] == [2750.0, 2750.0, 0.0]
        assert (workload.served, workload.failed, workload.waiting) == (2 * 2109 + 313, 969, 0)

    def test_without_instances_all_fails(self) -> None:
        workload = RealtimeWorkload(per_minute_requests=[500], capacity_per_instance=1000.0)
        workload.serve(0, 0, lambda *_: None)
        assert (workload.served, workload.failed, workload.waiting) == (0, 500, 0)


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 4)), max_size=30))
def test_each_request_is_served_or_fails_or_waits(minutes: list[tuple[int, int]]) -> None:
    workload = RealtimeWorkload(per_minute_requests=[load for load, _ in minutes], capacity_per_instance=1000.0)
    arrived = 0
    for load, ready in minutes:
        before = workload.served
        workload.serve(ready, ready, lambda *_: None)
        arrived += load
        assert workload.served + workload.failed + workload.waiting == arrived
        assert workload.served - before <= ready * 1056
        assert 0 <= workload.waiting <= ready * 160


def test_hidden_demand_is_in_no_metric() -> None:
    """1.05 x 2 x 1000 reach the instances, whose slots are then 99.6 % busy: only latency and concurrency tell."""
    workload = RealtimeWorkload(per_minute_requests=[4000] * 60, capacity_per_instance=1000.0, turned_away_above=1.05)
    seen: dict[str, Datum] = {}
    for _ in range(60):
        workload.serve(2, 2, lambda _, metric, __, datum: seen.update({metric: known_datum(datum)}))
    assert seen["Invocations"].total == 2100
    assert seen["Invocation5XXErrors"].total < 21  # 1 %
    assert statistic(seen["ModelLatency"], "p95") > 2e6 * workload.latency_objective.total_seconds()
    assert seen["ConcurrentRequestsPerModel"].high > 10 * 4
    assert (workload.history.demand[0], workload.violated) == (4000, 60 * 4000)  # the judge knows
    assert workload.served + workload.failed + workload.waiting == 60 * 4000


def test_instance_metrics_have_one_sample_per_instance_and_cpu_counts_every_core() -> None:
    account = served(realtime_account([1500], count=3))
    assert values(account, "CPUUtilization", "SampleCount", namespace=INSTANCE)[0] == 3.0
    assert values(account, "CPUUtilization", "Average", namespace=INSTANCE)[0] == pytest.approx(
        160.0
    )  # 400 x 0.8 x 0.5
    assert 0 < values(account, "MemoryUtilization", "Average", namespace=INSTANCE)[0] < 100


def test_gpu_metrics_only_with_gpus() -> None:
    workload = RealtimeWorkload(per_minute_requests=[1000], capacity_per_instance=1000.0, gpus=2)
    seen: dict[str, float] = {}
    workload.serve(1, 1, lambda _, metric, __, datum: seen.update({metric: known_datum(datum).high}))
    assert seen["GPUUtilization"] == pytest.approx(160.0)  # 0-100 per GPU
    assert values(served(realtime_account([10])), "GPUUtilization", namespace=INSTANCE) == []


# ---- asynchronous ----------------------------------------------------------------------------------------------------


def queue(requests: list[int], work: list[float], **options: Any) -> AsyncWorkload:
    settings: dict[str, Any] = {"objective": timedelta(minutes=2), **options}
    return AsyncWorkload(per_minute_requests=requests, per_minute_work_seconds=work, **settings)


def run(workload: AsyncWorkload, ready: list[int]) -> list[dict[str, float]]:
    """Serve minutes with that many instances; what each published (Sum by metric)."""
    minutes: list[dict[str, float]] = []

    def publish(_namespace: str, metric: str, _dimensions: tuple[str, ...], datum: Measured) -> None:
        minutes[-1][metric] = known_datum(datum).total

    for instances in ready:
        minutes.append({})
        workload.serve(instances, instances, publish)
    return minutes


def test_an_instance_does_sixty_seconds_of_work_per_slot_and_minute() -> None:
    # 10 requests of 18 s: 180 s; one slot does 60 s a minute: 3.33, 6.67, 10 done
    workload = queue([10], [180.0])
    run(workload, [1, 1, 1])
    assert (workload.history.backlog, workload.served) == ([7, 4, 0], 10)


def test_slots_and_instances_multiply() -> None:
    workload = queue([10], [180.0], concurrency=2)
    run(workload, [2])
    assert workload.history.backlog == [0]  # 240 s could be done


def test_a_request_longer_than_a_minute_takes_several() -> None:
    workload = queue([1], [150.0])
    run(workload, [1, 1, 1])
    assert workload.history.backlog == [1, 1, 0]


def test_oldest_first_and_late_after_the_objective() -> None:
    # 4 requests of 60 s a minute for two minutes, one instance: done in minutes 0..7. Objective 2 minutes.
    # First four wait 0, 1, 2, 3; the others (arrived in minute 1) wait 3, 4, 5, 6: five are late.
    workload = queue([4, 4], [240.0, 240.0])
    run(workload, [1] * 8)
    assert (workload.served, workload.finished_late, workload.late) == (8, 5, 5)
    assert workload.history.late == [0, 0, 0, 1, 1, 1, 1, 1]


def test_requests_still_waiting_past_the_objective_count_as_late() -> None:
    workload = queue([3], [180.0])
    run(workload, [0, 0, 0])
    assert (workload.late, workload.waiting) == (3, 3)  # three minutes on, objective two
    punctual = queue([3], [180.0])
    run(punctual, [0, 0])
    assert punctual.late == 0


def test_nothing_is_lost_without_instances() -> None:
    workload = queue([5, 5], [50.0, 50.0])
    published = run(workload, [0, 0, 1, 1])
    assert [minute["ApproximateBacklogSize"] for minute in published] == [5.0, 10.0, 4.0, pytest.approx(40 / 60)]
    assert [minute["HasBacklogWithoutCapacity"] for minute in published] == [1.0, 1.0, 0.0, 0.0]
    assert [minute.get("ApproximateBacklogSizePerInstance") for minute in published[:3]] == [None, None, 4.0]
    assert [minute["ApproximateAgeOfOldestRequest"] for minute in published] == [30.0, 90.0, 90.0, 0.0]


def test_backlog_counts_what_is_being_worked_on() -> None:
    # 2 requests of 15 s each are done within the minute: half a slot was busy on average, nobody waits
    assert run(queue([2], [30.0]), [1])[0]["ApproximateBacklogSize"] == 0.5


def test_work_metrics_are_in_milliseconds_and_weighted_by_requests() -> None:
    published = run(queue([3], [60.0]), [1])[0]
    assert published["InvocationsProcessed"] == 3.0
    assert published["TotalProcessingTime"] == pytest.approx(60_000.0)  # Sum: 3 x 20,000 ms
    assert published["TimeInBacklog"] == 0.0
    assert published["CPUUtilization"] == pytest.approx(400.0)


def test_total_processing_time_begins_with_the_arrival() -> None:
    # 3 requests of 20 s; nobody serves for two minutes (facts 3.4)
    published = run(queue([3], [60.0]), [0, 0, 1])[2]
    assert published["TimeInBacklog"] == 3 * 120_000.0
    assert published["TotalProcessingTime"] == pytest.approx(3 * 140_000.0)


def test_dimensions_of_asynchronous_metrics() -> None:
    account = served(async_account([3], [60.0], count=1))
    for metric in ("ApproximateBacklogSize", "ApproximateAgeOfOldestRequest", "HasBacklogWithoutCapacity"):
        assert len(values(account, metric, dimensions=ENDPOINT)) == 1
        assert values(account, metric) == []
    assert len(values(account, "InvocationsProcessed")) == 1
    for metric in ("Invocations", "InvocationsPerInstance", "OverheadLatency"):  # facts 3.4: never
        assert values(account, metric) == values(account, metric, dimensions=ENDPOINT) == []


def test_instance_metrics_stop_at_zero_instances() -> None:
    assert values(served(async_account([3], [60.0], count=0)), "CPUUtilization", namespace=INSTANCE) == []


def test_adversarial_requests_without_work_are_done_at_once() -> None:
    workload = queue([5], [0.0])
    run(workload, [1])
    assert (workload.served, workload.waiting) == (5, 0)


def test_adversarial_thirds_of_a_second_do_not_leave_a_ghost() -> None:
    workload = queue([180], [60.0])
    run(workload, [1])
    assert workload.history.backlog == [0]
