"""What may go wrong around a queue (facts 2.5, 3.4, 5), by the minute: the real handlers against simulated AWS."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

from core.model import Reason, ScalableTarget
from core.reconcile import Outcome
from simulator.account import SimulatedAccount
from simulator.metrics import sample
from simulator.stack import SimulatedStack
from simulator.workload import BOTH, INVOCATION, AsyncWorkload, Cohort

if TYPE_CHECKING:
    from simulator.workload import Publish

START = datetime(2026, 11, 18, tzinfo=UTC)
SILENCE, BURST = 30, 5
OCR = "ocr"
PROFILE: dict[str, Any] = {
    "kind": "async",
    "min_capacity": 0,
    "max_capacity": 10,
    "objectives": {"items_per_minute": 4, "drain_within": "30m"},
}


def document(**changes: Any) -> dict[str, Any]:
    entry = {"name": OCR, "profile": OCR}
    return {"version": 1, "profiles": {OCR: {**PROFILE, **changes}}, "endpoints": [entry]}


def items(each_minute: int, work_seconds: float = 15.0) -> AsyncWorkload:
    """Half an hour of silence, then five minutes of so many items; an instance finishes 4 a minute."""
    requests = [0] * SILENCE + [each_minute] * BURST
    return AsyncWorkload(
        per_minute_requests=requests,
        per_minute_work_seconds=[work_seconds * n for n in requests],
        objective=timedelta(minutes=30),
    )


def stack(workload: AsyncWorkload, *, quota: int | None = None, **changes: Any) -> SimulatedStack:
    account = SimulatedAccount(START)
    account.add_endpoint(
        name=OCR,
        workload=workload,
        instance_count=0,
        asynchronous=True,
        provisioning_delay=timedelta(minutes=6),
        provisioning_from_zero=timedelta(minutes=8),
        instance_quota=quota,
    )
    made = SimulatedStack(account, document(**changes))
    made.invoke("FleetSync", {"trigger": "policy"})
    return made


def run(made: SimulatedStack, count: int) -> Iterator[list[Outcome]]:
    """Yield what was done in each of the coming minutes; no invocation may fail."""
    for _ in range(count):
        before = len(made.outcomes)
        made.minute()
        assert made.failures == []
        yield [outcome for _, outcome in made.outcomes[before:]]


def reasons(outcomes: list[Outcome]) -> set[Reason]:
    return {step.reason for outcome in outcomes if outcome.decision for step in outcome.decision.steps}


def registrations(made: SimulatedStack) -> int:
    return sum(call.operation == "RegisterScalableTarget" for call in made.account.calls)


def never_empty_handed(workload: AsyncWorkload) -> bool:
    """Whether from the first order to the last item there was an instance, or one on its way."""
    ordered = next(minute for minute, count in enumerate(workload.history.desired) if count)
    last = max(minute for minute, left in enumerate(workload.history.backlog) if left)
    return all(workload.history.desired[ordered : last + 1])


def test_where_the_quota_ends_it_settles_says_so_and_backs_off() -> None:
    """500 items, a quota of 4: what the refusal leaves is taken; more is asked for after 2, 4, 8 and 16 minutes."""
    workload = items(100)
    made = stack(workload, quota=4)
    told = 0
    for outcomes in run(made, SILENCE + 180):
        told += Reason.CAPACITY_REFUSED in reasons(outcomes)
    # From 41 on 2 instances serve, and 4 from 48 on: 500 items take until minute 76.
    assert (workload.served, workload.waiting) == (500, 0)
    assert max(workload.history.ready) == 4
    assert workload.history.ready.index(4) <= SILENCE + 18
    assert told >= 10
    assert registrations(made) <= 12, "a need that moves each minute is not asked for each minute"
    assert never_empty_handed(workload)
    assert made.account.endpoint(OCR).desired_count == 0


def test_a_backlog_that_comes_while_the_endpoint_updates_is_answered_as_soon_as_it_can_be() -> None:
    """Somebody deploys 3 minutes before the first item; nothing is written until the endpoint is InService."""
    workload = items(60)
    made = stack(workload)
    list(run(made, SILENCE - 3))
    made.account.deploy(OCR, 1)
    writes, endpoint = registrations(made), made.account.endpoint(OCR)
    while endpoint.first.current_count == 0:
        assert registrations(made) == writes
        list(run(made, 1))
    assert workload.waiting > 200, "it came meanwhile"
    assert (registrations(made), endpoint.desired_count > 1) == (writes + 1, True), "in the minute it can be"
    list(run(made, 120))
    assert (workload.served, workload.late) == (300, 0)


@pytest.mark.parametrize(
    "silenced",
    [
        ["ApproximateBacklogSize", "ApproximateAgeOfOldestRequest"],
        ["ApproximateAgeOfOldestRequest"],
        ["InvocationsProcessed"],  # and so the rate is not learned
        ["TotalProcessingTime"],
        ["TimeInBacklog"],
    ],
)
def test_metrics_that_fall_silent_leave_the_queue_to_aas_and_lose_nothing(silenced: list[str]) -> None:
    workload = items(60)
    made = stack(workload)
    list(run(made, SILENCE + 8))
    for metric in silenced:
        made.account.silence("AWS/SageMaker", metric, OCR)
    list(run(made, 180))
    assert workload.served == 300
    assert never_empty_handed(workload)


def test_a_queue_that_nothing_is_known_of_wakes_by_aas_alone() -> None:
    """Its backlog is silent from the beginning: HasBacklogWithoutCapacity wakes it, and tracking follows."""
    workload = items(60)
    made = stack(workload)
    made.account.silence("AWS/SageMaker", "ApproximateBacklogSize", OCR)
    told = [Reason.METRICS_UNKNOWN in reasons(outcomes) for outcomes in run(made, SILENCE + 180)]
    assert any(told)
    assert workload.served == 300
    assert never_empty_handed(workload)


def test_every_alarm_of_the_queue_finds_its_metric() -> None:
    """One with a wrong dimension set would be without data for ever, and nobody would say so (facts 3.4)."""
    made = stack(items(60))
    seen: dict[str, set[str]] = {}
    for _ in run(made, SILENCE + 120):
        for name, alarm in made.account.cloudwatch.alarms.items():
            seen.setdefault(name, set()).add(alarm.state.value)
    assert {name for name, states in seen.items() if not states & {"OK", "ALARM"}} == set(), seen
    assert {name.rsplit("-", 1)[-1] for name in seen if name.startswith("tidegate")} == {"wake", "idle"}


def test_alarms_without_data_are_not_taken_for_an_empty_queue() -> None:
    """After enrolment alarms are INSUFFICIENT_DATA: until the idle alarm rings the queue is measured."""
    made = stack(items(60))
    asked = []
    for _ in run(made, 12):
        asked.append(sum(call.operation == "GetMetricData" for call in made.account.calls))
        made.account.calls.clear()
    states = [alarm.state.value for name, alarm in made.account.cloudwatch.alarms.items() if name.endswith("-idle")]
    assert states == ["ALARM"]
    assert all(asked[1:5])
    assert not any(asked[10:])


@dataclass(kw_only=True)
class Broken(AsyncWorkload):
    """A model that fails at once on each item from one minute to another.

    Args:
        fails: the first minute, and the first that works again.
        processed: whether InvocationsProcessed counts what failed.
    """

    fails: tuple[int, int]
    processed: bool
    failed: int = 0
    _now_failed: int = field(default=0, init=False)

    @override
    def _work_off(self, budget: float) -> tuple[list[tuple[Cohort, int]], float]:
        if not self.fails[0] <= self.minute < self.fails[1]:
            return super()._work_off(budget)
        done = [(cohort, cohort.waiting) for cohort in self.queue]
        self._now_failed = self.waiting
        self.failed += self._now_failed
        self.queue.clear()
        return done, budget

    @override
    def _publish_work(self, done: list[tuple[Cohort, int]], publish: "Publish") -> None:
        super()._publish_work(done if self.processed or not self._now_failed else [], publish)
        if self._now_failed:
            publish(INVOCATION, "InvocationFailures", BOTH, partial(sample, 1.0, self._now_failed))
        self._now_failed = 0


@pytest.mark.parametrize("processed", [True, False], ids=["failures are processed", "failures are not processed"])
def test_failures_that_finish_fast_are_no_throughput(processed: bool) -> None:
    """Every item fails for half an hour, at 60 a minute where 4 are possible; the next queue is sized as the first."""
    requests: Mapping[int, int] = {
        30: 60,
        31: 60,
        32: 60,
        **dict.fromkeys(range(45, 75), 60),
        150: 60,
        151: 60,
        152: 60,
    }
    workload = Broken(
        per_minute_requests=[requests.get(minute, 0) for minute in range(240)],
        per_minute_work_seconds=[15.0 * requests.get(minute, 0) for minute in range(240)],
        objective=timedelta(minutes=30),
        fails=(45, 75),
        processed=processed,
    )
    made = stack(workload)
    for _ in run(made, 240):
        pass
    assert workload.failed > 1000
    assert workload.waiting == 0
    assert workload.late == 0
    [memory] = made.store.memories([ScalableTarget.variant(OCR, "AllTraffic")]).values()
    assert memory.rate is None, "as stated"
    first, again = (max(workload.history.desired[since : since + 15]) for since in (30, 150))
    assert first == again == 4


@pytest.mark.parametrize("silenced", [None, "TotalProcessingTime", "TimeInBacklog"])
def test_a_model_four_times_slower_than_stated_is_found_out_by_its_first_items(silenced: str | None) -> None:
    """15 seconds an item are stated, a minute it takes: 300 items need 13 instances for 23 minutes.

    Full instances tell it too, after five minutes and by degrees: too late where the times are silent, but not lost.
    """
    workload = items(60, work_seconds=60.0)
    made = stack(workload, max_capacity=30)
    if silenced is not None:
        made.account.silence("AWS/SageMaker", silenced, OCR)
    list(run(made, SILENCE + 120))
    assert workload.served == 300
    assert (workload.late > 0) is (silenced is not None)
    assert never_empty_handed(workload)


@pytest.mark.parametrize("minutes_an_item", [4, 15])
def test_aas_takes_no_instance_of_items_that_prove_slower_than_its_target_supposes(minutes_an_item: int) -> None:
    """15 seconds an item are stated, so AAS holds an instance at 60 of them: 2 an instance seemed no load at all.

    It took 27 of 30 where 53 were left, which had to be ordered anew, and so on: each item was at work on one of them.
    """
    workload = items(20, work_seconds=60.0 * minutes_an_item)
    made = stack(workload, max_capacity=30)
    desired = 0
    for minute, _ in enumerate(run(made, SILENCE + 180)):
        before, desired = desired, made.account.endpoint(OCR).desired_count
        assert desired >= min(before, workload.waiting), f"minute {minute}"
    assert (workload.served, workload.waiting, desired) == (100, 0, 0)


def test_another_model_is_planned_for_as_stated_until_its_own_items_tell() -> None:
    """The first takes a minute an item, four times what is stated; the second 15 seconds, as is stated."""
    requests = [60 * (SILENCE <= minute % 150 < SILENCE + BURST) for minute in range(300)]
    workload = AsyncWorkload(
        per_minute_requests=requests,
        per_minute_work_seconds=[n * (60.0 if minute < 150 else 15.0) for minute, n in enumerate(requests)],
        objective=timedelta(minutes=30),
    )
    made = stack(workload, max_capacity=30)
    orders = ScalableTarget.variant(OCR, "AllTraffic")
    list(run(made, 150))
    rate = made.store.memories([orders])[orders].rate
    assert rate is not None
    assert rate < 1.5
    made.account.deploy(OCR, 1)
    list(run(made, 150))
    assert made.store.memories([orders])[orders].rate is None, "as stated"
    assert (workload.served, workload.late) == (600, 0)
    alone = items(60)
    list(run(stack(alone, max_capacity=30), SILENCE + 45))
    assert max(workload.history.desired[150:]) == max(alone.history.desired)


def test_items_that_will_expire_are_reported_long_before_and_all_there_is_works_for_them() -> None:
    """1,000 items, at most 2 instances: 8 a minute from minute 41 on are 8 x 49 = 392 until the first expire at 90."""
    workload = items(200)
    objectives = {**PROFILE["objectives"], "expires_after": "1h"}
    made = stack(workload, objectives=objectives, max_capacity=2)
    told = [
        minute
        for minute, outcomes in enumerate(run(made, SILENCE + 60))
        if Reason.REQUESTS_EXPIRING in reasons(outcomes)
    ]
    assert told[0] <= SILENCE + 6
    assert told == list(range(told[0], SILENCE + 60)), "in each pass, until it is too late or enough"
    assert workload.history.ready[-1] == 2


def test_what_would_expire_forces_a_scale_out_beyond_the_objective() -> None:
    """100 an instance would do with 3 for 300 items, but 3 finish 12 a minute, 20 minutes long: 240 before they expire."""
    workload = items(60)
    workload.objective = timedelta(minutes=25)
    objectives = {"items_per_minute": 4, "items_per_instance": 100, "expires_after": "25m"}
    made = stack(workload, objectives=objectives)
    list(run(made, SILENCE + 120))
    assert max(workload.history.desired) > 3
    assert (workload.served, workload.late) == (300, 0), "none was older than 25 minutes"
